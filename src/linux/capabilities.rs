//! Which privileges this thread has, of those that the gateway can use.

use std::fs;

/// The effective capabilities (capabilities(7)) that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Ports below 1024.
    pub net_bind_service: bool,
    /// Permanent neighbour entries.
    pub net_admin: bool,
    /// Frames of our own making; nothing here needs it, and a gateway that has it has too much.
    pub net_raw: bool,
}

impl Capabilities {
    /// Those of the calling thread; none if the kernel does not say.
    pub fn effective() -> Self {
        Self::read(&fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
    }

    fn read(status: &str) -> Self {
        // Bit numbers of linux/capability.h.
        const NET_BIND_SERVICE: u32 = 10;
        const NET_ADMIN: u32 = 12;
        const NET_RAW: u32 = 13;
        let bits = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0);
        let has = |capability: u32| bits >> capability & 1 == 1;
        Self { net_bind_service: has(NET_BIND_SERVICE), net_admin: has(NET_ADMIN), net_raw: has(NET_RAW) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_hexadecimal_reads_as_capabilities() {
        let read =
            |eff: &str| Capabilities::read(&format!("Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t{eff}\n"));
        let none = Capabilities::default();
        assert_eq!(read("0000000000000000"), none);
        assert_eq!(read("0000000000000400"), Capabilities { net_bind_service: true, ..none });
        assert_eq!(
            read("0000000000001400"),
            Capabilities { net_bind_service: true, net_admin: true, ..none }
        );
        assert_eq!(read("nonsense"), none);
    }
}
