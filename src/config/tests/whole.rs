//! Whole configurations: read to the letter, from where they lie, and through whatever happens to them.

use proptest::prelude::*;

use super::*;
use crate::model::TlsVersion;

const WHOLE: &str = r#"
network = "5e02d9cb41c0ffee"
zone = "home.arpa"
state_dir = "state"
http_port = 8080
https_port = 0x20fb

[controller]
kind = "central"
token_file = "central.token"

[node]
url = "http://[::1]:9993/"
token_file = "/run/node.token"

[tls]
certificate = "tls/chain.pem"
key = "/etc/key.pem"

[service.films]
kind = "jellyfin"
upstream = "http://windows-host:8096/"
aliases = ["movies"]
plain_http = false
allow = ["family"]

[service.nas]
upstream = "https://192.168.1.10:5001"
pin = "sha256/AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
http1_only = true
min_tls = "1.3"
allow = ["tv", "mum", "bcba17eef8", "*"]

[service.dl]
kind = "aria2"
upstream = "https://Box_1.lan"
ca = "box.pem"
allow = { watch = ["family"], admin = [
    "mum",
] }
"#;

const WHOLE_DEVICES: &str = r#"
[device.tv]
id = "c4c8812898"
owner = "mum"
groups = ["family"]
"#;

#[test]
fn a_whole_configuration_is_read_to_the_letter() {
    let config = from_text(WHOLE, &[("devices.toml", WHOLE_DEVICES)]).unwrap();
    let path = PathBuf::from;
    assert_eq!(config.network.to_string(), "5e02d9cb41c0ffee");
    assert_eq!(config.state_dir, path("/etc/ztgate/state"));
    assert_eq!((config.http_port, config.https_port), (8080, 8443));
    assert_eq!(config.node, Node { url: "http://[::1]:9993".into(), token_file: path("/run/node.token") });
    let token_file = path("/etc/ztgate/central.token");
    assert_eq!(config.controller, Controller::Central { url: gateway::CENTRAL_URL.into(), token_file });
    let (certificate, key) = (path("/etc/ztgate/tls/chain.pem"), path("/etc/key.pem"));
    assert_eq!(config.tls, Tls::Files { certificate: certificate.clone(), key: key.clone() });
    let warned: Vec<_> =
        config.warnings.iter().map(|warning| (warning.line, warning.key.as_deref())).collect();
    assert_eq!(warned, [(Some(31), Some("service.nas.min_tls"))]);

    let [dl, films, nas] = &config.services[..] else { panic!("three services, by name") };
    let ca = path("/etc/ztgate/box.pem");
    let verified = Some(UpstreamTls::Verified { ca: Some(ca.clone()) });
    assert_eq!(
        dl.upstream,
        Upstream { tls: verified, host: UpstreamHost::Name("box_1.lan".into()), port: 443 }
    );
    assert_eq!(films.upstream, Upstream { tls: None, host: UpstreamHost::WindowsHost, port: 8096 });
    let pin: [u8; 32] = std::array::from_fn(|i| i as u8 + 1);
    let host = UpstreamHost::Address([192, 168, 1, 10].into());
    assert_eq!(nas.upstream, Upstream { tls: Some(UpstreamTls::Pinned(pin)), host, port: 5001 });
    assert_eq!((films.kind.word, films.plain_http, films.http1_only), ("jellyfin", false, false));
    assert_eq!((nas.kind.word, nas.plain_http, nas.http1_only), ("http", true, true));
    assert_eq!((films.min_tls, nas.min_tls), (TlsVersion::V1_2, TlsVersion::V1_3));
    assert_eq!(films.aliases, ["movies".parse().unwrap()]);

    let name = |text: &str| text.parse::<crate::model::Label>().unwrap();
    let who = |service: &Service| service.allow.iter().map(|g| (g.who.clone(), g.role)).collect::<Vec<_>>();
    let id = "bcba17eef8".parse().unwrap();
    let all = [Who::Name(name("tv")), Who::Name(name("mum")), Who::Member(id), Who::Anyone];
    assert_eq!(who(nas), all.map(|who| (who, None)));
    let roles = [(Who::Name(name("mum")), Some("admin")), (Who::Name(name("family")), Some("watch"))];
    assert_eq!(who(dl), roles);
    assert_eq!((dl.allow[0].line, &*dl.allow[0].file), (39, "ztgate.toml"), "the word's own line");

    let policy = path("/etc/ztgate/policy");
    assert_eq!(watch_paths(&config), [path("/etc/ztgate/ztgate.toml"), policy, certificate, key, ca]);
}

#[test]
fn two_lines_are_enough() {
    let config = from_text("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"", &[]).unwrap();
    assert_eq!((config.http_port, config.https_port), (80, 443));
    assert_eq!(config.state_dir, Path::new("/var/lib/ztgate"));
    assert_eq!(
        (config.controller, config.sync, config.tls),
        (Controller::Local, SyncMode::Ask, Tls::PrivateCa)
    );
    let token_file = "/var/lib/zerotier-one/authtoken.secret".into();
    assert_eq!(config.node, Node { url: "http://127.0.0.1:9993".into(), token_file });
}

#[test]
fn the_policy_folder_is_read_and_hidden_copies_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let file = folder.path().join("ztgate.toml");
    let missing = Problems(&load(&file).unwrap_err()).to_string();
    assert!(missing.contains("there is no file") && missing.contains("ztgate init"), "{missing}");

    write("ztgate.toml", b"network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n");
    assert_eq!(load(&file).unwrap().groups, []);

    std::fs::create_dir(folder.path().join("policy")).unwrap();
    write("policy/.#groups.toml", b"not TOML");
    write("policy/notes.txt", b"not TOML");
    write("policy/groups.toml", b"[groups]\nguests = [\"c4c8812898\"]\n");
    let config = load(&file).unwrap();
    assert_eq!((&*config.groups[0].file, config.groups[0].line), ("policy/groups.toml", 2));

    write("policy/latin.toml", b"# caf\xe9\n");
    let said = Problems(&load(&file).unwrap_err()).to_string();
    assert_eq!(said, "policy/latin.toml: is not UTF-8 text\n  hint: save the file as UTF-8");
}

#[test]
fn the_state_folder_is_found_in_a_file_that_is_wrong_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ztgate.toml");
    for (text, expected) in [
        ("state_dir = \"kept\"\nzone = 3\n[service.a]\nalow = []\n", folder.path().join("kept")),
        ("state_dir = \"kept\"\n[service.a\nallow = [", folder.path().join("kept")),
        ("zone = \nstate_dir = \"/srv/kept\"\n", "/srv/kept".into()),
        ("state_dir = 7\n", gateway::STATE_DIR.into()),
        ("", gateway::STATE_DIR.into()),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(state_dir(&file).unwrap(), expected, "{text}");
    }
    assert!(state_dir(&folder.path().join("none.toml")).is_err());
}

/// The examples are what people copy.
#[test]
fn the_examples_load() {
    let said = |example: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy").join(example).join("ztgate.toml");
        match load(&file) {
            Ok(config) => Problems(&config.warnings).to_string(),
            Err(problems) => panic!("{example}:\n{}", Problems(&problems)),
        }
    };
    assert_eq!(said("minimal"), "");
    assert_eq!(said("central"), "");
    assert_eq!(said("home"), "");
}

proptest! {
    /// Whatever an editor, a merge or a disk does to the files: an answer, no panic, and never an error without words.
    #[test]
    fn no_text_breaks_it(
        cut in 0..WHOLE.len(),
        length in 0..40usize,
        with in "[\\[\\]{}\"'=.,#\n a-z0-9*é-]{0,12}",
        devices in "[\\[\\]{}\"'=.\n a-z0-9]{0,60}",
    ) {
        let mut main: String = WHOLE.chars().take(cut).collect();
        main.push_str(&with);
        main.extend(WHOLE.chars().skip(cut + length));
        for devices in [WHOLE_DEVICES, devices.as_str()] {
            if let Err(problems) = from_text(&main, &[("devices.toml", devices)]) {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|problem| !problem.message.is_empty()));
            }
        }
    }
}
