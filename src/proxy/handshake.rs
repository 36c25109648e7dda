//! TLS with a device: by which settings, and why it failed.

use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::{AlertDescription, InvalidMessage, ProtocolVersion};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::model::{MemberId, TlsVersion};

use super::connection::Connection;

/// Shakes hands within the limit; `None` if that failed, which is then counted.
pub async fn shake_hands(connection: &Rc<Connection>, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let limit = connection.context.limits.handshake;
    let outcome = match tokio::time::timeout(limit, negotiate(connection, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(_) => Err(Failure::Slow),
    };
    let stats = &connection.context.stats;
    match outcome {
        Ok(stream) => {
            connection.tls.set(stream.get_ref().1.protocol_version().map(version));
            if let Some(member) = connection.member {
                stats.distrust().forget(member);
            }
            Some(stream)
        }
        Err(why) => {
            stats.handshake_failed(why);
            tracing::debug!(peer = %connection.peer, ?why, "no handshake");
            if let (Failure::Distrust, Some(member)) = (why, connection.member)
                // Nobody helps those who are not let in to trust what they cannot open.
                && connection.identify(&connection.context.snapshot()).is_ok()
            {
                stats.distrust().note(member, connection.context.clock.now());
            }
            None
        }
    }
}

async fn negotiate(connection: &Rc<Connection>, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let sni = start.client_hello().server_name().map(str::to_ascii_lowercase);
    let context = &connection.context;
    let snapshot = context.snapshot();
    let handshake = snapshot.site.handshake(sni.as_deref());
    *connection.sni.borrow_mut() = sni.map(String::into_boxed_str);
    let config = match connection.identify(&snapshot) {
        Err(_) => context.tls.strangers(),
        Ok(_) => context.tls.get(handshake),
    };
    start.into_stream(config.clone()).await
}

/// What was agreed on: nothing older than TLS 1.2 is ever offered.
fn version(agreed: ProtocolVersion) -> TlsVersion {
    match agreed {
        ProtocolVersion::TLSv1_3 => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    }
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device does not trust our certificate.
    Distrust,
    /// To the device our certificate has ended, or not begun: its clock, mostly.
    Expired,
    /// No version, cipher or protocol that both would take.
    NothingInCommon,
    /// What came was no TLS: plain HTTP, say.
    NotTls,
    /// It took too long.
    Slow,
    /// The device went away in the middle, without a word.
    Left,
    /// The last one, which [`Failures`] counts on.
    Other,
}

impl Failure {
    fn of(error: &Error) -> Self {
        use rustls::Error as Tls;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
            Some(Tls::AlertReceived(alert)) => Self::by_alert(*alert),
            Some(Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol) => Self::NothingInCommon,
            Some(Tls::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => Self::NotTls,
            Some(_) => Self::Other,
            None => match error.kind() {
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => Self::Left,
                _ => Self::Other,
            },
        }
    }

    /// What a device means by an alert (RFC 8446, section 6.2).
    fn by_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked => Self::Distrust,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol
            | AlertDescription::InappropriateFallback => Self::NothingInCommon,
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Left,
            _ => Self::Other,
        }
    }
}

/// One thread's failed handshakes.
#[derive(Debug, Default)]
pub(super) struct Failures([AtomicU64; Failure::Other as usize + 1]);

impl Failures {
    pub fn count(&self, why: Failure) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> FailureCounts {
        let of = |why: Failure| self.0[why as usize].load(Ordering::Relaxed);
        FailureCounts {
            distrust: of(Failure::Distrust),
            expired: of(Failure::Expired),
            nothing_in_common: of(Failure::NothingInCommon),
            not_tls: of(Failure::NotTls),
            slow: of(Failure::Slow),
            left: of(Failure::Left),
            other: of(Failure::Other),
        }
    }
}

/// Failed handshakes, by [`Failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCounts {
    pub distrust: u64,
    pub expired: u64,
    pub nothing_in_common: u64,
    pub not_tls: u64,
    pub slow: u64,
    pub left: u64,
    pub other: u64,
}

impl FailureCounts {
    pub fn total(self) -> u64 {
        self.in_words().into_iter().map(|(count, _)| count).sum()
    }

    /// Each count with its reason, for people.
    pub fn in_words(self) -> [(u64, &'static str); 7] {
        [
            (self.distrust, "for distrust of the certificate"),
            (self.expired, "for a certificate that has ended by the device's clock"),
            (self.nothing_in_common, "for want of a common version or cipher"),
            (self.not_tls, "for plain http, or whatever else is no TLS"),
            (self.slow, "for slowness"),
            (self.left, "broken off"),
            (self.other, "for other reasons"),
        ]
    }
}

impl std::iter::Sum for FailureCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            distrust: sum.distrust + one.distrust,
            expired: sum.expired + one.expired,
            nothing_in_common: sum.nothing_in_common + one.nothing_in_common,
            not_tls: sum.not_tls + one.not_tls,
            slow: sum.slow + one.slow,
            left: sum.left + one.left,
            other: sum.other + one.other,
        })
    }
}

/// The members whose devices last refused our certificate: the newest, and each once. One that shakes hands after all is
/// taken off.
#[derive(Debug, Default)]
pub struct Distrust(ArcSwap<Vec<Distrusting>>);

/// A member whose device refused our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distrusting {
    pub member: MemberId,
    pub at: Timestamp,
}

impl Distrust {
    /// As many as a person looks through.
    const MOST: usize = 32;

    /// The members, the oldest first.
    pub fn list(&self) -> Arc<Vec<Distrusting>> {
        self.0.load_full()
    }

    fn note(&self, member: MemberId, at: Timestamp) {
        self.0.rcu(|known| {
            let mut members = without(known, member);
            let over = (members.len() + 1).saturating_sub(Self::MOST);
            members.drain(..over);
            members.push(Distrusting { member, at });
            members
        });
    }

    /// Each good handshake asks, so who is not on the list waits for nobody.
    fn forget(&self, member: MemberId) {
        if self.0.load().iter().any(|known| known.member == member) {
            self.0.rcu(|known| without(known, member));
        }
    }
}

fn without(known: &[Distrusting], member: MemberId) -> Vec<Distrusting> {
    known.iter().filter(|known| known.member != member).copied().collect()
}

#[cfg(test)]
mod tests {
    use rustls::{PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[test]
    fn each_way_to_fail_has_its_reason() {
        let tls = |error: rustls::Error| Error::new(ErrorKind::InvalidData, error);
        let alert = |alert| tls(rustls::Error::AlertReceived(alert));
        for (error, expected) in [
            (alert(AlertDescription::UnknownCA), Failure::Distrust),
            (alert(AlertDescription::BadCertificate), Failure::Distrust),
            (alert(AlertDescription::CertificateUnknown), Failure::Distrust),
            (alert(AlertDescription::CertificateExpired), Failure::Expired),
            (alert(AlertDescription::ProtocolVersion), Failure::NothingInCommon),
            (alert(AlertDescription::InternalError), Failure::Other),
            (alert(AlertDescription::CloseNotify), Failure::Left),
            (tls(PeerIncompatible::Tls12NotOfferedOrEnabled.into()), Failure::NothingInCommon),
            (tls(InvalidMessage::InvalidContentType.into()), Failure::NotTls),
            (tls(PeerMisbehaved::BadCertChainExtensions.into()), Failure::Other),
            (ErrorKind::UnexpectedEof.into(), Failure::Left),
            (ErrorKind::ConnectionReset.into(), Failure::Left),
            (ErrorKind::OutOfMemory.into(), Failure::Other),
        ] {
            assert_eq!(Failure::of(&error), expected, "{error}");
        }
    }

    #[test]
    fn counts_are_kept_apart_and_summed() {
        let (one, other) = (Failures::default(), Failures::default());
        one.count(Failure::Distrust);
        one.count(Failure::Other);
        other.count(Failure::Distrust);
        let sum: FailureCounts = [one.counts(), other.counts()].into_iter().sum();
        assert_eq!(sum, FailureCounts { distrust: 2, other: 1, ..FailureCounts::default() });
        assert_eq!(sum.total(), 3);
    }

    #[test]
    fn who_distrusts_is_kept_once_and_the_newest_only() {
        let member = |n: u64| format!("{n:010x}").parse::<MemberId>().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let distrust = Distrust::default();
        for n in 1..=40 {
            distrust.note(member(n), at(n as i64));
        }
        distrust.note(member(20), at(50));
        let list = distrust.list();
        assert_eq!((list.len(), list[0].member), (Distrust::MOST, member(9)));
        assert_eq!(list.last(), Some(&Distrusting { member: member(20), at: at(50) }));
        for one in list.iter() {
            distrust.forget(one.member);
        }
        assert!(distrust.list().is_empty());
    }
}
