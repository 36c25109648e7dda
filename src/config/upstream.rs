//! Where a service really is: `upstream`, `pin` and `ca`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::read::{Report, Section, quote};
use super::{Upstream, UpstreamHost, UpstreamTls};

const EXAMPLE: &str = "http://127.0.0.1:5000";
const WINDOWS_HOST: &str = "windows-host";

/// Reads `upstream` and what proves it from a service's paragraph; paths are relative to `folder`.
pub(super) fn read(service: &Section<'_>, folder: &Path, report: &mut Report) -> Option<Upstream> {
    let pin = service.get("pin").and_then(|item| {
        let text = item.text(report)?;
        let pin = parse_pin(text);
        if pin.is_none() {
            let hint = match text.strip_prefix("sha256//") {
                Some(_) => "curl writes two slashes; here it is one",
                None => "it is the hash of the certificate's public key, as in RFC 7469",
            };
            let message = "expected \"sha256/\" and the 44 characters of a SHA-256 in Base64";
            report.error(&item.spot, message, hint);
        }
        pin
    });
    let ca = service.text("ca", report).map(|path| folder.join(path));

    let Some(item) = service.get("upstream") else {
        let hint = format!("add a line like upstream = \"{EXAMPLE}\"");
        report.error(&service.spot.missing("upstream"), "missing: where the service really is", hint);
        return None;
    };
    let url = match parse_url(item.text(report)?) {
        Ok(url) => url,
        Err(Wrong { message, hint }) => {
            report.error(&item.spot, message, hint);
            return None;
        }
    };
    for key in ["pin", "ca"] {
        if let Some(given) = service.get(key).filter(|_| !url.https) {
            let message =
                format!("\"{key}\" is about the certificate of an https:// upstream; this one is http://");
            report.error(&given.spot, message, format!("remove {key}, or write https:// in upstream"));
        }
    }
    if let (Some(given), Some(_)) = (service.get("ca"), service.get("pin")) {
        let hint = "remove one of them; a pin needs no certificate authority";
        report.error(&given.spot, "\"ca\" and \"pin\" are two ways to prove the same upstream", hint);
    }
    let proof = match pin {
        Some(hash) => UpstreamTls::Pinned(hash),
        None => UpstreamTls::Verified { ca },
    };
    Some(Upstream { tls: url.https.then_some(proof), host: url.host, port: url.port })
}

fn parse_pin(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.strip_prefix("sha256/")?).ok()?.try_into().ok()
}

struct Url {
    https: bool,
    host: UpstreamHost,
    port: u16,
}

#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    message: String,
    hint: Option<String>,
}

fn wrong<T>(message: impl Into<String>, hint: impl Into<Option<String>>) -> Result<T, Wrong> {
    Err(Wrong { message: message.into(), hint: hint.into() })
}

/// Reads `http://HOST[:PORT]`, and nothing more: a service is a name of its own, so there is no path to map it to.
fn parse_url(text: &str) -> Result<Url, Wrong> {
    // First of all, so that no later message shows a password.
    if text.contains('@') {
        return wrong(
            "an upstream takes no user name or password",
            Some(format!("write the address alone, like {EXAMPLE}; the service asks people itself")),
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let bare = authority(text).is_ok() && !text.contains('/');
        let hint = bare.then(|| format!("write \"http://{text}\", or \"https://{text}\" if it speaks TLS"));
        return wrong(format!("expected a URL like {EXAMPLE}, found {}", shown(text)), hint);
    };
    let https = match scheme {
        "http" => false,
        "https" => true,
        "ws" | "wss" => {
            let plain = if scheme == "ws" { "http" } else { "https" };
            let hint = format!("write {plain}://; WebSockets pass through it");
            return wrong(format!("expected http:// or https://, found {}", quote(scheme)), hint);
        }
        "tcp" => {
            return wrong(
                "expected http:// or https://, found \"tcp\"",
                "TCP services come in a later version".to_owned(),
            );
        }
        _ => return wrong(format!("expected http:// or https://, found {}", quote(scheme)), None),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, tail) = rest.split_at(end);
    if !matches!(tail, "" | "/") {
        let what = match tail.as_bytes()[0] {
            b'?' => "query",
            b'#' => "fragment",
            _ => "path",
        };
        return wrong(
            format!("an upstream is a host and a port, without a {what}"),
            format!(
                "write \"{scheme}://{place}\"; a service has a name of its own, so paths stay as they are"
            ),
        );
    }
    let (host, port) = authority(place)?;
    Ok(Url { https, host, port: port.unwrap_or(if https { 443 } else { 80 }) })
}

/// The text, unless what comes after the host could be a secret.
fn shown(text: &str) -> String {
    quote(text.split(['?', '#']).next().unwrap_or_default())
}

fn authority(text: &str) -> Result<(UpstreamHost, Option<u16>), Wrong> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else {
            return wrong(format!("{} has no ']' to end the IPv6 address", quote(text)), None);
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            return wrong(format!("{} is no IPv6 address", quote(address)), None);
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return wrong(format!("expected a port like \":5000\", found {}", quote(rest)), None),
        };
        return Ok((UpstreamHost::Address(address.into()), port));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return wrong(
            format!("{} needs brackets around the IPv6 address", quote(text)),
            format!("write [{text}]"),
        );
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    Ok((parse_host(host)?, port))
}

fn parse_port(text: &str) -> Result<u16, Wrong> {
    match text.parse() {
        Ok(port) if port != 0 && !text.starts_with('+') => Ok(port),
        _ => wrong(format!("expected a TCP port, 1 to 65535, found {}", quote(text)), None),
    }
}

fn parse_host(text: &str) -> Result<UpstreamHost, Wrong> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        if address.is_unspecified() {
            return wrong(
                "0.0.0.0 is where a service listens, not where it is reached",
                "write 127.0.0.1 if it runs on this machine".to_owned(),
            );
        }
        return Ok(UpstreamHost::Address(IpAddr::V4(address)));
    }
    let name = text.to_ascii_lowercase();
    if name == WINDOWS_HOST {
        return Ok(UpstreamHost::WindowsHost);
    }
    // Underscores are no host name's, yet container networks give such names.
    let part_ok = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let digits_last = name.rsplit('.').next().is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if name.is_empty() || name.len() > 253 || !name.split('.').all(part_ok) || digits_last {
        return wrong(format!("{} is no host name and no IP address", quote(text)), None);
    }
    Ok(UpstreamHost::Name(name))
}
