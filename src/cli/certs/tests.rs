//! The verb as it is typed, on a state folder of its own.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::acme::examples::bundle_of;
use crate::ca::{Ca, CaError};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const BUNDLE: &str = "state/acme/bundle.pem";
const NOW: &str = "2026-11-02T12:00:00Z";

/// A configuration and the CA of its state folder.
struct House {
    dir: tempfile::TempDir,
}

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: CertsArgs,
}

impl House {
    fn new() -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        let text = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"state\"\n";
        std::fs::write(house.at("ztgate.toml"), text).unwrap();
        house
    }

    fn with_ca() -> Self {
        let house = Self::new();
        let now = "2026-11-01T12:00:00Z".parse().unwrap();
        Ca::open_or_create(&house.at("state"), &"home.arpa".parse().unwrap(), now).unwrap();
        house
    }

    /// One whose certificates come from an ACME server; the private CA stands in.
    fn with_acme() -> Self {
        let house = Self::with_ca();
        house.configure("[tls]\nacme = \"letsencrypt\"\n[nameserver]\nhook = \"/bin/true\"\n");
        house
    }

    /// Adds lines to the configuration.
    fn configure(&self, lines: &str) {
        let file = self.at("ztgate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}{lines}")).unwrap();
    }

    /// Keeps what came from that server, for these names and from the one year until the other.
    fn keep(&self, directory: &str, names: &[&str], (begins, ends): (i32, i32)) {
        self.write_private(BUNDLE, &bundle_of(directory, names, (begins, 1, 1), (ends, 1, 1)));
    }

    fn write_private(&self, name: &str, text: &str) {
        let file = self.at(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a passphrase as a private file.
    fn passphrase(&self, words: &str) -> String {
        self.write_private("passphrase", &format!("{words}\n"));
        self.at("passphrase").display().to_string()
    }

    fn says(&self, line: &[&str]) -> anyhow::Result<(String, ExitCode)> {
        let typed = Typed::try_parse_from(["certs"].iter().chain(line))?;
        let mut out = Vec::new();
        let code = run(typed.args, &self.at("ztgate.toml"), NOW.parse()?, &mut out, Style::PLAIN)?;
        Ok((String::from_utf8(out)?, code))
    }

    fn said(&self, line: &[&str]) -> String {
        let (text, code) = self.says(line).unwrap_or_else(|error| panic!("{line:?}: {error:#}"));
        assert_eq!(code, ExitCode::SUCCESS, "{line:?}: {text}");
        text
    }
}

#[test]
fn the_arguments_are_sound() {
    CertsArgs::augment_args(clap::Command::new("certs")).debug_assert();
}

#[test]
fn the_ca_is_shown() {
    let absent = House::new().says(&["root"]).unwrap_err();
    assert!(matches!(absent.downcast_ref(), Some(CaError::None { .. })), "{absent}");

    let house = House::with_ca();
    let root = house.said(&["root"]);
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(root.matches("BEGIN").count(), 1);

    for (platform, part) in [("apple", "<plist"), ("windows", "X509Certificate2"), ("linux", "#!/bin/sh")] {
        let text = house.said(&["trust", platform]);
        assert!(text.contains(part) && !text.contains("{{"), "{platform}");
    }

    let text = house.said(&["show"]);
    for part in [
        "root         ztgate root ",
        "home.arpa and below",
        "2026-10-31 to 2046-10-27",
        "2026-10-31 to 2036-10-29",
        "key        on this machine, unencrypted; better elsewhere",
        "serves     a certificate of 90 days for each name",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&house.said(&["show", "--json"])).unwrap();
    assert_eq!(json[1]["role"], "intermediate");
    assert_eq!(json[0]["zones"][0], "home.arpa");
    assert_eq!(json[0]["ends"], "2046-10-27T12:00:00Z");
    assert_eq!(json[0]["key"], "plain");
    assert!(!text.contains("PRIVATE KEY"));
}

#[test]
fn the_root_s_key_goes_to_a_stick_and_comes_back_for_a_rotation() {
    let house = House::with_ca();
    let passphrase = house.passphrase("four words are better");
    let stick = house.at("stick.key").display().to_string();
    let usual = house.at("state/certs/root/root.key");

    let said = house.said(&["root-key", "export", &stick, "--passphrase-file", &passphrase]);
    assert!(said.contains(&format!("rm {}", usual.display())), "{said}");
    assert!(usual.exists(), "only a person removes it, or --remove");
    std::fs::remove_file(&stick).unwrap();
    house.said(&["root-key", "export", &stick, "--remove", "--passphrase-file", &passphrase]);
    assert!(!usual.exists());
    assert!(house.said(&["show"]).contains("key        not on this machine"));

    let gone = house.says(&["root-key", "export", &stick, "--passphrase-file", &passphrase]).unwrap_err();
    assert!(gone.to_string().contains("not on this machine any more"), "{gone}");
    let without = house.says(&["rotate"]).unwrap_err().to_string();
    assert!(without.contains("--root-key FILE"), "{without}");
    let before = house.said(&["show", "--json"]);
    let said = house.said(&["rotate", "--root-key", &stick, "--passphrase-file", &passphrase]);
    assert!(said.contains("No gateway runs here; the next one signs with it."), "{said}");
    let after = house.said(&["show", "--json"]);
    let [before, after] =
        [before, after].map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    assert_eq!(before[0], after[0], "the root stays");
    assert_ne!(before[1]["sha256"], after[1]["sha256"]);

    house.passphrase("other words, nobody's");
    let wrong = house.says(&["rotate", "--root-key", &stick, "--passphrase-file", &passphrase]).unwrap_err();
    assert!(wrong.to_string().ends_with("wrong passphrase"), "{wrong}");
}

#[test]
fn the_root_s_key_is_encrypted_where_it_lies_once() {
    let house = House::with_ca();
    let passphrase = house.passphrase("short");
    let short = house.says(&["root-key", "encrypt", "--passphrase-file", &passphrase]).unwrap_err();
    assert!(short.to_string().contains("less than 12 characters"), "{short}");
    house.passphrase("four words are better");
    house.said(&["root-key", "encrypt", "--passphrase-file", &passphrase]);
    assert!(house.said(&["show"]).contains("key        on this machine, encrypted"));
    let twice = house.says(&["root-key", "encrypt", "--passphrase-file", &passphrase]).unwrap_err();
    assert!(twice.to_string().contains("encrypted already"), "{twice}");
    house.said(&["rotate", "--passphrase-file", &passphrase]);
}

#[test]
fn what_is_wrong_on_disk_ends_with_1_and_says_what_to_type() {
    let house = House::with_ca();
    let text = house.said(&["verify"]);
    for part in [
        "ok    on disk  the root is confined to home.arpa, critical, without IP addresses",
        "ok    on disk  the intermediate is valid until 2036-10-29",
        "ok    on disk  key, intermediate and root belong together",
        "warn  on disk  the root's key lies on this machine unencrypted",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let other = House::with_ca();
    let pair = "state/certs/intermediate-and-key.pem";
    std::fs::copy(other.at(pair), house.at(pair)).unwrap();
    let (text, code) = house.says(&["verify"]).unwrap();
    assert_eq!(code, ExitCode::from(1), "{text}");
    assert!(text.contains("bad   on disk") && text.contains("do not belong together"), "{text}");
    let (json, _) = house.says(&["verify", "--json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["findings"].as_array().unwrap().iter().any(|one| one["grade"] == "bad"), "{json}");
}

/// What each source of certificates has to say for itself: what is shown, what is found, and how that ends.
#[test]
fn each_source_of_certificates_tells_the_truth() {
    const ALL: &[&str] = &["home.arpa", "*.home.arpa"];
    const STANDS_IN: &str = "serves     a certificate of 90 days for each name, made and renewed in memory, until there is \
                             one from https://acme-v02";
    const SERVES_NOTHING: &str = "serves     nothing: [tls] in ztgate.toml names certificates from elsewhere";
    const THIS: &str = "serves     this one, for every name";
    /// What it is called, how it came about, what is shown, what is found, and how that ends.
    type Case = (&'static str, fn(&House), &'static [&'static str], &'static [&'static str], u8);
    let cases: [Case; 7] = [
        (
            "before the first one",
            |_| (),
            &["root         ztgate root", STANDS_IN],
            &["there is no certificate from https://acme-v02", "the intermediate is valid until", "warn"],
            0,
        ),
        (
            "one that can be served",
            |house| house.keep(LETS_ENCRYPT, ALL, (2026, 2027)),
            &["served       rcgen", "names      home.arpa, *.home.arpa", THIS, SERVES_NOTHING],
            &[
                "bundle.pem and its key belong together",
                "bundle.pem is valid until 2027-01-01",
                "it covers every name",
                "whom this machine does not trust",
            ],
            0,
        ),
        (
            "one from the server before",
            |house| house.keep("https://staging.example/directory", ALL, (2026, 2027)),
            &[THIS],
            &["is not from https://acme-v02.api.letsencrypt.org/directory, which ztgate.toml names now"],
            0,
        ),
        (
            "one that ended",
            |house| house.keep(LETS_ENCRYPT, ALL, (2025, 2026)),
            &["2025-01-01 to 2026-01-01, ended", "error      ", THIS, SERVES_NOTHING],
            &["bundle.pem ended at 2026-01-01T00:00:00Z", "ztgate status"],
            1,
        ),
        (
            "one that has not begun",
            |house| house.keep(LETS_ENCRYPT, ALL, (2027, 2028)),
            &["2027-01-01 to 2028-01-01, not begun", THIS, SERVES_NOTHING],
            &["bundle.pem begins at 2027-01-01T00:00:00Z", "timedatectl"],
            1,
        ),
        (
            "one for other names",
            |house| house.keep(LETS_ENCRYPT, &["example.org"], (2026, 2027)),
            &["is for other names than the zone's", STANDS_IN],
            &["it does not cover gate.home.arpa, wiki.home.arpa"],
            1,
        ),
        (
            "half of one",
            |house| {
                house.keep(LETS_ENCRYPT, ALL, (2026, 2027));
                let whole = std::fs::read_to_string(house.at(BUNDLE)).unwrap();
                house.write_private(BUNDLE, &whole[..whole.len() / 3]);
            },
            &["served       none", "error      ", "serves     nothing", STANDS_IN],
            &[
                "no certificate",
                "where a gateway starts with that",
                "key, intermediate and root belong together",
            ],
            1,
        ),
    ];
    for (what, before, shown, found, code) in cases {
        let house = House::with_acme();
        house.configure("[service.wiki]\nupstream = \"http://127.0.0.1:8080\"\n");
        before(&house);
        let (text, json) = (house.said(&["show"]), house.said(&["show", "--json"]));
        for part in shown {
            assert!(text.contains(part), "{what}: {part} in {text}");
        }
        let json: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(json.iter().filter(|one| one["serves"].is_string()).count(), 1, "{what}: {json:#?}");
        assert_eq!(json.iter().any(|one| one["error"].is_string()), code == 1, "{what}: {json:#?}");

        let (text, ended) = house.says(&["verify"]).unwrap();
        assert_eq!(ended, ExitCode::from(code), "{what}: {text}");
        for part in found {
            assert!(text.contains(part), "{what}: {part} in {text}");
        }
        assert_eq!(text.contains("bad "), code == 1, "{what}: {text}");
    }
}

#[test]
fn files_that_cannot_be_served_are_shown_with_the_reason() {
    let house = House::new();
    house.configure("[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n");
    let text = house.said(&["show"]);
    assert!(
        text.contains("served       none") && text.contains("error      ") && !text.contains("CA"),
        "{text}"
    );
    let (text, code) = house.says(&["verify"]).unwrap();
    assert!(code == ExitCode::from(1) && text.contains("c.pem: No such file"), "{text}");

    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["gate.home.arpa".to_owned()]).unwrap().self_signed(&key).unwrap();
    house.write_private("c.pem", &certificate.pem());
    house.write_private("k.pem", &KeyPair::generate().unwrap().serialize_pem());
    let text = house.said(&["show"]);
    assert!(
        text.contains("is not the key of the first certificate") && text.contains("serves     nothing"),
        "{text}"
    );
    house.write_private("k.pem", &key.serialize_pem());
    let text = house.said(&["show"]);
    assert!(text.contains("serves     this one") && !text.contains("error"), "{text}");
}
