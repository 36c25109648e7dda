//! Certificates of one's own: for the gateway instead of its CA's, and for services that speak TLS.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A self-signed certificate and its key.
pub struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Pair {
    pub fn new(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Self { certificate: CertificateParams::new(names).unwrap().self_signed(&key).unwrap(), key }
    }

    /// One that begins and ends with these years.
    pub fn lasting(names: &[&str], from: i32, until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// Writes both files.
    pub fn write(&self, folder: &Path) {
        self.write_certificate(folder);
        self.write_key(folder);
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// Writes `certificate.pem`, as a renewal would.
    pub fn write_certificate(&self, folder: &Path) {
        std::fs::write(folder.join("certificate.pem"), self.certificate.pem()).unwrap();
    }

    /// Writes `key.pem`, for nobody else to read.
    pub fn write_key(&self, folder: &Path) {
        let file = folder.join("key.pem");
        std::fs::write(&file, self.key.serialize_pem()).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the file that is kept of an ACME server with that directory, as if this had come from there.
    pub fn write_bundle(&self, folder: &Path, directory: &str) {
        let file = folder.join("state/acme/bundle.pem");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = format!("From: {directory}\n{}{}", self.key.serialize_pem(), self.certificate.pem());
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
