//! What an attacker on the segment sends by hand: ARP replies and neighbour advertisements that claim whatever it likes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use ztgate::linux::interfaces::interface;

/// Sends an ARP reply from `device`: `address` is at `claimed`, told to `target`. The Ethernet source is the device's own,
/// as ZeroTier would enforce.
pub fn arp_says(device: &str, address: &str, claimed: &str, target: (&str, &str)) {
    let device = interface(device).unwrap().unwrap();
    let mac = |text: &str| text.parse::<ztgate::model::Mac>().unwrap().octets();
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let (target_mac, target_ip) = (mac(target.0), ip(target.1));
    let mut frame = Vec::new();
    frame.extend(target_mac);
    frame.extend(device.mac.unwrap().octets());
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 2]);
    frame.extend(mac(claimed));
    frame.extend(ip(address));
    frame.extend(target_mac);
    frame.extend(target_ip);
    send(device.index, &frame).unwrap();
}

/// Sends a neighbour advertisement from `device` (RFC 4861, section 4.4, solicited and overriding): `address` is at
/// `claimed`, told to `target`. The Ethernet source is the device's own.
pub fn na_says(device: &str, address: &str, claimed: &str, target: (&str, &str)) {
    const ICMP_V6: u8 = 58;
    let device = interface(device).unwrap().unwrap();
    let mac = |text: &str| text.parse::<ztgate::model::Mac>().unwrap().octets();
    let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let (target_mac, target_ip) = (mac(target.0), ip(target.1));
    let mut icmp = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
    icmp.extend(ip(address));
    icmp.extend([2, 1]);
    icmp.extend(mac(claimed));
    let length = icmp.len() as u8;
    let pseudo = [&ip(address)[..], &target_ip, &[0, 0, 0, length, 0, 0, 0, ICMP_V6], &icmp].concat();
    let sum: u32 = pseudo.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = Vec::new();
    frame.extend(target_mac);
    frame.extend(device.mac.unwrap().octets());
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, ICMP_V6, 255]);
    frame.extend(ip(address));
    frame.extend(target_ip);
    frame.extend(icmp);
    send(device.index, &frame).unwrap();
}

fn send(ifindex: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is new and ours alone.
    let socket = unsafe {
        match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) {
            -1 => return Err(io::Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    // SAFETY: all fields are integers, for which zero is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = ifindex as i32;
    // SAFETY: frame and address outlive the call, and their lengths are right.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent == frame.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
}
