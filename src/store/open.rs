//! Opening a database file: ours alone to read, durable at commit, and brought to the newest schema.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: std::io::Error },
    #[error("{}: {source}", file.display())]
    Sqlite { file: PathBuf, source: rusqlite::Error },
    #[error("{}: made by a newer ztgate (schema {found}, this one knows {known}); use that version", file.display())]
    Newer { file: PathBuf, found: u32, known: u32 },
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
    let change = connection.transaction().map_err(sql)?;
    for migration in &migrations[found as usize..] {
        change.execute_batch(migration).map_err(sql)?;
    }
    change.pragma_update(None, "user_version", known).map_err(sql)?;
    change.commit().map_err(sql)?;
    Ok(Opened { connection, created })
}

/// Opens a database for reading only, also while a gateway writes to it, and also a copied file.
pub(super) fn open_to_read(file: &Path) -> Result<Connection, StoreError> {
    let sql = |source| StoreError::Sqlite { file: file.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(sql)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(sql)?;
    Ok(connection)
}
