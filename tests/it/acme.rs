//! Certificates from an ACME server: a real pebble, which looks for the challenges at a real BIND.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rustls::DigitallySignedStruct as Signed;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, X509Certificate};
use ztgate::admin::CertificatesStatus;
use ztgate::linux::clock::SystemClock;
use ztgate::model::{Clock, ManualClock};

use crate::real::named::{Named, WRONG_SECRET, write_secret};
use crate::real::pebble::Pebble;
use crate::world::command::typed;
use crate::world::pem::Pair;
use crate::world::{Live, World, echo};

const ZONE: &str = "home.arpa";
const CHALLENGE: &str = "_acme-challenge.home.arpa";
const PATIENCE: Duration = Duration::from_secs(40);

/// A world whose certificates come from this pebble, proved at this name server.
fn world(named: &Named, pebble: &Pebble, names: &str) -> World {
    let world = World::new().member("phone").service("wiki", echo());
    let nameserver = named.paragraph(world.folder(), "");
    let tls = pebble.paragraph(&format!("names = \"{names}\"\n"));
    world.gateway_lines(&format!("{tls}{nameserver}"))
}

/// Waits until something holds of what `status` says about certificates.
async fn until(live: &Live, what: &str, holds: impl Fn(&CertificatesStatus) -> bool) -> CertificatesStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = live.gateway().status().certificates;
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < end, "not {what}: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn issued(live: &Live) -> CertificatesStatus {
    until(live, "issued", |status| status.ends.is_some()).await
}

async fn failed(live: &Live, part: &str) -> CertificatesStatus {
    until(live, part, |status| error(status).is_some_and(|why| why.contains(part))).await
}

fn error(status: &CertificatesStatus) -> Option<&str> {
    Some(status.acme.as_ref()?.last_error.as_ref()?.why.as_str())
}

/// The certificate that a handshake for this name gets.
async fn served(live: &Live, name: &str) -> CertificateDer<'static> {
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
            .with_no_client_auth();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((live.from("phone").source, 0).into()).unwrap();
    let stream: TcpStream = socket.connect(([127, 0, 0, 1], live.https_port()).into()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// The DNS names of a certificate, in order.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    let mut names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => (*name).to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    names.sort();
    names
}

fn mode(file: &Path) -> u32 {
    file.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_by_signed_updates() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::start(named.address) else { return };
    let mut live = world(&named, &pebble, "wildcard").start().await;
    let status = issued(&live).await;
    assert_eq!((error(&status), status.serves.as_str()), (None, status.source.as_str()));
    let certificate = served(&live, "wiki.home.arpa").await;
    assert_eq!(names(&certificate), ["*.home.arpa", "home.arpa"]);
    assert!(named.dig(CHALLENGE, "TXT").is_empty(), "challenges are removed");

    let folder = live.state_dir().join("acme");
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    assert!(!folder.join("order.json").exists() && !folder.join("challenges.json").exists());

    // What is kept is served at once, and nobody is asked.
    drop(pebble);
    live.restart().await;
    assert_eq!(served(&live, "wiki.home.arpa").await, certificate);
    assert_eq!(error(&live.gateway().status().certificates), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_by_a_hook_and_a_new_service_soon() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::start(named.address) else { return };
    let draft = World::new().member("phone").service_with("wiki", echo(), "aliases = [\"notes\"]");
    let (hook, log) = (draft.folder().join("dns-hook"), draft.folder().join("hook.log"));
    std::fs::write(&hook, hook_script(&named, draft.folder(), &log)).unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
    let tls = pebble.paragraph("names = \"each\"\n");
    let mut live = draft.gateway_lines(&format!("{tls}[nameserver]\nhook = \"dns-hook\"\n")).start().await;
    issued(&live).await;
    let first = served(&live, "wiki.home.arpa").await;
    assert_eq!(names(&first), ["gate.home.arpa", "notes.home.arpa", "wiki.home.arpa"]);
    let told = std::fs::read_to_string(&log).unwrap();
    assert_eq!(told.matches("present _acme-challenge.").count(), 3, "{told}");
    assert_eq!(told.matches("cleanup _acme-challenge.").count(), 3, "{told}");

    live.reload(|plan| plan.service("films", &echo(), "")).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while !names(&served(&live, "films.home.arpa").await).contains(&"films.home.arpa".to_owned()) {
        assert!(Instant::now() < end, "{:?}", live.gateway().status().certificates);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A hook as somebody would write it who has nsupdate.
fn hook_script(named: &Named, folder: &Path, log: &Path) -> String {
    named.paragraph(folder, "");
    let secret = std::fs::read_to_string(folder.join("tsig.secret")).unwrap();
    format!(
        "#!/bin/sh\nset -e\necho \"$1 $2\" >>{}\n\
         case $1 in present) verb=\"add $2 60 TXT \\\"$3\\\"\" ;; cleanup) verb=\"delete $2 TXT \\\"$3\\\"\" ;; esac\n\
         printf 'server 127.0.0.1 {}\\nzone {ZONE}\\nkey hmac-sha256:ztgate {}\\nupdate %s\\nsend\\n' \"$verb\" | nsupdate\n",
        log.display(),
        named.address.port(),
        secret.trim()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_swap_in_while_handshakes_go_on() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::stopped(named.address) else { return };
    let mut pebble = pebble.living(15);
    pebble.resume();
    let live = world(&named, &pebble, "wildcard").start().await;
    issued(&live).await;
    let first = served(&live, "wiki.home.arpa").await;
    let (stop, mut handshakes, mut seen) = (AtomicBool::new(false), 0, Vec::new());
    let shake = async {
        while !stop.load(Ordering::Relaxed) {
            let certificate = served(&live, "wiki.home.arpa").await;
            handshakes += 1;
            if !seen.contains(&certificate) {
                seen.push(certificate);
            }
        }
    };
    let renewed = async {
        until(&live, "renewed", |status| {
            status.ends.is_some_and(|ends| {
                let (_, parsed) = X509Certificate::from_der(&first).unwrap();
                ends.as_second() > parsed.validity().not_after.timestamp()
            })
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(shake, renewed);
    assert_eq!(seen.len(), 2, "of {handshakes} handshakes, each of which came to its end");
    assert_eq!(accounts(&pebble), 1);

    // The next renewal finds nobody, and what there is goes on serving.
    pebble.stop();
    failed(&live, "cannot be reached").await;
    assert_eq!(Some(&served(&live, "wiki.home.arpa").await), seen.last());
}

fn accounts(pebble: &Pebble) -> usize {
    pebble.log().matches("accounts in memory").count()
}

fn orders(pebble: &Pebble) -> usize {
    pebble.log().matches("Added order").count()
}

fn certificates(pebble: &Pebble) -> usize {
    pebble.log().matches("Issued certificate").count()
}

/// As after a kill between the order and the request for the certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_under_way_is_gone_on_with_after_a_restart() {
    let Some(mut named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::start(named.address) else { return };
    named.stop();
    let mut live = world(&named, &pebble, "wildcard").start().await;
    failed(&live, "cannot be reached over TCP").await;
    let folder = live.state_dir().join("acme");
    let order = std::fs::read_to_string(folder.join("order.json")).unwrap();
    let order: serde_json::Value = serde_json::from_str(&order).unwrap();
    named.resume();
    forget_failures(&mut live).await;
    issued(&live).await;
    let bundle = std::fs::read_to_string(folder.join("bundle.pem")).unwrap();
    assert!(bundle.contains(order["key"].as_str().unwrap().trim()), "the key from before");
    assert_eq!((orders(&pebble), certificates(&pebble), accounts(&pebble)), (1, 1, 1), "{}", pebble.log());
}

/// As after a kill between the certificate's issue and its file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_was_issued_and_not_written_is_fetched_again() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::start(named.address) else { return };
    let draft = world(&named, &pebble, "wildcard");
    let in_the_way = draft.folder().join("state/acme/bundle.pem.new.draft");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let mut live = draft.start().await;
    failed(&live, "bundle.pem.new").await;
    assert!(named.dig(CHALLENGE, "TXT").is_empty(), "challenges are removed");
    std::fs::remove_dir(&in_the_way).unwrap();
    forget_failures(&mut live).await;
    issued(&live).await;
    assert_eq!((orders(&pebble), certificates(&pebble)), (1, 1), "{}", pebble.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_believes_still_is_not_proved_again() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::stopped(named.address) else { return };
    let mut pebble = pebble.with("PEBBLE_AUTHZREUSE", "100");
    pebble.resume();
    let mut live = world(&named, &pebble, "wildcard").start().await;
    issued(&live).await;
    live.stop().await;
    std::fs::remove_file(live.state_dir().join("acme/bundle.pem")).unwrap();
    // Whoever asked for a challenge now would be refused.
    write_secret(live.folder(), WRONG_SECRET);
    live.restart().await;
    issued(&live).await;
    assert_eq!((certificates(&pebble), accounts(&pebble)), (2, 1), "{}", pebble.log());
}

/// What came is not valid by our clock; it is fetched again once that is right, and not ordered again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_costs_no_second_certificate() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::stopped(named.address) else { return };
    let mut pebble = pebble.with("PEBBLE_VA_ALWAYS_VALID", "1");
    pebble.resume();
    // Nobody looks for the records, which a name server would not take from a clock that is so wrong.
    let tls = pebble.paragraph("");
    let behind = Arc::new(ManualClock::at(SystemClock.now() - SignedDuration::from_hours(400 * 24)));
    let draft = World::new().member("phone").service("wiki", echo()).clock(behind.clone());
    let mut live = draft.gateway_lines(&format!("{tls}[nameserver]\nhook = \"/bin/true\"\n")).start().await;
    let status = failed(&live, "check the clock (timedatectl)").await;
    assert!(status.ends.is_none() && status.serves.contains("private CA"), "{status:?}");
    assert!(live.state_dir().join("acme/order.json").exists(), "the order is kept");

    // And on, for it stands still otherwise.
    behind.advance(Duration::from_secs(400 * 24 * 3600 + 60));
    forget_failures(&mut live).await;
    issued(&live).await;
    assert_eq!((orders(&pebble), certificates(&pebble)), (1, 1), "{}", pebble.log());
}

/// A server that gives an account and takes no order for two hours.
async fn limited(pair: Pair) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = pair.acceptor().accept(stream).await else { continue };
            let mut stream = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).await.unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                match line.trim().to_ascii_lowercase().split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some(_) => {}
                    None => break,
                }
            }
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            let at = format!("https://{address}");
            let (status, more, body) = match first.split(' ').nth(1).unwrap() {
                "/dir" => {
                    let urls = [("newNonce", "nonce"), ("newAccount", "account"), ("newOrder", "order")];
                    let urls = urls.map(|(name, path)| format!("\"{name}\": \"{at}/{path}\""));
                    ("200 OK", String::new(), format!("{{{}}}", urls.join(", ")))
                }
                "/nonce" => ("200 OK", String::new(), String::new()),
                "/account" => ("201 Created", format!("Location: {at}/account/1\r\n"), "{}".to_owned()),
                _ => {
                    count.fetch_add(1, Ordering::Relaxed);
                    let kind = "urn:ietf:params:acme:error:rateLimited";
                    let body = format!("{{\"type\": \"{kind}\", \"detail\": \"too many certificates\"}}");
                    ("429 Too Many Requests", "Retry-After: 7200\r\n".to_owned(), body)
                }
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nReplay-Nonce: bm9uY2U\r\nContent-Type: application/problem+json\r\n{more}\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_fewer_requests_gets_them() {
    let pair = Pair::new(&["localhost", "127.0.0.1"]);
    let draft = World::new().member("phone").service("wiki", echo());
    pair.write_certificate(draft.folder());
    let (address, asked) = limited(pair).await;
    let tls =
        format!("[tls]\nacme = \"https://{address}/dir\"\nca = \"certificate.pem\"\nnames = \"each\"\n");
    let mut live = draft.gateway_lines(&format!("{tls}[nameserver]\nhook = \"/bin/true\"\n")).start().await;
    let status = failed(&live, "wants fewer requests (too many certificates").await;
    let wait = status.acme.unwrap().next.unwrap().duration_since(live.gateway().status().now);
    assert!((7100..=7200).contains(&wait.as_secs()), "{wait:?}");
    live.restart().await;
    failed(&live, "wants fewer requests").await;
    // New names, which a failure would not keep waiting, are no excuse either.
    live.reload(|plan| plan.service("films", &echo(), "")).await.unwrap();
    let status = until(&live, "waiting for films", |status| {
        status.acme.as_ref().is_some_and(|acme| acme.names.len() == 3 && acme.last_error.is_none())
    });
    let next = status.await.acme.unwrap().next.unwrap();
    assert!(next.duration_since(live.gateway().status().now).as_secs() > 7000, "{next}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "not once more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_private_ca_serves_until_the_first_one_is_there() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(mut pebble) = Pebble::stopped(named.address) else { return };
    let mut live = world(&named, &pebble, "wildcard").start().await;
    let status = failed(&live, "cannot be reached").await;
    assert!(status.ends.is_none() && status.serves.contains("private CA"), "{status:?}");
    assert_eq!(names(&served(&live, "wiki.home.arpa").await), ["wiki.home.arpa"]);
    live.from("phone").get("gate", "/trust").await.is(200).says("/trust/root.crt");
    let (said, code) = certs(&live, "verify");
    assert_eq!(code, Some(0), "{said}");
    for part in ["there is no certificate from", "the running gateway signs with", "cannot be reached"] {
        assert!(said.contains(part), "{part} in {said}");
    }

    pebble.resume();
    write_secret(live.folder(), WRONG_SECRET);
    forget_failures(&mut live).await;
    failed(&live, "another secret for the key ztgate").await;

    named.paragraph(live.folder(), "");
    forget_failures(&mut live).await;
    issued(&live).await;
    // No longer, though there is still a root to give.
    live.from("phone").get("gate", "/trust").await.is(200).says("ask the person in charge");
}

/// What `ztgate certs` prints beside this gateway, and how it ends.
fn certs(live: &Live, verb: &str) -> (String, Option<i32>) {
    typed(live.folder(), &format!("certs {verb}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_is_broken_under_a_running_gateway_is_told_and_costs_nothing() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::start(named.address) else { return };
    let live = world(&named, &pebble, "wildcard").start().await;
    issued(&live).await;
    let (shown, _) = certs(&live, "show");
    assert!(shown.contains("this one, for every name") && shown.contains("*.home.arpa"), "{shown}");
    let (said, code) = certs(&live, "verify");
    assert_eq!(code, Some(0), "{said}");
    for part in
        ["it covers every name that the gateway answers to", "the running gateway serves", "good until"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }

    let (file, certificate) =
        (live.state_dir().join("acme/bundle.pem"), served(&live, "wiki.home.arpa").await);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 3]).unwrap();
    let (shown, _) = certs(&live, "show");
    assert!(shown.contains("by the running gateway, and not what lies on disk"), "{shown}");
    let (said, code) = certs(&live, "verify");
    assert_eq!(code, Some(1), "{said}");
    for part in ["bundle.pem", "the running gateway serves another certificate than the one in", "and until "]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(served(&live, "wiki.home.arpa").await, certificate);
}

/// A start after the failures were forgotten, so that the test need not wait for minutes.
async fn forget_failures(live: &mut Live) {
    live.stop().await;
    let _ = std::fs::remove_file(live.state_dir().join("acme/past.json"));
    live.restart().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_not_repeated_by_restarts_and_leaves_nothing_behind() {
    let Some(mut named) = Named::start(ZONE) else { return };
    let Some(other) = Named::start(ZONE) else { return };
    // It looks for the challenges where they are not.
    let Some(pebble) = Pebble::start(other.address) else { return };
    let mut live = world(&named, &pebble, "wildcard").start().await;
    let status = failed(&live, "does not believe that the zone is ours").await;
    let wait = status.acme.unwrap().next.unwrap().duration_since(live.gateway().status().now);
    assert!(wait.as_secs() > 200, "{wait:?}");
    assert!(named.dig(CHALLENGE, "TXT").is_empty(), "challenges are removed");
    assert!(!live.state_dir().join("acme/order.json").exists(), "an order that failed is done with");

    assert_eq!(orders(&pebble), 1, "{}", pebble.log());
    live.restart().await;
    failed(&live, "does not believe that the zone is ours").await;
    assert_eq!(orders(&pebble), 1);

    // The name server away: the order stays, and is gone on with.
    named.stop();
    forget_failures(&mut live).await;
    failed(&live, "cannot be reached over TCP").await;
    assert_eq!(orders(&pebble), 2);
    assert!(live.state_dir().join("acme/order.json").exists());
    forget_failures(&mut live).await;
    failed(&live, "cannot be reached over TCP").await;
    assert_eq!(orders(&pebble), 2, "the same order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_that_a_crash_left_are_removed() {
    let Some(named) = Named::start(ZONE) else { return };
    let Some(pebble) = Pebble::start(named.address) else { return };
    let mut live = world(&named, &pebble, "wildcard").start().await;
    issued(&live).await;
    live.stop().await;
    named.update("update add _acme-challenge.home.arpa 60 TXT \"left\"");
    named.update("update add _acme-challenge.home.arpa 60 TXT \"theirs\"");
    let file = live.state_dir().join("acme/challenges.json");
    std::fs::write(&file, format!("[{{\"name\": \"{CHALLENGE}\", \"value\": \"left\"}}]")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    live.restart().await;
    let end = Instant::now() + PATIENCE;
    while named.dig(CHALLENGE, "TXT") != ["\"theirs\""] {
        assert!(Instant::now() < end, "{:?}", named.dig(CHALLENGE, "TXT"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes any certificate: what is served is what the tests look at.
#[derive(Debug)]
struct Anything;

type Signature = Result<HandshakeSignatureValid, rustls::Error>;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &Signed) -> Signature {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &Signed) -> Signature {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
