//! Which certificates are served: what lies on disk, or, while that will not do, the last that would.

use std::sync::Arc;
use std::time::Duration;

use crate::acme;
use crate::admin;
use crate::ca::trust::{self, Trust, TrustKit};
use crate::ca::{self, Ca, CaError, Certificates, CurrentCertificates};
use crate::config::{Config, Tls};
use crate::model::Clock;
use crate::routes::Site;

use super::Inner;

/// How often files that would not do are read again. Most are mended by a change, which is noticed; but a clock that is set
/// changes no file.
const RETRY: Duration = Duration::from_secs(60);

/// Certificates, and those that they are made of.
pub(super) struct Renewed {
    of: Arc<Certificates>,
    by: Arc<Certificates>,
}

/// What is served first, and why no device believes it, if none does.
pub(super) fn first(
    config: &Config,
    site: &Site,
    clock: &Arc<dyn Clock>,
) -> Result<(Certificates, Option<CaError>), CaError> {
    let from_acme = matches!(config.tls, Tls::Acme(_));
    if let Some(kept) = from_acme.then(|| acme::kept(config, clock.now())).flatten() {
        return Ok((kept, None));
    }
    match &config.tls {
        Tls::PrivateCa | Tls::Acme(_) => {
            let ca = Ca::open_or_create(&config.state_dir, &config.zone, clock.now())?;
            let void = ca.void(clock.now());
            Ok((Certificates::issued(Arc::new(ca), site.names(), clock.clone())?, void))
        }
        Tls::Files { certificate, key } => Certificates::from_pem_whenever(certificate, key, clock.now()),
    }
}

/// What devices are told of how to trust what is served.
pub(super) fn trust(config: &Config, served: &Arc<CurrentCertificates>) -> Result<Trust, CaError> {
    let kit = match &config.tls {
        Tls::PrivateCa => Some(TrustKit::from(&trust::Root::read(&config.state_dir)?)),
        // Only the private CA that stands in until the first certificate is there.
        Tls::Acme(_) => trust::Root::read(&config.state_dir).ok().as_ref().map(TrustKit::from),
        Tls::Files { .. } => None,
    };
    let is_public = matches!(&config.tls, Tls::Acme(acme) if acme.is_public());
    Ok(Trust { kit, is_public, served: served.clone() })
}

impl Inner {
    /// The certificates for a configuration, read anew. Whatever is wrong with the files costs nobody a connection: what was
    /// served before is served on, and `status` says so. A right that was taken back in the same moment does not wait for it.
    ///
    /// # Errors
    /// A name outside the CA's zone.
    pub(super) fn renewed(&self, config: &Config, site: &Site) -> Result<Renewed, CaError> {
        let (current, now) = (self.certificates.load(), self.clock.now());
        let fresh = match &config.tls {
            // Also where it only stands in for an ACME server.
            Tls::PrivateCa | Tls::Acme(_) if current.authority().is_some() => {
                Ca::reopen(&config.state_dir, &config.zone, now).and_then(|ca| current.by(ca, site.names()))
            }
            // Whoever renews them leaves the paths as they are.
            Tls::Files { certificate, key } => Certificates::from_pem(certificate, key, now),
            Tls::PrivateCa | Tls::Acme(_) => current.renamed(site.names()),
        };
        match fresh {
            Ok(by) => {
                if self.certificate_fault.swap(None).is_some() {
                    tracing::info!("the certificates on disk are served after all");
                }
                Ok(Renewed { of: current, by: Arc::new(by) })
            }
            Err(error) => {
                let why = error.to_string();
                let before = self.certificate_fault.swap(Some(Arc::new(why.clone())));
                if before.is_none_or(|before| *before != why) {
                    tracing::error!("the certificates served so far stay: {why}");
                }
                let by = Arc::new(current.renamed(site.names())?);
                Ok(Renewed { of: current, by })
            }
        }
    }

    /// Serves them, unless the keeper of an ACME server's was faster with a first certificate of its own.
    pub(super) fn serve(&self, Renewed { mut of, by }: Renewed) {
        while !self.certificates.replace_still(&of, by.clone()) {
            of = self.certificates.load();
            if of.authority().is_none() {
                break;
            }
        }
    }

    /// Reads the certificates of the configuration in force anew.
    pub(super) fn renew(&self) {
        let (config, site) = (self.config.borrow().clone(), self.site.load_full());
        match self.renewed(&config, &site) {
            Ok(renewed) => self.serve(renewed),
            Err(error) => tracing::error!("{error}"),
        }
    }

    pub(super) fn ca_status(&self) -> admin::CaStatus {
        let certificates = self.certificates.load();
        let authority = certificates.authority();
        let fault = self.certificate_fault.load_full().map(|why| why.to_string());
        admin::CaStatus {
            intermediate: authority.map(|ca| ca::fingerprint(ca.intermediate())),
            certificate: certificates.fingerprint(),
            ends: authority.map(Ca::ends).or_else(|| certificates.ends()),
            root_ends: authority.map(Ca::root_ends),
            error: fault.or_else(|| certificates.doubt(self.clock.now()).map(|why| why.to_string())),
        }
    }
}

/// Tries files that would not do again, until they do.
pub(super) async fn retry(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(RETRY);
    loop {
        tick.tick().await;
        if inner.certificate_fault.load().is_none() {
            continue;
        }
        inner.renew();
    }
}
