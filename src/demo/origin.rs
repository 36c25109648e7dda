//! The one thing that the demo simulates: which device a connection comes from.
//!
//! There is no ZeroTier on loopback, so the port that a connection came in on decides. This exists in the demo's own
//! composition and nowhere else: `ztgate run` builds its gateway with [`crate::identity::SavedSyn`], whatever flags and
//! files say.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use socket2::SockRef;

use crate::identity::{NoProof, Origin};
use crate::model::{Mac, MemberId, NetworkId};

/// Which device each port pretends to be.
#[derive(Debug)]
pub struct SimulatedOrigin {
    by_port: HashMap<u16, Mac>,
}

impl SimulatedOrigin {
    pub fn new(network: NetworkId, ports: impl IntoIterator<Item = (u16, MemberId)>) -> Self {
        Self { by_port: ports.into_iter().map(|(port, member)| (port, Mac::of(member, network))).collect() }
    }
}

impl Origin for SimulatedOrigin {
    fn of(&self, socket: BorrowedFd<'_>) -> Result<Mac, NoProof> {
        let local = SockRef::from(&socket).local_addr().map_err(NoProof::Unsupported)?;
        let port = local.as_socket().map(|address| address.port()).unwrap_or_default();
        self.by_port.get(&port).copied().ok_or(NoProof::Cookie)
    }
}
