//! The private CA, the certificates that the gateway serves, and how TLS is set up with them.
//!
//! Nothing here can vouch for a name outside the zone: root and intermediate are name-constrained to it, so a device
//! that trusts the root trusts it for these names and no others. `certs/README.md` draws the layout.

mod authority;
mod certificates;
mod describe;
mod error;
mod files;
mod given;
mod layout;
mod mint;
mod pem;
mod period;
mod root_key;
mod rotate;
mod tls;
pub mod trust;
mod verify;
mod verify_given;

pub use authority::Ca;
pub use certificates::{Certificates, CurrentCertificates, StrangerCertificates};
pub use describe::{Description, describe, describe_file, fingerprint, root_pem};
pub use error::CaError;
pub use layout::issuer_file;
pub use root_key::{Kept, LockedKey, RootKey, RootKeyFile, SHORTEST_PASSPHRASE, passphrase_in, remove_local};
pub use rotate::{Rotated, rotate};
pub use tls::{Alpn, Handshake, ServerConfigs};
pub use verify::{Checked, Standing, is_near_end, is_overdue, verify};
pub use verify_given::{Devices, system_roots, verify_bundle, verify_files};
