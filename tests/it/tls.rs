//! TLS: a rotation that nobody notices, what each service asks of a handshake, and why handshakes fail.

use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ztgate::ca::{self, RootKeyFile};
use ztgate::linux::clock::SystemClock;
use ztgate::model::Clock;

use crate::world::h2::H2;
use crate::world::pem::Pair;
use crate::world::upstream::radio;
use crate::world::wire::Closed;
use crate::world::{Live, SOON, Wire, World, echo, trusting};

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";

async fn home() -> Live {
    World::new()
        .member("red-phone")
        .member("laptop")
        .pending("new-tv")
        .service("wiki", echo())
        .service("radio", radio())
        .service_with("bank", echo(), "min_tls = \"1.3\"\nplain_http = false")
        .allow("red-phone", "wiki")
        .allow("red-phone", "radio")
        .allow("red-phone", "bank")
        .start()
        .await
}

fn root(world: &Live) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(ca::root_pem(&world.state_dir()).unwrap().as_bytes()).unwrap()
}

/// The intermediate that a new handshake shows to a device that trusts the root.
async fn shown(world: &Live) -> CertificateDer<'static> {
    let stream = world.from("red-phone").tls("wiki", &[b"http/1.1"]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[1].clone().into_owned()
}

fn rotate(world: &Live) {
    let RootKeyFile::Open(key) = RootKeyFile::read(&world.state_dir(), None).unwrap() else {
        panic!("nobody encrypted it")
    };
    ca::rotate(&world.state_dir(), key, SystemClock.now()).unwrap();
}

#[tokio::test]
async fn a_rotation_is_taken_over_and_nobody_notices() {
    let mut world = home().await;
    let phone = world.from("red-phone");
    let mut playing = phone.open_tls("radio", &[b"http/1.1"]).await;
    playing.send("GET / HTTP/1.1\r\nHost: radio.home.arpa\r\n\r\n").await;
    assert_eq!(playing.head().await.unwrap().status(), 200);
    assert_eq!(playing.chunk().await.unwrap(), b"on");
    // A device that resumes its session shows a ticket, not what it was signed with.
    let resuming = trusting(root(&world), &[&TLS13]);
    let mut wire = Wire::new(phone.tls_with(resuming.clone(), "wiki").await.unwrap());
    wire.send(GET).await;
    phone.reply(&mut wire, GET).await.is(200);
    let before = shown(&world).await;
    assert_eq!(world.gateway().status().ca.intermediate, Some(ca::fingerprint(&before)));

    rotate(&world);
    assert_eq!(shown(&world).await, before, "not before it reads its files anew");
    world.reload(|_| ()).await.unwrap();

    let after = shown(&world).await;
    assert_ne!(before, after);
    assert_eq!(world.gateway().status().ca.intermediate, Some(ca::fingerprint(&after)));
    assert_eq!(playing.closed_within(Duration::from_millis(50)).await, Closed::Open);
    wire.send(GET).await;
    world.from("red-phone").reply(&mut wire, GET).await.is(200);
    let resumed = world.from("red-phone").tls_with(resuming, "wiki").await.unwrap();
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));

    world.restart().await;
    assert_eq!(shown(&world).await, after);
}

#[tokio::test]
async fn a_ca_that_cannot_be_read_any_more_goes_on_and_says_so() {
    let mut world = home().await;
    let (before, file) = (shown(&world).await, ca::issuer_file(&world.state_dir()));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    world.reload(|plan| plan.allow("laptop", "wiki")).await.unwrap();
    world.from("laptop").get("wiki", "/").await.is(200);
    let status = world.gateway().status();
    assert!(status.ca.error.is_some_and(|why| why.contains("intermediate-and-key.pem")));
    assert_eq!((shown(&world).await, status.ca.ends.is_some()), (before.clone(), true));

    std::fs::write(&file, &whole).unwrap();
    world.reload(|_| ()).await.unwrap();
    assert_eq!((world.gateway().status().ca.error, shown(&world).await), (None, before));
}

#[tokio::test]
async fn a_service_that_asks_for_tls_1_3_gets_nothing_older() {
    let world = home().await;
    let phone = world.from("red-phone");
    for (versions, sni, name, agreed) in [
        (&[&TLS12][..], true, "wiki", true),
        (&[&TLS12], true, "bank", false),
        // What asks for no name may ask for any, once it is in.
        (&[&TLS12], false, "wiki", false),
        (&[&TLS13], false, "gate", true),
        (&[&TLS12, &TLS13], true, "bank", true),
    ] {
        let mut config = trusting(root(&world), versions);
        config.enable_sni = sni;
        let outcome = phone.tls_with(config, name).await.map(drop);
        assert_eq!(outcome.is_ok(), agreed, "{name} {versions:?} {sni}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(error.to_string().contains("ProtocolVersion"), "a clean alert: {error}");
        }
    }
    // To whoever is not let in all names look alike.
    let tv = world.from("new-tv");
    for name in ["wiki", "bank", "no-such"] {
        tv.tls_with(trusting(root(&world), &[&TLS12]), name).await.unwrap();
    }
    assert_eq!(world.gateway().status().handshake_failures.nothing_in_common, 2);
}

/// Whom devices have to trust is told by what is served: while the private CA stands in, its root, and of whom the gateway knows
/// nothing, that he is somebody else.
#[tokio::test]
async fn the_trust_page_tells_who_vouches_for_what_is_served() {
    const PUBLIC: &str = "https://acme-v02.api.letsencrypt.org/directory";
    const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
    // Nobody answers there.
    const OWN: &str = "https://127.0.0.1:1/directory";
    const NAMES: [&str; 2] = ["home.arpa", "*.home.arpa"];
    const OURS: &str = "/trust/root.crt";
    const ALL: &str = "Nothing to install";
    const NOBODY: &str = "ask the person in charge";
    let hook = "[nameserver]\nhook = \"/bin/true\"\n";
    let acme = |directory: &str, more: &str| format!("[tls]\nacme = \"{directory}\"\n{more}{hook}");
    let files = || "[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n".to_owned();
    let (good, ended) = (Pair::new(&NAMES), Pair::lasting(&NAMES, 2020, 2021));
    for (what, lines, kept, words) in [
        ("the private CA", String::new(), None, OURS),
        ("files of one's own", files(), None, NOBODY),
        ("a public server's", acme(PUBLIC, ""), Some((&good, PUBLIC)), ALL),
        ("staging's", acme(STAGING, ""), Some((&good, STAGING)), NOBODY),
        ("a server's of the house", acme(OWN, "ca = \"certificate.pem\"\n"), Some((&good, OWN)), NOBODY),
        ("none yet", acme(OWN, ""), None, OURS),
        ("one that ended", acme(OWN, ""), Some((&ended, OWN)), ALL),
    ] {
        let draft = World::new().member("red-phone").gateway_lines(&lines);
        good.write(draft.folder());
        if let Some((pair, directory)) = kept {
            pair.write_bundle(draft.folder(), directory);
        }
        let mut world = draft.start().await;
        let page = world.from("red-phone").get("gate", "/trust").await.is(200);
        for said in [OURS, ALL, NOBODY] {
            assert_eq!(page.text().contains(said), said == words, "{what}: {said} in {}", page.text());
        }
        let status = world.gateway().status();
        assert_eq!(status.ca.certificate.is_none(), words == OURS, "{what}: {status:?}");
        world.stop().await;
    }
}

/// The private CA that stands in for an ACME server is rotated like any.
#[tokio::test]
async fn what_stands_in_for_an_acme_server_can_be_rotated() {
    let lines = "[tls]\nacme = \"https://127.0.0.1:1/directory\"\n[nameserver]\nhook = \"/bin/true\"\n";
    let mut world =
        World::new().member("red-phone").service("wiki", echo()).gateway_lines(lines).start().await;
    let before = shown(&world).await;
    rotate(&world);
    world.reload(|_| ()).await.unwrap();
    let after = shown(&world).await;
    assert_ne!(before, after);
    assert_eq!(world.gateway().status().ca.intermediate, Some(ca::fingerprint(&after)));
}

/// Waits for so many failed handshakes; what they failed for.
async fn failed(world: &Live, count: u64) -> ztgate::proxy::FailureCounts {
    let counted = async {
        while world.gateway().status().failed_handshakes < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, counted).await.expect("all are counted");
    world.gateway().status().handshake_failures
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_reason() {
    let world = home().await;
    let phone = world.from("red-phone");
    let mut plain = phone.open_https().await;
    plain.send(GET).await;
    assert_eq!(plain.rest().await[0], 21, "an alert (RFC 8446, section 5.1)");
    assert_eq!(failed(&world, 1).await.not_tls, 1);

    // A record is announced (RFC 8446, section 5.1), and its sender goes away.
    let mut half = phone.open_https().await;
    half.send([22, 3, 1, 1, 244, 1, 0, 1, 240, 3, 3]).await;
    drop(half);
    assert_eq!(failed(&world, 2).await.left, 1);

    let stranger = Pair::new(&["wiki.home.arpa"]);
    phone.tls_by(stranger.der(), "wiki", &[]).await.unwrap_err();
    assert_eq!(failed(&world, 3).await.distrust, 1);

    let late = trusting(root(&world), rustls::ALL_VERSIONS);
    let mut late =
        rustls::ClientConfig::builder_with_details(late.crypto_provider().clone(), Arc::new(In2100))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&world))
            .with_no_client_auth();
    late.alpn_protocols = vec![b"h2".to_vec()];
    phone.tls_with(late, "wiki").await.unwrap_err();
    let counts = failed(&world, 4).await;
    assert_eq!((counts.expired, counts.total()), (1, 4), "{counts:?}");
}

fn roots(world: &Live) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root(world)).unwrap();
    roots
}

/// The clock of a device that is far ahead.
#[derive(Debug)]
struct In2100;

impl rustls::time_provider::TimeProvider for In2100 {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        Some(rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(4_102_444_800)))
    }
}

#[tokio::test]
async fn a_member_that_does_not_trust_the_root_is_named_until_it_does() {
    let world = home().await;
    let stranger = Pair::new(&["wiki.home.arpa"]);
    for name in ["laptop", "red-phone", "red-phone", "new-tv"] {
        world.from(name).tls_by(stranger.der(), "wiki", &[]).await.unwrap_err();
    }
    failed(&world, 4).await;
    let named = || -> Vec<_> {
        let list = world.gateway().status().distrusting;
        list.into_iter().map(|one| one.member).collect()
    };
    assert_eq!(named(), [world.id("laptop"), world.id("red-phone")], "who is not let in is not helped");
    world.from("red-phone").tls("wiki", &[b"http/1.1"]).await.unwrap();
    let taken_off = async {
        while named() != [world.id("laptop")] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, taken_off).await.expect("a good handshake takes it off");
}

/// A connection that agreed on TLS 1.2.
async fn by_1_2(
    world: &Live,
    name: &str,
    protocols: &[&[u8]],
) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let mut config = trusting(root(world), &[&TLS12]);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    world.from("red-phone").tls_with(config, name).await.unwrap()
}

const STRICTER: &str = "min_tls = \"1.3\"\nplain_http = false";
const RADIO: &str = "GET / HTTP/1.1\r\nHost: radio.home.arpa\r\n\r\n";

/// A reload that asks for more than a connection agreed on ends what runs on it, and is told at its next request.
#[tokio::test]
async fn a_reload_that_asks_for_tls_1_3_reaches_connections_that_are_open() {
    let mut world = home().await;
    let phone = world.from("red-phone");
    let (mut idle, mut plain) =
        (Wire::new(by_1_2(&world, "radio", &[b"http/1.1"]).await), phone.open().await);
    let mut playing = Wire::new(by_1_2(&world, "radio", &[b"http/1.1"]).await);
    let mut newer = phone.open_tls("radio", &[b"http/1.1"]).await;
    for wire in [&mut playing, &mut plain, &mut newer] {
        wire.send(RADIO).await;
        assert_eq!(wire.head().await.unwrap().status(), 200);
        assert_eq!(wire.chunk().await.unwrap(), b"on");
    }
    world.reload(|plan| plan.service_lines("radio", STRICTER)).await.unwrap();

    assert_eq!(playing.closed_within(SOON).await, Closed::Yes, "by TLS 1.2");
    assert_eq!(plain.closed_within(SOON).await, Closed::Yes, "without TLS");
    assert_eq!(newer.closed_within(Duration::from_millis(50)).await, Closed::Open, "by TLS 1.3");
    idle.send(RADIO).await;
    let refused = world.from("red-phone").reply(&mut idle, RADIO).await.refused("unknown-name");
    refused.has("connection", "close").says("older than the service takes by now");
    assert_eq!(idle.closed_within(SOON).await, Closed::Yes);

    // It agrees on more, or is told so by TLS.
    world.from("red-phone").tls("radio", &[b"http/1.1"]).await.unwrap();
    let old = trusting(root(&world), &[&TLS12]);
    world.from("red-phone").tls_with(old, "radio").await.unwrap_err();
}

#[tokio::test]
async fn over_http_2_such_a_connection_is_sent_away_in_order() {
    let mut world = home().await;
    let mut device = H2::over(by_1_2(&world, "wiki", &[b"h2"]).await).await;
    assert_eq!(device.ask("wiki", "/", &[]).await.0.status(), 200);
    world.reload(|plan| plan.service_lines("wiki", STRICTER)).await.unwrap();
    let (answer, _) = device.ask("wiki", "/", &[]).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["ztgate-refusal"].as_bytes()),
        (421, &b"unknown-name"[..])
    );
    let ended = async {
        while !device.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, ended).await.expect("it ends");
    world.audit().reads(&["red-phone allow wiki", "red-phone refuse unknown-name wiki"]).await;
}

/// To whoever is not let in all names look alike, and the strict one's, too, takes TLS 1.2.
#[tokio::test]
async fn who_is_let_in_later_does_not_bring_an_older_tls_along() {
    let world = home().await;
    let config = trusting(root(&world), &[&TLS12]);
    let mut wire = Wire::new(world.from("new-tv").tls_with(config, "bank").await.unwrap());
    let request = "GET / HTTP/1.1\r\nHost: bank.home.arpa\r\n\r\n";
    wire.send(request).await;
    world.from("new-tv").reply(&mut wire, request).await.refused("member-pending");
    world.admit("new-tv", &[]).await;
    wire.send(request).await;
    world.from("new-tv").reply(&mut wire, request).await.refused("unknown-name");
}
