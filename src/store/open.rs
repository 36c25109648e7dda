//! Opening a database file: ours alone to read, durable at commit, and brought to the newest schema.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}; make it, or name another folder as state_dir", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: std::io::Error },
    #[error("{}: {source}", file.display())]
    Sqlite { file: PathBuf, source: rusqlite::Error },
    #[error("{}: made by a newer ztgate (schema {found}, this one knows {known}); use that version", file.display())]
    Newer { file: PathBuf, found: u32, known: u32 },
}

/// Makes the folder that everything is kept in, for our eyes only. One that is there stays as it is.
///
/// # Errors
/// It is not there and cannot be made.
pub fn make_state_dir(dir: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| StoreError::Folder { folder: dir.to_owned(), source })
}

/// A database open for writing.
pub(super) struct Opened {
    pub connection: Connection,
    /// The file was not there before.
    pub created: bool,
}

/// Opens a database for writing, makes it if need be (mode 0600), and applies the migrations that it lacks.
///
/// Each migration is one batch of SQL; `user_version` counts those applied.
pub(super) fn open(file: &Path, migrations: &[&str]) -> Result<Opened, StoreError> {
    let io = |source| StoreError::File { file: file.to_owned(), source };
    let sql = |source| StoreError::Sqlite { file: file.to_owned(), source };
    let created = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(io(error)),
    };
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).map_err(io)?;
    let mut connection = Connection::open(file).map_err(sql)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(sql)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    let known = migrations.len() as u32;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sql)?;
    if found > known {
        return Err(StoreError::Newer { file: file.to_owned(), found, known });
    }
    // To write nothing where there is nothing to write lets a gateway start on a full disk.
    if found < known {
        let change = connection.transaction().map_err(sql)?;
        for migration in &migrations[found as usize..] {
            change.execute_batch(migration).map_err(sql)?;
        }
        change.pragma_update(None, "user_version", known).map_err(sql)?;
        change.commit().map_err(sql)?;
    }
    Ok(Opened { connection, created })
}

/// Opens a database for reading only, also while a gateway writes to it, and also a copied file in a folder that
/// cannot be written to. `known` is the newest schema that the caller can read.
pub(super) fn open_to_read(file: &Path, known: u32) -> Result<Connection, StoreError> {
    let sql = |source| StoreError::Sqlite { file: file.to_owned(), source };
    // SQLite itself says no more than that it cannot open it.
    std::fs::File::open(file).map_err(|source| StoreError::File { file: file.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let version = |connection: &Connection| {
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    let mut connection = Connection::open_with_flags(file, flags).map_err(sql)?;
    let mut found = version(&connection);
    if is_cannot_open(&found) && !beside(file, "-wal").exists() {
        // A database in WAL mode needs files beside it even to be read. Where they cannot be made and there is no WAL,
        // nobody writes to it either, and it may be read as it lies (sqlite.org/uri.html, "immutable").
        let uri = format!("file:{}?immutable=1", uri_path(file));
        connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(sql)?;
        found = version(&connection);
    }
    match found.map_err(sql)? {
        found if found > known => Err(StoreError::Newer { file: file.to_owned(), found, known }),
        _ => Ok(connection),
    }
}

fn is_cannot_open<T>(result: &rusqlite::Result<T>) -> bool {
    let code = result.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly))
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn uri_path(file: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::new();
    for &byte in file.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri
}
