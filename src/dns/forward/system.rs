//! The system's own resolvers, as `/etc/resolv.conf` has them (resolv.conf(5)).

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::linux::interfaces;

const FILE: &str = "/etc/resolv.conf";

/// That file speaks of no other port.
const PORT: u16 = 53;

/// The system's own resolvers now, each once, without the ones that are this gateway: its `own` addresses, if it answers
/// on the port that resolvers are asked at.
pub fn system_servers(own: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let index = |name: &str| interfaces::interface(name).ok().flatten().map(|interface| interface.index);
    servers(&text, index, own, port)
}

/// The system's own resolvers, as they were last known.
#[derive(Debug, Default)]
pub struct SystemServers {
    known: Vec<SocketAddr>,
}

impl SystemServers {
    /// [Those of now](system_servers). While the file names nobody, those that it named before: it may be just being
    /// written, or know this gateway alone.
    pub fn now(&mut self, own: &[IpAddr], port: u16) -> Vec<SocketAddr> {
        self.after(system_servers(own, port))
    }

    fn after(&mut self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if !found.is_empty() {
            self.known = found;
        }
        self.known.clone()
    }
}

fn servers(text: &str, index: impl Fn(&str) -> Option<u32>, own: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some("nameserver") = words.next() else { continue };
        let Some(server) = words.next().and_then(|word| server(word, &index)) else { continue };
        let is_own = port == PORT && own.contains(&server.ip().to_canonical());
        if !is_own && !server.ip().is_unspecified() && !found.contains(&server) {
            found.push(server);
        }
    }
    found
}

/// An address; a link-local one with its interface by name or index, like `fe80::1%eth0`.
fn server(word: &str, index: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return Some((word.parse::<IpAddr>().ok()?, PORT).into());
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| index(scope))?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, own: &[&str], port: u16) -> Vec<String> {
        let own: Vec<IpAddr> = own.iter().map(|address| address.parse().unwrap()).collect();
        let index = |name: &str| (name == "eth0").then_some(2);
        servers(text, index, &own, port).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_stand_in_the_files_order_each_once() {
        let text = "# made by hand\nsearch lan\n\tnameserver 192.168.1.1 # router\nnameserver 2620:fe::fe\n\
                    ; nameserver 1.1.1.1\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\nnameserver fe80::2%7\n\
                    nameserver fe80::3%gone\nnameserver\nnameserver router.lan\nnameserver 0.0.0.0\noptions edns0\n";
        let expected = ["192.168.1.1:53", "[2620:fe::fe]:53", "[fe80::1%2]:53", "[fe80::2%7]:53"];
        assert_eq!(read(text, &[], 53), expected);
        assert!(read("", &[], 53).is_empty());
    }

    #[test]
    fn a_file_that_names_nobody_leaves_those_that_it_named() {
        let mut system = SystemServers::default();
        let mut after = |text| {
            let found = servers(text, |_| None, &["10.9.8.1".parse().unwrap()], 53);
            system.after(found).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(after("").is_empty());
        assert_eq!(after("nameserver 192.168.1.1\n"), ["192.168.1.1:53"]);
        for nobody in ["", "names", "nameserver 10.9.8.1\n"] {
            assert_eq!(after(nobody), ["192.168.1.1:53"], "{nobody:?}");
        }
        assert_eq!(after("nameserver 9.9.9.9\n"), ["9.9.9.9:53"]);
    }

    #[test]
    fn the_gateway_does_not_ask_itself() {
        let text = "nameserver 10.9.8.1\nnameserver 127.0.0.53\nnameserver fd00::1\n";
        assert_eq!(read(text, &["10.9.8.1", "fd00::1"], 53), ["127.0.0.53:53"]);
        assert_eq!(read(text, &["10.9.8.1"], 5353), ["10.9.8.1:53", "127.0.0.53:53", "[fd00::1]:53"]);
    }
}
