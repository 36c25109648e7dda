//! The whole gateway, from a device's first byte to the audit log, on its real parts: only the ZeroTier node and the
//! link-layer origin are stand-ins.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod acme;
mod aria2;
mod cuts;
mod devices;
mod dns;
mod dns_elsewhere;
mod dns_forward;
mod dns_load;
mod expect;
mod files;
mod heavy;
mod household;
mod http2;
mod lifecycle;
mod links;
mod nameserver;
mod origins;
mod ports;
mod publish;
mod push;
mod real;
mod refusals;
mod requests;
mod reuse;
mod streams;
mod tls;
mod uploads;
mod websockets;
mod why;
mod world;
