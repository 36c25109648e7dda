//! `ztgate dns linux`: what a Linux device's own resolver is told, for ZeroTier on Linux takes no notice of the network's DNS
//! setting (docs.zerotier.com/dns leaves it to a program of one's own).
//!
//! The drop-in is systemd-resolved's (resolved.conf(5)): a domain that begins with `~` is one that questions are routed by
//! and never a suffix. It belongs to no link, so it outlives ZeroTier's device, which what `resolvectl dns` sets does not.

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use ipnet::IpNet;

use crate::cli::{NO, ask};
use crate::model::{MemberId, NetworkId};
use crate::push::Look;
use crate::zerotier::{NetworkDns, NodeClient};

/// More than these of one subnet are too many lines, and names are found without.
const MOST_REVERSE: usize = 16;

#[derive(Debug, clap::Args)]
pub struct LinuxArgs {
    /// For whom
    #[arg(long, value_enum, default_value = "resolved")]
    resolver: Resolver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Resolver {
    /// systemd-resolved: /etc/systemd/resolved.conf.d/ztgate.conf
    Resolved,
    /// dnsmasq, also NetworkManager's: /etc/dnsmasq.d/ztgate.conf
    Dnsmasq,
    /// unbound: /etc/unbound/unbound.conf.d/ztgate.conf
    Unbound,
}

pub fn run(args: &LinuxArgs, file: &Path, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let look: Look = ask::gateway(file, "/dns/push")?;
    let wanted = match &look.wanted {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("ztgate: {why}");
            return Ok(ExitCode::from(NO));
        }
    };
    let reverse = reverse(&subnets(file), look.facts.own, look.facts.network);
    let text = match args.resolver {
        Resolver::Resolved => resolved(wanted, &reverse),
        Resolver::Dnsmasq => dnsmasq(wanted, &reverse),
        Resolver::Unbound => unbound(wanted, &reverse),
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The subnets of this machine on the network, as far as its node tells.
fn subnets(file: &Path) -> Vec<IpNet> {
    let asked = || -> anyhow::Result<Vec<IpNet>> {
        let config = crate::cli::load(file)?;
        let node = NodeClient::new(&config.node.url, &config.node.token_file)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime
            .block_on(node.network(config.network))?
            .map(|network| network.addresses)
            .unwrap_or_default())
    };
    asked().unwrap_or_else(|error| {
        eprintln!("ztgate: the node does not tell its subnets, so only names are found, not what an address is called: {error}");
        Vec::new()
    })
}

/// The domains in which the network's addresses are looked up (RFC 1035, section 3.5, and RFC 3596, section 2.5): of each
/// subnet, as many as it takes to cover it whole, and of those that ZeroTier derives the network's own /88 and /40.
fn reverse(subnets: &[IpNet], own: Option<MemberId>, network: NetworkId) -> Vec<String> {
    let mut domains = Vec::new();
    for net in subnets {
        let (digit, derived) = match net.addr() {
            IpAddr::V4(_) => (8, None),
            IpAddr::V6(v6) => {
                let is = |own: MemberId| match v6 {
                    rfc4193 if rfc4193 == own.rfc4193(network) => Some(88),
                    six_plane if own.derives(network, six_plane) => Some(40),
                    _ => None,
                };
                (4, own.and_then(is))
            }
        };
        let prefix = derived.unwrap_or(net.prefix_len());
        let whole = prefix.div_ceil(digit) * digit;
        let (Ok(net), true) =
            (IpNet::new(net.addr(), prefix), prefix > 0 && 1usize << (whole - prefix) <= MOST_REVERSE)
        else {
            continue;
        };
        let parts = net.trunc().subnets(whole).into_iter().flatten();
        domains.extend(parts.map(|part| reverse_name(part.addr(), usize::from(whole / digit))));
    }
    domains.sort_unstable();
    domains.dedup();
    domains
}

/// The first digits of an address, last first: octets of IPv4, half ones of IPv6.
fn reverse_name(address: IpAddr, digits: usize) -> String {
    let (all, end): (Vec<String>, _) = match address {
        IpAddr::V4(v4) => (v4.octets().iter().map(ToString::to_string).collect(), "in-addr.arpa"),
        IpAddr::V6(v6) => {
            let halves = v6.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            (halves.map(|half| format!("{half:x}")).collect(), "ip6.arpa")
        }
    };
    let mut name: Vec<&str> = all.iter().take(digits).rev().map(String::as_str).collect();
    name.push(end);
    name.join(".")
}

/// Names and addresses are asked for alike.
fn domains<'a>(wanted: &'a NetworkDns, reverse: &'a [String]) -> impl Iterator<Item = &'a str> {
    std::iter::once(wanted.domain.as_str()).chain(reverse.iter().map(String::as_str))
}

fn resolved(wanted: &NetworkDns, reverse: &[String]) -> String {
    let servers: Vec<String> = wanted.servers.iter().map(ToString::to_string).collect();
    let domains: Vec<String> = domains(wanted, reverse).map(|domain| format!("~{domain}")).collect();
    format!(
        "# /etc/systemd/resolved.conf.d/ztgate.conf; then: systemctl restart systemd-resolved\n\
         # Other names may be asked there too, beside the servers of each link; the gateway passes them on.\n\
         [Resolve]\nDNS={}\nDomains={}\n",
        servers.join(" "),
        domains.join(" ")
    )
}

fn dnsmasq(wanted: &NetworkDns, reverse: &[String]) -> String {
    let mut text = "# /etc/dnsmasq.d/ztgate.conf; then: systemctl restart dnsmasq\n".to_owned();
    // Writing to a String cannot fail.
    for domain in domains(wanted, reverse) {
        for server in &wanted.servers {
            let _ = writeln!(text, "server=/{domain}/{server}");
        }
    }
    let _ = writeln!(text, "rebind-domain-ok=/{}/", wanted.domain);
    text
}

/// unbound answers for private reverse zones and `home.arpa` itself, with nothing in them, unless told not to
/// (unbound.conf(5), `local-zone`), and drops private addresses where somebody set `private-address`.
fn unbound(wanted: &NetworkDns, reverse: &[String]) -> String {
    let mut text =
        "# /etc/unbound/unbound.conf.d/ztgate.conf; then: systemctl restart unbound\nserver:\n".to_owned();
    let _ = writeln!(text, "  private-domain: \"{}\"", wanted.domain);
    for domain in domains(wanted, reverse) {
        let _ = writeln!(text, "  domain-insecure: \"{domain}\"");
        let _ = writeln!(text, "  local-zone: \"{domain}.\" transparent");
    }
    for domain in domains(wanted, reverse) {
        let _ = writeln!(text, "forward-zone:\n  name: \"{domain}\"");
        for server in &wanted.servers {
            let _ = writeln!(text, "  forward-addr: {server}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::push::tests::dns;
    use super::*;

    fn of(subnets: &[&str]) -> Vec<String> {
        let subnets: Vec<IpNet> = subnets.iter().map(|net| net.parse().unwrap()).collect();
        reverse(&subnets, "5e02d9cb41".parse().ok(), "5e02d9cb41c0ffee".parse().unwrap())
    }

    #[test]
    fn addresses_are_looked_up_where_their_subnet_is() {
        for (subnet, domains) in [
            ("10.147.20.1/24", vec!["20.147.10.in-addr.arpa"]),
            ("10.147.20.1/16", vec!["147.10.in-addr.arpa"]),
            ("10.147.21.7/23", vec!["20.147.10.in-addr.arpa", "21.147.10.in-addr.arpa"]),
            ("fd00:1234::5/32", vec!["4.3.2.1.0.0.d.f.ip6.arpa"]),
            // Whatever the node says of its own prefix, the network's is known.
            (
                "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41/128",
                vec!["3.9.9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa"],
            ),
            ("fc1f:c226:255e:2d9:cb41::1/40", vec!["5.2.6.2.2.c.f.1.c.f.ip6.arpa"]),
            // Too many to be worth it.
            ("10.0.0.1/9", vec![]),
            ("0.0.0.0/0", vec![]),
        ] {
            assert_eq!(of(&[subnet]), domains, "{subnet}");
        }
    }

    #[test]
    fn each_resolver_gets_its_own_words() {
        let wanted = dns("home.arpa", &["10.147.20.1", "fd00:1234::5"]);
        let reverse = of(&["10.147.20.1/24"]);
        insta::assert_snapshot!(resolved(&wanted, &reverse), @r#"
        # /etc/systemd/resolved.conf.d/ztgate.conf; then: systemctl restart systemd-resolved
        # Other names may be asked there too, beside the servers of each link; the gateway passes them on.
        [Resolve]
        DNS=10.147.20.1 fd00:1234::5
        Domains=~home.arpa ~20.147.10.in-addr.arpa
        "#);
        insta::assert_snapshot!(dnsmasq(&wanted, &reverse), @r#"
        # /etc/dnsmasq.d/ztgate.conf; then: systemctl restart dnsmasq
        server=/home.arpa/10.147.20.1
        server=/home.arpa/fd00:1234::5
        server=/20.147.10.in-addr.arpa/10.147.20.1
        server=/20.147.10.in-addr.arpa/fd00:1234::5
        rebind-domain-ok=/home.arpa/
        "#);
        insta::assert_snapshot!(unbound(&wanted, &reverse), @r#"
        # /etc/unbound/unbound.conf.d/ztgate.conf; then: systemctl restart unbound
        server:
          private-domain: "home.arpa"
          domain-insecure: "home.arpa"
          local-zone: "home.arpa." transparent
          domain-insecure: "20.147.10.in-addr.arpa"
          local-zone: "20.147.10.in-addr.arpa." transparent
        forward-zone:
          name: "home.arpa"
          forward-addr: 10.147.20.1
          forward-addr: fd00:1234::5
        forward-zone:
          name: "20.147.10.in-addr.arpa"
          forward-addr: 10.147.20.1
          forward-addr: fd00:1234::5
        "#);
    }
}
