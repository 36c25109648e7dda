//! What is in each certificate: pure, from names and times to parameters.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, date_time_ymd,
};

use crate::model::Zone;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A root: 20 years.
///
/// Installing it on every phone and TV of a house is work done by hand, so its end should be beyond the life of the
/// devices. Platforms bound the life of leaves, not of CAs.
const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// An intermediate: 10 years, and no longer than its root.
///
/// Nothing can take back an intermediate whose key was stolen (no platform asks for a private CA's revocations), so its end
/// is all that bounds a thief. But only a person with the root's key can renew it, and a gateway that nobody looks after
/// must not stop: 10 years outlast the machine, and `status` and `doctor` warn for the last one.
const INTERMEDIATE_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long before its end a root or an intermediate is told to be near it.
pub(super) const NEAR_END: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Leaves: 90 days, far below the 397 (Apple HT211025) that platforms bear, since one that is made for two clocks
/// ([`super::period`]) lives longer by what is between them.
pub(super) const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How far back a certificate begins, for devices whose clocks are behind.
pub(super) const BACKDATED: Duration = DAY;

/// The longest common name that X.509 allows (RFC 5280, appendix A.1: ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// From the earliest time that it may be to the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub low: Timestamp,
    pub high: Timestamp,
}

impl From<Timestamp> for Span {
    fn from(now: Timestamp) -> Self {
        Self { low: now, high: now }
    }
}

impl Span {
    /// A leaf is never for a time at which its issuer is void.
    pub(super) fn within(self, begins: Timestamp, ends: Timestamp) -> Self {
        let at = |time: Timestamp| time.min(ends).max(begins);
        Self { low: at(self.low), high: at(self.high) }
    }
}

/// A clock before this is wrong: it is older than this program.
pub(super) const EARLIEST: Timestamp = Timestamp::constant(1_735_689_600, 0); // 2025-01-01

pub(super) fn root(zone: &Zone, key: &KeyPair, now: Timestamp) -> CertificateParams {
    let mut params = authority("root", 1, zone, key);
    lasting(&mut params, now.into(), ROOT_LIFE, None);
    params
}

/// An intermediate, ending no later than its root.
pub(super) fn intermediate(
    zone: &Zone,
    key: &KeyPair,
    now: Timestamp,
    root_ends: Timestamp,
) -> CertificateParams {
    let mut params = authority("intermediate", 0, zone, key);
    lasting(&mut params, now.into(), INTERMEDIATE_LIFE, Some(root_ends));
    params
}

fn authority(role: &str, below: u8, zone: &Zone, key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The start of the key identifier tells a CA from the one it replaced, in a device's list of roots.
    let mark = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    let mark = format!("{:02x}{:02x}", mark.as_ref()[0], mark.as_ref()[1]);
    let short = format!("ztgate {role} {mark}");
    let full = format!("{short} for {zone}");
    params.distinguished_name = named(if full.len() <= LONGEST_COMMON_NAME { full } else { short });
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Names of other types than these (e-mail, URI) are free, too: so nothing but servers' certificates may stand below,
    // which devices go through the whole chain for.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // IP addresses are a name type of their own: constraints on DNS names alone would leave them free.
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(zone.to_string())],
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
    params.use_authority_key_identifier_extension = below == 0;
    params
}

/// A server's certificate for one DNS name, ending no later than its issuer. (An IP address makes one for that address, which
/// no device believes: [`super::verify`] tries it.)
pub(super) fn leaf(name: &str, at: Span, issuer_ends: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name =
        if name.len() <= LONGEST_COMMON_NAME { named(name) } else { rcgen::DistinguishedName::new() };
    params.subject_alt_names = vec![match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into()?),
    }];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lasting(&mut params, at, LEAF_LIFE, Some(issuer_ends));
    Ok(params)
}

fn named(common_name: impl Into<String>) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name.into());
    name
}

fn lasting(params: &mut CertificateParams, at: Span, life: Duration, at_most: Option<Timestamp>) {
    let end = at.high.as_second().saturating_add_unsigned(life.as_secs());
    let end = at_most.map_or(end, |limit| end.min(limit.as_second()));
    let since_1970 = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0) as u64);
    // What is issued past its issuer's end is void, and still no nonsense.
    params.not_before = since_1970(at.low.as_second().saturating_sub_unsigned(BACKDATED.as_secs()).min(end));
    params.not_after = since_1970(end);
}
