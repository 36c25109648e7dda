//! The certificates of one configuration: which one a handshake gets.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{Ca, CaError, files, mint, pem};
use crate::model::Clock;

/// The certificates of one configuration. Immutable but for leaves, which are issued in the handshake that needs a new one;
/// a newer snapshot replaces it whole.
pub struct Certificates {
    source: Source,
}

enum Source {
    /// Issued by our CA, one a name.
    Issued { ca: Arc<Ca>, clock: Arc<dyn Clock>, gateway: Slot, names: HashMap<Box<str>, Slot> },
    /// One chain for every name.
    Given { key: Arc<CertifiedKey>, begins: Timestamp, ends: Timestamp },
}

/// A leaf, once a handshake asked for it. Reading it takes no lock.
#[derive(Default)]
struct Slot(ArcSwapOption<Leaf>);

struct Leaf {
    key: Arc<CertifiedKey>,
    made: Timestamp,
}

impl Certificates {
    /// Certificates from our own CA for these names (full DNS names in lower case), and for whoever asks for none of
    /// them the gateway's own, `gate.ZONE`.
    ///
    /// # Errors
    /// A name outside the CA's zone.
    pub fn issued<N: AsRef<str>>(
        ca: Arc<Ca>,
        names: impl IntoIterator<Item = N>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaError> {
        let names = slots(&ca, names, |_| Slot::default())?;
        Ok(Self { source: Source::Issued { ca, clock, gateway: Slot::default(), names } })
    }

    /// One chain and key of one's own for every name, as PEM files: the gateway's certificate first, then those that
    /// signed it.
    ///
    /// # Errors
    /// A key that others can read or that is another certificate's, and a certificate that is not valid now.
    pub fn from_pem(certificate: &Path, key: &Path, now: Timestamp) -> Result<Self, CaError> {
        let (given, void) = Self::from_pem_whenever(certificate, key, now)?;
        void.map_or(Ok(given), Err)
    }

    /// The same where there is nothing better to serve: also a certificate that has ended or not begun, with the error that
    /// says so.
    ///
    /// # Errors
    /// As by [`Certificates::from_pem`], but for the time.
    pub fn from_pem_whenever(
        certificate: &Path,
        key: &Path,
        now: Timestamp,
    ) -> Result<(Self, Option<CaError>), CaError> {
        let chain = pem::chain(certificate)?;
        let secret = files::read_secret(key, false)?;
        Self::given((certificate, chain), (key, &secret), now)
    }

    /// The same from one file of our own that holds key and chain, so that they always belong together. Each certificate must
    /// be signed by the next one.
    ///
    /// # Errors
    /// As for [`Certificates::from_pem`]; this file is for nobody else to read.
    pub fn from_bundle(file: &Path, now: Timestamp) -> Result<Self, CaError> {
        let secret = files::read_secret(file, true)?;
        let chain = pem::chain_in(file, &secret)?;
        linked(file, &chain, now)?;
        let (given, void) = Self::given((file, chain), (file, &secret), now)?;
        void.map_or(Ok(given), Err)
    }

    fn given(
        (certificate, chain): (&Path, Vec<CertificateDer<'static>>),
        (key, secret): (&Path, &str),
        now: Timestamp,
    ) -> Result<(Self, Option<CaError>), CaError> {
        let facts = pem::facts(certificate, &chain[0])?;
        let file = || certificate.to_owned();
        let void = if facts.ends < now {
            Some(CaError::Ended { file: file(), at: facts.ends })
        } else {
            (facts.begins > now).then(|| CaError::NotYet { file: file(), at: facts.begins })
        };
        let malformed = |reason: String| CaError::Malformed { file: key.to_owned(), reason };
        let private = PrivateKeyDer::from_pem_slice(secret.as_bytes()).map_err(|error| {
            malformed(format!("no private key in PEM ({error}); an encrypted key cannot be used"))
        })?;
        let pair =
            CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    CaError::KeyMismatch { certificate: certificate.to_owned(), key: key.to_owned() }
                }
                other => malformed(other.to_string()),
            })?;
        let source = Source::Given { key: Arc::new(pair), begins: facts.begins, ends: facts.ends };
        Ok((Self { source }, void))
    }

    /// The snapshot for these names from now on, with the leaves that there are. PEM files are read anew by
    /// [`Certificates::from_pem`] instead; such a snapshot stays as it is.
    ///
    /// # Errors
    /// A name outside the CA's zone.
    pub fn renamed<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Self, CaError> {
        let source = match &self.source {
            Source::Given { key, begins, ends } => {
                Source::Given { key: key.clone(), begins: *begins, ends: *ends }
            }
            Source::Issued { ca, clock, gateway, names: old } => Source::Issued {
                ca: ca.clone(),
                clock: clock.clone(),
                gateway: gateway.kept(),
                names: slots(ca, names, |name| old.get(name).map_or_else(Slot::default, Slot::kept))?,
            },
        };
        Ok(Self { source })
    }

    /// The snapshot by a CA that was opened anew: the same if its intermediate is, and otherwise one whose leaves are issued
    /// anew, each at its next handshake. Who holds an older leaf, or is connected, notices nothing.
    ///
    /// # Errors
    /// A name outside the CA's zone.
    pub fn by<N: AsRef<str>>(&self, newer: Ca, names: impl IntoIterator<Item = N>) -> Result<Self, CaError> {
        match &self.source {
            Source::Issued { ca, clock, .. } if ca.intermediate() != newer.intermediate() => {
                Self::issued(Arc::new(newer), names, clock.clone())
            }
            _ => self.renamed(names),
        }
    }

    /// The CA that issues them, if they are issued here.
    pub fn authority(&self) -> Option<&Ca> {
        match &self.source {
            Source::Issued { ca, .. } => Some(ca),
            Source::Given { .. } => None,
        }
    }

    /// The certificate for the name in a handshake; for no name or an unknown one the gateway's own.
    ///
    /// `None` only if it could not be issued, which a log line then explains.
    pub fn get(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let (ca, clock, gateway, names) = match &self.source {
            Source::Given { key, .. } => return Some(key.clone()),
            Source::Issued { ca, clock, gateway, names } => (ca, clock, gateway, names),
        };
        let known = name.and_then(|name| names.get_key_value(name));
        let leaf = match known {
            Some((name, slot)) => slot.get(ca, clock.as_ref(), || name.to_string()),
            None => gateway.get(ca, clock.as_ref(), || ca.zone().name("gate")),
        };
        leaf.inspect_err(|error| tracing::error!(name = name.unwrap_or("(none)"), %error, "no certificate"))
            .ok()
    }

    /// The certificate for a device that is not let in: of any name in the zone one of its own, configured or not, so that
    /// it can read why it is refused, and learns no name.
    ///
    /// An issued one is made for this handshake alone: kept ones would be as many as a stranger likes, and would tell by
    /// their dates whether somebody else asked before.
    pub fn for_stranger(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        match (&self.source, name) {
            (Source::Issued { ca, clock, .. }, Some(name)) if ca.covers(name) => ca
                .leaf(name, clock.now())
                .inspect_err(|error| tracing::error!(name, %error, "no certificate"))
                .ok(),
            _ => self.get(None),
        }
    }

    /// Whether a device that asks for this name will find it in the certificate. Always so for issued ones.
    pub fn covers(&self, name: &str) -> bool {
        match &self.source {
            Source::Issued { ca, names, .. } => names.contains_key(name) || name == ca.zone().name("gate"),
            Source::Given { key, .. } => {
                let (Ok(leaf), Ok(name)) = (
                    key.end_entity_cert().map(webpki::EndEntityCert::try_from),
                    ServerName::try_from(name.to_owned()),
                ) else {
                    return false;
                };
                leaf.is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
            }
        }
    }

    /// When a certificate of one's own begins; `None` for issued ones.
    pub fn begins(&self) -> Option<Timestamp> {
        match self.source {
            Source::Given { begins, .. } => Some(begins),
            Source::Issued { .. } => None,
        }
    }

    /// When a certificate of one's own ends; `None` for issued ones, which are replaced in time.
    pub fn ends(&self) -> Option<Timestamp> {
        match self.source {
            Source::Given { ends, .. } => Some(ends),
            Source::Issued { .. } => None,
        }
    }
}

/// Whether each certificate of a chain is signed by the next, at a time when the first is valid. Whether anybody trusts the
/// last one is for devices to say.
fn linked(file: &Path, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), CaError> {
    let [leaf, between @ .., last] = chain else { return Ok(()) };
    let broken = |reason: String| CaError::Malformed {
        file: file.to_owned(),
        reason: format!("the certificates do not lead from one to the next ({reason})"),
    };
    let facts = pem::facts(file, leaf)?;
    // Out of its time is said elsewhere, in words of its own.
    let now = now.clamp(facts.begins, facts.ends.max(facts.begins));
    let time = std::time::Duration::from_secs(now.as_second().unsigned_abs());
    let anchor = webpki::anchor_from_trusted_cert(last).map_err(|error| broken(error.to_string()))?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| broken(error.to_string()))?;
    leaf.verify_for_usage(
        default_provider().signature_verification_algorithms.all,
        &[anchor],
        between,
        UnixTime::since_unix_epoch(time),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    )
    .map(drop)
    .map_err(|error| broken(error.to_string()))
}

fn slots<N: AsRef<str>>(
    ca: &Ca,
    names: impl IntoIterator<Item = N>,
    mut slot: impl FnMut(&str) -> Slot,
) -> Result<HashMap<Box<str>, Slot>, CaError> {
    names
        .into_iter()
        .map(|name| match name.as_ref() {
            name if ca.covers(name) => Ok((name.into(), slot(name))),
            name => Err(CaError::OutsideZone { name: name.to_owned(), zone: ca.zone().clone() }),
        })
        .collect()
}

impl Slot {
    fn get(
        &self,
        ca: &Ca,
        clock: &dyn Clock,
        name: impl FnOnce() -> String,
    ) -> Result<Arc<CertifiedKey>, CaError> {
        let now = clock.now();
        if let Some(leaf) = self.0.load().as_deref().filter(|leaf| leaf.is_good(now)) {
            return Ok(leaf.key.clone());
        }
        // Threads that get here together each issue one, and the last is kept.
        let key = ca.leaf(&name(), now)?;
        self.0.store(Some(Arc::new(Leaf { key: key.clone(), made: now })));
        Ok(key)
    }

    fn kept(&self) -> Self {
        Self(ArcSwapOption::new(self.0.load_full()))
    }
}

impl Leaf {
    /// Whether it has begun and is in the first two thirds of its life. The clock may have been set, either way, since it
    /// was made.
    fn is_good(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.made);
        let limit = if age.is_negative() { mint::BACKDATED } else { mint::LEAF_LIFE * 2 / 3 };
        age.unsigned_abs() < limit
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls hands the name over in lower case; RFC 6066, section 3 has it without a trailing dot.
        self.get(hello.server_name())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Issued { ca, names, .. } => write!(f, "Certificates({} names by {ca:?})", names.len()),
            Source::Given { .. } => f.write_str("Certificates(PEM files)"),
        }
    }
}

/// The snapshot in use. A [`rustls::ServerConfig`] holds this, so that a newer snapshot keeps its session tickets.
#[derive(Debug)]
pub struct CurrentCertificates(ArcSwap<Certificates>);

impl CurrentCertificates {
    pub fn new(certificates: Certificates) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certificates)))
    }

    pub fn load(&self) -> Arc<Certificates> {
        self.0.load_full()
    }

    pub fn replace(&self, certificates: Certificates) {
        self.0.store(Arc::new(certificates));
    }

    /// Replaces those that the new ones were made of; false, and nothing done, if somebody else was first.
    pub fn replace_still(&self, before: &Arc<Certificates>, certificates: Arc<Certificates>) -> bool {
        Arc::ptr_eq(&self.0.compare_and_swap(before, certificates), before)
    }
}

impl ResolvesServerCert for CurrentCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().resolve(hello)
    }
}

/// The same snapshot, as devices that are not let in see it.
#[derive(Debug)]
pub struct StrangerCertificates(pub Arc<CurrentCertificates>);

impl ResolvesServerCert for StrangerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().for_stranger(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::model::ManualClock;

    const NAMES: [&str; 2] = ["wiki.home.arpa", "nas.home.arpa"];

    fn world() -> (tempfile::TempDir, Arc<ManualClock>, Certificates) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-01T12:00:00Z".parse().unwrap()));
        let ca = Ca::open_or_create(dir.path(), &"home.arpa".parse().unwrap(), clock.now()).unwrap();
        let certificates = Certificates::issued(Arc::new(ca), NAMES, clock.clone()).unwrap();
        (dir, clock, certificates)
    }

    fn name_in(key: &CertifiedKey) -> String {
        pem::facts(Path::new("leaf"), &key.cert[0]).unwrap().subject
    }

    #[test]
    fn each_known_name_gets_its_own_and_all_else_the_gateways() {
        let (_dir, _clock, certificates) = world();
        for (asked, got) in [
            (Some("wiki.home.arpa"), "wiki.home.arpa"),
            (Some("nas.home.arpa"), "nas.home.arpa"),
            (Some("gate.home.arpa"), "gate.home.arpa"),
            (Some("other.home.arpa"), "gate.home.arpa"),
            (Some("example.org"), "gate.home.arpa"),
            (None, "gate.home.arpa"),
        ] {
            assert_eq!(name_in(&certificates.get(asked).unwrap()), got, "{asked:?}");
        }
        let twice = [certificates.get(Some(NAMES[0])).unwrap(), certificates.get(Some(NAMES[0])).unwrap()];
        assert!(Arc::ptr_eq(&twice[0], &twice[1]), "issued once");
    }

    #[test]
    fn a_stranger_finds_every_name_in_the_zone_alike() {
        let (_dir, clock, certificates) = world();
        certificates.get(Some(NAMES[0])).unwrap();
        clock.advance(Duration::from_secs(60));
        let dates = |name| {
            let key = certificates.for_stranger(Some(name)).unwrap();
            assert_eq!(name_in(&key), name);
            pem::facts(Path::new("leaf"), &key.cert[0]).map(|facts| (facts.begins, facts.ends)).unwrap()
        };
        let [used, unused, gate, unknown] =
            [NAMES[0], NAMES[1], "gate.home.arpa", "no-such.home.arpa"].map(dates);
        assert_eq!([used, unused, gate], [unknown; 3]);
        for outside in [None, Some("example.org"), Some("wikihome.arpa")] {
            assert_eq!(
                name_in(&certificates.for_stranger(outside).unwrap()),
                "gate.home.arpa",
                "{outside:?}"
            );
        }
    }

    #[test]
    fn a_leaf_is_served_while_it_is_young_whichever_way_the_clock_went() {
        let (_dir, _clock, certificates) = world();
        let Source::Issued { ca, .. } = &certificates.source else { panic!("{certificates:?}") };
        let made: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
        for (hours, kept) in [
            (0, true),
            (59 * 24, true),
            (61 * 24, false),
            (400 * 24, false),
            // The clock was ahead: that a certificate begins a day early covers so much.
            (-23, true),
            (-25, false),
            (-300 * 24, false),
        ] {
            let slot = Slot::default();
            let at = |now| slot.get(ca, &ManualClock::at(now), || NAMES[0].to_owned()).unwrap();
            let now = made + SignedDuration::from_hours(hours);
            let (first, then) = (at(made), at(now));
            assert_eq!(Arc::ptr_eq(&first, &then), kept, "{hours} h later");
            assert!(Arc::ptr_eq(&then, &at(now)), "{hours} h later, issued once");
            let facts = pem::facts(Path::new("leaf"), &then.cert[0]).unwrap();
            assert!(facts.begins <= now && now < facts.ends, "{hours} h later");
        }
    }

    #[test]
    fn new_names_leave_the_others_their_leaves() {
        let (_dir, _clock, first) = world();
        let [wiki, nas] = NAMES.map(|name| first.get(Some(name)).unwrap());
        let fewer = first.renamed([NAMES[1]]).unwrap();
        assert!(Arc::ptr_eq(&nas, &fewer.get(Some(NAMES[1])).unwrap()));
        assert_eq!(name_in(&fewer.get(Some(NAMES[0])).unwrap()), "gate.home.arpa", "no longer configured");
        let again = fewer.renamed(NAMES).unwrap();
        assert!(!Arc::ptr_eq(&wiki, &again.get(Some(NAMES[0])).unwrap()), "what went is forgotten");
    }

    #[test]
    fn a_rotated_intermediate_signs_at_the_next_handshake_and_an_old_one_keeps_its_leaves() {
        let (dir, clock, first) = world();
        let reopened = || Ca::reopen(dir.path(), &"home.arpa".parse().unwrap(), clock.now()).unwrap();
        let leaf = first.get(Some(NAMES[0])).unwrap();
        let same = first.by(reopened(), NAMES).unwrap();
        assert!(Arc::ptr_eq(&leaf, &same.get(Some(NAMES[0])).unwrap()));

        let crate::ca::RootKeyFile::Open(key) = crate::ca::RootKeyFile::read(dir.path(), None).unwrap()
        else {
            unreachable!()
        };
        crate::ca::rotate(dir.path(), key, clock.now()).unwrap();
        let rotated = same.by(reopened(), NAMES).unwrap();
        let new = rotated.get(Some(NAMES[0])).unwrap();
        assert_eq!(new.cert[1], *rotated.authority().unwrap().intermediate());
        assert_ne!(new.cert[1], leaf.cert[1]);
    }

    #[test]
    fn a_name_outside_the_zone_is_refused() {
        let (_dir, _clock, first) = world();
        let refused = first.renamed(["nas.example.org"]);
        assert!(matches!(refused, Err(CaError::OutsideZone { .. })));
    }

    #[test]
    fn pem_files_of_ones_own_are_checked_before_they_are_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            file
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["nas.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = write("fullchain.pem", &params.self_signed(&key).unwrap().pem());
        let right = write("key.pem", &key.serialize_pem());
        let wrong = write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
        let none = write("none.pem", "hello");
        let at = |day: &str| format!("{day}T00:00:00Z").parse::<Timestamp>().unwrap();

        let given = Certificates::from_pem(&certificate, &right, at("2026-06-01")).unwrap();
        assert!(given.covers("nas.example.org") && !given.covers("wiki.example.org"));
        assert_eq!(given.ends(), Some(at("2027-01-01")));

        for (certificate, key, day, part) in [
            (&certificate, &wrong, "2026-06-01", "is not the key of the first certificate"),
            (&certificate, &right, "2028-01-01", "ended at 2027-01-01"),
            (&certificate, &right, "2025-06-01", "check the clock"),
            (&none, &right, "2026-06-01", "-----BEGIN CERTIFICATE-----"),
            (&certificate, &none, "2026-06-01", "no private key"),
            (&dir.path().join("absent"), &right, "2026-06-01", "No such file"),
        ] {
            let error = Certificates::from_pem(certificate, key, at(day)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_bundle_is_whole_private_and_leads_from_one_to_the_next() {
        use std::os::unix::fs::PermissionsExt;

        use rcgen::{BasicConstraints, CertifiedIssuer, IsCa};
        let issuer = || {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (issuer, stranger) = (issuer(), issuer());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["*.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let leaf = params.signed_by(&key, &issuer).unwrap().pem();
        let (secret, chain) = (key.serialize_pem(), issuer.pem());
        let other = KeyPair::generate().unwrap().serialize_pem();

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bundle.pem");
        let read = |text: &str, mode: u32, day: &str| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            Certificates::from_bundle(&file, format!("{day}T00:00:00Z").parse().unwrap())
        };
        let whole = format!("From: https://ca.example/dir\n{secret}{leaf}{chain}");
        let bundle = read(&whole, 0o600, "2026-02-01").unwrap();
        assert!(bundle.covers("wiki.example.org") && !bundle.covers("example.org"));
        assert_eq!(bundle.begins().map(|at| at.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));

        for (text, mode, day, part) in [
            (&whole, 0o640, "2026-02-01", "may be read by others"),
            (&whole, 0o600, "2025-12-31", "check the clock"),
            (&whole, 0o600, "2026-04-02", "ended at 2026-04-01"),
            (
                &format!("{other}{leaf}{chain}"),
                0o600,
                "2026-02-01",
                "is not the key of the first certificate",
            ),
            (
                &format!("{secret}{leaf}{}", stranger.pem()),
                0o600,
                "2026-02-01",
                "do not lead from one to the next",
            ),
            (&secret, 0o600, "2026-02-01", "no certificate in it"),
            (&format!("{leaf}{chain}"), 0o600, "2026-02-01", "no private key"),
            (&whole[..secret.len() + 200].to_owned(), 0o600, "2026-02-01", "no certificate"),
        ] {
            let error = read(text, mode, day).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
