//! The link layer, simulated: which member's MAC the frames from a source address bear.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use socket2::SockRef;
use ztgate::identity::{NoProof, Origin};
use ztgate::model::{Mac, MemberId, NetworkId};

/// Which MAC is behind each source address. A source that is not named comes without proof.
pub struct SourceOrigin {
    network: NetworkId,
    by_source: Mutex<HashMap<IpAddr, Mac>>,
}

impl SourceOrigin {
    pub fn new(network: NetworkId, sources: impl IntoIterator<Item = (IpAddr, MemberId)>) -> Self {
        let by_source = sources.into_iter().map(|(source, id)| (source, Mac::of(id, network))).collect();
        Self { network, by_source: Mutex::new(by_source) }
    }

    /// Changes who is behind an address.
    pub fn put(&self, source: IpAddr, member: MemberId) {
        self.by_source.lock().unwrap().insert(source, Mac::of(member, self.network));
    }
}

impl Origin for SourceOrigin {
    fn of(&self, socket: BorrowedFd<'_>) -> Result<Mac, NoProof> {
        let peer = SockRef::from(&socket).peer_addr().map_err(NoProof::Unsupported)?;
        let source = peer.as_socket().ok_or(NoProof::Cookie)?.ip();
        self.by_source.lock().unwrap().get(&source).copied().ok_or(NoProof::Cookie)
    }
}
