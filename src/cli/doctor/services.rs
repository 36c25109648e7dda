//! The checks of services whose kind knows how they should be set up: what the service says of itself, who else reaches
//! it, and whether the folders that the configuration names are there.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};

use super::{Finding, addresses_of};
use crate::cli::style::reason;
use crate::config::{Service, Setting, Upstream, UpstreamHost};
use crate::linux::holder::{self, OpenSocket};
use crate::linux::secret::SecretError;
use crate::linux::wsl;
use crate::outbound::{CallError, Server};
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
        Err(mute) => vec![Finding::bad(
            format!("{name} cannot be asked how it is set up: {}", reason(&mute.why())),
            mute.mend(name),
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

/// Why a service does not answer.
enum Mute {
    Call(CallError),
    /// It has not even been called.
    NoCall(String),
}

impl Mute {
    fn no_call(error: impl ToString) -> Self {
        Self::NoCall(error.to_string())
    }

    fn why(&self) -> String {
        match self {
            Self::Call(error) => error.to_string(),
            Self::NoCall(why) => why.clone(),
        }
    }

    fn mend(&self, service: &str) -> String {
        match self {
            Self::Call(CallError::Tls(_)) => format!(
                "mend ca or pin of service.{service}, or write http:// into its upstream if it speaks no TLS"
            ),
            Self::Call(CallError::Broken(_)) => {
                format!("mend service.{service}.upstream; write https:// if it speaks TLS")
            }
            Self::Call(_) => format!("start it, or mend service.{service}.upstream"),
            Self::NoCall(_) => format!("mend that in service.{service}; then: ztgate check"),
        }
    }
}

/// Asks everything, until something has no answer.
fn ask(service: &Service, exams: Vec<Exam>) -> Result<Vec<Remark>, Mute> {
    let server = server(&service.upstream)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Mute::no_call)?;
    let mut remarks = Vec::new();
    for Exam { path, media_type, body, read } in exams {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, media_type)
            .body(Bytes::from(body))
            .map_err(Mute::no_call)?;
        let reply = runtime.block_on(server.ask(request, LONGEST, PATIENCE)).map_err(Mute::Call)?;
        remarks.extend(read(reply.status, &reply.body));
    }
    Ok(remarks)
}

/// The upstream, with the proof that it gives to requests of members.
fn server(upstream: &Upstream) -> Result<Server, Mute> {
    let host = match &upstream.host {
        UpstreamHost::Address(address) => address.to_string(),
        UpstreamHost::Name(name) => name.clone(),
        UpstreamHost::WindowsHost => wsl::windows_host().map_err(Mute::no_call)?.to_string(),
    };
    let tls = ClientTls::new(upstream).map_err(Mute::no_call)?;
    Server::proved(&host, upstream.port, tls.map(|tls| (tls.config, tls.name))).map_err(Mute::no_call)
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
mod tests;
