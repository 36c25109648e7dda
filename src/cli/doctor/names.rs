//! What `doctor` finds about names and trust outside: the ACME server's certificates, and published records.

use jiff::Timestamp;

use crate::admin::{CertificatesStatus, Status};
use crate::cli::style::reason;
use crate::cli::time::distance;
use crate::publish::PublishStatus;

use super::Finding;

/// Closer to its end than this, a certificate worries.
const CLOSE: i64 = 7 * 24 * 3600;

/// How the gateway's certificates stand, by the running gateway; nothing without one.
pub fn certificates(running: &anyhow::Result<Status>) -> Vec<Finding> {
    running.iter().map(|status| of(&status.certificates, status.now)).collect()
}

fn of(certificates: &CertificatesStatus, now: Timestamp) -> Finding {
    let CertificatesStatus { source, serves, ends, acme } = certificates;
    let failure = acme.as_ref().and_then(|acme| acme.last_error.as_ref());
    let left = ends.map(|ends| (ends, ends.duration_since(now).as_secs()));
    match (left, failure) {
        (Some((ends, left)), failure) if left < 0 => {
            let why = failure.map_or_else(
                || {
                    "replace it; with PEM files of your own: the gateway takes over new ones at once"
                        .to_owned()
                },
                |failure| reason(&failure.why),
            );
            Finding::bad(format!("the certificate from {source} ended {}", distance(ends, now)), why)
        }
        (_, Some(failure)) => {
            let until = match left {
                Some((ends, _)) => format!("the last one is good until {}", distance(ends, now)),
                None => format!("the {serves} serves, which only devices with its root trust"),
            };
            Finding::warn(
                format!("no certificate from {source} since {}; {until}", distance(failure.at, now)),
                reason(&failure.why),
            )
        }
        (Some((ends, left)), None) if left < CLOSE && acme.is_none() => {
            let what = format!("the certificate in {source} ends {}", distance(ends, now));
            Finding::warn(what, "renew it; the gateway takes over new files at once")
        }
        (Some((ends, _)), None) => Finding::ok(format!("from {source}, good until {}", distance(ends, now))),
        (None, None) if acme.is_some() => {
            Finding::warn(format!("none from {source} yet"), "wait a minute, then: ztgate status")
        }
        (None, None) => Finding::ok(format!("from the {source}")),
    }
}

/// How the records at the domain's own name server stand, by the running gateway.
pub fn published(running: &anyhow::Result<Status>) -> Vec<Finding> {
    let status = running.as_ref().ok();
    let publish = status.and_then(|status| Some((status.publish.as_ref()?, status.now)));
    publish.map(|(publish, now)| records(publish, now)).unwrap_or_default()
}

fn records(publish: &PublishStatus, now: Timestamp) -> Vec<Finding> {
    let PublishStatus { server, published, foreign: others, .. } = publish;
    let fault = |what: &str, fault: &crate::publish::Fault| {
        Finding::bad(format!("{what} since {}", distance(fault.since, now)), reason(&fault.why))
    };
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(
        publish.server_error.iter().map(|it| fault(&format!("records at {server} are not kept"), it)),
    );
    findings.extend(publish.address_error.iter().map(|it| fault("the house's address is not known", it)));
    if !others.is_empty() {
        let what = format!("records that ztgate did not make stand in the way: {}", others.join(", "));
        findings.push(Finding::warn(
            what,
            "remove them at the name server, or replace them: ztgate dns publish --adopt",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{published} records stand at {server}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{AcmeStatus, Failure};
    use crate::cli::doctor::Grade;
    use crate::publish::Fault;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-23T12:00:00Z";

    #[test]
    fn a_certificate_worries_when_it_ends_or_none_comes() {
        let failure = Failure { at: at("2026-11-23T10:00:00Z"), why: "cannot be reached".into() };
        let acme = |last_error: Option<Failure>| Some(AcmeStatus { last_error, ..AcmeStatus::default() });
        for (ends, acme, grade, part) in [
            (None, None, Grade::Ok, "from the private CA"),
            (None, acme(None), Grade::Warn, "none from"),
            (
                None,
                acme(Some(failure.clone())),
                Grade::Warn,
                "serves, which only devices with its root trust",
            ),
            (Some("2027-01-22T12:00:00Z"), acme(None), Grade::Ok, "good until in 60 days"),
            (
                Some("2027-01-22T12:00:00Z"),
                acme(Some(failure.clone())),
                Grade::Warn,
                "the last one is good until",
            ),
            (Some("2026-11-22T12:00:00Z"), acme(Some(failure)), Grade::Bad, "ended 24 h ago"),
            (Some("2026-11-25T12:00:00Z"), None, Grade::Warn, "ends in 2 days"),
            (Some("2026-11-22T12:00:00Z"), None, Grade::Bad, "ended 24 h ago"),
        ] {
            let source = "private CA for home.arpa".to_owned();
            let ends = ends.map(at);
            let found = of(&CertificatesStatus { serves: source.clone(), source, ends, acme }, at(NOW));
            assert_eq!(found.grade, grade, "{found:?}");
            assert!(found.what.contains(part), "{found:?}");
            assert_eq!(found.mend.is_some(), grade != Grade::Ok, "{found:?}");
        }
    }

    #[test]
    fn each_thing_wrong_with_published_records_is_a_finding() {
        let right = PublishStatus { server: "ns1".into(), published: 4, ..PublishStatus::default() };
        assert_eq!(records(&right, at(NOW)), [Finding::ok("4 records stand at ns1")]);
        let fault = Fault { since: at("2026-11-23T11:00:00Z"), why: "no answer".into() };
        let wrong = PublishStatus {
            foreign: vec!["gate.home.arpa A".into()],
            server_error: Some(fault.clone()),
            address_error: Some(fault),
            ..right
        };
        let grades: Vec<Grade> = records(&wrong, at(NOW)).iter().map(|finding| finding.grade).collect();
        assert_eq!(grades, [Grade::Bad, Grade::Bad, Grade::Warn]);
    }
}
