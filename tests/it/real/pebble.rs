//! A real ACME server on loopback, Let's Encrypt's pebble, that looks for challenges at a name server of the test's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::needs;
use super::process::{Running, free_port};

/// It runs until this is dropped, and forgets everything when it stops.
pub struct Pebble {
    folder: tempfile::TempDir,
    program: PathBuf,
    dns: SocketAddr,
    address: SocketAddr,
    environment: Vec<(&'static str, String)>,
    life_s: u32,
    running: Option<Running>,
}

impl Pebble {
    /// A server that asks that name server; `None` after a line that says what is missing.
    pub fn start(dns: SocketAddr) -> Option<Self> {
        let mut pebble = Self::stopped(dns)?;
        pebble.resume();
        Some(pebble)
    }

    /// One that does not run yet.
    pub fn stopped(dns: SocketAddr) -> Option<Self> {
        let program = needs("pebble")?;
        let folder = tempfile::tempdir().unwrap();
        let pebble = Self {
            folder,
            program,
            dns,
            address: free_port(),
            environment: Vec::new(),
            life_s: 90 * 24 * 3600,
            running: None,
        };
        pebble.write_certificates();
        Some(pebble)
    }

    /// With that in its environment, at its next start.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Issues certificates that live so long, from its next start.
    pub fn living(mut self, seconds: u32) -> Self {
        self.life_s = seconds;
        self
    }

    pub fn resume(&mut self) {
        let at = |name: &str| self.folder.path().join(name);
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "{}", "managementListenAddress": "{}",
                "certificate": "{}", "privateKey": "{}", "httpPort": 5002, "tlsPort": 5001,
                "ocspResponderURL": "", "externalAccountBindingRequired": false,
                "certificateValidityPeriod": {}}}}}"#,
            self.address,
            free_port(),
            at("cert.pem").display(),
            at("key.pem").display(),
            self.life_s,
        );
        std::fs::write(at("pebble.json"), config).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-config").arg(at("pebble.json")).args(["-dnsserver", &self.dns.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1");
        // It refuses so many nonces of a hundred, to see that they are asked for anew; that gives up after three in a row.
        command.env("PEBBLE_WFE_NONCEREJECT", "1");
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        self.running = Some(Running::until_it_listens(&mut command, self.address, &at("pebble.log")));
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// `[tls]` for this server.
    pub fn paragraph(&self, lines: &str) -> String {
        let root = self.folder.path().join("root.pem");
        format!("[tls]\nacme = \"https://{}/dir\"\nca = \"{}\"\n{lines}", self.address, root.display())
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("pebble.log")).unwrap()
    }

    /// The certificate of its own API, by a root made for that.
    fn write_certificates(&self) {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &root).unwrap();
        for (name, text) in
            [("root.pem", root.pem()), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())]
        {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }
    }
}
