//! What a gateway stands in, and why it does not start.

use std::sync::Arc;

use tokio::sync::watch;

use crate::audit::Retention;
use crate::ca::CaError;
use crate::dns;
use crate::identity::Origin;
use crate::model::Clock;
use crate::overlay::{Overlay, Pinning};
use crate::proxy::Limits;
use crate::routes::SiteError;
use crate::store::StoreError;
use crate::sync::RosterFeed;
use crate::zerotier::UrlError;

/// What a gateway stands in: the parts that are not the same everywhere.
pub struct World {
    pub clock: Arc<dyn Clock>,
    /// How a connection's link-layer origin is read.
    pub origin: Arc<dyn Origin>,
    /// The ZeroTier device and its addresses.
    pub overlay: watch::Receiver<Overlay>,
    /// How identity is proved here, in words for people.
    pub proof: &'static str,
    /// Who the members are.
    pub members: RosterFeed,
    /// Whether neighbour entries of active members are pinned, so that no answer reaches anybody else.
    pub pinning: watch::Receiver<Pinning>,
    /// Plain HTTP ports beside the configured one.
    pub more_http_ports: Vec<u16>,
    /// Within these, as many connections as the process may have files.
    pub limits: Limits,
    /// How much of DNS one member may have.
    pub dns: dns::Limits,
    /// How much of the past the audit log keeps, and of whom.
    pub audit: Retention,
    /// Threads of the data path; one a core is best.
    pub threads: usize,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}: {1}")]
    Lock(String, std::io::Error),
    #[error("another ztgate is running on the state folder {0}; stop that first: systemctl stop ztgate")]
    Running(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("the admin socket {0}: {1}")]
    Admin(String, std::io::Error),
    #[error("no thread to serve with: {0}")]
    Thread(std::io::Error),
}
