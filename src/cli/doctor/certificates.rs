//! The checks of certificates: on disk, in the running gateway, and as devices see them.

use std::path::Path;

use jiff::Timestamp;

use crate::acme;
use crate::admin::{CaStatus, Status};
use crate::ca::{self, CaError, Certificates, Checked, Devices, Standing};
use crate::config::{Acme, Config, Tls};
use crate::routes::{Site, TRUST_PROBE};

pub use super::names::certificates as asked_for;
use super::{Finding, Grade};

/// What lies on disk, all of it, held against each other, the clock, and what devices ask for.
pub fn on_disk(config: &Config, now: Timestamp) -> Vec<Finding> {
    // What cannot be laid out has no names to cover, and is told elsewhere.
    let names = Site::new(config, None).map(|site| site.names().map(str::to_owned).collect::<Vec<_>>());
    let mut names = names.unwrap_or_default();
    // Only where the private CA vouches does anything ask it, and that covers the whole zone.
    names.retain(|name| *name != config.zone.name(TRUST_PROBE));
    names.sort_unstable();
    let private = || ca::verify(&config.state_dir, &config.zone, &names, now);
    let checked = match &config.tls {
        Tls::PrivateCa => private(),
        Tls::Files { certificate, key } => {
            ca::verify_files(certificate, key, &Devices { names: &names, roots: &ca::system_roots() }, now)
        }
        Tls::Acme(acme) => {
            let (mut checked, is_served) =
                bundle(config, acme, &Devices { names: &names, roots: &ca::system_roots() }, now);
            if !is_served {
                checked.extend(private());
            }
            checked
        }
    };
    checked.into_iter().map(finding).collect()
}

/// What came from an ACME server, and whether a gateway that starts now serves it, and not the private CA's in its place.
fn bundle(config: &Config, server: &Acme, devices: &Devices<'_>, now: Timestamp) -> (Vec<Checked>, bool) {
    const WHEN: &str = "a running gateway asks for one by itself; when, and why none came: ztgate status";
    let (file, directory) = (acme::bundle(&config.state_dir), &server.directory);
    let stands_in = "the private CA stands in, which only devices with its root trust";
    let kept = acme::read_kept(config, now);
    if let Ok(None) = kept {
        let what = format!("there is no certificate from {directory} yet, so {stands_in}");
        return (vec![Checked::advice(what, WHEN)], false);
    }
    let mut checked = ca::verify_bundle(&file, devices, now);
    match &kept {
        Ok(_) if !acme::is_from(&config.state_dir, directory) => {
            let what = format!("{} is not from {directory}, which ztgate.toml names now", file.display());
            checked.push(Checked::advice(what, WHEN));
        }
        Ok(_) => {}
        Err(why) => {
            if checked.iter().all(|one| one.standing != Standing::Wrong) {
                checked.push(Checked::wrong(why.to_string(), WHEN));
            }
            checked.push(Checked::advice(format!("where a gateway starts with that, {stands_in}"), WHEN));
        }
    }
    (checked, kept.is_ok())
}

/// Why this user may not look at what is served, so that nobody knows whether it is right.
pub fn unseen(config: &Config, now: Timestamp) -> Option<String> {
    let denied = |error: CaError| error.is_denied().then(|| error.to_string());
    let private = || ca::describe(&config.state_dir).err().and_then(denied);
    match &config.tls {
        Tls::PrivateCa => private(),
        Tls::Files { certificate, key } => {
            Certificates::from_pem_whenever(certificate, key, now).err().and_then(denied)
        }
        Tls::Acme(_) => match acme::read_kept(config, now) {
            Ok(Some(_)) => None,
            Ok(None) => private(),
            Err(error) => error.is_denied().then(|| error.to_string()),
        },
    }
}

/// The same for a doctor: what is wrong or could be better; all that is well in one line.
pub fn on_disk_in_short(config: &Config, now: Timestamp) -> Vec<Finding> {
    let mut findings = on_disk(config, now);
    let all = findings.len();
    findings.retain(|finding| finding.grade != Grade::Ok);
    if findings.is_empty() && all > 0 {
        findings.push(Finding::ok("on disk belong together and are valid: ztgate certs verify"));
    }
    findings
}

fn finding(checked: Checked) -> Finding {
    let Checked { standing, what, mend } = checked;
    match (standing, mend) {
        (Standing::Ok, _) => Finding::ok(what),
        (Standing::Advice, mend) => Finding { grade: Grade::Warn, what, mend },
        (Standing::Wrong, mend) => {
            let itself = "do that, then: ztgate certs verify".to_owned();
            Finding { grade: Grade::Bad, what, mend: Some(mend.unwrap_or(itself)) }
        }
    }
}

/// What the running gateway serves.
pub fn in_use(config: &Config, status: &Status) -> Vec<Finding> {
    used(config, &status.ca, status.now)
}

fn used(config: &Config, served: &CaStatus, now: Timestamp) -> Vec<Finding> {
    if let Some(why) = &served.error {
        let lasting = served.ends.filter(|ends| *ends > now);
        let until = lasting
            .map(|ends| format!("; what is served meanwhile lasts until {}", ends.strftime("%Y-%m-%d")));
        let what = format!("the running gateway says: {why}{}", until.unwrap_or_default());
        return vec![Finding::bad(
            what,
            "mend that; files are taken over at once, or by: systemctl reload ztgate",
        )];
    }
    match (&served.intermediate, &served.certificate, &config.tls) {
        (Some(used), ..) => signed(config, used),
        (None, Some(used), Tls::Files { certificate, .. }) => {
            vec![given(certificate, used, served.ends, "systemctl reload ztgate")]
        }
        (None, Some(used), Tls::Acme(_)) => {
            // It is read at the start, and later only while nothing better is served.
            let file = acme::bundle(&config.state_dir);
            vec![given(&file, used, served.ends, "systemctl restart ztgate, once that file is right")]
        }
        (None, ..) => Vec::new(),
    }
}

/// By the intermediate with this fingerprint.
fn signed(config: &Config, used: &str) -> Vec<Finding> {
    let on_disk = ca::describe(&config.state_dir).ok().and_then(|mut all| all.pop());
    match on_disk {
        Some(found) if found.sha256 != *used => vec![Finding::bad(
            "the running gateway signs with another intermediate than the one on disk",
            "systemctl reload ztgate",
        )],
        Some(found) => vec![Finding::ok(format!("the running gateway signs with {}", found.subject))],
        // Why it cannot be read is told by what looks at the disk.
        None => Vec::new(),
    }
}

/// By the certificate with this fingerprint, which should be the one in the file.
fn given(file: &Path, used: &str, ends: Option<Timestamp>, mend: &str) -> Finding {
    if ca::describe_file(file).is_ok_and(|found| found.sha256 == *used) {
        return Finding::ok(format!("the running gateway serves {}", file.display()));
    }
    let until = ends.map(|ends| format!(", and until {}", ends.strftime("%Y-%m-%d"))).unwrap_or_default();
    let what =
        format!("the running gateway serves another certificate than the one in {}{until}", file.display());
    Finding::warn(what, mend)
}

/// Which devices refuse what is served.
pub fn distrusting(status: &Status) -> Vec<Finding> {
    let warn = |one: &crate::admin::Distrusting| {
        let name = one.device.clone().unwrap_or_else(|| one.member.to_string());
        Finding::warn(
            format!("{name} does not trust the root, so https warns there"),
            format!("open on it: {}", trust_page(status)),
        )
    };
    status.distrusting.iter().map(warn).collect()
}

/// Where a device learns to trust the root, over plain HTTP.
pub fn trust_page(status: &Status) -> String {
    let ports: Vec<u16> =
        status.listeners.iter().filter(|one| one.scheme == "http").map(|one| one.at.port()).collect();
    let port = match ports.first() {
        Some(port) if !ports.contains(&80) => format!(":{port}"),
        _ => String::new(),
    };
    format!("http://gate.{}{port}/trust", status.zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &tempfile::TempDir, lines: &str) -> Config {
        let state = dir.path().display();
        let text =
            format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"{state}\"\n{lines}");
        crate::config::from_text(&text, &[]).unwrap()
    }

    #[test]
    fn a_root_s_key_on_the_machine_is_advice_and_a_broken_file_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let (config, now) = (config(&dir, ""), "2026-11-01T12:00:00Z".parse().unwrap());
        assert_eq!(on_disk(&config, now)[0].grade, Grade::Bad, "there is none yet");
        ca::Ca::open_or_create(dir.path(), &config.zone, now).unwrap();

        let [advice] = &on_disk_in_short(&config, now)[..] else { panic!("one line") };
        assert_eq!(advice.grade, Grade::Warn);
        assert!(advice.mend.as_ref().unwrap().contains("root-key export"), "{advice:?}");

        std::fs::remove_dir_all(dir.path().join("certs/root")).unwrap();
        let [well] = &on_disk_in_short(&config, now)[..] else { panic!("one line") };
        assert_eq!(well.grade, Grade::Ok);

        let late = "2036-06-01T12:00:00Z".parse().unwrap();
        let [ends] = &on_disk_in_short(&config, late)[..] else { panic!("one line") };
        assert_eq!((ends.grade, ends.mend.as_deref()), (Grade::Warn, Some("ztgate certs rotate")));

        std::fs::write(dir.path().join("certs/root.pem"), "").unwrap();
        let found = on_disk_in_short(&config, now);
        assert!(found.iter().all(|one| one.grade == Grade::Bad && one.mend.is_some()), "{found:?}");
    }

    #[test]
    fn files_of_one_s_own_are_judged_by_their_names_too() {
        let dir = tempfile::tempdir().unwrap();
        let lines = "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
        let found = on_disk(&config(&dir, lines), Timestamp::UNIX_EPOCH);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("c.pem: No such file"), "{found:?}");
    }

    #[test]
    fn what_the_gateway_serves_is_held_against_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-11-01T12:00:00Z".parse().unwrap();
        let file = dir.path().join("c.pem").display().to_string();
        let files = config(&dir, &format!("[tls]\ncertificate = \"{file}\"\nkey = \"k.pem\"\n"));
        let acme = config(&dir, "[tls]\nacme = \"letsencrypt\"\n[nameserver]\nhook = \"/bin/true\"\n");
        let pair = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap()
        };
        let (certificate, other) = (pair(), pair());
        std::fs::write(&file, certificate.pem()).unwrap();
        std::fs::create_dir(dir.path().join("acme")).unwrap();
        std::fs::write(acme::bundle(dir.path()), certificate.pem()).unwrap();
        let serving = |one: &rcgen::Certificate| CaStatus {
            certificate: Some(ca::fingerprint(one.der())),
            ends: Some("2026-12-24T00:00:00Z".parse().unwrap()),
            ..CaStatus::default()
        };
        for (config, served, grade, part, mend) in [
            (&files, &certificate, Grade::Ok, "the running gateway serves", None),
            (&files, &other, Grade::Warn, "c.pem, and until 2026-12-24", Some("systemctl reload ztgate")),
            (&acme, &certificate, Grade::Ok, "bundle.pem", None),
            (
                &acme,
                &other,
                Grade::Warn,
                "bundle.pem, and until 2026-12-24",
                Some("systemctl restart ztgate"),
            ),
        ] {
            let [found] = &used(config, &serving(served), now)[..] else { panic!("one line") };
            assert_eq!(found.grade, grade, "{found:?}");
            assert!(found.what.contains(part), "{found:?}");
            let said = found.mend.as_deref();
            assert!(
                said.is_some() == mend.is_some()
                    && said.unwrap_or_default().starts_with(mend.unwrap_or_default()),
                "{found:?}"
            );
        }
        let wrong = CaStatus { error: Some("the key is another's".into()), ..serving(&other) };
        let [found] = &used(&files, &wrong, now)[..] else { panic!("one line") };
        assert_eq!(found.grade, Grade::Bad);
        assert!(
            found.what.ends_with("the key is another's; what is served meanwhile lasts until 2026-12-24")
        );
    }
}
