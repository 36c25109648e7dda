//! `[notify]`: who is told about devices that knock, expire or change, and how those are reached.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::read::{Item, Keys, Report, Section, quote};
use crate::model::nearest;

const KEYS: Keys<'_> = Keys {
    known: &["webhook", "secret_file", "ntfy", "token_file", "events"],
    not_here: &[
        ("secret", "the secret itself does not belong in this file; name its file with secret_file"),
        ("token", "the token itself does not belong in this file; name its file with token_file"),
    ],
    meant: &[("url", "webhook"), ("topic", "ntfy"), ("event", "events")],
};

const WEBHOOK_EXAMPLE: &str = "https://home.example/ztgate";
const NTFY_EXAMPLE: &str = "https://ntfy.sh/my-topic";

/// Who is told, and about what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    pub webhook: Option<Webhook>,
    pub ntfy: Option<Ntfy>,
    /// What they hear of: every kind, unless the file names some. In the order of [`NotifyEvent::ALL`].
    pub events: Vec<NotifyEvent>,
}

/// A receiver of signed JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: NotifyUrl,
    /// Signs each delivery. Read anew for each, so that it can be changed.
    pub secret_file: PathBuf,
}

/// A topic of an ntfy server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntfy {
    pub url: NotifyUrl,
    /// An access token, where the topic asks for one.
    pub token_file: Option<PathBuf>,
}

/// Where deliveries go.
///
/// Prints as scheme, host and port only, `Debug` too: with many receivers the path is the password, and ntfy says so of
/// its topics (docs.ntfy.sh/publish).
#[derive(Clone, PartialEq, Eq)]
pub struct NotifyUrl {
    pub tls: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// What the request asks for. Not for logs.
    pub path_and_query: String,
}

impl NotifyUrl {
    /// Host, and port where it is not the scheme's own.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for NotifyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for NotifyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

/// What somebody can be told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotifyEvent {
    /// A device nobody admitted yet knocks.
    DevicePending,
    DeviceAdmitted,
    DeviceRevoked,
    DeviceSuspended,
    DeviceRestored,
    DeviceExpiresSoon,
    DeviceExpired,
    /// A member shows another identity than the pinned one.
    IdentityChanged,
    /// The controller does not answer; the roster grows old.
    ControllerLost,
    ControllerBack,
}

impl NotifyEvent {
    pub const ALL: [Self; 10] = [
        Self::DevicePending,
        Self::DeviceAdmitted,
        Self::DeviceRevoked,
        Self::DeviceSuspended,
        Self::DeviceRestored,
        Self::DeviceExpiresSoon,
        Self::DeviceExpired,
        Self::IdentityChanged,
        Self::ControllerLost,
        Self::ControllerBack,
    ];

    /// As `events` and the deliveries say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DevicePending => "device-pending",
            Self::DeviceAdmitted => "device-admitted",
            Self::DeviceRevoked => "device-revoked",
            Self::DeviceSuspended => "device-suspended",
            Self::DeviceRestored => "device-restored",
            Self::DeviceExpiresSoon => "device-expires-soon",
            Self::DeviceExpired => "device-expired",
            Self::IdentityChanged => "identity-changed",
            Self::ControllerLost => "controller-lost",
            Self::ControllerBack => "controller-back",
        }
    }
}

/// The text names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event is called that")]
pub struct UnknownEvent;

impl FromStr for NotifyEvent {
    type Err = UnknownEvent;
    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or(UnknownEvent)
    }
}

pub(super) fn read(root: &Section<'_>, folder: &Path, report: &mut Report) -> Notify {
    let Some(section) = root.section("notify", report) else { return Notify::default() };
    section.only(&KEYS, report);
    let webhook = read_webhook(&section, folder, report);
    let ntfy = read_ntfy(&section, folder, report);
    let events = read_events(&section, report);
    if section.get("webhook").is_none() && section.get("ntfy").is_none() {
        let hint = format!("add a line like ntfy = \"{NTFY_EXAMPLE}\" or webhook = \"{WEBHOOK_EXAMPLE}\"");
        report.error(&section.spot, "nobody is named who could be told", hint);
    }
    Notify { webhook, ntfy, events }
}

fn read_webhook(section: &Section<'_>, folder: &Path, report: &mut Report) -> Option<Webhook> {
    let secret_file = section.text("secret_file", report);
    let Some(item) = section.get("webhook") else {
        if let Some(item) = section.get("secret_file") {
            report.error(
                &item.spot,
                "signs what goes to a webhook, and none is named",
                "ntfy takes token_file",
            );
        }
        return None;
    };
    if section.get("secret_file").is_none() {
        let hint = "type: openssl rand -hex 32 | sudo install -m 640 -g ztgate /dev/stdin /etc/ztgate/webhook.secret";
        let at = section.spot.missing("secret_file");
        report.error(&at, "missing: the file with the secret that signs each delivery", hint);
    }
    let url = read_url(&item, WEBHOOK_EXAMPLE, report)?;
    Some(Webhook { url, secret_file: folder.join(secret_file?) })
}

fn read_ntfy(section: &Section<'_>, folder: &Path, report: &mut Report) -> Option<Ntfy> {
    let token_file = section.text("token_file", report).map(|file| folder.join(file));
    let Some(item) = section.get("ntfy") else {
        if let Some(item) = section.get("token_file") {
            report.error(&item.spot, "is ntfy's, and no topic is named", "a webhook takes secret_file");
        }
        return None;
    };
    let url = read_url(&item, NTFY_EXAMPLE, report)?;
    // ntfy's own rule for topics (server/topic.go: ^[-_A-Za-z0-9]{1,64}$).
    let topic = url.path_and_query.rsplit('/').next().unwrap_or_default();
    let letters = topic.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !letters || !(1..=64).contains(&topic.len()) {
        let message = "the URL's last part is the topic: 1 to 64 of letters, digits, '-' and '_'";
        let hint = format!("write it like \"{NTFY_EXAMPLE}\", with a topic that nobody guesses");
        report.error(&item.spot, message, hint);
        return None;
    }
    if let (Some(given), false) = (section.get("token_file"), url.tls || is_loopback(&url.host)) {
        let message = "plain http would show the token to the network";
        report.error(&given.spot, message, "write https:// in ntfy, or remove token_file");
    }
    Some(Ntfy { url, token_file })
}

fn read_events(section: &Section<'_>, report: &mut Report) -> Vec<NotifyEvent> {
    let Some(item) = section.get("events") else { return NotifyEvent::ALL.to_vec() };
    let words = item.list(report);
    let mut named = Vec::new();
    for word in &words {
        let Some(text) = word.text(report) else { continue };
        match text.parse::<NotifyEvent>() {
            Ok(event) => named.push(event),
            Err(error) => {
                let hint = match nearest(text, NotifyEvent::ALL.map(NotifyEvent::as_str)) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("there are {}", NotifyEvent::ALL.map(NotifyEvent::as_str).join(", ")),
                };
                report.error(&word.spot, format!("{error}: {}", quote(text)), hint);
            }
        }
    }
    if words.is_empty() && item.is_list() {
        report.warn(&item.spot, "empty, so nobody is told anything", "remove the line to be told everything");
    }
    NotifyEvent::ALL.into_iter().filter(|event| named.contains(event)).collect()
}

/// Reads a receiver's URL. No message shows more of it than the host: the rest may be a secret.
fn read_url(item: &Item<'_>, example: &str, report: &mut Report) -> Option<NotifyUrl> {
    let text = item.text(report)?;
    if text.split(['/', '?']).nth(2).is_some_and(|authority| authority.contains('@')) {
        let hint = "a webhook proves itself by secret_file, ntfy by token_file";
        report.error(&item.spot, "takes no user name or password", hint);
        return None;
    }
    let url = text.parse::<http::Uri>().ok().filter(|_| !text.contains('#')).and_then(|uri| parts(&uri));
    let Some(url) = url else {
        report.error(&item.spot, "is no http or https URL", format!("write it like \"{example}\""));
        return None;
    };
    if !url.tls && !is_near(&url.host) {
        let message =
            format!("plain http would show to the network who your devices are, on the way to {url}");
        let hint = "write https://, or the address of a machine at home, like http://192.168.1.10:8080; \
                    a name could lead anywhere";
        report.error(&item.spot, message, hint);
        return None;
    }
    Some(url)
}

fn parts(uri: &http::Uri) -> Option<NotifyUrl> {
    let tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    // A port that is no number reads as none.
    let port = match uri.authority()?.as_str().rsplit_once(':') {
        Some((_, digits)) if !digits.contains(']') => digits.parse().ok().filter(|port| *port != 0)?,
        _ => default_port(tls),
    };
    let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    (!host.is_empty()).then_some(NotifyUrl { tls, host, port, path_and_query })
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// This machine or one of a private network, by its very address so that no resolver has a say. The overlay's own
/// addresses are among them, and there ZeroTier encrypts.
fn is_near(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, from_text};

    const TOP: &str = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[notify]\n";

    fn said(lines: &str) -> String {
        match from_text(&format!("{TOP}{lines}"), &[]) {
            Ok(config) => Problems(&config.warnings).to_string(),
            Err(problems) => Problems(&problems).to_string(),
        }
    }

    fn read(lines: &str) -> Notify {
        from_text(&format!("{TOP}{lines}"), &[]).unwrap().notify
    }

    #[test]
    fn both_receivers_with_the_least_that_they_need() {
        let notify = read(
            "webhook = \"https://Home.example:8443/hook?key=x\"\nsecret_file = \"w.secret\"\n\
             ntfy = \"http://192.168.1.10/topic\"\n",
        );
        let webhook = notify.webhook.unwrap();
        assert_eq!(webhook.secret_file, Path::new("/etc/ztgate/w.secret"));
        let url = webhook.url;
        assert_eq!((url.host.as_str(), url.port, url.tls), ("home.example", 8443, true));
        assert_eq!(url.path_and_query, "/hook?key=x");
        assert_eq!(notify.ntfy.unwrap().url.authority(), "192.168.1.10");
        assert_eq!(notify.events, NotifyEvent::ALL);
    }

    #[test]
    fn a_url_prints_without_what_may_be_a_secret() {
        let notify = read("ntfy = \"https://[2001:db8::1]:444/s3cret\"\ntoken_file = \"t\"\n");
        let url = &notify.ntfy.as_ref().unwrap().url;
        assert_eq!(url.to_string(), "https://[2001:db8::1]:444");
        assert!(!format!("{notify:?}").contains("s3cret"));
    }

    #[test]
    fn events_are_named_as_the_deliveries_name_them() {
        for event in NotifyEvent::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        let notify =
            read("ntfy = \"https://ntfy.sh/x\"\nevents = [\"device-expired\", \"device-pending\"]\n");
        assert_eq!(notify.events, [NotifyEvent::DevicePending, NotifyEvent::DeviceExpired]);
    }

    #[test]
    fn plain_http_stays_at_home() {
        for host in ["127.0.0.1", "[::1]", "10.1.2.3", "172.16.0.1", "192.168.1.10:8080", "[fd00::1]"] {
            assert_eq!(said(&format!("ntfy = \"http://{host}/topic\"\n")), "", "{host}");
        }
        for host in
            ["ntfy.sh", "localhost", "8.8.8.8", "172.32.0.1", "[2001:db8::1]", "192.168.1.10.evil.example"]
        {
            assert!(said(&format!("ntfy = \"http://{host}/topic\"\n")).contains("plain http"), "{host}");
        }
    }

    #[test]
    fn what_is_missing_or_misplaced() {
        insta::assert_snapshot!(said(""), @r#"
        ztgate.toml:3: notify: nobody is named who could be told
          hint: add a line like ntfy = "https://ntfy.sh/my-topic" or webhook = "https://home.example/ztgate"
        "#);
        insta::assert_snapshot!(said("webhook = \"https://home.example/hook\"\n"), @r#"
        ztgate.toml:3: notify.secret_file: missing: the file with the secret that signs each delivery
          hint: type: openssl rand -hex 32 | sudo install -m 640 -g ztgate /dev/stdin /etc/ztgate/webhook.secret
        "#);
        insta::assert_snapshot!(said("secret_file = \"a\"\ntoken_file = \"b\"\n"), @r#"
        ztgate.toml:3: notify: nobody is named who could be told
          hint: add a line like ntfy = "https://ntfy.sh/my-topic" or webhook = "https://home.example/ztgate"
        ztgate.toml:4: notify.secret_file: signs what goes to a webhook, and none is named
          hint: ntfy takes token_file
        ztgate.toml:5: notify.token_file: is ntfy's, and no topic is named
          hint: a webhook takes secret_file
        "#);
        insta::assert_snapshot!(said("ntfy = \"http://10.0.0.1/topic\"\ntoken_file = \"b\"\n"), @r#"
        ztgate.toml:5: notify.token_file: plain http would show the token to the network
          hint: write https:// in ntfy, or remove token_file
        "#);
        insta::assert_snapshot!(said("ntfy = \"https://ntfy.sh\"\n"), @r#"
        ztgate.toml:4: notify.ntfy: the URL's last part is the topic: 1 to 64 of letters, digits, '-' and '_'
          hint: write it like "https://ntfy.sh/my-topic", with a topic that nobody guesses
        "#);
    }

    #[test]
    fn an_empty_list_of_events_is_odd() {
        insta::assert_snapshot!(said("ntfy = \"https://ntfy.sh/x\"\nevents = []\n"), @r#"
        ztgate.toml:5: notify.events: empty, so nobody is told anything
          hint: remove the line to be told everything
        "#);
    }

    #[test]
    fn words_that_people_try() {
        let lines = r#"ntfi = "https://ntfy.sh/TOP-SECRET"
token = "TOP-SECRET"
secret = "TOP-SECRET"
webhook = "https://me:TOP-SECRET@home.example/TOP-SECRET"
secret_file = 7
ntfy = "ntfy.sh/TOP-SECRET"
events = ["device-pendin", "everything", 7]
"#;
        insta::assert_snapshot!(said(lines), @r#"
        ztgate.toml:4: notify.ntfi: unknown key
          hint: did you mean "ntfy"?
        ztgate.toml:5: notify.token: the token itself does not belong in this file; name its file with token_file
        ztgate.toml:6: notify.secret: the secret itself does not belong in this file; name its file with secret_file
        ztgate.toml:7: notify.webhook: takes no user name or password
          hint: a webhook proves itself by secret_file, ntfy by token_file
        ztgate.toml:8: notify.secret_file: expected a text in quotes, found a whole number
        ztgate.toml:9: notify.ntfy: is no http or https URL
          hint: write it like "https://ntfy.sh/my-topic"
        ztgate.toml:10: notify.events: no event is called that: "device-pendin"
          hint: did you mean "device-pending"?
        ztgate.toml:10: notify.events: no event is called that: "everything"
          hint: there are device-pending, device-admitted, device-revoked, device-suspended, device-restored, device-expires-soon, device-expired, identity-changed, controller-lost, controller-back
        ztgate.toml:10: notify.events: expected a text in quotes, found a whole number
        "#);
    }
}
