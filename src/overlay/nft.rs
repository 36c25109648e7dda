//! The ruleset behind `ztgate nft`: nftables that closes the machine's other doors on the overlay, for an operator to read and load.
//!
//! The gateway needs none of it: it stops what is not the gateway's. Members' MACs are ZeroTier's word, and the first
//! table holds their IP and ARP addresses against them.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::identity::Roster;
use crate::model::{Mac, MemberId, MemberState};

/// What the ruleset is made from.
pub struct Ruleset<'a> {
    pub device: &'a str,
    pub roster: &'a Roster,
    /// This machine's own member ID.
    pub own: Option<MemberId>,
    /// The gateway's ports.
    pub tcp: &'a [u16],
    pub udp: &'a [u16],
    pub break_glass: Option<BreakGlass<'a>>,
}

/// A way in for when the gateway itself is broken: SSH for these members, past it.
pub struct BreakGlass<'a> {
    pub port: u16,
    pub members: &'a [MemberId],
}

const HEAD: &str = "\
# Made by `ztgate nft`. Load with:  ztgate nft | nft -f -
# Load it anew when members change and when the device was made anew (zerotier-one restarted): the kernel drops the
# first table's hook with the device. Devices that wait to be admitted get silence with it, and not the gateway's page.
";

/// The ruleset as text for `nft -f`. Loading it replaces what was loaded before, all at once.
pub fn render(rules: &Ruleset<'_>) -> String {
    let mut text = HEAD.to_owned();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{}\n{}", ingress(rules), input(rules));
    text
}

/// What the device may bring in at all: frames whose IP and ARP source belong to their MAC. nft cannot look into neighbour
/// discovery's options, so that is let through; permanent neighbour entries make its lies void.
fn ingress(rules: &Ruleset<'_>) -> String {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let network = rules.roster.network;
    for member in rules.roster.sorted() {
        if member.state != MemberState::Active || Some(member.id) == rules.own {
            continue;
        }
        let mac = Mac::of(member.id, network);
        for address in &member.assigned {
            match address {
                IpAddr::V4(address) => v4.push(format!("{address} . {mac}")),
                IpAddr::V6(address) => v6.push(format!("{address} . {mac}")),
            }
        }
        let mut plane = member.id.six_plane(network).octets();
        plane[15] = 0;
        v6.push(format!("{} . {mac}", member.id.rfc4193(network)));
        v6.push(format!("{}/80 . {mac}", std::net::Ipv6Addr::from(plane)));
    }
    format!(
        "\
table netdev ztgate
delete table netdev ztgate
table netdev ztgate {{
    set owners4 {{
        type ipv4_addr . ether_addr{v4}
    }}
    set owners6 {{
        type ipv6_addr . ether_addr
        flags interval{v6}
    }}
    chain ingress {{
        type filter hook ingress device \"{device}\" priority -500; policy drop;
        arp saddr ip . ether saddr @owners4 arp saddr ip . arp saddr ether @owners4 accept
        arp saddr ip 0.0.0.0 accept
        ip saddr . ether saddr @owners4 accept
        ip6 saddr . ether saddr @owners6 accept
        ip6 saddr {{ ::, fe80::/10 }} icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }} accept
        counter comment \"not its sender's to use\"
    }}
}}
",
        v4 = elements(&v4, "        "),
        v6 = elements(&v6, "        "),
        device = rules.device,
    )
}

/// What may come in from the device: the gateway's ports, answers, and ping. And the node's API is for this machine alone.
fn input(rules: &Ruleset<'_>) -> String {
    let mut doors = String::new();
    for (protocol, ports) in [("tcp", rules.tcp), ("udp", rules.udp)] {
        if !ports.is_empty() {
            let _ = writeln!(doors, "        {protocol} dport {{ {} }} accept", join(ports));
        }
    }
    if let Some(BreakGlass { port, members }) =
        rules.break_glass.as_ref().filter(|way| !way.members.is_empty())
    {
        let macs: Vec<_> = members.iter().map(|&id| Mac::of(id, rules.roster.network)).collect();
        let _ = writeln!(doors, "        ether saddr {{ {} }} tcp dport {port} accept", join(&macs));
    }
    format!(
        "\
table inet ztgate
delete table inet ztgate
table inet ztgate {{
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iifname \"lo\" accept
        iifname \"{device}\" goto overlay
        tcp dport 9993 counter drop comment \"the ZeroTier node's API\"
        udp dport 9993 accept comment \"ZeroTier itself\"
    }}
    chain overlay {{
        ct state established,related accept
        icmp type echo-request accept
        icmpv6 type {{ echo-request, nd-neighbor-solicit, nd-neighbor-advert }} accept
{doors}        counter drop
    }}
}}
",
        device = rules.device,
    )
}

fn elements(list: &[String], indent: &str) -> String {
    // An empty list of elements is a syntax error.
    if list.is_empty() {
        return String::new();
    }
    format!("\n{indent}elements = {{\n{indent}    {}\n{indent}}}", list.join(&format!(",\n{indent}    ")))
}

fn join<T: ToString>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Member, examples};

    fn roster(state: MemberState) -> Roster {
        let member = |id, state, address| Member { state, ..examples::member(id, address) };
        examples::roster([
            member("5e02d9cb41", MemberState::Active, "10.147.20.1"),
            member("c4c8812898", state, "10.147.20.2"),
            member("bcba17eef8", MemberState::Pending, "10.147.20.3"),
        ])
    }

    fn text(roster: &Roster, break_glass: Option<BreakGlass<'_>>) -> String {
        let own = "5e02d9cb41".parse().ok();
        render(&Ruleset { device: "ztsvbrsnfp", roster, own, tcp: &[80, 443], udp: &[53], break_glass })
    }

    #[test]
    fn active_members_addresses_are_paired_with_their_macs() {
        let text = text(&roster(MemberState::Active), None);
        for pair in [
            "10.147.20.2 . ee:3b:08:c0:e3:41",
            "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898 . ee:3b:08:c0:e3:41",
            "fc1f:c226:25c4:c881:2898::/80 . ee:3b:08:c0:e3:41",
        ] {
            assert!(text.contains(pair), "{pair} in\n{text}");
        }
        assert!(!text.contains("10.147.20.3"), "a pending member is not let in");
        assert!(!text.contains("10.147.20.1 "), "nobody else uses the gateway's own address");
    }

    #[test]
    fn only_the_gateways_ports_and_named_ways_in_are_open() {
        let members = ["c4c8812898".parse().unwrap()];
        let open = text(&roster(MemberState::Active), Some(BreakGlass { port: 22, members: &members }));
        assert!(open.contains("tcp dport { 80, 443 } accept") && open.contains("udp dport { 53 } accept"));
        assert!(open.contains("ether saddr { ee:3b:08:c0:e3:41 } tcp dport 22 accept"));
        let nobody = text(&roster(MemberState::Active), Some(BreakGlass { port: 22, members: &[] }));
        assert!(!nobody.contains("dport 22"), "no member, no way in");
    }

    #[test]
    fn without_active_members_nothing_is_paired_and_all_is_dropped() {
        let text = text(&roster(MemberState::Revoked), None);
        assert!(!text.contains("elements"), "{text}");
        assert!(text.contains("policy drop"));
    }
}
