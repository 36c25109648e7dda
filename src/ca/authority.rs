//! The private CA on disk: made whole at the first start, then opened without the root's key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::Zeroizing;

use super::layout::{ISSUER, Layout, ROOT, ROOT_FOLDER, ROOT_KEY, existing};
use super::mint::Span;
use super::{CaError, files, mint, pem};
use crate::model::Zone;

/// The intermediate, which signs leaves for names in the zone. The root signs nothing but the intermediate.
pub struct Ca {
    zone: Zone,
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    begins: Timestamp,
    ends: Timestamp,
    root_ends: Timestamp,
    layout: Layout,
}

impl Ca {
    /// Opens the CA in `STATE_DIR/certs`; makes it there if there is none yet.
    ///
    /// An existing root's key is never opened, so that it may be kept elsewhere. One that has ended is opened all the same
    /// ([`Ca::void`] tells): plain HTTP, and whoever clicks through a warning, need a gateway that runs.
    ///
    /// # Errors
    /// A CA for another zone, one with a file missing, or files that others can read or that do not belong together:
    /// nothing is mended silently, because a new root would have to be trusted anew on each device.
    pub fn open_or_create(state_dir: &Path, zone: &Zone, now: Timestamp) -> Result<Self, CaError> {
        let dir = state_dir.join("certs");
        if files::is_vacant(&dir)? {
            if now < mint::EARLIEST {
                return Err(CaError::Clock { now });
            }
            create(&dir, zone, now)?;
        }
        Self::open(Layout::of(state_dir)?, zone, now)
    }

    /// Opens the CA in `STATE_DIR/certs` anew, as after a rotation.
    ///
    /// # Errors
    /// As by [`Ca::open_or_create`]; there is none; or it is void by that clock.
    pub fn reopen(state_dir: &Path, zone: &Zone, now: Timestamp) -> Result<Self, CaError> {
        let ca = Self::open(existing(state_dir)?, zone, now)?;
        ca.void(now).map_or(Ok(ca), Err)
    }

    pub(super) fn open(layout: Layout, zone: &Zone, now: Timestamp) -> Result<Self, CaError> {
        for file in [&layout.root, layout.issuer.certificate(), layout.issuer.key()] {
            if !files::exists(file)? {
                return Err(CaError::Missing { file: file.to_owned(), dir: layout.dir.clone() });
            }
        }
        let issuer = layout.issuer.read()?;
        Self::assembled(layout, issuer, zone, now)
    }

    /// The root on disk with an intermediate that need not be there yet; proved to belong together.
    pub(super) fn assembled(
        layout: Layout,
        (intermediate, key): (CertificateDer<'static>, KeyPair),
        zone: &Zone,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let root = pem::chain(&layout.root)?.swap_remove(0);
        let (begins, root_ends) = judge(&layout, &layout.root, &root, zone)?;
        let (began, ends) = judge(&layout, layout.issuer.certificate(), &intermediate, zone)?;
        let (begins, ends) = (begins.max(began), ends.min(root_ends));
        let issuer = Issuer::from_ca_cert_der(&intermediate, key)?;
        let ca = Self { zone: zone.clone(), root, intermediate, issuer, begins, ends, root_ends, layout };
        // Whether they belong together is not the clock's to say.
        ca.prove(now.clamp(ca.begins, ca.ends.max(ca.begins)))
            .map_err(|reason| CaError::Mixed { dir: ca.layout.dir.clone(), reason })?;
        Ok(ca)
    }

    /// Why no device believes it at this time, if none does.
    pub fn void(&self, now: Timestamp) -> Option<CaError> {
        let Layout { dir, root, issuer, .. } = &self.layout;
        let file = issuer.certificate().to_owned();
        if now < self.begins {
            Some(CaError::NotYet { file, at: self.begins })
        } else if now > self.root_ends {
            Some(CaError::CaEnded { file: root.clone(), at: self.root_ends, dir: dir.clone() })
        } else {
            (now > self.ends).then_some(CaError::IntermediateEnded { file, at: self.ends })
        }
    }

    /// Issues a certificate for one name in the zone: with the intermediate, ready to be served. About 50 us.
    pub fn leaf(&self, name: &str, at: impl Into<Span>) -> Result<Arc<CertifiedKey>, CaError> {
        if !self.covers(name) {
            return Err(CaError::OutsideZone { name: name.to_owned(), zone: self.zone.clone() });
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = mint::leaf(name, at.into(), self.ends)?.signed_by(&key, &self.issuer)?;
        let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf.into(), self.intermediate.clone()], key)))
    }

    /// That span, as far as it is in the CA's own time.
    pub(super) fn clamped(&self, span: Span) -> Span {
        span.within(self.begins, self.ends)
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

    /// The certificate that signs leaves now.
    pub fn intermediate(&self) -> &CertificateDer<'static> {
        &self.intermediate
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// When the intermediate ends, and with it every leaf.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    pub fn root_ends(&self) -> Timestamp {
        self.root_ends
    }

    /// Issues a leaf and verifies it as a device that trusts the root would.
    fn prove(&self, now: Timestamp) -> Result<(), String> {
        let name = self.zone.name("gate");
        let leaf = self.leaf(&name, now).map_err(|error| error.to_string())?;
        let subject = ServerName::try_from(name).map_err(|error| error.to_string())?;
        self.believed(&leaf.cert[0], &subject, now).map_err(|error| error.to_string())
    }

    /// Whether devices that trust the root would believe what a thief of the key signed for this name or address. Nothing
    /// that is signed here leaves the function.
    pub(super) fn would_vouch_for(&self, name: &str, now: Timestamp) -> bool {
        let forge = || -> Result<bool, CaError> {
            let leaf = mint::leaf(name, now.into(), self.ends)?
                .signed_by(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, &self.issuer)?;
            let Ok(subject) = ServerName::try_from(name.to_owned()) else { return Ok(false) };
            Ok(self.believed(leaf.der(), &subject, now).is_ok())
        };
        // What cannot even be made is no danger.
        forge().unwrap_or(false)
    }

    /// Verifies a leaf as a device that trusts the root and nothing else.
    fn believed(
        &self,
        leaf: &CertificateDer<'_>,
        subject: &ServerName<'_>,
        now: Timestamp,
    ) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(&self.root)?;
        let leaf = webpki::EndEntityCert::try_from(leaf)?;
        let seconds = now.as_second().try_into().unwrap_or_default();
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            std::slice::from_ref(&self.intermediate),
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )?;
        leaf.verify_is_valid_for_subject_name(subject)
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({})", self.zone)
    }
}

/// When a CA's certificate begins and ends, if it is one for that zone.
fn judge(
    layout: &Layout,
    file: &Path,
    certificate: &CertificateDer<'_>,
    zone: &Zone,
) -> Result<(Timestamp, Timestamp), CaError> {
    let facts = pem::facts(file, certificate)?;
    if facts.zones != [zone.as_str()] {
        let found = if facts.zones.is_empty() { "any name".into() } else { facts.zones.join(", ") };
        return Err(CaError::OtherZone { dir: layout.dir.clone(), found, wanted: zone.clone() });
    }
    Ok((facts.begins, facts.ends))
}

fn create(dir: &Path, zone: &Zone, now: Timestamp) -> Result<(), CaError> {
    let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let root_key_pem = Zeroizing::new(root_key.serialize_pem());
    let root = mint::root(zone, &root_key, now).self_signed(&root_key)?;
    let root_ends = pem::facts(&dir.join(ROOT), root.der())?.ends;
    let (certificate, key) =
        make_intermediate(zone, &Issuer::from_ca_cert_der(root.der(), root_key)?, root_ends, now)?;

    let staged = files::Staged::new(dir)?;
    staged.folder(ROOT_FOLDER)?;
    staged.file(ROOT_KEY, &root_key_pem)?;
    staged.file(ROOT, &root.pem())?;
    staged.file(ISSUER, &Zeroizing::new(format!("{}{certificate}", &*key)))?;
    // If another process was first, its CA is as good as this one.
    staged.publish().map(drop)
}

/// A new intermediate: its certificate and its key, in PEM.
pub(super) fn make_intermediate(
    zone: &Zone,
    root: &Issuer<'_, KeyPair>,
    root_ends: Timestamp,
    now: Timestamp,
) -> Result<(String, Zeroizing<String>), CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = mint::intermediate(zone, &key, now, root_ends).signed_by(&key, root)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

#[cfg(test)]
mod tests;
