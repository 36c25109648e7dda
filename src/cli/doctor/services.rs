//! The checks of services whose kind knows how they should be set up: what the service says of itself, who else reaches
//! it, and whether the folders that the configuration names are there.

mod folders;
mod reach;
mod whereabouts;

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};

use self::reach::About;
pub use self::whereabouts::Vantage;
use self::whereabouts::{Seen, Whereabouts};
use super::{Finding, addresses_of};
use crate::cli::style::reason;
use crate::config::{Service, Setting, Upstream};
use crate::linux::secret::SecretError;
use crate::outbound::{CallError, Server};
use crate::routes::{self, ClientTls, OpenError};
use crate::services::{Exam, Remark};

/// For one answer. A secret that does not fit is answered late on purpose, after 1.8 s by aria2 1.36.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const LONGEST: usize = 1 << 20;

/// What is to be said of a service, seen from there; nothing if its kind knows of nothing.
pub fn examine(service: &Service, vantage: &Vantage) -> Vec<Finding> {
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
    let word = ask(service, exams, vantage);
    let seen = Seen::of(&service.upstream, addresses_of(&service.upstream), word.is_ok());
    let whereabouts = Whereabouts::of(&service.upstream.host, &seen, vantage);
    let mut findings = match word {
        Ok(remarks) => remarks.into_iter().map(|remark| finding(name, remark)).collect(),
        Err(mute) => vec![Finding::bad(
            format!("{name} cannot be asked how it is set up: {}", reason(&mute.why())),
            mute.mend(name),
        )],
    };
    let about = About {
        service: name,
        port: service.upstream.port,
        keeps_to_itself: service.kind.keeps_to_itself.unwrap_or("bind it to 127.0.0.1"),
        has_secret: service.settings.iter().any(|(_, setting)| matches!(setting, Setting::Secret(_))),
    };
    findings.extend(reach::past_the_gateway(&about, &whereabouts, &seen));
    for (key, setting) in &service.settings {
        if let Setting::Places(places) = setting {
            findings.extend(folders::look(name, key, places, &whereabouts));
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
fn ask(service: &Service, exams: Vec<Exam>, vantage: &Vantage) -> Result<Vec<Remark>, Mute> {
    let server = server(&service.upstream, vantage)?;
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
fn server(upstream: &Upstream, vantage: &Vantage) -> Result<Server, Mute> {
    let host = vantage.host(&upstream.host).map_err(Mute::no_call)?;
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

#[cfg(test)]
mod tests;
