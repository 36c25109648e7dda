//! What a person's browser makes of it: headless Chromium, plain and with the private CA trusted.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::door::Door;
use super::needs;
use super::netlog::{self, Asked};
use super::process::{knowing_by, say};

/// Chromium with a home of its own.
pub struct Browser {
    program: PathBuf,
    home: PathBuf,
}

/// A page, and all that was asked of anybody until it was so.
pub struct Watched {
    pub dom: String,
    pub asked: Vec<Asked>,
}

impl Browser {
    pub fn open(folder: &Path) -> Option<Self> {
        let home = folder.join("home");
        std::fs::create_dir_all(&home).unwrap();
        Some(Self { program: needs("chromium")?, home })
    }

    /// Makes it trust that root, as its users would.
    pub fn trust(&self, certutil: &Path, root: &Path) {
        self.put_in_store(certutil, "C,,", root);
    }

    /// Makes it trust that one server's certificate.
    pub fn trust_server(&self, certutil: &Path, certificate: &Path) {
        self.put_in_store(certutil, "P,,", certificate);
    }

    fn put_in_store(&self, certutil: &Path, trust: &str, certificate: &Path) {
        let folder = self.home.join(".pki/nssdb");
        let store = format!("sql:{}", folder.display());
        if !folder.is_dir() {
            std::fs::create_dir_all(&folder).unwrap();
            say(Command::new(certutil).args(["-d", &store, "-N", "--empty-password"]));
        }
        let name = certificate.display().to_string();
        say(Command::new(certutil).args(["-d", &store, "-A", "-t", trust, "-n", &name, "-i", &name]));
    }

    /// The page as it is once it is loaded.
    fn dom(&self, url: &str) -> String {
        self.dump(&[], url)
    }

    /// The same where a rule of Chromium's says where names lead.
    pub fn dom_where(&self, names: &str, url: &str) -> String {
        self.dump(&[&format!("--host-resolver-rules={names}")], url)
    }

    /// The same where names lead as that file of hosts says, to several addresses, too.
    pub fn dom_knowing(&self, hosts: &Path, url: &str) -> String {
        let mut command = knowing_by(hosts);
        // A name has the addresses of all its lines (host.conf(5)).
        command.args(["timeout", "-k", "5", "50"]).env("RESOLV_MULTI", "on");
        // Chromium's own resolver takes a name's first line alone; libc all of them.
        self.run(command, &["--disable-features=AsyncDns"], url)
    }

    /// Whether the page's scripts come to show those words. They have some seconds of the page's own clock, which waits
    /// for the network but not always for a WebSocket: hence more tries than one.
    fn comes_to_show(&self, url: &str, words: &str) -> bool {
        (0..8).any(|_| self.dump(&["--virtual-time-budget=4000"], url).contains(words))
    }

    /// The page once its scripts came to show those words, where a rule of Chromium's says where names lead.
    pub fn shown_where(&self, names: &str, url: &str, words: &str) -> Option<String> {
        let names = format!("--host-resolver-rules={names}");
        (0..8)
            .map(|_| self.dump(&["--virtual-time-budget=6000", &names], url))
            .find(|dom| dom.contains(words))
    }

    /// The page as it is once it is loaded, and all that was asked until then, where a rule of Chromium's says where names
    /// lead.
    pub fn watched_where(&self, names: &str, url: &str) -> Watched {
        let (log, names) = (self.home.join("net.json"), format!("--host-resolver-rules={names}"));
        let dom = self.dump(&[&names, &format!("--log-net-log={}", log.display())], url);
        Watched { dom, asked: netlog::read(&log) }
    }

    fn dump(&self, more: &[&str], url: &str) -> String {
        let mut timeout = Command::new("timeout");
        timeout.args(["-k", "5", "50"]);
        self.run(timeout, more, url)
    }

    /// Runs it by a command that takes it as its last arguments.
    fn run(&self, mut chromium: Command, more: &[&str], url: &str) -> String {
        chromium.arg(&self.program).args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--dump-dom",
        ]);
        chromium.arg(format!("--user-data-dir={}", self.home.join("profile").display()));
        say(chromium.args(more).arg(url).env("HOME", &self.home))
    }
}

#[test]
fn pages_show_what_each_device_may_see() {
    let door = Door::open();
    let Some(browser) = Browser::open(door.folder.path()) else { return };
    let at = |service: &str, port: u16| format!("http://{service}.localhost:{port}/");
    let (laptop, tablet, television) = (door.port(), door.tablet_port(), door.television_port());
    for (url, words) in [
        (at("gate", laptop), &["laptop", "films"][..]),
        (at("films", laptop), &["Films", "You are <b>laptop</b>, of <b>mum</b>"]),
        (at("films", tablet), &["no-rule"]),
        (at("films", television), &["member-pending"]),
        (at("nothing", laptop), &["unknown-name"]),
    ] {
        let dom = browser.dom(&url);
        for word in words {
            assert!(dom.contains(word), "{url} without {word}: {dom}");
        }
    }
    // The page's script puts the names of those in the room there once its WebSocket is open.
    assert!(browser.comes_to_show(&at("chat", tablet), "Here now: kids-tablet"));
}

#[test]
fn a_browser_that_trusts_the_root_opens_pages_and_websockets_over_tls() {
    let Some(certutil) = needs("certutil") else { return };
    let door = Door::open();
    let Some(browser) = Browser::open(door.folder.path()) else { return };
    let distrusted = browser.dom(&door.https("films", "/"));
    assert!(!distrusted.contains("You are"), "{distrusted}");
    let distrusting = || {
        let status = door.json(&["status", "--json"]);
        let list = status["distrusting"].as_array().unwrap();
        list.iter().map(|one| one["device"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(distrusting(), ["laptop"]);
    browser.trust(&certutil, &door.root());
    let films = browser.dom(&door.https("films", "/"));
    assert!(films.contains("You are <b>laptop</b>"), "{films}");
    assert!(distrusting().is_empty());
    assert!(browser.comes_to_show(&door.https("chat", "/"), "Here now: laptop"));
}

#[test]
fn the_trust_page_sees_that_the_root_is_trusted_as_soon_as_it_is() {
    let Some(certutil) = needs("certutil") else { return };
    let door = Door::open();
    let Some(browser) = Browser::open(door.folder.path()) else { return };
    let page = format!("http://gate.localhost:{}/trust", door.port());
    assert!(browser.comes_to_show(&page, "This line changes by itself once it is."));
    assert!(browser.dom(&page).contains("On this device: Linux"));
    browser.trust(&certutil, &door.root());
    assert!(browser.comes_to_show(&page, "This device trusts it now."));
}
