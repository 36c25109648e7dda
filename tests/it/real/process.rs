//! Programs that a test starts, asks and ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A program that runs until this is dropped.
pub struct Running(pub Child);

impl Running {
    /// Starts it with its talk in a file, and waits until something listens there.
    pub fn until_it_listens(command: &mut Command, address: SocketAddr, log: &Path) -> Self {
        let out = std::fs::File::create(log).unwrap();
        let err = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        let mut running = Self(child);
        let listens = soon(Duration::from_secs(30), || {
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended: {}", std::fs::read_to_string(log).unwrap());
            TcpStream::connect(address).is_ok()
        });
        assert!(listens, "{command:?} does not listen: {}", std::fs::read_to_string(log).unwrap());
        running
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGINT, SIGTERM and so on.
    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(killed.unwrap().success());
    }

    /// How it ended, within that time.
    pub fn ends_within(&mut self, time: Duration) -> std::process::ExitStatus {
        let mut status = None;
        soon(time, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("it did not end within {time:?}"))
    }

    /// Its resident memory in KiB (proc_pid_status(5)).
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether it becomes true within that time.
pub fn soon(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port of loopback that nobody listens on.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Its standard output, of a program that must succeed.
pub fn say(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{}", String::from_utf8_lossy(&stderr));
    stdout
}

/// That command where those names lead to loopback. Libc knows `localhost` only, so it gets a hosts file in a mount
/// namespace of its own.
pub fn knowing(names: &[&str], folder: &Path, program: &Path) -> Command {
    knowing_at(Ipv4Addr::LOCALHOST, names, folder, program)
}

/// The same where those names lead to another address.
pub fn knowing_at(address: Ipv4Addr, names: &[&str], folder: &Path, program: &Path) -> Command {
    let hosts = folder.join("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost\n{address} {}\n", names.join(" "))).unwrap();
    let mut command = knowing_by(&hosts);
    command.arg(program);
    command
}

/// What runs the command that its last arguments are, where that file says where names lead.
pub fn knowing_by(hosts: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#)
        .arg(hosts);
    command
}

/// The SHA-256 of a file, in hex.
pub fn sha256(file: &Path) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &std::fs::read(file).unwrap()).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new file of that many bytes that no compression and no offset by a block can fake.
pub fn file_of(folder: &Path, name: &str, bytes: usize) -> PathBuf {
    let path = folder.join(name);
    let mut content: Vec<u8> = Vec::new();
    for block in super::origin::content().take(bytes.div_ceil(super::origin::BLOCK)) {
        content.extend_from_slice(&block);
    }
    std::fs::write(&path, &content[..bytes]).unwrap();
    path
}
