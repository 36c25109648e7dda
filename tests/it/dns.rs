//! DNS as devices ask it: by the real dig, and by hand where dig is too well-behaved.

use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::dns_forward::standin::{Standin, honest, wire};
use crate::real::needs;
use crate::world::{Live, SOON, World, echo};

fn home() -> World {
    World::new()
        .member("red-phone")
        .pending("new-tv")
        .stranger("passer-by")
        .service("wiki", echo())
        .allow("red-phone", "wiki")
        .dns("forward = []")
}

/// What dig prints, with spaces made one; `None` after a line that says that there is no dig.
async fn dig(world: &Live, device: &str, words: &str) -> Option<String> {
    let mut dig = Command::new(needs("dig")?);
    let (port, source) = (world.dns_port().to_string(), world.from(device).source.to_string());
    dig.args(["@127.0.0.1", "-p", &port, "-b", &source, "+time=1", "+tries=1"]).args(words.split(' '));
    // The gateway runs on this test's own thread, too.
    let output = tokio::task::spawn_blocking(move || dig.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// Holds what dig says to this device against words that must be in it.
async fn says(world: &Live, device: &str, table: &[(&str, &str)]) {
    for (words, expected) in table {
        let Some(said) = dig(world, device, words).await else { return };
        assert!(said.contains(expected), "{device}: dig {words} says\n{said}\nand not\n{expected}");
    }
}

/// Waits until dig says it.
async fn soon_says(world: &Live, device: &str, words: &str, expected: &str) {
    let begin = Instant::now();
    while let Some(said) = dig(world, device, words).await {
        if said.contains(expected) {
            return;
        }
        assert!(begin.elapsed() < SOON, "{device}: dig {words} says\n{said}\nand not\n{expected}");
    }
}

#[tokio::test]
async fn an_active_device_finds_services_over_udp_and_tcp() {
    let world = home().start().await;
    says(
        &world,
        "red-phone",
        &[
            ("A wiki.home.arpa +short", "127.0.0.1"),
            ("A wiki.home.arpa +short +tcp", "127.0.0.1"),
            ("A wIkI.HoMe.arpa", "flags: qr aa rd ra; QUERY: 1, ANSWER: 1"),
            ("A wIkI.HoMe.arpa", "wIkI.HoMe.arpa. 60 IN A 127.0.0.1"),
            ("A wiki.home.arpa +noedns", "MSG SIZE rcvd: 48"),
            ("A red-phone.home.arpa +short", "127.0.1.1"),
            ("-x 127.0.1.1 +short", "red-phone.home.arpa."),
            ("-x 127.0.0.1 +short", "gate.home.arpa."),
            ("NS home.arpa", "gate.home.arpa. 60 IN A 127.0.0.1"),
            ("AAAA wiki.home.arpa", "ANSWER: 0, AUTHORITY: 1"),
            ("AAAA wiki.home.arpa", "home.arpa. 60 IN SOA gate.home.arpa. hostmaster.home.arpa."),
            ("A nosuch.home.arpa", "status: NXDOMAIN"),
            ("A use-application-dns.net", "status: NXDOMAIN"),
            ("ANY wiki.home.arpa +notcp", "status: REFUSED"),
            ("AXFR home.arpa", "Transfer failed"),
            ("CH TXT version.bind", "status: REFUSED"),
            ("A wiki.home.arpa +edns=5 +noednsnegotiation", "status: BADVERS"),
            ("A wiki.home.arpa +opcode=notify", "status: NOTIMP"),
            ("A wiki.home.arpa +subnet=10.0.0.0/8 +cookie", "status: NOERROR"),
            ("A elsewhere.example", "status: SERVFAIL"),
        ],
    )
    .await;
    let counts = world.gateway().status().dns.counts;
    assert!(counts.answered >= 10 && counts.rejected >= 3, "{counts:?}");
}

#[tokio::test]
async fn others_are_refused_or_hear_nothing_and_it_is_recorded() {
    let world = home().start().await;
    says(
        &world,
        "new-tv",
        &[
            ("A wiki.home.arpa", "status: REFUSED"),
            ("A wiki.home.arpa", "ANSWER: 0, AUTHORITY: 0"),
            ("A nosuch.home.arpa", "status: REFUSED"),
        ],
    )
    .await;
    says(&world, "passer-by", &[("A wiki.home.arpa", "no servers could be reached")]).await;
    assert!(tcp_answer(&mut connect(&world, "new-tv").await, "wiki.home.arpa").await.is_none());
    assert!(tcp_answer(&mut connect(&world, "passer-by").await, "wiki.home.arpa").await.is_none());
    if needs("dig").is_none() {
        return;
    }
    let tv = world.id("new-tv");
    let udp = world.audit().record(|record| record.claimed == Some(tv)).await;
    assert_eq!((udp.member, udp.host.as_deref()), (None, Some("wiki.home.arpa")), "an address proves nobody");
    assert_eq!((udp.method.as_deref(), udp.path.as_deref()), (Some("DNS"), Some("A")));
    let tcp = world.audit().record(|record| record.member == Some(tv)).await;
    assert_eq!(tcp.verdict.as_str(), "member-pending");
    assert_eq!(world.gateway().status().dns.counts.strangers, 1);
}

#[tokio::test]
async fn a_revoked_device_gets_nothing_more_on_a_connection_from_before() {
    let world = home().start().await;
    let mut connection = connect(&world, "red-phone").await;
    let answer = tcp_answer(&mut connection, "wiki.home.arpa").await.unwrap();
    assert_eq!(answer.answers.len(), 1);
    world.revoke("red-phone").await;
    let code =
        tcp_answer(&mut connection, "wiki.home.arpa").await.map(|answer| answer.metadata.response_code);
    assert_eq!(code, Some(ResponseCode::Refused));
    assert!(tcp_answer(&mut connection, "wiki.home.arpa").await.is_none(), "and then it is closed");
    says(&world, "red-phone", &[("A wiki.home.arpa", "status: REFUSED")]).await;
}

#[tokio::test]
async fn names_follow_the_configuration_and_it_can_be_turned_off() {
    let mut world = home().start().await;
    world.reload(|plan| plan.service("films", &echo(), "aliases = [\"cinema\"]")).await.unwrap();
    soon_says(&world, "red-phone", "A cinema.home.arpa +short", "127.0.0.1").await;
    world.reload(|plan| plan.remove_service("films")).await.unwrap();
    soon_says(&world, "red-phone", "A cinema.home.arpa", "status: NXDOMAIN").await;

    world.reload(|plan| plan.dns = Some("enabled = false".into())).await.unwrap();
    until(|| !world.answers_dns()).await;
    assert!(!world.gateway().status().dns.enabled);
    world.reload(|plan| plan.dns = Some("forward = []".into())).await.unwrap();
    soon_says(&world, "red-phone", "A wiki.home.arpa +short", "127.0.0.1").await;
}

#[tokio::test]
async fn queries_on_one_connection_are_answered_as_they_come() {
    let world = home().start().await;
    let mut connection = connect(&world, "red-phone").await;
    let mut many = Vec::new();
    for id in 0..200 {
        many.extend(framed(&query(id, "wiki.home.arpa")));
    }
    let (mut reader, mut writer) = connection.split();
    let sending = async { writer.write_all(&many).await.unwrap() };
    let receiving = async {
        let mut ids = Vec::new();
        for _ in 0..200 {
            ids.push(read(&mut reader).await.unwrap().metadata.id);
        }
        ids.sort_unstable();
        ids
    };
    let (ids, ()) = tokio::join!(receiving, sending);
    assert_eq!(ids, (0..200).collect::<Vec<u16>>());
}

/// Its queries are not refused; each waits for its turn.
#[tokio::test]
async fn a_connection_has_its_pace_too() {
    let limits = |limits: &mut ztgate::dns::Limits| (limits.rate, limits.burst) = (20, 5);
    let world = home().dns_limits(limits).start().await;
    let mut connection = connect(&world, "red-phone").await;
    let begin = Instant::now();
    for _ in 0..15 {
        assert!(tcp_answer(&mut connection, "wiki.home.arpa").await.is_some());
    }
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn one_device_has_so_many_connections_and_a_silent_one_ends() {
    let limits = |limits: &mut ztgate::dns::Limits| {
        limits.connections_of_member = 2;
        limits.idle = Duration::from_millis(300);
    };
    let world = home().dns_limits(limits).start().await;
    let mut first = connect(&world, "red-phone").await;
    let mut second = connect(&world, "red-phone").await;
    assert!(tcp_answer(&mut first, "wiki.home.arpa").await.is_some());
    assert!(tcp_answer(&mut second, "wiki.home.arpa").await.is_some());
    assert!(tcp_answer(&mut connect(&world, "red-phone").await, "wiki.home.arpa").await.is_none());
    assert_eq!(world.gateway().status().dns.counts.over_limit, 1);
    assert!(read(&mut first).await.is_none(), "silent for too long");
    let mut third = connect(&world, "red-phone").await;
    assert!(tcp_answer(&mut third, "wiki.home.arpa").await.is_some(), "there is room again");
    world.audit().record(|record| record.verdict.as_str() == "gateway-busy").await;
}

#[tokio::test]
async fn beyond_its_pace_a_device_hears_little_and_comes_by_tcp() {
    let limits = |limits: &mut ztgate::dns::Limits| {
        limits.rate = 1;
        limits.burst = 5;
        limits.truncated = 3;
    };
    let world = home().dns_limits(limits).start().await;
    let socket = UdpSocket::bind((world.from("red-phone").source, 0)).await.unwrap();
    socket.connect(("127.0.0.1", world.dns_port())).await.unwrap();
    for id in 0..45 {
        socket.send(&query(id, "wiki.home.arpa").to_vec().unwrap()).await.unwrap();
    }
    let (mut whole, mut truncated) = (0, 0);
    let mut bytes = [0; 512];
    while let Ok(Ok(length)) = tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut bytes)).await
    {
        let answer = Message::from_vec(&bytes[..length]).unwrap();
        if answer.metadata.truncation { truncated += 1 } else { whole += 1 }
    }
    assert!((5..=6).contains(&whole) && (3..=4).contains(&truncated), "{whole} {truncated}");
    let over = world.audit().record(|record| record.verdict.as_str() == "gateway-busy").await;
    assert_eq!(over.claimed, Some(world.id("red-phone")));
    assert!((39..=40).contains(&over.count), "{over:?}");
    let answer = tcp_answer(&mut connect(&world, "red-phone").await, "wiki.home.arpa").await;
    assert_eq!(answer.unwrap().answers.len(), 1);
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
    let socket = UdpSocket::bind((world.from("red-phone").source, 0)).await.unwrap();
    socket.connect(("127.0.0.1", world.dns_port())).await.unwrap();
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

async fn datagram(socket: &UdpSocket) -> Option<Message> {
    let mut bytes = [0; 1232];
    let length = tokio::time::timeout(SOON, socket.recv(&mut bytes)).await.ok()?.unwrap();
    Message::from_vec(&bytes[..length]).ok()
}

#[tokio::test]
async fn whoever_holds_the_port_is_named_and_http_goes_on() {
    let world = World::new().member("red-phone").service("wiki", echo()).allow("red-phone", "wiki");
    let mut world = world.start().await;
    let holder = std::net::UdpSocket::bind(("127.0.0.1", world.dns_port())).unwrap();
    world.reload(|plan| plan.dns = Some("forward = []".into())).await.unwrap();
    let held = format!("(pid {})", std::process::id());
    until(|| {
        let doors = world.gateway().status().dns.doors;
        let is_told = |door: &ztgate::dns::DnsDoor| {
            door.protocol == "udp" && door.error.as_ref().is_some_and(|why| why.contains(&held))
        };
        doors.len() == 2 && doors.iter().any(is_told) && doors.iter().any(|door| door.error.is_none())
    })
    .await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    assert!(tcp_answer(&mut connect(&world, "red-phone").await, "wiki.home.arpa").await.is_some());
    drop(holder);
    soon_says(&world, "red-phone", "A wiki.home.arpa +short", "127.0.0.1").await;
    // What was wrong is told by a task of its own.
    until(|| world.gateway().status().dns.doors.iter().all(|door| door.error.is_none())).await;
}

async fn until(holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < SOON, "never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn connect(world: &Live, device: &str) -> TcpStream {
    world.from(device).connect(world.dns_port()).await
}

fn query(id: u16, name: &str) -> Message {
    let mut query = Message::new(id, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
    query
}

fn framed(query: &Message) -> Vec<u8> {
    let bytes = query.to_vec().unwrap();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

/// Asks on a connection; `None` if it is closed instead.
async fn tcp_answer(connection: &mut TcpStream, name: &str) -> Option<Message> {
    connection.write_all(&framed(&query(7, name))).await.ok()?;
    read(connection).await
}

async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Message> {
    let whole = async {
        let mut bytes = vec![0; usize::from(from.read_u16().await.ok()?)];
        from.read_exact(&mut bytes).await.ok()?;
        Some(Message::from_vec(&bytes).unwrap())
    };
    tokio::time::timeout(SOON, whole).await.expect("neither an answer nor an end")
}
