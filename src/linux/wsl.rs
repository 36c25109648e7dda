//! Whether this Linux is WSL2, how it is wired to Windows, and where Windows answers: what `windows-host` means.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// How WSL2 reaches the network (`networkingMode` in `.wslconfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wsl {
    /// The default: Linux sits behind Windows, which is the default gateway.
    Nat,
    /// Linux shares Windows' interfaces and its loopback.
    Mirrored,
    /// Bridged, VirtioProxy, none, or one that came later.
    Other,
}

/// Why `windows-host` has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWindowsHost {
    #[error(
        "windows-host is the Windows machine around WSL2, and this is no WSL2; write the upstream's address instead"
    )]
    NotWsl,
    #[error(
        "WSL2's networking mode gives windows-host no fixed address; set networkingMode=nat or mirrored in .wslconfig, or write the address"
    )]
    Mode,
    #[error("there is no default route, so windows-host is not known yet; see `ip route`")]
    NoRoute,
}

/// How this machine is wired to Windows; `None` if it is no WSL2. Asks `wslinfo`, which every WSL2 since 2023 brings, so it
/// takes some milliseconds: not for the request path.
pub fn detect() -> Option<Wsl> {
    let version = fs::read_to_string("/proc/version").unwrap_or_default();
    is_wsl2(&version).then(|| {
        let answer = Command::new("wslinfo").arg("--networking-mode").output();
        mode(answer.ok().filter(|a| a.status.success()).map(|a| a.stdout).as_deref())
    })
}

/// The address at which Windows answers.
///
/// # Errors
/// Outside WSL2, in a mode without such an address, or before there is a default route.
pub fn windows_host() -> Result<IpAddr, NoWindowsHost> {
    windows_host_in(detect(), &fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default())
}

fn windows_host_in(wsl: Option<Wsl>, routes: &str) -> Result<IpAddr, NoWindowsHost> {
    match wsl {
        None => Err(NoWindowsHost::NotWsl),
        Some(Wsl::Other) => Err(NoWindowsHost::Mode),
        Some(Wsl::Mirrored) => Ok(Ipv4Addr::LOCALHOST.into()),
        Some(Wsl::Nat) => default_gateway(routes).map(IpAddr::V4).ok_or(NoWindowsHost::NoRoute),
    }
}

/// WSL1 says `Microsoft`, WSL2 `microsoft-standard` in its kernel's version.
fn is_wsl2(version: &str) -> bool {
    version.contains("microsoft-standard")
}

/// Before `wslinfo` there was nothing but NAT.
fn mode(wslinfo: Option<&[u8]>) -> Wsl {
    match wslinfo.map(<[u8]>::trim_ascii) {
        None | Some(b"nat") => Wsl::Nat,
        Some(b"mirrored") => Wsl::Mirrored,
        Some(_) => Wsl::Other,
    }
}

/// The gateway of the default route with the smallest metric in `/proc/net/route` (proc_pid_net(5)).
fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_device, destination, gateway, _flags, _references, _use, metric, mask, ..] = fields[..] else {
            return None;
        };
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|&gateway| gateway != 0)?;
        let default = destination == "00000000" && mask == "00000000";
        default.then_some((metric.parse::<u32>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    routes.lines().skip(1).filter_map(read).min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth1\t00000000\t010A0A0A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";

    #[cfg(target_endian = "little")]
    #[test]
    fn windows_host_depends_on_the_wiring() {
        let gateway = Ok("192.0.2.1".parse().unwrap());
        for (wsl, routes, expected) in [
            (Some(Wsl::Nat), ROUTES, gateway),
            (Some(Wsl::Nat), "Iface\n", Err(NoWindowsHost::NoRoute)),
            (Some(Wsl::Mirrored), "", Ok("127.0.0.1".parse().unwrap())),
            (Some(Wsl::Other), ROUTES, Err(NoWindowsHost::Mode)),
            (None, ROUTES, Err(NoWindowsHost::NotWsl)),
        ] {
            assert_eq!(windows_host_in(wsl, routes), expected, "{wsl:?}");
        }
    }

    #[test]
    fn kernels_and_modes_are_told_apart() {
        assert!(is_wsl2("Linux version 5.15.167.4-microsoft-standard-WSL2 (root@x) (gcc …)"));
        assert!(!is_wsl2("Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)"));
        assert!(!is_wsl2("Linux version 6.18.0-amd64 (debian-kernel@lists.debian.org)"));
        for (answer, expected) in [
            (None, Wsl::Nat),
            (Some(&b"nat\n"[..]), Wsl::Nat),
            (Some(b"mirrored\n"), Wsl::Mirrored),
            (Some(b"virtioproxy\n"), Wsl::Other),
        ] {
            assert_eq!(mode(answer), expected);
        }
    }
}
