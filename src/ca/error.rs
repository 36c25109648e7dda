//! Why a certificate cannot be had, each with its mend.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::model::Zone;

/// Why the CA, or a certificate, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: std::io::Error },
    #[error("{}: no CA here yet; \"ztgate run\" makes one at its first start", dir.display())]
    None { dir: PathBuf },
    #[error(
        "the clock says {now}, and certificates made now would be void once it is right; \
         set it (timedatectl set-ntp true) and start again"
    )]
    Clock { now: Timestamp },
    #[error(
        "the clock was set to {now}, and by the one of before it is {known}; certificates go on by that. \
         See which is right (timedatectl); if it is the new one: systemctl restart ztgate"
    )]
    Jumped { now: Timestamp, known: Timestamp },
    #[error(
        "{} is missing; put it back from a backup, or move {} away: a new CA is made then, \
         and every device must trust the new root", file.display(), dir.display()
    )]
    Missing { file: PathBuf, dir: PathBuf },
    #[error(
        "{} is a CA for {found}, and the zone is {wanted}; set zone = \"{found}\" again, or move that folder away: \
         a new CA is made then, and every device must trust the new root", dir.display()
    )]
    OtherZone { dir: PathBuf, found: String, wanted: Zone },
    #[error(
        "{} ended at {at}; check the clock (timedatectl), or move {} away: a new CA is made then, \
         and every device must trust the new root", file.display(), dir.display()
    )]
    CaEnded { file: PathBuf, at: Timestamp, dir: PathBuf },
    #[error(
        "the files in {} do not belong together ({reason}); put them back from one backup, or move the folder away: \
         a new CA is made then, and every device must trust the new root", dir.display()
    )]
    Mixed { dir: PathBuf, reason: String },
    #[error(
        "{} ended at {at}; check the clock (timedatectl), or make a new one, which no device notices: \
         ztgate certs rotate", file.display()
    )]
    IntermediateEnded { file: PathBuf, at: Timestamp },
    #[error(
        "{} begins at {at}, after what the clock says; check the clock (timedatectl). If it is right, and was not when that was \
         made: mv {} {}.old, then rotate again", file.display(), file.display(), file.display()
    )]
    RotatedAhead { file: PathBuf, at: Timestamp },
    #[error("{} is there already, and is not overwritten; name another file", file.display())]
    InTheWay { file: PathBuf },
    #[error(
        "{} is not here; bring the medium that it was exported to, and name it: --root-key FILE", file.display()
    )]
    NoRootKey { file: PathBuf },
    #[error(
        "{} is the key of another root than {}; name the one that belongs to it: --root-key FILE",
        file.display(), root.display()
    )]
    OtherRoot { file: PathBuf, root: PathBuf },
    #[error("{}: wrong passphrase", file.display())]
    WrongPassphrase { file: PathBuf },
    #[error("the key could not be encrypted: {0}")]
    Encryption(pkcs8::Error),
    #[error("{} does not read back as it was written; try another medium", file.display())]
    NotReadBack { file: PathBuf },
    #[error("{}: {reason}", file.display())]
    Malformed { file: PathBuf, reason: String },
    #[error(
        "{} may be read by others (mode {mode:04o}), so it is no secret; type: chmod 600 {}", file.display(), file.display()
    )]
    Exposed { file: PathBuf, mode: u32 },
    #[error("{} is a symbolic link, or no plain file; name the file itself. What certbot keeps are links: \
         have its deploy hook copy the key (install -m 600), see deploy/domain.md", file.display())]
    NotPlain { file: PathBuf },
    #[error(
        "{} belongs to user {owner}, who could change it; type: chown {us} {}", file.display(), file.display()
    )]
    ForeignOwner { file: PathBuf, owner: u32, us: u32 },
    #[error("{}: the certificate ended at {at}; renew it", file.display())]
    Ended { file: PathBuf, at: Timestamp },
    #[error("{}: the certificate begins at {at}; check the clock (timedatectl)", file.display())]
    NotYet { file: PathBuf, at: Timestamp },
    #[error(
        "{} is not the key of the first certificate in {}; the gateway's own certificate must come first, \
         then those that signed it", key.display(), certificate.display()
    )]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    #[error("{name} is not in the zone {zone}, and the CA signs nothing else")]
    OutsideZone { name: String, zone: Zone },
    #[error("making a certificate: {0}")]
    Mint(#[from] rcgen::Error),
    #[error("using a certificate: {0}")]
    Tls(#[from] rustls::Error),
}

impl CaError {
    /// Whether it is this user who may not look, so that nothing is known.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
    }

    /// Whether there simply is no such file.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}
