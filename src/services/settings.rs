//! What a configuration may say about a service by the keys of its kind's own.

use std::path::PathBuf;
use std::sync::Arc;

use super::Folder;
use crate::linux::secret::Secret;

/// One key of a kind's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
}

/// What a key's value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Flag,
    /// A number of bytes, also with `K` or `M` for 1024 and 1024².
    Size,
    /// The path of a file with one line that nobody else may read.
    Secret,
    /// The path of a folder whose files are shown as they are.
    Folder,
    /// Paths on the service's own machine, by names of one's choice: `{ films = "/srv/films" }`.
    Places,
}

/// The value of a [`Key`], secrets and folders read.
#[derive(Clone, Debug)]
pub enum Setting {
    Flag(bool),
    Size(u64),
    Secret(Arc<Secret>),
    Folder(Arc<Folder>),
    Places(Vec<(String, PathBuf)>),
}

/// What is said about one service by the keys of its kind.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<(&'static str, Setting)>);

/// A setting that its kind cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct SettingError {
    pub key: &'static str,
    pub why: String,
}

impl FromIterator<(&'static str, Setting)> for Settings {
    fn from_iter<I: IntoIterator<Item = (&'static str, Setting)>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}

impl Settings {
    fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, setting)| setting)
    }

    /// A flag; `false` unless said.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Setting::Flag(true)))
    }

    pub fn size(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Setting::Size(size)) => Some(*size),
            _ => None,
        }
    }

    pub fn secret(&self, key: &str) -> Option<Arc<Secret>> {
        match self.get(key) {
            Some(Setting::Secret(secret)) => Some(secret.clone()),
            _ => None,
        }
    }

    pub fn folder(&self, key: &str) -> Option<Arc<Folder>> {
        match self.get(key) {
            Some(Setting::Folder(folder)) => Some(folder.clone()),
            _ => None,
        }
    }

    pub fn places(&self, key: &str) -> &[(String, PathBuf)] {
        match self.get(key) {
            Some(Setting::Places(places)) => places,
            _ => &[],
        }
    }
}
