//! What the store keeps of members.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Label, MemberId, MemberState, NetworkId};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$about])* $variant,)* }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            pub(super) fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What the controller last said of a member.
    AtController {
        Authorized "authorized",
        Unauthorized "unauthorized",
        /// It was in the list once and is not any more.
        Gone "gone",
    }
}

words! {
    /// Whether the pinned identity is known to hash to the member's ID.
    PinProof {
        Unproven "unproven",
        Proven "proven",
        /// It does not, and never will.
        Failed "failed",
    }
}

words! {
    /// How a member came to be active.
    Admitted {
        /// The controller had authorised it before ztgate's first start.
        Adopted "adopted",
        /// It was listed in `policy/devices.toml`, when that was the device list.
        Listed "listed",
        /// Somebody let it in.
        Ordered "ordered",
        /// The controller authorised it, and `sync = "follow"`.
        Followed "followed",
        /// It never was: somebody sent it away.
        SentAway "sent away",
    }
}

/// What is said of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub name: Option<Label>,
    pub owner: Option<Label>,
    #[serde(default)]
    pub groups: Vec<Label>,
    /// For people to read.
    pub notes: Option<String>,
    /// When it expires; `None` for never.
    pub until: Option<Timestamp>,
}

/// When and where a member was last heard, as far as anybody told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    pub last_seen: Option<Timestamp>,
    /// Its address on the underlying network.
    pub physical: Option<String>,
}

/// What the controller is still to be told of a member. On disk before the controller is told of a right, and until it has
/// shown that it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub authorize: bool,
    pub since: Timestamp,
    /// Who wants it.
    pub who: String,
    /// From where they said so.
    pub origin: Option<ChangeOrigin>,
}

/// One member, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    pub id: MemberId,
    pub state: MemberState,
    pub at_controller: AtController,
    /// The public identity that was seen first, which stays the member's.
    pub identity: Option<String>,
    pub proof: PinProof,
    /// The controller last showed another identity than the pinned one.
    pub differs: bool,
    /// `None` if it never was active.
    pub admitted: Option<Admitted>,
    pub first_seen: Timestamp,
    pub label: Option<String>,
    pub assigned: Vec<IpAddr>,
    pub active_bridge: bool,
    pub version: Option<String>,
    pub creation_time: Option<Timestamp>,
    pub profile: Profile,
    /// When to say that it expires soon; `None` once that was said.
    pub notice: Option<Timestamp>,
}

impl StoredMember {
    /// A member of which nothing is known but its ID.
    pub fn unheard(id: MemberId, now: Timestamp) -> Self {
        Self {
            id,
            state: MemberState::Pending,
            at_controller: AtController::Gone,
            identity: None,
            proof: PinProof::Unproven,
            differs: false,
            admitted: None,
            first_seen: now,
            label: None,
            assigned: Vec::new(),
            active_bridge: false,
            version: None,
            creation_time: None,
            profile: Profile::default(),
            notice: None,
        }
    }
}

/// The roster as it was last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoster {
    pub network: NetworkId,
    /// When the controller said so.
    pub taken: Timestamp,
    /// The network was public.
    pub public: bool,
    /// The rules that hand frames to the gateway.
    pub redirects: Vec<String>,
    /// `policy/devices.toml` was taken over, which happens once.
    pub listed: bool,
    /// Ordered by ID.
    pub members: Vec<StoredMember>,
    pub outbox: BTreeMap<MemberId, Intent>,
}

/// One change of a member's state, for the control log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub time: Timestamp,
    pub member: MemberId,
    /// `None` for a member that was not known before.
    pub from: Option<MemberState>,
    pub to: MemberState,
    /// For people to read.
    pub why: String,
    /// Who did it: a user of this machine, `controller`, `clock`, or `ztgate` by itself.
    pub who: String,
    /// From where; `None` for what was recorded before that was asked.
    pub origin: Option<ChangeOrigin>,
}

/// From where a change came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ChangeOrigin {
    /// The admin socket, opened by a process of this machine.
    Socket(Caller),
    /// What the controller says.
    Controller {
        /// Of which kind it is: `local`, `remote` or `central`.
        controller: String,
        /// Where it is; `None` for the one in this machine's node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// The gateway's own clock.
    Clock,
    /// The gateway's configuration.
    Config,
}

/// What is known of the process that opened the admin socket, besides its user. All of it is left out where nobody tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user as whom its session was logged in: the person behind `sudo`. The session's word, for one that has none yet (a
    /// daemon's, cron's) may give itself any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Its terminal, `pts/3` say. The kernel's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// From where that user came by SSH. The process's own word, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_ssh: Option<IpAddr>,
}

impl fmt::Display for ChangeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(caller) => caller.fmt(f),
            Self::Controller { controller, url: None } => write!(f, "{controller} controller"),
            Self::Controller { controller, url: Some(url) } => write!(f, "{controller} controller {url}"),
            Self::Clock => f.write_str("the gateway's clock"),
            Self::Config => f.write_str("ztgate.toml"),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.terminal.as_deref().unwrap_or("this machine"))?;
        match (&self.login, self.claimed_ssh) {
            (Some(login), Some(client)) => write!(f, ", says login {login}, by SSH from {client}"),
            (Some(login), None) => write!(f, ", says login {login}"),
            (None, Some(client)) => write!(f, ", says by SSH from {client}"),
            (None, None) => Ok(()),
        }
    }
}
