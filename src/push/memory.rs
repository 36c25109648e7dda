//! What is remembered about the setting: that a person wants it kept, and what was written.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::linux::files;
use crate::zerotier::NetworkDns;

/// In the state folder; only its owner may read it, as all else there.
const FILE: &str = "dns-push.json";

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("{} is not readable ({source}); remove it and type: ztgate dns push", file.display())]
    Shape { file: PathBuf, source: serde_json::Error },
}

/// What is on disk. It says what is being written before the controller is told, so that a kill at any moment leaves
/// nothing at the controller that is not known as ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// A person said yes, and has not taken it back.
    pub kept: bool,
    /// What the controller was told last, as far as it was seen to be taken.
    pub ours: Option<NetworkDns>,
    /// What the controller is being told.
    #[serde(default)]
    pub writing: Option<NetworkDns>,
}

impl Memory {
    /// Whether a value is one that we wrote.
    pub fn owns(&self, found: &NetworkDns) -> bool {
        let mut written = self.ours.iter().chain(&self.writing);
        !found.is_empty() && written.any(|ours| ours.says_same(found))
    }

    /// What to note before the controller, which has `found`, is told `wanted`. Of two values that may be ours only the one
    /// that is there is needed any more: the new one takes the other's place.
    pub fn telling(&self, found: &NetworkDns, wanted: &NetworkDns) -> Self {
        let ours = if self.owns(found) { Some(found.clone()) } else { self.ours.clone() };
        Self { kept: true, ours, writing: Some(wanted.clone()) }
    }

    /// What is known once the controller was seen to have `found`, if that is news: what was being written is there.
    pub fn settled(&self, found: &NetworkDns) -> Option<Self> {
        let is_done = self.writing.as_ref().is_some_and(|writing| writing.says_same(found));
        is_done.then(|| Self { ours: self.writing.clone(), writing: None, ..self.clone() })
    }

    /// # Errors
    /// It is there and cannot be read. That it is not there means that nobody asked.
    pub fn load(state_dir: &Path) -> Result<Self, MemoryError> {
        let file = state_dir.join(FILE);
        match files::read_own(&file) {
            Ok(Some(text)) => {
                serde_json::from_str(&text).map_err(|source| MemoryError::Shape { file, source })
            }
            Ok(None) => Ok(Self::default()),
            Err(source) => Err(MemoryError::File { file, source }),
        }
    }

    /// # Errors
    /// It is not on disk; what was there stays.
    pub fn save(&self, state_dir: &Path) -> Result<(), MemoryError> {
        let file = state_dir.join(FILE);
        let kept = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|text| files::replace(&file, &text, 0o600));
        kept.map_err(|source| MemoryError::File { file, source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_kept_for_us_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Memory::load(folder.path()).unwrap(), Memory::default());
        let home = NetworkDns {
            domain: "home.arpa".to_owned(),
            servers: vec!["10.0.0.1".parse().unwrap()],
            odd: Vec::new(),
        };
        let memory = Memory { kept: true, ours: Some(home), writing: None };
        memory.save(folder.path()).unwrap();
        assert_eq!(Memory::load(folder.path()).unwrap(), memory);
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Memory::load(folder.path()).unwrap_err().to_string().contains("ztgate dns push"));
    }

    fn at(server: &str) -> NetworkDns {
        let servers = vec![server.parse().unwrap()];
        NetworkDns { domain: "home.arpa".to_owned(), servers, odd: Vec::new() }
    }

    /// A kill may come before the controller heard anything, and after it did.
    #[test]
    fn two_kills_in_a_row_leave_nothing_unknown() {
        let (first, second, third) = (at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3"));
        let memory = Memory { kept: true, ours: Some(first.clone()), writing: None };
        for heard in [[true, true], [true, false], [false, true], [false, false]] {
            let (mut memory, mut found) = (memory.clone(), first.clone());
            for (wanted, heard) in [&second, &third].into_iter().zip(heard) {
                memory = memory.telling(&found, wanted);
                if heard {
                    found = wanted.clone();
                }
            }
            assert!(memory.owns(&found), "{heard:?}: {memory:?} and {found}");
        }
    }

    #[test]
    fn what_was_being_written_and_is_there_is_ours() {
        let (old, new) = (at("10.0.0.1"), at("10.0.0.2"));
        let memory = Memory { kept: true, ours: Some(old.clone()), writing: Some(new.clone()) };
        let settled = Memory { kept: true, ours: Some(new.clone()), writing: None };
        assert_eq!(memory.settled(&new), Some(settled.clone()));
        // It may still be on its way there.
        assert_eq!(memory.settled(&old), None);
        assert_eq!(settled.settled(&new), None);
    }

    #[test]
    fn nothing_is_nobodys() {
        let none = NetworkDns::default();
        assert!(!Memory { kept: true, ours: Some(none.clone()), writing: None }.owns(&none));
    }
}
