//! The house's address on the internet, as a command of the house tells it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::config::PublicName;
use crate::nameserver::{self, ProgramError};

/// A lookup at some service on the internet.
const LIMIT: Duration = Duration::from_secs(30);

/// A house has one or two.
const MOST: usize = 16;

/// Why the house's address is not known.
#[derive(Debug, thiserror::Error)]
pub enum PublicError {
    #[error("publish.address is empty")]
    NoCommand,
    #[error("publish.address: {0}")]
    Program(#[from] ProgramError),
    #[error("publish.address printed nothing; it should print one address a line")]
    Nothing,
    #[error(
        "publish.address printed {0:?}, which is no address; it should print one a line and nothing else"
    )]
    NotAnAddress(String),
    #[error(
        "publish.address printed {0}, which is no address on the internet; name a command that asks from outside"
    )]
    NotGlobal(IpAddr),
    #[error("publish.address printed more than {MOST} addresses")]
    TooMany,
}

/// The house's addresses right now, as the command tells them.
///
/// # Errors
/// It failed, or printed anything but addresses on the internet.
pub async fn ask(public: &PublicName) -> Result<BTreeSet<IpAddr>, PublicError> {
    let [program, arguments @ ..] = &public.command[..] else { return Err(PublicError::NoCommand) };
    read(&nameserver::run(Path::new(program), arguments, LIMIT).await?)
}

/// The addresses that it printed. One odd line makes all of it odd: half an answer would take records away.
fn read(output: &str) -> Result<BTreeSet<IpAddr>, PublicError> {
    let mut addresses = BTreeSet::new();
    for line in output.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let shown = || line.chars().take(60).collect();
        let address: IpAddr = line.parse().map_err(|_| PublicError::NotAnAddress(shown()))?;
        if !is_global(address) {
            return Err(PublicError::NotGlobal(address));
        }
        addresses.insert(address);
        if addresses.len() > MOST {
            return Err(PublicError::TooMany);
        }
    }
    if addresses.is_empty() { Err(PublicError::Nothing) } else { Ok(addresses) }
}

/// Whether an address can be reached from anywhere, by IANA's special-purpose registries (RFC 6890).
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || a == 0
        // Shared by a provider's customers (RFC 6598): behind its NAT nobody reaches the house.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        // Benchmarks (RFC 2544), and what is reserved.
        || (a == 198 && (b & 0xfe) == 18)
        || a >= 240;
    !special
}

fn is_global_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    // All that is given out lies in 2000::/3; in it are documentation (RFC 3849, RFC 9637), ORCHIDs, Teredo and 6to4.
    let documentation = (a == 0x2001 && b == 0xdb8) || a & 0xfff0 == 0x3ff0;
    let special = a == 0x2001 && b < 0x200;
    a & 0xe000 == 0x2000 && !documentation && !special && a != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_on_the_internet_are_taken_and_nothing_else() {
        let two = read("93.184.216.34\n 2606:2800:220:1::1 \n\n").unwrap();
        assert_eq!(two.len(), 2);
        for (output, part) in [
            ("", "printed nothing"),
            ("\n \n", "printed nothing"),
            ("<html>502</html>", "which is no address"),
            ("93.184.216.34\nerror", "which is no address"),
            ("192.168.1.7", "no address on the internet"),
            ("100.64.0.1", "no address on the internet"),
            ("203.0.113.9", "no address on the internet"),
            ("127.0.0.1", "no address on the internet"),
            ("fd00::1", "no address on the internet"),
            ("fe80::1", "no address on the internet"),
            ("2001:db8::1", "no address on the internet"),
            ("::1", "no address on the internet"),
        ] {
            let error = read(output).unwrap_err().to_string();
            assert!(error.contains(part), "{output:?}: {error}");
        }
        let many: String = (1..=20).map(|n| format!("93.184.216.{n}\n")).collect();
        assert!(matches!(read(&many), Err(PublicError::TooMany)));
    }

    #[tokio::test]
    async fn the_command_is_run_without_a_shell() {
        let public = |command: &[&str]| PublicName {
            name: "house.example.org".into(),
            command: command.iter().map(ToString::to_string).collect(),
        };
        let told = ask(&public(&["/bin/echo", "93.184.216.34"])).await.unwrap();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), ["93.184.216.34".parse::<IpAddr>().unwrap()]);
        let odd = ask(&public(&["/bin/echo", "$(id)"])).await.unwrap_err().to_string();
        assert!(odd.contains("$(id)"), "{odd}");
        assert!(matches!(ask(&public(&["/bin/false"])).await, Err(PublicError::Program(_))));
    }
}
