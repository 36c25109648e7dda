//! The machine's network interfaces: name, index, MAC and addresses, read from the kernel in one go.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::netlink::{Message, Rtnetlink, address, attributes, half, number};
use crate::model::Mac;

/// One network interface as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// Changes when a device is removed and made again under the same name.
    pub index: u32,
    /// `None` for devices without an Ethernet address.
    pub mac: Option<Mac>,
    pub up: bool,
    pub addresses: Vec<InterfaceAddress>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    pub address: IpAddr,
    /// Duplicate address detection has not ended (IPv6), so it takes part in nothing yet.
    pub tentative: bool,
}

impl Interface {
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }
}

/// All interfaces in the network namespace of the calling thread. Needs no privilege.
///
/// # Errors
/// Those of netlink; none is to be expected.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut kernel = Rtnetlink::open()?;
    let links = kernel.dump(libc::RTM_GETLINK, &[0; LINK_FIXED])?;
    let mut addresses: HashMap<u32, Vec<InterfaceAddress>> = HashMap::new();
    for (index, address) in
        kernel.dump(libc::RTM_GETADDR, &[0; ADDRESS_FIXED])?.iter().filter_map(read_address)
    {
        addresses.entry(index).or_default().push(address);
    }
    let mut found: Vec<_> = links.iter().filter_map(read_link).collect();
    for interface in &mut found {
        interface.addresses = addresses.remove(&interface.index).unwrap_or_default();
    }
    Ok(found)
}

/// The interface of that name, if there is one.
///
/// # Errors
/// As [`interfaces`].
pub fn interface(name: &str) -> io::Result<Option<Interface>> {
    Ok(interfaces()?.into_iter().find(|i| i.name == name))
}

/// `struct ifinfomsg`: family, padding, device type (16 bits), index, flags, change mask.
const LINK_FIXED: usize = 16;

fn read_link(message: &Message) -> Option<Interface> {
    if message.kind != libc::RTM_NEWLINK {
        return None;
    }
    let ethernet = half(&message.body, 2)? == libc::ARPHRD_ETHER;
    let (index, flags) = (number(&message.body, 4)?, number(&message.body, 8)?);
    let (mut name, mut mac) = (None, None);
    for (kind, value) in attributes(message.body.get(LINK_FIXED..)?) {
        match kind {
            libc::IFLA_IFNAME => name = value.strip_suffix(&[0]),
            libc::IFLA_ADDRESS if ethernet && value.len() == 6 => {
                mac = value.first_chunk().copied().map(Mac::new);
            }
            _ => {}
        }
    }
    Some(Interface {
        name: String::from_utf8_lossy(name?).into_owned(),
        index,
        mac,
        up: flags & libc::IFF_UP as u32 != 0,
        addresses: Vec::new(),
    })
}

/// `struct ifaddrmsg`: family, prefix length, the low 8 flags, scope (8 bits each), index.
const ADDRESS_FIXED: usize = 8;

fn read_address(message: &Message) -> Option<(u32, InterfaceAddress)> {
    if message.kind != libc::RTM_NEWADDR {
        return None;
    }
    let index = number(&message.body, 4)?;
    let (mut local, mut either, mut flags) = (None, None, u32::from(*message.body.get(2)?));
    for (kind, value) in attributes(message.body.get(ADDRESS_FIXED..)?) {
        match kind {
            // Where both are there, IFA_ADDRESS is the other end of a point-to-point link.
            libc::IFA_LOCAL => local = address(value),
            libc::IFA_ADDRESS => either = address(value),
            libc::IFA_FLAGS => flags = number(value, 0)?,
            _ => {}
        }
    }
    let tentative = flags & libc::IFA_F_TENTATIVE != 0;
    Some((index, InterfaceAddress { address: local.or(either)?, tentative }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_with_its_address() {
        let lo = interface("lo").unwrap().unwrap();
        assert!(lo.up && lo.index > 0);
        assert_eq!(lo.mac, None, "loopback has no Ethernet address");
        assert!(lo.has("127.0.0.1".parse().unwrap()), "{lo:?}");
    }

    #[test]
    fn an_unknown_name_is_none() {
        assert_eq!(interface("ztnosuchdevice").unwrap(), None);
    }
}
