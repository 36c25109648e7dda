//! What crosses the gateway and what does not, field by field.

use super::*;
use crate::identity::examples::member;

fn phone() -> IdentityHeaders {
    let member = Member {
        device: Some("red-phone".parse().unwrap()),
        owner: Some("mum".parse().unwrap()),
        groups: vec!["family".parse().unwrap(), "admins".parse().unwrap()],
        ..member("c4c8812898", "10.147.20.11")
    };
    IdentityHeaders::new(&member, &member.groups, "10.147.20.11".parse().unwrap())
}

fn sent_upstream(from_device: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in from_device {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let mut head = Vec::new();
    let host = HeaderValue::from_static("wiki.home.arpa");
    let around = Around { identity: &phone(), host: &host, lane: Lane::Https, request: RequestId(0, 1) };
    write_to_upstream(&mut head, &headers, around);
    let lines = std::str::from_utf8(&head).unwrap().split_terminator("\r\n");
    let fields = lines.map(|line| line.split_once(": ").unwrap());
    fields.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn an_upstream_learns_who_it_is_from_us_alone() {
    let forged = [
        "x-forwarded-for",
        "X_Forwarded_For",
        "x.forwarded.for",
        "x-forwarded-prefix",
        "forwarded",
        "x-real-ip",
        "x_real_ip",
        "x-ztgate-member",
        "X-ZTGATE-GROUPS",
        "x_ztgate_owner",
        "remote-user",
        "Remote_User",
        "x-request-id",
        "Proxy",
        "x-original-url",
        "X_Original_URL",
        "x-rewrite-url",
        "x-original-host",
        "x-client-ip",
        "x.client.ip",
        "true-client-ip",
        "True_Client_IP",
        "x-cluster-client-ip",
        "cf-connecting-ip",
        "CF_Connecting_IPv6",
        "client-ip",
        "x-remote-user",
        "x_remote_group",
        "x-auth-request-email",
        "x-authentik-username",
        "x-webauth-user",
        "x-idp-user",
        "tailscale-user-login",
        "ssl-client-s-dn",
        "x-ssl-client-verify",
        "front-end-https",
        "x-script-name",
        "x-accel-mapping",
        "x-sendfile-type",
    ];
    let sent = sent_upstream(&forged.map(|name| (name, "forged")));
    assert!(sent.values().all(|value| value != "forged"), "{sent:?}");
    for (name, value) in [
        ("x-forwarded-for", "10.147.20.11"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "wiki.home.arpa"),
        ("host", "wiki.home.arpa"),
        ("x-ztgate-member", "c4c8812898"),
        ("x-ztgate-device", "red-phone"),
        ("x-ztgate-owner", "mum"),
        ("x-ztgate-groups", "family,admins"),
        ("x-request-id", "00000000000000000000000000000001"),
    ] {
        let values: Vec<_> = sent.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
}

#[test]
fn connection_cannot_be_used_to_strip_what_we_set() {
    let sent = sent_upstream(&[
        ("connection", "x-ztgate-member, close, x-secret"),
        ("x-secret", "of this hop"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("accept", "*/*"),
    ]);
    assert_eq!(sent["x-ztgate-member"], "c4c8812898");
    for gone in ["connection", "x-secret", "te", "upgrade", "http2-settings"] {
        assert!(!sent.contains_key(gone), "{gone}");
    }
    assert_eq!(sent["accept"], "*/*");
}

#[test]
fn cookies_are_one_line_and_the_length_is_not_the_devices_to_say() {
    let sent = sent_upstream(&[("cookie", "a=1"), ("content-length", "5"), ("cookie", "b=2")]);
    assert_eq!(sent.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    assert!(!sent.contains_key("content-length"));
}

#[test]
fn names_that_only_begin_alike_pass() {
    for name in [
        "x-requested-with",
        "x-forward",
        "x-real-ipv6",
        "x-originals",
        "x-emby-token",
        "x-plex-client-identifier",
        "x-auth-token",
        "x-http-method-override",
        "referer",
        "range",
        "remotely",
        "from",
        "cookie",
        "content-type",
        "cf-ray",
        "pragma",
        "priority",
        "proxying",
        "sec-fetch-site",
        "timeout",
    ] {
        assert!(!is_reserved(name), "{name}");
    }
}

#[test]
fn a_cookie_stays_with_the_name_that_set_it() {
    for (from, to) in [
        ("id=1; Domain=home.arpa; Path=/", "id=1; Path=/"),
        ("id=1; DOMAIN = .home.arpa;Secure", "id=1;Secure"),
        ("domain=1; Path=/", "domain=1; Path=/"),
        ("id=1", "id=1"),
    ] {
        assert_eq!(without_domain(&HeaderValue::from_static(from)), to);
    }
}

/// R6.
#[test]
fn cookies_of_the_gateway_are_never_a_services_to_see_or_to_set() {
    for (from_device, sent) in [
        (&["a=1; __Host-ztgate=s; b=2"][..], Some("a=1; b=2")),
        (&["__host-ZTGATE-session=s; a=1"], Some("a=1")),
        (&["a=1", "__Host-ztgate=s"], Some("a=1")),
        (&["=__Host-ztgate=s; a=__Host-ztgate"], Some("a=__Host-ztgate")),
        (&["__Host-ztgate=s"], None),
        (&["x__Host-ztgate=1;a=1"], Some("x__Host-ztgate=1;a=1")),
    ] {
        let cookies: Vec<(&str, &str)> = from_device.iter().map(|value| ("cookie", *value)).collect();
        let seen = sent_upstream(&cookies);
        assert_eq!(seen.get("cookie").map(|value| value.to_str().unwrap()), sent, "{from_device:?}");
    }
    let answer = [
        ("set-cookie", "__Host-ztgate=forged; Secure; Path=/"),
        ("set-cookie", "a=1; Domain=home.arpa"),
        ("set-cookie", " __HOST-ztgate-session =forged"),
        ("set-cookie", "=__Host-ztgate=forged"),
    ];
    assert_eq!(seen_by_device(&answer, "/").get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1"]);
}

fn seen_by_device(from_upstream: &[(&str, &str)], path: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in from_upstream {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    to_device(&mut headers, path, HeaderValue::from_static("1"), false);
    headers
}

/// R5.
#[test]
fn a_service_opens_no_doors_to_other_origins() {
    let seen = seen_by_device(
        &[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "*"),
            ("access-control-something-new", "yes"),
            ("clear-site-data", "\"*\""),
            ("alt-svc", "h3=\":443\""),
            ("strict-transport-security", "max-age=1"),
            ("ztgate-refusal", "no-rule"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "default-src 'self'"),
            ("vary", "accept"),
        ],
        "/",
    );
    let mut names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-security-policy", "vary", "x-frame-options", "x-request-id"]);
}

#[test]
fn a_service_worker_rules_over_the_folder_of_its_script_and_no_more() {
    for (path, scope, stays) in [
        ("/sw.js", "/", true),
        ("/sw.js", "/app/", true),
        ("/web/sw.js", "/web/", true),
        ("/web/sw.js", "/web/deeper", true),
        ("/web/sw.js", "/", false),
        ("/web/sw.js", "/website/", false),
        ("/web/sw.js", "/web/../", false),
        ("/web/sw.js", "/web/%2e%2e/", false),
        ("/web/sw.js", "/web/.\t./", false),
        ("/web/sw.js", "/web/\\../", false),
        ("/web/sw.js", "../", false),
        ("/web/sw.js", "https://wiki.home.arpa/", false),
        ("/sw.js", "//evil.example/", false),
    ] {
        let seen = seen_by_device(&[("service-worker-allowed", scope)], path);
        assert_eq!(seen.contains_key("service-worker-allowed"), stays, "{path} {scope}");
    }
    let twice = [("service-worker-allowed", "/"), ("service-worker-allowed", "/web/")];
    assert!(!seen_by_device(&twice, "/web/sw.js").contains_key("service-worker-allowed"));
}
