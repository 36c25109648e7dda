//! The local socket: the command line's only door to a running gateway.
//!
//! HTTP with JSON over `STATE_DIR/admin.sock`, which the gateway's user, root and the group `ztgate` may open.

#[cfg(test)]
pub mod canned;
mod client;
mod devices;
mod dns;
mod lookup;
mod peer;
mod server;
mod state;
mod status;
mod why;

pub use client::{AdminError, get, order};
pub use dns::PushOrder;
pub use server::serve;
pub use state::{NftSource, State};
pub use status::{CaStatus, CertificatesStatus, Distrusting, Listener, Person, ServiceStatus, Status, Whois};

/// The header in which a command says from where its user came by SSH. A claim, and recorded as one.
const SSH_CLIENT: http::HeaderName = http::HeaderName::from_static("ztgate-ssh-client");

/// Where a gateway's socket is.
pub fn socket(state_dir: &std::path::Path) -> std::path::PathBuf {
    state_dir.join("admin.sock")
}
