//! The certificate that is kept from before: whether it can be served, and whose it is.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::ca::{CaError, Certificates};
use crate::config::Config;

use super::folder::Folder;
use super::issue::from;

/// Why the bundle that is there cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error(transparent)]
    Unusable(#[from] CaError),
    #[error("{} is for other names than the zone's", file.display())]
    OtherNames { file: PathBuf },
}

impl KeptError {
    /// Whether it is this user who may not look, so that nothing is known.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unusable(error) if error.is_denied())
    }
}

/// The certificate that is kept from before, if it can be served. Why not is logged.
///
/// Also one that has ended or not begun: the clock may be wrong, and if it is not, a certificate that ended is a warning, which a
/// private CA that no device knows would be, too.
pub fn kept(config: &Config, now: Timestamp) -> Option<Certificates> {
    read_kept(config, now).unwrap_or_else(|why| {
        tracing::warn!("the kept certificate cannot be served: {why}");
        None
    })
}

/// The same for whoever wants to know why; `None` before the first one.
///
/// # Errors
/// A bundle that is there and cannot be served, whatever the clock says.
pub fn read_kept(config: &Config, now: Timestamp) -> Result<Option<Certificates>, KeptError> {
    let file = bundle(&config.state_dir);
    match Certificates::from_bundle_whenever(&file, now) {
        Ok(certificates) if certificates.covers(&config.zone.name("gate")) => Ok(Some(certificates)),
        Ok(_) => Err(KeptError::OtherNames { file }),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where the certificate and its key are kept.
pub fn bundle(state_dir: &Path) -> PathBuf {
    Folder::of(state_dir).bundle()
}

/// Whether the bundle is from the server with this directory.
pub fn is_from(state_dir: &Path, directory: &str) -> bool {
    let bundle = Folder::of(state_dir).read_bundle().ok().flatten();
    bundle.is_some_and(|bundle| bundle.starts_with(&from(directory)))
}
