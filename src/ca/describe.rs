//! The CA as people want to see it, read from disk without any key.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use super::authority::Layout;
use super::{CaError, files, pem};

/// One certificate of the CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// `root` or `intermediate`.
    pub role: &'static str,
    pub subject: String,
    pub file: PathBuf,
    /// The DNS zones that it can vouch for; nothing else is.
    pub zones: Vec<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// SHA-256 of the certificate, in the form that devices show it.
    pub sha256: String,
}

/// Describes the CA in a state folder: the root, then the intermediate.
pub fn describe(state_dir: &Path) -> Result<Vec<Description>, CaError> {
    let layout = existing(state_dir)?;
    [("root", layout.root), ("intermediate", layout.intermediate)]
        .into_iter()
        .map(|(role, file)| {
            let certificate = pem::chain(&file)?.swap_remove(0);
            let facts = pem::facts(&file, &certificate)?;
            Ok(Description {
                role,
                subject: facts.subject,
                zones: facts.zones,
                begins: facts.begins,
                ends: facts.ends,
                sha256: fingerprint(&certificate),
                file,
            })
        })
        .collect()
}

/// The root certificate of the CA in a state folder, as PEM.
pub fn root_pem(state_dir: &Path) -> Result<String, CaError> {
    let layout = existing(state_dir)?;
    pem::chain(&layout.root)?;
    files::read(&layout.root)
}

/// SHA-256 of a certificate as devices show it: pairs of capital digits with colons between.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let pairs: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// Where the files of the CA in a state folder are, if it has one.
pub(super) fn existing(state_dir: &Path) -> Result<Layout, CaError> {
    let layout = Layout::of(state_dir);
    if files::is_vacant(&layout.dir)? { Err(CaError::None { dir: layout.dir }) } else { Ok(layout) }
}
