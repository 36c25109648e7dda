//! What happened, as receivers read it: stable JSON, with a sentence for people and the command to type next.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::NotifyEvent;
use crate::model::{Label, MemberId, NetworkId};

/// Longest text from outside that is passed on, in characters.
const LONGEST: usize = 80;

/// Something that somebody is told about.
///
/// Serialised, this is the body of a webhook's delivery and the file in the spool: `id`, `time` (RFC 3339), `network`,
/// `event` and its own fields, `text`, and `next` where there is something to type. A field that is not known is absent.
/// Fields may be added later; none changes its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// 32 hexadecimal digits, the same at each try and for each receiver.
    pub id: String,
    pub time: Timestamp,
    pub network: NetworkId,
    #[serde(flatten)]
    pub what: What,
    /// One sentence, or two.
    pub text: String,
    /// The command to type next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What happened, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum What {
    /// A device that nobody admitted yet knocks.
    DevicePending {
        member: MemberId,
        /// What the controller calls it; anybody who may edit there can write it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_seen: Option<Timestamp>,
        /// Of its ZeroTier client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// Where it calls from on the internet, as far as the node has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        physical_address: Option<String>,
    },
    DeviceAdmitted {
        #[serde(flatten)]
        subject: Subject,
        /// The end of its stay, for a guest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    DeviceRevoked {
        #[serde(flatten)]
        subject: Subject,
    },
    DeviceSuspended {
        #[serde(flatten)]
        subject: Subject,
    },
    DeviceRestored {
        #[serde(flatten)]
        subject: Subject,
    },
    DeviceExpiresSoon {
        #[serde(flatten)]
        subject: Subject,
        until: Timestamp,
    },
    DeviceExpired {
        #[serde(flatten)]
        subject: Subject,
    },
    /// A member shows another identity than the one that was pinned. Somebody may be playing it.
    IdentityChanged {
        #[serde(flatten)]
        subject: Subject,
    },
    /// The controller does not answer.
    ControllerLost {
        /// The last time that it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// When the roster is too old and everybody is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refuses_all_at: Option<Timestamp>,
        /// What was wrong, in words.
        why: String,
    },
    ControllerBack,
    /// What `ztgate notify test` sends.
    Test,
}

/// A device that has been admitted at some time, and what it does there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub member: MemberId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Label>,
}

impl Event {
    /// Puts what happened into words. Text from outside (a label, a reason) is capped, and loses whatever could drive a
    /// terminal or turn a line around.
    pub fn new(network: NetworkId, time: Timestamp, what: What) -> Self {
        let what = what.tamed();
        Self { id: new_id(), time, network, text: what.text(), next: what.next(), what }
    }

    /// A few words for a notification's head line. ASCII, and nothing from outside.
    pub fn title(&self) -> &'static str {
        match &self.what {
            What::DevicePending { .. } => "A new device waits",
            What::DeviceAdmitted { .. } => "Device admitted",
            What::DeviceRevoked { .. } => "Device revoked",
            What::DeviceSuspended { .. } => "Device suspended",
            What::DeviceRestored { .. } => "Device restored",
            What::DeviceExpiresSoon { .. } => "Device expires soon",
            What::DeviceExpired { .. } => "Device expired",
            What::IdentityChanged { .. } => "ALARM: a device changed its identity",
            What::ControllerLost { .. } => "Controller lost",
            What::ControllerBack => "Controller back",
            What::Test => "ztgate can reach you",
        }
    }
}

impl What {
    /// The kind; `None` for a test, which is always sent.
    pub fn kind(&self) -> Option<NotifyEvent> {
        Some(match self {
            Self::DevicePending { .. } => NotifyEvent::DevicePending,
            Self::DeviceAdmitted { .. } => NotifyEvent::DeviceAdmitted,
            Self::DeviceRevoked { .. } => NotifyEvent::DeviceRevoked,
            Self::DeviceSuspended { .. } => NotifyEvent::DeviceSuspended,
            Self::DeviceRestored { .. } => NotifyEvent::DeviceRestored,
            Self::DeviceExpiresSoon { .. } => NotifyEvent::DeviceExpiresSoon,
            Self::DeviceExpired { .. } => NotifyEvent::DeviceExpired,
            Self::IdentityChanged { .. } => NotifyEvent::IdentityChanged,
            Self::ControllerLost { .. } => NotifyEvent::ControllerLost,
            Self::ControllerBack => NotifyEvent::ControllerBack,
            Self::Test => return None,
        })
    }

    fn tamed(mut self) -> Self {
        match &mut self {
            Self::DevicePending { label, version, physical_address, .. } => {
                for text in [label, version, physical_address] {
                    *text = text.take().map(|text| tame(&text)).filter(|text| !text.is_empty());
                }
            }
            Self::ControllerLost { why, .. } => *why = tame(why),
            _ => {}
        }
        self
    }

    fn text(&self) -> String {
        match self {
            Self::DevicePending { member, label, version, physical_address, .. } => {
                let mut text = format!("A new device waits to be admitted: {member}");
                let details = [
                    label.as_ref().map(|label| format!("the controller calls it \"{label}\"")),
                    version.as_ref().map(|version| format!("ZeroTier {version}")),
                    physical_address.as_ref().map(|address| format!("from {address}")),
                ];
                for detail in details.into_iter().flatten() {
                    // Writing to a String cannot fail.
                    _ = write!(text, ", {detail}");
                }
                text.push('.');
                text
            }
            Self::DeviceAdmitted { subject, until: None } => format!("{subject} is admitted."),
            Self::DeviceAdmitted { subject, until: Some(until) } => {
                format!("{subject} is admitted until {}.", minute(*until))
            }
            Self::DeviceRevoked { subject } => {
                format!("{subject} is revoked; nothing opens for it any more.")
            }
            Self::DeviceSuspended { subject } => {
                format!("{subject} is suspended; nothing opens for it for now.")
            }
            Self::DeviceRestored { subject } => format!("{subject} is active again."),
            Self::DeviceExpiresSoon { subject, until } => {
                format!("{subject} may stay until {}.", minute(*until))
            }
            Self::DeviceExpired { subject } => format!("{subject} has reached the end of its stay."),
            Self::IdentityChanged { subject } => format!(
                "{subject} shows another identity than the one it was admitted with, and is refused. \
                 Somebody may be playing it."
            ),
            Self::ControllerLost { refuses_all_at, why, .. } => {
                let mut text = format!("The controller does not answer: {why}.");
                if let Some(at) = refuses_all_at {
                    _ = write!(text, " Everybody is refused from {} on.", minute(*at));
                }
                text
            }
            Self::ControllerBack => "The controller answers again.".to_owned(),
            Self::Test => "A test: notifications of ztgate arrive here.".to_owned(),
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::DevicePending { member, .. } => format!("ztgate admit {member} --name NAME"),
            Self::DeviceAdmitted { subject, .. } | Self::DeviceRestored { subject } => {
                format!("ztgate devices show {}", subject.word())
            }
            Self::DeviceRevoked { subject }
            | Self::DeviceSuspended { subject }
            | Self::DeviceExpired { subject } => format!("ztgate restore {}", subject.word()),
            Self::DeviceExpiresSoon { subject, .. } => {
                format!("ztgate devices expire {} --for 24h", subject.word())
            }
            Self::IdentityChanged { subject } => format!("ztgate revoke {}", subject.word()),
            Self::ControllerLost { .. } | Self::ControllerBack => "ztgate status".to_owned(),
            Self::Test => return None,
        })
    }
}

impl Subject {
    /// What a command takes for it.
    fn word(&self) -> String {
        self.device.as_ref().map_or_else(|| self.member.to_string(), Label::to_string)
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.device, &self.owner) {
            (Some(device), Some(owner)) => write!(f, "{device} of {owner} ({})", self.member),
            (Some(device), None) => write!(f, "{device} ({})", self.member),
            (None, _) => write!(f, "{}", self.member),
        }
    }
}

/// RFC 3339 to the minute, in UTC: a receiver may be anywhere.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn tame(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut tamed: String =
        text.trim().chars().take(LONGEST).map(|c| if harmful(c) { '?' } else { c }).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        tamed.push('…');
    }
    tamed
}

fn new_id() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("AWS-LC ends the process rather than go without random bytes");
    bytes.iter().fold(String::with_capacity(32), |mut id, byte| {
        _ = write!(id, "{byte:02x}");
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What) -> Event {
        let time = "2026-11-23T18:00:00Z".parse().unwrap();
        Event { id: "00".repeat(16), ..Event::new("5e02d9cb41c0ffee".parse().unwrap(), time, what) }
    }

    fn phone() -> Subject {
        Subject {
            member: "c4c8812898".parse().unwrap(),
            device: "red-phone".parse().ok(),
            owner: "mum".parse().ok(),
        }
    }

    fn every() -> Vec<Event> {
        let (subject, until) = (phone(), "2026-11-29T20:00:00Z".parse().unwrap());
        let nameless = Subject { device: None, owner: None, ..phone() };
        [
            What::DevicePending {
                member: "bcba17eef8".parse().unwrap(),
                label: Some("Dad's new TV\u{202e}\n".to_owned()),
                first_seen: "2026-11-23T17:59:55Z".parse().ok(),
                version: Some("1.14.1".to_owned()),
                physical_address: Some("203.0.113.7/21044".to_owned()),
            },
            What::DeviceAdmitted { subject: subject.clone(), until: Some(until) },
            What::DeviceAdmitted { subject: nameless.clone(), until: None },
            What::DeviceRevoked { subject: nameless },
            What::DeviceSuspended { subject: subject.clone() },
            What::DeviceRestored { subject: subject.clone() },
            What::DeviceExpiresSoon { subject: subject.clone(), until },
            What::DeviceExpired { subject: subject.clone() },
            What::IdentityChanged { subject },
            What::ControllerLost {
                since: Some(until),
                refuses_all_at: Some(until),
                why: "timeout".to_owned(),
            },
            What::ControllerBack,
            What::Test,
        ]
        .map(event)
        .into()
    }

    #[test]
    fn the_json_is_stable() {
        let json = serde_json::to_string_pretty(&every()[0]).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "id": "00000000000000000000000000000000",
          "time": "2026-11-23T18:00:00Z",
          "network": "5e02d9cb41c0ffee",
          "event": "device-pending",
          "member": "bcba17eef8",
          "label": "Dad's new TV?",
          "first_seen": "2026-11-23T17:59:55Z",
          "version": "1.14.1",
          "physical_address": "203.0.113.7/21044",
          "text": "A new device waits to be admitted: bcba17eef8, the controller calls it \"Dad's new TV?\", ZeroTier 1.14.1, from 203.0.113.7/21044.",
          "next": "ztgate admit bcba17eef8 --name NAME"
        }
        "#);
        let json = serde_json::to_string_pretty(&every()[1]).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "id": "00000000000000000000000000000000",
          "time": "2026-11-23T18:00:00Z",
          "network": "5e02d9cb41c0ffee",
          "event": "device-admitted",
          "member": "c4c8812898",
          "device": "red-phone",
          "owner": "mum",
          "until": "2026-11-29T20:00:00Z",
          "text": "red-phone of mum (c4c8812898) is admitted until 2026-11-29 20:00 UTC.",
          "next": "ztgate devices show red-phone"
        }
        "#);
    }

    #[test]
    fn what_people_read() {
        let said: Vec<_> =
            every().iter().map(|e| format!("{}\n{}", e.text, e.next.as_deref().unwrap_or("-"))).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        A new device waits to be admitted: bcba17eef8, the controller calls it "Dad's new TV?", ZeroTier 1.14.1, from 203.0.113.7/21044.
        ztgate admit bcba17eef8 --name NAME
        red-phone of mum (c4c8812898) is admitted until 2026-11-29 20:00 UTC.
        ztgate devices show red-phone
        c4c8812898 is admitted.
        ztgate devices show c4c8812898
        c4c8812898 is revoked; nothing opens for it any more.
        ztgate restore c4c8812898
        red-phone of mum (c4c8812898) is suspended; nothing opens for it for now.
        ztgate restore red-phone
        red-phone of mum (c4c8812898) is active again.
        ztgate devices show red-phone
        red-phone of mum (c4c8812898) may stay until 2026-11-29 20:00 UTC.
        ztgate devices expire red-phone --for 24h
        red-phone of mum (c4c8812898) has reached the end of its stay.
        ztgate restore red-phone
        red-phone of mum (c4c8812898) shows another identity than the one it was admitted with, and is refused. Somebody may be playing it.
        ztgate revoke red-phone
        The controller does not answer: timeout. Everybody is refused from 2026-11-29 20:00 UTC on.
        ztgate status
        The controller answers again.
        ztgate status
        A test: notifications of ztgate arrive here.
        -
        "#);
    }

    #[test]
    fn every_event_survives_its_json_under_its_own_name() {
        for event in every() {
            let json = serde_json::to_value(&event).unwrap();
            let name = event.what.kind().map_or("test", NotifyEvent::as_str);
            assert_eq!(json["event"], name);
            assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        }
        let kinds: Vec<_> = every().iter().filter_map(|event| event.what.kind()).collect();
        assert!(NotifyEvent::ALL.iter().all(|kind| kinds.contains(kind)));
    }

    #[test]
    fn text_from_outside_is_short_and_harmless() {
        let label = Some(format!("\x1b[2J{}", "é".repeat(200)));
        let member = "bcba17eef8".parse().unwrap();
        let pending = What::DevicePending {
            member,
            label,
            version: Some(" ".to_owned()),
            first_seen: None,
            physical_address: None,
        };
        let What::DevicePending { label, version, .. } = event(pending).what else { unreachable!() };
        assert_eq!(label.unwrap(), format!("?[2J{}…", "é".repeat(76)));
        assert_eq!(version, None);
    }

    #[test]
    fn ids_are_never_the_same() {
        let ids: std::collections::HashSet<_> = (0..100).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
