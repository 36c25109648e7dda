//! The few system calls that std has no words for, and with them all of this package's `unsafe`.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// No single read or write of the load generator may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A blocking connection to a port of 127.0.0.1.
///
/// `source` spreads many connections over several addresses, so that the ports of one do not run out.
pub fn connect(port: u16, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(address) = source {
        // The port is then chosen by `connect`, for the pair of addresses.
        set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        socket.bind(&SocketAddrV4::new(address, 0).into())?;
    }
    socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// A listener on 127.0.0.1 beside others on the same port; the kernel spreads connections over them.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Whether a call waits for the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Yes,
    No,
}

/// Takes up to `most` received bytes off the socket without copying them; 0 at the end of the stream.
pub fn discard(stream: &TcpStream, most: usize, wait: Wait) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | if wait == Wait::No { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: for TCP, MSG_TRUNC drops the bytes, and the kernel never touches the buffer (tcp(7)).
    checked(unsafe { libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), most, flags) })
}

/// Sends bytes that a file's content follows, so that the kernel puts both into one segment.
pub fn send_before_file(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_MORE;
    // SAFETY: pointer and length are those of a live slice.
    checked(unsafe { libc::send(stream.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Sends up to `most` bytes of `file` and moves `offset` on.
pub fn send_file(stream: &TcpStream, file: &File, offset: &mut i64, most: usize) -> io::Result<usize> {
    // SAFETY: both descriptors and the offset outlive the call.
    checked(unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), offset, most) })
}

fn set_option(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is a live i32, and `size` is its size.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) }
        as isize)?;
    Ok(())
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Readiness of many sockets: level-triggered epoll, with a descriptor's number as its token.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; the descriptor it returns is ours alone.
        let epoll = unsafe {
            let fd = checked(libc::epoll_create1(libc::EPOLL_CLOEXEC) as isize)?;
            OwnedFd::from_raw_fd(fd as RawFd)
        };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] })
    }

    /// Watches a socket for something to read.
    pub fn add(&self, socket: &impl AsRawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), libc::EPOLLIN)
    }

    /// Watches it for room to write too, or no longer.
    pub fn set_writing(&self, socket: &impl AsRawFd, writing: bool) -> io::Result<()> {
        let out = if writing { libc::EPOLLOUT } else { 0 };
        self.control(libc::EPOLL_CTL_MOD, socket.as_raw_fd(), libc::EPOLLIN | out)
    }

    /// The descriptors that are ready; none if `timeout` passed first.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<RawFd>> {
        let milliseconds = timeout.map_or(-1, |timeout| timeout.as_millis() as i32);
        let room = self.events.len() as i32;
        // SAFETY: the pointer and `room` describe the live vector that the kernel fills.
        let ready =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, milliseconds) };
        match checked(ready as isize) {
            Ok(count) => Ok(self.events[..count].iter().map(|event| event.u64 as RawFd).collect()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn control(&self, operation: i32, fd: RawFd, interest: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: fd as u64 };
        // SAFETY: the event is live for the call; the kernel copies it.
        checked(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) } as isize)?;
        Ok(())
    }
}
