//! Secret files: read live on every use, and refused if anyone else could have read or planted them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::limits;
use zeroize::Zeroizing;

/// No token, password or key that a person puts into a file is longer.
const LONGEST: u64 = 64 * 1024;

/// Who may own a secret file besides root and the user that ztgate runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Nobody else.
    Ours,
    /// `zerotier-one` too: the account that its Linux packages create, and that writes the node's token.
    OursOrZeroTier,
}

/// The text of a secret file. Wiped from memory when dropped; `Debug` does not show it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself. The caller keeps it out of logs, errors and arguments.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a secret file is not used, and what to type.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{}: there is no such file; check the path in ztgate.toml", .0.display())]
    Missing(PathBuf),
    #[error(
        "{file}: this user may not read it; type: sudo chgrp {group} {file} && sudo chmod 640 {file} \
         (its folder must let that group in too)",
        file = .file.display()
    )]
    Denied { file: PathBuf, group: u32 },
    #[error("{}: it is a symbolic link, which could be turned elsewhere; name the file it leads to", .0.display())]
    Symlink(PathBuf),
    #[error("{}: it is not a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error(
        "{file}: everyone on this machine may open it (mode {mode:04o}); type: sudo chmod o= {file}",
        file = .file.display()
    )]
    OpenToAll { file: PathBuf, mode: u32 },
    #[error(
        "{file}: it belongs to user {owner}, who could change it; type: sudo chown {us} {file}",
        file = .file.display()
    )]
    Owner { file: PathBuf, owner: u32, us: u32 },
    #[error("{}: it is empty", .0.display())]
    Empty(PathBuf),
    #[error("{}: it is not one line of text, as a secret should be", .0.display())]
    NotText(PathBuf),
    #[error("{}: it is over 64 KiB, which is no secret", .0.display())]
    TooLong(PathBuf),
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
}

/// Reads a secret: one line of text, without the white space around it.
///
/// A file directly in `$CREDENTIALS_DIRECTORY` is taken with the owner and mode that systemd gave it (systemd.exec(5),
/// "Credentials": only the service can enter that folder).
///
/// # Errors
/// Whatever is odd about the file; the text says what to type.
pub fn read(file: &Path, owners: Owners) -> Result<Secret, SecretError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_in(file, owners, credentials.as_deref())
}

fn read_in(file: &Path, owners: Owners, credentials: Option<&Path>) -> Result<Secret, SecretError> {
    let opened = open(file)?;
    let about = opened.metadata().map_err(|source| SecretError::Io { file: file.into(), source })?;
    if !about.is_file() {
        return Err(SecretError::NotAFile(file.into()));
    }
    if credentials.is_none_or(|folder| file.parent() != Some(folder)) {
        judge(file, about.uid(), about.mode(), &allowed(owners))?;
    }
    // One allocation of the whole size, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(about.len().min(LONGEST) as usize + 1));
    match opened.take(LONGEST + 1).read_to_string(&mut text) {
        Ok(read) if read as u64 > LONGEST => return Err(SecretError::TooLong(file.into())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(SecretError::NotText(file.into()));
        }
        Err(source) => return Err(SecretError::Io { file: file.into(), source }),
    }
    match text.trim() {
        "" => Err(SecretError::Empty(file.into())),
        line if line.chars().any(char::is_control) => Err(SecretError::NotText(file.into())),
        line => Ok(Secret(Zeroizing::new(line.to_owned()))),
    }
}

/// Opens without following a link at the end of the path, and without waiting for a pipe's writer.
fn open(file: &Path) -> Result<File, SecretError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(file).map_err(|source| {
        match (source.kind(), source.raw_os_error()) {
            (_, Some(libc::ELOOP)) => SecretError::Symlink(file.into()),
            (std::io::ErrorKind::NotFound, _) => SecretError::Missing(file.into()),
            (std::io::ErrorKind::PermissionDenied, _) => {
                SecretError::Denied { file: file.into(), group: limits::group() }
            }
            _ => SecretError::Io { file: file.into(), source },
        }
    })
}

/// Whether owner and mode keep the file from everyone else; on the opened file, so that nothing can change between.
fn judge(file: &Path, owner: u32, mode: u32, allowed: &[u32]) -> Result<(), SecretError> {
    if mode & 0o007 != 0 {
        return Err(SecretError::OpenToAll { file: file.into(), mode: mode & 0o7777 });
    }
    if !allowed.contains(&owner) {
        return Err(SecretError::Owner { file: file.into(), owner, us: limits::user() });
    }
    Ok(())
}

fn allowed(owners: Owners) -> Vec<u32> {
    let accounts = match owners {
        Owners::Ours => None,
        Owners::OursOrZeroTier => std::fs::read_to_string("/etc/passwd").ok(),
    };
    let zerotier = accounts.as_deref().and_then(|accounts| uid_of("zerotier-one", accounts));
    [Some(limits::user()), Some(0), zerotier].into_iter().flatten().collect()
}

/// A user's number in the text of `/etc/passwd` (passwd(5): `name:password:UID:...`). System accounts live there.
fn uid_of(name: &str, accounts: &str) -> Option<u32> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(folder: &tempfile::TempDir, text: &[u8], mode: u32) -> PathBuf {
        let file = folder.path().join("secret");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        file
    }

    fn says(error: &SecretError, words: &str) {
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn a_private_file_is_read_without_the_space_around_it_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let secret = read(&file(&folder, b" s3cret\n", 0o640), Owners::Ours).unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn what_others_could_open_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o604, 0o602, 0o601] {
            let secret = file(&folder, b"x", mode);
            says(&read(&secret, Owners::Ours).unwrap_err(), &format!("sudo chmod o= {}", secret.display()));
        }
    }

    #[test]
    fn links_folders_and_pipes_are_no_secret_files() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(file(&folder, b"x", 0o600), &link).unwrap();
        assert!(matches!(read(&link, Owners::Ours), Err(SecretError::Symlink(_))));
        assert!(matches!(read(folder.path(), Owners::Ours), Err(SecretError::NotAFile(_))));
        assert!(matches!(read(&folder.path().join("none"), Owners::Ours), Err(SecretError::Missing(_))));
    }

    #[test]
    fn the_text_is_one_short_line() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(&file(&folder, b" \n", 0o600), Owners::Ours), Err(SecretError::Empty(_))));
        assert!(matches!(read(&file(&folder, b"a\nb", 0o600), Owners::Ours), Err(SecretError::NotText(_))));
        assert!(matches!(
            read(&file(&folder, &[0xff, 0xfe], 0o600), Owners::Ours),
            Err(SecretError::NotText(_))
        ));
        let long = vec![b'a'; LONGEST as usize + 1];
        assert!(matches!(read(&file(&folder, &long, 0o600), Owners::Ours), Err(SecretError::TooLong(_))));
    }

    #[test]
    fn a_stranger_s_file_is_refused_with_the_mend() {
        let path = Path::new("/etc/token");
        says(&judge(path, 4242, 0o600, &[0, 1000]).unwrap_err(), "belongs to user 4242");
        judge(path, 1000, 0o640, &[0, 1000]).unwrap();
        let accounts = "root:x:0:0::/root:/bin/sh\nzerotier-one:x:997:995::/var/lib/zerotier-one:/bin/sh\n";
        assert_eq!(uid_of("zerotier-one", accounts), Some(997));
        assert_eq!(uid_of("zerotier", accounts), None);
    }

    #[test]
    fn systemd_s_credentials_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let secret = file(&folder, b"x", 0o444);
        assert!(read_in(&secret, Owners::Ours, Some(folder.path())).is_ok());
        assert!(read_in(&secret, Owners::Ours, Some(Path::new("/run/credentials/other"))).is_err());
    }
}
