//! Names that others are asked for, through the whole gateway: whose share that takes, and what a reload leaves.

use std::time::Instant;

use hickory_proto::op::ResponseCode;
use tokio::net::UdpSocket;

use crate::dns::{connect, datagram, query, tcp_answer, until};
use crate::dns_forward::standin::{Standin, honest, wire};
use crate::world::{Live, SOON, World};

fn forward(upstream: &Standin) -> String {
    format!("forward = [\"{}\"]", upstream.at)
}

async fn socket(world: &Live) -> UdpSocket {
    let socket = UdpSocket::bind((world.from("red-phone").source, 0)).await.unwrap();
    socket.connect(("127.0.0.1", world.dns_port())).await.unwrap();
    socket
}

/// The answer's code, and how many addresses.
async fn asks(socket: &UdpSocket, name: &str) -> (ResponseCode, usize) {
    socket.send(&query(7, name).to_vec().unwrap()).await.unwrap();
    let answer = datagram(socket).await.unwrap();
    (answer.metadata.response_code, answer.answers.len())
}

/// Anybody on the network may send datagrams from somebody else's address.
#[tokio::test]
async fn questions_by_datagram_use_up_nothing_that_connections_need() {
    let upstream =
        Standin::new(|query, _| match query.queries[0].name.to_lowercase().to_ascii().starts_with("known") {
            true => vec![wire(&honest(query, [9, 9, 9, 9]))],
            false => Vec::new(),
        });
    let limits = |limits: &mut ztgate::dns::Limits| limits.forwards_of_member = 2;
    let world = World::new().member("red-phone").dns(&format!("forward = [\"{}\"]", upstream.at));
    let world = world.dns_limits(limits).start().await;
    let socket = socket(&world).await;
    for id in 0..3 {
        socket.send(&query(id, &format!("silent{id}.example")).to_vec().unwrap()).await.unwrap();
    }
    let third = datagram(&socket).await.unwrap();
    assert!(third.metadata.truncation && third.metadata.response_code == ResponseCode::NoError, "{third}");
    let mut connection = connect(&world, "red-phone").await;
    let answer = tcp_answer(&mut connection, "known.example").await.unwrap();
    assert_eq!(answer.answers.len(), 1, "a connection has a share of its own");
    socket.send(&query(9, "known.example").to_vec().unwrap()).await.unwrap();
    let known = datagram(&socket).await.unwrap();
    assert_eq!((known.metadata.id, known.answers.len()), (9, 1), "what is known costs no share");
}

/// Three that ask for names that nobody answers, or one that borrows the addresses of three.
#[tokio::test]
async fn three_askers_of_unanswered_names_leave_room_for_a_fourth() {
    let upstream =
        Standin::new(|query, _| match query.queries[0].name.to_lowercase().to_ascii().starts_with("known") {
            true => vec![wire(&honest(query, [9, 9, 9, 9]))],
            false => Vec::new(),
        });
    let devices = ["red-phone", "laptop", "tablet", "desk"];
    let world = devices.into_iter().fold(World::new(), World::member);
    let world = world.dns(&format!("forward = [\"{}\"]", upstream.at)).start().await;
    let mut sockets = Vec::new();
    for device in devices {
        let socket = UdpSocket::bind((world.from(device).source, 0)).await.unwrap();
        socket.connect(("127.0.0.1", world.dns_port())).await.unwrap();
        sockets.push(socket);
    }
    let (quiet, loud) = sockets.split_last().unwrap();
    for (who, socket) in loud.iter().enumerate() {
        for id in 0..64 {
            socket.send(&query(id, &format!("silent{who}-{id}.example")).to_vec().unwrap()).await.unwrap();
        }
    }
    // Whoever is over its share hears so, and by then the others' questions are out.
    let over = datagram(loud.last().unwrap()).await.unwrap();
    assert!(over.metadata.truncation, "{over}");
    quiet.send(&query(7, "known.example").to_vec().unwrap()).await.unwrap();
    let known = datagram(quiet).await.unwrap();
    assert_eq!((known.metadata.id, known.answers.len()), (7, 1), "{known}");
}

const FOUND: (ResponseCode, usize) = (ResponseCode::NoError, 1);

#[tokio::test]
async fn other_servers_are_asked_at_once_and_what_is_known_stays() {
    let server = || Standin::new(|query, _| vec![wire(&honest(query, [9, 9, 9, 9]))]);
    let (old, new) = (server(), server());
    let mut world = World::new().member("red-phone").dns(&forward(&old)).start().await;
    let socket = socket(&world).await;
    assert_eq!(asks(&socket, "wiki.example").await, FOUND);

    world.reload(|plan| plan.dns = Some(forward(&new))).await.unwrap();
    until(|| world.gateway().status().dns.forward.servers[0].address == new.at).await;
    assert_eq!(asks(&socket, "wiki.example").await, FOUND);
    assert_eq!((old.heard(), new.heard()), (1, 0), "known");
    assert_eq!(asks(&socket, "films.example").await, FOUND);
    assert_eq!((old.heard(), new.heard()), (1, 1));
}

/// It was judged by the old list.
#[tokio::test]
async fn what_is_known_is_forgotten_with_the_list_of_those_who_may_lead_inside() {
    let server = Standin::new(|query, _| vec![wire(&honest(query, [192, 168, 1, 9]))]);
    let private = |domain: &str| format!("{}\nprivate = [\"{domain}\"]", forward(&server));
    let mut world = World::new().member("red-phone").dns(&private("corp.example")).start().await;
    let socket = socket(&world).await;
    assert_eq!(asks(&socket, "wiki.corp.example").await, FOUND);
    world.reload(|plan| plan.dns = Some(private("other.example"))).await.unwrap();
    let begin = Instant::now();
    while asks(&socket, "wiki.corp.example").await != (ResponseCode::NoError, 0) {
        assert!(begin.elapsed() < SOON, "still led inside");
    }
}

#[tokio::test]
async fn a_door_that_is_closed_is_not_held_open_for_answers() {
    let silent = Standin::silent();
    let mut world = World::new().member("red-phone").dns(&forward(&silent)).start().await;
    let socket = socket(&world).await;
    socket.send(&query(7, "wiki.example").to_vec().unwrap()).await.unwrap();
    until(|| silent.heard() == 1).await;
    world.reload(|plan| plan.dns = Some("enabled = false".into())).await.unwrap();
    let port = world.dns_port();
    until(|| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()).await;
    // The server is asked again each second while somebody waits for the answer: that time had not run out.
    let heard = silent.heard();
    until(|| silent.heard() > heard).await;
}
