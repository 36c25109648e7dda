//! The domain's own name server, a real BIND: what is read and changed there, and what is said when that fails.

use std::path::Path;
use std::sync::Arc;

use ztgate::config::{Config, Nameserver, UpdateServer};
use ztgate::linux::clock::SystemClock;
use ztgate::model::{Clock, ManualClock};
use ztgate::nameserver::{Change, Data, Kind, NameserverError, Record, UpdateClient};

use crate::real::named::{Named, WRONG_SECRET, write_secret};
use crate::real::process::free_port;

const ZONE: &str = "home.arpa";

fn config(folder: &Path, paragraph: &str) -> Config {
    let text =
        format!("network = \"5e02d9cb41c0ffee\"\nzone = \"{ZONE}\"\nstate_dir = \"state\"\n{paragraph}");
    let file = folder.join("ztgate.toml");
    std::fs::write(&file, text).unwrap();
    ztgate::config::load(&file).unwrap_or_else(|problems| panic!("{}", ztgate::config::Problems(&problems)))
}

fn server(named: &Named, folder: &Path) -> UpdateServer {
    match config(folder, &named.paragraph(folder, "")).nameserver {
        Some(Nameserver::Update(server)) => server,
        other => panic!("{other:?}"),
    }
}

fn client(server: &UpdateServer) -> UpdateClient {
    UpdateClient::new(server, Arc::new(SystemClock))
}

fn a(name: &str, address: &str) -> Record {
    Record { name: format!("{name}.{ZONE}"), ttl: 60, data: Data::A(address.parse().unwrap()) }
}

#[tokio::test]
async fn records_are_read_added_replaced_and_removed() {
    let Some(named) = Named::start(ZONE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let client = client(&server(&named, folder.path()));
    let wiki = format!("wiki.{ZONE}");
    assert!(client.records(&wiki, Kind::A).await.unwrap().is_empty());

    let txt = |value: &str| Data::Txt(value.to_owned());
    let both = ["one", "two"].map(|value| {
        Change::Add(Record { name: format!("_acme-challenge.{ZONE}"), ttl: 60, data: txt(value) })
    });
    client.apply(&both).await.unwrap();
    assert_eq!(named.dig(&format!("_acme-challenge.{ZONE}"), "TXT"), ["\"one\"", "\"two\""]);
    client
        .apply(&[Change::Remove { name: format!("_acme-challenge.{ZONE}"), data: txt("one") }])
        .await
        .unwrap();
    assert_eq!(named.dig(&format!("_acme-challenge.{ZONE}"), "TXT"), ["\"two\""]);

    client.apply(&[Change::Add(a("wiki", "10.0.0.1")), Change::Add(a("wiki", "10.0.0.2"))]).await.unwrap();
    assert_eq!(client.records(&wiki, Kind::A).await.unwrap(), [a("wiki", "10.0.0.1"), a("wiki", "10.0.0.2")]);
    let data = vec![Data::A("10.0.0.3".parse().unwrap())];
    client.apply(&[Change::Replace { name: wiki.clone(), kind: Kind::A, ttl: 60, data }]).await.unwrap();
    assert_eq!(named.dig(&wiki, "A"), ["10.0.0.3"]);

    let several =
        [(wiki, Kind::A), (format!("foreign.{ZONE}"), Kind::A), (format!("none.{ZONE}"), Kind::Aaaa)];
    let counts: Vec<usize> = client.records_of(&several).await.unwrap().iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 1, 0]);
}

#[tokio::test]
async fn what_goes_wrong_is_said_with_its_mend() {
    let Some(mut named) = Named::start(ZONE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let right = server(&named, folder.path());
    let change = |name: &str| [Change::Add(a(name, "10.0.0.1"))];
    let told =
        async |server: &UpdateServer| client(server).apply(&change("wiki")).await.unwrap_err().to_string();

    let mut unknown = right.clone();
    unknown.key.name = "nobody".into();
    let words = told(&unknown).await;
    assert!(words.contains("knows no key nobody with hmac-sha256"), "{words}");

    write_secret(folder.path(), WRONG_SECRET);
    let words = told(&right).await;
    assert!(words.contains("has another secret for the key ztgate"), "{words}");
    let asked = client(&right).records(&format!("wiki.{ZONE}"), Kind::A).await.unwrap_err();
    assert!(matches!(asked, NameserverError::BadSignature { .. }), "{asked}");

    // The same secret is the right one of a key that may not change anything.
    let mut reader = right.clone();
    reader.key.name = "reader".into();
    let words = told(&reader).await;
    assert!(words.contains("grant reader subdomain ZONE. A AAAA TXT"), "{words}");
    assert!(client(&reader).records(&format!("foreign.{ZONE}"), Kind::A).await.is_ok());

    write_secret(folder.path(), "not base64!");
    let words = told(&right).await;
    assert!(words.contains("no base64"), "{words}");

    // The secret is read anew each time.
    named.paragraph(folder.path(), "");
    assert!(client(&right).apply(&change("wiki")).await.is_ok());

    let now = SystemClock.now();
    let late = ManualClock::at(now - jiff::SignedDuration::from_hours(1));
    let words =
        UpdateClient::new(&right, Arc::new(late)).apply(&change("wiki")).await.unwrap_err().to_string();
    assert!(
        words.contains("timedatectl") && words.contains("(3600 s)") || words.contains("(3601 s)"),
        "{words}"
    );

    let mut other = right.clone();
    other.zone = "example.org".into();
    let outside = [Change::Add(Record { name: "wiki.example.org".into(), ..a("wiki", "10.0.0.1") })];
    let words = client(&other).apply(&outside).await.unwrap_err().to_string();
    assert!(words.contains("no primary of the zone example.org"), "{words}");
    let asked = client(&other).records("wiki.example.org", Kind::A).await.unwrap_err().to_string();
    assert!(asked.contains("does not show the zone example.org"), "{asked}");
    let words = client(&right).apply(&outside).await.unwrap_err().to_string();
    assert!(words.contains("is not in the zone home.arpa"), "{words}");

    let words = client(&right).records(&format!("alias.{ZONE}"), Kind::A).await.unwrap_err().to_string();
    assert!(words.contains("leads to foreign.home.arpa (CNAME)"), "{words}");

    named.stop();
    let words = told(&right).await;
    assert!(words.contains("cannot be reached over TCP"), "{words}");
    let mut nowhere = right;
    nowhere.port = free_port().port();
    assert!(told(&nowhere).await.contains("check server in [nameserver]"));
}
