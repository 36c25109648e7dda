//! Accepting a connection: its link-layer origin is read first, and without one there is no connection.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use tokio::net::TcpStream;

use crate::identity::{NoProof, Origin};
use crate::model::{Lanes, Mac};

/// A connection whose opener is proved down to the Ethernet address that ZeroTier enforced.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub lanes: Lanes,
    pub origin: Mac,
}

/// A connection that was closed unheard.
#[derive(Debug)]
pub struct Unproven {
    pub peer: SocketAddr,
    pub why: NoProof,
}

/// Reads a fresh connection's origin. On any doubt the connection is dropped here, which closes it.
pub fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    lanes: Lanes,
    origin: &dyn Origin,
) -> Result<Accepted, Unproven> {
    match origin.of(stream.as_fd()) {
        Ok(mac) => Ok(Accepted { stream, peer, local, lanes, origin: mac }),
        Err(why) => Err(Unproven { peer, why }),
    }
}
