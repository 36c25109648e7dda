//! What makes a device trust the root: the templates of `certs/trust`, filled in.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use super::describe::fingerprint;
use super::layout::existing;
use super::{CaError, CurrentCertificates, pem};
use crate::model::Zone;

const APPLE: &str = include_str!("../../certs/trust/apple.mobileconfig");
const WINDOWS: &str = include_str!("../../certs/trust/windows.ps1");
const LINUX: &str = include_str!("../../certs/trust/linux.sh");

/// What devices are to trust, read without any key.
pub struct Root {
    zone: Zone,
    subject: String,
    certificate: CertificateDer<'static>,
}

impl Root {
    /// The root of the CA in a state folder.
    ///
    /// # Errors
    /// There is no CA, or its root is not one that this program made.
    pub fn read(state_dir: &Path) -> Result<Self, CaError> {
        let file = existing(state_dir)?.root;
        let certificate = pem::chain(&file)?.swap_remove(0);
        let facts = pem::facts(&file, &certificate)?;
        let zone = match &facts.zones[..] {
            [zone] => zone.parse::<Zone>().ok(),
            _ => None,
        };
        // What is filled into a script must mean nothing to it.
        let plain = facts.subject.chars().all(|c| c.is_ascii_alphanumeric() || " .-".contains(c));
        match zone.filter(|_| plain) {
            Some(zone) => Ok(Self { zone, subject: facts.subject, certificate }),
            None => Err(CaError::Malformed { file, reason: "not a root that ztgate made".to_owned() }),
        }
    }
}

/// All of it, filled in once: what the gateway hands out on its own name.
#[derive(Clone, Debug)]
pub struct TrustKit {
    pub subject: String,
    /// SHA-256 of the root, in capital pairs with colons between.
    pub sha256: String,
    pub der: Vec<u8>,
    pub pem: String,
    pub apple: String,
    pub windows: String,
    pub linux: String,
}

impl From<&Root> for TrustKit {
    fn from(root: &Root) -> Self {
        Self {
            subject: root.subject.clone(),
            sha256: fingerprint(&root.certificate),
            der: root.certificate.to_vec(),
            pem: pem(root),
            apple: apple(root),
            windows: windows(root),
            linux: linux(root),
        }
    }
}

/// Who vouches for what is served, and so what a device has to do.
pub struct Trust {
    pub kit: Option<TrustKit>,
    /// Whether certificates that are not our CA's are good for every device.
    pub is_public: bool,
    pub served: Arc<CurrentCertificates>,
}

impl Trust {
    /// What to install; `None` while what is served is nothing that our CA signed.
    pub fn kit(&self) -> Option<&TrustKit> {
        self.kit.as_ref().filter(|_| self.served.load().authority().is_some())
    }
}

/// A configuration profile for iPhone, iPad and Mac (media type `application/x-apple-aspen-config`).
///
/// The same root always gives the same profile, so that installing it twice replaces it.
pub fn apple(root: &Root) -> String {
    fill(APPLE, root)
}

/// A PowerShell script for the current Windows user.
pub fn windows(root: &Root) -> String {
    fill(WINDOWS, root)
}

/// A shell script for the system's store on Linux.
pub fn linux(root: &Root) -> String {
    fill(LINUX, root)
}

/// The root certificate as PEM.
pub fn pem(root: &Root) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64_lines(&root.certificate))
}

fn fill(template: &str, root: &Root) -> String {
    template
        .replace("{{ZONE}}", root.zone.as_str())
        .replace("{{SUBJECT}}", &root.subject)
        .replace("{{SHA256}}", &fingerprint(&root.certificate))
        .replace("{{ROOT_PEM}}", pem(root).trim_end())
        .replace("{{ROOT_BASE64}}", &base64_lines(&root.certificate))
        .replace("{{UUID_PROFILE}}", &uuid(root, "profile"))
        .replace("{{UUID_ROOT}}", &uuid(root, "root"))
}

fn base64_lines(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    lines.join("\n")
}

/// A UUID (RFC 9562, version 8) that is a hash of the root and a purpose.
fn uuid(root: &Root, purpose: &str) -> String {
    let mut input = root.certificate.to_vec();
    input.extend_from_slice(purpose.as_bytes());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02X}")).collect();
    // The 13th digit is the version; the 17th holds the variant in its two high bits.
    format!("{}-{}-8{}-A{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::Ca;

    fn ca() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-11-01T12:00:00Z".parse().unwrap();
        Ca::open_or_create(dir.path(), &"home.arpa".parse().unwrap(), now).unwrap();
        let root = Root::read(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn every_template_is_filled_and_carries_the_root() {
        let (dir, ca) = ca();
        for (name, text) in [("apple", apple(&ca)), ("windows", windows(&ca)), ("linux", linux(&ca))] {
            assert!(!text.contains("{{"), "{name} has a placeholder left");
            assert!(text.contains(&base64_lines(&ca.certificate)), "{name}");
            assert!(text.contains(&fingerprint(&ca.certificate)), "{name} names the fingerprint");
            assert!(text.contains(&ca.subject), "{name} says what it is called: {}", ca.subject);
            assert!(!text.contains("PRIVATE KEY"), "{name}");
        }
        assert_eq!(pem(&ca), super::super::root_pem(dir.path()).unwrap().replace("\r\n", "\n"));
    }

    #[test]
    fn a_profile_installed_twice_is_the_same_profile() {
        let (_dir, ca) = ca();
        assert_eq!(apple(&ca), apple(&ca));
        assert_ne!(uuid(&ca, "profile"), uuid(&ca, "root"));
        assert_eq!(uuid(&ca, "root").len(), 36);
    }

    #[test]
    fn the_shell_script_is_one() {
        let (dir, ca) = ca();
        let file = dir.path().join("linux.sh");
        std::fs::write(&file, linux(&ca)).unwrap();
        assert!(std::process::Command::new("sh").arg("-n").arg(&file).status().unwrap().success());
    }
}
