//! What only Linux can tell or do: sockets bound to a device, the saved SYN, netlink, who holds a port, and who
//! is at the other end of a local socket.
//!
//! The one place with `unsafe`: each block is a single system call over a value that lives on the stack. Everything
//! here looks at the network namespace of the calling thread, hence `/proc/thread-self` and not `/proc/self`.

pub mod capabilities;
pub mod children;
pub mod clock;
pub mod container;
pub mod files;
pub mod holder;
pub mod interfaces;
pub mod limits;
pub mod neighbours;
pub mod netlink;
pub mod priority;
pub mod process;
pub mod routes;
pub mod secret;
pub mod socket;
pub mod terminal;
pub mod users;
pub mod wsl;
