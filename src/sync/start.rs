//! Setting the roster's task up from a configuration.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Config, SyncMode};
use crate::identity::proof::Prover;
use crate::model::Clock;
use crate::store::{Members, MembersError, StoreError, make_state_dir};
use crate::zerotier::{NodeClient, UrlError};

use super::feed::{Limits, RosterFeed, controller};
use super::poll::RosterTask;

/// Why there can be no roster.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Every member that the controller has authorised would be put out by a store that knows none.
    #[error(
        "sync = \"enforce\" on a store that was just created: it knows no device yet, and would put everybody out; start once \
         with sync = \"ask\", which adopts whom the controller has authorised, then set \"enforce\""
    )]
    EnforceOnNew,
    #[error("no thread to prove identities on: {0}")]
    Thread(#[from] std::io::Error),
}

/// Opens the members' store and makes the task for the controller that the configuration names.
///
/// # Errors
/// The store cannot be read or is another network's, or an API's URL is not one.
pub fn start(
    config: watch::Receiver<Arc<Config>>,
    clock: Arc<dyn Clock>,
) -> Result<(RosterTask, RosterFeed), SyncError> {
    let now = config.borrow().clone();
    let node = NodeClient::new(&now.node.url, &now.node.token_file)?;
    make_state_dir(&now.state_dir)?;
    let (mut store, _) = Members::open(&now.state_dir)?;
    if now.sync == SyncMode::Enforce && store.load(now.network)?.is_none() {
        return Err(SyncError::EnforceOnNew);
    }
    let limits = Limits::of(&now.controller);
    let controller = controller(&now, &node)?;
    Ok(RosterTask::new(controller, node, store, Prover::start()?, config, clock, limits)?)
}
