//! Asks other servers about names that are not ours. A stub: it asks nobody.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Metadata, ResponseCode};

/// Asks other servers about names that are not ours.
pub struct Forwarder {
    servers: Vec<SocketAddr>,
}

/// How the servers are doing.
#[derive(Clone, Debug)]
pub struct ForwardStatus {
    pub servers: Vec<ServerStatus>,
}

/// How one server is doing.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    pub address: SocketAddr,
    /// How long ago it last answered.
    pub answered: Option<Duration>,
    pub failures: u64,
}

impl Forwarder {
    /// `servers`: whom to ask (never ourselves); `private`: domains whose private answers are believed.
    pub fn new(servers: Vec<SocketAddr>, _private: &[String]) -> Self {
        Self { servers }
    }

    /// The whole answer to this query; SERVFAIL if nobody answers in time.
    pub async fn answer(&self, query: &Message) -> Message {
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata = Metadata::response_from_request(&query.metadata);
        answer.metadata.response_code = ResponseCode::ServFail;
        answer.metadata.recursion_available = true;
        answer.queries.clone_from(&query.queries);
        answer
    }

    pub fn status(&self) -> ForwardStatus {
        let servers = self.servers.iter();
        let servers = servers.map(|&address| ServerStatus { address, answered: None, failures: 0 });
        ForwardStatus { servers: servers.collect() }
    }
}

/// The system's own resolvers now (/etc/resolv.conf), without ourselves.
pub fn system_servers(_own: &[IpAddr], _port: u16) -> Vec<SocketAddr> {
    Vec::new()
}
