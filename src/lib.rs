//! ztgate: the front door of a home lab, or of a small team's servers, on a ZeroTier network.
//!
//! A request's path, one module a stage: accept -> who is it -> may it -> where to -> stream -> record. ARCHITECTURE.md
//! has the map; a module uses only the layers below its own.

#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "ztgate runs on Linux only for now: elsewhere the kernel gives no proof of who opened a connection"
);

pub mod acme;
pub mod admin;
pub mod audit;
pub mod ca;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dns;
pub mod gateway;
pub mod identity;
pub mod linux;
pub mod model;
pub mod nameserver;
pub mod notify;
pub mod outbound;
pub mod overlay;
pub mod policy;
pub mod portal;
pub mod proxy;
pub mod publish;
pub mod push;
pub mod routes;
pub mod services;
pub mod store;
pub mod sync;
pub mod zerotier;
