//! The task that keeps records in step: when addresses or configuration change, and every ten minutes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::{Config, Publish};
use crate::model::Clock;

use super::pass::Publisher;
use super::plan::{Wanted, wanted};
use super::public;

/// Between passes; a house's address changes once a day or less, and a person waits for it.
const EVERY: Duration = Duration::from_secs(600);

/// After a failure, and twice as long after each further one, up to [`EVERY`].
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// Addresses come one by one when the device comes up.
const SETTLE: Duration = Duration::from_secs(1);

/// What `status` says about published records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishStatus {
    /// The name server.
    pub server: String,
    /// Records that stand there as they should.
    pub published: usize,
    /// The last time that all was looked through.
    pub checked: Option<Timestamp>,
    /// Names where records of others stand in the way of ours.
    pub foreign: Vec<String>,
    /// What has been wrong with the server, and since when.
    pub server_error: Option<Fault>,
    /// What has been wrong with the command that tells the house's address, and since when. Its record stays meanwhile.
    pub address_error: Option<Fault>,
}

/// Something that has been wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub since: Timestamp,
    pub why: String,
}

/// Keeps records in step until the senders are gone. `addresses` are the gateway's on the overlay; none while it is down.
pub async fn keep(
    mut config: watch::Receiver<Arc<Config>>,
    mut addresses: watch::Receiver<Arc<[IpAddr]>>,
    clock: Arc<dyn Clock>,
    status: watch::Sender<Option<PublishStatus>>,
) {
    let mut failures = 0u32;
    loop {
        let now = config.borrow_and_update().clone();
        let overlay = addresses.borrow_and_update().clone();
        let pause = match (&now.publish, Publisher::of(&now, clock.clone())) {
            (Some(publish), Some(publisher)) => {
                let before = status.borrow().clone().unwrap_or_default();
                let after = pass(&now, publish, &publisher, &overlay, before, clock.as_ref()).await;
                failures = if after.server_error.is_some() { failures.saturating_add(1) } else { 0 };
                status.send_replace(Some(after));
                match failures.checked_sub(1) {
                    None => EVERY,
                    Some(more) => {
                        AFTER_FAILURE.saturating_mul(2u32.checked_pow(more).unwrap_or(u32::MAX)).min(EVERY)
                    }
                }
            }
            _ => {
                status.send_replace(None);
                Duration::MAX
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = config.changed() => if changed.is_err() { return },
            changed = addresses.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(SETTLE).await;
            }
        }
    }
}

async fn pass(
    config: &Config,
    publish: &Publish,
    publisher: &Publisher,
    overlay: &[IpAddr],
    before: PublishStatus,
    clock: &dyn Clock,
) -> PublishStatus {
    let mut after = PublishStatus { server: publisher.at(), ..before };
    let (house, error) = house(publish).await;
    note(&mut after.address_error, error, clock, "the house's address stays as it is");
    let wanted: Wanted = wanted(config, publish, overlay, house.as_ref());
    match publisher.pass(&wanted, false, None).await {
        Ok(outcome) => {
            for line in &outcome.done.remove {
                tracing::info!("published no longer: {line}");
            }
            for line in &outcome.done.add {
                tracing::info!("published: {line}");
            }
            after.published = outcome.published;
            after.foreign = outcome.done.foreign.iter().map(ToString::to_string).collect();
            // A CNAME is in the way of both kinds of addresses.
            after.foreign.dedup();
            after.checked = Some(clock.now());
            note(&mut after.server_error, None, clock, "");
        }
        Err(error) => {
            let why = Some(error.to_string());
            note(&mut after.server_error, why, clock, "published records stay as they are");
        }
    }
    after
}

/// The house's addresses as they are now, if they are wanted and known; and why they are not known.
async fn house(publish: &Publish) -> (Option<BTreeSet<IpAddr>>, Option<String>) {
    match &publish.public {
        None => (None, None),
        Some(public) => match public::ask(public).await {
            Ok(addresses) => (Some(addresses), None),
            Err(error) => (None, Some(error.to_string())),
        },
    }
}

/// Keeps since when something is wrong, and says it once.
fn note(fault: &mut Option<Fault>, why: Option<String>, clock: &dyn Clock, meanwhile: &str) {
    let Some(why) = why else {
        *fault = None;
        return;
    };
    if fault.as_ref().is_none_or(|known| known.why != why) {
        tracing::warn!("{why}; {meanwhile}");
    }
    let since = fault.as_ref().map_or_else(|| clock.now(), |known| known.since);
    *fault = Some(Fault { since, why });
}
