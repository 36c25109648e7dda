//! `ztgate demo` as a process of its own: the gateway as people have it, with services of a test's own.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Running, say, soon};

/// How long a debug build may take for what must happen at all, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running demo. It ends when it is dropped.
pub struct Door {
    pub process: Running,
    pub folder: TempDir,
    first: u16,
}

impl Door {
    /// Starts it on ports that are free, and waits for its banner.
    pub fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let door = Self { process: start(folder.path(), free_ports()), first: 0, folder };
        door.listening()
    }

    /// The same folder and ports after the process has gone.
    pub fn reopen(self) -> Self {
        let Self { process, folder, first } = self;
        drop(process);
        Self { process: start(folder.path(), first), first, folder }.listening()
    }

    fn listening(mut self) -> Self {
        let out = self.folder.path().join("out");
        assert!(soon(PATIENCE, || self.banner().contains("Ctrl-C")
            || self.process.0.try_wait().unwrap().is_some()));
        let banner = self.banner();
        let first = banner.split("http://films.localhost:").nth(1);
        let first = first.and_then(|rest| rest.split('/').next()).and_then(|port| port.parse().ok());
        self.first = first.unwrap_or_else(|| panic!("{}: {banner}{}", out.display(), self.stderr()));
        self
    }

    /// What it printed.
    pub fn banner(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("demo/ztgate.toml")
    }

    pub fn audit_db(&self) -> PathBuf {
        self.folder.path().join("demo/state/audit.db")
    }

    /// Adds a service that the laptop may open, and waits until it is served.
    pub fn serve(&self, name: &str, upstream: SocketAddr) -> &Self {
        let mut config = std::fs::read_to_string(self.config()).unwrap();
        config += &format!("\n[service.{name}]\nupstream = \"http://{upstream}\"\nallow = [\"laptop\"]\n");
        let beside = self.folder.path().join("ztgate.toml");
        std::fs::write(&beside, config).unwrap();
        // Whole at once, as editors do.
        std::fs::rename(beside, self.config()).unwrap();
        let served = soon(PATIENCE, || {
            let status = self.json(&["status", "--json"]);
            status["services"].as_array().unwrap().iter().any(|service| service["name"] == name)
        });
        assert!(served, "{name} is not served: {}", self.stderr());
        self
    }

    /// The upstream of a service that the demo brought.
    pub fn upstream_of(&self, name: &str) -> Option<String> {
        let status = self.json(&["status", "--json"]);
        let services = status["services"].as_array().unwrap();
        let service = services.iter().find(|service| service["name"] == name)?;
        Some(service["upstream"].as_str().unwrap().to_owned())
    }

    pub fn port(&self) -> u16 {
        self.first
    }

    /// The port that stands for the child's tablet.
    pub fn tablet_port(&self) -> u16 {
        self.first + 1
    }

    /// The port that stands for a television that waits.
    pub fn television_port(&self) -> u16 {
        self.first + 2
    }

    pub fn tls_port(&self) -> u16 {
        self.first + 363
    }

    pub fn http(&self, service: &str, path: &str) -> String {
        format!("http://{service}.localhost:{}{path}", self.port())
    }

    pub fn https(&self, service: &str, path: &str) -> String {
        format!("https://{service}.localhost:{}{path}", self.tls_port())
    }

    /// The private CA's root certificate, in a file.
    pub fn root(&self) -> PathBuf {
        let file = self.folder.path().join("root.pem");
        std::fs::write(&file, self.ztgate(&["certs", "root"]).stdout).unwrap();
        file
    }

    /// One command of the gateway's.
    pub fn ztgate(&self, args: &[&str]) -> Output {
        ztgate(&self.config(), args)
    }

    /// What a read command says with `--json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.ztgate(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
    }

    /// curl that trusts the gateway's CA and gives up in time. What it printed.
    pub fn curl(&self, args: &[&str]) -> String {
        say(Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "120", "--cacert"])
            .arg(self.root())
            .args(args))
    }
}

/// Runs the built program with that configuration.
pub fn ztgate(config: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztgate"));
    command.arg("--config").arg(config).args(args).stdin(Stdio::null()).output().unwrap()
}

fn start(folder: &Path, first: u16) -> Running {
    let file = |name: &str| std::fs::File::create(folder.join(name)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_ztgate"))
        .args(["demo", "--port", &first.to_string(), "--folder"])
        .arg(folder.join("demo"))
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap();
    Running(child)
}

/// Ports that the demo can have, below those that the system hands out by itself.
pub fn free_ports() -> u16 {
    let mut random = [0; 2];
    for _ in 0..100 {
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        let first = 10_000 + u16::from_ne_bytes(random) % 20_000;
        let free =
            |port: u16| ["127.0.0.1", "::1"].iter().all(|host| TcpListener::bind((*host, port)).is_ok());
        if [first, first + 1, first + 2, first + 363].into_iter().all(free) {
            return first;
        }
    }
    panic!("no free ports")
}
