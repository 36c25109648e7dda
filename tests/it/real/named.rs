//! A real BIND on loopback that takes updates from the key `ztgate`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::needs;
use super::process::{Running, free_port, say};

const SECRET: &str = "c2VjcmV0LW9mLXRoZS10ZXN0cy0wMTIzNDU2Nzg5MDE=";
const OTHER_SECRET: &str = "YW5vdGhlci1zZWNyZXQtb2YtdGVzdHMtMDEyMzQ1Njc=";

/// It runs until this is dropped. Its zone file and journal outlive a stop.
pub struct Named {
    folder: tempfile::TempDir,
    program: PathBuf,
    zone: String,
    pub address: SocketAddr,
    running: Option<Running>,
}

impl Named {
    /// A primary of this zone; `None` after a line that says what is missing.
    pub fn start(zone: &str) -> Option<Self> {
        let (program, _) = (needs("named")?, needs("dig")?);
        let folder = tempfile::tempdir().unwrap();
        let mut named = Self { folder, program, zone: zone.to_owned(), address: free_port(), running: None };
        named.write();
        named.resume();
        Some(named)
    }

    fn write(&self) {
        let at = self.folder.path();
        let mut config = format!(
            "options {{ directory \"{}\"; pid-file none; session-keyfile none; listen-on-v6 {{ none; }};\n\
             listen-on port {} {{ 127.0.0.1; }}; recursion no; dnssec-validation no; notify no; }};\n\
             controls {{ }};\n",
            at.display(),
            self.address.port()
        );
        for (key, secret) in [("ztgate", SECRET), ("reader", OTHER_SECRET)] {
            // Writing to a String cannot fail.
            let _ = writeln!(config, "key \"{key}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};");
        }
        let zone = &self.zone;
        let _ = writeln!(
            config,
            "zone \"{zone}\" {{ type primary; file \"zone.db\"; \
             update-policy {{ grant ztgate subdomain {zone}. A AAAA TXT; }}; }};"
        );
        std::fs::write(at.join("named.conf"), config).unwrap();
        let records = "$TTL 300\n@ SOA ns1 admin 1 3600 600 86400 60\n@ NS ns1\nns1 A 127.0.0.1\n\
             foreign A 192.0.2.7\nalias CNAME foreign\n";
        std::fs::write(at.join("zone.db"), records).unwrap();
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    pub fn resume(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-g").args(["-n", "1", "-c"]).arg(self.folder.path().join("named.conf"));
        let log = self.folder.path().join("named.log");
        self.running = Some(Running::until_it_listens(&mut command, self.address, &log));
    }

    /// `[nameserver]` for this server; `lines` go into the paragraph.
    pub fn paragraph(&self, folder: &Path, lines: &str) -> String {
        write_secret(folder, SECRET);
        format!(
            "[nameserver]\nserver = \"{}\"\nzone = \"{}\"\nkey = \"ztgate\"\nsecret_file = \"tsig.secret\"\n{lines}",
            self.address, self.zone
        )
    }

    /// What stands there, as `dig +short` prints it, in order.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        let port = self.address.port().to_string();
        let told = say(Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", "+norec", name, kind]));
        let mut lines: Vec<String> = told.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Changes records as somebody else with the key would, in the words of nsupdate(1).
    pub fn update(&self, lines: &str) {
        let script = format!(
            "server 127.0.0.1 {}\nzone {}\nkey hmac-sha256:ztgate {SECRET}\n{lines}\nsend\n",
            self.address.port(),
            self.zone
        );
        let file = self.folder.path().join("update.txt");
        std::fs::write(&file, script).unwrap();
        say(Command::new("nsupdate").arg(&file).stderr(Stdio::inherit()));
    }
}

/// Writes the secret that `[nameserver]` of the tests names.
pub fn write_secret(folder: &Path, secret: &str) {
    let file = folder.join("tsig.secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub const WRONG_SECRET: &str = OTHER_SECRET;
