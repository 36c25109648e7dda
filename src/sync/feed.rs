//! What others hold of the task that keeps the members: the roster as it changes, its status, the news.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, watch};

use super::order::{DeviceView, Orders};
use crate::config::{self, Config};
use crate::identity::Roster;
use crate::model::MemberId;
use crate::store::{Change, ChangeOrigin, Profile};
use crate::zerotier::{CentralController, Controller, LocalController, NodeClient, UrlError};

/// How often a controller is asked, and how old its word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub poll: Duration,
    /// The age beyond which nobody is let in on the roster's word.
    pub stale: Duration,
}

impl Limits {
    /// The controller in the local node: every 5 s; 15 min.
    pub const LOCAL: Self = Self { poll: Duration::from_secs(5), stale: Duration::from_secs(15 * 60) };
    /// ZeroTier Central: every 30 s; 24 h, for an internet outage must not stop what is at home.
    pub const CENTRAL: Self =
        Self { poll: Duration::from_secs(30), stale: Duration::from_secs(24 * 60 * 60) };

    /// A node on another machine: every 5 s; 24 h, for the same reason.
    pub const REMOTE: Self = Self { poll: Self::LOCAL.poll, stale: Self::CENTRAL.stale };

    pub fn of(kind: &config::Controller) -> Self {
        match kind {
            config::Controller::Local => Self::LOCAL,
            config::Controller::Remote { .. } => Self::REMOTE,
            config::Controller::Central { .. } => Self::CENTRAL,
        }
    }
}

/// The client of the controller that the config names.
///
/// # Errors
/// Its URL is none, or would carry the token in the clear to another machine.
pub fn controller(config: &Config, node: &NodeClient) -> Result<Arc<dyn Controller>, UrlError> {
    Ok(match &config.controller {
        config::Controller::Local => Arc::new(LocalController::new(node.clone(), config.network)),
        config::Controller::Remote { url, token_file } => {
            Arc::new(LocalController::remote(url, token_file, config.network)?)
        }
        config::Controller::Central { url, token_file } => {
            Arc::new(CentralController::new(url, token_file, config.network)?)
        }
    })
}

/// The controller that the config names, as the place that a change came from.
pub(super) fn origin(config: &Config) -> ChangeOrigin {
    let (controller, url) = match &config.controller {
        config::Controller::Local => ("local", None),
        config::Controller::Remote { url, .. } => ("remote", Some(url.clone())),
        config::Controller::Central { url, .. } => ("central", Some(url.clone())),
    };
    ChangeOrigin::Controller { controller: controller.to_owned(), url }
}

/// How the last polls went, for `ztgate status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// `local` or `central`.
    pub source: &'static str,
    /// When the controller last gave a whole answer; also from before this start.
    pub last_ok: Option<Timestamp>,
    /// What is wrong since then; `None` while all is well.
    pub last_error: Option<String>,
    pub members: usize,
    /// Who waits to be admitted.
    pub pending: usize,
    /// What the controller is still to be told.
    pub queued: usize,
    /// Where gateway and controller differ, left to a person.
    pub differences: usize,
}

/// What others hold of the task.
#[derive(Clone, Debug)]
pub struct RosterFeed {
    /// `None` until there is one: from disk at once, otherwise after the first good answer.
    pub roster: watch::Receiver<Option<Arc<Roster>>>,
    pub status: watch::Receiver<SyncStatus>,
    /// Every device as lists show it, ordered by name and then ID; empty until there is a roster.
    pub devices: watch::Receiver<Arc<[Arc<DeviceView>]>>,
    /// What the devices are to be called of an order that is being put on disk. Whoever takes a new configuration holds it
    /// against these names as well as the roster's, and looks at them first.
    pub naming: watch::Receiver<Arc<[(MemberId, Profile)]>>,
    /// Where what people ask for is carried out.
    pub orders: Orders,
    /// What happens from now on.
    pub news: broadcast::Sender<News>,
    /// `notify_one` asks for a poll now.
    pub poll_now: Arc<Notify>,
}

/// What happened that somebody may want to hear of.
#[derive(Clone, Debug)]
pub enum News {
    /// A device moved, or what is said of it did.
    Changed(Change, Box<DeviceView>),
    ExpiresSoon(Box<DeviceView>),
    Alarm(String, MemberId),
    /// The controller gives no good answer any more, and why.
    ControllerLost(String),
    ControllerBack,
}
