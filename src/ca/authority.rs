//! The private CA on disk: made whole at the first start, then opened without the root's key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use super::{CaError, files, mint, pem};
use crate::model::Zone;

/// Where the CA lies in a state folder.
pub(super) struct Layout {
    pub dir: PathBuf,
    pub root: PathBuf,
    pub intermediate: PathBuf,
    pub intermediate_key: PathBuf,
}

/// In a folder of its own, so that it can be taken off the machine.
const ROOT_FOLDER: &str = "root";
const ROOT_KEY: &str = "root/root.key";
const ROOT: &str = "root.pem";
const INTERMEDIATE: &str = "intermediate.pem";
const INTERMEDIATE_KEY: &str = "intermediate.key";

impl Layout {
    pub fn of(state_dir: &Path) -> Self {
        let dir = state_dir.join("certs");
        Self {
            root: dir.join(ROOT),
            intermediate: dir.join(INTERMEDIATE),
            intermediate_key: dir.join(INTERMEDIATE_KEY),
            dir,
        }
    }
}

/// The intermediate, which signs leaves for names in the zone. The root signs nothing but the intermediate.
pub struct Ca {
    zone: Zone,
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    ends: Timestamp,
}

impl Ca {
    /// Opens the CA in `STATE_DIR/certs`; makes it there if there is none yet.
    ///
    /// An existing root's key is never opened, so that it may be kept elsewhere.
    ///
    /// # Errors
    /// A CA for another zone, one with a file missing, or files that others can read or that do not belong together:
    /// nothing is mended silently, because a new root would have to be trusted anew on each device.
    pub fn open_or_create(state_dir: &Path, zone: &Zone, now: Timestamp) -> Result<Self, CaError> {
        if now < mint::EARLIEST {
            return Err(CaError::Clock { now });
        }
        let layout = Layout::of(state_dir);
        if files::is_vacant(&layout.dir)? {
            create(&layout.dir, zone, now)?;
        }
        Self::open(&layout, zone, now)
    }

    fn open(layout: &Layout, zone: &Zone, now: Timestamp) -> Result<Self, CaError> {
        for file in [&layout.root, &layout.intermediate, &layout.intermediate_key] {
            if !file.try_exists().map_err(files::at(file))? {
                return Err(CaError::Missing { file: file.clone(), dir: layout.dir.clone() });
            }
        }
        let root = one(&layout.root)?;
        let intermediate = one(&layout.intermediate)?;
        let mut ends = Timestamp::MAX;
        for (file, certificate) in [(&layout.root, &root), (&layout.intermediate, &intermediate)] {
            let facts = pem::facts(file, certificate)?;
            if facts.zones != [zone.as_str()] {
                let found = if facts.zones.is_empty() { "any name".into() } else { facts.zones.join(", ") };
                return Err(CaError::OtherZone { dir: layout.dir.clone(), found, wanted: zone.clone() });
            }
            if facts.ends < now {
                return Err(CaError::CaEnded { file: file.clone(), at: facts.ends, dir: layout.dir.clone() });
            }
            ends = ends.min(facts.ends);
        }
        let key = files::read_secret(&layout.intermediate_key, true)?;
        let key = KeyPair::from_pem(&key).map_err(|error| CaError::Malformed {
            file: layout.intermediate_key.clone(),
            reason: format!("no private key in PEM: {error}"),
        })?;
        let issuer = Issuer::from_ca_cert_der(&intermediate, key)?;
        let ca = Self { zone: zone.clone(), root, intermediate, issuer, ends };
        ca.prove(now).map_err(|reason| CaError::Mixed { dir: layout.dir.clone(), reason })?;
        Ok(ca)
    }

    /// Issues a certificate for one name in the zone: with the intermediate, ready to be served. About 50 us.
    pub fn leaf(&self, name: &str, now: Timestamp) -> Result<Arc<CertifiedKey>, CaError> {
        if !self.covers(name) {
            return Err(CaError::OutsideZone { name: name.to_owned(), zone: self.zone.clone() });
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = mint::leaf(name, now, self.ends)?.signed_by(&key, &self.issuer)?;
        let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf.into(), self.intermediate.clone()], key)))
    }

    /// Whether a name is in the zone.
    pub fn covers(&self, name: &str) -> bool {
        let zone = self.zone.as_str();
        name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The root certificate, which devices trust.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Issues a leaf and verifies it as a device that trusts the root would.
    fn prove(&self, now: Timestamp) -> Result<(), String> {
        let name = self.zone.name("gate");
        let leaf = self.leaf(&name, now).map_err(|error| error.to_string())?;
        let anchor = webpki::anchor_from_trusted_cert(&self.root).map_err(|error| error.to_string())?;
        let leaf = webpki::EndEntityCert::try_from(&leaf.cert[0]).map_err(|error| error.to_string())?;
        let seconds = now.as_second().try_into().unwrap_or_default();
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            std::slice::from_ref(&self.intermediate),
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| error.to_string())?;
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        leaf.verify_is_valid_for_subject_name(&name).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({})", self.zone)
    }
}

fn one(file: &Path) -> Result<CertificateDer<'static>, CaError> {
    Ok(pem::chain(file)?.swap_remove(0))
}

fn create(dir: &Path, zone: &Zone, now: Timestamp) -> Result<(), CaError> {
    let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let root = mint::root(zone, &root_key, now);
    let root_pem = root.self_signed(&root_key)?.pem();
    let root_key_pem = Zeroizing::new(root_key.serialize_pem());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    let intermediate =
        mint::intermediate(zone, &key, now).signed_by(&key, &Issuer::new(root, root_key))?.pem();

    let staged = files::Staged::new(dir)?;
    staged.folder(ROOT_FOLDER)?;
    staged.file(ROOT_KEY, &root_key_pem)?;
    staged.file(ROOT, &root_pem)?;
    staged.file(INTERMEDIATE_KEY, &key_pem)?;
    staged.file(INTERMEDIATE, &intermediate)?;
    // If another process was first, its CA is as good as this one.
    staged.publish().map(drop)
}

#[cfg(test)]
mod tests;
