//! The lines of `status` about names and trust: certificates, and records at the domain's own name server.

use jiff::Timestamp;

use crate::admin::{CertificatesStatus, Status};
use crate::cli::style::{Tone, harmless, reason};
use crate::cli::time::distance;
use crate::publish::{Fault, PublishStatus};
use crate::push::{self, PushStatus, Standing};

/// Closer to its end than this, a certificate that was not renewed is a worry.
const CLOSE: i64 = 7 * 24 * 3600;

/// Where certificates come from and until when they are good.
pub fn certificates(status: &Status) -> (Tone, String) {
    of(&status.certificates, status.now)
}

fn of(certificates: &CertificatesStatus, now: Timestamp) -> (Tone, String) {
    let CertificatesStatus { source, serves, ends, acme } = certificates;
    let mut text = source.clone();
    let mut tone = Tone::Plain;
    if let Some(ends) = ends {
        let left = ends.duration_since(now).as_secs();
        let verb = if left < 0 { "ended" } else { "ends" };
        text.push_str(&format!("  {verb} {}", distance(*ends, now)));
        tone = match left {
            i64::MIN..0 => Tone::Bad,
            0..CLOSE if acme.is_none() => Tone::Odd,
            _ => Tone::Plain,
        };
    }
    let Some(acme) = acme else { return (tone, text) };
    if ends.is_none() {
        let why = match &acme.unusable {
            Some(why) => format!("the one that is kept cannot be served ({})", reason(why)),
            None => "none yet".to_owned(),
        };
        text.push_str(&format!("  {why}, so the {serves} serves"));
        tone = Tone::Odd;
    }
    let verb = match &acme.last_error {
        Some(failure) => {
            text.push_str(&format!("; failed {}: {}", distance(failure.at, now), reason(&failure.why)));
            tone = if tone == Tone::Bad { Tone::Bad } else { Tone::Odd };
            "tried again"
        }
        None => "renewed",
    };
    match acme.next {
        Some(next) if next > now => text.push_str(&format!("; {verb} {}", distance(next, now))),
        _ => text.push_str("; being asked for"),
    }
    (tone, text)
}

/// What devices are told of DNS; nothing where nobody asked for it.
pub fn pushed(status: &Status) -> Vec<(Tone, String)> {
    setting(&status.push, status.now)
}

fn setting(push: &PushStatus, now: Timestamp) -> Vec<(Tone, String)> {
    let found =
        push.found.as_ref().map_or_else(|| "not looked at yet".to_owned(), |dns| harmless(&dns.to_string()));
    let line = match &push.standing {
        Standing::Off => None,
        Standing::Unknown => Some((Tone::Plain, found)),
        Standing::InStep => Some((Tone::Plain, format!("devices are told {found}"))),
        Standing::Foreign => {
            let text =
                format!("somebody else set {found}, which is left alone; to set it here: ztgate dns push");
            Some((Tone::Odd, text))
        }
        Standing::Blocked(why) => {
            let text =
                format!("devices are told {found}, and there is nothing to tell them: {}", harmless(why));
            Some((Tone::Bad, text))
        }
    };
    let fault = |fault: &push::Fault| {
        let since = distance(fault.since, now);
        (Tone::Bad, format!("for {}: {}", since.trim_end_matches(" ago"), harmless(&fault.why)))
    };
    line.into_iter().chain(push.error.iter().map(fault)).collect()
}

/// What stands at the domain's own name server.
pub fn published(status: &Status) -> Vec<(Tone, String)> {
    status.publish.iter().flat_map(|publish| lines(publish, status.now)).collect()
}

fn lines(publish: &PublishStatus, now: Timestamp) -> Vec<(Tone, String)> {
    let checked = match publish.checked {
        Some(at) => format!("{} records, looked at {}", publish.published, distance(at, now)),
        None => "nothing yet".to_owned(),
    };
    let fault = |fault: &Fault| {
        let since = distance(fault.since, now);
        (Tone::Bad, format!("for {}: {}", since.trim_end_matches(" ago"), reason(&fault.why)))
    };
    let mut lines = vec![(Tone::Plain, format!("{}  {checked}", publish.server))];
    lines.extend(publish.server_error.iter().map(fault));
    lines.extend(publish.address_error.iter().map(fault));
    if !publish.foreign.is_empty() {
        let names = publish.foreign.join(", ");
        lines.push((
            Tone::Odd,
            format!("not ours, left alone: {names}; ztgate dns publish --adopt takes them"),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{AcmeError, AcmeStatus, Failure};
    use crate::zerotier::NetworkDns;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn certificates_say_where_from_until_when_and_what_is_wrong() {
        let now = at("2026-11-23T12:00:00Z");
        let private = "private CA for home.arpa".to_owned();
        let directory = "https://ca.example/dir".to_owned();
        let failure = Failure { at: at("2026-11-23T10:00:00Z"), why: "no answer".into() };
        let acme = |next: &str, last_error: Option<Failure>| {
            Some(AcmeStatus { next: Some(at(next)), last_error, ..AcmeStatus::default() })
        };
        let status = |source: &str, ends: Option<&str>, acme| CertificatesStatus {
            source: source.to_owned(),
            serves: private.clone(),
            ends: ends.map(at),
            acme,
        };
        let mut broken = acme("2026-11-23T12:15:00Z", Some(failure.clone()));
        broken.as_mut().unwrap().unusable = Some("bundle.pem: no certificate in it".into());
        let texts: Vec<String> = [
            status(&private, None, None),
            status("/etc/ztgate/chain.pem", Some("2026-11-25T12:00:00Z"), None),
            status(&directory, None, acme("2026-11-23T12:00:00Z", None)),
            status(&directory, None, acme("2026-11-23T12:15:00Z", Some(failure.clone()))),
            status(&directory, None, broken),
            status(&directory, Some("2027-01-22T12:00:00Z"), acme("2026-12-23T12:00:00Z", None)),
            status(&directory, Some("2026-11-22T12:00:00Z"), acme("2026-11-23T13:00:00Z", Some(failure))),
        ]
        .iter()
        .map(|certificates| of(certificates, now))
        .map(|(tone, text)| format!("{tone:?}: {text}"))
        .collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        Plain: private CA for home.arpa
        Odd: /etc/ztgate/chain.pem  ends in 2 days
        Odd: https://ca.example/dir  none yet, so the private CA for home.arpa serves; being asked for
        Odd: https://ca.example/dir  none yet, so the private CA for home.arpa serves; failed 2 h ago: no answer; tried again in 15 min
        Odd: https://ca.example/dir  the one that is kept cannot be served (bundle.pem: no certificate in it), so the private CA for home.arpa serves; failed 2 h ago: no answer; tried again in 15 min
        Plain: https://ca.example/dir  ends in 60 days; renewed in 30 days
        Bad: https://ca.example/dir  ended 24 h ago; failed 2 h ago: no answer; tried again in 60 min
        ");
    }

    #[test]
    fn a_reason_is_told_whole_with_what_to_type() {
        let now = at("2026-11-23T12:00:00Z");
        let error = AcmeError::NotShown { name: "_acme-challenge.home.example.org".into(), seconds: 60 };
        let why = error.to_string();
        let last_error = Some(Failure { at: now, why: why.clone() });
        let acme = Some(AcmeStatus { last_error, ..AcmeStatus::default() });
        let certificates =
            CertificatesStatus { source: "ACME".into(), serves: "CA".into(), ends: None, acme };
        assert!(why.contains("dig TXT") && of(&certificates, now).1.contains(&why));
        let publish = PublishStatus {
            server_error: Some(Fault { since: now, why: why.clone() }),
            ..Default::default()
        };
        assert!(lines(&publish, now)[1].1.contains(&why));
    }

    #[test]
    fn the_dns_setting_says_who_set_it_and_what_is_wrong() {
        let now = at("2026-11-23T12:00:00Z");
        let servers = vec!["10.147.20.1".parse().unwrap()];
        let home = NetworkDns { domain: "home.arpa".to_owned(), servers, odd: vec!["\u{1b}".to_owned()] };
        let push = |standing| PushStatus { standing, found: Some(home.clone()), ..PushStatus::default() };
        let fault = push::Fault { since: at("2026-11-23T11:00:00Z"), why: "no answer".to_owned() };
        let texts: Vec<String> = [
            push(Standing::Off),
            PushStatus { standing: Standing::Unknown, error: Some(fault), ..PushStatus::default() },
            push(Standing::InStep),
            push(Standing::Foreign),
            push(Standing::Blocked("DNS is off here".to_owned())),
        ]
        .iter()
        .flat_map(|push| setting(push, now))
        .map(|(tone, text)| format!("{tone:?}: {text}"))
        .collect();
        insta::assert_snapshot!(texts.join("\n"), @r#"
        Plain: not looked at yet
        Bad: for 60 min: no answer
        Plain: devices are told home.arpa at 10.147.20.1 "\u{1b}" (no address)
        Odd: somebody else set home.arpa at 10.147.20.1 "\u{1b}" (no address), which is left alone; to set it here: ztgate dns push
        Bad: devices are told home.arpa at 10.147.20.1 "\u{1b}" (no address), and there is nothing to tell them: DNS is off here
        "#);
    }

    #[test]
    fn what_is_published_says_what_is_in_the_way_and_since_when() {
        let now = at("2026-11-23T12:00:00Z");
        let publish = PublishStatus {
            server: "ns1.example.org".into(),
            published: 8,
            checked: Some(at("2026-11-23T11:58:00Z")),
            foreign: vec!["gate.home.example.org A".into()],
            server_error: Some(Fault { since: at("2026-11-23T11:00:00Z"), why: "no answer".into() }),
            address_error: None,
        };
        let texts: Vec<String> =
            lines(&publish, now).into_iter().map(|(tone, text)| format!("{tone:?}: {text}")).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        Plain: ns1.example.org  8 records, looked at 2 min ago
        Bad: for 60 min: no answer
        Odd: not ours, left alone: gate.home.example.org A; ztgate dns publish --adopt takes them
        ");
    }
}
