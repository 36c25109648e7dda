//! The stand-in beside what a real node answered, byte for byte.

use super::*;

#[tokio::test]
async fn the_recorded_bytes_themselves_are_read() {
    let url = replay(&[
        ("/status", fixture!("status")),
        ("/network/5e02d9cb41c0ffee", fixture!("network_one")),
        ("/peer", fixture!("peer_list")),
        ("/controller/network/5e02d9cb41c0ffee", fixture!("controller_network_one")),
        ("/unstable/controller/network/5e02d9cb41c0ffee/member", fixture!("unstable_member_list")),
    ])
    .await;
    let world = World::new().await;
    let real = NodeClient::new(&url, world.token("s3cret")).unwrap();
    let standin = world.client();
    assert_eq!(real.status().await.unwrap(), standin.status().await.unwrap());
    assert_eq!(real.network(network()).await.unwrap(), standin.network(network()).await.unwrap());
    let peers = real.peers().await.unwrap();
    let told =
        |peer: &crate::zerotier::NodePeer| (peer.id.to_string(), peer.physical.map(|at| at.to_string()));
    let there = |id: &str, at: &str| (id.to_owned(), Some(format!("{at}:9993")));
    assert_eq!(
        peers.iter().map(told).collect::<Vec<_>>(),
        [
            there("0cc5dbc348", "10.99.0.1"),
            there("bcba17eef8", "10.99.0.12"),
            there("c46f4e4b8f", "10.99.0.13"),
            there("c4c8812898", "10.99.0.11"),
        ]
    );
    let real = LocalController::new(real, network()).view().await.unwrap();
    assert_eq!(real, world.controllers()[0].view().await.unwrap());
}

#[tokio::test]
async fn the_stand_in_answers_byte_for_byte_as_recorded() {
    let world = World::new().await;
    let member = "/controller/network/5e02d9cb41c0ffee/member";
    for (path, body) in [
        ("/status", fixture!("status")),
        ("/network/5e02d9cb41c0ffee", fixture!("network_one")),
        ("/network/0123456789abcdef", fixture!("network_unknown")),
        ("/controller/network/5e02d9cb41c0ffee", fixture!("controller_network_one")),
        (member, fixture!("controller_member_list")),
        (&format!("{member}/c4c8812898"), fixture!("member_authorised")),
        (&format!("{member}/c46f4e4b8f"), fixture!("member_pending")),
        (&format!("{member}/5e02d9cb41"), fixture!("member_self")),
        ("/unstable/controller/network/5e02d9cb41c0ffee/member", fixture!("unstable_member_list")),
    ] {
        assert_eq!(raw(&world, path, "s3cret").await.1.trim_end(), body.trim_end(), "{path}");
    }
    // A record that was made before the device ever came.
    world.net.change(|net| {
        let early = StandinMember::new("00deadbeef").authorized().named("invited early");
        let creation_time = 1_795_427_693_528;
        net.members.push(StandinMember {
            identity: None,
            revision: 1,
            version: None,
            creation_time,
            ..early
        });
    });
    let early = raw(&world, &format!("{member}/00deadbeef"), "s3cret").await.1;
    assert_eq!(early.trim_end(), fixture!("member_preauthorised_never_seen").trim_end());
    // The one that the node writes in an order of its own.
    let controller: Value = serde_json::from_str(&raw(&world, "/controller", "s3cret").await.1).unwrap();
    let recorded: Value = serde_json::from_str(fixture!("controller")).unwrap();
    assert_eq!(controller.as_object().unwrap().len(), recorded.as_object().unwrap().len());
}

#[tokio::test]
async fn the_stand_in_s_heads_are_as_recorded() {
    let world = World::new().await;
    let (head, body) = raw(&world, "/nonsense", "wrong").await;
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/json\r\n") && head.contains("Keep-Alive: timeout=5, max=5")
    );
    assert_eq!(body, fixture!("err_bad_token").trim_end());
    let (head, body) = raw(&world, "/controller/network/0123456789abcdef", "s3cret").await;
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && head.contains("Content-Length: 0"), "{head}");
    assert!(!head.contains("Content-Type") && body.is_empty());
}
