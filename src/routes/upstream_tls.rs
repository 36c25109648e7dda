//! How an `https://` upstream proves itself: by a certificate that a root vouches for, or by one pinned key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::{Upstream, UpstreamHost, UpstreamTls};

/// What dialling an upstream over TLS needs, made ahead.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// Why an upstream's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    #[error("{}: {why}; it should be the CA's certificate as PEM", file.display())]
    Ca { file: PathBuf, why: String },
    #[error("{0} is no name that a certificate could be for; pin its key instead")]
    Name(String),
    #[error("this machine has no root certificates; install ca-certificates, or name a ca or a pin")]
    NoRoots,
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

impl ClientTls {
    pub fn new(upstream: &Upstream) -> Result<Option<Self>, UpstreamTlsError> {
        let Some(tls) = &upstream.tls else { return Ok(None) };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let mut config = match tls {
            UpstreamTls::Verified { ca } => {
                let roots = match ca {
                    Some(file) => Arc::new(roots_of(file)?),
                    None => system_roots()?,
                };
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_webpki_verifier(verifier).with_no_client_auth()
            }
            UpstreamTls::Pinned(pin) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { pin: *pin, provider }))
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = match &upstream.host {
            UpstreamHost::Address(ip) => ServerName::from(*ip),
            UpstreamHost::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| UpstreamTlsError::Name(name.clone()))?
            }
            // It has no certificate of that name; a pin does not look at names.
            UpstreamHost::WindowsHost => ServerName::try_from("windows-host")
                .map_err(|_| UpstreamTlsError::Name("windows-host".to_owned()))?,
        };
        Ok(Some(Self { config: Arc::new(config), name }))
    }
}

fn system_roots() -> Result<Arc<RootCertStore>, UpstreamTlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() { Err(UpstreamTlsError::NoRoots) } else { Ok(roots.clone()) }
}

fn roots_of(file: &Path) -> Result<RootCertStore, UpstreamTlsError> {
    let wrong = |why: String| UpstreamTlsError::Ca { file: file.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// Accepts exactly one public key, whatever certificate carries it.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (as in RFC 7469, section 2.4).
pub fn key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let hash = digest::digest(&digest::SHA256, parsed.subject_public_key_info().as_ref());
    hash.as_ref().try_into().ok()
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if key_hash(certificate) == Some(self.pin) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("its public key is not the pinned one".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
