//! Who sent the SYN: the link-layer origin of an accepted connection.

use std::os::fd::BorrowedFd;

use crate::model::Mac;

/// Reads the link-layer source of the SYN that opened a connection.
///
/// This is the one proof of identity there is. It can be read once per connection.
pub trait Origin: Send + Sync + 'static {
    /// # Errors
    /// Any doubt is an error, and the connection is closed: there is no second way to tell who it is.
    fn of(&self, socket: BorrowedFd<'_>) -> Result<Mac, NoProof>;
}

/// Why a connection's origin cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    #[error("the kernel does not save SYNs (Linux 5.10 or later does): {0}")]
    Unsupported(std::io::Error),
    #[error("no SYN was saved; the backlog overflowed into SYN cookies")]
    Cookie,
    #[error("the saved SYN has {0} bytes, which is no Ethernet frame with an IP and a TCP header")]
    Length(usize),
    #[error("what was saved is no SYN of this connection: {0}")]
    Malformed(&'static str),
}
