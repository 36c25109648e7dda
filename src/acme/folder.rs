//! `STATE_DIR/acme`: what a crash must not lose. Every file is of mode 0600 and replaced whole.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::linux::files;

use super::AcmeError;
use super::schedule::Past;

/// An order at the server, with the key that its certificate will be for. It is on disk before the server is asked to sign,
/// so that a certificate that was issued is never without its key.
#[derive(Serialize, Deserialize)]
pub(super) struct UnderWay {
    pub directory: String,
    pub names: Vec<String>,
    /// The order's URL.
    pub order: String,
    /// PKCS#8 as PEM.
    #[serde(with = "secret")]
    pub key: Zeroizing<String>,
}

/// A secret as JSON has it.
mod secret {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub fn serialize<S: Serializer>(secret: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

/// A TXT record that proves a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Challenge {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("acme"))
    }

    pub fn make(&self) -> Result<(), AcmeError> {
        files::make_private_folder(&self.0).map_err(|why| AcmeError::File { file: self.0.clone(), why })
    }

    /// The certificate's file: key, then chain.
    pub fn bundle(&self) -> PathBuf {
        self.0.join("bundle.pem")
    }

    /// Where a bundle stands until it is proved.
    pub fn candidate(&self) -> PathBuf {
        self.0.join("bundle.pem.new")
    }

    pub fn read_bundle(&self) -> Result<Option<Zeroizing<String>>, AcmeError> {
        read(&self.bundle())
    }

    /// The proved candidate takes the place of the bundle, on disk when this returns.
    pub fn promote(&self) -> Result<(), AcmeError> {
        let candidate = self.candidate();
        let text = read(&candidate)?.ok_or_else(|| AcmeError::Unreadable {
            file: candidate.clone(),
            why: "it went away".to_owned(),
        })?;
        write(&self.bundle(), text.as_bytes())?;
        remove(&candidate)
    }

    pub fn write_candidate(&self, text: &str) -> Result<(), AcmeError> {
        write(&self.candidate(), text.as_bytes())
    }

    /// The key of the account at a server. Each server has its own, so that going back to one finds the account again.
    pub fn account_key(&self, directory: &str) -> Result<Option<Zeroizing<String>>, AcmeError> {
        read(&self.account(directory))
    }

    pub fn write_account_key(&self, directory: &str, pem: &str) -> Result<(), AcmeError> {
        write(&self.account(directory), pem.as_bytes())
    }

    pub fn account(&self, directory: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let server: String = directory.trim_start_matches("https://").chars().map(plain).collect();
        self.0.join(format!("account-{server}.pem"))
    }

    pub fn order(&self) -> Result<Option<UnderWay>, AcmeError> {
        read_json(&self.0.join("order.json"))
    }

    pub fn write_order(&self, order: &UnderWay) -> Result<(), AcmeError> {
        write_json(&self.0.join("order.json"), order)
    }

    pub fn remove_order(&self) -> Result<(), AcmeError> {
        remove(&self.0.join("order.json"))
    }

    /// The challenges that may stand at the name server.
    pub fn challenges(&self) -> Result<Vec<Challenge>, AcmeError> {
        Ok(read_json(&self.0.join("challenges.json"))?.unwrap_or_default())
    }

    pub fn write_challenges(&self, challenges: &[Challenge]) -> Result<(), AcmeError> {
        let file = self.0.join("challenges.json");
        if challenges.is_empty() { remove(&file) } else { write_json(&file, challenges) }
    }

    pub fn past(&self) -> Result<Past, AcmeError> {
        Ok(read_json(&self.0.join("past.json"))?.unwrap_or_default())
    }

    pub fn write_past(&self, past: &Past) -> Result<(), AcmeError> {
        write_json(&self.0.join("past.json"), past)
    }
}

fn read(file: &Path) -> Result<Option<Zeroizing<String>>, AcmeError> {
    files::read_own(file).map_err(|why| AcmeError::File { file: file.to_owned(), why })
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, AcmeError> {
    let Some(text) = read(file)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| AcmeError::Unreadable {
        file: file.to_owned(),
        // The position alone: the text around it may be a key.
        why: format!("it is not as it was written (line {}, column {})", error.line(), error.column()),
    })
}

fn write(file: &Path, content: &[u8]) -> Result<(), AcmeError> {
    files::replace(file, content, 0o600).map_err(|why| AcmeError::File { file: file.to_owned(), why })
}

fn write_json<T: Serialize + ?Sized>(file: &Path, value: &T) -> Result<(), AcmeError> {
    let text = serde_json::to_vec_pretty(value)
        .map(Zeroizing::new)
        .map_err(|error| AcmeError::Unreadable { file: file.to_owned(), why: error.to_string() })?;
    write(file, &text)
}

fn remove(file: &Path) -> Result<(), AcmeError> {
    files::remove(file).map_err(|why| AcmeError::File { file: file.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_each_server_has_its_account() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(dir.path());
        folder.make().unwrap();
        assert!(folder.order().unwrap().is_none() && folder.challenges().unwrap().is_empty());
        let order = UnderWay {
            directory: "https://ca.example/dir".into(),
            names: vec!["home.example.org".into()],
            order: "https://ca.example/order/1".into(),
            key: Zeroizing::new("key".into()),
        };
        folder.write_order(&order).unwrap();
        assert_eq!(folder.order().unwrap().unwrap().order, order.order);
        folder.write_account_key("https://one.example/dir", "1").unwrap();
        folder.write_account_key("https://two.example/dir", "2").unwrap();
        assert_eq!(folder.account_key("https://one.example/dir").unwrap().unwrap().as_str(), "1");
        let challenges = [Challenge { name: "_acme-challenge.example.org".into(), value: "x".into() }];
        folder.write_challenges(&challenges).unwrap();
        assert_eq!(folder.challenges().unwrap(), challenges);
        folder.write_challenges(&[]).unwrap();
        assert!(folder.challenges().unwrap().is_empty());
        folder.write_candidate("new").unwrap();
        folder.promote().unwrap();
        assert_eq!(folder.read_bundle().unwrap().unwrap().as_str(), "new");
        assert!(!folder.candidate().exists());
    }

    #[test]
    fn a_broken_file_is_named_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(dir.path());
        folder.make().unwrap();
        files::replace(&dir.path().join("acme/order.json"), b"{\"key\": s3cret", 0o600).unwrap();
        let error = folder.order().err().unwrap().to_string();
        assert!(error.contains("order.json") && !error.contains("s3cret"), "{error}");
    }
}
