//! A node and its controller that are not there: HTTP servers on loopback that answer as a real node was recorded to
//! answer (zerotier-one 1.14.1), so that the real clients run without ZeroTier.

mod answers;
mod network;
mod server;
mod writes;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

pub use network::{Fault, REAL_MEMBERS, StandinMember, StandinNetwork, Write, WriteFault};

use crate::model::MemberId;

/// The network that stand-ins answer for. Clones share it; a change shows in the next answer.
#[derive(Clone, Debug)]
pub struct StandinHandle(Arc<Mutex<StandinNetwork>>);

impl StandinHandle {
    pub fn new(network: StandinNetwork) -> Self {
        Self(Arc::new(Mutex::new(network)))
    }

    /// Changes anything about the network.
    pub fn change<T>(&self, change: impl FnOnce(&mut StandinNetwork) -> T) -> T {
        change(&mut self.lock())
    }

    /// What goes wrong from now on; `None` for nothing.
    pub fn fail(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// What goes wrong with writes from now on; `None` for nothing.
    pub fn fail_writes(&self, fault: Option<WriteFault>) {
        self.lock().write_fault = fault;
    }

    /// Every write that was asked for, in order, carried out or not. Empty proves that nobody wrote anything.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    /// Whom the controller was told to authorise (`true`) or to deauthorise, in order, as far as it did.
    pub fn authorizations(&self) -> Vec<(MemberId, bool)> {
        self.lock().writes.iter().filter_map(Write::authorization).collect()
    }

    fn lock(&self) -> MutexGuard<'_, StandinNetwork> {
        // A test that panicked within `change` leaves data that is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ZeroTier node that is its network's controller. Gone when dropped: then connections are refused.
#[derive(Debug)]
pub struct NodeStandin {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

/// ZeroTier Central, version 1 of its API. Gone when dropped.
#[derive(Debug)]
pub struct CentralStandin {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl NodeStandin {
    /// Listens on a loopback port of the system's choice. The token is what `X-ZT1-Auth` must say.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(network: &StandinHandle, token: &str) -> io::Result<Self> {
        let (address, serving) = server::serve(network.clone(), server::Api::Node, token.to_owned()).await?;
        Ok(Self { address, serving })
    }

    /// Like `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl CentralStandin {
    /// Listens on a loopback port of the system's choice. The token is what `Authorization: token` must say.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(network: &StandinHandle, token: &str) -> io::Result<Self> {
        let (address, serving) =
            server::serve(network.clone(), server::Api::Central, token.to_owned()).await?;
        Ok(Self { address, serving })
    }

    /// Like `http://127.0.0.1:40123/api/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1", self.address)
    }
}

impl Drop for NodeStandin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Drop for CentralStandin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[cfg(test)]
mod tests;
