//! Small files of our own: replaced whole or not at all, and read only while nobody else can have written them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::limits;

/// `FS_NOCOW_FL` of linux/fs.h, which libc does not name.
const NO_COPY_ON_WRITE: libc::c_int = 0x0080_0000;

/// More than any file that we keep in this way.
const LONGEST: u64 = 4 << 20;

/// Makes a folder that nobody else may enter, unless it is there.
///
/// # Errors
/// Those of mkdir(2).
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Gives a file this content: whoever reads it finds the old one or the new one, also after a crash. `mode` is of a file
/// that nobody else may read (0600) or everybody (0644). What root writes belongs to whom the folder belongs to: the gateway
/// must be able to replace what a command of root's wrote for it.
///
/// # Errors
/// Those of open(2), fchown(2), write(2), fsync(2) and rename(2); the old content stays.
pub fn replace(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(file);
    let draft = draft(file);
    match std::fs::remove_file(&draft) {
        // What a crash left behind.
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(mode).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    let mut handle = open.open(&draft)?;
    // Whatever the umask is.
    let written = give(&handle, folder)
        .and_then(|()| handle.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| handle.write_all(content))
        .and_then(|()| handle.sync_all());
    written.and_then(|()| std::fs::rename(&draft, file)).inspect_err(|_| {
        // The next writer would remove it, too.
        let _ = std::fs::remove_file(&draft);
    })?;
    File::open(folder)?.sync_all()
}

/// Removes a file, if it is there.
///
/// # Errors
/// Those of unlink(2) and fsync(2).
pub fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Ok(()) => File::open(folder_of(file))?.sync_all(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// An empty file that everybody may read, made if it is not there: something to hold a lock on.
///
/// # Errors
/// Those of open(2) and fchown(2), and a file that is no plain one.
pub fn lockable(file: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let new = OpenOptions::new().write(true).create_new(true).mode(0o644).custom_flags(flags).open(file);
    match new {
        // Only what we just made is given away: whoever owns the folder could have put anybody's file there.
        Ok(new) => {
            give(&new, folder_of(file))?;
            new.set_permissions(Permissions::from_mode(0o644))?;
            return Ok(new);
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // To read suffices for a lock, also on a file of somebody else's.
    let there = OpenOptions::new().read(true).custom_flags(flags).open(file)?;
    match there.metadata()?.is_file() {
        true => Ok(there),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is no plain file; move it away")),
    }
}

/// The text of a file that only we or root can have written; `None` if it is not there. Root, who looks at the gateway's files,
/// takes those of whom their folder belongs to, who could put any there.
///
/// # Errors
/// Those of open(2) and read(2), and a file that is no plain one, is somebody else's, or that somebody else may write.
pub fn read_own(file: &Path) -> io::Result<Option<Zeroizing<String>>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let handle = match OpenOptions::new().read(true).custom_flags(flags).open(file) {
        Ok(handle) => handle,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let about = handle.metadata()?;
    let odd = |why: &str| Err(io::Error::new(ErrorKind::PermissionDenied, why.to_owned()));
    if !about.is_file() {
        return odd("it is no plain file");
    }
    let us = limits::user();
    let folders = || folder_of(file).metadata().is_ok_and(|folder| folder.uid() == about.uid());
    let known = [us, 0].contains(&about.uid()) || (us == 0 && folders());
    if !known || about.mode() & 0o022 != 0 {
        return odd("somebody else may have written it");
    }
    // One allocation of the whole size, so that no copy of a secret is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(about.len().min(LONGEST) as usize + 1));
    handle.take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Asks a filesystem that writes changes elsewhere (btrfs) to write those of this file in place. It can only be asked of a
/// file that is still empty.
///
/// # Errors
/// Those of `FS_IOC_SETFLAGS` (ioctl_iflags(2)): most filesystems know no such thing, because they write in place anyhow.
pub fn keep_in_place(file: &File) -> io::Result<()> {
    let mut flags: libc::c_int = 0;
    // SAFETY: the kernel writes one int, whatever the request's number says of its size (ioctl_iflags(2)).
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    flags |= NO_COPY_ON_WRITE;
    // SAFETY: the kernel reads one int.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives a file that root just made to whom the folder belongs to; by the handle, for whoever owns the folder could put a
/// link in the name's place.
fn give(file: &File, folder: &Path) -> io::Result<()> {
    let owner = folder.metadata()?;
    if limits::user() != 0 || owner.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn draft(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".draft");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_what_a_crash_left_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        assert!(read_own(&file).unwrap().is_none());
        std::fs::write(draft(&file), "half").unwrap();
        for content in ["one", "two"] {
            replace(&file, content.as_bytes(), 0o600).unwrap();
            assert_eq!(read_own(&file).unwrap().unwrap().as_str(), content);
        }
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&file).unwrap();
        remove(&file).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn what_others_may_have_written_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        replace(&file, b"x", 0o600).unwrap();
        symlink(&file, folder.path().join("link")).unwrap();
        assert!(read_own(&folder.path().join("link")).is_err());
        assert!(read_own(folder.path()).is_err());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(read_own(&file).is_err());
    }

    #[test]
    fn root_reads_and_writes_what_is_the_folder_s_owner_s() {
        const SOMEBODY: u32 = 65_534;
        let folder = tempfile::tempdir().unwrap();
        let (state, lock) = (folder.path().join("state"), folder.path().join("lock"));
        // As `sudo ztgate dns publish` beside a gateway that runs as a user of its own.
        if chown(folder.path(), Some(SOMEBODY), Some(SOMEBODY)).is_err() {
            eprintln!("skipped: only root gives files away");
            return;
        }
        replace(&state, b"x", 0o600).unwrap();
        drop(lockable(&lock).unwrap());
        for file in [&state, &lock] {
            let about = file.metadata().unwrap();
            assert_eq!((about.uid(), about.gid()), (SOMEBODY, SOMEBODY), "{}", file.display());
        }
        assert_eq!(read_own(&state).unwrap().unwrap().as_str(), "x");
        lockable(&lock).unwrap();
        chown(folder.path(), Some(0), Some(0)).unwrap();
        assert!(read_own(&state).is_err(), "neither root's nor the folder's owner's");
    }

    #[test]
    fn a_lock_is_held_on_a_plain_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lock");
        lockable(&file).unwrap().try_lock().unwrap();
        lockable(&file).unwrap();
        symlink(&file, folder.path().join("link")).unwrap();
        assert!(lockable(&folder.path().join("link")).is_err());
        assert!(lockable(folder.path()).is_err());
    }

    /// The kernel's answer is the filesystem's own; that it is one, and that the file can be used after it, is ours.
    #[test]
    fn whatever_the_filesystem_says_the_file_takes_what_is_written() {
        use std::io::Seek;
        let mut file = tempfile::tempfile().unwrap();
        if let Err(error) = keep_in_place(&file) {
            let known = [libc::EOPNOTSUPP, libc::ENOTTY, libc::EINVAL];
            assert!(known.contains(&error.raw_os_error().unwrap()), "{error}");
        }
        file.write_all(b"held").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "held");
    }
}
