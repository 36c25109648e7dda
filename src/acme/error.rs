//! Why there is no new certificate, each with what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::ca::CaError;
use crate::nameserver::{HookError, NameserverError};

/// Why no certificate was had. The one that there is goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("there is no [nameserver] any more to prove the zone with; add it to ztgate.toml")]
    NoNameserver,
    #[error("{}: {why}", file.display())]
    File { file: PathBuf, why: std::io::Error },
    #[error("{}: {why}; move it away, and a new one is made", file.display())]
    Unreadable { file: PathBuf, why: String },
    #[error("the roots in {}: {why}; tls.ca names a PEM file with the root that vouches for the ACME server", file.display())]
    Roots { file: PathBuf, why: String },
    #[error("no root certificates to check the ACME server by; type: sudo apt install ca-certificates")]
    NoRoots,
    #[error("the ACME server {what}: {why}")]
    Server { what: &'static str, why: String },
    #[error(
        "the ACME server wants fewer requests ({why}); it is asked again {}",
        match wait { Some(wait) => format!("in {} s at the earliest", wait.as_secs()), None => "later".to_owned() }
    )]
    RateLimited { why: String, wait: Option<Duration> },
    #[error("the ACME server does not believe that the zone is ours: {0}")]
    NotBelieved(String),
    #[error("the ACME server offers no DNS-01 challenge for {0}")]
    NoDns01(String),
    #[error("challenges: {0}")]
    Nameserver(#[from] NameserverError),
    #[error("challenges: {0}")]
    Hook(#[from] HookError),
    #[error(
        "the name server took the challenge for {name} and does not show it after {seconds} s; it may hand out another \
         view or zone: dig TXT {name} @SERVER"
    )]
    NotShown { name: String, seconds: u64 },
    #[error("nothing came of it within {} min", .0.as_secs() / 60)]
    TooLong(Duration),
    #[error("what the ACME server issued cannot be used: {0}")]
    Unusable(#[from] CaError),
    #[error("what the ACME server issued is not for {0}")]
    Uncovered(String),
    #[error("making a key: {0}")]
    Key(String),
}

impl AcmeError {
    /// How long the server wants to hear nothing.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => *wait,
            _ => None,
        }
    }
}
