//! Sample services for the demo, each on a loopback port of the system's choice: films, a chat, and aria2 if installed.
//!
//! They are ordinary upstreams: they trust what the gateway says in its headers, and know nothing else of it.

mod aria2;
mod catalogue;
mod chat;
mod films;
mod page;
mod range;
mod reel;
mod serve;
mod told;

use std::io;
use std::net::SocketAddr;

use aria2::Aria2;
use serve::{Stop, Tasks};

/// The running services. Dropping it ends them, with every connection that they have open.
#[derive(Debug)]
pub struct Samples {
    films: SocketAddr,
    chat: SocketAddr,
    aria2: Option<Aria2>,
    _stop: Stop,
}

impl Samples {
    /// Starts them on the current tokio runtime, and returns once each accepts connections.
    ///
    /// # Errors
    /// When loopback has no port to give. An aria2 that is missing or does not start is no error: see [`Self::aria2`].
    pub async fn start() -> io::Result<Self> {
        let (stop, tasks) = Tasks::new();
        let films = films::start(&tasks).await?;
        let chat = chat::start(&tasks).await?;
        Ok(Self { films, chat, aria2: Aria2::start().await, _stop: stop })
    }

    /// A page with pictures, 2 GB downloads that take ranges, and a feed of server-sent events.
    pub fn films(&self) -> SocketAddr {
        self.films
    }

    /// A page whose messages go over a WebSocket.
    pub fn chat(&self) -> SocketAddr {
        self.chat
    }

    /// aria2's RPC, without a secret; `None` if `aria2c` is not on the PATH or did not start.
    pub fn aria2(&self) -> Option<SocketAddr> {
        self.aria2.as_ref().map(Aria2::address)
    }
}

#[cfg(test)]
mod tests;
