//! The task that keeps a certificate: what is kept is served at once, a new one is asked for in time, and swapped in live.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ca::CurrentCertificates;
use crate::config::{Acme, Config, Tls};
use crate::model::Clock;

use super::AcmeError;
use super::challenge::Solver;
use super::folder::Folder;
use super::issue::{self, Job, issue};
use super::kept::{is_from, read_kept};
use super::names::{example_of, wanted};
use super::schedule::{self, Life, Past, Reason, When};

/// The clock on the wall may be set while this sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// While none that devices believe is served: the clock may be set, or a file that is kept be mended.
const SLEEP_WITHOUT: Duration = Duration::from_secs(60);

/// What `status` says about certificates from an ACME server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeStatus {
    /// The names that a certificate is to carry.
    pub names: Vec<String>,
    /// When the next one is asked for.
    pub next: Option<Timestamp>,
    /// Why the last try came to nothing; none once one succeeded.
    pub last_error: Option<Failure>,
    /// Why the one that is kept is not served; none where it is, and before the first one.
    #[serde(default)]
    pub unusable: Option<String>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub at: Timestamp,
    pub why: String,
}

/// Keeps one certificate in force.
pub struct Keeper {
    config: watch::Receiver<Arc<Config>>,
    certificates: Arc<CurrentCertificates>,
    clock: Arc<dyn Clock>,
    folder: Folder,
    past: Past,
    /// Since when the served certificate lacks something.
    lacking_since: Option<Timestamp>,
    /// Why the one that is kept is not served.
    unusable: Option<String>,
    jitter: f64,
    status: watch::Sender<AcmeStatus>,
}

impl Keeper {
    /// A keeper that has done nothing yet, and where it will say how it stands.
    pub fn new(
        config: watch::Receiver<Arc<Config>>,
        certificates: Arc<CurrentCertificates>,
        clock: Arc<dyn Clock>,
    ) -> (Self, watch::Receiver<AcmeStatus>) {
        let folder = Folder::of(&config.borrow().state_dir);
        let past = folder.past().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Past::default()
        });
        let (status, told) = watch::channel(AcmeStatus::default());
        let keeper = Self {
            config,
            certificates,
            clock,
            folder,
            past,
            lacking_since: None,
            unusable: None,
            jitter: chance(),
            status,
        };
        (keeper, told)
    }

    /// Works until the configuration's sender is gone.
    pub async fn run(mut self) {
        let mut is_start = true;
        loop {
            let config = self.config.borrow_and_update().clone();
            // Another source of certificates takes a restart.
            let Tls::Acme(acme) = &config.tls else { return };
            let now = self.clock.now();
            let names = wanted(&config, acme.names);
            let about = format!("{acme:?} {:?} {names:?}", config.nameserver);
            if std::mem::take(&mut is_start) || about != self.past.about {
                self.past = std::mem::take(&mut self.past).at_start(&acme.directory, about);
            }
            self.past.mend(now);
            let when = self.when(&config, acme, &names, now);
            self.tell(&names, when);
            if when.at <= now {
                self.ask(&config, acme, &names).await;
                continue;
            }
            self.tidy(&config).await;
            let wait: Duration = when.at.duration_since(now).try_into().unwrap_or_default();
            let is_well = self.serves() && self.certificates.load().doubt(now).is_none();
            let longest = if is_well { LONGEST_SLEEP } else { SLEEP_WITHOUT };
            tokio::select! {
                () = tokio::time::sleep(wait.min(longest)) => {}
                changed = self.config.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Whether a certificate from an ACME server is served, and not the private CA in its place.
    fn serves(&self) -> bool {
        self.certificates.load().ends().is_some()
    }

    fn when(&mut self, config: &Config, acme: &Acme, names: &[String], now: Timestamp) -> When {
        self.unusable = None;
        if !self.serves() {
            match read_kept(config, now) {
                // Valid again since the clock was set, say.
                Ok(Some(kept)) => self.certificates.replace(kept),
                Ok(None) => {}
                Err(why) => self.unusable = Some(why.to_string()),
            }
        }
        let served = self.certificates.load();
        let life = served.begins().zip(served.ends()).map(|(begins, ends)| {
            let whole = names.iter().all(|name| served.covers(&example_of(name)))
                && is_from(&config.state_dir, &acme.directory);
            let since = self.lacking_since.unwrap_or(now).min(now);
            self.lacking_since = (!whole).then_some(since);
            Life { begins, ends, lacking_since: self.lacking_since }
        });
        schedule::next(life.as_ref(), &self.past, self.jitter, now)
    }

    async fn ask(&mut self, config: &Config, acme: &Acme, names: &[String]) {
        tracing::info!("asking {} for a certificate for {}", acme.directory, names.join(", "));
        let outcome = match &config.nameserver {
            Some(nameserver) => {
                let solver = Solver::new(nameserver, self.clock.clone());
                let (folder, clock) = (&self.folder, &self.clock);
                let settle = schedule::settle(&self.past);
                issue(&Job { acme, names, solver: &solver, folder, clock, settle }).await
            }
            None => Err(AcmeError::NoNameserver),
        };
        let now = self.clock.now();
        self.jitter = chance();
        match outcome {
            Ok(certificates) => {
                let ends = certificates.ends().unwrap_or(now);
                self.certificates.replace(certificates);
                self.lacking_since = None;
                self.past.issued(now);
                tracing::info!("a new certificate is served; it ends at {ends}");
            }
            Err(error) => {
                self.past.failed(now, error.to_string(), error.retry_after());
                tracing::warn!("no new certificate, and what there is goes on serving: {error}");
            }
        }
        if let Err(error) = self.folder.write_past(&self.past) {
            tracing::warn!("{error}");
        }
    }

    /// Removes challenges that a crash left.
    async fn tidy(&self, config: &Config) {
        let left = self.folder.challenges().is_ok_and(|left| !left.is_empty());
        if let Some(nameserver) = config.nameserver.as_ref().filter(|_| left) {
            issue::tidy(&Solver::new(nameserver, self.clock.clone()), &self.folder).await;
        }
    }

    fn tell(&self, names: &[String], when: When) {
        if when.reason == Reason::Enough {
            tracing::warn!("enough certificates for one day; the next is asked for at {}", when.at);
        }
        let failure = self.past.failed_at.zip(self.past.why.clone());
        self.status.send_replace(AcmeStatus {
            names: names.to_vec(),
            next: Some(when.at),
            last_error: failure.map(|(at, why)| Failure { at, why }),
            unusable: self.unusable.clone(),
        });
    }
}

/// A number between 0 and 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes everything else would fail; the middle does.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests;
