//! The certificates of one configuration: which one a handshake gets.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::given::Given;
use super::mint::Span;
use super::period::{Period, suits};
use super::{Ca, CaError, fingerprint};
use crate::model::Clock;

/// The certificates of one configuration. Immutable but for leaves, which are issued in the handshake that needs a new one;
/// a newer snapshot replaces it whole.
pub struct Certificates {
    source: Source,
}

enum Source {
    /// Issued by our CA, one a name.
    Issued(Issued),
    /// One chain for every name.
    Given(Arc<Given>),
}

/// What leaves are issued by and for.
struct Issued {
    ca: Arc<Ca>,
    clock: Arc<dyn Clock>,
    period: Arc<Period>,
    gateway: Slot,
    names: HashMap<Box<str>, Slot>,
}

/// A leaf, once a handshake asked for it. Reading it takes no lock.
#[derive(Default)]
struct Slot(ArcSwapOption<Leaf>);

struct Leaf {
    key: Arc<CertifiedKey>,
    made: Span,
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
        Self::issued_in(Arc::default(), ca, names, clock)
    }

    fn issued_in<N: AsRef<str>>(
        period: Arc<Period>,
        ca: Arc<Ca>,
        names: impl IntoIterator<Item = N>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaError> {
        let names = slots(&ca, names, |_| Slot::default())?;
        // What time it is by now, so that a clock that is set before the first handshake is known to have been.
        period.now(&ca, clock.as_ref());
        Ok(Self { source: Source::Issued(Issued { ca, clock, period, gateway: Slot::default(), names }) })
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
        let given = Given::from_files(certificate, key)?;
        let void = given.void(now);
        Ok((Self { source: Source::Given(Arc::new(given)) }, void))
    }

    /// The same from one file of our own that holds key and chain, so that they always belong together. Each certificate must
    /// be signed by the next one.
    ///
    /// # Errors
    /// As for [`Certificates::from_pem`]; this file is for nobody else to read.
    pub fn from_bundle(file: &Path, now: Timestamp) -> Result<Self, CaError> {
        let bundle = Self::from_bundle_whenever(file, now)?;
        bundle.doubt(now).map_or(Ok(bundle), Err)
    }

    /// The same whatever the clock says; [`Certificates::doubt`] tells of the time.
    ///
    /// # Errors
    /// As by [`Certificates::from_bundle`], but for the time.
    pub fn from_bundle_whenever(file: &Path, now: Timestamp) -> Result<Self, CaError> {
        let given = Given::from_bundle(file)?;
        given.linked(now)?;
        Ok(Self { source: Source::Given(Arc::new(given)) })
    }

    /// The snapshot for these names from now on, with the leaves that there are. PEM files are read anew by
    /// [`Certificates::from_pem`] instead; such a snapshot stays as it is.
    ///
    /// # Errors
    /// A name outside the CA's zone.
    pub fn renamed<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Self, CaError> {
        let source = match &self.source {
            Source::Given(given) => Source::Given(given.clone()),
            Source::Issued(Issued { ca, clock, period, gateway, names: old }) => Source::Issued(Issued {
                ca: ca.clone(),
                clock: clock.clone(),
                period: period.clone(),
                gateway: gateway.kept(),
                names: slots(ca, names, |name| old.get(name).map_or_else(Slot::default, Slot::kept))?,
            }),
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
            Source::Issued(Issued { ca, clock, period, .. }) if ca.intermediate() != newer.intermediate() => {
                Self::issued_in(period.clone(), Arc::new(newer), names, clock.clone())
            }
            _ => self.renamed(names),
        }
    }

    /// The CA that issues them, if they are issued here.
    pub fn authority(&self) -> Option<&Ca> {
        match &self.source {
            Source::Issued(issued) => Some(&issued.ca),
            Source::Given(_) => None,
        }
    }

    /// The certificate for the name in a handshake; for no name or an unknown one the gateway's own.
    ///
    /// `None` only if it could not be issued, which a log line then explains.
    pub fn get(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let issued = match &self.source {
            Source::Given(given) => return Some(given.key.clone()),
            Source::Issued(issued) => issued,
        };
        let known = name.and_then(|name| issued.names.get_key_value(name));
        let leaf = match known {
            Some((name, slot)) => slot.get(issued, || name.to_string()),
            None => issued.gateway.get(issued, || issued.ca.zone().name("gate")),
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
            (Source::Issued(issued), Some(name)) if issued.ca.covers(name) => issued
                .ca
                .leaf(name, issued.now())
                .inspect_err(|error| tracing::error!(name, %error, "no certificate"))
                .ok(),
            _ => self.get(None),
        }
    }

    /// Whether a device that asks for this name will find it in the certificate. Always so for issued ones.
    pub fn covers(&self, name: &str) -> bool {
        match &self.source {
            Source::Issued(Issued { ca, names, .. }) => {
                names.contains_key(name) || name == ca.zone().name("gate")
            }
            Source::Given(given) => given.covers(name),
        }
    }

    /// SHA-256 of the certificate that every name gets, as devices show it; `None` for issued ones.
    pub fn fingerprint(&self) -> Option<String> {
        self.given().map(|given| fingerprint(&given.key.cert[0]))
    }

    /// When a certificate of one's own begins; `None` for issued ones.
    pub fn begins(&self) -> Option<Timestamp> {
        self.given().map(|given| given.begins)
    }

    /// When a certificate of one's own ends; `None` for issued ones, which are replaced in time.
    pub fn ends(&self) -> Option<Timestamp> {
        self.given().map(|given| given.ends)
    }

    fn given(&self) -> Option<&Given> {
        match &self.source {
            Source::Given(given) => Some(given),
            Source::Issued(_) => None,
        }
    }

    /// What is wrong with them or with the clock, if no device may believe them now.
    pub fn doubt(&self, now: Timestamp) -> Option<CaError> {
        match &self.source {
            Source::Given(given) => given.void(now),
            Source::Issued(Issued { ca, clock, period, .. }) => period.doubt(ca, clock.as_ref()),
        }
    }
}

impl Issued {
    fn now(&self) -> Span {
        self.period.now(&self.ca, self.clock.as_ref())
    }
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
    fn get(&self, issued: &Issued, name: impl FnOnce() -> String) -> Result<Arc<CertifiedKey>, CaError> {
        let now = issued.now();
        if let Some(leaf) = self.0.load().as_deref().filter(|leaf| suits(leaf.made, now)) {
            return Ok(leaf.key.clone());
        }
        // Threads that get here together each issue one, and the last is kept.
        let key = issued.ca.leaf(&name(), now)?;
        self.0.store(Some(Arc::new(Leaf { key: key.clone(), made: now })));
        Ok(key)
    }

    fn kept(&self) -> Self {
        Self(ArcSwapOption::new(self.0.load_full()))
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
            Source::Issued(Issued { ca, names, .. }) => {
                write!(f, "Certificates({} names by {ca:?})", names.len())
            }
            Source::Given(_) => f.write_str("Certificates(PEM files)"),
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
mod tests;
