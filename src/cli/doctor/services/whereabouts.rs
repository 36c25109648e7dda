//! Where a service runs, as far as that can be told from here. What else of it may be looked at hangs on this.

use std::net::{IpAddr, UdpSocket};

use crate::config::{Upstream, UpstreamHost};
use crate::linux::container;
use crate::linux::holder::{self, Holder, OpenSocket};
use crate::linux::wsl::{self, NoWindowsHost};

/// Programs that hold a port for a container with a network of its own: Docker's, Podman's, and what both use without
/// root. As the kernel cuts names (`comm`, 15 bytes).
const FORWARDERS: [&str; 7] =
    ["docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "pasta.avx2", "conmon"];

/// From where doctor looks.
#[derive(Clone, Debug)]
pub struct Vantage {
    /// In a container other programs of the same machine are as far away as those of another.
    pub in_container: bool,
    pub windows_host: Result<IpAddr, NoWindowsHost>,
}

impl Vantage {
    /// This machine, or this container.
    pub fn here() -> Self {
        Self { in_container: container::is_around_us(), windows_host: wsl::windows_host() }
    }

    /// What to connect to for an upstream: an address, or a name that is still to be looked up.
    pub fn host(&self, host: &UpstreamHost) -> Result<String, NoWindowsHost> {
        match host {
            UpstreamHost::Address(address) => Ok(address.to_string()),
            UpstreamHost::Name(name) => Ok(name.clone()),
            UpstreamHost::WindowsHost => self.windows_host.clone().map(|address| address.to_string()),
        }
    }
}

/// What this machine's own tables say about a service.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Where the upstream is right now.
    pub addresses: Vec<IpAddr>,
    /// All of these are ours.
    pub own: bool,
    /// What listens on our side at the upstream's port.
    pub listeners: Vec<OpenSocket>,
    /// It said something when it was asked.
    pub answered: bool,
}

impl Seen {
    pub fn of(upstream: &Upstream, addresses: Vec<IpAddr>, answered: bool) -> Self {
        // Only an address of this machine can be bound; it takes no port away from anybody.
        let is_own = |address: &IpAddr| address.is_loopback() || UdpSocket::bind((*address, 0)).is_ok();
        let own = !addresses.is_empty() && addresses.iter().all(is_own);
        let listeners = if own { holder::listening_at(upstream.port) } else { Vec::new() };
        Self { addresses, own, listeners, answered }
    }

    /// The process that hears what is said to the upstream.
    fn holder(&self) -> Option<&Holder> {
        let hears = |socket: &&OpenSocket| {
            let bound = socket.address.ip().to_canonical();
            bound.is_unspecified() || self.addresses.contains(&bound)
        };
        self.listeners.iter().find(hears)?.holder.as_ref()
    }
}

/// Where a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Here, with our file system; as which process, if we may see it.
    Here(Option<Holder>),
    /// Behind a port of this machine that somebody forwards: to a container, as a rule.
    Forwarded,
    /// In a container that has our network and its own file system.
    HostNetwork,
    /// We are in a container, and share the network with it, but do not see its process.
    BesideUs,
    /// We are in a container, and it is in another one, or on another machine.
    OutsideOurContainer,
    OtherMachine,
    /// On the Windows around this WSL2.
    Windows {
        /// Mirrored networking: it need not listen on more than Windows' own loopback.
        shares_loopback: bool,
    },
    /// The upstream has no address right now, which other findings say.
    Unknown,
}

impl Whereabouts {
    pub fn of(host: &UpstreamHost, seen: &Seen, vantage: &Vantage) -> Self {
        match (host, &vantage.windows_host) {
            (UpstreamHost::WindowsHost, Ok(address)) => {
                return Self::Windows { shares_loopback: address.is_loopback() };
            }
            (UpstreamHost::WindowsHost, Err(_)) => return Self::Unknown,
            _ => {}
        }
        match (seen.holder(), vantage.in_container) {
            _ if seen.addresses.is_empty() => Self::Unknown,
            _ if !seen.own && vantage.in_container => Self::OutsideOurContainer,
            _ if !seen.own => Self::OtherMachine,
            (Some(holder), _) if FORWARDERS.contains(&&*holder.command) => Self::Forwarded,
            (Some(holder), _) if !holder.shares_our_root() => Self::HostNetwork,
            (Some(holder), _) => Self::Here(Some(holder.clone())),
            (None, true) => Self::BesideUs,
            // A rule of the kernel's, or Windows in mirrored mode.
            (None, false) if seen.answered && seen.listeners.is_empty() => Self::Forwarded,
            (None, false) => Self::Here(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::holder::Protocol;

    const LAN: &str = "192.0.2.9";

    /// Sees a service at an address, ours or not, and who listens at its port: `(address, command)`.
    fn seen(address: &str, own: bool, listeners: &[(&str, Option<&str>)]) -> Seen {
        let listener = |(address, command): &(&str, Option<&str>)| OpenSocket {
            protocol: Protocol::Tcp,
            address: format!("{address}:6800").parse().unwrap(),
            holder: command.map(|command| Holder { pid: std::process::id(), command: command.into() }),
        };
        Seen {
            addresses: vec![address.parse().unwrap()],
            own,
            listeners: listeners.iter().map(listener).collect(),
            answered: true,
        }
    }

    fn host(address: &str) -> UpstreamHost {
        UpstreamHost::Address(address.parse().unwrap())
    }

    #[test]
    fn where_a_service_runs_is_told_by_who_holds_its_port() {
        let here = Whereabouts::Here(Some(Holder { pid: std::process::id(), command: "dl".into() }));
        let local = "127.0.0.1";
        let elsewhere = seen(LAN, false, &[]);
        let nobody = seen(local, true, &[]);
        for (seen, outside, inside) in [
            (seen(local, true, &[(local, Some("dl"))]), &here, &here),
            (seen(local, true, &[("0.0.0.0", Some("dl"))]), &here, &here),
            (seen(LAN, true, &[(LAN, Some("dl"))]), &here, &here),
            (seen(local, true, &[(local, None)]), &Whereabouts::Here(None), &Whereabouts::BesideUs),
            (
                seen(local, true, &[("0.0.0.0", Some("docker-proxy"))]),
                &Whereabouts::Forwarded,
                &Whereabouts::Forwarded,
            ),
            // The one that listens elsewhere is another.
            (seen(local, true, &[(LAN, Some("docker-proxy")), (local, Some("dl"))]), &here, &here),
            (nobody.clone(), &Whereabouts::Forwarded, &Whereabouts::BesideUs),
            (Seen { answered: false, ..nobody }, &Whereabouts::Here(None), &Whereabouts::BesideUs),
            (elsewhere.clone(), &Whereabouts::OtherMachine, &Whereabouts::OutsideOurContainer),
            (Seen { addresses: vec![], ..elsewhere }, &Whereabouts::Unknown, &Whereabouts::Unknown),
        ] {
            for (in_container, expected) in [(false, outside), (true, inside)] {
                let vantage = Vantage { in_container, windows_host: Err(NoWindowsHost::NotWsl) };
                let told = Whereabouts::of(&host(LAN), &seen, &vantage);
                assert_eq!(told, *expected, "{seen:?} {in_container}");
            }
        }
    }

    #[test]
    fn windows_is_where_wsl2_says() {
        for (windows_host, connects, expected) in [
            (Ok("172.20.0.1"), Ok("172.20.0.1"), Whereabouts::Windows { shares_loopback: false }),
            (Ok("127.0.0.1"), Ok("127.0.0.1"), Whereabouts::Windows { shares_loopback: true }),
            (Err(NoWindowsHost::NotWsl), Err(NoWindowsHost::NotWsl), Whereabouts::Unknown),
            (Err(NoWindowsHost::Mode), Err(NoWindowsHost::Mode), Whereabouts::Unknown),
            (Err(NoWindowsHost::NoRoute), Err(NoWindowsHost::NoRoute), Whereabouts::Unknown),
        ] {
            let windows_host = windows_host.map(|address| address.parse().unwrap());
            let vantage = Vantage { in_container: false, windows_host };
            assert_eq!(vantage.host(&UpstreamHost::WindowsHost), connects.map(str::to_owned));
            assert_eq!(Whereabouts::of(&UpstreamHost::WindowsHost, &Seen::default(), &vantage), expected);
            assert_eq!(vantage.host(&host(LAN)), Ok(LAN.to_owned()), "other words mean what they did");
        }
    }
}
