//! What the load generator and the upstream share.

pub mod http;
pub mod sys;
