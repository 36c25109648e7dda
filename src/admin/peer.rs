//! Who is at the socket, as far as the kernel tells.

use std::net::IpAddr;
use std::os::fd::AsFd;

use axum::extract::connect_info::Connected;
use axum::http::HeaderMap;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use crate::linux::process::{self, Start};
use crate::linux::users;
use crate::sync::{Actor, Caller, ChangeOrigin};

use super::SSH_CLIENT;

/// Who connected, as the kernel tells it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The number of the user (unix(7), SO_PEERCRED); `None` if the kernel does not tell.
    user: Option<u32>,
    start: Start,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred().ok();
        // 0 is a process that we cannot see from here.
        let process = peer.and_then(|peer| u32::try_from(peer.pid()?).ok()).filter(|process| *process > 0);
        let start = process.map(|process| process::start_of_peer(stream.io().as_fd(), process));
        Self { user: peer.map(|peer| peer.uid()), start: start.unwrap_or_default() }
    }
}

impl Peer {
    /// The user by name, or the number of one who has none, and from where. `claimed_ssh` is the process's own word.
    pub(super) async fn actor(self, claimed_ssh: Option<IpAddr>) -> Option<Actor> {
        let (user, Start { login, terminal }) = (self.user?, self.start);
        let name = |user| users::name(user).unwrap_or_else(|| user.to_string());
        // The user list may be a directory service, and slow.
        let names = tokio::task::spawn_blocking(move || (name(user), login.map(name))).await;
        let (who, login) = names.unwrap_or_else(|_| (user.to_string(), login.map(|user| user.to_string())));
        Some(Actor { who, origin: Some(ChangeOrigin::Socket(Caller { login, terminal, claimed_ssh })) })
    }
}

/// From where the process says that its user came.
pub(super) fn claimed_ssh(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(SSH_CLIENT)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_an_address_and_nothing_else() {
        for (word, claimed) in
            [("192.168.1.20", true), ("fe80::1", true), ("mum", false), ("", false), ("1.2.3.4 x", false)]
        {
            let headers = HeaderMap::from_iter([(SSH_CLIENT, word.parse().unwrap())]);
            assert_eq!(claimed_ssh(&headers).is_some(), claimed, "{word}");
        }
    }
}
