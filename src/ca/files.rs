//! Private files: written whole or not at all, and read only while they are private.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::CaError;
use crate::linux::limits;

/// Larger than any chain or key in PEM; what is larger is some other file.
const LARGEST: u64 = 1 << 20;

pub(super) fn at(file: &Path) -> impl FnOnce(std::io::Error) -> CaError {
    move |source| CaError::File { file: file.to_owned(), source }
}

/// A folder that takes its name only when everything in it is on disk.
///
/// It is built beside its place under a name of this process's own. A crash leaves that behind; the next one to
/// build removes it.
pub(super) struct Staged {
    at: PathBuf,
    target: PathBuf,
}

impl Staged {
    pub fn new(target: &Path) -> Result<Self, CaError> {
        let parent = target.parent().unwrap_or(Path::new("."));
        let prefix = format!("{}.partial-", target.file_name().unwrap_or_default().to_string_lossy());
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(at(parent))?;
        for entry in std::fs::read_dir(parent).map_err(at(parent))? {
            let entry = entry.map_err(at(parent))?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                std::fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        let staged =
            Self { at: parent.join(format!("{prefix}{}", std::process::id())), target: target.to_owned() };
        staged.folder("")?;
        Ok(staged)
    }

    pub fn folder(&self, name: &str) -> Result<(), CaError> {
        let dir = self.at.join(name);
        DirBuilder::new().mode(0o700).create(&dir).map_err(at(&dir))
    }

    pub fn file(&self, name: &str, content: &str) -> Result<(), CaError> {
        write_new(&self.at.join(name), content)
    }

    /// Gives the folder its name; false if somebody else did so first, and theirs stays.
    pub fn publish(self) -> Result<bool, CaError> {
        sync_folder(&self.at)?;
        match std::fs::rename(&self.at, &self.target) {
            Ok(()) => sync_folder(self.target.parent().unwrap_or(Path::new("."))).map(|()| true),
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                Ok(false)
            }
            Err(error) => Err(at(&self.target)(error)),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After publishing there is nothing of that name; after an error the next start would do it.
        let _ = std::fs::remove_dir_all(&self.at);
    }
}

/// Writes a private file that is not there yet.
///
/// # Errors
/// It is there already, or cannot be written; what was begun is removed again.
pub(super) fn write_new(file: &Path, content: &str) -> Result<(), CaError> {
    write_for(file, content, None)
}

/// The same for an owner: a user and a group.
fn write_for(file: &Path, content: &str, owner: Option<(u32, u32)>) -> Result<(), CaError> {
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    let mut handle = open.open(file).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => CaError::InTheWay { file: file.to_owned() },
        _ => at(file)(source),
    })?;
    let given = owner.map_or(Ok(()), |(user, group)| fchown(&handle, Some(user), Some(group)));
    let written = given.and_then(|()| handle.write_all(content.as_bytes())).and_then(|()| handle.sync_all());
    written.map_err(at(file)).and_then(|()| sync_folder(folder_of(file))).inspect_err(|_| {
        // A full disk leaves half a key, which would be in the way of the next try.
        let _ = std::fs::remove_file(file);
    })
}

/// Puts a private file in the place of another of that name, or of none, in one step. It belongs to whom its folder belongs
/// to: the gateway must be able to read what root wrote for it.
pub(super) fn replace(file: &Path, content: &str) -> Result<(), CaError> {
    let folder = folder_of(file);
    let owner = folder.metadata().map_err(at(folder))?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let draft = folder.join(name);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&draft)(error)),
        _ => {}
    }
    // By the handle, never by the name: whoever owns the folder could put a link there in the meantime.
    let owner = (owner.uid() != limits::user()).then(|| (owner.uid(), owner.gid()));
    write_for(&draft, content, owner)?;
    std::fs::rename(&draft, file).map_err(at(file))?;
    sync_folder(folder)
}

/// Removes a file, if it is there.
pub(super) fn remove(file: &Path) -> Result<(), CaError> {
    match std::fs::remove_file(file) {
        Ok(()) => sync_folder(folder_of(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(file)(error)),
    }
}

pub(super) fn exists(file: &Path) -> Result<bool, CaError> {
    file.try_exists().map_err(at(file))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(dir: &Path) -> Result<(), CaError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

/// Whether there is nothing of that name, or an empty folder, as a package may have made it.
pub(super) fn is_vacant(dir: &Path) -> Result<bool, CaError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(at(dir)(error)),
    }
}

/// Reads a secret: a plain file of ours or root's that others cannot read.
///
/// The group may read it, because that is how systemd hands out credentials and packages share keys; `strict` files,
/// which we wrote ourselves, are ours alone. Root, who looks at the gateway's files, takes those of whom their folder belongs
/// to, who could put any there.
pub(super) fn read_secret(file: &Path, strict: bool) -> Result<Zeroizing<String>, CaError> {
    let mut open = OpenOptions::new();
    open.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    let handle = open.open(file).map_err(|source| match source.raw_os_error() {
        Some(libc::ELOOP) => CaError::NotPlain { file: file.to_owned() },
        _ => at(file)(source),
    })?;
    let meta = handle.metadata().map_err(at(file))?;
    if !meta.is_file() {
        return Err(CaError::NotPlain { file: file.to_owned() });
    }
    if meta.mode() & if strict { 0o077 } else { 0o007 } != 0 {
        return Err(CaError::Exposed { file: file.to_owned(), mode: meta.mode() & 0o7777 });
    }
    let us = limits::user();
    let folders = || folder_of(file).metadata().is_ok_and(|folder| folder.uid() == meta.uid());
    if meta.uid() != us && meta.uid() != 0 && !(strict && us == 0 && folders()) {
        return Err(CaError::ForeignOwner { file: file.to_owned(), owner: meta.uid(), us });
    }
    let mut text = Zeroizing::new(String::with_capacity(meta.len().min(LARGEST) as usize));
    handle.take(LARGEST).read_to_string(&mut text).map_err(at(file))?;
    Ok(text)
}

/// Reads a file that is no secret.
pub(super) fn read(file: &Path) -> Result<String, CaError> {
    let mut text = String::new();
    let handle = File::open(file).map_err(at(file))?;
    handle.take(LARGEST).read_to_string(&mut text).map_err(at(file))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("certs");
        let leftover = dir.path().join("certs.partial-1");
        std::fs::create_dir_all(leftover.join("root")).unwrap();

        let given_up = Staged::new(&target).unwrap();
        given_up.file("a", "1").unwrap();
        assert!(is_vacant(&target).unwrap());
        drop(given_up);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "leftovers are gone");

        let staged = Staged::new(&target).unwrap();
        staged.folder("root").unwrap();
        staged.file("root/key", "secret").unwrap();
        assert!(staged.publish().unwrap());
        assert_eq!(&**read_secret(&target.join("root/key"), true).unwrap(), "secret");
        assert_eq!(target.join("root").metadata().unwrap().mode() & 0o777, 0o700);

        let late = Staged::new(&target).unwrap();
        late.file("a", "2").unwrap();
        assert!(!late.publish().unwrap(), "the first one stays");
        assert!(!target.join("a").exists());
    }

    #[test]
    fn a_file_is_replaced_whole_for_whom_its_folder_belongs_to() {
        let dir = tempfile::tempdir().unwrap();
        let (file, draft) = (dir.path().join("key"), dir.path().join("key.partial"));
        for content in ["1", "2"] {
            // Whatever is in the way of the draft is not followed.
            symlink("/nowhere/at/all", &draft).unwrap();
            replace(&file, content).unwrap();
            assert_eq!(&**read_secret(&file, true).unwrap(), content);
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(write_new(&file, "3"), Err(CaError::InTheWay { .. })));

        // As `sudo ztgate certs rotate` on a gateway that runs as a user of its own.
        const SOMEBODY: u32 = 65_534;
        if std::os::unix::fs::chown(dir.path(), Some(SOMEBODY), Some(SOMEBODY)).is_err() {
            eprintln!("skipped: only root gives files away");
            return;
        }
        replace(&file, "4").unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (SOMEBODY, SOMEBODY));
        assert_eq!(&**read_secret(&file, true).unwrap(), "4", "root reads what is the folder's owner's");
        std::os::unix::fs::chown(dir.path(), Some(0), Some(0)).unwrap();
        let foreign = read_secret(&file, true).unwrap_err();
        assert!(matches!(foreign, CaError::ForeignOwner { .. }), "{foreign}");
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "secret").unwrap();
        for (mode, strict, fine) in [
            (0o600, true, true),
            (0o640, true, false),
            (0o640, false, true),
            (0o644, false, false),
            (0o602, false, false),
        ] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret(&file, strict).is_ok(), fine, "{mode:o} {strict}");
        }
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        symlink(&file, dir.path().join("link")).unwrap();
        for odd in [dir.path().join("link"), dir.path().to_owned()] {
            assert!(matches!(read_secret(&odd, false), Err(CaError::NotPlain { .. })), "{odd:?}");
        }
    }
}
