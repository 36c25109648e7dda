//! The checks of services whose kind knows how they should be set up: what the service says of itself, who else reaches
//! it, and whether the folders that the configuration names are there.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};

use super::{Finding, addresses_of};
use crate::cli::style::foreign;
use crate::config::{Service, Setting, Upstream, UpstreamHost};
use crate::linux::holder::{self, OpenSocket};
use crate::linux::secret::SecretError;
use crate::linux::wsl;
use crate::outbound::Server;
use crate::routes::{self, ClientTls, OpenError};
use crate::services::{Exam, Remark};

/// For one answer. A secret that does not fit is answered late on purpose, after 1.8 s by aria2 1.36.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const LONGEST: usize = 1 << 20;

/// What is to be said of a service; nothing if its kind knows of nothing.
pub fn examine(service: &Service) -> Vec<Finding> {
    let name = service.name.as_str();
    let room = match routes::room(service) {
        Ok(room) => room,
        // Whoever asks need not be the user that the gateway runs as.
        Err(OpenError::Secret { source: SecretError::Denied { .. }, .. }) => {
            let what = format!("{name}'s secret is not for this user to read, so it was not looked at");
            return vec![Finding::warn(what, "sudo ztgate doctor")];
        }
        Err(error) => return vec![Finding::bad(format!("{name}: {error}"), "mend that; then: ztgate check")],
    };
    let exams = room.exams();
    if exams.is_empty() {
        return Vec::new();
    }
    let here = is_here(&service.upstream);
    let mut findings = match ask(service, exams) {
        Ok(remarks) => remarks.into_iter().map(|remark| finding(name, remark)).collect(),
        Err(why) => vec![Finding::bad(
            format!("{name} cannot be asked how it is set up: {}", foreign(&why)),
            format!("start it, or mend service.{name}.upstream"),
        )],
    };
    if here {
        let open = holder::open_to_others(service.upstream.port);
        let mend = service.kind.keeps_to_itself.unwrap_or("bind it to 127.0.0.1");
        findings.extend(reached_past(name, &open, mend));
    }
    for (_, setting) in &service.settings {
        if let Setting::Places(places) = setting {
            findings.extend(folders(name, places, here));
        }
    }
    findings
}

/// Asks everything, until something has no answer.
fn ask(service: &Service, exams: Vec<Exam>) -> Result<Vec<Remark>, String> {
    let server = server(&service.upstream)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut remarks = Vec::new();
    for Exam { path, media_type, body, read } in exams {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, media_type)
            .body(Bytes::from(body))
            .map_err(|error| error.to_string())?;
        let reply = runtime.block_on(server.ask(request, LONGEST, PATIENCE));
        let reply = reply.map_err(|error| error.to_string())?;
        remarks.extend(read(reply.status, &reply.body));
    }
    Ok(remarks)
}

/// The upstream, with the proof that it gives to requests of members.
fn server(upstream: &Upstream) -> Result<Server, String> {
    let host = match &upstream.host {
        UpstreamHost::Address(address) => address.to_string(),
        UpstreamHost::Name(name) => name.clone(),
        UpstreamHost::WindowsHost => wsl::windows_host().map_err(|error| error.to_string())?.to_string(),
    };
    let tls = ClientTls::new(upstream).map_err(|error| error.to_string())?;
    Server::proved(&host, upstream.port, tls.map(|tls| (tls.config, tls.name)))
        .map_err(|error| error.to_string())
}

fn finding(service: &str, remark: Remark) -> Finding {
    match remark {
        Remark::Well(what) => Finding::ok(format!("{service} {what}")),
        Remark::Odd { what, mend } => Finding::warn(format!("{service} {what}"), mend),
        Remark::Bad { what, mend } => Finding::bad(format!("{service} {what}"), mend),
    }
}

/// Whether a service runs on this machine, where we can look at its ports and folders.
fn is_here(upstream: &Upstream) -> bool {
    let addresses = addresses_of(upstream);
    // Only an address of this machine can be bound; it takes no port away from anybody.
    let own = |address: &IpAddr| address.is_loopback() || UdpSocket::bind((*address, 0)).is_ok();
    !addresses.is_empty() && addresses.iter().all(own)
}

/// The doors of a service of this machine that lead past the gateway, its rules and its log.
fn reached_past(service: &str, open: &[OpenSocket], mend: &str) -> Option<Finding> {
    let doors: Vec<String> = open.iter().map(|socket| socket.address.to_string()).collect();
    let what = format!("{service} is reached past the gateway, too: it listens on {}", doors.join(" and "));
    (!doors.is_empty()).then(|| Finding::warn(what, mend))
}

/// Whether the folders that are named are there.
fn folders(service: &str, places: &[(String, PathBuf)], here: bool) -> Vec<Finding> {
    if places.is_empty() {
        return Vec::new();
    }
    if !here {
        let what = format!("{service} runs on another machine, so its dirs cannot be looked at from here");
        return vec![Finding::ok(what)];
    }
    let missing = places.iter().filter_map(|(name, path)| {
        let shown = path.display();
        let why = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => "is no folder".to_owned(),
            Err(error) => format!("is not to be seen: {error}"),
        };
        let mend = format!("sudo mkdir -p {shown}, and give it to the user that {service} runs as");
        Some(Finding::warn(format!("{service}'s dirs.{name}, {shown}, {why}"), mend))
    });
    let missing: Vec<Finding> = missing.collect();
    if missing.is_empty() { vec![Finding::ok(format!("{service}'s dirs are all there"))] } else { missing }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::cli::doctor::Grade;
    use crate::config::{self, Config};

    /// A real aria2 that is gone with the test.
    struct Aria2(Child, u16);

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

    fn config(folder: &Path, port: u16, lines: &str) -> Config {
        let file = folder.join("ztgate.toml");
        let text = format!(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.dl]\nkind = \"aria2\"\n\
             upstream = \"http://127.0.0.1:{port}\"\nallow = [\"*\"]\n{lines}\n"
        );
        std::fs::write(&file, text).unwrap();
        let secret = folder.join("secret");
        std::fs::write(&secret, "s3cret\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        config::load(&file).unwrap()
    }

    /// Each finding as `grade what -> mend`, cut to what tells them apart.
    fn found(config: &Config) -> String {
        let findings = examine(&config.services[0]);
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

    #[test]
    fn a_real_aria2_is_asked_how_it_is_set_up() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let Some(with) = aria2(folder, &["--rpc-secret=s3cret", "--rpc-max-request-size=1M"]) else { return };
        let Some(without) = aria2(folder, &["--rpc-listen-all=true", "--rpc-allow-origin-all"]) else {
            return;
        };
        let secret = "secret_file = \"secret\"";
        insta::assert_snapshot!(found(&config(folder, with.1, secret)), @r"
        ok dl takes the secret of secret_file (version VERSION)
        warn dl hangs up on a message of over 1048576 bytes, and the gateway passes 2097152
        ");
        insta::assert_snapshot!(found(&config(folder, with.1, "")), @"bad dl asks for a secret, and the gateway has none to give");
        insta::assert_snapshot!(found(&config(folder, without.1, secret)), @r"
        ok dl takes the secret of secret_file (version VERSION)
        warn dl answers without its secret, too, so any program that reaches its port drives it
        ok dl has rpc-allow-origin-all, which changes nothing here: whose pages may use it, the gateway decides
        warn dl is reached past the gateway, too: it listens on 0.0.0.0:PORT and [::]:PORT
        ");
        insta::assert_snapshot!(found(&config(folder, without.1, "")), @r"
        warn dl has no secret, so any program that reaches its port drives it (version VERSION)
        ok dl has rpc-allow-origin-all, which changes nothing here: whose pages may use it, the gateway decides
        warn dl is reached past the gateway, too: it listens on 0.0.0.0:PORT and [::]:PORT
        ");
        let other = config(folder, with.1, secret);
        std::fs::write(folder.join("secret"), "another").unwrap();
        insta::assert_snapshot!(found(&other), @"bad dl refuses the secret of secret_file, so nobody gets an answer");
    }

    #[test]
    fn what_cannot_be_asked_is_one_finding() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let gone = found(&config(folder, port, ""));
        assert!(gone.starts_with("bad dl cannot be asked how it is set up: cannot connect"), "{gone}");
        let unreadable = found(&config(folder, port, "secret_file = \"none\""));
        assert!(unreadable.starts_with("bad dl: secret_file: "), "{unreadable}");
        let plain = config::from_text(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n\
             upstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\n",
            &[],
        );
        assert_eq!(examine(&plain.unwrap().services[0]), [], "a kind that knows of nothing is not asked");
    }

    #[test]
    fn folders_are_looked_at_where_the_service_runs() {
        let folder = tempfile::tempdir().unwrap();
        let there = |name: &str| (name.to_owned(), folder.path().join(name));
        std::fs::create_dir(folder.path().join("films")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let grades = |places: &[(String, PathBuf)], here| {
            folders("dl", places, here).iter().map(|finding| finding.grade).collect::<Vec<_>>()
        };
        assert_eq!(grades(&[], true), []);
        assert_eq!(grades(&[there("films")], true), [Grade::Ok]);
        assert_eq!(grades(&[there("films"), there("file"), there("none")], true), [Grade::Warn, Grade::Warn]);
        assert_eq!(grades(&[there("none")], false), [Grade::Ok]);
    }

    #[test]
    fn only_this_machines_own_addresses_are_here() {
        let upstream = |host: &str| Upstream {
            tls: None,
            host: UpstreamHost::Address(host.parse().unwrap()),
            port: 6800,
        };
        assert!(is_here(&upstream("127.0.0.1")) && is_here(&upstream("::1")));
        assert!(!is_here(&upstream("192.0.2.1")), "TEST-NET-1 is nobody's");
    }
}
