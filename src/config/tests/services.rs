//! `[service]`: names, roles, TLS, where a service really is.

use super::*;
use crate::model::TlsVersion;

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
    ztgate.toml:11: service.nas.secret_file: only a service of kind = "aria2" has it
    "#);
}

/// A configuration of one service, with these lines from its sixth on.
fn service(lines: &str) -> String {
    let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n";
    format!("{head}upstream = \"http://127.0.0.1:5000\"\nallow = [\"*\"]\n{lines}\n")
}

#[test]
fn a_service_may_ask_for_tls_1_3() {
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
fn a_service_that_is_open_over_http_cannot_bind_browsers_to_https() {
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
fn links_lead_to_addresses_as_browsers_send_them() {
    let service = |lines: &str| {
        let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.nas]\n";
        format!("{head}upstream = \"http://127.0.0.1:5000\"\nallow = [\"*\"]\n{lines}\n")
    };
    let wrong = "links = [\n\"share\",\n\"https://nas.home.arpa/share/*\",\n\"/a/*/b\",\n\"/a/../b\",\n]";
    insta::assert_snapshot!(said(&service(wrong), &[]), @r#"
    ztgate.toml:7: service.nas.links: "share" does not begin with a slash
      hint: write "/share"
    ztgate.toml:8: service.nas.links: "https://nas.home.arpa/share/*" does not begin with a slash
      hint: write "/share/*"
    ztgate.toml:9: service.nas.links: "/a/*/b" has a * that is not its end
      hint: write it like "/share/*", or "/watch?v=*"
    ztgate.toml:10: service.nas.links: "/a/../b" can be taken for another path, so links never lead there
      hint: leave out "//", ".", "..", ";", "\" and their escapes
    "#);
    insta::assert_snapshot!(said(&service("links = false"), &[]), @"ztgate.toml:6: service.nas.links: expected a list of names, found true or false");
    insta::assert_snapshot!(said(&service("link_paths = []"), &[]), @r#"
    ztgate.toml:6: service.nas.link_paths: unknown key
      hint: did you mean "links"?
    "#);
    let leads = |lines: &str| from_text(&service(lines), &[]).unwrap().services[0].links.lead_to("/a", None);
    for (lines, expected) in [("", true), ("links = [\"/a\"]", true), ("links = []", false)] {
        assert_eq!(leads(lines), expected, "{lines}");
    }
}

#[test]
fn a_port_of_a_services_own_is_none_of_the_gateways() {
    let service = |ports: &str| {
        let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.dl]\n";
        format!("{head}upstream = \"http://127.0.0.1:6800\"\nallow = [\"*\"]\nextra_ports = {ports}\n")
    };
    insta::assert_snapshot!(said(&service("[443, 53, 0, 6800]"), &[]), @r#"
    ztgate.toml:6: service.dl.extra_ports: 443 is one of the gateway's own ports
      hint: there every service is found by its name; leave it out
    ztgate.toml:6: service.dl.extra_ports: 53 is one of the gateway's own ports
      hint: there every service is found by its name; leave it out
    ztgate.toml:6: service.dl.extra_ports: expected a TCP port, 1 to 65535, found 0
    "#);
    let config = from_text(&service("[6800, 6800]"), &[]).unwrap();
    assert_eq!(config.services[0].extra_ports, [6800]);
    assert_eq!(config.extra_ports(), [6800]);
}
