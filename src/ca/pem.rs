//! Reading certificates: PEM to DER, and the few facts that decisions need.

use std::path::Path;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CaError, files};

/// All certificates of a PEM file, at least one.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    chain_in(file, &files::read(file)?)
}

/// All certificates of a text that was read from that file, at least one.
pub(super) fn chain_in(file: &Path, text: &str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let malformed = |reason: String| CaError::Malformed { file: file.to_owned(), reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(format!("no certificates in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(malformed(
            "no certificate in it; it should begin with -----BEGIN CERTIFICATE-----".into(),
        ));
    }
    Ok(chain)
}

/// What is read out of one certificate.
pub(super) struct Facts {
    pub subject: String,
    /// Who signed it, by common name or organisation.
    pub issuer: String,
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// The DNS subtrees that it is constrained to.
    pub zones: Vec<String>,
    /// Whether the constraints bind devices that do not know them (critical), and leave no IP address.
    pub confined: bool,
    /// The public key, as X.509 has it.
    pub public_key: Vec<u8>,
}

/// Excluded IPv4 and IPv6 addresses, all of them: address and mask (RFC 5280, section 4.2.1.10).
const ALL_ADDRESSES: [&[u8]; 2] = [&[0; 8], &[0; 32]];

pub(super) fn facts(file: &Path, certificate: &CertificateDer<'_>) -> Result<Facts, CaError> {
    let malformed = |reason: String| CaError::Malformed { file: file.to_owned(), reason };
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| malformed(format!("not an X.509 certificate: {error}")))?;
    let second = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|error| malformed(format!("odd validity: {error}")))
    };
    let constraints = parsed.name_constraints().map_err(|error| malformed(error.to_string()))?;
    let permitted = constraints.as_ref().and_then(|c| c.value.permitted_subtrees.as_ref());
    let zones = permitted
        .into_iter()
        .flatten()
        .filter_map(|tree| match tree.base {
            GeneralName::DNSName(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect();
    let excluded = constraints.as_ref().and_then(|c| c.value.excluded_subtrees.as_ref());
    let excludes = |addresses: &[u8]| {
        excluded.into_iter().flatten().any(|tree| tree.base == GeneralName::IPAddress(addresses))
    };
    let confined = constraints.is_some_and(|c| c.critical) && ALL_ADDRESSES.into_iter().all(excludes);
    Ok(Facts {
        confined,
        public_key: parsed.public_key().raw.to_vec(),
        subject: parsed
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default()
            .to_owned(),
        issuer: parsed
            .issuer()
            .iter_common_name()
            .chain(parsed.issuer().iter_organization())
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default()
            .to_owned(),
        begins: second(parsed.validity().not_before.timestamp())?,
        ends: second(parsed.validity().not_after.timestamp())?,
        zones,
    })
}

/// The DNS names that a certificate is for.
pub(super) fn names(file: &Path, certificate: &CertificateDer<'_>) -> Result<Vec<String>, CaError> {
    let malformed = |reason: String| CaError::Malformed { file: file.to_owned(), reason };
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| malformed(format!("not an X.509 certificate: {error}")))?;
    let names = parsed.subject_alternative_name().map_err(|error| malformed(error.to_string()))?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect())
}
