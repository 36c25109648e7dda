//! Files that change below a running gateway: certificates of one's own, ports, the roots that a service is trusted by.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::pem::Pair;
use crate::world::{Live, World, echo};

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";
const NAMES: [&str; 2] = ["wiki.home.arpa", "gate.home.arpa"];

/// A gateway that shows a certificate of the operator's own.
async fn home(pair: &Pair) -> Live {
    let world = World::new()
        .gateway_lines("[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n")
        .member("red-phone")
        .service("wiki", echo())
        .allow("red-phone", "wiki");
    pair.write_certificate(world.folder());
    pair.write_key(world.folder());
    world.start().await
}

/// Whether a new handshake shows this certificate.
async fn shows(world: &Live, pair: &Pair) -> bool {
    world.from("red-phone").tls_by(pair.der(), "wiki", &[b"http/1.1"]).await.is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (old, new) = (Pair::new(&NAMES), Pair::new(&NAMES));
    let mut world = home(&old).await;
    assert!(shows(&world, &old).await && !shows(&world, &new).await);
    let stream = world.from("red-phone").tls_by(old.der(), "wiki", &[b"http/1.1"]).await.unwrap();
    let mut wire = crate::world::Wire::new(stream);

    new.write_certificate(world.folder());
    new.write_key(world.folder());
    world.reload(|_| ()).await.unwrap();

    assert!(shows(&world, &new).await && !shows(&world, &old).await);
    wire.send(GET).await;
    world.from("red-phone").reply(&mut wire, GET).await.is(200);
}

/// A renewal writes two files, and a gateway may look between them. The last good certificate goes on, and what else was
/// changed does not wait.
#[tokio::test]
async fn certificates_that_will_not_do_leave_the_last_good_one_and_say_so() {
    type Harm = fn(&Path);
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
    let cases: [(&str, Harm); 7] = [
        ("is not the key of the first certificate", |at| Pair::new(&NAMES).write_certificate(at)),
        ("certificate.pem", |at| std::fs::write(at.join("certificate.pem"), format!("{BEGIN}AAAA")).unwrap()),
        ("no certificate in it", |at| std::fs::write(at.join("certificate.pem"), "").unwrap()),
        ("No such file", |at| std::fs::remove_file(at.join("key.pem")).unwrap()),
        ("may be read by others", |at| {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(at.join("key.pem"), open).unwrap();
        }),
        ("ended at 2021-01-01", |at| Pair::lasting(&NAMES, 2020, 2021).write(at)),
        ("begins at 4000-01-01T00:00:00Z; check the clock", |at| Pair::lasting(&NAMES, 4000, 4001).write(at)),
    ];
    let (old, new) = (Pair::new(&NAMES), Pair::new(&NAMES));
    let mut world = World::new()
        .gateway_lines("[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n")
        .member("red-phone")
        .service("wiki", echo());
    old.write(world.folder());
    world = world.allow("red-phone", "wiki");
    let mut world = world.start().await;
    for (why, harm) in cases {
        old.write(world.folder());
        harm(world.folder());
        world.reload(|plan| plan.disallow("red-phone", "wiki")).await.unwrap();
        world.from("red-phone").get("wiki", "/").await.refused("no-rule");

        let status = world.gateway().status();
        let error = status.ca.error.unwrap_or_else(|| panic!("not told: {why}"));
        assert!(error.contains(why), "{why}: {error}");
        assert!(status.ca.ends.is_some() && status.config_error.is_none(), "{why}");
        assert!(shows(&world, &old).await, "{why}");
    }
    new.write(world.folder());
    world.reload(|plan| plan.allow("red-phone", "wiki")).await.unwrap();
    assert_eq!(world.gateway().status().ca.error, None);
    assert!(shows(&world, &new).await);
    world.from("red-phone").get("wiki", "/").await.is(200);
}

/// Whoever renews certificates does not look whether `ztgate.toml` is right.
#[tokio::test]
async fn renewed_files_are_taken_over_while_the_configuration_will_not_do() {
    let [old, second, third] = [(); 3].map(|()| Pair::new(&NAMES));
    let world = World::new()
        .gateway_lines("[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n")
        .member("red-phone")
        .service("wiki", echo())
        .allow("red-phone", "wiki");
    old.write(world.folder());
    let mut world = world.start().await;

    second.write(world.folder());
    world.gateway().keep_old_config("half a line".to_owned());
    assert!(shows(&world, &second).await, "while it cannot be read");

    third.write(world.folder());
    let why = world.reload(|plan| plan.replace_lines("")).await.unwrap_err();
    assert!(why.contains("takes a restart"), "{why}");
    assert!(shows(&world, &third).await, "while it waits for a restart");
}

#[tokio::test]
async fn a_certificate_that_ended_keeps_no_gateway_from_starting() {
    let world = World::new()
        .gateway_lines("[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n")
        .member("red-phone")
        .service("wiki", echo())
        .allow("red-phone", "wiki");
    Pair::lasting(&NAMES, 2020, 2021).write(world.folder());
    let mut world = world.start().await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    let why = world.gateway().status().ca.error.unwrap();
    assert!(why.contains("the certificate ended at 2021-01-01T00:00:00Z; renew it"), "{why}");

    let new = Pair::new(&NAMES);
    new.write(world.folder());
    world.reload(|_| ()).await.unwrap();
    assert_eq!(world.gateway().status().ca.error, None);
    assert!(shows(&world, &new).await);
}

#[tokio::test]
async fn a_changed_port_waits_for_a_restart_and_the_rest_of_the_file_does_not() {
    let mut world = World::new()
        .member("red-phone")
        .member("laptop")
        .service("wiki", echo())
        .allow("red-phone", "wiki")
        .start()
        .await;
    let (port, (other, _held)) = (world.http_port(), crate::world::reserve());
    let warnings = world.reload(|plan| {
        plan.http_port = Some(other);
        plan.allow("laptop", "wiki");
    });
    let said = format!(
        "ztgate.toml: http_port: {other} takes a restart, and the port stays {port} until then; the rest is in force\n  \
         hint: systemctl restart ztgate"
    );
    assert_eq!(warnings.await.unwrap(), [said.as_str()]);
    let status = world.gateway().status();
    assert!(status.costs.contains(&said), "{:?}", status.costs);
    assert!(status.listeners.iter().all(|listener| listener.at.port() != other));
    world.from("laptop").get("wiki", "/").await.is(200);

    let warnings = world.reload(|plan| plan.http_port = None).await.unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// A service over TLS, and the line that says by which key it is known.
fn pinned(line_of: &Pair, shown: &Pair) -> World {
    let der = line_of.der();
    let hash = ztgate::routes::key_hash(&der).unwrap();
    let line = format!("pin = \"sha256/{}\"", STANDARD.encode(hash));
    World::new()
        .member("red-phone")
        .service_with("nas", echo().over_tls(shown), &line)
        .allow("red-phone", "nas")
}

/// What a person and a program are told of a service that does not prove to be itself.
async fn is_untrusted(world: &Live) {
    let phone = world.from("red-phone");
    phone.get("nas", "/").await.refused("upstream-down").says("does not prove to be it");
    assert!(world.upstream("nas").requests().is_empty(), "nothing is sent to it");
}

#[tokio::test]
async fn a_pinned_key_opens_a_service_whatever_name_its_certificate_bears() {
    let nas = Pair::new(&["some-other-name"]);
    let world = pinned(&nas, &nas).start().await;
    world.from("red-phone").get("nas", "/a").await.is(200).says("GET /a").upstream_saw_member("red-phone");
}

#[tokio::test]
async fn another_key_than_the_pinned_one_gets_no_request() {
    let world = pinned(&Pair::new(&["127.0.0.1"]), &Pair::new(&["127.0.0.1"])).start().await;
    is_untrusted(&world).await;
    world.audit().reads(&["red-phone refuse upstream-down nas"]).await;
}

#[tokio::test]
async fn a_reload_reads_the_roots_that_a_service_is_trusted_by_anew() {
    let (before, now) = (Pair::new(&["127.0.0.1"]), Pair::new(&["127.0.0.1"]));
    let world = World::new()
        .member("red-phone")
        .service_with("nas", echo().over_tls(&now), "ca = \"certificate.pem\"")
        .allow("red-phone", "nas");
    before.write_certificate(world.folder());
    let mut world = world.start().await;
    is_untrusted(&world).await;

    now.write_certificate(world.folder());
    world.reload(|_| ()).await.unwrap();
    world.from("red-phone").get("nas", "/").await.is(200);

    std::fs::write(world.folder().join("certificate.pem"), "").unwrap();
    let why = world.reload(|_| ()).await.unwrap_err();
    assert!(why.contains("certificate.pem: no certificate in it"), "{why}");
    world.from("red-phone").get("nas", "/").await.is(200);
}
