//! Network namespaces for tests: each is a thread that left for a namespace of its own and runs what it is sent. Nothing
//! is named and nothing is mounted, so a namespace is gone with its thread, also when the test is killed.
//!
//! Works as root and, by `unshare`, as anybody whom the kernel lets make user namespaces. Only the `ip` command is needed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

/// Set in the test process that runs inside `unshare`.
const INSIDE: &str = "ZTGATE_TEST_IN_USER_NAMESPACE";

/// Runs a test where namespaces can be made: here if we may, else in this same binary under `unshare -Urn`. Where neither
/// is possible it prints one line and passes.
///
/// `name` is the test's full name, as `cargo test` prints it.
pub fn with_namespaces(name: &str, test: impl FnOnce()) {
    if let Err(why) = Command::new("ip").arg("-V").stdout(Stdio::null()).status() {
        return println!("skipped: {name}: the command ip (iproute2) is not here: {why}");
    }
    if thread::spawn(leave_for_a_new_namespace).join().is_ok_and(|left| left.is_ok()) {
        return test();
    }
    let may = Command::new("unshare").args(["-Urn", "true"]).stderr(Stdio::null()).status();
    if std::env::var_os(INSIDE).is_some() || !may.is_ok_and(|status| status.success()) {
        return println!("skipped: {name}: needs root, or a kernel that lets users make user namespaces");
    }
    let this = std::env::current_exe().unwrap();
    let mut again = Command::new("unshare");
    again.arg("-Urn").arg(this).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    let output = again.output().unwrap();
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed in a user namespace");
}

fn leave_for_a_new_namespace() -> io::Result<()> {
    // SAFETY: no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

type Job = Box<dyn FnOnce() + Send>;

/// One network namespace. Dropping it ends it and all devices in it.
pub struct Namespace {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    /// The thread's ID, which `ip link set … netns` takes for the namespace.
    id: i32,
}

impl Namespace {
    pub fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            leave_for_a_new_namespace().unwrap();
            // SAFETY: no memory is involved.
            tell.send(unsafe { libc::gettid() }).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        let namespace = Self { jobs: Some(jobs), thread: Some(thread), id: told.recv().unwrap() };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs something inside. Threads and processes that it starts stay inside too. A panic comes through.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let (tell, told) = mpsc::channel();
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
            let _ = tell.send(catch_unwind(AssertUnwindSafe(job)));
        });
        // SAFETY: only the lifetime changes, and we do not return before the job has ended and dropped all it borrows.
        let job: Job = unsafe { std::mem::transmute(job) };
        self.jobs.as_ref().unwrap().send(job).unwrap();
        told.recv().unwrap().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs `ip` with these words inside, and returns what it prints.
    pub fn ip(&self, words: &str) -> String {
        let output = self.run(|| Command::new("ip").args(words.split_whitespace()).output().unwrap());
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs async work inside, on a thread of its own, so that the namespace stays free for other jobs.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> thread::JoinHandle<()> {
        self.run(|| {
            thread::spawn(|| {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
            })
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An Ethernet segment that machines plug into; like a ZeroTier network it delivers whatever MAC a frame has, but unlike
/// it, it does not check that the MAC is the sender's.
pub struct Segment {
    switch: Namespace,
    ports: std::cell::Cell<u32>,
}

impl Segment {
    pub fn new() -> Self {
        let switch = Namespace::new();
        switch.ip("link add name sw type bridge");
        switch.ip("link set sw up");
        Self { switch, ports: 0.into() }
    }

    /// Gives a machine a device on the segment: its name, its MAC, its addresses with prefix lengths. Duplicate address
    /// detection is off, so addresses work at once. Returns the port, to be [unplugged](Self::unplug).
    pub fn plug(&self, machine: &Namespace, device: &str, mac: &str, addresses: &[&str]) -> String {
        let port = format!("p{}", self.ports.replace(self.ports.get() + 1));
        self.switch.ip(&format!("link add name {port} type veth peer name {device} address {mac}"));
        self.switch.ip(&format!("link set {port} master sw up"));
        self.switch.ip(&format!("link set {device} netns {}", machine.id));
        machine.ip(&format!("link set {device} up"));
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            machine.ip(&format!("address add {address} dev {device} {nodad}"));
        }
        port
    }

    /// Has a port only take frames from its device and give it none, whatever MAC it sends from.
    pub fn deafen(&self, port: &str) {
        self.switch.ip(&format!(
            "link set {port} type bridge_slave learning off flood off mcast_flood off bcast_flood off"
        ));
    }

    /// Removes a port, and with it the device at its other end, as a stopping zerotier-one does.
    pub fn unplug(&self, port: &str) {
        self.switch.ip(&format!("link delete {port}"));
    }
}
