//! The CA against the verifiers that devices use: webpki (rustls), OpenSSL and curl.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use rcgen::{Certificate, SanType};

use super::*;

const NOW: Timestamp = Timestamp::constant(1_793_534_400, 0); // 2026-11-01T12:00:00Z

fn zone() -> Zone {
    "home.arpa".parse().unwrap()
}

fn layout(dir: &tempfile::TempDir) -> Layout {
    Layout::of(dir.path()).unwrap()
}

fn made() -> (tempfile::TempDir, Ca) {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::open_or_create(dir.path(), &zone(), NOW).unwrap();
    (dir, ca)
}

/// What a stolen intermediate key could sign.
fn forged(ca: &Ca, san: SanType) -> Certificate {
    let mut params = mint::leaf("gate.home.arpa", NOW.into(), ca.ends).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![san];
    params.signed_by(&KeyPair::generate().unwrap(), &ca.issuer).unwrap()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn ip(address: &str) -> SanType {
    SanType::IpAddress(address.parse().unwrap())
}

/// Each case: what is signed, and whether a device that trusts the root must accept it.
fn cases() -> Vec<(SanType, bool)> {
    vec![
        (dns("wiki.home.arpa"), true),
        (dns("a.b.home.arpa"), true),
        (dns("home.arpa"), true),
        (dns("wiki.example.org"), false),
        (dns("nothome.arpa"), false),
        (dns("home.arpa.example.org"), false),
        (ip("10.147.17.1"), false),
        (ip("fd5e:2d9::1"), false),
    ]
}

/// What a rustls client that trusts the root says to a leaf and our intermediate.
fn verified(ca: &Ca, leaf: &Certificate) -> Result<(), webpki::Error> {
    let anchor = webpki::anchor_from_trusted_cert(&ca.root)?;
    webpki::EndEntityCert::try_from(leaf.der())?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            std::slice::from_ref(&ca.intermediate),
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.as_second() as u64)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map(drop)
}

#[test]
fn rustls_accepts_names_in_the_zone_and_nothing_else() {
    let (_dir, ca) = made();
    for (san, fine) in cases() {
        let expected = if fine { Ok(()) } else { Err(webpki::Error::NameConstraintViolation) };
        assert_eq!(verified(&ca, &forged(&ca, san.clone())), expected, "{san:?}");
    }
}

#[test]
fn the_root_alone_confines_an_intermediate_that_confines_nothing() {
    let (dir, mut ca) = made();
    let root_key = std::fs::read_to_string(layout(&dir).root_key).unwrap();
    let root = Issuer::from_ca_cert_der(&ca.root, KeyPair::from_pem(&root_key).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut free = mint::intermediate(&zone(), &key, NOW, ca.root_ends);
    free.name_constraints = None;
    ca.intermediate = free.signed_by(&key, &root).unwrap().into();
    ca.issuer = Issuer::new(free, key);
    for (san, fine) in cases() {
        assert_eq!(verified(&ca, &forged(&ca, san.clone())).is_ok(), fine, "{san:?}");
    }
}

#[test]
fn openssl_accepts_names_in_the_zone_and_nothing_else() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl on this machine (apt install openssl)");
        return;
    }
    let (dir, ca) = made();
    let layout = layout(&dir);
    for (san, fine) in cases() {
        let file = dir.path().join("leaf.pem");
        std::fs::write(&file, forged(&ca, san.clone()).pem()).unwrap();
        let output = Command::new("openssl")
            .args(["verify", "-purpose", "sslserver", "-x509_strict", "-attime"])
            .arg(NOW.as_second().to_string())
            .arg("-CAfile")
            .arg(&layout.root)
            .arg("-untrusted")
            .arg(layout.issuer.certificate())
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), fine, "{san:?}: {said}");
        assert!(fine || said.contains("subtree violation"), "{san:?}: {said}");
    }
}

#[test]
fn openssl_reads_constraints_that_nobody_may_ignore() {
    let (dir, _) = made();
    let layout = layout(&dir);
    for (file, path_length) in [(&layout.root, 1), (&layout.issuer.certificate().to_owned(), 0)] {
        let mut openssl = Command::new("openssl");
        let Ok(output) = openssl.args(["x509", "-noout", "-text", "-in"]).arg(file).output() else {
            eprintln!("skipped: no openssl on this machine (apt install openssl)");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            format!("X509v3 Basic Constraints: critical CA:TRUE, pathlen:{path_length}"),
            "X509v3 Key Usage: critical Certificate Sign, CRL Sign".to_owned(),
            "X509v3 Name Constraints: critical Permitted: DNS:home.arpa Excluded: IP:0.0.0.0/0.0.0.0 \
             IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"
                .to_owned(),
        ] {
            assert!(text.contains(&part), "{part} not in {text}");
        }
    }
}

#[test]
fn a_leaf_is_for_one_server_for_months_not_years() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_dir, ca) = made();
    let leaf = ca.leaf("wiki.home.arpa", NOW).unwrap();
    assert_eq!(leaf.cert.len(), 2, "the intermediate goes with it");
    let (_, parsed) = X509Certificate::from_der(&leaf.cert[0]).unwrap();
    let days = (parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp()) / 86_400;
    assert!(days <= 397, "{days}");
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    assert!(!parsed.is_ca());
    assert!(matches!(ca.leaf("wiki.example.org", NOW), Err(CaError::OutsideZone { .. })));

    let last_week = ca.ends.checked_sub(std::time::Duration::from_secs(7 * 86_400)).unwrap();
    let late = ca.leaf("wiki.home.arpa", last_week).unwrap();
    assert_eq!(pem::facts(Path::new("leaf"), &late.cert[0]).unwrap().ends, ca.ends, "not beyond its issuer");
}

#[test]
fn keys_are_private_and_the_roots_is_never_opened_again() {
    let (dir, first) = made();
    let layout = layout(&dir);
    let root_folder = layout.dir.join(ROOT_FOLDER);
    for (path, mode) in [
        (&layout.dir, 0o700),
        (&root_folder, 0o700),
        (&layout.root_key, 0o600),
        (&layout.issuer.key().to_owned(), 0o600),
    ] {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, mode, "{}", path.display());
    }
    // A folder where the key was would be an error to anyone who opens it; no folder at all, too.
    std::fs::remove_file(&layout.root_key).unwrap();
    std::fs::create_dir(&layout.root_key).unwrap();
    assert_eq!(Ca::open_or_create(dir.path(), &zone(), NOW).unwrap().root, first.root);
    std::fs::remove_dir_all(root_folder).unwrap();
    let again = Ca::open_or_create(dir.path(), &zone(), NOW).unwrap();
    assert_eq!(again.root, first.root);
    again.leaf("wiki.home.arpa", NOW).unwrap();
}

#[test]
fn what_is_wrong_on_disk_is_said_and_never_replaced() {
    type Harm = fn(&Layout);
    fn swap(at: &Layout, from: &str, to: &str) {
        let file = at.issuer.key();
        let text = std::fs::read_to_string(file).unwrap();
        let (start, end) = (format!("-----BEGIN {from}"), format!("END {from}-----\n"));
        let cut = text.find(&start).unwrap()..text.find(&end).unwrap() + end.len();
        std::fs::write(file, format!("{}{to}{}", &text[..cut.start], &text[cut.end..])).unwrap();
    }
    let cases: [(&str, Harm); 9] = [
        ("intermediate-and-key.pem is missing", |at| std::fs::remove_file(at.issuer.key()).unwrap()),
        ("root.pem is missing", |at| std::fs::remove_file(&at.root).unwrap()),
        ("may be read by others (mode 0644)", |at| {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(at.issuer.key(), open).unwrap();
        }),
        ("no certificate in it", |at| std::fs::write(&at.root, "").unwrap()),
        ("do not belong together", |at| {
            let (_other, ca) = made();
            std::fs::write(&at.root, rcgen_pem(&ca.root)).unwrap();
        }),
        ("do not belong together", |at| {
            swap(at, "PRIVATE KEY", &KeyPair::generate().unwrap().serialize_pem());
        }),
        ("do not belong together", |at| {
            let (_other, ca) = made();
            swap(at, "CERTIFICATE", &rcgen_pem(&ca.intermediate));
        }),
        ("no private key in PEM", |at| swap(at, "PRIVATE KEY", "")),
        ("no certificate in it", |at| swap(at, "CERTIFICATE", "")),
    ];
    for (part, harm) in cases {
        let (dir, _) = made();
        harm(&layout(&dir));
        let error = Ca::open_or_create(dir.path(), &zone(), NOW).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn another_zone_a_wrong_clock_and_the_end_are_told_apart() {
    let (dir, ca) = made();
    let second = std::time::Duration::from_secs(1);
    let error =
        |zone: &str, now| Ca::reopen(dir.path(), &zone.parse().unwrap(), now).unwrap_err().to_string();
    assert!(error("internal", NOW).contains("is a CA for home.arpa, and the zone is internal"));
    assert!(error("home.arpa", ca.root_ends + second).contains("root.pem ended at 2046-"));
    let ended = error("home.arpa", ca.ends + second);
    assert!(ended.contains("ended at 2036-") && ended.contains("ztgate certs rotate"), "{ended}");
    let behind = error("home.arpa", ca.begins - second);
    assert!(behind.contains("begins at 2026-10-31") && behind.contains("timedatectl"), "{behind}");

    let none = tempfile::tempdir().unwrap();
    let at_1970 = Ca::open_or_create(none.path(), &zone(), Timestamp::UNIX_EPOCH).unwrap_err().to_string();
    assert!(at_1970.contains("timedatectl"), "{at_1970}");
}

/// Neither a clock that is wrong at boot nor an end that nobody saw coming keeps a gateway from starting.
#[test]
fn a_ca_that_is_void_by_the_clock_is_opened_and_says_so() {
    let (dir, ca) = made();
    let day = std::time::Duration::from_secs(86_400);
    for (now, void) in [
        (NOW, false),
        (ca.begins - day, true),
        (Timestamp::UNIX_EPOCH, true),
        (ca.ends + day, true),
        (ca.root_ends + day, true),
        (ca.ends - day, false),
    ] {
        let opened = Ca::open_or_create(dir.path(), &zone(), now).unwrap();
        assert_eq!(opened.void(now).is_some(), void, "{now}");
        let leaf = opened.leaf("wiki.home.arpa", now).unwrap();
        let facts = pem::facts(Path::new("leaf"), &leaf.cert[0]).unwrap();
        assert!(facts.begins <= facts.ends && facts.ends <= ca.ends, "{now}");
    }
}

#[test]
fn an_interrupted_first_start_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let leftover = dir.path().join("certs.partial-4711");
    std::fs::create_dir_all(leftover.join(ROOT_FOLDER)).unwrap();
    std::fs::write(leftover.join(ROOT_KEY), "half a k").unwrap();
    std::fs::create_dir(dir.path().join("certs")).unwrap();
    Ca::open_or_create(dir.path(), &zone(), NOW).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn any_zone_will_do() {
    let long = format!("{}.{}.arpa", "a".repeat(60), "b".repeat(60));
    for zone in ["localhost", "internal", "lab.example.org", &long] {
        let zone: Zone = zone.parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::open_or_create(dir.path(), &zone, NOW).unwrap();
        ca.leaf(&zone.name("wiki"), NOW).unwrap();
    }
}

fn rcgen_pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn what_is_no_servers_certificate_is_believed_by_nobody() {
    let (_dir, ca) = made();
    let uses = [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()];
    let mut params = mint::leaf("wiki.home.arpa", NOW.into(), ca.ends).unwrap();
    params.extended_key_usages = Vec::new();
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ca.issuer).unwrap();
    let anchor = webpki::anchor_from_trusted_cert(&ca.root).unwrap();
    let believed = uses.map(|usage| {
        let (leaf, time) = (webpki::EndEntityCert::try_from(leaf.der()).unwrap(), NOW.as_second() as u64);
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
        let (known, between) = (webpki::ALL_VERIFICATION_ALGS, std::slice::from_ref(&ca.intermediate));
        leaf.verify_for_usage(known, std::slice::from_ref(&anchor), between, time, usage, None, None).is_ok()
    });
    assert_eq!(believed, [true, false]);
}
