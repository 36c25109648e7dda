//! Listening sockets that hear one device only, and the SYN that the kernel kept for each connection.

use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that may wait to be accepted, per listener. Beyond it the kernel falls back to SYN cookies, which carry
/// no proof of origin, so one member's burst would refuse everybody. `net.core.somaxconn` (4096 since Linux 5.4) caps it.
const BACKLOG: c_int = 4096;

/// Bytes of datagrams that may wait to be read, a small one counting as some 800 (socket(7)). `net.core.rmem_max` caps it, by
/// default at twice what a socket has that does not ask.
const WAITING: usize = 1 << 20;

/// With 1 the kernel saves no link-layer header, and the header is the proof.
const SAVE_SYN_WITH_LINK_LAYER: c_int = 2;

/// A listener at an address that hears one device only, and keeps each connection's SYN for [`saved_syn`].
///
/// Each worker thread makes its own at the same address (`SO_REUSEPORT`). The device is bound before the address, so
/// there is no moment in which another device could reach it. `None` binds no device; that is for tests and the demo,
/// on loopback. An IPv6 address need not be there yet (`IPV6_FREEBIND`).
///
/// # Errors
/// `AddrInUse` if another program holds the port ([`super::holder::holder`] names it), `ENODEV` if the device is gone,
/// `PermissionDenied` below port 1024 without CAP_NET_BIND_SERVICE, `InvalidInput` before Linux 5.10, which saves no
/// link-layer header.
pub fn listener(at: SocketAddr, device: Option<&str>) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(at), kind, Some(Protocol::TCP))?;
    socket.bind_device(device.map(str::as_bytes))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    // Accepted sockets inherit it.
    keep_alive(&socket)?;
    set_int(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, SAVE_SYN_WITH_LINK_LAYER)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket for datagrams at an address that hears one device only. One of a kind: it shares its address with nobody.
///
/// The device is bound before the address, as for [`listener`]; `None` binds no device, for tests on loopback. What it
/// sends comes from that address. An IPv6 address need not be there yet (`IPV6_FREEBIND`).
///
/// # Errors
/// `AddrInUse` if another program holds the port ([`super::holder::holder`] names it), `ENODEV` if the device is gone,
/// `PermissionDenied` below port 1024 without CAP_NET_BIND_SERVICE.
pub fn udp(at: SocketAddr, device: Option<&str>) -> io::Result<UdpSocket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(at), kind, Some(Protocol::UDP))?;
    socket.bind_device(device.map(str::as_bytes))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    socket.set_recv_buffer_size(WAITING)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Has the kernel ask now and then whether the peer of a silent connection is still there, so that one with a phone that
/// vanished ends within four minutes. No TCP_USER_TIMEOUT beside it: that would end a film that is only paused.
///
/// # Errors
/// Those of setsockopt; none is to be expected of a TCP socket.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    let every = TcpKeepalive::new()
        .with_time(Duration::from_secs(120))
        .with_interval(Duration::from_secs(30))
        .with_retries(4);
    SockRef::from(socket).set_tcp_keepalive(&every)
}

/// The peer of a connected socket.
///
/// # Errors
/// `NotConnected` once the peer has reset the connection.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let peer = SockRef::from(&socket).peer_addr()?;
    peer.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Makes closing the socket a reset: what the kernel still holds for the peer is dropped instead of sent.
///
/// # Errors
/// Those of setsockopt; none is to be expected of a TCP socket.
pub fn reset_on_close(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the owner of the descriptor is borrowed for as long as we use it.
    let socket = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

/// What the kernel knows of the other end of a connection, without anything being read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// Nothing says that it has left.
    Open,
    /// It sends no more. Whether it still reads, nobody can tell.
    Finished,
    /// The connection was reset, or both sides have ended it.
    Gone,
}

/// Looks at the other end of a connection. A number that is no connection's is `Open`: there is nothing to tell.
///
/// A FIN behind bytes for which the receiver has no room has not arrived, and cannot be seen.
pub fn peer_end(socket: RawFd) -> PeerEnd {
    let mut look = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: the kernel reads and writes one `pollfd`, and does not wait.
    if unsafe { libc::poll(&mut look, 1, 0) } != 1 {
        return PeerEnd::Open;
    }
    if look.revents & (libc::POLLHUP | libc::POLLERR) != 0 {
        PeerEnd::Gone
    } else if look.revents & libc::POLLRDHUP != 0 {
        PeerEnd::Finished
    } else {
        PeerEnd::Open
    }
}

/// The bytes of a saved SYN, from the link-layer header to the end of the TCP header.
pub struct SavedBytes {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl SavedBytes {
    /// 14 bytes of Ethernet, and room for 60 each of IPv4 and TCP with all options. What does not fit (IPv6 with
    /// extension headers) is no SYN that we would believe.
    const CAPACITY: usize = 134;
}

impl Deref for SavedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Takes the SYN that the kernel saved for an accepted connection; it can be taken once. Empty if there is none: taken
/// already, or the connection came through a SYN cookie.
///
/// # Errors
/// `InvalidInput` if the SYN is longer than any that is believed, `ENOPROTOOPT` where the kernel saves none.
pub fn saved_syn(socket: BorrowedFd<'_>) -> io::Result<SavedBytes> {
    let mut saved = SavedBytes { bytes: [0; SavedBytes::CAPACITY], length: 0 };
    let mut length = SavedBytes::CAPACITY as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `bytes`, which has that many.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            saved.bytes.as_mut_ptr().cast::<c_void>(),
            &mut length,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    saved.length = (length as usize).min(SavedBytes::CAPACITY);
    Ok(saved)
}

pub(super) fn set_int(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one `c_int` from `value`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    fn accepted(listener: &TcpListener) -> (TcpStream, TcpStream) {
        listener.set_nonblocking(false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_syn_is_saved_with_its_link_layer_header_and_taken_once() {
        for (at, least) in [("127.0.0.1:0", 14 + 20 + 20), ("[::1]:0", 14 + 40 + 20)] {
            let listener = listener(at.parse().unwrap(), Some("lo")).unwrap();
            let (client, server) = accepted(&listener);
            let syn = saved_syn(server.as_fd()).unwrap();
            assert!(syn.len() >= least, "{at}: {}", syn.len());
            assert!(saved_syn(server.as_fd()).unwrap().is_empty(), "{at}: taken twice");
            assert_eq!(peer(server.as_fd()).unwrap(), client.local_addr().unwrap());
            assert!(server.nodelay().unwrap(), "{at}: inherited from the listener");
        }
    }

    #[test]
    fn how_the_other_end_left_is_seen_behind_unread_bytes() {
        use std::io::Write;
        use std::net::Shutdown;
        let listener = listener("127.0.0.1:0".parse().unwrap(), None).unwrap();
        for (finishes, resets, leaves, seen) in [
            (false, false, false, PeerEnd::Open),
            (true, false, false, PeerEnd::Finished),
            (false, false, true, PeerEnd::Finished),
            (false, true, true, PeerEnd::Gone),
        ] {
            let (mut client, server) = accepted(&listener);
            client.write_all(b"unread").unwrap();
            if finishes {
                client.shutdown(Shutdown::Write).unwrap();
            }
            if resets {
                reset_on_close(&client).unwrap();
            }
            let stays = (!leaves).then_some(client);
            assert_eq!(peer_end(server.as_raw_fd()), seen, "{finishes} {resets} {leaves}");
            drop(stays);
        }
        assert_eq!(peer_end(-1), PeerEnd::Open);
    }

    #[test]
    fn workers_share_an_address_and_strangers_do_not() {
        let first = listener("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let at = first.local_addr().unwrap();
        assert!(listener(at, None).is_ok());
        assert_eq!(TcpListener::bind(at).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn datagrams_are_for_one_socket_alone() {
        let first = udp("127.0.0.1:0".parse().unwrap(), Some("lo")).unwrap();
        let at = first.local_addr().unwrap();
        assert_eq!(udp(at, None).unwrap_err().kind(), ErrorKind::AddrInUse);
        let usual = UdpSocket::bind("127.0.0.1:0").unwrap();
        let room = |socket: &UdpSocket| SockRef::from(socket).recv_buffer_size().unwrap();
        assert!(room(&first) > room(&usual));
        assert!(udp("[fd5e:2d9::1]:0".parse().unwrap(), None).is_ok(), "need not be there yet");
        assert!(udp("127.0.0.1:0".parse().unwrap(), Some("ztnosuchdevice")).is_err());
    }

    #[test]
    fn an_ipv6_address_need_not_be_there_yet_and_a_device_must() {
        assert!(listener("[fd5e:2d9::1]:0".parse().unwrap(), None).is_ok());
        assert!(listener("127.0.0.1:0".parse().unwrap(), Some("ztnosuchdevice")).is_err());
    }
}
