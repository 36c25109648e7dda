//! Netlink, as far as it is needed: a signal that something changed, and requests with their answers.
//!
//! The layouts are those of rtnetlink(7) and netlink(7). Numbers are in the machine's byte order; bytes are cut by
//! length, never cast.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd;
use std::time::Duration;

use libc::{c_int, sockaddr_nl, socklen_t};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

/// Tells that something of a kind changed. What changed is for the listener to look up: messages can be lost, and
/// then only a fresh look is right.
pub struct Changes {
    socket: AsyncFd<Socket>,
}

impl Changes {
    /// Changes of links and addresses from now on, in the network namespace of the calling thread. Needs no privilege.
    ///
    /// # Errors
    /// Those of the system calls; none is to be expected.
    pub fn watch() -> io::Result<Self> {
        Self::of(libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR)
    }

    /// Changes of neighbour entries and routes, likewise. Where the kernel itself learns neighbours they are frequent.
    ///
    /// # Errors
    /// As [`Changes::watch`].
    pub fn watch_neighbours() -> io::Result<Self> {
        Self::of(libc::RTMGRP_NEIGH | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE)
    }

    fn of(groups: c_int) -> io::Result<Self> {
        let socket = open(groups as u32)?;
        socket.set_nonblocking(true)?;
        // SAFETY: the socket owns its descriptor, and nothing takes it out while it is registered.
        Ok(Self { socket: unsafe { AsyncFd::register(socket) }? })
    }

    /// Waits for a change; several that came together are one. Cancelling it loses nothing.
    ///
    /// # Errors
    /// If the socket fails for good.
    pub async fn wait(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let changed = drain(ready.get_inner())?;
            ready.clear_ready();
            if changed {
                return Ok(());
            }
        }
    }
}

fn drain(socket: &Socket) -> io::Result<bool> {
    let mut changed = false;
    loop {
        match socket.recv(&mut [MaybeUninit::uninit(); 64]) {
            Ok(_) => changed = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Messages were lost, which is news too.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
            Err(error) => return Err(error),
        }
    }
}

fn open(groups: u32) -> io::Result<Socket> {
    let kind = Type::RAW.cloexec();
    let socket =
        Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    // SAFETY: all fields are integers, for which zero is a value.
    let mut address: sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    // SAFETY: the kernel reads one `sockaddr_nl`, which outlives the call.
    let status = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<sockaddr_nl>() as socklen_t)
    };
    if status == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

const HEADER: usize = 16;
/// As large as the kernel ever makes one part of a dump.
const PART: usize = 32 * 1024;
/// Set on a dump that changed while it was made.
const DUMP_INTERRUPTED: u16 = 0x10;

/// A socket for requests to the kernel.
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

/// One answer: its kind (`RTM_…`), and what follows the header.
pub(super) struct Message {
    pub kind: u16,
    pub body: Vec<u8>,
}

impl Rtnetlink {
    pub fn open() -> io::Result<Self> {
        let socket = open(0)?;
        // The kernel answers before `send` returns; a limit only so that no surprise can hang a task.
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for a whole table; asks again if it changed under way.
    pub fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        for _ in 0..8 {
            self.send(kind, libc::NLM_F_DUMP as u16, body)?;
            let (answers, consistent) = self.answers()?;
            if consistent {
                return Ok(answers);
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the kernel's table kept changing while it was read"))
    }

    /// Asks for a change and waits for the kernel's yes or no.
    pub fn change(&mut self, kind: u16, flags: c_int, body: &[u8]) -> io::Result<()> {
        self.send(kind, (flags | libc::NLM_F_ACK) as u16, body)?;
        self.answers().map(|_| ())
    }

    /// Asks about one thing.
    pub fn ask(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        self.send(kind, libc::NLM_F_ACK as u16, body)?;
        self.answers().map(|(answers, _)| answers)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(body);
        self.socket.send(&message).map(|_| ())
    }

    /// The answers to the last request, up to the one that ends them, and whether they are of one moment.
    fn answers(&mut self) -> io::Result<(Vec<Message>, bool)> {
        let (mut answers, mut consistent) = (Vec::new(), true);
        loop {
            let mut part = Vec::with_capacity(PART);
            let length = self.socket.recv(part.spare_capacity_mut())?;
            // SAFETY: `recv` says that it wrote that many bytes.
            unsafe { part.set_len(length) };
            let mut rest = &part[..];
            while let Some((header, body, after)) = cut(rest) {
                rest = after;
                if header.sequence != self.sequence {
                    continue;
                }
                consistent &= header.flags & DUMP_INTERRUPTED == 0;
                match c_int::from(header.kind) {
                    libc::NLMSG_DONE => return Ok((answers, consistent)),
                    libc::NLMSG_ERROR => {
                        return match number(body, 0).map_or(libc::EBADMSG, |code| -(code as i32)) {
                            0 => Ok((answers, consistent)),
                            code => Err(io::Error::from_raw_os_error(code)),
                        };
                    }
                    _ => answers.push(Message { kind: header.kind, body: body.to_vec() }),
                }
            }
        }
    }
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

fn cut(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = number(bytes, 0)? as usize;
    let header = Header { kind: half(bytes, 4)?, flags: half(bytes, 6)?, sequence: number(bytes, 8)? };
    let body = bytes.get(HEADER..length)?;
    Some((header, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes that follow a message's fixed part, as (type, value).
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // The two top bits of a type are flags.
    const TYPE: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let kind = half(bytes, 2)? & TYPE;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Appends one attribute with its padding.
pub(super) fn put_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The 32-bit number at an offset.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The 16-bit number at an offset.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// An IP address in an attribute, told by its length.
pub(super) fn address(value: &[u8]) -> Option<std::net::IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|octets| (*octets).into()),
        16 => value.first_chunk::<16>().map(|octets| (*octets).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_as_they_were_put() {
        let mut message = Vec::new();
        put_attribute(&mut message, 1, &[10, 0, 0, 1]);
        put_attribute(&mut message, 12, &[90]);
        put_attribute(&mut message, 2, &[1, 2, 3, 4, 5, 6]);
        let read: Vec<_> = attributes(&message).collect();
        assert_eq!(read, [(1, &[10, 0, 0, 1][..]), (12, &[90]), (2, &[1, 2, 3, 4, 5, 6])]);
    }

    #[test]
    fn broken_lengths_end_the_reading() {
        for broken in [&[0, 0, 1, 0][..], &[3, 0, 1, 0], &[200, 0, 1, 0, 9], &[1]] {
            assert_eq!(attributes(broken).count(), 0, "{broken:?}");
            assert!(cut(broken).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn the_kernels_no_is_an_error() {
        let missing_link = [&[0_u8; 4][..], &i32::MAX.to_ne_bytes(), &[0; 8]].concat();
        let error = Rtnetlink::open().unwrap().change(libc::RTM_DELLINK, 0, &missing_link).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
