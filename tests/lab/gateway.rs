//! The real program in the gateway's namespace.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{A, B, GATEWAY, Host, Lab, NETWORK, text, within};
use crate::upstream::UPSTREAM;

/// A member asks its controller for its configuration at least so often, told or not: once a minute
/// (ZT_NETWORK_AUTOCONF_DELAY), looked at every half.
pub const BY_ITSELF: Duration = Duration::from_secs(95);

/// With which of root's privileges `ztgate run` runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// All, so that it pins neighbours.
    All,
    /// Those without CAP_NET_ADMIN.
    NoNetAdmin,
}

/// `ztgate run`, with the service `wiki` that a (red-phone), b (tablet) and the group family may open. Dropping it ends it.
pub struct Gateway {
    /// None while it is stopped.
    child: Option<Child>,
    folder: tempfile::TempDir,
    privileges: Privileges,
}

impl Gateway {
    /// Starts it, and waits until a and b are let in.
    pub fn start(lab: &Lab, privileges: Privileges) -> Self {
        let gateway = Self::start_only(lab, privileges);
        for host in [A, B] {
            gateway.lets_in(host);
        }
        gateway
    }

    /// Starts it.
    pub fn start_only(lab: &Lab, privileges: Privileges) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policy")).unwrap();
        let token = lab.home(GATEWAY).join("authtoken.secret");
        let config = format!(
            "network = \"{NETWORK}\"\nzone = \"home.arpa\"\nstate_dir = \"state\"\n\
             [controller]\nkind = \"local\"\ntoken_file = \"{}\"\n\
             [service.wiki]\nupstream = \"http://{UPSTREAM}\"\nallow = [\"red-phone\", \"tablet\", \"family\"]\n",
            token.display()
        );
        let devices = format!("[device.red-phone]\nid = \"{}\"\n[device.tablet]\nid = \"{}\"\n", A.id, B.id);
        fs::write(folder.path().join("ztgate.toml"), config).unwrap();
        fs::write(folder.path().join("policy/devices.toml"), devices).unwrap();

        let mut gateway = Self { child: None, folder, privileges };
        gateway.start_again();
        gateway
    }

    /// Starts it once more on what it kept.
    pub fn start_again(&mut self) {
        let mut command = match self.privileges {
            Privileges::All => GATEWAY.command(env!("CARGO_BIN_EXE_ztgate")),
            Privileges::NoNetAdmin => {
                let mut command = GATEWAY.command("setpriv");
                command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
                command.arg(env!("CARGO_BIN_EXE_ztgate"));
                command
            }
        };
        let log = File::options().create(true).append(true).open(self.file("log")).unwrap();
        command.arg("--config").arg(self.file("ztgate.toml")).arg("run");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let before = self.child.replace(child);
        assert!(before.is_none(), "it runs already");
        let answers = || self.ztgate(&["status"]).status.success().then_some(());
        within(Duration::from_secs(10), "the gateway answers", answers);
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        let status = self.end(libc::SIGTERM);
        assert!(status.is_some_and(|status| status.success()), "ztgate run did not end in order");
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.end(libc::SIGKILL);
    }

    fn end(&mut self, signal: i32) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // SAFETY: no memory is involved; the child is not reaped yet, so the number is its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        child.wait().ok()
    }

    /// Waits until the member's requests reach the service.
    pub fn lets_in(&self, host: Host) -> Duration {
        // A device that comes to be let in finds its packets dropped at first, and Linux repeats them ever more slowly.
        let soon = ["--connect-timeout", "0.5"];
        let open =
            || host.curl("http://wiki.home.arpa/", GATEWAY.v4, &soon).ok().filter(|it| it.status == 200);
        let (answer, time) = within(BY_ITSELF, "a member is let in", open);
        answer.upstream_saw_member(host);
        time
    }

    /// Waits until the member gets this refusal.
    pub fn refuses(&self, host: Host, code: &str) -> Duration {
        let refused = || {
            let answer = host.curl("http://wiki.home.arpa/", GATEWAY.v4, &[]).ok()?;
            (answer.refusal.as_deref() == Some(code)).then_some(())
        };
        within(Duration::from_secs(30), code, refused).1
    }

    /// Runs another command against it, on its machine.
    pub fn ztgate(&self, words: &[&str]) -> Output {
        let mut command = GATEWAY.command(env!("CARGO_BIN_EXE_ztgate"));
        command.arg("--config").arg(self.file("ztgate.toml")).args(words).output().unwrap()
    }

    /// What a command prints; it has to succeed.
    pub fn says(&self, words: &[&str]) -> String {
        let mut command = GATEWAY.command(env!("CARGO_BIN_EXE_ztgate"));
        text(command.arg("--config").arg(self.file("ztgate.toml")).args(words))
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// The findings of `doctor` that are not well: check, what, mend.
    pub fn doctor(&self) -> Vec<String> {
        let report: Value = serde_json::from_slice(&self.ztgate(&["doctor", "--json"]).stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().filter(|it| it["grade"] != "ok").map(ToString::to_string).collect()
    }

    /// The finding of one of the checks of `dns doctor`.
    pub fn doctors_word(&self, check: &str) -> Value {
        let report: Value =
            serde_json::from_slice(&self.ztgate(&["dns", "doctor", "--json"]).stdout).unwrap();
        let mut findings = report["findings"].as_array().unwrap().iter();
        findings.find(|it| it["check"] == check).unwrap_or_else(|| panic!("no {check}: {report}")).clone()
    }

    /// What a command prints as JSON.
    pub fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[words, &["--json"]].concat())).unwrap()
    }

    /// What is known of a device; null if it was never heard of.
    pub fn device(&self, host: Host) -> Value {
        let shown = self.ztgate(&["devices", "show", host.id, "--json"]);
        let said: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        assert!(shown.status.success() || shown.status.code() == Some(2), "{shown:?}");
        said["device"].clone()
    }

    /// What `sync` would do about each difference from the controller.
    pub fn plan(&self) -> Vec<Value> {
        self.json(&["sync", "--dry-run"])["plan"].as_array().cloned().unwrap_or_default()
    }

    #[track_caller]
    pub fn is_in_step(&self) {
        let plan = self.plan();
        assert!(plan.is_empty(), "{plan:?}");
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            self.end(libc::SIGTERM);
            println!("{}", fs::read_to_string(self.file("log")).unwrap_or_default());
        } else if self.child.is_some() {
            self.stop();
        }
    }
}
