//! Permanent entries in the kernel's neighbour table: which MAC answers to an address go to, whatever ARP or neighbour
//! discovery claim.

use std::io;
use std::net::IpAddr;

use super::netlink::{Message, Rtnetlink, address, attributes, half, number, put_attribute};
use crate::model::Mac;

/// One permanent entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permanent {
    pub address: IpAddr,
    pub mac: Mac,
    /// Made by ztgate, this one or one before it, as its protocol mark tells.
    pub ours: bool,
}

/// The neighbour table, through one netlink socket. Reading needs no privilege; a change needs CAP_NET_ADMIN.
pub struct Neighbours(Rtnetlink);

/// Marks our entries (`ip neigh` shows it as `proto 90`), so that those left by a killed gateway are found again. No
/// number that `linux/rtnetlink.h` gives to another program (`RTPROT_*`).
const PROTOCOL: u8 = 90;
/// `NDA_PROTOCOL` of `linux/neighbour.h`, since Linux 5.2.
const NDA_PROTOCOL: u16 = 12;
/// `struct ndmsg`: family, padding (24 bits), index, state (16), flags (8), type (8).
const FIXED: usize = 12;

impl Neighbours {
    /// # Errors
    /// Those of netlink; none is to be expected.
    pub fn open() -> io::Result<Self> {
        Rtnetlink::open().map(Self)
    }

    /// The permanent entries of a device.
    ///
    /// # Errors
    /// Those of netlink; none is to be expected.
    pub fn permanent(&mut self, ifindex: u32) -> io::Result<Vec<Permanent>> {
        let answers = self.0.dump(libc::RTM_GETNEIGH, &[0; FIXED])?;
        Ok(answers.iter().filter_map(|message| read(message, ifindex)).collect())
    }

    /// Makes an address's entry permanent with this MAC, whatever was there.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_ADMIN, `ENODEV` if the device is gone.
    pub fn pin(&mut self, ifindex: u32, address: IpAddr, mac: Mac) -> io::Result<()> {
        let mut message = fixed(ifindex, address, libc::NUD_PERMANENT);
        put_attribute(&mut message, libc::NDA_LLADDR, &mac.octets());
        put_attribute(&mut message, NDA_PROTOCOL, &[PROTOCOL]);
        self.0.change(libc::RTM_NEWNEIGH, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &message)
    }

    /// Removes an address's entry; one that is not there is no error.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_ADMIN.
    pub fn unpin(&mut self, ifindex: u32, address: IpAddr) -> io::Result<()> {
        match self.0.change(libc::RTM_DELNEIGH, 0, &fixed(ifindex, address, 0)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {
                Ok(())
            }
            other => other,
        }
    }
}

fn fixed(ifindex: u32, address: IpAddr, state: u16) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let mut message = vec![family as u8, 0, 0, 0];
    message.extend(ifindex.to_ne_bytes());
    message.extend(state.to_ne_bytes());
    message.extend([0, 0]);
    put_attribute(&mut message, libc::NDA_DST, &octets);
    message
}

fn read(message: &Message, ifindex: u32) -> Option<Permanent> {
    let permanent = half(&message.body, 8)? & libc::NUD_PERMANENT != 0;
    if message.kind != libc::RTM_NEWNEIGH || !permanent || number(&message.body, 4)? != ifindex {
        return None;
    }
    let (mut at, mut mac, mut ours) = (None, None, false);
    for (kind, value) in attributes(message.body.get(FIXED..)?) {
        match kind {
            libc::NDA_DST => at = address(value),
            libc::NDA_LLADDR if value.len() == 6 => mac = value.first_chunk().copied().map(Mac::new),
            NDA_PROTOCOL => ours = value == [PROTOCOL],
            _ => {}
        }
    }
    Some(Permanent { address: at?, mac: mac?, ours })
}

// Tested in tests/netns, where a device can be had.
