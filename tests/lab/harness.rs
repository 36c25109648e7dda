//! The lab: its network by `lab.sh`, its machines as namespaces to run things in.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ztgate::linux::interfaces::{Interface, interfaces};

use crate::upstream::{self, Ended};

pub const NETWORK: &str = "5e02d9cb41c0ffee";

pub const GATEWAY: Host = Host {
    name: "gw",
    id: "5e02d9cb41",
    mac: "ee:a1:c2:98:00:98",
    v4: "10.147.20.1",
    rfc4193: "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41",
    six_plane: "fc1f:c226:255e:2d9:cb41::1",
};
pub const A: Host = Host {
    name: "a",
    id: "c4c8812898",
    mac: "ee:3b:08:c0:e3:41",
    v4: "10.147.20.11",
    rfc4193: "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898",
    six_plane: "fc1f:c226:25c4:c881:2898::1",
};
pub const B: Host = Host {
    name: "b",
    id: "bcba17eef8",
    mac: "ee:43:7a:56:25:21",
    v4: "10.147.20.12",
    rfc4193: "fd5e:2d9:cb41:c0ff:ee99:93bc:ba17:eef8",
    six_plane: "fc1f:c226:25bc:ba17:eef8::1",
};
/// Asked to join, and was never authorised: it has no IPv4 address, and may use neither of the others.
pub const C: Host = Host {
    name: "c",
    id: "c46f4e4b8f",
    mac: "ee:3b:af:0f:80:56",
    v4: "",
    rfc4193: "fd5e:2d9:cb41:c0ff:ee99:93c4:6f4e:4b8f",
    six_plane: "fc1f:c226:25c4:6f4e:4b8f::1",
};
/// The planet's root. It is on the underlay alone.
pub const ROOT: Host = Host { name: "root", id: "0cc5dbc348", mac: "", v4: "", rfc4193: "", six_plane: "" };
/// Where the gateway's machine is on the underlay.
pub const GATEWAY_UNDERLAY: &str = "10.99.0.2";

/// One machine of the lab, as `lab.sh` makes it: a namespace `zt-NAME`.
#[derive(Clone, Copy)]
pub struct Host {
    pub name: &'static str,
    pub id: &'static str,
    pub mac: &'static str,
    pub v4: &'static str,
    pub rfc4193: &'static str,
    pub six_plane: &'static str,
}

impl Host {
    pub fn addresses(self) -> [&'static str; 3] {
        [self.v4, self.rfc4193, self.six_plane]
    }

    /// Runs something in the machine's network; threads and processes that it starts stay in it.
    pub fn run<T: Send>(self, job: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            self.enter();
            job()
        };
        thread::scope(|scope| match scope.spawn(entered).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Makes the calling thread a part of the machine's network for good.
    fn enter(self) {
        let namespace = File::open(format!("/run/netns/zt-{}", self.name)).unwrap();
        // SAFETY: the descriptor is open, and no memory is involved.
        let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(entered, 0, "{}: {}", self.name, std::io::Error::last_os_error());
    }

    /// A program that runs on the machine, with a `/sys` and mounts of its own.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("zt-{}", self.name)]).arg(program);
        command
    }

    /// Runs `ip` with these words there, and returns what it prints.
    pub fn ip(self, words: &str) -> String {
        text(self.command("ip").args(words.split_whitespace()))
    }

    /// The machine's ZeroTier device, if it is there.
    pub fn device(self) -> Option<Interface> {
        let found = self.run(|| interfaces().unwrap());
        found.into_iter().find(|interface| interface.name.starts_with("zt"))
    }

    /// Whether each of its addresses can be used. An IPv6 address is tentative at first, and until then Linux speaks from
    /// a link-local one, which is nobody's.
    pub fn is_ready(self) -> bool {
        let usable = |device: Interface| {
            let on = |it: &str| {
                device.addresses.iter().any(|a| !a.tentative && a.address == it.parse::<IpAddr>().unwrap())
            };
            self.addresses().into_iter().all(on)
        };
        self.device().is_some_and(usable)
    }

    /// Opens a URL by its name, which stands for the address `at`, with further words for curl.
    pub fn curl(self, url: &str, at: &str, more: &[&str]) -> Result<Answer, String> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (name, port) = (rest.split('/').next().unwrap(), if scheme == "https" { 443 } else { 80 });
        let resolve = format!("{name}:{port}:[{at}]");
        let mut curl = self.command("curl");
        curl.args(["-sSi", "--max-time", "4", "--resolve", &resolve]).args(more).arg(url);
        let output = curl.output().unwrap();
        match output.status.success() {
            true => Ok(Answer::parse(&String::from_utf8_lossy(&output.stdout))),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

/// What came back for a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The header `Ztgate-Refusal`.
    pub refusal: Option<String>,
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let header =
            |line: &str| line.to_ascii_lowercase().strip_prefix("ztgate-refusal: ").map(str::to_owned);
        Self {
            status: head.split_whitespace().nth(1).unwrap().parse().unwrap(),
            refusal: head.lines().find_map(header),
            body: body.to_owned(),
        }
    }

    /// Whether the service answered, and what it saw as the member.
    #[track_caller]
    pub fn upstream_saw_member(&self, host: Host) {
        assert_eq!((self.status, &self.refusal), (200, &None), "{}", self.body);
        let said = self.body.to_ascii_lowercase();
        let seen: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("x-ztgate-member: ")).collect();
        assert_eq!(seen, [host.id], "{}", self.body);
    }

    #[track_caller]
    pub fn is_refused(&self, code: &str) {
        assert_eq!(self.refusal.as_deref(), Some(code), "{} {}", self.status, self.body);
    }
}

/// The network. Dropping it removes all of it.
pub struct Lab {
    script: PathBuf,
    homes: tempfile::TempDir,
    /// When each endless answer of the service ended.
    ended: mpsc::Receiver<Ended>,
}

impl Lab {
    /// Makes the network, or tells what is missing for it.
    pub fn up() -> Result<Self, String> {
        let folder =
            std::env::var_os("ZTGATE_TEST_LAB").ok_or("ZTGATE_TEST_LAB names no folder with lab.sh")?;
        let programs = std::env::var_os("ZTBIN").ok_or("ZTBIN names no folder with zerotier-one")?;
        let script = Path::new(&folder).join("lab.sh");
        for file in [&script, &Path::new(&programs).join("zerotier-one")] {
            if !file.is_file() {
                return Err(format!("{} is not there", file.display()));
            }
        }
        // SAFETY: geteuid has no preconditions and cannot fail (geteuid(2)).
        if unsafe { libc::geteuid() } != 0 {
            return Err("it takes root".to_owned());
        }
        let namespaces = text(Command::new("ip").args(["netns", "list"]));
        if namespaces.contains("zt-gw") {
            return Err(format!("one is up already; type: {} down", script.display()));
        }
        let homes = tempfile::tempdir().unwrap();
        print!("{}", sh(&script, homes.path(), &["up"]));
        let lab = Self { script, homes, ended: upstream::serve() };
        for host in [GATEWAY, A, B] {
            within(Duration::from_secs(10), "all addresses can be used", || host.is_ready().then_some(()));
        }
        Ok(lab)
    }

    /// The home of a machine's node.
    pub fn home(&self, host: Host) -> PathBuf {
        self.homes.path().join(host.name)
    }

    /// `start`, `stop`, `restart` or `kill9` a machine's zerotier-one.
    pub fn node(&self, host: Host, verb: &str) {
        self.sh(&["zt", host.name, verb]);
    }

    /// Asks a machine's node.
    pub fn api(&self, host: Host, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let said = self.sh(&["api", host.name, method, path, &body]);
        serde_json::from_str(&said).unwrap_or(Value::Null)
    }

    /// What the node's own command line says on a machine.
    pub fn cli(&self, host: Host, words: &[&str]) -> String {
        let program = Path::new(&std::env::var_os("ZTBIN").unwrap()).join("zerotier-cli");
        let home = format!("-D{}", self.home(host).display());
        text(host.command(program).arg(home).args(words))
    }

    /// Changes a member's record at the controller.
    pub fn set_member(&self, host: Host, body: &Value) {
        let path = format!("/controller/network/{NETWORK}/member/{}", host.id);
        let said = self.api(GATEWAY, "POST", &path, body);
        assert_eq!(said["id"], host.id, "{said}");
    }

    /// A member's record at the controller.
    pub fn member(&self, host: Host) -> Value {
        let path = format!("/controller/network/{NETWORK}/member/{}", host.id);
        self.api(GATEWAY, "GET", &path, &Value::Null)
    }

    /// Has a machine leave the network, and the controller forget that it ever asked.
    pub fn forget(&self, host: Host) {
        self.api(host, "DELETE", &format!("/network/{NETWORK}"), &Value::Null);
        let forgotten = || {
            // Its last question may arrive after the first time.
            let path = format!("/controller/network/{NETWORK}/member/{}", host.id);
            self.api(GATEWAY, "DELETE", &path, &Value::Null);
            self.member(host).is_null().then_some(())
        };
        within(Duration::from_secs(5), "the controller forgets it", forgotten);
    }

    /// Has a machine ask to join.
    pub fn join(&self, host: Host) {
        self.api(host, "POST", &format!("/network/{NETWORK}"), &json!({}));
    }

    /// When the service's endless answer to a member, begun by this flow, ended. Fails after `limit`.
    #[track_caller]
    pub fn film_ended(&self, host: Host, since: Instant, limit: Duration) -> Instant {
        let ended = || self.ended.try_iter().find(|it| it.member == host.id && it.at >= since);
        within(limit, &format!("the service is not read any more for {}", host.name), ended).0.at
    }

    /// Changes the network's settings at the controller.
    pub fn set_network(&self, body: &Value) {
        let said = self.api(GATEWAY, "POST", &format!("/controller/network/{NETWORK}"), body);
        assert_eq!(said["id"], NETWORK, "{said}");
    }

    fn sh(&self, words: &[&str]) -> String {
        sh(&self.script, self.homes.path(), words)
    }
}

fn sh(script: &Path, homes: &Path, words: &[&str]) -> String {
    text(Command::new("bash").arg(script).args(words).env("ZTHOMES", homes))
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.sh(&["down"]);
    }
}

/// Whether this machine has a program, after a line that says so if it has not.
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    if !is_there {
        println!("  skipped: {program} is not here");
    }
    is_there
}

/// What a program prints; it has to succeed.
#[track_caller]
pub fn text(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// Asks again and again until there is an answer, and tells how long that took. Fails after `limit`.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return (answer, start.elapsed());
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Undoes something at the end of a flow, also of one that fails.
pub struct Undo<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for Undo<F> {
    fn drop(&mut self) {
        let undone = catch_unwind(AssertUnwindSafe(&mut self.0));
        // A second failure would end the process, and leave the network behind.
        assert!(undone.is_ok() || thread::panicking(), "the network is not as it was");
    }
}
