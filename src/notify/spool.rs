//! What waits for one receiver, on disk: a small file for each delivery, there from before its first try until it arrived.
//!
//! Files hold the event and nothing else, no secret and no address of a receiver. Their names are numbers, in order.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Event;

/// An event is under 2 KiB.
const LONGEST: u64 = 64 * 1024;

/// A file still being written. A crash leaves one behind.
const PARTIAL: &str = "partial";
/// A file that could not be read. Kept for whoever wants to know why.
const BROKEN: &str = "broken";

#[derive(Clone, Debug)]
pub(super) struct Spool {
    folder: PathBuf,
}

/// What was on disk.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In order.
    pub events: Vec<(u64, Event)>,
    /// Files that could not be read and were put aside.
    pub broken: usize,
}

impl Spool {
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// What waits. Blocks.
    ///
    /// # Errors
    /// The folder cannot be made or listed. A file that cannot be read is none: it is put aside.
    pub fn load(&self) -> io::Result<Found> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut found = Found::default();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == PARTIAL) {
                std::fs::remove_file(&path)?;
            } else if path.extension().is_some_and(|end| end == "json") {
                match number(&path).zip(read(&path)) {
                    Some(delivery) => found.events.push(delivery),
                    None => {
                        found.broken += 1;
                        // Where even that fails, it stays and is told of again.
                        let _ = std::fs::rename(&path, path.with_extension(BROKEN));
                    }
                }
            }
        }
        found.events.sort_by_key(|(number, _)| *number);
        Ok(found)
    }

    /// Keeps an event; on return it is on disk, whole. Blocks.
    pub fn put(&self, number: u64, event: &Event) -> io::Result<()> {
        let (file, partial) = (self.file(number, "json"), self.file(number, PARTIAL));
        let text = serde_json::to_vec(event)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let written = options.open(&partial).and_then(|mut to| {
            to.write_all(&text)?;
            to.sync_all()
        });
        let named = written.and_then(|()| std::fs::rename(&partial, &file));
        if named.is_err() {
            // A full disk: leave nothing of ours on it.
            let _ = std::fs::remove_file(&partial);
        }
        named.and_then(|()| File::open(&self.folder)?.sync_all())
    }

    /// Forgets some. One that is not there is forgotten. Blocks.
    pub fn remove(&self, numbers: &[u64]) -> io::Result<()> {
        for number in numbers {
            match std::fs::remove_file(self.file(*number, "json")) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, number: u64, end: &str) -> PathBuf {
        self.folder.join(format!("{number:020}.{end}"))
    }
}

/// Half of all numbers, so that counting on from one that somebody made up never comes to an end.
fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok().filter(|number| *number <= u64::MAX / 2)
}

fn read(path: &Path) -> Option<Event> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::What;
    use super::*;

    fn event() -> Event {
        let time = "2026-11-23T18:00:00Z".parse().unwrap();
        Event::new("5e02d9cb41c0ffee".parse().unwrap(), time, What::ControllerBack)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_put_is_found_in_order_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(&folder.path().join("notify/ntfy"));
        assert!(spool.load().unwrap().events.is_empty());
        let (ten, nine) = (event(), event());
        spool.put(10, &ten).unwrap();
        spool.put(9, &nine).unwrap();
        assert_eq!(spool.load().unwrap().events, [(9, nine), (10, ten.clone())]);
        let mode = std::fs::metadata(spool.file(9, "json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        spool.remove(&[9, 11]).unwrap();
        assert_eq!(spool.load().unwrap().events, [(10, ten)]);
    }

    #[test]
    fn broken_files_are_put_aside_and_half_ones_removed() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path());
        spool.put(1, &event()).unwrap();
        std::os::unix::fs::symlink(spool.file(1, "json"), spool.file(5, "json")).unwrap();
        let good = std::fs::read(spool.file(1, "json")).unwrap();
        for (name, text) in [
            ("00000000000000000002.json", &good[..good.len() / 2]),
            ("00000000000000000003.json", b""),
            ("four.json", &good),
            ("18446744073709551615.json", &good),
            ("00000000000000000006.partial", &good),
            ("notes.txt", b"a person's"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let found = spool.load().unwrap();
        assert_eq!((found.events.len(), found.broken), (1, 5));
        assert_eq!(
            names(folder.path()),
            [
                "00000000000000000001.json",
                "00000000000000000002.broken",
                "00000000000000000003.broken",
                "00000000000000000005.broken",
                "18446744073709551615.broken",
                "four.broken",
                "notes.txt"
            ]
        );
        assert_eq!(spool.load().unwrap().broken, 0, "it is told once");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path());
        std::fs::create_dir(spool.file(7, "json")).unwrap();
        assert!(spool.put(7, &event()).is_err(), "a folder is in its place");
        assert_eq!(names(folder.path()), ["00000000000000000007.json"]);
    }
}
