//! A real aria2, and what doctor finds out about it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::cli::doctor::Grade;
use crate::config::{self, Config};
use crate::linux::wsl::NoWindowsHost;

/// A real aria2 that is gone with the test, and its port.
struct Aria2(Child, u16);

impl Aria2 {
    fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.1)
    }

    fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.1)
    }
}

impl Drop for Aria2 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `None` where it is not installed; CI installs it.
fn aria2(folder: &Path, options: &[&str]) -> Option<Aria2> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Command::new("aria2c")
        .args(["--enable-rpc", "--no-conf", "--quiet", "--enable-dht=false", "--enable-dht6=false"])
        .arg(format!("--rpc-listen-port={port}"))
        .arg(format!("--stop-with-process={}", std::process::id()))
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let child = match started {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        started => started.unwrap(),
    };
    let aria2 = Aria2(child, port);
    let begun = std::time::Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "aria2 does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(aria2)
}

fn config(folder: &Path, upstream: &str, lines: &str) -> Config {
    let file = folder.join("ztgate.toml");
    let text = format!(
        "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.dl]\nkind = \"aria2\"\n\
         upstream = \"{upstream}\"\nallow = [\"*\"]\n{lines}\n"
    );
    std::fs::write(&file, text).unwrap();
    let secret = folder.join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    config::load(&file).unwrap()
}

/// A Linux like any other, whatever these tests run on.
const PLAIN: Vantage = Vantage { in_container: false, windows_host: Err(NoWindowsHost::NotWsl) };

/// Each finding as `grade what`, cut to what tells them apart.
fn found(config: &Config) -> String {
    found_from(&PLAIN, config)
}

fn found_from(vantage: &Vantage, config: &Config) -> String {
    let findings = examine(&config.services[0], vantage);
    let told = findings.iter().map(|finding| {
        let grade = match finding.grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Bad => "bad",
        };
        assert_eq!(finding.grade == Grade::Ok, finding.mend.is_none(), "{finding:?}");
        format!("{grade} {}", finding.what)
    });
    let told = told.collect::<Vec<_>>().join("\n");
    assert!(!told.contains("s3cret"));
    let port = config.services[0].upstream.port.to_string();
    told.replace(&port, "PORT").replace("1.36.0", "VERSION")
}

/// That the first finding tells why there is no answer, and what to do.
#[track_caller]
fn cannot_be_asked(config: &Config, why: &str, mend: &str) {
    let findings = examine(&config.services[0], &PLAIN);
    let Finding { grade, what, mend: told } = &findings[0];
    assert!(what.starts_with("dl cannot be asked how it is set up: ") && what.contains(why), "{what}");
    assert!(*grade == Grade::Bad && told.as_ref().is_some_and(|told| told.contains(mend)), "{told:?}");
}

#[test]
fn a_real_aria2_is_asked_how_it_is_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(with) = aria2(folder, &["--rpc-secret=s3cret", "--rpc-max-request-size=1M"]) else { return };
    let Some(without) = aria2(folder, &["--rpc-listen-all=true", "--rpc-allow-origin-all"]) else {
        return;
    };
    let secret = "secret_file = \"secret\"";
    insta::assert_snapshot!(found(&config(folder, &with.http(), secret)), @r"
    ok dl takes the secret of secret_file (version VERSION)
    warn dl hangs up on a message of over 1048576 bytes, and the gateway passes 2097152
    ");
    insta::assert_snapshot!(found(&config(folder, &with.http(), "")), @"bad dl asks for a secret, and the gateway has none to give");
    insta::assert_snapshot!(found(&config(folder, &without.http(), secret)), @r"
    ok dl takes the secret of secret_file (version VERSION)
    warn dl answers without its secret, too, so any program that reaches its port drives it
    ok dl has rpc-allow-origin-all, which changes nothing here: whose pages may use it, the gateway decides
    warn dl is reached past the gateway, too: it listens on 0.0.0.0:PORT and [::]:PORT
    ");
    insta::assert_snapshot!(found(&config(folder, &without.http(), "")), @r"
    warn dl has no secret, so any program that reaches its port drives it (version VERSION)
    ok dl has rpc-allow-origin-all, which changes nothing here: whose pages may use it, the gateway decides
    warn dl is reached past the gateway, too: it listens on 0.0.0.0:PORT and [::]:PORT
    ");
    let other = config(folder, &with.http(), secret);
    std::fs::write(folder.join("secret"), "another").unwrap();
    insta::assert_snapshot!(found(&other), @"bad dl refuses the secret of secret_file, so nobody gets an answer");
}

/// A CA, and a key with a certificate of its for that name: two files for aria2, and the pin.
struct Proof {
    options: [String; 3],
    pin: String,
}

impl Proof {
    fn make(folder: &Path, name: &str) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        for (file, content) in
            [("ca.pem", ca.pem()), ("leaf.pem", leaf.pem()), ("leaf.key", key.serialize_pem())]
        {
            std::fs::write(folder.join(file), content).unwrap();
        }
        Self {
            options: [
                "--rpc-secure=true".to_owned(),
                format!("--rpc-certificate={}", folder.join("leaf.pem").display()),
                format!("--rpc-private-key={}", folder.join("leaf.key").display()),
            ],
            pin: format!("sha256/{}", STANDARD.encode(routes::key_hash(leaf.der()).unwrap())),
        }
    }
}

#[test]
fn an_aria2_behind_tls_is_asked_as_the_gateway_asks_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let proof = Proof::make(folder, "127.0.0.1");
    let [secure, certificate, key] = &proof.options;
    let Some(aria2) = aria2(folder, &["--rpc-secret=s3cret", secure, certificate, key]) else { return };
    let told = |upstream: &str, proof: &str| {
        found(&config(folder, upstream, &format!("secret_file = \"secret\"\n{proof}")))
    };
    let pinned = format!("pin = \"{}\"", proof.pin);
    for proof in ["ca = \"ca.pem\"", &pinned] {
        assert_eq!(
            told(&aria2.https(), proof),
            "ok dl takes the secret of secret_file (version VERSION)",
            "{proof}"
        );
    }
    let other_pin = format!("pin = \"sha256/{}\"", STANDARD.encode([7; 32]));
    let other_name = aria2.https().replace("127.0.0.1", "localhost");
    for (upstream, proof, why, mend) in [
        (aria2.https(), &*other_pin, "its public key is not the pinned one", "mend ca or pin of service.dl"),
        (aria2.https(), "", "UnknownIssuer", "mend ca or pin of service.dl"),
        (other_name, "ca = \"ca.pem\"", "not valid for name", "mend ca or pin of service.dl"),
        (aria2.http(), "", "is not HTTP", "mend service.dl.upstream; write https://"),
    ] {
        cannot_be_asked(&config(folder, &upstream, proof), why, mend);
    }
}

#[test]
fn tls_that_cannot_be_spoken_is_one_finding() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let proof = Proof::make(folder, "127.0.0.1");
    let Some(plain) = aria2(folder, &[]) else { return };
    for (lines, why, mend) in [
        (format!("pin = \"{}\"", proof.pin), "TLS: ", "or write http:// into its upstream"),
        ("ca = \"none.pem\"".to_owned(), "none.pem: ", "mend that in service.dl"),
    ] {
        cannot_be_asked(&config(folder, &plain.https(), &lines), why, mend);
    }
}

#[test]
fn an_aria2_on_windows_is_asked_where_wsl2_says_that_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(aria2) = aria2(folder, &["--rpc-secret=s3cret"]) else { return };
    let lines = "secret_file = \"secret\"\ndirs = { films = \"D:/films\" }";
    let config = config(folder, &format!("http://windows-host:{}", aria2.1), lines);
    let from = |windows_host: Result<&str, NoWindowsHost>| {
        let windows_host = windows_host.map(|address| address.parse().unwrap());
        found_from(&Vantage { windows_host, ..PLAIN }, &config)
    };
    insta::assert_snapshot!(from(Ok("127.0.0.1")), @r"
    ok dl takes the secret of secret_file (version VERSION)
    warn dl runs on Windows, whose ports cannot be seen from here
    warn dl's dirs cannot be looked at from here: it runs on Windows
    ");
    for no in [NoWindowsHost::NotWsl, NoWindowsHost::Mode, NoWindowsHost::NoRoute] {
        let expected = format!("bad dl cannot be asked how it is set up: {no}");
        assert_eq!(from(Err(no)), expected);
    }
    cannot_be_asked(&config, "this is no WSL2; write the upstream's address", "mend that in service.dl");
}

#[test]
fn a_real_aria2s_folders_are_looked_at_with_its_eyes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(aria2) = aria2(folder, &["--rpc-secret=s3cret"]) else { return };
    std::fs::create_dir(folder.join("films")).unwrap();
    let (films, none) = (folder.join("films"), folder.join("none"));
    let dirs = |dirs: String| format!("secret_file = \"secret\"\ndirs = {{ {dirs} }}");
    let there = config(folder, &aria2.http(), &dirs(format!("films = {films:?}")));
    assert!(found(&there).ends_with("\nok dl's dirs are all there"), "{}", found(&there));
    let missing = config(folder, &aria2.http(), &dirs(format!("films = {films:?}, none = {none:?}")));
    let findings = examine(&missing.services[0], &PLAIN);
    let Some(Finding { grade: Grade::Warn, what, mend: Some(mend) }) = findings.last() else {
        panic!("{findings:?}")
    };
    let user = std::fs::metadata(folder).unwrap().uid();
    let user = crate::linux::users::name(user).unwrap_or(user.to_string());
    assert_eq!(*what, format!("dl's dirs.none, {}, is not there", none.display()));
    assert_eq!(*mend, format!("sudo install -d -o {user} {}", none.display()));
}

#[test]
fn what_cannot_be_asked_is_one_finding() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let gone = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    cannot_be_asked(&config(folder, &gone, ""), "cannot connect", "start it, or mend service.dl.upstream");
    let unreadable = found(&config(folder, &gone, "secret_file = \"none\""));
    assert!(unreadable.starts_with("bad dl: secret_file: "), "{unreadable}");
    let plain = config::from_text(
        "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n\
         upstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\n",
        &[],
    );
    assert_eq!(examine(&plain.unwrap().services[0], &PLAIN), [], "a kind that knows of nothing is not asked");
}
