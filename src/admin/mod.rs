//! The local socket: the command line's only door to a running gateway.
//!
//! HTTP with JSON over `STATE_DIR/admin.sock`, which the gateway's user, root and the group `ztgate` may open.

#[cfg(test)]
pub mod canned;
mod client;
mod devices;
mod server;
mod status;

pub use client::{AdminError, get, post};
pub use server::{NftSource, State, serve};
pub use status::{CaStatus, CertificatesStatus, Distrusting, Listener, Person, ServiceStatus, Status, Whois};

/// Where a gateway's socket is.
pub fn socket(state_dir: &std::path::Path) -> std::path::PathBuf {
    state_dir.join("admin.sock")
}
