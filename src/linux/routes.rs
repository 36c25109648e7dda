//! Which way the kernel would send a packet.

use std::io;
use std::net::IpAddr;

use super::netlink::{Rtnetlink, attributes, number, put_attribute};

/// The routing tables, through one netlink socket. Reading needs no privilege.
pub struct Routes(Rtnetlink);

/// `struct rtmsg`: family, lengths of destination and source, TOS, table, protocol, scope, type (8 bits each), flags.
const FIXED: usize = 12;
/// Where the type stands in it.
const TYPE: usize = 7;

impl Routes {
    /// # Errors
    /// Those of netlink; none is to be expected.
    pub fn open() -> io::Result<Self> {
        Rtnetlink::open().map(Self)
    }

    /// Whether a packet that a socket bound to this device sends to the address goes to the address itself, and not to a
    /// router on the way: then the address's neighbour entry says who gets it. Told for the routes of this moment, the more
    /// specific ones and policy rules included; not for rules that go by a packet's source or mark.
    ///
    /// # Errors
    /// Those of netlink; none is to be expected. That there is no way is no error.
    pub fn is_on_link(&mut self, ifindex: u32, address: IpAddr) -> io::Result<bool> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        let mut message = vec![family as u8, 8 * octets.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        put_attribute(&mut message, libc::RTA_DST, &octets);
        put_attribute(&mut message, libc::RTA_OIF, &ifindex.to_ne_bytes());
        let answers = match self.0.ask(libc::RTM_GETROUTE, &message) {
            Err(error) if leads_nowhere(&error) => return Ok(false),
            answers => answers?,
        };
        Ok(answers.iter().filter(|answer| answer.kind == libc::RTM_NEWROUTE).any(|answer| {
            let unicast = answer.body.get(TYPE) == Some(&libc::RTN_UNICAST);
            let (mut device, mut routed) = (None, false);
            for (kind, value) in attributes(answer.body.get(FIXED..).unwrap_or_default()) {
                match kind {
                    libc::RTA_OIF => device = number(value, 0),
                    libc::RTA_GATEWAY | libc::RTA_VIA => routed = true,
                    _ => {}
                }
            }
            unicast && !routed && device == Some(ifindex)
        }))
    }
}

/// The answers to a question for a route that is not there, or one that says no (`unreachable`, `prohibit`, `blackhole`).
fn leads_nowhere(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::ENODEV)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_address_and_a_device_that_is_not_there_are_not_on_link() {
        let mut routes = Routes::open().unwrap();
        for (ifindex, address) in [(1, "127.0.0.1"), (u32::MAX >> 1, "10.147.20.2")] {
            assert!(!routes.is_on_link(ifindex, address.parse().unwrap()).unwrap(), "{address}");
        }
    }
}

// What is on link is tested in tests/netns, where a device can be had.
