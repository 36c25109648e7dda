//! The checks of the machine around the gateway: the gateway and its node, privileges, clock, kernel and WSL2.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use crate::admin::Status;
use crate::config::{Config, Problem};
use crate::zerotier::{ApiError, NodeNetwork, NodeStatus};

use super::Finding;
use crate::linux::capabilities::Capabilities;
use crate::linux::socket;
use crate::linux::wsl::Wsl;

/// What is wrong with the configuration.
pub fn configuration(file: &Path, problems: &[Problem]) -> Vec<Finding> {
    let mend = format!("mend it, then: ztgate --config {} check", file.display());
    problems
        .iter()
        .map(|problem| Finding::bad(problem.to_string().replace("\n  ", "; "), mend.clone()))
        .collect()
}

/// Whether the gateway runs.
pub fn gateway(running: &anyhow::Result<Status>) -> Vec<Finding> {
    vec![match running {
        Ok(status) if status.listeners.iter().any(|listener| listener.error.is_none()) => {
            Finding::ok(format!("runs, with {} connections", status.connections))
        }
        Ok(status) => Finding::bad(format!("runs and listens nowhere: {}", status.overlay), "ztgate status"),
        Err(error) => Finding::warn(format!("{error:#}"), "ztgate run"),
    }]
}

/// Whether the local node answers, with our token.
pub fn node_answers(status: &Result<NodeStatus, ApiError>) -> Vec<Finding> {
    vec![match status {
        Ok(node) if node.online => {
            let version = node.version.as_deref().unwrap_or("of unknown version");
            Finding::ok(format!("{} answers, zerotier-one {version}", node.address))
        }
        Ok(node) => {
            let what = format!("{} answers, and has heard from no root lately", node.address);
            Finding::warn(what, "see whether UDP 9993 gets out: zerotier-cli peers")
        }
        Err(error) => Finding::bad(error.to_string(), "systemctl status zerotier-one"),
    }]
}

/// Whether this machine is on the network, with a device.
pub fn joined(config: &Config, network: &Result<Option<NodeNetwork>, ApiError>) -> Vec<Finding> {
    let id = config.network;
    vec![match network {
        Ok(Some(found)) if found.is_ok() && !found.addresses.is_empty() => {
            Finding::ok(format!("{id} is up on {}", found.device))
        }
        Ok(Some(found)) if found.is_ok() => {
            let what = format!("{id} has authorised this machine and given it no address");
            Finding::bad(what, "give it an address at the controller, from a pool or by hand")
        }
        Ok(Some(found)) if found.status == "ACCESS_DENIED" => {
            let what = format!("{id} is joined, and has not authorised this machine");
            Finding::bad(what, "authorise this machine at the controller")
        }
        Ok(Some(found)) => {
            let what = format!("{id} is joined and its status is {}", found.status);
            Finding::bad(what, "see whether the controller is reachable: zerotier-cli peers")
        }
        Ok(None) => Finding::bad(format!("{id} is not joined"), format!("zerotier-cli join {id}")),
        // The node's own finding says why.
        Err(_) => return Vec::new(),
    }]
}

/// What the gateway may do. `lowest_port` is the lowest that it is to listen on.
pub fn capabilities(has: Capabilities, lowest_port: u16) -> Vec<Finding> {
    const UNIT: &str = "to AmbientCapabilities and CapabilityBoundingSet in the unit";
    let mut findings = Vec::new();
    if lowest_port < 1024 && !has.net_bind_service {
        findings.push(Finding::bad(
            format!("no CAP_NET_BIND_SERVICE, so port {lowest_port} cannot be had"),
            format!("add CAP_NET_BIND_SERVICE {UNIT}, or choose ports from 1024 on"),
        ));
    }
    if !has.net_admin {
        findings.push(Finding::warn(
            "no CAP_NET_ADMIN, so neighbours are not pinned: a member can draw answers meant for another to itself",
            format!("add CAP_NET_ADMIN {UNIT}"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("all that the gateway can use"));
    }
    findings
}

/// Whether expiry, certificates and the audit log have the right time. `synchronised` is what the kernel says
/// ([`crate::linux::clock::is_synchronised`]), `node_offset` how far the node's clock is from ours, if it told.
pub fn clock(synchronised: io::Result<bool>, node_offset: Option<Duration>) -> Vec<Finding> {
    const START: &str = "timedatectl set-ntp true (or start chrony)";
    if let Some(offset) = node_offset.filter(|&offset| offset > Duration::from_secs(5)) {
        let what = format!("the node's clock and this one are {} s apart", offset.as_secs());
        return vec![Finding::bad(what, START)];
    }
    match synchronised {
        Ok(true) => vec![Finding::ok("kept right")],
        Ok(false) => vec![Finding::warn("nothing keeps it right: certificates and expiry may be off", START)],
        Err(error) => {
            vec![Finding::warn(format!("the kernel does not say whether it is kept right: {error}"), START)]
        }
    }
}

/// WSL2's traps. `tun` is whether `/dev/net/tun` is there, `uses_windows_host` whether an upstream is `windows-host`.
pub fn wsl(wsl: Option<Wsl>, tun: bool, uses_windows_host: bool) -> Vec<Finding> {
    let Some(mode) = wsl else { return Vec::new() };
    let mut findings = vec![Finding::warn(
        "this is WSL2, which stops when its last window closes and may wake with a clock that is behind",
        "keep it running: systemd=true in /etc/wsl.conf and a task at logon; see deploy/wsl2.md",
    )];
    if !tun {
        findings.push(Finding::bad(
            "/dev/net/tun is missing, so ZeroTier cannot make its device",
            "modprobe tun",
        ));
    }
    findings.extend(match mode {
        Wsl::Nat if uses_windows_host => Some(Finding::warn(
            "behind NAT windows-host is the default gateway: programs on Windows must listen on more than 127.0.0.1, \
             and Windows' firewall must let WSL2 in",
            "set networkingMode=mirrored in .wslconfig, or open the ports to the WSL interface",
        )),
        Wsl::Mirrored => Some(Finding::warn(
            "in mirrored mode Linux sees Windows' interfaces, and two ZeroTiers would want UDP 9993",
            "run ZeroTier in Linux alone, or give the one on Windows another primaryPort in its local.conf",
        )),
        Wsl::Other if uses_windows_host => Some(Finding::bad(
            "this networking mode gives windows-host no address",
            "set networkingMode=nat or mirrored in .wslconfig, then wsl --shutdown",
        )),
        Wsl::Nat | Wsl::Other => None,
    });
    findings
}

/// Whether this kernel keeps SYNs with their link-layer header. `tried` is what [`saved_syn_on_loopback`] found.
pub fn kernel_saves_syns(release: &str, tried: io::Result<bool>) -> Vec<Finding> {
    const MEND: &str = "run Linux 5.10 or later, without a sandbox that rewrites socket options";
    vec![match tried {
        Ok(true) => Finding::ok(format!("Linux {} saves SYNs with their link-layer header", release.trim())),
        Ok(false) => Finding::bad("the kernel saves no link-layer header, so nobody can be identified", MEND),
        Err(error) => {
            Finding::bad(format!("the kernel saves no SYNs ({error}), so nobody can be identified"), MEND)
        }
    }]
}

/// Tries it: whether a connection over loopback leaves a SYN with an Ethernet header.
///
/// # Errors
/// If the option is missing, or loopback does not work.
pub fn saved_syn_on_loopback() -> io::Result<bool> {
    let listener = socket::listener((IpAddr::from([127, 0, 0, 1]), 0).into(), None)?;
    let _client = TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(2))?;
    let (accepted, _) = listener.accept()?;
    let saved = socket::saved_syn(accepted.as_fd())?;
    Ok(saved.get(12..15) == Some(&[0x08, 0x00, 0x45]))
}

/// Says beforehand what would else be taken for a fault.
pub fn own_names(gate: &str) -> Vec<Finding> {
    vec![Finding::ok(format!(
        "this machine itself cannot open https://{gate}: what it sends to its own address never crosses ZeroTier, so \
         there is nothing to know it by, and it is refused by design; use another member, or the service's own address"
    ))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    fn grades(findings: &[Finding]) -> Vec<Grade> {
        findings.iter().map(|finding| finding.grade).collect()
    }

    #[test]
    fn what_is_not_there_is_only_bad_where_nothing_works_without_it() {
        use Grade::*;
        let none = Capabilities::default();
        let all = Capabilities { net_bind_service: true, net_admin: true, net_raw: false };
        for (has, port, expected) in [
            (all, 80, vec![Ok]),
            (none, 80, vec![Bad, Warn]),
            (none, 8080, vec![Warn]),
            (Capabilities { net_bind_service: true, ..none }, 80, vec![Warn]),
        ] {
            assert_eq!(grades(&capabilities(has, port)), expected, "{has:?} {port}");
        }
    }

    #[test]
    fn a_broken_configuration_is_a_finding() {
        let problems = crate::config::from_text("network = 5\n", &[]).unwrap_err();
        let found = configuration(Path::new("/etc/ztgate/ztgate.toml"), &problems);
        assert_eq!(found.len(), problems.len());
        assert!(found.iter().all(|finding| finding.grade == Grade::Bad && !finding.what.contains('\n')));
    }

    #[test]
    fn a_network_without_an_address_is_told_from_one_without_authorisation() {
        let config = crate::config::from_text("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n", &[]);
        let config = config.unwrap();
        for (status, expected) in [
            ("OK", "given it no address"),
            ("ACCESS_DENIED", "has not authorised this machine"),
            ("REQUESTING_CONFIGURATION", "its status is REQUESTING_CONFIGURATION"),
        ] {
            let network = NodeNetwork {
                status: status.to_owned(),
                device: "ztsvbrsnfp".to_owned(),
                mac: None,
                addresses: Vec::new(),
                public: false,
                bridge: false,
                name: None,
            };
            let found = joined(&config, &Ok(Some(network)));
            assert!(found[0].what.contains(expected), "{}", found[0].what);
        }
    }

    #[test]
    fn clocks_are_judged_by_the_worse_of_both() {
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(grades(&clock(Ok(true), seconds(1))), [Grade::Ok]);
        assert_eq!(grades(&clock(Ok(false), None)), [Grade::Warn]);
        assert_eq!(grades(&clock(Err(io::ErrorKind::PermissionDenied.into()), None)), [Grade::Warn]);
        assert_eq!(grades(&clock(Ok(true), seconds(60))), [Grade::Bad]);
    }

    #[test]
    fn wsl_has_its_traps_and_plain_linux_none() {
        use Grade::*;
        for (mode, tun, windows_host, expected) in [
            (None, false, true, vec![]),
            (Some(Wsl::Nat), true, false, vec![Warn]),
            (Some(Wsl::Nat), true, true, vec![Warn, Warn]),
            (Some(Wsl::Mirrored), true, true, vec![Warn, Warn]),
            (Some(Wsl::Other), true, true, vec![Warn, Bad]),
            (Some(Wsl::Nat), false, false, vec![Warn, Bad]),
        ] {
            assert_eq!(grades(&wsl(mode, tun, windows_host)), expected, "{mode:?} {tun} {windows_host}");
        }
    }

    #[test]
    fn this_kernel_saves_syns() {
        let found = kernel_saves_syns("6.1.0\n", saved_syn_on_loopback());
        assert_eq!(found, [Finding::ok("Linux 6.1.0 saves SYNs with their link-layer header")]);
        assert_eq!(grades(&kernel_saves_syns("4.19", Err(io::ErrorKind::Unsupported.into()))), [Grade::Bad]);
        assert_eq!(grades(&kernel_saves_syns("5.9", Ok(false))), [Grade::Bad]);
    }

    #[test]
    fn whatever_is_not_well_has_a_mend() {
        let all = [
            capabilities(Capabilities::default(), 80),
            clock(Ok(false), None),
            wsl(Some(Wsl::Other), false, true),
            kernel_saves_syns("5.9", Ok(false)),
            own_names("gate.home.arpa"),
        ];
        for finding in all.iter().flatten() {
            assert_eq!(finding.mend.is_none(), finding.grade == Grade::Ok, "{finding:?}");
        }
    }
}
