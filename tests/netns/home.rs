//! A home with the real `ztgate run` in it: a segment, the gateway's machine with a ZeroTier node that is not there, and a
//! service behind it that tells what it was sent.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ztgate::admin::Status;
use ztgate::demo::standin::{NodeStandin, REAL_MEMBERS, StandinHandle, StandinMember, StandinNetwork};

use crate::client::Client;
use crate::harness::{Namespace, Segment};
use crate::lab::{A, B, GATEWAY, NETWORK};

/// For what takes a poll of the controller (every 5 s) and a moment.
pub const PATIENCE: Duration = Duration::from_secs(8);

const TOKEN: &str = "a-token-for-tests";

/// Everything around the gateway. What runs for it ends with it.
pub struct Home {
    pub segment: Segment,
    /// The machine that the gateway runs on.
    pub machine: Namespace,
    /// The node, and the controller in it.
    pub node: StandinHandle,
    files: tempfile::TempDir,
    port: RefCell<Option<String>>,
    /// Dropped, it ends the node and the service.
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Home {
    /// With the gateway's device, and the node on it; a and b are authorised.
    pub fn new() -> Self {
        let home = Self::without_device();
        home.plug();
        home
    }

    pub fn without_device() -> Self {
        let machine = Namespace::new();
        let node = StandinHandle::new(network());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let answers = node.clone();
        let serving = machine.spawn(async move {
            let node = NodeStandin::start(&answers, TOKEN).await.unwrap();
            let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send((node.url(), service.local_addr().unwrap())).unwrap();
            tokio::select! {
                () = echo(service) => {}
                _ = stopped => {}
            }
        });
        let (node_url, service) = told.recv().unwrap();
        let files = tempfile::tempdir().unwrap();
        let token = files.path().join("token");
        fs::write(&token, TOKEN).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let home = Self {
            segment: Segment::new(),
            machine,
            node,
            files,
            port: RefCell::default(),
            stop: Some(stop),
            serving: Some(serving),
        };
        let config = format!(
            "network = \"{NETWORK}\"\nzone = \"home.arpa\"\nstate_dir = \"state\"\n\
             [node]\nurl = \"{node_url}\"\ntoken_file = \"token\"\n\
             [service.echo]\nupstream = \"http://{service}\"\nplain_http = true\nallow = [\"*\"]\n"
        );
        fs::write(home.config(), config).unwrap();
        home
    }

    pub fn config(&self) -> PathBuf {
        self.files.path().join("ztgate.toml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.files.path().join("state")
    }

    /// Gives the gateway's machine its device.
    pub fn plug(&self) {
        *self.port.borrow_mut() = Some(GATEWAY.plug(&self.segment, &self.machine));
    }

    /// Takes the device away, as a stopping zerotier-one does.
    pub fn unplug(&self) {
        let port = self.port.borrow_mut().take();
        self.segment.unplug(&port.unwrap());
    }

    /// `ztgate run`, with all rights of root.
    pub fn start(&self) -> Gateway {
        self.spawn(self.run())
    }

    /// `ztgate run` by somebody who may not change the neighbour table.
    pub fn start_without_net_admin(&self) -> Gateway {
        let mut run = self.run();
        // SAFETY: prctl is safe between fork and exec. What the bounding set lacks, exec cannot give.
        unsafe {
            run.pre_exec(|| {
                const CAP_NET_ADMIN: libc::c_ulong = 12;
                match libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        self.spawn(run)
    }

    fn run(&self) -> Command {
        let mut run = self.command(&["run"]);
        let log = fs::File::options().create(true).append(true).open(self.files.path().join("log")).unwrap();
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        run
    }

    fn spawn(&self, mut run: Command) -> Gateway {
        let process = self.machine.run(move || run.spawn().unwrap());
        Gateway { process, log: self.files.path().join("log") }
    }

    /// Another verb, to be run beside the gateway.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztgate"));
        command.arg("--config").arg(self.config()).args(words).env_remove("ZTGATE_LOG");
        command
    }

    /// Runs another verb beside the gateway.
    pub fn ztgate(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    /// `ztgate status --json`; `None` while no gateway answers.
    pub fn status(&self) -> Option<Status> {
        let output = self.ztgate(&["status", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// `ztgate status`, as a person sees it; empty while no gateway answers.
    pub fn status_screen(&self) -> String {
        String::from_utf8(self.ztgate(&["status"]).stdout).unwrap()
    }

    /// Waits for something in the status.
    #[track_caller]
    pub fn until_status(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let found = until(PATIENCE, || {
            last = self.status();
            last.as_ref().is_some_and(&holds)
        });
        assert!(found, "{what}: {last:#?}\n{}", self.log());
        last.unwrap()
    }

    /// `ztgate audit --json` with these words.
    pub fn audit(&self, words: &[&str]) -> Vec<Value> {
        let output = self.ztgate(&[&["audit", "--json"], words].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the audit log has a record with this verdict whose fields are these (null for an absent one).
    #[track_caller]
    pub fn recorded(&self, verdict: &str, fields: &[(&str, Option<&str>)]) {
        let mut all = Vec::new();
        let is = |record: &Value| fields.iter().all(|(key, value)| record[*key].as_str() == *value);
        let found = until(PATIENCE, || {
            all = self.audit(&["--verdict", verdict]);
            all.iter().any(is)
        });
        assert!(found, "no record of {verdict} with {fields:?} in {all:#?}");
    }

    /// How often something was refused so, by all records together: repeats within 10 s are one record, written at the end.
    pub fn refused(&self, verdict: &str, member: &str) -> u64 {
        let records = self.audit(&["--verdict", verdict, "--member", member]);
        records.iter().filter_map(|record| record["count"].as_u64()).sum()
    }

    /// Waits until this member is served at all three of the gateway's addresses: then its identity is proved too.
    #[track_caller]
    pub fn until_served(&self, machine: &Namespace) {
        let mut last = Vec::new();
        let served = until(PATIENCE, || {
            last = GATEWAY
                .at(80)
                .map(|at| Client::new(machine, at).and_then(|mut client| client.get("/")))
                .into();
            last.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200))
        });
        assert!(served, "{last:#?}\n{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.serving.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// The recorded network: its node, a and b.
fn network() -> StandinNetwork {
    let network = NETWORK.parse().unwrap();
    let mut standin = StandinNetwork::new(network, "home", REAL_MEMBERS[0], "zt0").unwrap();
    let prefixes = [24, 88, 40];
    standin.addresses = GATEWAY
        .addresses()
        .into_iter()
        .zip(prefixes)
        .map(|(a, p)| ipnet::IpNet::new(a, p).unwrap())
        .collect();
    standin.members[0].assigned.push(GATEWAY.addresses()[0]);
    for (node, identity) in [(A, REAL_MEMBERS[1]), (B, REAL_MEMBERS[2])] {
        standin.members.push(StandinMember::new(identity).authorized().at(node.addresses()[0]));
    }
    standin
}

/// A service that answers each GET with the head it was sent.
async fn echo(listener: TcpListener) {
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        open.spawn(echo_on(stream));
    }
}

async fn echo_on(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        head.extend(&chunk[..count]);
        if head.ends_with(b"\r\n\r\n") {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
            let whole = [answer.as_bytes(), &head].concat();
            if stream.write_all(&whole).await.is_err() {
                return;
            }
            head.clear();
        }
    }
}

/// A running `ztgate run`; killed when dropped.
pub struct Gateway {
    process: Child,
    log: PathBuf,
}

impl Gateway {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory is involved, and the process is our child that was not waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as libc::pid_t, signal) }, 0);
    }

    /// Ends it in order.
    #[track_caller]
    pub fn stop(self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.ended().code(), Some(0));
    }

    /// Waits for the process to end, for as long as a stop may take.
    pub fn ended(mut self) -> ExitStatus {
        let mut status = None;
        until(PATIENCE, || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.expect("the gateway does not end")
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Tries until something holds, or patience ends.
pub fn until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
