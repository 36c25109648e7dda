//! The real program in the gateway's namespace.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{A, B, GATEWAY, Host, Lab, NETWORK, text, within};
use crate::upstream::UPSTREAM;

/// With which of root's privileges `ztgate run` runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// All, so that it pins neighbours.
    All,
    /// Those without CAP_NET_ADMIN.
    NoNetAdmin,
}

/// `ztgate run`, with the service `wiki` that a (red-phone) and b (tablet) may open. Dropping it ends it.
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
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
             [service.wiki]\nupstream = \"http://{UPSTREAM}\"\nallow = [\"red-phone\", \"tablet\"]\n",
            token.display()
        );
        let devices = format!("[device.red-phone]\nid = \"{}\"\n[device.tablet]\nid = \"{}\"\n", A.id, B.id);
        fs::write(folder.path().join("ztgate.toml"), config).unwrap();
        fs::write(folder.path().join("policy/devices.toml"), devices).unwrap();

        let mut command = match privileges {
            Privileges::All => GATEWAY.command(env!("CARGO_BIN_EXE_ztgate")),
            Privileges::NoNetAdmin => {
                let mut command = GATEWAY.command("setpriv");
                command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
                command.arg(env!("CARGO_BIN_EXE_ztgate"));
                command
            }
        };
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.arg("--config").arg(folder.path().join("ztgate.toml")).arg("run");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, folder }
    }

    /// Waits until the member's requests reach the service.
    pub fn lets_in(&self, host: Host) -> Duration {
        let open = || host.curl("http://wiki.home.arpa/", GATEWAY.v4, &[]).ok().filter(|it| it.status == 200);
        let (answer, time) = within(Duration::from_secs(60), "a member is let in", open);
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
        serde_json::from_str(&self.says(&["status", "--json"])).unwrap()
    }

    /// The findings of `doctor` that are not well: check, what, mend.
    pub fn doctor(&self) -> Vec<String> {
        let report: Value = serde_json::from_slice(&self.ztgate(&["doctor", "--json"]).stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().filter(|it| it["grade"] != "ok").map(ToString::to_string).collect()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // SAFETY: no memory is involved; the child is not reaped yet, so the number is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = self.child.wait();
        if thread::panicking() {
            println!("{}", fs::read_to_string(self.file("log")).unwrap_or_default());
        } else {
            assert!(status.is_ok_and(|status| status.success()), "ztgate run did not end in order");
        }
    }
}
