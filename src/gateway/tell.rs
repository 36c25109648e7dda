//! What happens to members, passed on to whoever wants to be told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::model::MemberState;
use crate::notify::{Event, Notifier, Subject, What};
use crate::sync::{DeviceView, News};

use super::Inner;

/// A controller that is away for less is nobody's business: a node restarts in seconds.
const AWAY: Duration = Duration::from_secs(120);

/// Passes news on until the gateway stops.
pub(super) async fn news(inner: Arc<Inner>, mut news: broadcast::Receiver<News>, notifier: Notifier) {
    let mut away: Option<(Instant, String)> = None;
    let mut told_away = false;
    loop {
        let due = away.as_ref().map_or(Instant::now() + AWAY, |(since, _)| *since + AWAY);
        let heard = tokio::select! {
            heard = news.recv() => heard,
            () = tokio::time::sleep_until(due), if away.is_some() && !told_away => {
                told_away = true;
                if let Some((_, why)) = &away {
                    tell(&inner, &notifier, lost(&inner, why.clone()));
                }
                continue;
            }
        };
        match heard {
            Ok(News::ControllerLost(why)) => away = Some((Instant::now(), why)),
            Ok(News::ControllerBack) => {
                away = None;
                if std::mem::take(&mut told_away) {
                    tell(&inner, &notifier, What::ControllerBack);
                }
            }
            Ok(news) => {
                if let Some(what) = what(&inner, news) {
                    tell(&inner, &notifier, what);
                }
            }
            Err(RecvError::Lagged(missed)) => tracing::warn!("{missed} notices came too fast to be told"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell(inner: &Inner, notifier: &Notifier, what: What) {
    let network = inner.config.borrow().network;
    notifier.send(Event::new(network, inner.clock.now(), what));
}

fn lost(inner: &Inner, why: String) -> What {
    let since = inner.members.status.borrow().last_ok;
    let limit = inner.members.roster.borrow().as_ref().map(|roster| roster.limit);
    let refuses_all_at = since.zip(limit).and_then(|(since, limit)| since.checked_add(limit).ok());
    What::ControllerLost { since, refuses_all_at, why }
}

/// What there is to tell of one piece of news, if anything.
fn what(inner: &Inner, news: News) -> Option<What> {
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};
    Some(match news {
        News::Changed(change, device) => {
            let subject = subject(&device);
            match (change.from, change.to) {
                // Its state stays; what is said of it changed.
                (Some(from), to) if from == to => return None,
                (_, Pending) => What::DevicePending {
                    member: device.member,
                    label: device.label,
                    first_seen: Some(device.first_seen),
                    version: device.version,
                    physical_address: device.physical,
                },
                (None | Some(Pending), Active) => What::DeviceAdmitted { subject, until: device.until },
                (_, Active) => What::DeviceRestored { subject },
                (_, Revoked) => What::DeviceRevoked { subject },
                (_, Suspended) => What::DeviceSuspended { subject },
                (_, Expired) => What::DeviceExpired { subject },
            }
        }
        News::ExpiresSoon(device) => {
            What::DeviceExpiresSoon { subject: subject(&device), until: device.until? }
        }
        News::Alarm(_, member) => {
            let devices = inner.members.devices.borrow();
            let device = devices.iter().find(|device| device.member == member);
            let nobody = Subject { member, device: None, owner: None };
            What::IdentityChanged { subject: device.map_or(nobody, |device| subject(device)) }
        }
        News::ControllerLost(_) | News::ControllerBack => return None,
    })
}

fn subject(device: &DeviceView) -> Subject {
    Subject { member: device.member, device: device.name.clone(), owner: device.owner.clone() }
}
