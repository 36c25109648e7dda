//! A file whose room on the disk is taken beforehand, so that what must not be lost can be written when there is none left.
//!
//! It has two areas that are written in turn, each time in place and whole: a write that is cut off spoils one, and the other
//! still has what was written before. Its room is taken with bytes that are no zeros, for layers below that keep no room for
//! those (thin volumes, disk images).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::linux::files::keep_in_place;
use crate::store::StoreError;

pub(super) const FILE: &str = "members.reserve";

/// Bytes of one area: a few thousand devices.
const AREA: usize = 512 << 10;
const AREAS: u64 = 2;

const MAGIC: [u8; 8] = *b"ztgheld1";
const NUMBER: usize = MAGIC.len();
const LENGTH: usize = NUMBER + 8;
const SUM: usize = LENGTH + 8;
const BODY: usize = SUM + 32;

const FILLING: u8 = 0xa5;

/// The file, with its room.
#[derive(Debug)]
pub(super) struct Reserve {
    file: File,
    path: PathBuf,
}

/// What was written last, and its number: each is higher than those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub number: u64,
    pub body: Vec<u8>,
}

impl Reserve {
    /// What a folder's reserve holds; `None` if there is none, or nothing was written to it.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Written>, StoreError> {
        let path = folder.join(FILE);
        let mut all = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut all)) {
            Ok(_) => Ok(all.chunks(AREA).filter_map(parse).max_by_key(|written| written.number)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::File { file: path, source }),
        }
    }

    /// Opens the file, and takes whatever room it lacks.
    ///
    /// # Errors
    /// There is not that much room, or no file can be made.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let open = || {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            let (has, wants) = (file.metadata()?.len(), AREA as u64 * AREAS);
            if has == 0 {
                // Where the filesystem knows no such thing it writes in place anyhow, or never does (ZFS).
                let _ = keep_in_place(&file);
            }
            if has < wants {
                let lacks = usize::try_from(wants - has).unwrap_or(AREA);
                let take = file.write_all_at(&vec![FILLING; lacks], has).and_then(|()| file.sync_all());
                take.inspect_err(|_| {
                    // Half of it is of no use here, and may be to others.
                    let _ = file.set_len(has);
                })?;
                File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(StoreError::File { file: path, source }),
        }
    }

    /// Whether an area takes so much.
    pub fn fits(body: &[u8]) -> bool {
        BODY + body.len() <= AREA
    }

    /// Writes in place, and returns once the disk has it.
    ///
    /// # Errors
    /// It is more than an area takes, or the disk is broken, read-only, or writes nothing in place.
    pub fn write(&self, written: &Written) -> Result<(), StoreError> {
        let area = area(written).ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge));
        let place = written.number % AREAS * AREA as u64;
        let write =
            area.and_then(|area| self.file.write_all_at(&area, place)).and_then(|()| self.file.sync_data());
        write.map_err(|source| StoreError::File { file: self.path.clone(), source })
    }
}

fn area(Written { number, body }: &Written) -> Option<Vec<u8>> {
    let mut area = Vec::with_capacity(BODY + body.len());
    area.extend_from_slice(&MAGIC);
    area.extend_from_slice(&number.to_le_bytes());
    area.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let sum = sum(&area[NUMBER..], body);
    area.extend_from_slice(&sum);
    area.extend_from_slice(body);
    (area.len() <= AREA).then_some(area)
}

/// What an area holds; `None` for one that was never written, or not to its end.
fn parse(area: &[u8]) -> Option<Written> {
    let word = |at: usize| Some(u64::from_le_bytes(area.get(at..at + 8)?.try_into().ok()?));
    let (number, length) = (word(NUMBER)?, usize::try_from(word(LENGTH)?).ok()?);
    let body = area.get(BODY..BODY.checked_add(length)?)?;
    let is_whole = area.starts_with(&MAGIC) && area[SUM..BODY] == sum(&area[NUMBER..SUM], body);
    is_whole.then(|| Written { number, body: body.to_vec() })
}

fn sum(head: &[u8], body: &[u8]) -> Vec<u8> {
    digest(&SHA256, &[head, body].concat()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn written(number: u64, body: &str) -> Written {
        Written { number, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn its_room_is_taken_before_anything_is_written_and_stays_as_much() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Reserve::read(folder.path()).unwrap(), None);
        let reserve = Reserve::open(folder.path()).unwrap();
        let room = || reserve.file.metadata().unwrap().blocks() * 512;
        assert!(room() >= (AREA as u64) * AREAS, "{} bytes are not taken", room());
        assert_eq!(Reserve::read(folder.path()).unwrap(), None);
        let before = room();
        for number in 1..4 {
            reserve.write(&written(number, &"x".repeat(AREA - BODY))).unwrap();
        }
        assert_eq!(room(), before);
    }

    #[test]
    fn the_newest_is_read_also_after_it_was_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        for (number, text) in [(1, "a longer one"), (2, "two"), (3, "three"), (8, "eight")] {
            Reserve::open(folder.path()).unwrap().write(&written(number, text)).unwrap();
            assert_eq!(Reserve::read(folder.path()).unwrap(), Some(written(number, text)));
        }
    }

    #[test]
    fn a_write_that_was_cut_off_spoils_nothing_but_itself() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(folder.path()).unwrap();
        reserve.write(&written(1, "the one before")).unwrap();
        let newer = area(&written(2, "the one that is cut off")).unwrap();
        for end in 0..newer.len() {
            reserve.file.write_all_at(&newer[..end], 0).unwrap();
            assert_eq!(Reserve::read(folder.path()).unwrap(), Some(written(1, "the one before")), "at {end}");
        }
        reserve.file.write_all_at(&newer, 0).unwrap();
        assert_eq!(Reserve::read(folder.path()).unwrap().unwrap().number, 2);
    }

    #[test]
    fn more_than_fits_is_refused_and_what_was_there_stands() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(folder.path()).unwrap();
        reserve.write(&written(1, "kept")).unwrap();
        reserve.write(&written(2, &"x".repeat(AREA))).unwrap_err();
        assert_eq!(Reserve::read(folder.path()).unwrap(), Some(written(1, "kept")));
    }

    #[test]
    fn room_that_a_copy_lost_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        Reserve::open(folder.path()).unwrap().write(&written(2, "kept")).unwrap();
        let file = OpenOptions::new().write(true).open(folder.path().join(FILE)).unwrap();
        file.set_len(4096).unwrap();
        Reserve::open(folder.path()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), AREA as u64 * AREAS);
        assert_eq!(Reserve::read(folder.path()).unwrap(), Some(written(2, "kept")));
    }
}
