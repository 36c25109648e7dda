//! The words every other layer speaks: ids, names, states, refusals and time. No I/O.

mod clock;
mod ids;
mod name;
mod nearest;
mod refusal;
mod state;
mod web_origin;

pub use clock::{Clock, ManualClock, Moment};
pub use ids::{AddressKind, Mac, MemberId, NetworkId, ParseIdError, RequestId};
pub use name::{Label, NameError, Zone};
pub use nearest::nearest;
pub use refusal::RefusalCode;
pub use state::MemberState;
pub use web_origin::WebOrigin;

/// The oldest version of TLS that a name takes. Older ones than these have been forbidden since RFC 8996.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// Which of the two doors a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Http,
    Https,
}

/// Which lanes a port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lanes {
    Only(Lane),
    /// Both: a connection's first byte tells which one it is.
    Both,
}

impl Lanes {
    /// In words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Only(lane) => lane.scheme(),
            Self::Both => "http or https",
        }
    }
}

impl Lane {
    /// The URL scheme, as upstreams learn it in `X-Forwarded-Proto`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme leaves out (RFC 9110, section 4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}
