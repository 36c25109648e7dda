//! Who holds a port: the kernel's socket tables, joined with each process's open files.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub pid: u32,
    /// Its short name (`comm`), which it may have chosen itself; control characters are replaced.
    pub command: String,
}

impl Holder {
    /// As whom it works with files: the fourth number of `Uid` in proc_pid_status(5). `None` if it is gone.
    pub fn user(&self) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        users.split_ascii_whitespace().nth(3)?.parse().ok()
    }

    /// The file system as the process sees it, with the mounts that it alone may have (proc_pid_root(5)).
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid))
    }

    /// Whether its root is ours; not so in a container. Where we may not look, it is taken for ours.
    pub fn shares_our_root(&self) -> bool {
        let place = |path: &Path| fs::metadata(path).map(|root| (root.dev(), root.ino()));
        match (place(&self.root()), place(Path::new("/"))) {
            (Ok(its), Ok(ours)) => its == ours,
            _ => true,
        }
    }
}

impl OpenSocket {
    /// Whether other machines may reach it, too.
    pub fn is_open_to_others(&self) -> bool {
        !self.address.ip().to_canonical().is_loopback()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.command, self.pid)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A socket that takes what comes from outside: listening (TCP), or bound and not connected (UDP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSocket {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// `None` if the process belongs to another user and we may not look, or the kernel itself holds it.
    pub holder: Option<Holder>,
}

/// Who holds the port in a way that keeps us from this address, for the line about an address in use. `None` if nobody
/// does, or it is not ours to see (then run `ztgate doctor` as root).
pub fn holder(protocol: Protocol, at: SocketAddr) -> Option<Holder> {
    let mut in_the_way = sockets(protocol)
        .into_iter()
        .filter(|s| s.address.port() == at.port() && reaches(s.address.ip(), &[at.ip()]))
        .collect::<Vec<_>>();
    in_the_way.retain(|s| s.inode != 0);
    let holders = holders();
    in_the_way.iter().find_map(|s| holders.get(&s.inode)).cloned()
}

/// The sockets that a peer on the overlay could reach at one of these addresses, but for those of the processes `ours`;
/// ordered by protocol and port.
///
/// A socket bound to another device is listed too: the kernel's tables do not tell. One that several processes share is
/// listed under the first of them.
pub fn foreign_sockets(overlay: &[IpAddr], ours: &[u32]) -> Vec<OpenSocket> {
    let holders = holders();
    let mut found: Vec<_> = [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .flat_map(|protocol| sockets(protocol).into_iter().map(move |socket| (protocol, socket)))
        .filter(|(_, socket)| reaches(socket.address.ip(), overlay))
        .map(|(protocol, socket)| OpenSocket {
            protocol,
            address: socket.address,
            holder: holders.get(&socket.inode).cloned(),
        })
        .filter(|socket| !socket.holder.as_ref().is_some_and(|holder| ours.contains(&holder.pid)))
        .collect();
    found.sort_by_key(|s| (s.protocol, s.address.port(), s.address.ip()));
    found.dedup();
    found
}

/// The TCP sockets that listen at a port, on whichever address.
pub fn listening_at(port: u16) -> Vec<OpenSocket> {
    let holders = holders();
    let found = sockets(Protocol::Tcp).into_iter().filter(|socket| socket.address.port() == port);
    found
        .map(|socket| OpenSocket {
            protocol: Protocol::Tcp,
            address: socket.address,
            holder: holders.get(&socket.inode).cloned(),
        })
        .collect()
}

/// Whether what is bound to `bound` is reachable at one of the addresses.
fn reaches(bound: IpAddr, addresses: &[IpAddr]) -> bool {
    match bound {
        // A socket on `::` takes IPv4 too, unless it is told not to, which the tables do not show.
        IpAddr::V6(v6) if v6.is_unspecified() => !addresses.is_empty(),
        IpAddr::V4(v4) if v4.is_unspecified() => addresses.iter().any(IpAddr::is_ipv4),
        exact => addresses.contains(&exact.to_canonical()),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct TableLine {
    address: SocketAddr,
    inode: u64,
}

fn sockets(protocol: Protocol) -> Vec<TableLine> {
    let mut lines = Vec::new();
    for version in ["", "6"] {
        let table = format!("/proc/thread-self/net/{protocol}{version}");
        // A missing table means that IPv6 is off.
        let text = fs::read_to_string(table).unwrap_or_default();
        lines.extend(text.lines().skip(1).filter_map(|line| read_line(protocol, line)));
    }
    lines
}

/// One line of `/proc/net/{tcp,udp}{,6}` (proc_pid_net(5)), if it is of a socket that waits for peers.
fn read_line(protocol: Protocol, line: &str) -> Option<TableLine> {
    // include/net/tcp_states.h: TCP_LISTEN, and TCP_CLOSE, in which an unconnected UDP socket is.
    let waiting = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    // Skipped: both queues, both timers, retransmits, user and timeout.
    let inode = fields.nth(5)?.parse().ok()?;
    (state == waiting).then_some(TableLine { address: read_address(local)?, inode })
}

/// An address in 32-bit words, each printed as the machine reads it from memory, and a port.
fn read_address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for word in words.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let ip = match octets.len() {
        4 => IpAddr::from(*octets.first_chunk::<4>()?),
        16 => IpAddr::from(Ipv6Addr::from(*octets.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The holder of each socket inode, as far as we may look; the lowest process ID where several share one.
fn holders() -> HashMap<u64, Holder> {
    let mut found = HashMap::new();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for pid in pids {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let mut command = None;
        for inode in files.flatten().filter_map(|file| socket_inode(&fs::read_link(file.path()).ok()?)) {
            let command: &String = command.get_or_insert_with(|| command_of(pid));
            found.entry(inode).or_insert_with(|| Holder { pid, command: command.clone() });
        }
    }
    found
}

fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn command_of(pid: u32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    String::from_utf8_lossy(&name).trim_end().chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_port_in_use_names_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(holder(Protocol::Tcp, at).unwrap().pid, std::process::id());
        drop(listener);
        assert_eq!(holder(Protocol::Tcp, at), None);
    }

    #[test]
    fn a_wildcard_is_in_everybodys_way_and_another_address_in_nobodys() {
        let wildcard = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = wildcard.local_addr().unwrap().port();
        assert!(holder(Protocol::Tcp, SocketAddr::new([127, 0, 0, 9].into(), port)).is_some());
        let exact = TcpListener::bind("127.0.0.8:0").unwrap();
        let port = exact.local_addr().unwrap().port();
        assert_eq!(holder(Protocol::Tcp, SocketAddr::new([127, 0, 0, 9].into(), port)), None);
    }

    #[test]
    fn foreign_sockets_are_those_that_peers_reach_and_we_do_not_hold() {
        let tcp = TcpListener::bind("127.0.0.7:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.7:0").unwrap();
        let connected = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let at = ["127.0.0.7".parse().unwrap()];
        let here = |found: &[OpenSocket], address| found.iter().any(|s| s.address == address);

        let found = foreign_sockets(&at, &[]);
        assert!(
            here(&found, tcp.local_addr().unwrap()) && here(&found, udp.local_addr().unwrap()),
            "{found:?}"
        );
        assert!(!here(&found, connected.local_addr().unwrap()), "a connection is no door");
        assert!(!here(&foreign_sockets(&["127.0.0.6".parse().unwrap()], &[]), tcp.local_addr().unwrap()));
        assert!(!here(&foreign_sockets(&at, &[std::process::id()]), tcp.local_addr().unwrap()));
    }

    #[test]
    fn only_what_listens_beyond_loopback_is_open_to_others() {
        for (at, open) in [("0.0.0.0:0", true), ("127.0.0.1:0", false), ("[::1]:0", false)] {
            let listener = TcpListener::bind(at).unwrap();
            let address = listener.local_addr().unwrap();
            let found = listening_at(address.port());
            let found = found.iter().map(|socket| (socket.address, socket.is_open_to_others()));
            assert_eq!(found.collect::<Vec<_>>(), [(address, open)]);
        }
    }

    #[test]
    fn a_process_is_known_by_its_user_and_its_root() {
        let own = Holder { pid: std::process::id(), command: "it".into() };
        let owner = fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(own.user(), Some(owner));
        assert!(own.shares_our_root() && own.root().join("proc").is_dir());
        assert_eq!(Holder { pid: 0, ..own }.user(), None, "there is no such process");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn table_lines_read_as_addresses() {
        for (local, address) in [
            ("0100007F:07E8", "127.0.0.1:2024"),
            ("00000000:0050", "0.0.0.0:80"),
            ("00000000000000000000000001000000:01BB", "[::1]:443"),
        ] {
            let line = |state| format!("   0: {local} 00000000:0000 {state} 0:0 00:0 0  0  0 640 1 x");
            let expected = TableLine { address: address.parse().unwrap(), inode: 640 };
            assert_eq!(read_line(Protocol::Tcp, &line("0A")), Some(expected), "{local}");
            assert_eq!(read_line(Protocol::Tcp, &line("01")), None, "established");
        }
        assert_eq!(read_line(Protocol::Tcp, "garbage"), None);
    }
}
