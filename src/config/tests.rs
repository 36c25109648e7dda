//! The errors are the user interface: each case shows a file with mistakes, and all that is said about it.

use proptest::prelude::*;

use super::*;
use crate::model::TlsVersion;

/// What is said about these files; nothing for a configuration without fault.
fn said(main: &str, policy: &[(&str, &str)]) -> String {
    match from_text(main, policy) {
        Ok(config) => Problems(&config.warnings).to_string(),
        Err(problems) => Problems(&problems).to_string(),
    }
}

#[test]
fn an_empty_file_says_what_it_needs() {
    let main = "";
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:1: network: missing: the ZeroTier network's ID
      hint: "zerotier-cli listnetworks" shows it; add a line like network = "5e02d9cb41c0ffee"
    ztgate.toml:1: zone: missing: the DNS zone that the services' names end in
      hint: add zone = "home.arpa", the name set aside for homes (RFC 8375), or a domain of yours
    "#);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let main = r#"network = "5e02d9cb41c0ffe"
zone = "home.local"
htp_port = 80
https_port = 0
state_dir = 7

[service.gate]
upstream = "http://127.0.0.1:1"
allow = ["*"]

[service.NAS]
kind = "jelyfin"
upstream = "192.168.1.10"
allow = "family"
plain_http = "yes"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:1: network: a network ID is 16 hexadecimal digits, like 5e02d9cb41c0ffee; found "5e02d9cb41c0ffe"
      hint: "zerotier-cli listnetworks" shows it
    ztgate.toml:2: zone: "home.local" will not do: local is no zone for a private network (mDNS and routers claim it); use home.arpa or internal
    ztgate.toml:3: htp_port: unknown key
      hint: did you mean "http_port"?
    ztgate.toml:4: https_port: expected a TCP port, 1 to 65535, found 0
    ztgate.toml:5: state_dir: expected a text in quotes, found a whole number
    ztgate.toml:7: service.gate: "gate" is the gateway's own name
      hint: call it "my-gate", say
    ztgate.toml:11: service.NAS: "NAS" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "nas"
    ztgate.toml:12: service.NAS.kind: expected "http", "jellyfin" or "aria2", found "jelyfin"
      hint: did you mean "jellyfin"?
    ztgate.toml:13: service.NAS.upstream: expected a URL like http://127.0.0.1:5000, found "192.168.1.10"
      hint: write "http://192.168.1.10", or "https://192.168.1.10" if it speaks TLS
    ztgate.toml:14: service.NAS.allow: expected a list of names, found a text
      hint: write ["family"]
    ztgate.toml:15: service.NAS.plain_http: expected true or false, found a text
    "#);
}

#[test]
fn text_that_is_no_toml() {
    let main = r#"network = 5e02d9cb41c0ffee
zone = "home.arpa

[service.nas
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:1: not valid TOML: invalid float, expected nothing
      hint: IDs, addresses and names go between quotes
    ztgate.toml:2: not valid TOML: invalid basic string, expected `"`
    ztgate.toml:4: not valid TOML: unclosed table, expected `]`
    "#);
}

#[test]
fn words_of_later_versions_stop_it() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[[rule]]
name = "bedtime"
deny = ["kids"]

[service.desktop]
kind = "tcp"
upstream = "tcp://windows-host:3389"
listen = 3389
allow = ["*"]

[service.films]
kind = "jellyfin"
upstream = "http://127.0.0.1:5000"
allow = ["*"]
deny = ["*"]
hours = "07:00-20:00"
"#;
    let policy = [(
        "rules.toml",
        r#"[[rule]]
name = "bedtime"

[[test]]
device = "tablet"
"#,
    )];
    insta::assert_snapshot!(said(main, &policy), @r#"
    ztgate.toml:3: rule: not supported by this version; to ignore it could let in whom you mean to keep out
    ztgate.toml:8: service.desktop.kind: not supported by this version: TCP services come in a later one
    ztgate.toml:17: service.films.deny: not supported by this version; to ignore it could let in whom you mean to keep out
    ztgate.toml:18: service.films.hours: not supported by this version; to ignore it could let in whom you mean to keep out
    policy/rules.toml:1: rule: not supported by this version; to ignore it could let in whom you mean to keep out
    policy/rules.toml:4: test: not supported by this version: tests come with rules, in a later one
    "#);
}

#[test]
fn words_that_people_try() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
domain = "x"
[controller]
kind = "cloud"
token = "TOP-SECRET"
[tls]
cert = "a.pem"
[service.nas]
url = "http://127.0.0.1:5000"
secret = "TOP-SECRET"
wibble = "TOP-SECRET"
allow = ["*"]
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:3: domain: unknown key
      hint: did you mean "zone"?
    ztgate.toml:5: controller.kind: expected "local" or "central", found "cloud"
      hint: "local": a ZeroTier node is the controller, this machine's or the one at url; "central": ZeroTier's own, my.zerotier.com
    ztgate.toml:6: controller.token: the token itself does not belong in this file; name its file with token_file
    ztgate.toml:7: tls.certificate: missing
      hint: name both PEM files, or write acme = "letsencrypt", or remove [tls] for a private CA
    ztgate.toml:7: tls.key: missing
      hint: name both PEM files, or write acme = "letsencrypt", or remove [tls] for a private CA
    ztgate.toml:8: tls.cert: unknown key
      hint: did you mean "certificate"?
    ztgate.toml:9: service.nas.upstream: missing: where the service really is
      hint: add a line like upstream = "http://127.0.0.1:5000"
    ztgate.toml:10: service.nas.url: unknown key
      hint: did you mean "upstream"?
    ztgate.toml:11: service.nas.secret: unknown key
      hint: did you mean "secret_file"?
    ztgate.toml:12: service.nas.wibble: unknown key
      hint: known here: kind, upstream, pin, ca, allow, aliases, allow_origins, plain_http, http1_only, min_tls, hsts, secret_file
    "#);
}

#[test]
fn names_that_will_not_do() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.nas]
upstream = "http://127.0.0.1:5000"
allow = ["mum"]
"#;
    let policy = [
        (
            "devices.toml",
            r#"[device.mum]
id = "c4c8812898"
owner = "mum"

[device.bcba17eef8]
id = "bcba17eef8"

["device"."Red Phone"]
id = "a phone"
"#,
        ),
        (
            "groups.toml",
            r#"[groups]
bcba17eef8 = ["mum"]
nobody = ["mum"]
"#,
        ),
    ];
    insta::assert_snapshot!(said(main, &policy), @r#"
    policy/devices.toml:3: device.mum.owner: "mum" is an owner here and a device at policy/devices.toml:1
      hint: one name means one thing: rename one of them
    policy/devices.toml:5: device.bcba17eef8: "bcba17eef8" is no name: it looks like a member ID; names and IDs are kept apart
      hint: give it a name that a person would say
    policy/devices.toml:8: device."Red Phone": "Red Phone" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "red-phone"
    policy/devices.toml:9: device."Red Phone".id: a member ID is 10 hexadecimal digits, like c4c8812898; found "a phone"
    policy/groups.toml:2: groups.bcba17eef8: "bcba17eef8" is no name: it looks like a member ID; names and IDs are kept apart
      hint: give it a name that a person would say
    policy/groups.toml:3: groups.nobody: "nobody" is reserved; it would read as more than a group
      hint: choose another name; any active member is "*" in allow
    "#);
}

#[test]
fn words_that_can_mean_nobody() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.nas]
upstream = "http://127.0.0.1:5000"
allow = [
    "given-later",
    "C4C8812898",
    "everyone",
    "The Neighbours",
    7,
]
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:8: service.nas.allow: no device, owner or group can be called "everyone"
      hint: any active member is "*"
    ztgate.toml:9: service.nas.allow: "The Neighbours" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "the-neighbours"
    ztgate.toml:10: service.nas.allow: expected a text in quotes, found a whole number
    "#);
}

#[test]
fn groups_have_named_members() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
"#;
    let policy = [
        (
            "a.toml",
            r#"[groups]
family = ["tv"]
house = ["family", "*", "Tv"]
"#,
        ),
        (
            "b.toml",
            r#"[groups]
family = ["tv"]
[device.x]
id = "c4c8812898"
"#,
        ),
    ];
    insta::assert_snapshot!(said(main, &policy), @r#"
    policy/a.toml:3: groups.house: "family" is a group, and a group does not contain groups
      hint: list the members of "family" here, or name both where both are meant
    policy/a.toml:3: groups.house: a group has named members; "*" is everybody
      hint: write "*" in the allow of a service instead
    policy/a.toml:3: groups.house: "Tv" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "tv"
    policy/b.toml:2: groups.family: the group "family" is listed at policy/a.toml:2 already
      hint: put all its members into one list
    policy/b.toml:3: device: devices live in the gateway: "ztgate devices import FILE" takes them from a file of their own
    "#);
}

#[test]
fn names_of_services_are_taken_once() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.films]
upstream = "http://127.0.0.1:5000"
allow = ["*"]
aliases = ["movies", "films", "ns"]

[service.nas]
upstream = "http://127.0.0.1:5000"
allow = ["*"]
aliases = ["movies", "My NAS"]
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:6: service.films.aliases: "films" is taken by a service or alias at ztgate.toml:3
      hint: each name opens one service: choose another
    ztgate.toml:6: service.films.aliases: "ns" is the gateway's own name
      hint: call it "my-ns", say
    ztgate.toml:11: service.nas.aliases: "movies" is taken by a service or alias at ztgate.toml:6
      hint: each name opens one service: choose another
    ztgate.toml:11: service.nas.aliases: "My NAS" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
      hint: write "my-nas"
    "#);
}

#[test]
fn roles_of_a_kind() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.dl]
kind = "aria2"
upstream = "http://127.0.0.1:5000"
allow = { wach = ["*"], owner = ["*"], admin = "*" }

[service.nas]
upstream = "http://127.0.0.1:5000"
allow = { watch = ["*"] }
secret_file = "x"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:6: service.dl.allow.admin: expected a list of names, found a text
      hint: write ["*"]
    ztgate.toml:6: service.dl.allow.owner: no role is called that
      hint: roles, weakest first: watch, add, manage, admin
    ztgate.toml:6: service.dl.allow.wach: no role is called that
      hint: did you mean "watch"?
    ztgate.toml:10: service.nas.allow: this kind of service has no roles; expected a list of names
      hint: write allow = ["family"]; only aria2 has roles
    ztgate.toml:11: service.nas.secret_file: only a service of kind = "aria2" has a secret
    "#);
}

#[test]
fn a_service_may_ask_for_tls_1_3() {
    let service = |lines: &str| {
        let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n";
        format!("{head}upstream = \"http://127.0.0.1:5000\"\nallow = [\"*\"]\n{lines}\n")
    };
    insta::assert_snapshot!(said(&service("min_tls = \"1.1\""), &[]), @r#"
    ztgate.toml:6: service.nas.min_tls: expected "1.2" or "1.3", found "1.1"
      hint: leave the line out for 1.2 and later, which old TVs need
    "#);
    for (lines, expected, warned) in [
        ("min_tls = \"1.3\"\nplain_http = false", TlsVersion::V1_3, 0),
        ("min_tls = \"1.3\"", TlsVersion::V1_3, 1),
        ("min_tls = \"1.2\"", TlsVersion::V1_2, 0),
        ("", TlsVersion::V1_2, 0),
    ] {
        let config = from_text(&service(lines), &[]).unwrap();
        assert_eq!((config.services[0].min_tls, config.warnings.len()), (expected, warned), "{lines}");
    }
}

#[test]
fn an_origin_that_no_browser_would_send_is_no_line_that_never_matches() {
    let service = |lines: &str| {
        let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n";
        format!("{head}upstream = \"http://127.0.0.1:5000\"\nallow = [\"*\"]\n{lines}\n")
    };
    let wrong = "allow_origins = [\n\"https://ariang.example/\",\n\"ariang.example\",\n\"*\",\n7,\n]";
    insta::assert_snapshot!(said(&service(wrong), &[]), @r#"
    ztgate.toml:7: service.nas.allow_origins: "https://ariang.example/" is no origin, which is a scheme, a host and, where it is not the usual one, a port
      hint: write "https://ariang.example"
    ztgate.toml:8: service.nas.allow_origins: "ariang.example" is no origin, which is a scheme, a host and, where it is not the usual one, a port
      hint: write "https://ariang.example"
    ztgate.toml:9: service.nas.allow_origins: "*" stands for more than one origin
      hint: write out each origin, like "https://example.org"
    ztgate.toml:10: service.nas.allow_origins: expected a text in quotes, found a whole number
    "#);
    insta::assert_snapshot!(said(&service("allow_origins = \"https://ariang.example\""), &[]), @r#"
    ztgate.toml:6: service.nas.allow_origins: expected a list of names, found a text
      hint: write ["https://ariang.example"]
    "#);
    insta::assert_snapshot!(said(&service("allow_origins = [\"null\"]"), &[]), @r#"
    ztgate.toml:6: service.nas.allow_origins: any page on the web can make itself a frame without an origin, so this lets in all of them
      hint: name the app's own origin, if it has one
    "#);
    let right = "allow_origins = [\"https://a.example\", \"file://\", \"https://a.example\"]";
    let config = from_text(&service(right), &[]).unwrap();
    assert_eq!(config.services[0].allow_origins, ["https://a.example".into(), "file://".into()]);
}

#[test]
fn a_service_that_is_open_over_http_cannot_bind_browsers_to_https() {
    let service = |lines: &str| {
        let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n";
        format!("{head}upstream = \"http://127.0.0.1:5000\"\nallow = [\"*\"]\n{lines}\n")
    };
    insta::assert_snapshot!(said(&service("hsts = true"), &[]), @r"
    ztgate.toml:6: service.nas.hsts: a browser that has seen it never comes by http again, and plain_http, which is true unless said, offers that
      hint: add plain_http = false
    ");
    insta::assert_snapshot!(said(&service("hsts = \"yes\""), &[]), @"ztgate.toml:6: service.nas.hsts: expected true or false, found a text");
    for (fine, hsts) in [("hsts = true\nplain_http = false", true), ("hsts = false", false), ("", false)] {
        assert_eq!(from_text(&service(fine), &[]).unwrap().services[0].hsts, hsts, "{fine}");
    }
}

#[test]
fn a_pin_and_a_ca() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.a]
upstream = "http://127.0.0.1"
pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
allow = ["*"]

[service.b]
upstream = "https://127.0.0.1"
pin = "sha256//AAAA"
ca = "nas.pem"
allow = ["*"]
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:5: service.a.pin: "pin" is about the certificate of an https:// upstream; this one is http://
      hint: remove pin, or write https:// in upstream
    ztgate.toml:10: service.b.pin: expected "sha256/" and the 44 characters of a SHA-256 in Base64
      hint: curl writes two slashes; here it is one
    ztgate.toml:11: service.b.ca: "ca" and "pin" are two ways to prove the same upstream
      hint: remove one of them; a pin needs no certificate authority
    "#);
}

#[test]
fn central_needs_its_own_token() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[controller]
kind = "central"
url = "http://example.org"
[node]
url = "http://192.168.1.1:9993"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:3: controller.token_file: missing: the file with ZeroTier Central's API token
      hint: make an API token at my.zerotier.com under Account, put it alone into a file of mode 0600
    ztgate.toml:5: controller.url: expected an https URL like https://api.zerotier.com/api/v1
      hint: leave the line out for ZeroTier's own
    ztgate.toml:7: node.url: expected a loopback URL like http://127.0.0.1:9993
      hint: the token drives the whole controller, so it goes to this machine only
    "#);
}

#[test]
fn a_local_controller_shares_the_nodes_token() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[controller]
url = "http://127.0.0.1:9993"
token_file = "a"
[node]
token_file = "b"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:3: controller.token_file: names another file than node.token_file; a local controller and its node share one token
      hint: remove one of the two lines
    ztgate.toml:4: controller.url: a local controller answers where the node does
      hint: remove the line
    "#);
}

#[test]
fn a_controller_elsewhere_needs_its_own_token_and_a_safe_way_there() {
    let main =
        |rest: &str| format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[controller]\n{rest}");
    insta::assert_snapshot!(said(&main("url = \"http://192.168.1.1:9993\"\ntoken_file = \"a\""), &[]), @r#"
    ztgate.toml:4: controller.url: expected a URL like https://controller.example.org or http://127.0.0.1:19993
      hint: the token drives the whole controller, so it travels over TLS, or to this machine: "ssh -L 19993:127.0.0.1:9993" brings a controller here
    "#);
    insta::assert_snapshot!(said(&main("url = \"https://controller.example.org\""), &[]), @r"
    ztgate.toml:3: controller.token_file: missing: the file with the controller's token
      hint: copy the text of its authtoken.secret alone into a file of mode 0600; if it is this machine's node that answers there, write url under [node] instead
    ");

    let tunnel = main(
        "kind = \"local\"\nurl = \"http://127.0.0.1:19993/\"\ntoken_file = \"a\"\n[node]\ntoken_file = \"b\"",
    );
    let config = from_text(&tunnel, &[]).unwrap();
    let file = |name: &str| Path::new("/etc/ztgate").join(name);
    let remote = Controller::Remote { url: "http://127.0.0.1:19993".into(), token_file: file("a") };
    assert_eq!(config.controller, remote);
    assert_eq!(config.node, Node { url: gateway::NODE_URL.into(), token_file: file("b") });
    let secure =
        from_text(&main("url = \"https://controller.example.org\"\ntoken_file = \"a\""), &[]).unwrap();
    assert_eq!(secure.node.token_file, Path::new(gateway::NODE_TOKEN), "never the controller's");
}

#[test]
fn in_step_with_the_controller() {
    let read = |lines: &str| {
        from_text(
            &format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[controller]\n{lines}\n"),
            &[],
        )
        .map(|config| config.sync)
        .map_err(|problems| Problems(&problems).to_string())
    };
    let group = "guests".parse().unwrap();
    assert_eq!(read(""), Ok(SyncMode::Ask));
    assert_eq!(read("sync = \"ask\""), Ok(SyncMode::Ask));
    assert_eq!(read("sync = \"follow\"\ndefault_group = \"guests\""), Ok(SyncMode::Follow { group }));
    assert_eq!(read("sync = \"enforce\""), Ok(SyncMode::Enforce));
    let wrong = [
        "sync = \"folow\"",
        "sync = \"always\"",
        "sync = true",
        "sync = \"follow\"",
        "sync = \"follow\"\ndefault_group = \"everyone\"",
        "default_group = \"guests\"",
        "sync = \"enforce\"\ndefault_group = \"guests\"",
    ];
    insta::assert_snapshot!(wrong.map(|lines| read(lines).unwrap_err()).join("\n"), @r#"
    ztgate.toml:4: controller.sync: expected "ask", "follow" or "enforce", found "folow"
      hint: did you mean "follow"?
    ztgate.toml:4: controller.sync: expected "ask", "follow" or "enforce", found "always"
      hint: who is let in at the controller alone: "ask" waits for "ztgate admit", "follow" admits it, "enforce" puts it out again
    ztgate.toml:4: controller.sync: expected a text in quotes, found true or false
    ztgate.toml:3: controller.default_group: missing: the group of members that the controller lets in
      hint: add a line like default_group = "guests"
    ztgate.toml:5: controller.default_group: "everyone" is reserved; it would read as more than a group
      hint: choose another name; any active member is "*" in allow
    ztgate.toml:4: controller.default_group: only sync = "follow" puts members into a group; this is "ask"
      hint: remove the line, or write sync = "follow"
    ztgate.toml:5: controller.default_group: only sync = "follow" puts members into a group; this is "enforce"
      hint: remove the line, or write sync = "follow"
    "#);
}

#[test]
fn ports_and_files() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
http_port = 8080
https_port = 8080
[tls]
key = "k.pem"
"#;
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:4: https_port: HTTP and HTTPS cannot share port 8080
    ztgate.toml:5: tls.certificate: missing
      hint: name both PEM files, or write acme = "letsencrypt", or remove [tls] for a private CA
    "#);
}

#[test]
fn odd_but_no_reason_not_to_start() {
    let main = r#"network = "5e02d9cb41c0ffee"
zone = "home.arpa"
time_zone = "Europe/Berlin"

[service.nas]
upstream = "http://127.0.0.1:5000"

[service.dl]
kind = "aria2"
upstream = "http://box.home.arpa:6800"
secret_file = "aria2.secret"
allow = ["kids", "friends"]
"#;
    let policy = [(
        "groups.toml",
        r#"[groups]
family = ["tv"]
friend = ["mum"]
kids = []
"#,
    )];
    insta::assert_snapshot!(said(main, &policy), @r#"
    ztgate.toml:5: service.nas.allow: missing, so nobody may open it
      hint: add a line like allow = ["*"], for any active member
    ztgate.toml:10: service.dl.upstream: box.home.arpa is a name in the gateway's own zone, home.arpa; it may lead back to the gateway
      hint: write the machine's address
    ztgate.toml:11: service.dl.secret_file: read by a later version; this one leaves aria2's secret to the clients
      hint: enter the secret in each client, as without ztgate
    policy/groups.toml:2: groups.family: no service allows the group "family"
    policy/groups.toml:3: groups.friend: no service allows the group "friend"
      hint: did you mean "friends"?
    "#);
}

#[test]
fn upstreams_that_will_not_do() {
    let said = |url: &str| {
        let main = format!(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n\
             [service.nas]\nallow = [\"*\"]\nupstream = {url:?}\n"
        );
        let problems = from_text(&main, &[]).unwrap_err();
        let [Problem { message, hint, .. }] = &problems[..] else { panic!("{problems:?}") };
        format!("{url}\n    {message}\n    -> {}\n", hint.as_deref().unwrap_or("(no hint)"))
    };
    let urls = [
        "192.168.1.10",
        "192.168.1.10:5000",
        "nas",
        "http://admin:hunter2@nas",
        "https://nas/ui",
        "http://nas?token=hunter2",
        "http://nas#x",
        "ftp://nas",
        "ws://nas",
        "tcp://nas:22",
        "http://",
        "http://nas:0",
        "http://nas:99999",
        "http://0.0.0.0:80",
        "http://192.168.1.300",
        "http://::1:80",
        "http://[::1",
        "http://[::1]x",
        "http://na s",
        "?token=hunter2",
    ];
    insta::assert_snapshot!(urls.map(said).concat(), @r#"
    192.168.1.10
        expected a URL like http://127.0.0.1:5000, found "192.168.1.10"
        -> write "http://192.168.1.10", or "https://192.168.1.10" if it speaks TLS
    192.168.1.10:5000
        expected a URL like http://127.0.0.1:5000, found "192.168.1.10:5000"
        -> write "http://192.168.1.10:5000", or "https://192.168.1.10:5000" if it speaks TLS
    nas
        expected a URL like http://127.0.0.1:5000, found "nas"
        -> write "http://nas", or "https://nas" if it speaks TLS
    http://admin:hunter2@nas
        an upstream takes no user name or password
        -> write the address alone, like http://127.0.0.1:5000; the service asks people itself
    https://nas/ui
        an upstream is a host and a port, without a path
        -> write "https://nas"; a service has a name of its own, so paths stay as they are
    http://nas?token=hunter2
        an upstream is a host and a port, without a query
        -> write "http://nas"; a service has a name of its own, so paths stay as they are
    http://nas#x
        an upstream is a host and a port, without a fragment
        -> write "http://nas"; a service has a name of its own, so paths stay as they are
    ftp://nas
        expected http:// or https://, found "ftp"
        -> (no hint)
    ws://nas
        expected http:// or https://, found "ws"
        -> write http://; WebSockets pass through it
    tcp://nas:22
        expected http:// or https://, found "tcp"
        -> TCP services come in a later version
    http://
        "" is no host name and no IP address
        -> (no hint)
    http://nas:0
        expected a TCP port, 1 to 65535, found "0"
        -> (no hint)
    http://nas:99999
        expected a TCP port, 1 to 65535, found "99999"
        -> (no hint)
    http://0.0.0.0:80
        0.0.0.0 is where a service listens, not where it is reached
        -> write 127.0.0.1 if it runs on this machine
    http://192.168.1.300
        "192.168.1.300" is no host name and no IP address
        -> (no hint)
    http://::1:80
        "::1:80" needs brackets around the IPv6 address
        -> write [::1:80]
    http://[::1
        "[::1" has no ']' to end the IPv6 address
        -> (no hint)
    http://[::1]x
        expected a port like ":5000", found "x"
        -> (no hint)
    http://na s
        "na s" is no host name and no IP address
        -> (no hint)
    ?token=hunter2
        expected a URL like http://127.0.0.1:5000, found ""
        -> (no hint)
    "#);
}

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
fn no_error_shows_a_secret() {
    let place = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n";
    for lines in [
        "[service.x]\nupstream = \"http://me:hunter2@nas\"",
        "[service.x]\nupstream = \"me:hunter2@nas\"",
        "[service.x]\nupstream = \"https://nas/?token=hunter2\"",
        "[service.x]\nupstream = \"http://nas/hunter2\"",
        "[service.x]\nsecret = \"hunter2\"\nsecret_file = [\"hunter2\"]",
        "[controller]\ntoken = \"hunter2\"\ntoken_file = [\"hunter2\"]",
        "[controller]\nkind = \"central\"\nurl = \"https://me:hunter2@api.zerotier.com\"",
        "[node]\nauthtoken = \"hunter2\"\nurl = \"http://me:hunter2@127.0.0.1:9993\"",
        "[node]\ntoken_file = \"hunter2",
        "[node]\ntoken_file = hunter2",
        "[node]\ntoken_file = \"a\"\ntoken_file = \"hunter2\"",
    ] {
        let said = Problems(&from_text(&format!("{place}{lines}\n"), &[]).unwrap_err()).to_string();
        assert!(!said.contains("hunter2"), "{lines}\n{said}");
    }
}

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
    assert_eq!(warned, [(Some(31), Some("service.nas.min_tls")), (Some(38), Some("service.dl.allow"))]);

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
fn a_time_zone_must_be_known_where_any_is() {
    if jiff::tz::db().is_definitively_empty() {
        return;
    }
    let main = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\ntime_zone = \"Europe/Berln\"\n";
    insta::assert_snapshot!(said(main, &[]), @r#"
    ztgate.toml:3: time_zone: expected a time zone like "Europe/Berlin", found "Europe/Berln"
      hint: "timedatectl list-timezones" lists them
    "#);
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
    insta::assert_snapshot!(said("home"), @r#"
    ztgate.toml:20: service.aria2.allow: this version judges no single calls, so only those with `admin` get in
      hint: the other roles take effect with a later version; name under admin whoever is to get in today
    "#);
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
