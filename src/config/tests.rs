//! The errors are the user interface: each case shows a file with mistakes, and all that is said about it.

use super::*;

mod controller;
mod people;
mod services;
mod whole;

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
      hint: known here: kind, upstream, pin, ca, allow, aliases, allow_origins, links, plain_http, http1_only, min_tls, extra_ports, hsts
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
    policy/groups.toml:2: groups.family: no service allows the group "family"
    policy/groups.toml:3: groups.friend: no service allows the group "friend"
      hint: did you mean "friends"?
    "#);
}

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
