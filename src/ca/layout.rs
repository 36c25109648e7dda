//! Where the files of the CA are.

use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{CaError, files, pem};

/// Where the CA lies in a state folder.
pub(super) struct Layout {
    pub dir: PathBuf,
    pub root: PathBuf,
    pub root_key: PathBuf,
    pub issuer: IssuerFiles,
}

/// Where the intermediate lies.
pub(super) enum IssuerFiles {
    /// Key and certificate in one file, so that one step puts both in place.
    Together(PathBuf),
    /// As the first versions made them, until the first rotation.
    Apart { certificate: PathBuf, key: PathBuf },
}

/// In a folder of its own, so that it can be taken off the machine.
pub(super) const ROOT_FOLDER: &str = "root";
pub(super) const ROOT_KEY: &str = "root/root.key";
pub(super) const ROOT: &str = "root.pem";
pub(super) const ISSUER: &str = "intermediate-and-key.pem";
const OLD_CERTIFICATE: &str = "intermediate.pem";
const OLD_KEY: &str = "intermediate.key";

/// The file that changes when the intermediate is rotated, for whoever watches it.
pub fn issuer_file(state_dir: &Path) -> PathBuf {
    state_dir.join("certs").join(ISSUER)
}

impl Layout {
    pub fn of(state_dir: &Path) -> Result<Self, CaError> {
        let dir = state_dir.join("certs");
        let [issuer, certificate, key] = [ISSUER, OLD_CERTIFICATE, OLD_KEY].map(|name| dir.join(name));
        let old = !files::exists(&issuer)? && (files::exists(&certificate)? || files::exists(&key)?);
        Ok(Self {
            root: dir.join(ROOT),
            root_key: dir.join(ROOT_KEY),
            issuer: if old { IssuerFiles::Apart { certificate, key } } else { IssuerFiles::Together(issuer) },
            dir,
        })
    }

    /// Puts another intermediate in place of the one that is there. A crash leaves the old one or the new one, whole.
    pub fn put(&self, certificate: &str, key: &str) -> Result<(), CaError> {
        let together = Zeroizing::new(format!("{key}{certificate}"));
        files::replace(&self.dir.join(ISSUER), &together)?;
        // Nothing looks at these any more, but what was rotated out may have been stolen.
        files::remove(&self.dir.join(OLD_KEY))?;
        files::remove(&self.dir.join(OLD_CERTIFICATE))
    }
}

impl IssuerFiles {
    /// The file with the certificate.
    pub fn certificate(&self) -> &Path {
        let (Self::Together(file) | Self::Apart { certificate: file, .. }) = self;
        file
    }

    /// The file with the key.
    pub fn key(&self) -> &Path {
        let (Self::Together(file) | Self::Apart { key: file, .. }) = self;
        file
    }

    /// Both, from one look at the disk.
    pub fn read(&self) -> Result<(CertificateDer<'static>, KeyPair), CaError> {
        let secret = files::read_secret(self.key(), true)?;
        let mut chain = match self {
            Self::Together(file) => pem::chain_in(file, &secret)?,
            Self::Apart { certificate, .. } => pem::chain(certificate)?,
        };
        let key = KeyPair::from_pem(&secret).map_err(|error| CaError::Malformed {
            file: self.key().to_owned(),
            reason: format!("no private key in PEM: {error}"),
        })?;
        Ok((chain.swap_remove(0), key))
    }
}

/// Where the files of the CA in a state folder are, if it has one.
pub(super) fn existing(state_dir: &Path) -> Result<Layout, CaError> {
    let layout = Layout::of(state_dir)?;
    if files::is_vacant(&layout.dir)? { Err(CaError::None { dir: layout.dir }) } else { Ok(layout) }
}
