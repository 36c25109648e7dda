//! `ztgate dns doctor`: whether names work from here, and what each kind of device must allow.
//!
//! What devices do with the network's DNS setting: docs.zerotier.com/dns and /config (`allowDNS`, off unless set), and
//! ZeroTierOne's osdep: MacDNSHelper.mm (only the domain's names go to the servers), WinDNSHelper.cpp (a rule that is there
//! already is not changed), LinuxEthernetTap.hpp (nothing is done).

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::probe::{self, Kind, Reply};
use crate::cli::doctor::{Check, Finding, Report, fill};
use crate::cli::style::{Style, Tone, harmless};
use crate::config::{self, Dns};
use crate::dns::forward::system_servers;
use crate::linux::holder::Protocol;
use crate::push::{Facts, Look};

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DoctorArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let look: Look = crate::cli::ask::gateway(file, "/dns/push")?;
    let config = config::load(file).ok();
    let facts = &look.facts;
    let dns = config.as_ref().map(|config| &config.dns);
    let report = Report::of([
        Check::new("listening", || listening(facts)),
        Check::new("answers", || {
            answers(facts, |at, protocol, name| probe::ask(at, protocol, name, Kind::A))
        }),
        Check::new("other names", || {
            dns.map(|dns| {
                forwarders(dns, &facts.serving.addresses, |at| probe::ask(at, Protocol::Udp, "", Kind::Ns))
            })
            .unwrap_or_default()
        }),
        Check::new("setting", || vec![setting(&look)]),
        Check::new("zone", || vec![zone(&facts.zone)]),
    ]);
    let devices = devices(&look);
    if args.json {
        let devices: Vec<_> = devices.iter().map(|(device, todo)| Device { device, todo }).collect();
        serde_json::to_writer(&mut *out, &Told { report: &report, devices })?;
        writeln!(out)?;
    } else {
        out.write_all(report.text(style).as_bytes())?;
        out.write_all(render(&devices, style).as_bytes())?;
    }
    Ok(ExitCode::from(report.exit_code()))
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    devices: Vec<Device<'a>>,
}

#[derive(Serialize)]
struct Device<'a> {
    device: &'a str,
    todo: &'a str,
}

/// Where DNS listens, and who is in its way.
fn listening(facts: &Facts) -> Vec<Finding> {
    let serving = &facts.serving;
    if !serving.enabled {
        return vec![Finding::bad(
            "DNS is off ([dns] enabled = false)",
            "take that line out, then: ztgate check",
        )];
    }
    let mut findings = Vec::new();
    if !serving.addresses.is_empty() {
        let mut addresses = serving.addresses.clone();
        addresses.sort_unstable();
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        findings.push(Finding::ok(format!("{}, port {}", addresses.join(" "), serving.port)));
    } else if serving.silent.is_empty() {
        findings
            .push(Finding::bad("on no overlay address yet", "see what the gateway waits for: ztgate status"));
    }
    findings.extend(serving.silent.iter().map(|silent| {
        let what = format!("not on {} ({}): {}", silent.at, silent.protocol, harmless(&silent.why));
        Finding::bad(
            what,
            "stop that program there, or bind it to its own address; the gateway tries again each second",
        )
    }));
    if serving.port != 53 {
        let what = format!("devices ask port 53 only, and this is {}", serving.port);
        findings.push(Finding::warn(
            what,
            "take port out of [dns] in ztgate.toml, or lead 53 there on the overlay",
        ));
    }
    findings
}

/// Whether it answers. What is bound to a device hears only what comes through that, so this machine cannot ask it.
fn answers(facts: &Facts, ask: impl Fn(SocketAddr, Protocol, &str) -> io::Result<Reply>) -> Vec<Finding> {
    let Facts { zone, device, serving, .. } = facts;
    let gate = format!("gate.{zone}");
    if device.is_some() || !serving.enabled {
        return Vec::new();
    }
    let asked = serving.addresses.iter().flat_map(|&address| {
        [Protocol::Udp, Protocol::Tcp].map(|protocol| (SocketAddr::new(address, serving.port), protocol))
    });
    let finding = |(at, protocol): (SocketAddr, Protocol)| match ask(at, protocol, &gate) {
        Ok(Reply { code: 0, answers: 1.. }) => Finding::ok(format!("{gate} at {at} ({protocol})")),
        Ok(Reply { code, answers }) => Finding::warn(
            format!(
                "{at} ({protocol}) has {answers} addresses for {gate}, code {code}: this machine may be no active member"
            ),
            "ask from a device that is one",
        ),
        Err(error) => Finding::bad(format!("no answer from {at} ({protocol}): {error}"), "ztgate status"),
    };
    asked.map(finding).collect()
}

/// Whether somebody is there to ask about names that are not ours.
fn forwarders(dns: &Dns, own: &[IpAddr], ask: impl Fn(SocketAddr) -> io::Result<Reply>) -> Vec<Finding> {
    let servers = dns.forward.clone().unwrap_or_else(|| system_servers(own, dns.port));
    if servers.is_empty() {
        let what =
            "nobody is asked about other names, so an Android device that uses this DNS finds nothing else";
        return vec![Finding::warn(what, "set forward = [\"192.168.1.1\"], say, in [dns]")];
    }
    let finding = |&at: &SocketAddr| match ask(at) {
        Ok(Reply { code: 0 | 3, .. }) => Finding::ok(format!("{at} answers")),
        Ok(Reply { code, .. }) => {
            Finding::warn(format!("{at} answers with code {code}"), "see whether it serves this machine")
        }
        Err(error) => Finding::warn(
            format!("{at} does not answer: {error}"),
            "set one that does: forward = [...] in [dns] of ztgate.toml",
        ),
    };
    servers.iter().map(finding).collect()
}

/// Whether devices are told by the controller.
fn setting(look: &Look) -> Finding {
    const PUSH: &str = "ztgate dns push";
    let found = match &look.found {
        Ok(found) => found,
        Err(why) => {
            return Finding::bad(format!("the controller does not say: {}", harmless(why)), "ztgate doctor");
        }
    };
    let shown = harmless(&found.to_string());
    match (&look.wanted, look.kept) {
        (Ok(wanted), true) if wanted.says_same(found) => Finding::ok(format!("{shown}, kept in step")),
        (Ok(wanted), false) if wanted.says_same(found) => {
            Finding::warn(format!("{shown}, but nobody keeps it in step with the gateway's addresses"), PUSH)
        }
        (Ok(_), _) if found.is_empty() => Finding::warn("devices are told of no DNS by ZeroTier", PUSH),
        (Ok(_), true) if look.ours => Finding::warn(
            format!("{shown} is what the addresses were; the gateway is about to change it"),
            PUSH,
        ),
        (Ok(wanted), _) => Finding::bad(
            format!("somebody set {shown}, which is left alone; here it would be {wanted}"),
            PUSH,
        ),
        (Err(_), _) if !found.is_empty() && look.ours => Finding::bad(
            format!(
                "devices are told {shown}, and nobody answers there; Android ones then find no name at all"
            ),
            "mend that, or take it away: ztgate dns push --off",
        ),
        (Err(why), _) => Finding::warn(
            format!("nothing to tell devices: {}", harmless(why)),
            "mend that, then: ztgate dns push",
        ),
    }
}

/// What kind of zone it is (RFC 8375 for home.arpa; ICANN's resolution of 2024-07-29 for .internal).
fn zone(zone: &str) -> Finding {
    let ends = |domain: &str| zone == domain || zone.ends_with(&format!(".{domain}"));
    if ends("home.arpa") || ends("internal") {
        return Finding::ok(format!(
            "{zone} is nobody's on the internet, so these names come from this DNS alone"
        ));
    }
    if !zone.contains('.') {
        return Finding::warn(
            format!("{zone} may become a domain of the internet, or mean this machine alone"),
            "zone = \"home.arpa\" or \"home.internal\"; or a domain of your own",
        );
    }
    Finding::ok(format!(
        "{zone} is a domain of the internet: if it is yours, `ztgate dns publish` makes names work where this DNS is not used"
    ))
}

/// What there is to do on each kind of device; deploy/names.md says more. Where it comes from:
/// - ZeroTierOne 1.14 (osdep/WinDNSHelper.cpp, osdep/MacDNSHelper.mm, `syncManagedStuff` in service/OneService.cpp): Windows
///   gets a rule of its Name Resolution Policy Table, whose domain is written once and goes when DNS is no longer allowed.
///   nslookup asks past that table.
/// - ZeroTier's apps: on Android every name is asked there (ZeroTierOne#2400), and a change is taken over at the next
///   connection (zeronsd#193); on iPhones Network DNS is told not to work where Custom DNS does (ZeroTierOne#2464), and
///   iCloud Private Relay was seen to go past it (zeronsd#111).
/// - Android with a Private DNS provider asks that one past any VPN (issuetracker.google.com/141674015).
fn devices(look: &Look) -> Vec<(&'static str, String)> {
    let Facts { network, zone, .. } = &look.facts;
    let server = look.wanted.as_ref().ok().and_then(|wanted| wanted.servers.first());
    let server = server.map_or_else(|| "ADDRESS".to_owned(), ToString::to_string);
    vec![
        (
            "Windows",
            format!(
                "tick Allow DNS at the network in ZeroTier's menu, or as administrator: zerotier-cli set {network} allowDNS=1. A \
                 changed zone stays the old one there until that is set to 0 and to 1 again"
            ),
        ),
        (
            "macOS",
            format!(
                "tick Allow DNS at the network in ZeroTier's menu, or: sudo zerotier-cli set {network} allowDNS=1. Only names of \
                 {zone} are asked here"
            ),
        ),
        (
            "iPhone, iPad",
            format!(
                "in the ZeroTier app, at the network: Network DNS, and if that finds nothing, Custom DNS with {server}. If \
                 Safari finds nothing, turn iCloud Private Relay off"
            ),
        ),
        (
            "Android",
            "in the ZeroTier app, at the network: Network DNS, and connect again after a change. Every name is asked here \
             then, which the gateway passes on. Android's own Private DNS goes past it with a provider's name: set it to \
             Automatic or Off"
                .to_owned(),
        ),
        ("Linux", "takes no notice of ZeroTier's setting: ztgate dns linux prints what its resolver is told".to_owned()),
        (
            "browsers",
            format!(
                "with a DNS over HTTPS provider chosen in their own settings they go past all this: exempt {zone} there, or \
                 turn it off. What each does by itself is in deploy/names.md"
            ),
        ),
        ("to try it", format!("from a device: nslookup gate.{zone} {server}; on Windows, what programs get: Resolve-DnsName gate.{zone}")),
    ]
}

fn render(devices: &[(&str, String)], style: Style) -> String {
    let width = devices.iter().map(|(device, _)| device.len()).max().unwrap_or(0);
    let mut text = format!("\n{}\n", style.paint(Tone::Head, "on each device, once"));
    for (device, todo) in devices {
        text.push_str(&format!("  {device:width$}  "));
        fill(&mut text, todo, width + 4, style);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::push::tests::{dns, look};
    use super::*;
    use crate::cli::doctor::Grade;
    use crate::push::Silent;
    use crate::zerotier::NetworkDns;

    #[test]
    fn who_holds_the_port_is_named() {
        let mut facts = look().facts;
        assert_eq!(listening(&facts).iter().map(|found| found.grade).collect::<Vec<_>>(), [Grade::Ok]);
        let why = "held by dnsmasq (pid 42)".to_owned();
        let at = "10.147.20.1:53".parse().unwrap();
        facts.serving.silent.push(Silent { at, protocol: "udp".to_owned(), why });
        facts.serving.addresses.remove(0);
        let found = listening(&facts);
        assert_eq!(found[1].what, "not on 10.147.20.1:53 (udp): held by dnsmasq (pid 42)");
        facts.serving.enabled = false;
        assert_eq!(listening(&facts)[0].grade, Grade::Bad);
    }

    #[test]
    fn the_setting_is_judged_by_who_wrote_it() {
        let wanted = look().wanted.unwrap();
        let other = dns("example.org", &["10.0.0.9"]);
        for (found, kept, ours, grade, says) in [
            (Ok(wanted.clone()), true, true, Grade::Ok, "kept in step"),
            (Ok(wanted.clone()), false, true, Grade::Warn, "nobody keeps it"),
            (Ok(NetworkDns::default()), false, false, Grade::Warn, "no DNS"),
            (Ok(dns("home.arpa", &["10.0.0.7"])), true, true, Grade::Warn, "about to change"),
            (Ok(other.clone()), true, false, Grade::Bad, "somebody set example.org"),
            (Ok(other), false, false, Grade::Bad, "somebody set example.org"),
            (Err("it is away".to_owned()), true, false, Grade::Bad, "it is away"),
        ] {
            let finding = setting(&Look { found, kept, ours, ..look() });
            assert_eq!(finding.grade, grade, "{finding:?}");
            assert!(finding.what.contains(says), "{finding:?}");
        }
        let gone = Look { wanted: Err("off".to_owned()), found: Ok(wanted), ours: true, ..look() };
        assert_eq!(setting(&gone).mend.unwrap(), "mend that, or take it away: ztgate dns push --off");
    }

    #[test]
    fn only_what_hears_this_machine_is_asked_from_it() {
        let mut facts = look().facts;
        assert_eq!(answers(&facts, |_, _, _| panic!("it is bound to a device")), []);
        facts.device = None;
        let reply = |at: SocketAddr, protocol, name: &str| {
            assert_eq!(name, "gate.home.arpa");
            match (at.is_ipv4(), protocol) {
                (true, Protocol::Udp) => Ok(Reply { code: 0, answers: 1 }),
                (true, Protocol::Tcp) => Ok(Reply { code: 5, answers: 0 }),
                _ => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        let grades: Vec<Grade> = answers(&facts, reply).iter().map(|found| found.grade).collect();
        assert_eq!(grades, [Grade::Ok, Grade::Warn, Grade::Bad, Grade::Bad]);
    }

    #[test]
    fn servers_for_other_names_are_asked() {
        let at: SocketAddr = "192.168.1.1:53".parse().unwrap();
        let of = |forward: Vec<SocketAddr>, reply: fn() -> io::Result<Reply>| {
            let dns = Dns { forward: Some(forward), ..Dns::default() };
            forwarders(&dns, &[], |_| reply()).remove(0).grade
        };
        assert_eq!(of(vec![], || unreachable!()), Grade::Warn);
        assert_eq!(of(vec![at], || Ok(Reply { code: 0, answers: 13 })), Grade::Ok);
        assert_eq!(of(vec![at], || Ok(Reply { code: 5, answers: 0 })), Grade::Warn);
        assert_eq!(of(vec![at], || Err(io::ErrorKind::TimedOut.into())), Grade::Warn);
    }

    #[test]
    fn zones_are_told_apart() {
        for (name, grade, says) in [
            ("home.arpa", Grade::Ok, "nobody's"),
            ("lab.home.arpa", Grade::Ok, "nobody's"),
            ("home.internal", Grade::Ok, "nobody's"),
            ("example.org", Grade::Ok, "ztgate dns publish"),
            ("myhome.arpa", Grade::Ok, "ztgate dns publish"),
            ("zt", Grade::Warn, "may become"),
        ] {
            let finding = zone(name);
            assert!(finding.grade == grade && finding.what.contains(says), "{finding:?}");
        }
    }

    #[test]
    fn every_kind_of_device_is_told_what_to_do() {
        insta::assert_snapshot!(render(&devices(&look()), Style { terminal: true, colour: false }), @r#"
        on each device, once
          Windows       tick Allow DNS at the network in ZeroTier's menu, or as administrator: zerotier-cli
                        set 5e02d9cb41c0ffee allowDNS=1. A changed zone stays the old one there until that
                        is set to 0 and to 1 again
          macOS         tick Allow DNS at the network in ZeroTier's menu, or: sudo zerotier-cli set
                        5e02d9cb41c0ffee allowDNS=1. Only names of home.arpa are asked here
          iPhone, iPad  in the ZeroTier app, at the network: Network DNS, and if that finds nothing, Custom
                        DNS with 10.147.20.1. If Safari finds nothing, turn iCloud Private Relay off
          Android       in the ZeroTier app, at the network: Network DNS, and connect again after a change.
                        Every name is asked here then, which the gateway passes on. Android's own Private
                        DNS goes past it with a provider's name: set it to Automatic or Off
          Linux         takes no notice of ZeroTier's setting: ztgate dns linux prints what its resolver is
                        told
          browsers      with a DNS over HTTPS provider chosen in their own settings they go past all this:
                        exempt home.arpa there, or turn it off. What each does by itself is in
                        deploy/names.md
          to try it     from a device: nslookup gate.home.arpa 10.147.20.1; on Windows, what programs get:
                        Resolve-DnsName gate.home.arpa
        "#);
    }
}
