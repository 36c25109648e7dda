//! What is answered here, and what is asked elsewhere.

use super::*;
use crate::dns::reverse::arpa;

#[test]
fn services_aliases_gate_and_apex_have_the_gateways_addresses() {
    home().answers(&[
        ("A wiki.home.arpa", "10.147.20.1"),
        ("AAAA wiki.home.arpa", OWN_RFC4193),
        ("A notes.home.arpa", "10.147.20.1"),
        ("A gate.home.arpa", "10.147.20.1"),
        ("A home.arpa", "10.147.20.1"),
        ("NS home.arpa", "gate.home.arpa."),
        ("SOA home.arpa", "gate.home.arpa. hostmaster.home.arpa. 1700000000 3600 600 86400 60"),
    ]);
}

#[test]
fn what_is_not_there_is_said_with_the_zones_soa() {
    home().answers(&[
        ("TXT wiki.home.arpa", "nothing SOA home.arpa."),
        ("MX home.arpa", "nothing SOA home.arpa."),
        ("A nosuch.home.arpa", "no such name SOA home.arpa."),
        ("A a.wiki.home.arpa", "no such name SOA home.arpa."),
        ("A a.b.c.home.arpa", "no such name SOA home.arpa."),
        ("A *.home.arpa", "no such name SOA home.arpa."),
        ("DS home.arpa", "nothing SOA home.arpa."),
    ]);
}

#[test]
fn addresses_come_in_the_order_in_which_they_are_best_tried() {
    let mut home = home();
    home.addresses = vec![OWN_PLANE, OWN_RFC4193, "fd00:1234::1", "10.147.20.9", "10.147.20.1"];
    home.answers(&[
        ("A wiki.home.arpa", "10.147.20.1 10.147.20.9"),
        ("AAAA wiki.home.arpa", &format!("fd00:1234::1 {OWN_RFC4193} {OWN_PLANE}")),
    ]);
    home.listening = Some(vec![OWN_RFC4193]);
    home.answers(&[("A wiki.home.arpa", "nothing SOA home.arpa."), ("AAAA wiki.home.arpa", OWN_RFC4193)]);
}

#[test]
fn devices_have_names_where_neighbours_are_pinned() {
    let mut home = home();
    let phone = arpa("10.147.20.2");
    let ptr = |name: &str| format!("PTR {name}");
    home.answers(&[
        ("A red-phone.home.arpa", "10.147.20.2"),
        // The network derives such addresses, as our own show.
        ("AAAA red-phone.home.arpa", PHONE_RFC4193),
        ("HTTPS red-phone.home.arpa", "nothing SOA home.arpa."),
        ("A new-tv.home.arpa", "no such name SOA home.arpa."),
        (&ptr(&phone), "red-phone.home.arpa."),
        (&ptr(&arpa(PHONE_RFC4193)), "red-phone.home.arpa."),
    ]);
    home.addresses = vec!["10.147.20.1"];
    home.answers(&[("AAAA red-phone.home.arpa", "nothing SOA home.arpa.")]);
    home.pinned = false;
    home.answers(&[
        ("A red-phone.home.arpa", "no such name SOA home.arpa."),
        (&ptr(&phone), "no such name SOA 20.147.10.in-addr.arpa."),
    ]);
}

#[test]
fn a_services_name_wins_over_a_devices() {
    let mut home = home();
    home.members[1].device = "wiki".parse().ok();
    home.answers(&[
        ("A wiki.home.arpa", "10.147.20.1"),
        (&format!("PTR {}", arpa("10.147.20.2")), "no such name SOA 20.147.10.in-addr.arpa."),
    ]);
}

#[test]
fn this_networks_addresses_are_asked_of_nobody_else() {
    let ptr = |address: &str| format!("PTR {}", arpa(address));
    let v6_above = |address: &str| Name::from_ascii(arpa(address)).unwrap().base_name().to_string();
    home().answers(&[
        (&ptr("10.147.20.1"), "gate.home.arpa."),
        (&ptr(OWN_RFC4193), "gate.home.arpa."),
        (&ptr("10.147.20.3"), "no such name SOA 20.147.10.in-addr.arpa."),
        (&ptr(OWN_PLANE), &format!("no such name SOA {}", v6_above(OWN_PLANE))),
        (&format!("A {}", arpa("10.147.20.1")), "nothing SOA 20.147.10.in-addr.arpa."),
        ("SOA 9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa", "elsewhere"),
        (
            "NS 3.9.9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa",
            "nothing SOA 9.9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa.",
        ),
        (&ptr("10.147.20.77"), "elsewhere"),
        (&ptr("9.9.9.9"), "elsewhere"),
        ("PTR 001.20.147.10.in-addr.arpa", "elsewhere"),
        ("PTR 20.147.10.in-addr.arpa", "elsewhere"),
    ]);
}

#[test]
fn https_is_promised_only_where_nothing_else_is_served() {
    let both = format!("1 . alpn=h2,http/1.1, ipv4hint=10.147.20.1, ipv6hint={OWN_RFC4193},");
    let mut home = home();
    home.answers(&[
        ("HTTPS wiki.home.arpa", &both),
        ("HTTPS notes.home.arpa", &both),
        ("HTTPS old.home.arpa", &both.replace("h2,", "")),
        ("HTTPS films.home.arpa", "nothing SOA home.arpa."),
        ("HTTPS gate.home.arpa", "nothing SOA home.arpa."),
        ("HTTPS home.arpa", "nothing SOA home.arpa."),
    ]);
    home.publicly_trusted = true;
    home.answers(&[("HTTPS films.home.arpa", &both), ("HTTPS gate.home.arpa", &both)]);
    home.listening_https = Some(vec!["10.147.20.1"]);
    home.answers(&[("HTTPS wiki.home.arpa", "1 . alpn=h2,http/1.1, ipv4hint=10.147.20.1,")]);
    home.listening_https = Some(vec![]);
    home.answers(&[("HTTPS wiki.home.arpa", "nothing SOA home.arpa.")]);
    home.listening_https = None;
    home.config = format!("https_port = 8443\n{CONFIG}");
    home.answers(&[("HTTPS wiki.home.arpa", "nothing SOA home.arpa.")]);
}

#[test]
fn special_names_are_never_asked_elsewhere_and_others_always() {
    home().answers(&[
        ("A use-application-dns.net", "no such name SOA use-application-dns.net."),
        ("AAAA printer.local", "no such name SOA local."),
        ("A example.onion", "no such name SOA onion."),
        ("A localhost", "127.0.0.1"),
        ("AAAA localhost", "::1"),
        ("TXT localhost", "nothing SOA localhost."),
        ("SVCB _dns.resolver.arpa", "nothing SOA resolver.arpa."),
        ("A example.org", "elsewhere"),
        ("TXT arpa", "elsewhere"),
        ("NS .", "elsewhere"),
        ("A xhome.arpa", "elsewhere"),
    ]);
}

#[test]
fn the_parent_is_asked_for_the_ds_of_a_zone_that_somebody_owns() {
    let mut home = home();
    home.answers(&[("DS home.arpa", "nothing SOA home.arpa.")]);
    home.config = CONFIG.replace("home.arpa", "home.example.org");
    home.answers(&[
        ("DS home.example.org", "elsewhere"),
        ("DS wiki.home.example.org", "nothing SOA home.example.org."),
        ("DNSKEY home.example.org", "nothing SOA home.example.org."),
    ]);
}

#[test]
fn the_serial_grows_with_what_is_said_and_never_goes_back() {
    let (before, mut after) = (home(), home());
    let first = before.view_after(None, 1000);
    assert_eq!(first.serial, 1000);
    assert_eq!(before.view_after(Some(&first), 2000).serial, 1000, "nothing has changed");
    after.addresses.pop();
    assert_eq!(after.view_after(Some(&first), 2000).serial, 2000);
    assert_eq!(after.view_after(Some(&first), 900).serial, 1001, "the clock was set back");
}
