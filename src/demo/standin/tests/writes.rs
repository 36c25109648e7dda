//! Telling controllers: what is done, what is only believed to be, and what the client makes of each.

use serde_json::json;

use super::*;
use crate::zerotier::{ControllerMember, Fix, NetworkDns, Proposal};

const PENDING: &str = "c46f4e4b8f";
const NEVER_SEEN: &str = "00deadbeef";

impl World {
    /// One controller of each kind with nothing to wait for between them.
    async fn of_each_kind() -> Vec<(Self, Box<dyn Controller>)> {
        let mut worlds = Vec::new();
        for kind in 0..2 {
            let world = Self::new().await;
            let controller = world.controllers().into_iter().nth(kind).unwrap();
            worlds.push((world, controller));
        }
        worlds
    }

    fn record(&self, member: &str) -> StandinMember {
        self.net.change(|net| net.member(id(member)).unwrap().clone())
    }

    /// A raw POST to the node: the answer's JSON.
    async fn post(&self, path: &str, body: &str) -> Value {
        let head = format!("Content-Length: {}\r\n", body.len());
        serde_json::from_str(&send(self, "POST", path, "s3cret", &head, body).await.1).unwrap()
    }
}

/// Without the times, which are those of the moment.
fn timeless(mut record: Value) -> Value {
    for key in ["lastAuthorizedTime", "lastDeauthorizedTime", "creationTime"] {
        let happened = record[key].as_i64().map(|at| at > 0);
        record[key] = json!(happened);
    }
    record
}

fn recorded_answer(text: &str) -> Value {
    timeless(serde_json::from_str(text).unwrap())
}

#[tokio::test]
async fn the_stand_in_takes_writes_as_the_node_was_recorded_to() {
    let world = World::new().await;
    let c = "/controller/network/5e02d9cb41c0ffee/member/c46f4e4b8f";
    for (body, answer) in [
        (r#"{"authorized":true}"#, fixture!("post_member_authorize_c")),
        // The address came after that answer, so it shows in what is told next.
        ("null", fixture!("member_c_after_authorize")),
        (r#"{"authorized":true}"#, fixture!("member_c_after_authorize")),
        (r#"{"authorized":false}"#, fixture!("post_member_deauthorize_c")),
        (r#"{"authorized":"yes"}"#, fixture!("post_member_authorized_string")),
        (r#"{"authorized":"true"}"#, fixture!("post_member_authorized_str_true")),
    ] {
        assert_eq!(timeless(world.post(c, body).await), recorded_answer(answer), "{body}");
    }
    let early = world
        .post(
            "/controller/network/5e02d9cb41c0ffee/member/00deadbeef",
            r#"{"authorized":true,"name":"invited early"}"#,
        )
        .await;
    assert_eq!(timeless(early), recorded_answer(fixture!("post_member_new")));
    let upper =
        world.post("/controller/network/5e02d9cb41c0ffee/member/00DEADBEE0", r#"{"authorized":false}"#).await;
    assert_eq!(timeless(upper), recorded_answer(fixture!("post_member_uppercase")));
}

#[tokio::test]
async fn the_stand_in_drops_bad_addresses_and_takes_another_member_s() {
    let world = World::new().await;
    // The recorded node had been told of two addresses before.
    world.net.change(|net| net.member(id("bcba17eef8")).unwrap().revision = 3);
    let b = "/controller/network/5e02d9cb41c0ffee/member/bcba17eef8";
    for (body, answer) in [
        (r#"{"ipAssignments":["10.147.20.12","10.147.20.11"]}"#, fixture!("post_member_ip_duplicate_of_a")),
        (r#"{"ipAssignments":["10.147.20.12","notanip","10.9.9.9"]}"#, fixture!("post_member_ip_bad")),
    ] {
        assert_eq!(timeless(world.post(b, body).await), recorded_answer(answer), "{body}");
    }
    let wrong_type: Value = serde_json::from_str(fixture!("post_member_ip_type")).unwrap();
    assert_eq!(world.post(b, r#"{"ipAssignments":[17]}"#).await, wrong_type);
    let rules = world.post("/controller/network/5e02d9cb41c0ffee", r#"{"rules":[{"type":"NOPE"}]}"#).await;
    assert_eq!((&rules["rules"], &rules["revision"]), (&json!([]), &json!(2)));
}

#[tokio::test]
async fn a_member_is_authorised_and_deauthorised_and_a_repeat_changes_nothing() {
    for (world, controller) in World::of_each_kind().await {
        let member = controller.set_authorized(id(PENDING), true).await.unwrap();
        assert!(member.authorized && member.id == id(PENDING), "{}", controller.name());
        assert_eq!(member.assigned, ["10.147.20.127".parse::<std::net::IpAddr>().unwrap()]);
        let revision = world.record(PENDING).revision;
        controller.set_authorized(id(PENDING), true).await.unwrap();
        assert_eq!(world.record(PENDING).revision, revision);

        assert!(!controller.set_authorized(id(PENDING), false).await.unwrap().authorized);
        let told = [(id(PENDING), true), (id(PENDING), true), (id(PENDING), false)];
        assert_eq!(world.net.authorizations(), told);
        assert!(world.net.writes().iter().all(|write| write.method == "POST"), "never DELETE");
    }
}

#[tokio::test]
async fn a_member_that_never_came_is_let_in_ahead_of_time() {
    for (world, controller) in World::of_each_kind().await {
        let member = controller.set_authorized(id(NEVER_SEEN), true).await.unwrap();
        assert_eq!((member.authorized, member.identity, member.assigned), (true, None, vec![]));
        assert_eq!(world.record(NEVER_SEEN).id, NEVER_SEEN);
        let seen: Vec<ControllerMember> = controller.view().await.unwrap().members;
        assert!(seen.iter().any(|member| member.id == id(NEVER_SEEN) && member.physical.is_none()));
    }
}

#[tokio::test]
async fn a_record_whose_id_was_written_in_capitals_is_the_same_member_s() {
    let world = World::new().await;
    world.net.change(|net| net.members[0].id = "00DEADBEE0".into());
    let [local, _] = world.controllers();
    assert!(local.set_authorized(id("00deadbee0"), true).await.unwrap().authorized);
    assert_eq!(world.net.change(|net| net.members.len()), 4);
}

/// How a write may end.
#[derive(Debug, PartialEq)]
enum End {
    Done,
    NotTaken,
    Unsure,
}

#[tokio::test]
async fn what_a_write_says_of_itself_is_not_believed() {
    for (fault, end) in [
        (WriteFault::Down, End::Unsure),
        (WriteFault::DownAfter, End::Done),
        (WriteFault::Slow(Duration::from_millis(20)), End::Done),
        (WriteFault::Error500, End::Unsure),
        (WriteFault::Error500After, End::Done),
        (WriteFault::Html, End::NotTaken),
        (WriteFault::CutJson, End::Done),
        (WriteFault::Ignored, End::NotTaken),
        (WriteFault::Elsewhere, End::NotTaken),
    ] {
        for (world, controller) in World::of_each_kind().await {
            world.net.fail_writes(Some(fault));
            let told = match controller.set_authorized(id(PENDING), true).await {
                Ok(member) => {
                    assert!(member.authorized);
                    End::Done
                }
                Err(ApiError::NotTaken { found, .. }) => {
                    assert_eq!(found, "not authorised");
                    End::NotTaken
                }
                Err(ApiError::Unsure { .. }) => End::Unsure,
                Err(other) => panic!("{fault:?}: {other}"),
            };
            assert_eq!(told, end, "{fault:?} at {}", controller.name());
            assert_eq!(world.record(PENDING).authorized, end == End::Done, "{fault:?}");
            // The person types it again, and it is well.
            world.net.fail_writes(None);
            controller.set_authorized(id(PENDING), true).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_write_that_is_answered_too_late_may_have_been_done() {
    let world = World::new().await;
    let file = world.folder.path().join("authtoken.secret");
    let patient = Duration::from_millis(100);
    let late = Duration::from_secs(30);
    let remote = LocalController::remote(&world.node.url(), file, network()).unwrap().with_deadline(patient);
    // It was done, and the second question shows it.
    world.net.fail_writes(Some(WriteFault::Slow(late)));
    assert!(remote.set_authorized(id(PENDING), true).await.unwrap().authorized);
    // Nobody can tell.
    world.net.fail(Some(Fault::Hang));
    let error = remote.set_authorized(id(PENDING), false).await.unwrap_err();
    assert!(matches!(error, ApiError::Unsure { .. }), "{error}");
    assert!(error.to_string().contains("type the command again"), "{error}");
}

#[tokio::test]
async fn faults_that_come_before_anything_is_done_leave_no_trace() {
    for fault in
        [Fault::Down, Fault::Error500, Fault::Html, Fault::Empty, Fault::Unauthorized, Fault::Busy(7)]
    {
        for (world, controller) in World::of_each_kind().await {
            world.net.fail(Some(fault));
            let error = controller.set_authorized(id(PENDING), true).await.unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert_eq!(world.net.writes(), [], "{fault:?}");
        }
    }
    // The answer to a write is another network's record: not what was asked for, though it says authorised.
    for (world, controller) in World::of_each_kind().await {
        world.net.fail(Some(Fault::OtherNetworksMembers));
        let error = controller.set_authorized(id(PENDING), true).await.unwrap_err();
        assert!(matches!(error, ApiError::Unsure { .. }), "{error}");
        assert!(error.to_string().contains("is about 0123456789abcdef"), "{error}");
    }
}

#[tokio::test]
async fn a_network_that_is_not_there_is_told_and_not_made() {
    let world = World::new().await;
    let other = LocalController::new(world.client(), "5e02d9cb41000052".parse().unwrap());
    assert!(matches!(other.set_authorized(id(PENDING), true).await, Err(ApiError::NoNetwork(_))));
    let proposal = unsafe_world(&world).await.remove(0);
    assert!(matches!(other.apply(&proposal).await, Err(ApiError::NoNetwork(_))));
    world.net.fail(Some(Fault::NoController));
    let error = world.controllers()[0].set_authorized(id(PENDING), true).await.unwrap_err();
    assert!(matches!(error, ApiError::NoController), "{error}");
    assert!(world.net.writes().iter().all(|write| write.path.contains("/member/")));
    assert!(!world.record(PENDING).authorized);
}

#[tokio::test]
async fn central_is_left_alone_for_as_long_as_it_asks() {
    let world = World::new().await;
    let [local, central] = world.controllers();
    world.net.fail(Some(Fault::Busy(7)));
    for controller in [&local, &central] {
        let error = controller.set_authorized(id(PENDING), true).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{error}");
    }
    world.net.fail(None);
    let still = central.view().await.unwrap_err().retry_after().unwrap();
    assert!(still > Duration::from_secs(5) && still <= Duration::from_secs(7), "{still:?}");
    central.set_authorized(id(PENDING), true).await.unwrap_err();
    assert_eq!(world.net.writes(), [], "not even tried");
    local.set_authorized(id(PENDING), true).await.unwrap();
}

/// All that can be unsafe, and what is proposed against it.
async fn unsafe_world(world: &World) -> Vec<Proposal> {
    world.net.change(|net| {
        net.private = false;
        net.member(id("bcba17eef8")).unwrap().active_bridge = true;
    });
    world.controllers()[0].propose().await.unwrap()
}

#[tokio::test]
async fn unsafe_settings_are_mended_one_by_one_and_nothing_else_is_touched() {
    for (world, controller) in World::of_each_kind().await {
        unsafe_world(&world).await;
        let proposals = controller.propose().await.unwrap();
        let fixes: Vec<Fix> = proposals.iter().map(|proposal| proposal.fix).collect();
        assert_eq!(fixes, [Fix::Private, Fix::DropUnauthenticated, Fix::BridgeOff(id("bcba17eef8"))]);
        let before = world.net.change(|net| net.clone());
        for (made, proposal) in proposals.iter().enumerate() {
            controller.apply(proposal).await.unwrap();
            assert_eq!(controller.propose().await.unwrap().len(), proposals.len() - made - 1, "{proposal}");
            controller.apply(proposal).await.unwrap();
            assert_eq!(world.net.writes().len(), made + 1, "a second time nothing is sent");
        }
        let after = world.net.change(|net| net.clone());
        assert!(after.private && after.members.iter().all(|member| !member.active_bridge));
        let (old, new) = (before.rules.as_array().unwrap(), after.rules.as_array().unwrap());
        assert_eq!((new.len(), new[0]["mask"].as_str()), (old.len() + 2, Some("1000000000000000")));
        assert_eq!(new[2]["type"], old[0]["type"]);
        assert!(controller.view().await.is_ok_and(|view| !view.public));
    }
}

#[tokio::test]
async fn only_the_change_that_was_shown_is_made() {
    for (world, controller) in World::of_each_kind().await {
        unsafe_world(&world).await;
        let rules = controller.propose().await.unwrap().remove(1);
        world.net.change(|net| {
            net.rules =
                json!([{"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"}, {"type": "ACTION_ACCEPT"}]);
            net.source = "drop; accept; accept;".into();
        });
        let error = controller.apply(&rules).await.unwrap_err();
        assert!(matches!(error, ApiError::Changed { .. }), "{error}");
        assert_eq!(world.net.writes(), []);

        let private = controller.propose().await.unwrap().remove(0);
        world.net.fail_writes(Some(WriteFault::Ignored));
        let error = controller.apply(&private).await.unwrap_err().to_string();
        assert!(error.contains("private is still false there where true was asked for"), "{error}");
    }
}

#[tokio::test]
async fn a_second_call_on_one_connection_can_be_as_slow_as_the_real_node_s() {
    let world = World::new().await;
    world.net.change(|net| net.slow_keep_alive = true);
    let url = world.node.url().trim_start_matches("http://").to_owned();
    let took = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(url).unwrap();
        let mut call = |more: &str| {
            let began = std::time::Instant::now();
            write!(stream, "GET /peer/0123456789 HTTP/1.1\r\nHost: x\r\nX-ZT1-Auth: s3cret\r\n{more}\r\n")
                .unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"{}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            began.elapsed()
        };
        [call(""), call("Connection: close\r\n")]
    });
    let [_, second] = took.await.unwrap();
    assert!(second >= Duration::from_millis(42), "{second:?}");
}

#[tokio::test]
async fn the_node_tells_where_those_who_wait_come_from() {
    let world = World::new().await;
    let there = "192.0.2.7:21001".parse().unwrap();
    world.net.change(|net| net.member(id(PENDING)).unwrap().physical = there);
    let peers = world.client().peers().await.unwrap();
    let waiting = peers.iter().find(|peer| peer.id == id(PENDING)).unwrap();
    assert_eq!((waiting.physical, waiting.version.as_deref()), (Some(there), Some("1.14.1")));
    let [_, central] = world.controllers();
    let seen = central.view().await.unwrap().members;
    assert_eq!(seen[0].physical, Some(there.ip()));
}

fn dns(domain: &str, servers: &[&str]) -> NetworkDns {
    let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
    NetworkDns { domain: domain.to_owned(), servers, odd: Vec::new() }
}

#[tokio::test]
async fn the_stand_in_keeps_a_dns_setting_as_a_node_does() {
    let world = World::new().await;
    let network = "/controller/network/5e02d9cb41c0ffee";
    let home = json!({"domain": "home.arpa", "servers": ["10.147.20.1"]});
    let five =
        json!({"domain": "a", "servers": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]});
    for (told, kept) in [
        (home.clone(), home.clone()),
        // What is no object is dropped in silence, a list that would clear it too.
        (json!([]), home.clone()),
        (json!("home.arpa"), home),
        (
            json!({"domain": "x", "servers": ["notanip", 7]}),
            json!({"domain": "x", "servers": ["notanip", 7]}),
        ),
        (five.clone(), five),
        (json!({"servers": "10.0.0.1"}), json!({"domain": null})),
        (json!({"domain": "", "servers": []}), json!({"domain": "", "servers": []})),
    ] {
        let answer = world.post(network, &json!({"dns": told}).to_string()).await;
        assert_eq!(answer["dns"], kept, "{told}");
    }
}

#[tokio::test]
async fn the_dns_setting_is_told_alone_and_read_back() {
    for (world, controller) in World::of_each_kind().await {
        let home = dns("home.arpa", &["10.147.20.1", "fd5e:2d9::1"]);
        assert_eq!(controller.dns().await.unwrap(), NetworkDns::default());
        controller.set_dns(&NetworkDns::default(), &home).await.unwrap();
        assert_eq!(controller.dns().await.unwrap(), home);
        let [write] = &world.net.writes()[..] else { panic!("{:?}", world.net.writes()) };
        let setting = json!({"dns": {"domain": "home.arpa", "servers": ["10.147.20.1", "fd5e:2d9::1"]}});
        let alone = if controller.name() == "central" { json!({"config": setting}) } else { setting };
        assert_eq!(write.body, alone);

        // A repeat is no write, whatever it was believed to be before.
        controller.set_dns(&NetworkDns::default(), &home).await.unwrap();
        assert_eq!(world.net.writes().len(), 1);
        // What somebody else put there stays.
        let other = dns("example.org", &["10.0.0.9"]);
        let changed = controller.set_dns(&other, &NetworkDns::default()).await.unwrap_err();
        assert!(matches!(changed, ApiError::Changed { .. }), "{changed}");
        assert_eq!(world.net.writes().len(), 1);

        controller.set_dns(&home, &NetworkDns::default()).await.unwrap();
        assert_eq!(controller.dns().await.unwrap(), NetworkDns::default());
    }
}

#[tokio::test]
async fn a_dns_setting_counts_where_it_is_seen_to_be_done() {
    for (fault, outcome) in [
        (WriteFault::DownAfter, "done"),
        (WriteFault::Error500After, "done"),
        (WriteFault::CutJson, "done"),
        (WriteFault::Down, "unsure"),
        (WriteFault::Error500, "unsure"),
        (WriteFault::Ignored, "not taken"),
        (WriteFault::Elsewhere, "not taken"),
    ] {
        for (world, controller) in World::of_each_kind().await {
            world.net.fail_writes(Some(fault));
            let told = controller.set_dns(&NetworkDns::default(), &dns("home.arpa", &["10.147.20.1"])).await;
            let came = match told {
                Ok(()) => "done",
                Err(ApiError::Unsure { .. }) => "unsure",
                Err(ApiError::NotTaken { .. }) => "not taken",
                Err(error) => panic!("{fault:?}: {error}"),
            };
            assert_eq!(came, outcome, "{fault:?} at {}", controller.name());
        }
    }
}

#[tokio::test]
async fn a_network_that_is_not_there_is_not_made_by_a_dns_setting() {
    for (world, controller) in World::of_each_kind().await {
        world.net.change(|net| net.network = "5e02d9cb41c0fffe".parse().unwrap());
        let told = controller.set_dns(&NetworkDns::default(), &dns("home.arpa", &["10.147.20.1"])).await;
        assert!(matches!(told, Err(ApiError::NoNetwork(_))), "{told:?}");
        assert_eq!(world.net.writes(), []);
    }
}
