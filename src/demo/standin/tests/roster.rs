//! The roster task on a stand-in: what moves the roster, and what does not.

use super::*;
use crate::config::{self, Config};
use crate::identity::proof::Prover;
use crate::identity::{Hazard, IdentityProof, Roster};
use crate::linux::clock::SystemClock;
use crate::model::MemberState;
use crate::store::Members;
use crate::sync::{self, Limits, RosterFeed, RosterTask};

/// The roster task on a stand-in, polling fast.
fn sync(world: &World) -> (tokio::task::JoinHandle<()>, RosterFeed) {
    let config = Arc::new(Config {
        file: "/etc/ztgate/ztgate.toml".into(),
        network: network(),
        zone: "home.arpa".parse().unwrap(),
        state_dir: world.folder.path().into(),
        node: config::Node {
            url: world.node.url(),
            token_file: world.folder.path().join("authtoken.secret"),
        },
        controller: config::Controller::Local,
        sync: config::SyncMode::Ask,
        time_zone: jiff::tz::TimeZone::UTC,
        http_port: 80,
        https_port: 443,
        tls: config::Tls::PrivateCa,
        services: vec![],
        groups: vec![],
        devices: vec![],
        notify: config::Notify::default(),
        dns: crate::config::Dns::default(),
        nameserver: None,
        publish: None,
        warnings: vec![],
    });
    let controller = sync::controller(&config, &world.client()).unwrap();
    let (store, _) = Members::open(&config.state_dir).unwrap();
    let (_, config) = tokio::sync::watch::channel(config);
    let limits = Limits { poll: Duration::from_millis(20), ..Limits::LOCAL };
    let prover = Prover::start().unwrap();
    let (task, feed) =
        RosterTask::new(controller, world.client(), store, prover, config, Arc::new(SystemClock), limits)
            .unwrap();
    (tokio::spawn(task.run()), feed)
}

async fn until(feed: &mut RosterFeed, what: &str, holds: impl Fn(&Roster) -> bool) -> Arc<Roster> {
    let wait = feed.roster.wait_for(|roster| roster.as_deref().is_some_and(&holds));
    let found = tokio::time::timeout(Duration::from_secs(30), wait).await;
    found.unwrap_or_else(|_| panic!("never {what}")).unwrap().clone().unwrap()
}

fn picture(roster: &Roster) -> Vec<(MemberId, MemberState, IdentityProof)> {
    roster.sorted().iter().map(|m| (m.id, m.state, m.proof)).collect()
}

#[tokio::test]
async fn the_roster_follows_the_controller_and_no_fault_moves_it() {
    let world = World::new().await;
    let (running, mut feed) = sync(&world);
    let proven = |roster: &Roster| roster.sorted().iter().all(|m| m.proof == IdentityProof::Proven);
    let before = picture(&*until(&mut feed, "proven", proven).await);
    assert_eq!(before.iter().filter(|m| m.1 == MemberState::Active).count(), 3);

    for fault in
        [Fault::Down, Fault::Error500, Fault::Html, Fault::NoMembers, Fault::OtherNetwork, Fault::Twice]
    {
        world.net.fail(Some(fault));
        let wait = feed.status.wait_for(|status| status.last_error.is_some());
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap().unwrap();
        let roster = feed.roster.borrow().clone().unwrap();
        assert_eq!(picture(&roster), before, "{fault:?}");
        world.net.fail(None);
        let wait = feed.status.wait_for(|status| status.last_error.is_none());
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap().unwrap();
    }

    let phone = id("c4c8812898");
    world.net.change(|net| net.authorize(phone, false));
    until(&mut feed, "revoked", |r| r.get(phone).unwrap().state == MemberState::Revoked).await;
    running.abort();
}

#[tokio::test]
async fn a_controller_that_swaps_an_identity_is_not_believed() {
    let world = World::new().await;
    let phone = id("c4c8812898");
    let forged = REAL_MEMBERS[4].replace("0cc5dbc348", "c4c8812898");
    world.net.change(|net| net.member(phone).unwrap().identity = Some(forged));
    let (running, mut feed) = sync(&world);
    until(&mut feed, "found out", |r| r.get(phone).unwrap().proof == IdentityProof::Changed).await;
    running.abort();
}

#[tokio::test]
async fn a_private_network_made_public_is_a_hazard() {
    let world = World::new().await;
    let (running, mut feed) = sync(&world);
    until(&mut feed, "safe", |r| r.hazards.is_empty()).await;
    world.net.change(|net| net.private = false);
    until(&mut feed, "public", |r| r.hazards == [Hazard::Public]).await;
    running.abort();
}

#[tokio::test]
async fn a_rule_that_hands_frames_to_the_gateway_is_a_hazard_and_to_another_is_none() {
    let world = World::new().await;
    let tee = |to: &str| serde_json::json!([{"type": "ACTION_TEE", "address": to, "flags": 0, "length": 0}]);
    world.net.change(|net| net.rules = tee("bcba17eef8"));
    let (running, mut feed) = sync(&world);
    until(&mut feed, "safe", |r| r.hazards.is_empty()).await;
    world.net.change(|net| net.rules = tee("5e02d9cb41"));
    until(&mut feed, "unsafe", |r| matches!(r.hazards[..], [Hazard::Redirect { .. }])).await;
    running.abort();
}
