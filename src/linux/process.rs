//! What the kernel tells of a process: the one that connected to a local socket, and those that this one comes from.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use libc::{c_int, socklen_t};

/// A pidfd of whoever connected, since Linux 6.5 (include/uapi/asm-generic/socket.h). On the few machines that number their
/// options otherwise it is an unknown one, and the call fails.
const SO_PEERPIDFD: c_int = 77;

/// The user ID that says that nobody logged in (proc_pid_loginuid(5)).
const NOBODY: u32 = u32::MAX;

/// How far back the processes are followed that this one comes from.
const MOST_PARENTS: usize = 16;

/// From where a process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The number of the user as whom the session was logged in: `sudo` does not change it, and once it is set only the
    /// system itself can. It proves nothing all the same: whoever has none yet (what a daemon or cron started) may give
    /// itself any, without a privilege (kernel/audit.c, audit_set_loginuid_perm).
    pub login: Option<u32>,
    /// Its terminal, without `/dev/`.
    pub terminal: Option<String>,
}

/// From where the process was started that connected to a local socket; `process` is its number, by SO_PEERCRED. Empty
/// where it cannot be told: the process has ended, or `/proc` hides it (`hidepid`, systemd's `ProtectProc=`).
///
/// Numbers of processes are used again. Where the kernel gives a handle for this one, it is still there once everything has
/// been read, so its number was nobody else's. An older kernel only lets us see that one process had the number all the
/// while, so ask soon after it connected.
pub fn start_of_peer(socket: BorrowedFd<'_>, process: u32) -> Start {
    let handle = peer_handle(socket);
    let read = || {
        let before = Stat::of(process)?;
        let login = fs::read_to_string(format!("/proc/{process}/loginuid")).ok();
        let after = Stat::of(process)?;
        let is_same = match &handle {
            Ok(handle) => is_running(handle),
            Err(error) => knows_no_handles(error) && before.started == after.started,
        };
        let login = login.and_then(|text| text.trim().parse().ok()).filter(|user| *user != NOBODY);
        is_same.then_some(Start { login, terminal: terminal(after.terminal) })
    };
    read().unwrap_or_default()
}

/// An environment variable of this process, or of the nearest before it that has it and lets us look: `sudo` takes most of
/// them from what it starts, but root may look behind it.
pub fn inherited(variable: &str) -> Option<OsString> {
    if let Some(value) = std::env::var_os(variable) {
        return Some(value);
    }
    let mut process = std::os::unix::process::parent_id();
    for _ in 0..MOST_PARENTS {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let mut entries = environment.split(|&byte| byte == 0);
        let value = entries.find_map(|entry| entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"="));
        if let Some(value) = value {
            return Some(OsString::from_vec(value.to_owned()));
        }
        process = Stat::of(process)?.parent;
    }
    None
}

/// Some fields of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    terminal: i32,
    /// In clock ticks since the machine's start.
    started: u64,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    fn read(line: &str) -> Option<Self> {
        // The second field is a name in parentheses that may have anything in it, parentheses too.
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            parent: field(4)?.parse().ok()?,
            terminal: field(7)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
        })
    }
}

/// The name of a terminal by its device number (Documentation/admin-guide/devices.txt); 0 is none.
fn terminal(device: i32) -> Option<String> {
    let device = device.cast_unsigned();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match (major, minor) {
        (136..=143, _) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        (4, 0..64) => Some(format!("tty{minor}")),
        (4, _) => Some(format!("ttyS{}", minor - 64)),
        _ => None,
    }
}

fn peer_handle(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (mut handle, mut length): (c_int, _) = (-1, size_of::<c_int>() as socklen_t);
    // SAFETY: the kernel writes one `c_int`, for which there is room.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut handle).cast::<libc::c_void>(),
            &mut length,
        )
    };
    if status != 0 || handle < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(handle) })
}

/// Whether an older kernel said so, which has no such option. Of a process that has ended, a newer one says something else.
fn knows_no_handles(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOPROTOOPT)
}

/// Whether the process of a pidfd has not ended (pidfd_open(2): it is readable once it has).
fn is_running(handle: &OwnedFd) -> bool {
    let mut look = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the kernel reads and writes one `pollfd`, and does not wait.
    unsafe { libc::poll(&mut look, 1, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn whoever_connected_started_from_where_we_did() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let login = fs::read_to_string("/proc/self/loginuid").unwrap().trim().parse().ok();
        let terminal = terminal(Stat::of(std::process::id()).unwrap().terminal);
        let expected = Start { login: login.filter(|user| *user != NOBODY), terminal };
        assert_eq!(start_of_peer(ours.as_fd(), std::process::id()), expected);
    }

    #[test]
    fn of_a_process_that_is_gone_nothing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let connect = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])";
        let mut child =
            Command::new("python3").args(["-c", connect]).arg(&path).stdin(Stdio::null()).spawn().unwrap();
        let (socket, _) = listener.accept().unwrap();
        let process = child.id();
        child.wait().unwrap();
        assert_eq!(start_of_peer(socket.as_fd(), process), Start::default());
        let handle = peer_handle(socket.as_fd());
        assert!(handle.as_ref().map_or(true, |handle| !is_running(handle)));
        if !handle.is_err_and(|error| knows_no_handles(&error)) {
            // Its number may be anybody's now: ours, say.
            assert_eq!(start_of_peer(socket.as_fd(), std::process::id()), Start::default());
        }
    }

    #[test]
    fn only_a_kernel_without_handles_is_believed_without_one() {
        for (code, is_old) in
            [(libc::ENOPROTOOPT, true), (libc::ESRCH, false), (libc::EINVAL, false), (libc::EMFILE, false)]
        {
            assert_eq!(knows_no_handles(&io::Error::from_raw_os_error(code)), is_old, "{code}");
        }
    }

    #[test]
    fn a_line_of_stat_is_read_whatever_the_program_is_called() {
        let rest = "S 7 4 4 34819 4 4194304 1 0 0 0 0 0 0 0 20 0 1 0 1234567 0 0";
        for name in ["ztgate", "a b", ") R 1 1 1 1 1", "("] {
            let line = format!("42 ({name}) {rest}");
            assert_eq!(
                Stat::read(&line),
                Some(Stat { parent: 7, terminal: 34819, started: 1_234_567 }),
                "{name}"
            );
        }
        assert_eq!(Stat::read("42 (ztgate) S 7"), None);
    }

    #[test]
    fn terminals_have_their_names() {
        for (device, name) in [
            (34819, Some("pts/3")),
            (34816 + 255, Some("pts/255")),
            ((1 << 20) | 34816 | 1, Some("pts/257")),
            (1025, Some("tty1")),
            (1088, Some("ttyS0")),
            (0, None),
        ] {
            assert_eq!(terminal(device).as_deref(), name, "{device}");
        }
    }

    #[test]
    fn a_variable_comes_from_the_nearest_that_has_it() {
        assert_eq!(inherited("PATH"), std::env::var_os("PATH"));
        assert_eq!(inherited("ZTGATE_NOBODY_SETS_THIS"), None);
    }
}
