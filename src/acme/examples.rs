//! What an ACME server might have issued, for tests to find on disk.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::issue;

/// A year, a month, a day.
pub type Day = (i32, u8, u8);

/// A kept bundle: from the server with that directory, a key, and a chain that is for these names and from then until then.
pub fn bundle_of(directory: &str, names: &[&str], from: Day, until: Day) -> String {
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    format!("{}{}{leaf}{}", issue::from(directory), key.serialize_pem(), issuer.pem())
}
