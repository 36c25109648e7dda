//! The real `ztgate run`, and the parts of it that meet the kernel, on real devices whose MACs are those that ZeroTier would
//! give: binding, proof of origin, neighbour entries, and a member that lies.
//!
//! Needs no ZeroTier. `cargo test --test netns` as root, or as a user who may make user namespaces.

#![allow(clippy::unwrap_used, reason = "clippy.toml spares test functions, not their helpers")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so, and a measured time is told")]

mod attacker;
mod binding;
mod client;
mod dns;
mod firewall;
mod harness;
mod home;
mod identity;
mod orders;
mod proof;
mod running;

/// A network, its gateway and two members, as measured on a real network: ID, MAC, IPv4, RFC 4193, 6PLANE.
pub mod lab {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;

    use ztgate::identity::{IdentityProof, Member, Roster};
    use ztgate::linux::clock::SystemClock;
    use ztgate::model::{Clock, MemberState};

    use crate::harness::{Namespace, Segment};

    pub const NETWORK: &str = "5e02d9cb41c0ffee";

    #[derive(Clone, Copy)]
    pub struct Node {
        pub id: &'static str,
        pub mac: &'static str,
        pub v4: &'static str,
        pub rfc4193: &'static str,
        pub six_plane: &'static str,
    }

    pub const GATEWAY: Node = Node {
        id: "5e02d9cb41",
        mac: "ee:a1:c2:98:00:98",
        v4: "10.147.20.1",
        rfc4193: "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41",
        six_plane: "fc1f:c226:255e:2d9:cb41::1",
    };
    pub const A: Node = Node {
        id: "c4c8812898",
        mac: "ee:3b:08:c0:e3:41",
        v4: "10.147.20.2",
        rfc4193: "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898",
        six_plane: "fc1f:c226:25c4:c881:2898::1",
    };
    pub const B: Node = Node {
        id: "bcba17eef8",
        mac: "ee:43:7a:56:25:21",
        v4: "10.147.20.3",
        rfc4193: "fd5e:2d9:cb41:c0ff:ee99:93bc:ba17:eef8",
        six_plane: "fc1f:c226:25bc:ba17:eef8::1",
    };

    impl Node {
        pub fn addresses(self) -> [IpAddr; 3] {
            [self.v4, self.rfc4193, self.six_plane].map(|a| a.parse().unwrap())
        }

        pub fn at(self, port: u16) -> [SocketAddr; 3] {
            self.addresses().map(|a| SocketAddr::new(a, port))
        }

        /// Plugs this node's device, `zt0`, into the segment, and returns its port there.
        pub fn plug(self, segment: &Segment, machine: &Namespace) -> String {
            let [v4, rfc4193, six_plane] =
                [format!("{}/24", self.v4), format!("{}/88", self.rfc4193), format!("{}/40", self.six_plane)];
            segment.plug(machine, "zt0", self.mac, &[&v4, &rfc4193, &six_plane])
        }

        /// A machine of its own on the segment.
        pub fn machine(self, segment: &Segment) -> Namespace {
            let machine = Namespace::new();
            self.plug(segment, &machine);
            machine
        }
    }

    /// All three, active, proven, with their IPv4 addresses assigned.
    pub fn roster() -> Roster {
        let member = |node: Node| Member {
            id: node.id.parse().unwrap(),
            state: MemberState::Active,
            proof: IdentityProof::Proven,
            device: None,
            owner: None,
            groups: vec![],
            until: None,
            label: None,
            assigned: vec![node.v4.parse().unwrap()],
            active_bridge: false,
            version: None,
        };
        let members = [GATEWAY, A, B].map(|node| Arc::new(member(node)));
        let (taken, at) = (jiff::Timestamp::UNIX_EPOCH, SystemClock.instant());
        Roster::new(NETWORK.parse().unwrap(), members, vec![], taken, at, Duration::from_secs(900))
    }
}
