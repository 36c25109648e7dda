//! The stable codes that say why something was refused.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;
use serde::{Deserialize, Serialize};

macro_rules! refusal_codes {
    ($($(#[$doc:meta])* $variant:ident $text:literal $status:ident,)*) => {
        /// Why something was refused, in the order in which it is judged: network, identity, state, name, request,
        /// rule, upstream. The text is stable: people search for it, scripts match it, and it is the value of the
        /// header `Ztgate-Refusal`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RefusalCode {
            $($(#[$doc])* $variant,)*
        }

        impl RefusalCode {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The HTTP status that carries the refusal. `NoProof` has none on the wire: its connection is closed.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

refusal_codes! {
    /// A setting of the network voids the proof of identity; nobody is let in until it is mended.
    NetworkUnsafe "network-unsafe" SERVICE_UNAVAILABLE,
    /// The list of members is older than its limit.
    RosterStale "roster-stale" SERVICE_UNAVAILABLE,
    /// The connection carries no link-layer origin of this network.
    NoProof "no-proof" FORBIDDEN,
    /// The controller does not know this member.
    UnknownMember "unknown-member" FORBIDDEN,
    /// The source address belongs to somebody else, or to nobody.
    AddressNotYours "address-not-yours" FORBIDDEN,
    /// The member's public identity is not the one that was pinned, or does not hash to its ID.
    IdentityChanged "identity-changed" FORBIDDEN,
    /// The member's public identity has not been proved to hash to its ID yet; it takes a moment after first contact.
    IdentityUnproven "identity-unproven" FORBIDDEN,
    MemberPending "member-pending" FORBIDDEN,
    MemberRevoked "member-revoked" FORBIDDEN,
    MemberSuspended "member-suspended" FORBIDDEN,
    MemberExpired "member-expired" FORBIDDEN,
    /// No service here has the name that was asked for.
    UnknownName "unknown-name" MISDIRECTED_REQUEST,
    /// The request breaks a rule that keeps requests unambiguous.
    BadRequest "bad-request" BAD_REQUEST,
    /// A page of another site sent this, not the person.
    CrossSite "cross-site" FORBIDDEN,
    /// Nobody may ask this through the gateway.
    NotOffered "not-offered" FORBIDDEN,
    /// No rule lets this device in.
    NoRule "no-rule" FORBIDDEN,
    /// A rule keeps this device out.
    DeniedByRule "denied-by-rule" FORBIDDEN,
    /// The gateway has no room for one more connection to a service, or this member has its share of them.
    GatewayBusy "gateway-busy" SERVICE_UNAVAILABLE,
    /// The service behind the name does not answer.
    UpstreamDown "upstream-down" BAD_GATEWAY,
    /// The service behind the name took longer than its limit to begin an answer.
    UpstreamSlow "upstream-slow" GATEWAY_TIMEOUT,
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no refusal code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refusal code: {0}")]
pub struct UnknownCode(String);

impl FromStr for RefusalCode {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for RefusalCode {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RefusalCode {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
