//! `STATE_DIR/publish.json`: what we published, so that nothing else is ever touched. And the lock that lets one at a time,
//! the gateway or the command, change it and the server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::linux::files;
use crate::nameserver::Data;

use super::plan::Line;

/// What we published, for each server and zone: a server that the configuration no longer names keeps its records, and what
/// is known of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    at: BTreeMap<String, BTreeMap<String, BTreeSet<IpAddr>>>,
}

impl Book {
    /// None is there before anything was published.
    pub fn read(state_dir: &Path) -> std::io::Result<Self> {
        let Some(text) = files::read_own(&file(state_dir))? else { return Ok(Self::default()) };
        serde_json::from_str(&text).map_err(std::io::Error::from)
    }

    pub fn write(&self, state_dir: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        // Whoever asks the name server may know it, too.
        files::replace(&file(state_dir), &text, 0o644)
    }

    pub fn lines(&self, server: &str) -> BTreeSet<Line> {
        let names = self.at.get(server).into_iter().flatten();
        let line = |name: &String, address: &IpAddr| {
            let data = Data::from(*address);
            Line { name: name.clone(), kind: data.kind(), data }
        };
        names.flat_map(|(name, addresses)| addresses.iter().map(move |address| line(name, address))).collect()
    }

    pub fn set(&mut self, server: &str, lines: &BTreeSet<Line>) {
        let mut names: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for line in lines {
            let address = match line.data {
                Data::A(v4) => v4.into(),
                Data::Aaaa(v6) => v6.into(),
                Data::Txt(_) => continue,
            };
            names.entry(line.name.clone()).or_default().insert(address);
        }
        if names.is_empty() {
            self.at.remove(server);
        } else {
            self.at.insert(server.to_owned(), names);
        }
    }
}

pub(super) fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("publish.json")
}

/// Held while records are compared and changed; the kernel lets go of it however the process ends.
pub(super) fn lock(state_dir: &Path) -> std::io::Result<Option<File>> {
    let lock = files::lockable(&state_dir.join("publish.lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nameserver::Kind;

    #[test]
    fn what_was_published_is_known_again_and_each_server_s_apart() {
        let dir = tempfile::tempdir().unwrap();
        let line = |name: &str, address: &str| {
            let data = Data::from(address.parse::<IpAddr>().unwrap());
            Line { name: name.into(), kind: data.kind(), data }
        };
        let lines = BTreeSet::from([
            line("wiki.example.org", "10.0.0.1"),
            line("wiki.example.org", "fd00::1"),
            line("gate.example.org", "10.0.0.1"),
        ]);
        let mut book = Book::read(dir.path()).unwrap();
        book.set("ns1 example.org", &lines);
        book.set("ns2 example.org", &BTreeSet::from([line("gate.example.org", "10.0.0.2")]));
        book.write(dir.path()).unwrap();
        let mut book = Book::read(dir.path()).unwrap();
        assert_eq!(book.lines("ns1 example.org"), lines);
        assert_eq!(book.lines("ns2 example.org").iter().filter(|line| line.kind == Kind::A).count(), 1);
        book.set("ns1 example.org", &BTreeSet::new());
        assert!(book.lines("ns1 example.org").is_empty());
        std::fs::write(file(dir.path()), "{").unwrap();
        assert!(Book::read(dir.path()).is_err(), "what cannot be read is not taken for nothing");
    }

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(held.is_some() && lock(dir.path()).unwrap().is_none());
        drop(held);
        assert!(lock(dir.path()).unwrap().is_some());
    }
}
