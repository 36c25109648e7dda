//! The checks of other doors: what a peer on the overlay reaches past the gateway.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Finding;
use crate::linux::holder::{OpenSocket, Protocol};

/// ZeroTier's own port, for its peers (UDP) and its API (TCP).
const ZEROTIER_PORT: u16 = 9993;

/// Each door that a peer on the overlay finds open beside the gateway's.
/// `found` is what [`crate::linux::holder::foreign_sockets`] says.
pub fn foreign_sockets(found: &[OpenSocket]) -> Vec<Finding> {
    let finding = |socket: &OpenSocket| {
        let OpenSocket { protocol, address, holder } = socket;
        let holder = match holder {
            Some(holder) => holder.to_string(),
            None => "a process that only root may see".to_owned(),
        };
        match (protocol, address.port()) {
            (Protocol::Udp, ZEROTIER_PORT) => None,
            (Protocol::Tcp, ZEROTIER_PORT) => Some(Finding::warn(
                format!("every peer reaches the node's API at tcp {address}, and can slow it down"),
                "ztgate nft | nft -f -",
            )),
            (_, port) => Some(Finding::warn(
                format!("every peer reaches {protocol} {address}, held by {holder}, past the gateway"),
                format!("bind it to 127.0.0.1, or drop port {port} on the device: ztgate nft | nft -f -"),
            )),
        }
    };
    let findings: Vec<_> = found.iter().filter_map(finding).collect();
    if findings.is_empty() {
        return vec![Finding::ok("no other program listens on the overlay")];
    }
    findings
}

/// Each service whose upstream is on the overlay itself: its own port there is a second door to it, and no rule of ours
/// guards that one. `upstreams` are services with their upstream's addresses, `overlay` this machine's own addresses there.
pub fn overlay_upstreams(upstreams: &[(&str, Vec<IpAddr>)], overlay: &[IpNet]) -> Vec<Finding> {
    let finding = |service: &str, address: &IpAddr| {
        if overlay.iter().any(|net| net.addr() == *address) {
            return Some(Finding::warn(
                format!(
                    "{service}'s upstream {address} is this machine's own address on the overlay, where every peer reaches it too"
                ),
                "bind the program to 127.0.0.1, and write that in upstream",
            ));
        }
        overlay.iter().any(|net| net.contains(address)).then(|| {
            Finding::warn(
                format!("{service}'s upstream {address} is itself a member: every peer reaches it there, past the gateway"),
                "write its address in the local network; or let its own firewall take this port from the gateway alone",
            )
        })
    };
    let each = upstreams.iter().flat_map(|(service, at)| at.iter().filter_map(|at| finding(service, at)));
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;
    use crate::linux::holder::Holder;

    #[test]
    fn foreign_sockets_are_named_with_port_and_holder() {
        let open = |protocol, address: &str, command: &str| OpenSocket {
            protocol,
            address: address.parse().unwrap(),
            holder: (!command.is_empty()).then(|| Holder { pid: 42, command: command.into() }),
        };
        let found = foreign_sockets(&[
            open(Protocol::Tcp, "0.0.0.0:22", "sshd"),
            open(Protocol::Tcp, "[::]:8096", ""),
            open(Protocol::Udp, "0.0.0.0:9993", "zerotier-one"),
            open(Protocol::Tcp, "0.0.0.0:9993", "zerotier-one"),
        ]);
        let [ssh, unseen, api] = &found[..] else { panic!("{found:?}") };
        assert!(ssh.what.contains("tcp 0.0.0.0:22, held by sshd (process 42)"), "{}", ssh.what);
        assert!(unseen.what.contains("only root may see"), "{}", unseen.what);
        assert!(api.what.contains("the node's API"), "{}", api.what);
        assert_eq!(foreign_sockets(&[])[0].grade, Grade::Ok);
    }

    #[test]
    fn an_upstream_on_the_overlay_is_a_second_door() {
        let overlay = ["10.147.20.1/24", "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41/88", "fc1f:c226:255e::1/40"];
        let overlay = overlay.map(|net| net.parse().unwrap());
        for (address, part) in [
            ("10.147.20.1", Some("this machine's own address")),
            ("10.147.20.9", Some("nas's upstream 10.147.20.9 is itself a member")),
            ("fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898", Some("is itself a member")),
            ("fc1f:c226:25c4:c881:2898::1", Some("is itself a member")),
            ("10.147.21.9", None),
            ("127.0.0.1", None),
            ("192.168.1.10", None),
        ] {
            let found = overlay_upstreams(&[("nas", vec![address.parse().unwrap()])], &overlay);
            assert_eq!(found.len(), usize::from(part.is_some()), "{address}: {found:?}");
            let fits = |finding: &Finding| finding.what.contains(part.unwrap()) && finding.mend.is_some();
            assert!(found.iter().all(fits), "{address}: {found:?}");
        }
        assert!(overlay_upstreams(&[("nas", vec!["10.147.20.9".parse().unwrap()])], &[]).is_empty());
    }
}
