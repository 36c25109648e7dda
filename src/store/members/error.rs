//! Why the members on disk cannot be had or kept, with what to type about it.

use std::path::PathBuf;

use crate::model::NetworkId;
use crate::store::StoreError;

/// Why the members on disk cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{file}: holds the members of network {found}, but the config is for {asked}; \
         set network back in ztgate.toml, or put the file aside: mv {file} {file}.{found}",
        file = .file.display()
    )]
    OtherNetwork { file: PathBuf, found: String, asked: NetworkId },
    #[error(
        "{file}: {what} makes no sense; put the file aside and start anew (every member that the controller has \
         authorised is then adopted again): mv {file} {file}.broken",
        file = .file.display()
    )]
    Damaged { file: PathBuf, what: String },
    #[error(
        "{file}: this ztgate does not know its words, another version wrote it on a full disk; start that version once, \
         with room on the disk, or put the file aside and see whom that lets in again (ztgate devices): \
         mv {file} {file}.unread",
        file = .file.display()
    )]
    Reserve { file: PathBuf },
}
