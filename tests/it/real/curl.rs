//! curl and h2load: both protocols, plain and over the private CA's TLS.

use std::process::Command;

use super::door::Door;
use super::needs;
use super::origin::Origin;
use super::process::{file_of, say, sha256};

const FILE: &str = "/100000000";

/// A gateway with one big service, or `None` where curl is missing.
fn big() -> Option<(Door, Origin)> {
    needs("curl")?;
    let (door, origin) = (Door::open(), Origin::start());
    door.serve("big", origin.address);
    Some((door, origin))
}

#[test]
fn curl_downloads_the_same_over_each_protocol() {
    let Some((door, origin)) = big() else { return };
    let file = door.folder.path().join("down");
    let (plain, tls) = (door.http("big", FILE), door.https("big", FILE));
    // Without TLS there is HTTP/1.1 only: the upgrade to h2c that curl asks for there is not taken up.
    for (asked, url, expected) in [
        ("--http1.1", &plain, "200 1.1"),
        ("--http2", &plain, "200 1.1"),
        ("--http1.1", &tls, "200 1.1"),
        ("--http2", &tls, "200 2"),
    ] {
        let told = ["-o", file.to_str().unwrap(), "-w", "%{http_code} %{http_version}"];
        let told = door.curl(&[&[asked, url], &told[..]].concat());
        assert_eq!(told, expected, "{asked} {url}");
        assert_eq!(sha256(&file), origin.digest(), "{asked} {url}");
    }
}

#[test]
fn curl_uploads_a_large_file_once_it_may() {
    let Some((door, origin)) = big() else { return };
    let file = file_of(door.folder.path(), "up", 50_000_000);
    let (expected, path) = (sha256(&file), file.to_str().unwrap());
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    for (protocol, url, more) in [
        ("--http1.1", door.http("big", "/up"), &["-H", "Expect: 100-continue"]),
        ("--http1.1", door.http("big", "/up"), &chunked),
        ("--http1.1", door.https("big", "/up"), &["-H", "Expect: 100-continue"]),
        ("--http2", door.https("big", "/up"), &["-H", "Accept: */*"]),
    ] {
        let told = door.curl(&[&[protocol, "-T", path, &url, "-w", "%{http_code}"], &more[..]].concat());
        assert_eq!((told.as_str(), origin.digest()), ("201", expected.clone()), "{protocol} {url} {more:?}");
    }
}

#[test]
fn curl_resumes_where_it_stopped_and_asks_only_for_the_head() {
    let Some(_) = needs("curl") else { return };
    let door = Door::open();
    let (direct, through) = (door.upstream_of("films").unwrap(), door.https("films", ""));
    let file = door.folder.path().join("part");
    let fetch = |base: &str, range: &str| {
        door.curl(&[&format!("{base}/film/low-tide.mkv"), "-r", range, "-o", file.to_str().unwrap()]);
        std::fs::read(&file).unwrap()
    };
    let expected = fetch(&direct, "0-9999999");
    // The file has its first half; `-C -` goes on from there, and is stopped at the film's 2 GB by the limit of time.
    std::fs::write(&file, &expected[..5_000_000]).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "2", "-C", "-", "-o"]).arg(&file).arg("--cacert").arg(door.root());
    let ended = curl.arg(format!("{through}/film/low-tide.mkv")).status().unwrap();
    assert_eq!(ended.code(), Some(28), "curl's exit code for its own limit of time");
    assert!(std::fs::read(&file).unwrap().starts_with(&expected), "it did not go on where it stopped");

    let head = |base: &str| {
        let text = door.curl(&["-I", "--http1.1", &format!("{base}/film/low-tide.mkv")]).to_ascii_lowercase();
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.retain(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
        lines.sort();
        lines
    };
    assert_eq!(head(&through), head(&direct));
}

#[test]
fn thousands_of_h2_requests_over_tls_all_succeed() {
    let Some(h2load) = needs("h2load") else { return };
    let door = Door::open();
    let told = say(Command::new(h2load)
        .args(["-n", "6000", "-c", "20", "-m", "10", "-t", "1"])
        .args(["--connect-to", &format!("127.0.0.1:{}", door.tls_port())])
        .arg(door.https("films", "/posters/1.svg")));
    assert!(told.contains("6000 total, 6000 started, 6000 done, 6000 succeeded, 0 failed"), "{told}");
    assert!(told.contains("6000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{told}");
    assert!(told.contains("Application protocol: h2"), "{told}");
}
