//! One certificate, from the account to the proved file. Each step leaves on disk what the next one, or the next try after a
//! crash, goes on from.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier, Key, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::ca::{CaError, Certificates};
use crate::config::Acme;
use crate::model::Clock;

use super::AcmeError;
use super::challenge::Solver;
use super::folder::{Challenge, Folder, UnderWay};
use super::http::Http;
use super::names::{challenge_at, example_of};

/// Over everything, hooks that wait for their provider included.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// How long the server may take to look at the challenges, and to sign.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// What one certificate takes.
pub(super) struct Job<'a> {
    pub acme: &'a Acme,
    pub names: &'a [String],
    pub solver: &'a Solver,
    pub folder: &'a Folder,
    pub clock: &'a Arc<dyn Clock>,
    /// Between the records and the server's look at them, for name servers that copy from the one that was changed.
    pub settle: Duration,
}

/// Has a certificate issued, proves it and puts it in the bundle's place. Challenges are removed whatever comes of it.
pub(super) async fn issue(job: &Job<'_>) -> Result<Certificates, AcmeError> {
    job.folder.make()?;
    tidy(job.solver, job.folder).await;
    let http = Http::new(job.acme.ca.as_deref())?;
    let outcome =
        tokio::time::timeout(LONGEST, obtain(job, &http)).await.unwrap_or(Err(AcmeError::TooLong(LONGEST)));
    tidy(job.solver, job.folder).await;
    outcome
}

/// Removes challenges that may stand. That some cannot be is no reason to go without a certificate.
pub(super) async fn tidy(solver: &Solver, folder: &Folder) {
    if let Err(error) = solver.clean_up(folder).await {
        tracing::warn!("a challenge's record may be left at the name server, and is removed later: {error}");
    }
}

async fn obtain(job: &Job<'_>, http: &Http) -> Result<Certificates, AcmeError> {
    let account = account(job, http).await?;
    let (mut order, under_way) = order(job, http, &account).await?;
    let was_issued = order.state().status == OrderStatus::Valid;
    if order.state().status == OrderStatus::Pending {
        authorise(job, http, &mut order).await?;
    }
    if order.state().status == OrderStatus::Ready {
        let csr = request(&under_way)?;
        order
            .finalize_csr(&csr)
            .await
            .map_err(refused("did not take the request for a certificate", http))?;
    }
    let chain = match order.poll_certificate(&POLLING).await {
        Ok(chain) => chain,
        Err(error) => {
            if order.state().status == OrderStatus::Invalid {
                job.folder.remove_order()?;
            }
            return Err(refused("did not issue the certificate", http)(error));
        }
    };
    let proved = prove(job, &under_way, &chain);
    if is_done(&proved, was_issued) {
        job.folder.remove_order()?;
    }
    proved
}

/// Whether nothing more comes of an order; `was_issued` if its certificate is one that an earlier try was given.
fn is_done<T>(proved: &Result<T, AcmeError>, was_issued: bool) -> bool {
    match proved {
        Ok(_) | Err(AcmeError::Uncovered(_)) => true,
        // What is new has not ended: the clock is wrong. What ended since will not be any better.
        Err(AcmeError::Unusable(CaError::Ended { .. })) => was_issued,
        // It is taken up again once the clock is right.
        Err(AcmeError::Unusable(CaError::NotYet { .. })) => false,
        Err(AcmeError::Unusable(_)) => true,
        // A full disk, say: what was issued can be had again.
        Err(_) => false,
    }
}

/// The account of our key. Asking for a new one finds the one that there is (RFC 8555, section 7.3.1), so that the key alone
/// need be kept, and is on disk before the server hears of it.
async fn account(job: &Job<'_>, http: &Http) -> Result<Account, AcmeError> {
    let directory = &job.acme.directory;
    let key = match job.folder.account_key(directory)? {
        Some(key) => key,
        None => {
            let key = new_key()?;
            job.folder.write_account_key(directory, &key)?;
            key
        }
    };
    let unreadable = |why: String| AcmeError::Unreadable { file: job.folder.account(directory), why };
    let PrivateKeyDer::Pkcs8(pkcs8) = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| unreadable(format!("no private key in PEM ({error})")))?
    else {
        return Err(unreadable("the key is not PKCS#8".to_owned()));
    };
    let signer = Key::from_pkcs8_der(pkcs8.clone_key()).map_err(|error| unreadable(error.to_string()))?;
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let (account, _) = builder
        .create_from_key((signer, pkcs8.into()), directory.clone())
        .await
        .map_err(refused("gives no account", http))?;
    if !job.acme.contact.is_empty() {
        let contact: Vec<&str> = job.acme.contact.iter().map(String::as_str).collect();
        account.update_contacts(&contact).await.map_err(refused("does not take tls.contact", http))?;
    }
    Ok(account)
}

/// The order that a crash or a failure left, if it can be gone on with; otherwise a new one.
async fn order(job: &Job<'_>, http: &Http, account: &Account) -> Result<(Order, UnderWay), AcmeError> {
    if let Some(left) = job.folder.order()? {
        let bundle = job.folder.read_bundle()?;
        let is_done = bundle.is_some_and(|bundle| bundle.contains(left.key.trim()));
        if !is_done && left.directory == job.acme.directory && left.names == job.names {
            match account.order(left.order.clone()).await {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        return Ok((order, left));
                    }
                }
                // The server has forgotten it, or it is another account's.
                Err(Error::Api(problem)) if !is_rate_limit(&problem) => {}
                Err(error) => return Err(refused("does not tell of the order under way", http)(error)),
            }
        }
        job.folder.remove_order()?;
    }
    let identifiers: Vec<_> = job.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let key = new_key()?;
    let order =
        account.new_order(&NewOrder::new(&identifiers)).await.map_err(refused("takes no order", http))?;
    let under_way = UnderWay {
        directory: job.acme.directory.clone(),
        names: job.names.to_vec(),
        order: order.url().to_owned(),
        key,
    };
    job.folder.write_order(&under_way)?;
    Ok((order, under_way))
}

/// Shows the server that every name is ours. All records stand at once: a domain's and its wildcard's have one name.
async fn authorise(job: &Job<'_>, http: &Http, order: &mut Order) -> Result<(), AcmeError> {
    const READING: &str = "does not tell of an authorisation";
    let mut challenges = Vec::new();
    let mut authorisations = order.authorizations();
    while let Some(authorisation) = authorisations.next().await {
        let mut authorisation = authorisation.map_err(refused(READING, http))?;
        if authorisation.status == AuthorizationStatus::Pending {
            let name = authorisation.identifier().to_string();
            let Some(challenge) = authorisation.challenge(ChallengeType::Dns01) else {
                return Err(AcmeError::NoDns01(name));
            };
            let value = challenge.key_authorization().dns_value();
            challenges.push(Challenge { name: challenge_at(&name), value });
        }
    }
    job.solver.present(job.folder, &challenges).await?;
    tokio::time::sleep(job.settle).await;
    let mut authorisations = order.authorizations();
    while let Some(authorisation) = authorisations.next().await {
        let mut authorisation = authorisation.map_err(refused(READING, http))?;
        if authorisation.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorisation.challenge(ChallengeType::Dns01)
            && challenge.status == ChallengeStatus::Pending
        {
            challenge.set_ready().await.map_err(refused("does not look at a challenge", http))?;
        }
    }
    match order.poll_ready(&POLLING).await {
        Ok(OrderStatus::Invalid) => {}
        Ok(_) => return Ok(()),
        Err(_) if order.state().status == OrderStatus::Invalid => {}
        Err(error) => return Err(refused("did not look at the challenges", http)(error)),
    }
    // It will never be anything else.
    job.folder.remove_order()?;
    Err(AcmeError::NotBelieved(complaints(order).await))
}

/// What the server says about each name that it does not believe.
async fn complaints(order: &mut Order) -> String {
    let mut said = Vec::new();
    let mut authorisations = order.authorizations();
    while let Some(Ok(authorisation)) = authorisations.next().await {
        let name = authorisation.identifier().to_string();
        let errors = authorisation.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        said.extend(errors.filter_map(|error| error.detail.clone()).map(|why| format!("{name}: {why}")));
    }
    if said.is_empty() { "it does not say why".to_owned() } else { said.join("; ") }
}

/// A certificate request for the order's names, by its key.
fn request(under_way: &UnderWay) -> Result<Vec<u8>, AcmeError> {
    let wrong = |error: rcgen::Error| AcmeError::Key(error.to_string());
    let key = KeyPair::from_pem(&under_way.key).map_err(wrong)?;
    let mut params = CertificateParams::new(under_way.names.clone()).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(wrong)?.der().to_vec())
}

/// Puts key and chain into the bundle's place, once a server could serve them: they belong together, are valid now, and carry
/// every name.
fn prove(job: &Job<'_>, under_way: &UnderWay, chain: &str) -> Result<Certificates, AcmeError> {
    let text = Zeroizing::new(format!(
        "{}Key and chain from an ACME server; ztgate replaces this file whole.\n{}\n{chain}",
        from(&job.acme.directory),
        under_way.key.trim_end()
    ));
    job.folder.write_candidate(&text)?;
    let certificates = Certificates::from_bundle(&job.folder.candidate(), job.clock.now())?;
    if let Some(name) = job.names.iter().find(|name| !certificates.covers(&example_of(name))) {
        return Err(AcmeError::Uncovered(name.clone()));
    }
    job.folder.promote()?;
    Ok(certificates)
}

/// The line of a bundle that tells which server it is from. PEM allows text before what it holds (RFC 7468, section 2).
pub(super) fn from(directory: &str) -> String {
    format!("From: {directory}\n")
}

fn new_key() -> Result<Zeroizing<String>, AcmeError> {
    let key = KeyPair::generate().map_err(|error| AcmeError::Key(error.to_string()))?;
    Ok(Zeroizing::new(key.serialize_pem()))
}

/// Turns what the server said into what a person can use.
fn refused(what: &'static str, http: &Http) -> impl Fn(Error) -> AcmeError {
    let http = http.clone();
    move |error| {
        let wait = http.take_wait();
        let limited = matches!(&error, Error::Api(problem) if is_rate_limit(problem));
        let why = match error {
            Error::Api(problem) => problem.to_string().trim_start_matches("API error: ").to_owned(),
            Error::Timeout(_) => "it took too long, and is asked again later".to_owned(),
            other => other.to_string(),
        };
        if limited || wait.is_some() {
            AcmeError::RateLimited { why, wait }
        } else {
            AcmeError::Server { what, why }
        }
    }
}

fn is_rate_limit(problem: &instant_acme::Problem) -> bool {
    problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":rateLimited"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_kept_only_while_something_may_come_of_it() {
        let (file, at) = (std::path::PathBuf::from("bundle.pem.new"), jiff::Timestamp::UNIX_EPOCH);
        let ended = || AcmeError::Unusable(CaError::Ended { file: file.clone(), at });
        let begins = || AcmeError::Unusable(CaError::NotYet { file: file.clone(), at });
        let why = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for (what, proved, was_issued, expected) in [
            ("it is served", Ok(()), false, true),
            ("it lacks a name", Err(AcmeError::Uncovered("x".into())), false, true),
            ("just issued, and ended by our clock", Err(ended()), false, false),
            ("issued long ago, and ended since", Err(ended()), true, true),
            ("the clock is behind", Err(begins()), true, false),
            ("the disk is full", Err(AcmeError::File { file: file.clone(), why: why() }), true, false),
        ] {
            assert_eq!(is_done(&proved, was_issued), expected, "{what}");
        }
    }
}
