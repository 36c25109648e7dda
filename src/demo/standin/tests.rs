//! The clients against the stand-ins, and both against what a real node answered (`tests/fixtures/zerotier/`).

use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::model::{MemberId, NetworkId};
use crate::zerotier::{ApiError, CentralController, Controller, ControllerView, LocalController, NodeClient};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zerotier/", $name, ".json"))
    };
}

mod recorded;
mod roster;
mod writes;

fn network() -> NetworkId {
    "5e02d9cb41c0ffee".parse().unwrap()
}

fn id(text: &str) -> MemberId {
    text.parse().unwrap()
}

/// The network that was recorded.
fn recorded() -> StandinNetwork {
    let [gateway, a, b, c, _] = REAL_MEMBERS;
    let mut net = StandinNetwork::new(network(), "lab", gateway, "ztsvbrsnfp").unwrap();
    net.addresses =
        ["fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41/88", "fc1f:c226:255e:2d9:cb41::1/40", "10.147.20.1/24"]
            .map(|text| text.parse().unwrap())
            .into();
    let at = |last: u8| [10, 147, 20, last].into();
    let made = |member: StandinMember, creation_time| StandinMember { creation_time, ..member };
    net.members = vec![
        made(StandinMember::new(c), 1_795_427_643_996),
        made(StandinMember::new(b).authorized().named("b").at(at(12)), 1_795_427_629_032),
        made(StandinMember::new(a).authorized().named("a").at(at(11)), 1_795_427_628_994),
        made(StandinMember::new(gateway).authorized().named("gw").at(at(1)), 1_795_427_628_980),
    ];
    net
}

struct World {
    net: StandinHandle,
    node: NodeStandin,
    central: CentralStandin,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let net = StandinHandle::new(recorded());
        let node = NodeStandin::start(&net, "s3cret").await.unwrap();
        let central = CentralStandin::start(&net, "s3cret").await.unwrap();
        let world = Self { net, node, central, folder: tempfile::tempdir().unwrap() };
        world.token("s3cret\n");
        world
    }

    fn token(&self, text: &str) -> PathBuf {
        let file = self.folder.path().join("authtoken.secret");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&file).unwrap().write_all(text.as_bytes()).unwrap();
        file
    }

    fn client(&self) -> NodeClient {
        NodeClient::new(&self.node.url(), self.folder.path().join("authtoken.secret")).unwrap()
    }

    fn controllers(&self) -> [Box<dyn Controller>; 2] {
        let file = self.folder.path().join("authtoken.secret");
        [
            Box::new(LocalController::new(self.client(), network())),
            Box::new(CentralController::new(&self.central.url(), file, network()).unwrap()),
        ]
    }
}

fn labels(view: &ControllerView) -> Vec<(String, bool, Option<String>)> {
    view.members.iter().map(|m| (m.id.to_string(), m.authorized, m.label.clone())).collect()
}

/// Serves recorded bodies, byte for byte, each under its path.
async fn replay(bodies: &'static [(&'static str, &'static str)]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let body = bodies.iter().find(|(at, _)| *at == path);
            let (status, body) = body.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body));
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    url
}

/// The stand-in's body for a path, and the head that came with it.
async fn raw(world: &World, path: &str, token: &str) -> (String, String) {
    send(world, "GET", path, token, "", "").await
}

async fn send(
    world: &World,
    method: &str,
    path: &str,
    token: &str,
    headers: &str,
    body: &str,
) -> (String, String) {
    let url = world.node.url().trim_start_matches("http://").to_owned();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nX-ZT1-Auth: {token}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(url).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_node_is_read() {
    let world = World::new().await;
    let client = world.client();
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.address, status.version.as_deref(), status.online),
        (id("5e02d9cb41"), Some("1.14.1"), true)
    );
    let joined = client.network(network()).await.unwrap().unwrap();
    assert!(joined.is_ok() && !joined.public && !joined.bridge);
    assert_eq!((joined.device.as_str(), joined.name.as_deref()), ("ztsvbrsnfp", Some("lab")));
    assert_eq!(joined.mac.unwrap().to_string(), "ee:a1:c2:98:00:98");
    assert_eq!(joined.addresses.len(), 3);
    assert_eq!(client.peers().await.unwrap().len(), 3);
    world.net.change(|net| net.joined = false);
    assert_eq!(client.network(network()).await.unwrap(), None);
}

#[tokio::test]
async fn both_controllers_tell_the_same() {
    let world = World::new().await;
    let [local, central] = world.controllers();
    let (local, mut central) = (local.view().await.unwrap(), central.view().await.unwrap());
    assert_eq!(
        labels(&local),
        [
            ("c46f4e4b8f".into(), false, None),
            ("bcba17eef8".into(), true, Some("b".into())),
            ("c4c8812898".into(), true, Some("a".into())),
            ("5e02d9cb41".into(), true, Some("gw".into())),
        ]
    );
    for member in &mut central.members {
        assert!(member.last_seen.take().is_some() && member.physical.take().is_some());
    }
    assert_eq!(local, central);
}

/// Whoever asks to join asks the controller's node, let in or not; only this machine's node is asked by the poll itself.
#[tokio::test]
async fn a_controller_on_another_machine_tells_whom_its_node_hears() {
    let world = World::new().await;
    let token = world.token("s3cret");
    let [local, _] = world.controllers();
    let local = local.view().await.unwrap();
    assert!(local.members.iter().all(|member| member.last_seen.is_none()));
    let remote = LocalController::remote(&world.node.url(), &token, network()).unwrap().view().await.unwrap();
    for member in &remote.members {
        // A node does not hear itself.
        assert_eq!(member.last_seen.is_some(), member.id != id("5e02d9cb41"), "{}", member.id);
        assert_eq!(member.physical.is_some(), member.last_seen.is_some(), "{}", member.id);
    }
    // One that says nothing of its peers takes nothing from the rest.
    let url = replay(&[
        ("/controller/network/5e02d9cb41c0ffee", fixture!("controller_network_one")),
        ("/unstable/controller/network/5e02d9cb41c0ffee/member", fixture!("unstable_member_list")),
    ])
    .await;
    let silent = LocalController::remote(&url, &token, network()).unwrap().view().await.unwrap();
    assert_eq!(labels(&silent), labels(&remote));
    assert!(silent.members.iter().all(|member| member.last_seen.is_none()));
}

#[tokio::test]
async fn without_the_list_of_records_they_are_read_one_by_one() {
    let world = World::new().await;
    let [local, _] = world.controllers();
    let mut whole = local.view().await.unwrap();
    whole.members.sort_by_key(|member| member.id);
    world.net.fail(Some(Fault::NoUnstable));
    assert_eq!(local.view().await.unwrap(), whole);
}

#[tokio::test]
async fn a_record_whose_id_was_written_in_capitals_is_found_by_it() {
    let world = World::new().await;
    world.net.change(|net| net.members[0].id = "00DEADBEE0".into());
    for fault in [None, Some(Fault::NoUnstable)] {
        world.net.fail(fault);
        let view = world.controllers()[0].view().await.unwrap();
        assert!(view.members.iter().any(|member| member.id == id("00deadbee0")), "{fault:?}");
    }
}

#[tokio::test]
async fn unsafe_settings_are_seen() {
    let world = World::new().await;
    world.net.change(|net| {
        net.private = false;
        net.member(id("bcba17eef8")).unwrap().active_bridge = true;
        net.capabilities = serde_json::json!([{"id": 7, "default": true, "rules": [
            {"type": "ACTION_TEE", "address": "5e02d9cb41", "flags": 0, "length": 0}]}]);
    });
    for controller in world.controllers() {
        let view = controller.view().await.unwrap();
        assert!(view.public, "{}", controller.name());
        assert!(view.members[1].active_bridge);
        assert_eq!(view.forwards[0].rule, "ACTION_TEE to 5e02d9cb41 (capability 7, rule 1)");
    }
}

#[tokio::test]
async fn every_odd_answer_is_an_error_that_says_what_is_odd() {
    let world = World::new().await;
    for (fault, words) in [
        (Fault::Down, "127.0.0.1"),
        (Fault::Error500, "500 Internal Server Error"),
        (Fault::Html, "a web page"),
        (Fault::Empty, "answers nothing"),
        (Fault::BrokenOff, "broke off"),
        (Fault::CutJson, "cannot be read"),
        (Fault::NoMembers, "never believed"),
        (Fault::OtherNetwork, "is about 0123456789abcdef"),
        (Fault::OtherNetworksMembers, "is about 0123456789abcdef"),
        (Fault::Twice, "names c46f4e4b8f twice"),
        (Fault::Unauthorized, "authtoken.secret"),
    ] {
        world.net.fail(Some(fault));
        for controller in world.controllers() {
            let error = controller.view().await.unwrap_err().to_string();
            assert!(error.contains(words), "{fault:?} at {}: {error}", controller.name());
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_node_without_controller_and_an_unknown_network_are_told_apart() {
    let world = World::new().await;
    let other = LocalController::new(world.client(), "5e02d9cb41000052".parse().unwrap());
    assert!(matches!(other.view().await, Err(ApiError::NoNetwork(_))));
    world.net.fail(Some(Fault::NoController));
    let error = world.controllers()[0].view().await.unwrap_err().to_string();
    assert!(error.contains("from 1.16"), "{error}");
}

#[tokio::test]
async fn a_member_list_with_nonsense_for_an_id_is_odd() {
    let world = World::new().await;
    world.net.change(|net| net.members[0].id = "../status".into());
    for fault in [None, Some(Fault::NoUnstable)] {
        world.net.fail(fault);
        assert!(matches!(world.controllers()[0].view().await, Err(ApiError::BadMember(_))));
    }
}

#[tokio::test]
async fn a_list_that_is_shorter_than_its_count_is_odd() {
    let world = World::new().await;
    world.net.fail(Some(Fault::Short));
    let error = world.controllers()[0].view().await.unwrap_err();
    assert!(matches!(error, ApiError::ShortList { got: 3, counted: 4 }), "{error}");
}

#[tokio::test]
async fn a_new_token_is_seen_without_a_restart() {
    let world = World::new().await;
    let client = world.client();
    world.token("wrong");
    assert!(matches!(client.status().await, Err(ApiError::Unauthorized { .. })));
    world.token("s3cret");
    assert!(client.status().await.is_ok());
}

#[tokio::test]
async fn a_stand_in_can_hang() {
    let world = World::new().await;
    world.net.fail(Some(Fault::Hang));
    let client = world.client();
    assert!(tokio::time::timeout(Duration::from_millis(300), client.status()).await.is_err());
}

#[tokio::test]
async fn a_node_that_is_gone_is_told() {
    let world = World::new().await;
    let client = world.client();
    drop(world.node);
    // The abort is carried out at the runtime's next turn; until then the port still accepts and closes.
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ApiError::Http { .. }), "{error}");
}

#[tokio::test]
async fn central_is_asked_20_times_a_second_at_most() {
    let world = World::new().await;
    let [_, central] = world.controllers();
    let began = std::time::Instant::now();
    for _ in 0..3 {
        central.view().await.unwrap();
    }
    // Six requests, five spaces.
    assert!(began.elapsed() >= Duration::from_millis(250));
}
