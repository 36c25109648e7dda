//! What is in each certificate: pure, from names and times to parameters.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, date_time_ymd,
};

use crate::model::Zone;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Root and intermediate: 20 years.
///
/// Installing a root on every phone and TV of a house is work done by hand, so its end should be beyond the life of
/// the devices. The intermediate ends with it: its key lies on the same disk, so an earlier end would protect nothing
/// and stop everything on a day that nobody remembers. Platforms bound the life of leaves, not of CAs.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// Leaves: 90 days, far below the 397 (Apple HT211025) that platforms bear.
pub(super) const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How far back a certificate begins, for devices whose clocks are behind.
pub(super) const BACKDATED: Duration = DAY;

/// The longest common name that X.509 allows (RFC 5280, appendix A.1: ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// A clock before this is wrong: it is older than this program.
pub(super) const EARLIEST: Timestamp = Timestamp::constant(1_735_689_600, 0); // 2025-01-01

pub(super) fn root(zone: &Zone, key: &KeyPair, now: Timestamp) -> CertificateParams {
    authority("root", 1, zone, key, now)
}

pub(super) fn intermediate(zone: &Zone, key: &KeyPair, now: Timestamp) -> CertificateParams {
    authority("intermediate", 0, zone, key, now)
}

fn authority(role: &str, below: u8, zone: &Zone, key: &KeyPair, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The start of the key identifier tells a CA from the one it replaced, in a device's list of roots.
    let mark = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    let mark = format!("{:02x}{:02x}", mark.as_ref()[0], mark.as_ref()[1]);
    let short = format!("ztgate {role} {mark}");
    let full = format!("{short} for {zone}");
    params.distinguished_name = named(if full.len() <= LONGEST_COMMON_NAME { full } else { short });
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // IP addresses are a name type of their own: constraints on DNS names alone would leave them free.
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(zone.to_string())],
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
    params.use_authority_key_identifier_extension = below == 0;
    lasting(&mut params, now, CA_LIFE, None);
    params
}

/// A server's certificate for one DNS name, ending no later than its issuer.
pub(super) fn leaf(
    name: &str,
    now: Timestamp,
    issuer_ends: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name =
        if name.len() <= LONGEST_COMMON_NAME { named(name) } else { rcgen::DistinguishedName::new() };
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lasting(&mut params, now, LEAF_LIFE, Some(issuer_ends));
    Ok(params)
}

fn named(common_name: impl Into<String>) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name.into());
    name
}

fn lasting(params: &mut CertificateParams, now: Timestamp, life: Duration, at_most: Option<Timestamp>) {
    let end = now.as_second().saturating_add_unsigned(life.as_secs());
    let end = at_most.map_or(end, |limit| end.min(limit.as_second()));
    let since_1970 = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0) as u64);
    params.not_before = since_1970(now.as_second().saturating_sub_unsigned(BACKDATED.as_secs()));
    params.not_after = since_1970(end);
}
