//! The root's key, which can be kept away from the machine: read, encrypted, copied out and checked.
//!
//! Encrypted it is PKCS #8 with PBES2 (RFC 8018), which `openssl pkey` reads too: whoever finds the stick in ten years needs
//! no ztgate to use it.

use std::path::{Path, PathBuf};

use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument};
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use zeroize::Zeroizing;

use super::layout::{Layout, existing};
use super::{CaError, files, pem};

/// scrypt's cost: 16 MiB for each of five passes, a third of a second. OpenSSL takes no more memory than 32 MiB from a key
/// file (EVP_PBE_scrypt(3)), so more work is in the passes.
const LOG_N: u8 = 14;
const BLOCK: u32 = 8;
const PASSES: u32 = 5;

/// A passphrase shorter than this is found by trying.
pub const SHORTEST_PASSPHRASE: usize = 12;

/// The file of a root's key, encrypted or not.
pub enum RootKeyFile {
    Open(RootKey),
    /// It takes its passphrase.
    Locked(LockedKey),
}

/// The root's key, proved to be the one of the root certificate beside it.
pub struct RootKey {
    pub(super) key: KeyPair,
    pub(super) root: CertificateDer<'static>,
    der: SecretDocument,
}

/// A root's key that is encrypted.
pub struct LockedKey {
    file: PathBuf,
    der: SecretDocument,
    root: (PathBuf, CertificateDer<'static>),
}

impl RootKeyFile {
    /// Where the key of the CA in a state folder lies, unless it was taken away.
    ///
    /// # Errors
    /// There is no CA.
    pub fn usual(state_dir: &Path) -> Result<PathBuf, CaError> {
        Ok(existing(state_dir)?.root_key)
    }

    /// Reads the key of the CA in a state folder, from its usual place or another.
    ///
    /// # Errors
    /// It is not there, others can read it, it is no key, or one of another root.
    pub fn read(state_dir: &Path, elsewhere: Option<&Path>) -> Result<Self, CaError> {
        let layout = existing(state_dir)?;
        let file = elsewhere.unwrap_or(&layout.root_key).to_owned();
        if !files::exists(&file)? {
            return Err(CaError::NoRootKey { file });
        }
        // A stick's file system may know neither users nor modes; there, encryption is what keeps the key.
        let (text, exposed) = match files::read_secret(&file, elsewhere.is_none()) {
            Ok(text) => (text, None),
            Err(why @ (CaError::Exposed { .. } | CaError::ForeignOwner { .. })) if elsewhere.is_some() => {
                (Zeroizing::new(files::read(&file)?), Some(why))
            }
            Err(why) => return Err(why),
        };
        let malformed = |reason: String| CaError::Malformed { file: file.clone(), reason };
        let (label, der) = SecretDocument::from_pem(&text)
            .map_err(|error| malformed(format!("no private key in PEM: {error}")))?;
        let root = (layout.root.clone(), pem::chain(&layout.root)?.swap_remove(0));
        match (label, exposed) {
            ("PRIVATE KEY", None) => Ok(Self::Open(RootKey::new(&file, der, root)?)),
            ("PRIVATE KEY", Some(why)) => Err(why),
            ("ENCRYPTED PRIVATE KEY", _) => Ok(Self::Locked(LockedKey { file, der, root })),
            (other, _) => Err(malformed(format!("expected a private key (PKCS #8), found {other:?}"))),
        }
    }

    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }
}

impl LockedKey {
    /// # Errors
    /// The passphrase is another one, the encryption unknown, or the key another root's.
    pub fn unlock(self, passphrase: &str) -> Result<RootKey, CaError> {
        let malformed = |reason: String| CaError::Malformed { file: self.file.clone(), reason };
        let locked = EncryptedPrivateKeyInfo::try_from(self.der.as_bytes())
            .map_err(|error| malformed(format!("no encrypted key: {error}")))?;
        let der = locked.decrypt(passphrase).map_err(|error| match error {
            // Wrong padding, or bytes that are no key: what another passphrase leads to.
            pkcs8::Error::EncryptedPrivateKey(
                pkcs8::pkcs5::Error::DecryptFailed | pkcs8::pkcs5::Error::EncryptFailed,
            )
            | pkcs8::Error::Asn1(_)
            | pkcs8::Error::KeyMalformed => CaError::WrongPassphrase { file: self.file.clone() },
            other => malformed(format!("cannot be decrypted: {other}")),
        })?;
        RootKey::new(&self.file, der, self.root)
    }
}

impl RootKey {
    fn new(
        file: &Path,
        der: SecretDocument,
        (at, root): (PathBuf, CertificateDer<'static>),
    ) -> Result<Self, CaError> {
        let pem = der
            .to_pem("PRIVATE KEY", LineEnding::LF)
            .map_err(|error| CaError::Malformed { file: file.to_owned(), reason: error.to_string() })?;
        let key = KeyPair::from_pem(&pem).map_err(|error| CaError::Malformed {
            file: file.to_owned(),
            reason: format!("no key of this CA: {error}"),
        })?;
        if key.subject_public_key_info() != pem::facts(&at, &root)?.public_key {
            return Err(CaError::OtherRoot { file: file.to_owned(), root: at });
        }
        Ok(Self { key, root, der })
    }

    /// Copies the key out, encrypted, to a file that is not there yet, and reads it back from there.
    ///
    /// # Errors
    /// The file is there, cannot be written, or does not read back; it is then removed again.
    pub fn export(&self, state_dir: &Path, file: &Path, passphrase: &str) -> Result<(), CaError> {
        files::write_new(file, &self.locked(passphrase)?)?;
        read_back(state_dir, file, passphrase).inspect_err(|_| {
            // It was not there before; what stays is no copy, and looks like one.
            let _ = std::fs::remove_file(file);
        })
    }

    /// Encrypts the key where it lies.
    ///
    /// # Errors
    /// It cannot be written. Whatever happens, one whole key is there: as it was, or encrypted.
    pub fn encrypt_in_place(&self, state_dir: &Path, passphrase: &str) -> Result<PathBuf, CaError> {
        let file = existing(state_dir)?.root_key;
        files::replace(&file, &self.locked(passphrase)?)?;
        read_back(state_dir, &file, passphrase)?;
        Ok(file)
    }

    fn locked(&self, passphrase: &str) -> Result<Zeroizing<String>, CaError> {
        let [mut salt, mut iv] = [[0; 16]; 2];
        for bytes in [&mut salt, &mut iv] {
            aws_lc_rs::rand::fill(bytes).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        }
        let encrypted = || -> Result<_, pkcs8::Error> {
            let cost = scrypt::Params::new(LOG_N, BLOCK, PASSES, scrypt::Params::RECOMMENDED_LEN)
                .map_err(|_| pkcs8::Error::ParametersMalformed)?;
            let scheme = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv)?;
            let key = PrivateKeyInfo::try_from(self.der.as_bytes())?;
            Ok(key
                .encrypt_with_params(scheme, passphrase)?
                .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?)
        };
        encrypted().map_err(CaError::Encryption)
    }

    pub(super) fn issuer(self) -> Result<Issuer<'static, KeyPair>, CaError> {
        Ok(Issuer::from_ca_cert_der(&self.root, self.key)?)
    }
}

/// Removes the key from its usual place, if the file that it was exported to opens by that passphrase.
///
/// # Errors
/// The exported file does not open, or the key cannot be removed.
pub fn remove_local(state_dir: &Path, exported: &Path, passphrase: &str) -> Result<PathBuf, CaError> {
    let file = RootKeyFile::usual(state_dir)?;
    read_back(state_dir, exported, passphrase)?;
    files::remove(&file)?;
    Ok(file)
}

/// The passphrase in a private file: its first line.
///
/// # Errors
/// The file cannot be read, or others can read it.
pub fn passphrase_in(file: &Path) -> Result<Zeroizing<String>, CaError> {
    let mut text = files::read_secret(file, false)?;
    let line = text.lines().next().map_or(0, str::len);
    text.truncate(line);
    Ok(text)
}

/// How the root's key lies in a state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    Elsewhere,
    Encrypted,
    Plain,
}

impl Kept {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Elsewhere => "not on this machine",
            Self::Encrypted => "on this machine, encrypted",
            Self::Plain => {
                "on this machine, unencrypted; better elsewhere: ztgate certs root-key export FILE --remove"
            }
        }
    }
}

pub(super) fn kept(layout: &Layout) -> Result<Kept, CaError> {
    if !files::exists(&layout.root_key)? {
        return Ok(Kept::Elsewhere);
    }
    let text = files::read_secret(&layout.root_key, true)?;
    let encrypted = text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----");
    Ok(if encrypted { Kept::Encrypted } else { Kept::Plain })
}

/// Proves that a file holds the root's key under that passphrase, from the file alone.
fn read_back(state_dir: &Path, file: &Path, passphrase: &str) -> Result<(), CaError> {
    match RootKeyFile::read(state_dir, Some(file))? {
        RootKeyFile::Locked(key) => key.unlock(passphrase).map(drop),
        RootKeyFile::Open(_) => Err(CaError::NotReadBack { file: file.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::process::Command;

    use super::*;
    use crate::ca::Ca;

    const PASSPHRASE: &str = "correct horse battery";

    fn made() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-11-01T12:00:00Z".parse().unwrap();
        Ca::open_or_create(dir.path(), &"home.arpa".parse().unwrap(), now).unwrap();
        dir
    }

    fn open(state_dir: &Path) -> RootKey {
        match RootKeyFile::read(state_dir, None).unwrap() {
            RootKeyFile::Open(key) => key,
            RootKeyFile::Locked(_) => panic!("it is encrypted"),
        }
    }

    fn unlock(state_dir: &Path, file: Option<&Path>, passphrase: &str) -> Result<RootKey, CaError> {
        match RootKeyFile::read(state_dir, file).unwrap() {
            RootKeyFile::Locked(key) => key.unlock(passphrase),
            RootKeyFile::Open(_) => panic!("it is not encrypted"),
        }
    }

    #[test]
    fn an_exported_key_opens_by_its_passphrase_here_and_in_openssl() {
        let dir = made();
        let file = dir.path().join("stick.key");
        let key = open(dir.path());
        key.export(dir.path(), &file, PASSPHRASE).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let again = unlock(dir.path(), Some(&file), PASSPHRASE).unwrap();
        assert_eq!(again.der.as_bytes(), key.der.as_bytes());
        let wrong = unlock(dir.path(), Some(&file), "incorrect horse").map(drop).unwrap_err();
        assert!(matches!(wrong, CaError::WrongPassphrase { .. }), "{wrong}");

        let there = key.export(dir.path(), &file, PASSPHRASE).unwrap_err().to_string();
        assert!(there.contains("is not overwritten"), "{there}");

        let openssl = |passphrase: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(["pkey", "-noout", "-passin", &format!("pass:{passphrase}"), "-in"]).arg(&file);
            openssl.output().map(|output| output.status.success())
        };
        match (openssl(PASSPHRASE), openssl("incorrect horse")) {
            (Ok(right), Ok(wrong)) => assert!(right && !wrong, "{right} {wrong}"),
            _ => eprintln!("skipped: no openssl on this machine (apt install openssl)"),
        }
    }

    #[test]
    fn a_key_that_openssl_encrypted_is_read_too() {
        let dir = made();
        let (usual, file) = (RootKeyFile::usual(dir.path()).unwrap(), dir.path().join("by-openssl.key"));
        for more in [&["-v2", "aes-256-cbc"][..], &["-scrypt"]] {
            let mut openssl = Command::new("openssl");
            openssl.args(["pkcs8", "-topk8", "-passout", &format!("pass:{PASSPHRASE}")]).args(more);
            openssl.arg("-in").arg(&usual).arg("-out").arg(&file);
            let Ok(output) = openssl.output() else {
                eprintln!("skipped: no openssl on this machine (apt install openssl)");
                return;
            };
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            unlock(dir.path(), Some(&file), PASSPHRASE).unwrap();
        }
    }

    #[test]
    fn encrypted_where_it_lies_the_key_serves_on_and_is_removed_only_for_a_good_copy() {
        let dir = made();
        let file = open(dir.path()).encrypt_in_place(dir.path(), PASSPHRASE).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let key = unlock(dir.path(), None, PASSPHRASE).unwrap();
        let copy = dir.path().join("stick.key");
        key.export(dir.path(), &copy, "another passphrase").unwrap();
        remove_local(dir.path(), &copy, PASSPHRASE).unwrap_err();
        assert!(file.exists(), "the copy does not open by that passphrase");
        remove_local(dir.path(), &copy, "another passphrase").unwrap();
        assert!(!file.exists());
        let gone = RootKeyFile::read(dir.path(), None).map(|_| ()).unwrap_err().to_string();
        assert!(gone.contains("--root-key FILE"), "{gone}");
    }

    #[test]
    fn another_root_s_key_and_an_open_one_for_all_to_read_are_refused() {
        let (dir, other) = (made(), made());
        let foreign = RootKeyFile::usual(other.path()).unwrap();
        let refused = RootKeyFile::read(dir.path(), Some(&foreign)).map(|_| ()).unwrap_err();
        assert!(matches!(refused, CaError::OtherRoot { .. }), "{refused}");

        let stick = dir.path().join("stick.key");
        std::fs::copy(RootKeyFile::usual(dir.path()).unwrap(), &stick).unwrap();
        let open_to_all = || std::fs::set_permissions(&stick, PermissionsExt::from_mode(0o755)).unwrap();
        open_to_all();
        let refused = RootKeyFile::read(dir.path(), Some(&stick)).map(|_| ()).unwrap_err();
        assert!(matches!(refused, CaError::Exposed { .. }), "{refused}");
        // As a stick with FAT shows it.
        std::fs::remove_file(&stick).unwrap();
        open(dir.path()).export(dir.path(), &stick, PASSPHRASE).unwrap();
        open_to_all();
        unlock(dir.path(), Some(&stick), PASSPHRASE).unwrap();
    }
}
