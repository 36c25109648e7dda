//! Who else reaches a service, past the gateway, its rules and its log. On this machine that can be seen; of others only
//! what to do there can be said, and how to see that it is done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::Finding;
use super::whereabouts::{Seen, Whereabouts};

/// What the sentences about one service are made of.
pub struct About<'a> {
    pub service: &'a str,
    pub port: u16,
    /// How a service of its kind keeps its port to its own machine.
    pub keeps_to_itself: &'a str,
    /// Whether it asks for one.
    pub has_secret: bool,
}

/// The doors that lead past the gateway, or that they cannot be seen; nothing where there are none.
pub fn past_the_gateway(about: &About<'_>, whereabouts: &Whereabouts, seen: &Seen) -> Option<Finding> {
    match whereabouts {
        Whereabouts::Here(_) | Whereabouts::HostNetwork | Whereabouts::BesideUs => {
            about.listens(seen, |about| {
                let keeps = about.keeps_to_itself;
                if seen.addresses.iter().all(IpAddr::is_loopback) {
                    keeps.to_owned()
                } else {
                    format!("{keeps}, and 127.0.0.1 into service.{}.upstream", about.service)
                }
            })
        }
        Whereabouts::Forwarded if seen.listeners.is_empty() => Some(about.forwarded_unseen()),
        Whereabouts::Forwarded => about.listens(seen, About::publish_to_us_alone),
        Whereabouts::OutsideOurContainer => Some(about.outside_our_container()),
        Whereabouts::OtherMachine => {
            seen.addresses.first().map(|address| about.other_machine(*address, address_towards(*address)))
        }
        Whereabouts::Windows { shares_loopback } => Some(about.windows(*shares_loopback)),
        Whereabouts::Unknown => None,
    }
}

impl About<'_> {
    fn listens(&self, seen: &Seen, mend: impl Fn(&Self) -> String) -> Option<Finding> {
        let open = seen.listeners.iter().filter(|socket| socket.is_open_to_others());
        let doors: Vec<String> = open.map(|socket| socket.address.to_string()).collect();
        let Self { service, .. } = self;
        let what =
            format!("{service} is reached past the gateway, too: it listens on {}", doors.join(" and "));
        (!doors.is_empty()).then(|| Finding::warn(what, mend(self)))
    }

    fn publish_to_us_alone(&self) -> String {
        format!("publish the container's port to this machine alone: -p 127.0.0.1:{0}:{0}", self.port)
    }

    fn forwarded_unseen(&self) -> Finding {
        let what = format!(
            "{} answers at port {} of this machine where no program listens, so somebody forwards it; for whom else \
             cannot be seen from here",
            self.service, self.port
        );
        Finding::warn(what, format!("if a container is behind it: {}", self.publish_to_us_alone()))
    }

    /// What whoever gets at the port needs beside it.
    fn whoever(&self) -> &'static str {
        if self.has_secret { "whoever does and knows its secret" } else { "whoever does" }
    }

    fn outside_our_container(&self) -> Finding {
        let what = format!(
            "{} runs outside this container: who else reaches it cannot be seen from here, and {} passes the gateway by",
            self.service,
            self.whoever()
        );
        let mend = format!(
            "if it is a container beside this one, publish no port of it (no -p, no ports:), and give the two a network \
             of their own; if it is on another machine, have that one's firewall take port {} from the gateway's \
             machine alone",
            self.port
        );
        Finding::warn(what, mend)
    }

    /// `gateway` is our address as that machine sees it, unless something between translates it.
    fn other_machine(&self, address: IpAddr, gateway: Option<IpAddr>) -> Finding {
        let Self { service, port, .. } = self;
        let what = format!(
            "{service} listens at {} on another machine: who else reaches that cannot be seen from here, and {} passes \
             the gateway by",
            SocketAddr::new(address, *port),
            self.whoever()
        );
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let gateway = gateway.map_or("GATEWAY".to_owned(), |gateway| gateway.to_string());
        // Before addresses are translated, so that ports of containers are kept, too.
        let rules = format!(
            "table inet {} {{ chain from_gateway {{ type filter hook prerouting priority mangle; iif lo accept; \
             {family} saddr {gateway} accept; tcp dport {port} drop; }}; }}",
            table(service)
        );
        let mend = format!(
            "have that machine's firewall let the gateway alone in; on Linux: `sudo nft '{rules}'` (and into \
             /etc/nftables.conf, to last); on Windows, once nothing else lets it in: `{} -RemoteAddress {gateway}`; then \
             on any third machine this must fail: `nc -vz -w 5 {address} {port}`",
            self.windows_rule()
        );
        Finding::warn(what, mend)
    }

    fn windows(&self, shares_loopback: bool) -> Finding {
        let Self { service, port, keeps_to_itself, .. } = self;
        let unseen = format!("{service} runs on Windows, whose ports cannot be seen from here");
        let listeners = format!("Get-NetTCPConnection -State Listen -LocalPort {port}");
        if shares_loopback {
            let mend =
                format!("{keeps_to_itself}; then in PowerShell this names 127.0.0.1 alone: `{listeners}`");
            return Finding::warn(unseen, mend);
        }
        let what = format!(
            "{unseen}; behind NAT it has to listen on more than 127.0.0.1 there, so Windows' firewall alone keeps others \
             away"
        );
        let mend = format!(
            "let WSL2 alone in, in PowerShell as administrator: `{} -InterfaceAlias (Get-NetIPAddress -AddressFamily IPv4 \
             -InterfaceAlias 'vEthernet (WSL*').InterfaceAlias`; and take back what else lets it in: \
             `Get-NetFirewallRule -Direction Inbound -Enabled True -Action Allow`",
            self.windows_rule()
        );
        Finding::warn(what, mend)
    }

    fn windows_rule(&self) -> String {
        format!(
            "New-NetFirewallRule -DisplayName '{} for ztgate' -Direction Inbound -Action Allow -Protocol TCP -LocalPort {}",
            self.service, self.port
        )
    }
}

/// A table's name after the service's, which may begin with a digit and have hyphens. nft takes neither (nft(8), "Lexical
/// conventions").
fn table(service: &str) -> String {
    format!("ztgate_{}", service.replace('-', "_"))
}

/// Our address on the way to another. Nothing is sent.
fn address_towards(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, 1)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|own| !own.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;
    use crate::linux::holder::{OpenSocket, Protocol};

    const ABOUT: About<'_> =
        About { service: "dl", port: 6800, keeps_to_itself: "write it so", has_secret: true };

    fn seen(address: &str, listeners: &[&str]) -> Seen {
        let listener = |address: &&str| OpenSocket {
            protocol: Protocol::Tcp,
            address: address.parse().unwrap(),
            holder: None,
        };
        Seen {
            addresses: vec![address.parse().unwrap()],
            own: true,
            listeners: listeners.iter().map(listener).collect(),
            answered: true,
        }
    }

    /// What there is to say, and to do.
    fn told(whereabouts: &Whereabouts, seen: &Seen) -> Option<(String, String)> {
        let Finding { grade, what, mend } = past_the_gateway(&ABOUT, whereabouts, seen)?;
        assert_eq!(grade, Grade::Warn);
        Some((what, mend.unwrap()))
    }

    #[test]
    fn what_listens_here_is_seen_and_its_mend_fits_who_holds_the_port() {
        let open = ["127.0.0.1:6800", "0.0.0.0:6800", "[::]:6800"];
        let publish = "publish the container's port to this machine alone: -p 127.0.0.1:6800:6800";
        let upstream = "write it so, and 127.0.0.1 into service.dl.upstream";
        for (whereabouts, address, mend) in [
            (Whereabouts::Here(None), "127.0.0.1", "write it so"),
            (Whereabouts::Here(None), "192.0.2.1", upstream),
            (Whereabouts::HostNetwork, "127.0.0.1", "write it so"),
            (Whereabouts::BesideUs, "::1", "write it so"),
            (Whereabouts::Forwarded, "127.0.0.1", publish),
        ] {
            let what = "dl is reached past the gateway, too: it listens on 0.0.0.0:6800 and [::]:6800";
            let expected = (what.to_owned(), mend.to_owned());
            assert_eq!(told(&whereabouts, &seen(address, &open)), Some(expected), "{whereabouts:?}");
            assert_eq!(told(&whereabouts, &seen(address, &["127.0.0.1:6800"])), None);
        }
        let (what, mend) = told(&Whereabouts::Forwarded, &seen("127.0.0.1", &[])).unwrap();
        assert!(what.contains("cannot be seen from here") && mend.ends_with(publish), "{what}, {mend}");
    }

    #[test]
    fn elsewhere_nothing_is_claimed_and_the_lines_to_type_are_told() {
        let windows = |shares_loopback| Whereabouts::Windows { shares_loopback };
        for (whereabouts, mends) in [
            (
                Whereabouts::OtherMachine,
                &["`sudo nft 'table inet ztgate_dl {", "nc -vz -w 5 127.0.0.9 6800"][..],
            ),
            (
                Whereabouts::OutsideOurContainer,
                &["publish no port", "take port 6800 from the gateway's machine"],
            ),
            (windows(false), &["-LocalPort 6800 -InterfaceAlias (", "take back what else"]),
            (windows(true), &["write it so; ", "Get-NetTCPConnection -State Listen -LocalPort 6800"]),
        ] {
            let (what, mend) = told(&whereabouts, &seen("127.0.0.9", &[])).unwrap();
            assert!(what.contains("cannot be seen from here"), "{what}");
            for part in mends {
                assert!(mend.contains(part), "{part}: {mend}");
            }
        }
        assert_eq!(told(&Whereabouts::Unknown, &Seen::default()), None, "other findings say why");
        let open = About { has_secret: false, ..ABOUT };
        assert_eq!((ABOUT.whoever(), open.whoever()), ("whoever does and knows its secret", "whoever does"));
    }

    #[test]
    fn another_machines_firewall_is_told_our_address_as_that_machine_sees_it() {
        let mend = |address: &str, gateway: Option<&str>| {
            let gateway = gateway.map(|gateway| gateway.parse().unwrap());
            ABOUT.other_machine(address.parse().unwrap(), gateway).mend.unwrap()
        };
        for (address, gateway, rule) in [
            (
                "192.0.2.9",
                Some("192.0.2.1"),
                "iif lo accept; ip saddr 192.0.2.1 accept; tcp dport 6800 drop;",
            ),
            ("2001:db8::9", Some("2001:db8::1"), "; ip6 saddr 2001:db8::1 accept; "),
            ("192.0.2.9", None, "; ip saddr GATEWAY accept; "),
        ] {
            assert!(mend(address, gateway).contains(rule), "{}", mend(address, gateway));
        }
        assert!(mend("192.0.2.9", Some("192.0.2.1")).contains("-LocalPort 6800 -RemoteAddress 192.0.2.1`; "));
        assert_eq!(address_towards("127.0.0.9".parse().unwrap()), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(table("my-dl-2"), "ztgate_my_dl_2");
    }
}
