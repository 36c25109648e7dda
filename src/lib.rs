//! ztgate: the front door of a home lab, or of a small team's servers, on a ZeroTier network.
//!
//! A request's path, one module a stage: accept -> who is it -> may it -> where to -> stream -> record. ARCHITECTURE.md
//! has the map; a module uses only the layers below its own.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod audit;
pub mod config;
pub mod identity;
pub mod model;
pub mod policy;
pub mod store;
