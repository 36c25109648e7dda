//! Clients of ZeroTier's APIs: the local node's, and each kind of controller's. JSON shapes stay private to this
//! folder; what leaves it is typed and checked.

mod api;
mod central;
mod controller;
mod dns;
mod endpoint;
mod fix;
mod local;
mod node;
mod rules;
mod shapes;
mod writes;

#[cfg(test)]
pub(crate) mod examples;
pub use api::ApiError;
pub use central::CentralController;
pub use controller::{Controller, ControllerMember, ControllerView};
pub use dns::NetworkDns;
pub use endpoint::UrlError;
pub use fix::{Fix, Proposal};
pub use local::LocalController;
pub use node::{NodeClient, NodeNetwork, NodePeer, NodeStatus};
pub use rules::Forward;
