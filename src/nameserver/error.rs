//! Why a name server did not do or say what it was asked, each with what to type next.

use std::path::PathBuf;

use crate::linux::secret::SecretError;

/// Why records could not be read or changed. In each, `at` is the server as the configuration names it.
#[derive(Debug, thiserror::Error)]
pub enum NameserverError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{}: this is no base64; write the value of `secret` alone into it, as tsig-keygen prints it", .0.display())]
    NotBase64(PathBuf),
    #[error("{name} is not in the zone {zone}; name the zone that it is in with zone in [nameserver]")]
    OutsideZone { name: String, zone: String },
    #[error("{0} cannot be written as DNS has it")]
    Unwritable(String),
    #[error("the name server {at} has no address ({why}); check server in [nameserver]")]
    Lookup { at: String, why: std::io::Error },
    #[error(
        "the name server {at} cannot be reached over TCP ({why}); check server in [nameserver] and the way there"
    )]
    Connect { at: String, why: std::io::Error },
    #[error("the name server {at} gave no answer within {seconds} s")]
    Timeout { at: String, seconds: u64 },
    #[error("the name server {at} broke off: {why}")]
    Broken { at: String, why: std::io::Error },
    #[error("the name server {at} answered what cannot be understood: {why}")]
    Malformed { at: String, why: String },
    #[error(
        "the answer of {at} is not signed by the key {key} ({why}), so it is not believed; whoever stands between may \
         have written it"
    )]
    Unsigned { at: String, key: String, why: String },
    #[error(
        "the name server {at} knows no key {key} with {algorithm}; check key and algorithm in [nameserver] against what \
         tsig-keygen printed for the server"
    )]
    BadKey { at: String, key: String, algorithm: &'static str },
    #[error(
        "the name server {at} has another secret for the key {key}; write that of its configuration into {}",
        file.display()
    )]
    BadSignature { at: String, key: String, file: PathBuf },
    #[error(
        "the clocks of this machine and of the name server {at} lie too far apart{}; set both: timedatectl set-ntp true",
        apart.map(|seconds| format!(" ({seconds} s)")).unwrap_or_default()
    )]
    BadTime { at: String, apart: Option<u64> },
    #[error(
        "the name server {at} refuses the key {key} what was asked; let it, as BIND has it: \
         update-policy {{ grant {key} subdomain ZONE. A AAAA TXT; }}; with the zone of ztgate.toml as ZONE"
    )]
    Refused { at: String, key: String },
    #[error(
        "the name server {at} does not show the zone {zone} to the key {key}; check server and zone in [nameserver], and \
         allow-query there"
    )]
    NotShown { at: String, zone: String, key: String },
    #[error("the name server {at} is no primary of the zone {zone}; check server and zone in [nameserver]")]
    NotAuth { at: String, zone: String },
    #[error("for the name server {at} a name is not in the zone {zone}; check zone in [nameserver]")]
    NotZone { at: String, zone: String },
    #[error("the name server {at} does not take updates; allow them there, or use hook in [nameserver]")]
    NotImplemented { at: String },
    #[error("the name server {at} answers {code}; its log says why")]
    Failed { at: String, code: String },
    #[error("{name} leads to {target} (CNAME), so nothing else can stand there; remove the CNAME first")]
    Alias { name: String, target: String },
}

impl NameserverError {
    /// Whether the server was not spoken with at all, so that asking for something else is no use either.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Lookup { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Secret(_))
    }
}
