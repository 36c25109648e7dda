//! Certificates from elsewhere, held against all that a device holds them against: key, chain, clock and names.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustls::RootCertStore;

use super::given::Given;
use super::verify::lasting;
use super::{CaError, Checked, pem};

/// What devices ask for, and whom they trust.
pub struct Devices<'a> {
    /// Every name that the gateway answers to.
    pub names: &'a [String],
    /// The roots of a device on which nobody installed anything; this machine's stand for them.
    pub roots: &'a RootCertStore,
}

/// The roots that this machine trusts; none where nobody installed any.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Looks at PEM files of one's own.
pub fn verify_files(certificate: &Path, key: &Path, devices: &Devices<'_>, now: Timestamp) -> Vec<Checked> {
    const MENDS: Mends = Mends {
        renew: "renew it; a changed file is taken over at once",
        names: "have it issued for these names too, or for the zone with a wildcard",
        chain: "put the whole chain into the file (fullchain.pem), the gateway's own certificate first",
    };
    judge(Given::from_files(certificate, key), devices, &MENDS, now)
}

/// Looks at the file with key and chain that came from an ACME server.
pub fn verify_bundle(file: &Path, devices: &Devices<'_>, now: Timestamp) -> Vec<Checked> {
    const ASKED_FOR: &str =
        "a running gateway asks for another one by itself; when, and why none came: ztgate status";
    const MENDS: Mends = Mends { renew: ASKED_FOR, names: ASKED_FOR, chain: ASKED_FOR };
    judge(Given::from_bundle(file), devices, &MENDS, now)
}

/// What to do about each thing that may be wrong.
struct Mends {
    renew: &'static str,
    names: &'static str,
    chain: &'static str,
}

fn judge(
    given: Result<Given, CaError>,
    devices: &Devices<'_>,
    mends: &Mends,
    now: Timestamp,
) -> Vec<Checked> {
    let given = match given {
        Ok(given) => given,
        Err(error) => return vec![Checked::error(&error)],
    };
    let file = given.file.display().to_string();
    vec![
        Checked::ok(format!("{file} and its key belong together")),
        lasting(&file, (given.begins, given.ends), is_late(&given, now), mends.renew, now),
        chain(&given, devices.roots, mends.chain, now),
        names(&given, devices.names, mends.names),
    ]
}

/// Whether its renewal was forgotten: whoever renews in time does so with a third of its life left
/// (letsencrypt.org/docs/integration-guide). Nobody need be told of a year's certificate months ahead.
fn is_late(given: &Given, now: Timestamp) -> bool {
    let life = given.ends.duration_since(given.begins);
    given.ends.duration_since(now) < (life / 4).min(SignedDuration::from_hours(21 * 24))
}

/// Whether the certificates lead from one to the next, and in the end to somebody whom devices trust.
fn chain(given: &Given, roots: &RootCertStore, mend: &str, now: Timestamp) -> Checked {
    let is_trusted = given.is_trusted_by(roots, now);
    if let Err(error) = given.linked(now) {
        // Most devices put them in order by themselves.
        let grade = if is_trusted { Checked::advice } else { Checked::wrong };
        return grade(error.to_string(), mend.to_owned());
    }
    let last = given.key.cert.last().map(|last| pem::facts(&given.file, last));
    let issuer = match last {
        Some(Ok(facts)) if !facts.issuer.is_empty() => facts.issuer,
        _ => "somebody without a name".to_owned(),
    };
    if roots.is_empty() {
        let what = format!("it leads to {issuer}; whom devices trust cannot be told without any root here");
        return Checked::advice(what, "sudo apt install ca-certificates");
    }
    if is_trusted {
        return Checked::ok(format!("it leads to {issuer}, whom this machine trusts"));
    }
    let what =
        format!("it leads to {issuer}, whom this machine does not trust, and other devices may not either");
    Checked::advice(what, "have each device trust whoever that is; or the chain lacks its end")
}

fn names(given: &Given, names: &[String], mend: &str) -> Checked {
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !given.covers(name)).collect();
    if missing.is_empty() {
        Checked::ok("it covers every name that the gateway answers to")
    } else {
        Checked::wrong(format!("it does not cover {}", missing.join(", ")), mend)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;
    use crate::ca::Standing;

    /// Somebody who signs, under that name.
    fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A bundle of 90 days for these names, and what it says of each of key, clock, chain and names.
    fn found(names: &[&str], ends_with: Option<&str>, day: &str) -> Vec<(Standing, String)> {
        let (house, stranger) = (issuer("House Root"), issuer("A Stranger"));
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let leaf = params.signed_by(&key, &house).unwrap().pem();
        let last = match ends_with {
            Some("stranger") => stranger.pem(),
            Some("another") => issuer("Another").pem(),
            Some(_) => house.pem(),
            None => String::new(),
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bundle.pem");
        std::fs::write(&file, format!("{}{leaf}{last}", key.serialize_pem())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(if day < "2026-03" { house.der().clone() } else { stranger.der().clone() }).unwrap();
        let asked = ["gate.home.arpa", "wiki.home.arpa"].map(str::to_owned);
        let devices = Devices { names: &asked, roots: &roots };
        verify_bundle(&file, &devices, format!("{day}T00:00:00Z").parse().unwrap())
            .into_iter()
            .map(|one| {
                assert_eq!(one.mend.is_some(), one.standing != Standing::Ok, "{one:?}");
                (one.standing, one.what)
            })
            .collect()
    }

    #[test]
    fn each_thing_that_a_device_looks_at_is_told_by_itself() {
        use Standing::{Advice, Ok, Wrong};
        const ALL: &[&str] = &["*.home.arpa"];
        const ONE: &[&str] = &["gate.home.arpa"];
        for (names, ends_with, day, expected) in [
            (ALL, Some("house"), "2026-02-01", [Ok, Ok, Ok, Ok]),
            // Whoever is trusted need not be in the file.
            (ALL, None, "2026-02-01", [Ok, Ok, Ok, Ok]),
            (ALL, Some("stranger"), "2026-02-01", [Ok, Ok, Advice, Ok]),
            (ALL, Some("another"), "2026-03-20", [Ok, Advice, Wrong, Ok]),
            (ONE, Some("house"), "2026-02-01", [Ok, Ok, Ok, Wrong]),
            (ALL, Some("house"), "2025-12-31", [Ok, Wrong, Ok, Ok]),
            // From March on devices trust somebody else.
            (ALL, Some("house"), "2026-03-20", [Ok, Advice, Advice, Ok]),
            (ONE, None, "2026-04-02", [Ok, Wrong, Advice, Wrong]),
        ] {
            let found = found(names, ends_with, day);
            let standings: Vec<_> = found.iter().map(|(standing, _)| *standing).collect();
            assert_eq!(standings, expected, "{names:?} {ends_with:?} {day}: {found:?}");
        }
        let found = found(ONE, None, "2026-04-02");
        for (said, part) in found.iter().map(|(_, what)| what).zip([
            "bundle.pem and its key belong together",
            "ended at 2026-04-01T00:00:00Z, and the clock says 2026-04-02",
            "leads to House Root, whom this machine does not trust",
            "does not cover wiki.home.arpa",
        ]) {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn short_lives_are_not_late_from_their_first_day() {
        let at = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>().unwrap();
        let key = KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (file, key_file) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        for (ends, day, late) in [
            ((2026, 1, 8), "2026-01-05", false),
            ((2026, 1, 8), "2026-01-07", true),
            ((2026, 4, 1), "2026-03-01", false),
            ((2026, 4, 1), "2026-03-12", true),
            ((2027, 1, 1), "2026-12-01", false),
            ((2027, 1, 1), "2026-12-12", true),
        ] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.not_before = rcgen::date_time_ymd(2026, 1, 1);
            params.not_after = rcgen::date_time_ymd(ends.0, ends.1, ends.2);
            std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
            let given = Given::from_files(&file, &key_file).unwrap();
            assert_eq!(is_late(&given, at(day)), late, "{ends:?} on {day}");
        }
    }
}
