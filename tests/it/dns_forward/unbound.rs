//! A real recursive server in front: Debian's unbound with a zone of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use ztgate::dns::forward::Forwarder;

use super::{ask, say};
use crate::real::needs;
use crate::real::process::{Running, free_port};

const ZONE: &str = "$ORIGIN example.org.
$TTL 300
@       IN SOA ns hostmaster 1 3600 600 86400 60
@       IN NS  ns
ns      IN A   9.9.9.9
www     IN A   9.9.9.9
www     IN AAAA 2620:fe::fe
a       IN CNAME b
b       IN CNAME www
gone    IN CNAME nowhere
brief 1 IN A   9.9.9.10
nas     IN A   192.168.1.5
nas     IN AAAA 2620:fe::9
way     IN CNAME nas
web     IN HTTPS 1 . alpn=h2 ipv4hint=9.9.9.9
webnas  IN HTTPS 1 . alpn=h2 ipv6hint=fd00::5
";

fn start(program: &Path, folder: &Path) -> (Running, SocketAddr) {
    let at = free_port();
    let large: String = (0..40).map(|n| format!("large IN TXT \"{n:-<200}\"\n")).collect();
    std::fs::write(folder.join("zone"), format!("{ZONE}{large}")).unwrap();
    let config = format!(
        "server:\n interface: {at}\n port: {port}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
         directory: \"{folder}\"\n pidfile: \"\"\n use-syslog: no\n module-config: \"iterator\"\n num-threads: 1\n\
         auth-zone:\n name: example.org.\n zonefile: zone\n\
         remote-control:\n control-enable: no\n",
        at = at.ip(),
        port = at.port(),
        folder = folder.display()
    );
    std::fs::write(folder.join("unbound.conf"), config).unwrap();
    let mut command = Command::new(program);
    command.args(["-d", "-c"]).arg(folder.join("unbound.conf"));
    (Running::until_it_listens(&mut command, at, &folder.join("unbound.log")), at)
}

#[tokio::test]
async fn what_a_server_knows_reaches_the_device() {
    let Some(program) = needs("unbound") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (unbound, at) = start(&program, folder.path());
    let forwarder = Forwarder::new(vec![at], &[]);
    let table = [
        ("wWw.Example.ORG.", RecordType::A, "No Error: wWw.Example.ORG. A 9.9.9.9"),
        ("www.example.org.", RecordType::AAAA, "No Error: www.example.org. AAAA 2620:fe::fe"),
        ("www.example.org.", RecordType::MX, "No Error: "),
        ("nowhere.example.org.", RecordType::A, "Non-Existent Domain: "),
        (
            "a.example.org.",
            RecordType::A,
            "No Error: a.example.org. CNAME b.example.org., b.example.org. CNAME www.example.org., \
             www.example.org. A 9.9.9.9",
        ),
        ("a.example.org.", RecordType::CNAME, "No Error: a.example.org. CNAME b.example.org."),
        ("nas.example.org.", RecordType::A, "No Error: "),
        ("nas.example.org.", RecordType::AAAA, "No Error: nas.example.org. AAAA 2620:fe::9"),
        ("way.example.org.", RecordType::A, "No Error: "),
        (
            "web.example.org.",
            RecordType::HTTPS,
            "No Error: web.example.org. HTTPS 1 . alpn=h2, ipv4hint=9.9.9.9,",
        ),
        ("webnas.example.org.", RecordType::HTTPS, "No Error: "),
    ];
    for (name, kind, expected) in table {
        assert_eq!(say(&ask(&forwarder, name, kind).await), expected, "{name} {kind}");
    }
    // 40 texts of 200 letters do not fit into one datagram.
    assert_eq!(ask(&forwarder, "large.example.org.", RecordType::TXT).await.answers.len(), 40);

    // unbound sends no SOA with an alias of nothing, so nobody may remember that there is nothing.
    let dangling = ask(&forwarder, "gone.example.org.", RecordType::A).await;
    assert_eq!(say(&dangling), "No Error: gone.example.org. CNAME nowhere.example.org.");

    let missing = ask(&forwarder, "nowhere.example.org.", RecordType::A).await;
    let soa = &missing.authorities[0];
    assert_eq!((soa.record_type(), soa.name.to_ascii()), (RecordType::SOA, "example.org.".into()));
    assert!((1..=60).contains(&soa.ttl), "{missing}");

    let status = forwarder.status();
    assert_eq!(status.rebinding.refused, 3);
    assert_eq!(status.rebinding.last, Some(("webnas.example.org.".into(), "fd00::5".into())));
    assert_eq!((status.servers[0].answered_s, status.servers[0].failures), (Some(0), 0));

    // What was asked once needs no server.
    drop(unbound);
    for (name, kind, expected) in table {
        assert_eq!(say(&ask(&forwarder, name, kind).await), expected, "{name} {kind}");
    }
    assert_eq!(forwarder.status().unanswered, 0);
}

#[tokio::test]
async fn a_domain_of_ones_own_may_lead_into_the_house() {
    let Some(program) = needs("unbound") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_unbound, at) = start(&program, folder.path());
    let forwarder = Forwarder::new(vec![at], &["example.org".into()]);
    let nas = ask(&forwarder, "nas.example.org.", RecordType::A).await;
    assert_eq!(say(&nas), "No Error: nas.example.org. A 192.168.1.5");
    assert_eq!(forwarder.status().rebinding.refused, 0);
}

#[tokio::test]
async fn known_names_open_while_every_server_is_down() {
    let Some(program) = needs("unbound") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (unbound, at) = start(&program, folder.path());
    let forwarder = Forwarder::new(vec![at], &[]);
    let brief = ask(&forwarder, "brief.example.org.", RecordType::A).await;
    let end = Instant::now() + Duration::from_secs(1);
    drop(unbound);
    tokio::time::sleep_until(end.into()).await;

    let start = Instant::now();
    let stale = ask(&forwarder, "brief.example.org.", RecordType::A).await;
    assert_eq!((say(&stale), stale.answers[0].ttl), (say(&brief), 30));
    let new = ask(&forwarder, "www.example.org.", RecordType::A).await;
    assert_eq!(say(&new), "Server Failure: ");
    assert!(start.elapsed() < Duration::from_secs(1), "the kernel says that nobody listens");
}
