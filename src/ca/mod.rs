//! The private CA, the certificates that the gateway serves, and how TLS is set up with them.
//!
//! Nothing here can vouch for a name outside the zone: root and intermediate are name-constrained to it, so a device
//! that trusts the root trusts it for these names and no others. `certs/README.md` draws the layout.

mod authority;
mod certificates;
mod describe;
mod error;
mod files;
mod mint;
mod pem;
mod tls;
pub mod trust;

pub use authority::Ca;
pub use certificates::{Certificates, CurrentCertificates, StrangerCertificates};
pub use describe::{Description, describe, root_pem};
pub use error::CaError;
pub use tls::{Alpn, server_config};
