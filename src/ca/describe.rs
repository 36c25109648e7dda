//! The CA as people want to see it, read from disk without any key.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use super::layout::existing;
use super::{CaError, Kept, files, pem, root_key};

/// One certificate of the CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// `root`, `intermediate`, or `served` for one that comes from elsewhere.
    pub role: &'static str,
    pub subject: String,
    pub file: PathBuf,
    /// The DNS zones that it can vouch for, and nothing else; of one that is served, its names.
    pub zones: Vec<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// SHA-256 of the certificate, in the form that devices show it.
    pub sha256: String,
    /// Where the root's key is, as far as can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Kept>,
}

/// Describes the CA in a state folder: the root, then the intermediate.
pub fn describe(state_dir: &Path) -> Result<Vec<Description>, CaError> {
    let layout = existing(state_dir)?;
    [("root", layout.root.clone()), ("intermediate", layout.issuer.certificate().to_owned())]
        .into_iter()
        .map(|(role, file)| {
            let key = if role == "root" { root_key::kept(&layout).ok() } else { None };
            Ok(Description { role, key, ..of_file(&file)? })
        })
        .collect()
}

/// Describes the first certificate of a PEM file of one's own, by the names that it is for.
pub fn describe_file(file: &Path) -> Result<Description, CaError> {
    let names = pem::names(file, &pem::chain(file)?[0])?;
    Ok(Description { zones: names, ..of_file(file)? })
}

fn of_file(file: &Path) -> Result<Description, CaError> {
    let certificate = pem::chain(file)?.swap_remove(0);
    let facts = pem::facts(file, &certificate)?;
    Ok(Description {
        role: "served",
        subject: facts.subject,
        zones: facts.zones,
        begins: facts.begins,
        ends: facts.ends,
        sha256: fingerprint(&certificate),
        file: file.to_owned(),
        key: None,
    })
}

/// The root certificate of the CA in a state folder, as PEM.
pub fn root_pem(state_dir: &Path) -> Result<String, CaError> {
    let layout = existing(state_dir)?;
    pem::chain(&layout.root)?;
    files::read(&layout.root)
}

/// SHA-256 of a certificate as devices show it: pairs of capital digits with colons between.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let pairs: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
