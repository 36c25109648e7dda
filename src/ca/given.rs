//! A certificate from elsewhere, with its key: read from PEM files, and held together before anybody serves it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime};

use super::{CaError, files, pem};

/// One chain for every name, and the key of its first certificate.
pub(super) struct Given {
    /// Where the chain was read.
    pub file: PathBuf,
    pub key: Arc<CertifiedKey>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Given {
    /// From two files, as programs that renew certificates write them.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let chain = pem::chain(certificate)?;
        let secret = files::read_secret(key, false)?;
        Self::of((certificate, chain), (key, &secret))
    }

    /// From one file of our own, which nobody else may read.
    pub fn from_bundle(file: &Path) -> Result<Self, CaError> {
        let secret = files::read_secret(file, true)?;
        let chain = pem::chain_in(file, &secret)?;
        Self::of((file, chain), (file, &secret))
    }

    fn of(
        (certificate, chain): (&Path, Vec<CertificateDer<'static>>),
        (key, secret): (&Path, &str),
    ) -> Result<Self, CaError> {
        let facts = pem::facts(certificate, &chain[0])?;
        let malformed = |reason: String| CaError::Malformed { file: key.to_owned(), reason };
        let private = PrivateKeyDer::from_pem_slice(secret.as_bytes()).map_err(|error| {
            malformed(format!("no private key in PEM ({error}); an encrypted key cannot be used"))
        })?;
        let pair =
            CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    CaError::KeyMismatch { certificate: certificate.to_owned(), key: key.to_owned() }
                }
                other => malformed(other.to_string()),
            })?;
        let file = certificate.to_owned();
        Ok(Self { file, key: Arc::new(pair), begins: facts.begins, ends: facts.ends })
    }

    /// Why no device believes it at this time, if none does.
    pub fn void(&self, now: Timestamp) -> Option<CaError> {
        let file = || self.file.clone();
        if self.ends < now {
            Some(CaError::Ended { file: file(), at: self.ends })
        } else {
            (self.begins > now).then(|| CaError::NotYet { file: file(), at: self.begins })
        }
    }

    /// Whether a device that asks for this name finds it in the certificate.
    pub fn covers(&self, name: &str) -> bool {
        let (Ok(leaf), Ok(name)) = (self.leaf(), ServerName::try_from(name.to_owned())) else { return false };
        leaf.verify_is_valid_for_subject_name(&name).is_ok()
    }

    /// Whether each certificate is signed by the next, at a time when the first is valid. Whether anybody trusts the last one
    /// is for devices to say.
    pub fn linked(&self, now: Timestamp) -> Result<(), CaError> {
        let [_, between @ .., last] = &self.key.cert[..] else { return Ok(()) };
        let leads = || self.leads_to(&[webpki::anchor_from_trusted_cert(last)?], between, now);
        leads().map_err(|error| CaError::Malformed {
            file: self.file.clone(),
            reason: format!("the certificates do not lead from one to the next ({error})"),
        })
    }

    /// Whether a device with these roots believes the chain, at a time when the first certificate is valid.
    pub fn is_trusted_by(&self, roots: &RootCertStore, now: Timestamp) -> bool {
        let between = self.key.cert.get(1..).unwrap_or_default();
        self.leads_to(&roots.roots, between, now).is_ok()
    }

    fn leads_to(
        &self,
        anchors: &[TrustAnchor<'_>],
        between: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), webpki::Error> {
        // Out of its time is said elsewhere, in words of its own.
        let now = now.clamp(self.begins, self.ends.max(self.begins));
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()));
        let (known, server) =
            (default_provider().signature_verification_algorithms.all, webpki::KeyUsage::server_auth());
        self.leaf()?.verify_for_usage(known, anchors, between, time, server, None, None).map(drop)
    }

    fn leaf(&self) -> Result<webpki::EndEntityCert<'_>, webpki::Error> {
        webpki::EndEntityCert::try_from(&self.key.cert[0])
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::ca::Certificates;

    #[test]
    fn pem_files_of_ones_own_are_checked_before_they_are_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            file
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["nas.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = write("fullchain.pem", &params.self_signed(&key).unwrap().pem());
        let right = write("key.pem", &key.serialize_pem());
        let wrong = write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
        let none = write("none.pem", "hello");
        let at = |day: &str| format!("{day}T00:00:00Z").parse::<Timestamp>().unwrap();

        let given = Certificates::from_pem(&certificate, &right, at("2026-06-01")).unwrap();
        assert!(given.covers("nas.example.org") && !given.covers("wiki.example.org"));
        assert_eq!(given.ends(), Some(at("2027-01-01")));

        for (certificate, key, day, part) in [
            (&certificate, &wrong, "2026-06-01", "is not the key of the first certificate"),
            (&certificate, &right, "2028-01-01", "ended at 2027-01-01"),
            (&certificate, &right, "2025-06-01", "check the clock"),
            (&none, &right, "2026-06-01", "-----BEGIN CERTIFICATE-----"),
            (&certificate, &none, "2026-06-01", "no private key"),
            (&dir.path().join("absent"), &right, "2026-06-01", "No such file"),
        ] {
            let error = Certificates::from_pem(certificate, key, at(day)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_bundle_is_whole_private_and_leads_from_one_to_the_next() {
        use std::os::unix::fs::PermissionsExt;

        use rcgen::{BasicConstraints, CertifiedIssuer, IsCa};
        let issuer = || {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (issuer, stranger) = (issuer(), issuer());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["*.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let leaf = params.signed_by(&key, &issuer).unwrap().pem();
        let (secret, chain) = (key.serialize_pem(), issuer.pem());
        let other = KeyPair::generate().unwrap().serialize_pem();

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bundle.pem");
        let read = |text: &str, mode: u32, day: &str| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            Certificates::from_bundle(&file, format!("{day}T00:00:00Z").parse().unwrap())
        };
        let whole = format!("From: https://ca.example/dir\n{secret}{leaf}{chain}");
        let bundle = read(&whole, 0o600, "2026-02-01").unwrap();
        assert!(bundle.covers("wiki.example.org") && !bundle.covers("example.org"));
        assert_eq!(bundle.begins().map(|at| at.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));

        for (text, mode, day, part) in [
            (&whole, 0o640, "2026-02-01", "may be read by others"),
            (&whole, 0o600, "2025-12-31", "check the clock"),
            (&whole, 0o600, "2026-04-02", "ended at 2026-04-01"),
            (
                &format!("{other}{leaf}{chain}"),
                0o600,
                "2026-02-01",
                "is not the key of the first certificate",
            ),
            (
                &format!("{secret}{leaf}{}", stranger.pem()),
                0o600,
                "2026-02-01",
                "do not lead from one to the next",
            ),
            (&secret, 0o600, "2026-02-01", "no certificate in it"),
            (&format!("{leaf}{chain}"), 0o600, "2026-02-01", "no private key"),
            (&whole[..secret.len() + 200].to_owned(), 0o600, "2026-02-01", "no certificate"),
        ] {
            let error = read(text, mode, day).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
