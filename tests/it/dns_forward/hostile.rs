//! Servers that are gone, slow, overrun or lie, and others that answer in their place.

use std::collections::HashSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::A};
use tokio::net::UdpSocket as TokioSocket;
use ztgate::dns::forward::Forwarder;
use ztgate::linux::holder::Protocol;

use super::standin::{Standin, Via, honest, wire};
use super::{ask, query, say};

const RIGHT: [u8; 4] = [9, 9, 9, 9];
const FORGED: [u8; 4] = [6, 6, 6, 6];
const GOOD: &str = "No Error: wiki.example. A 9.9.9.9";

async fn wiki(forwarder: &Forwarder) -> String {
    say(&ask(forwarder, "wiki.example.", RecordType::A).await)
}

/// An answer with something changed.
fn forged(query: &Message, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut answer = honest(query, FORGED);
    change(&mut answer);
    wire(&answer)
}

type Lie = fn(&Message) -> Vec<Vec<u8>>;

#[tokio::test]
async fn an_answer_to_another_question_is_not_heard() {
    let lies: [(&str, Lie); 7] = [
        ("another ID", |q| vec![forged(q, |a| a.metadata.id ^= 1), wire(&honest(q, RIGHT))]),
        ("another name", |q| {
            let other = |a: &mut Message| a.queries[0].name = Name::from_ascii("evil.example.").unwrap();
            vec![forged(q, other), wire(&honest(q, RIGHT))]
        }),
        ("no question", |q| vec![forged(q, |a| a.queries.clear()), wire(&honest(q, RIGHT))]),
        ("garbage", |q| vec![vec![0xff; 600], vec![7], wire(&honest(q, RIGHT))]),
        ("the query itself", |q| vec![wire(q), wire(&honest(q, RIGHT))]),
        ("a second opinion", |q| vec![wire(&honest(q, RIGHT)), wire(&honest(q, FORGED))]),
        ("foreign records", |q| {
            let mut answer = honest(q, RIGHT);
            let bank = Name::from_ascii("bank.example.").unwrap();
            let lie = || Record::from_rdata(bank.clone(), 60, RData::A(A(FORGED.into())));
            answer.add_answer(lie()).add_authority(lie()).add_additional(lie());
            vec![wire(&answer)]
        }),
    ];
    for (what, lie) in lies {
        let server = Standin::new(move |query, _| lie(query));
        let forwarder = Forwarder::new(vec![server.at], &[]);
        let answer = ask(&forwarder, "wiki.example.", RecordType::A).await;
        assert_eq!(say(&answer), GOOD, "{what}");
        assert!(answer.authorities.is_empty() && answer.additionals.is_empty(), "{what}: {answer}");
        assert_eq!(wiki(&forwarder).await, GOOD, "{what}, from the cache");
        assert_eq!(server.heard(), 1, "{what}");
    }
}

/// Anybody on the host, or on the path to the server, may send to the port that a question left from.
#[tokio::test]
async fn another_sender_is_not_heard() {
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = TokioSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let forwarder = Forwarder::new(vec![server.local_addr().unwrap()], &[]);
    let serve = async {
        let mut buffer = [0; 512];
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        other.send_to(&wire(&honest(&query, FORGED)), from).unwrap();
        server.send_to(&wire(&honest(&query, RIGHT)), from).await.unwrap();
    };
    assert_eq!(tokio::join!(wiki(&forwarder), serve).0, GOOD);
}

#[tokio::test]
async fn what_is_cut_or_broken_by_udp_is_asked_by_tcp() {
    let doubtful: [(&str, Lie); 2] = [
        ("truncated", |q| vec![forged(q, |a| a.metadata.truncation = true)]),
        ("broken", |q| vec![wire(&honest(q, FORGED))[..40].to_vec()]),
    ];
    for (what, by_udp) in doubtful {
        let server = Standin::new(move |query, via| match via {
            Via::Udp => by_udp(query),
            Via::Tcp => vec![wire(&honest(query, RIGHT))],
        });
        let forwarder = Forwarder::new(vec![server.at], &[]);
        assert_eq!(wiki(&forwarder).await, GOOD, "{what}");
        assert_eq!(server.heard(), 2, "{what}");
    }
}

/// As some home routers do. Three times are enough to know it, and once is not: it may have been forged.
#[tokio::test]
async fn a_server_that_changes_letters_is_found_out_by_tcp() {
    fn lower(query: &Message) -> Message {
        let mut query = query.clone();
        query.queries[0].name = query.queries[0].name.to_lowercase();
        query
    }
    for speaks_tcp in [true, false] {
        let server = Standin::new(move |query, via| match via {
            Via::Tcp if !speaks_tcp => vec![],
            _ => vec![wire(&honest(&lower(query), RIGHT))],
        });
        let forwarder = Forwarder::new(vec![server.at], &[]);
        for n in 1..=3 {
            let long = format!("a-name-of-many-letters-{n}.wiki.example.");
            let answer = say(&ask(&forwarder, &long, RecordType::A).await);
            assert_eq!(answer, format!("No Error: {long} A 9.9.9.9"), "TCP: {speaks_tcp}");
            assert_eq!(server.heard(), n * if speaks_tcp { 2 } else { 3 }, "TCP: {speaks_tcp}");
        }
        let asked = server.heard();
        assert_eq!(wiki(&forwarder).await, GOOD, "TCP: {speaks_tcp}");
        assert_eq!(server.heard(), asked + 1, "TCP: {speaks_tcp}");
    }
}

/// As RFC 6891 expects of servers that are older than it.
#[tokio::test]
async fn a_server_that_never_heard_of_edns_is_asked_without() {
    let server = Standin::new(|query, _| {
        let mut answer = honest(query, RIGHT);
        if query.edns.is_some() {
            answer.answers.clear();
            answer.metadata.response_code = ResponseCode::FormErr;
        }
        answer.edns = None;
        vec![wire(&answer)]
    });
    let forwarder = Forwarder::new(vec![server.at], &[]);
    for n in 1..=3 {
        ask(&forwarder, &format!("n{n}.example."), RecordType::A).await;
        assert_eq!(server.heard(), 2 * n);
    }
    assert_eq!(wiki(&forwarder).await, GOOD);
    assert_eq!(server.heard(), 7, "three times are enough to know it");
}

/// Who guesses ID and port, but not the letters.
#[tokio::test]
async fn a_forged_answer_in_other_letters_only_costs_a_tcp_exchange() {
    let server = Standin::new(|query, via| match via {
        Via::Udp => {
            let flip = |name: &Name| {
                let flipped = |b: u8| if b.is_ascii_alphabetic() { b ^ 0x20 } else { b };
                let text: Vec<u8> = name.to_ascii().bytes().map(flipped).collect();
                Name::from_ascii(String::from_utf8(text).unwrap()).unwrap()
            };
            vec![forged(query, |a| a.queries[0].name = flip(&a.queries[0].name))]
        }
        Via::Tcp => vec![wire(&honest(query, RIGHT))],
    });
    let forwarder = Forwarder::new(vec![server.at], &[]);
    assert_eq!(wiki(&forwarder).await, GOOD);
    let other = say(&ask(&forwarder, "other.example.", RecordType::A).await);
    assert_eq!(other, "No Error: other.example. A 9.9.9.9", "letters are still looked at");
}

#[tokio::test]
async fn the_next_server_answers_for_one_that_does_not() {
    let refusing = |code: ResponseCode| {
        Standin::new(move |query, _| {
            let mut answer = query.clone().into_response();
            answer.metadata.response_code = code;
            vec![wire(&answer)]
        })
    };
    let good = Standin::new(|query, _| vec![wire(&honest(query, RIGHT))]);
    let silent = Standin::silent();
    let (fails, refuses) = (refusing(ResponseCode::ServFail), refusing(ResponseCode::Refused));
    let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for (what, at, patience) in [
        ("SERVFAIL", fails.at, 0),
        ("REFUSED", refuses.at, 0),
        ("nobody listens", gone, 0),
        ("silence", silent.at, 800),
    ] {
        let forwarder = Forwarder::new(vec![at, good.at], &[]);
        let start = Instant::now();
        assert_eq!(wiki(&forwarder).await, GOOD, "{what}");
        let limit = Duration::from_millis(patience + 700);
        assert!(start.elapsed() < limit, "{what}: {:?}", start.elapsed());
    }

    // After two failures it is not waited for any more.
    let forwarder = Forwarder::new(vec![silent.at, good.at], &[]);
    for name in ["a.example.", "b.example."] {
        ask(&forwarder, name, RecordType::A).await;
    }
    let start = Instant::now();
    ask(&forwarder, "c.example.", RecordType::A).await;
    assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
    let [first, second] = &forwarder.status().servers[..] else { panic!("two servers") };
    assert_eq!((first.answered_s, first.failures), (None, 2));
    assert_eq!((second.answered_s, second.failures), (Some(0), 0));
}

#[tokio::test]
async fn a_late_answer_is_still_one() {
    let server = Standin::new(|query, _| {
        thread::sleep(Duration::from_millis(1_300));
        vec![wire(&honest(query, RIGHT))]
    });
    let forwarder = Forwarder::new(vec![server.at], &[]);
    assert_eq!(wiki(&forwarder).await, GOOD);
    assert_eq!(forwarder.status().servers[0].failures, 0, "it lives");
}

#[tokio::test]
async fn nobody_answers_or_nobody_is_there() {
    let nobody = Forwarder::new(vec![], &[]);
    let start = Instant::now();
    assert_eq!(wiki(&nobody).await, "Server Failure: ");
    assert!(start.elapsed() < Duration::from_millis(400));

    let silent = Standin::silent();
    let forwarder = Forwarder::new(vec![silent.at], &[]);
    let start = Instant::now();
    assert_eq!(wiki(&forwarder).await, "Server Failure: ");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let heard = silent.heard();
    assert_eq!(heard, 3, "it was lost on the way twice, perhaps");
    assert_eq!(wiki(&forwarder).await, "Server Failure: ");
    assert_eq!(silent.heard(), heard, "that nobody answers is known for a moment");
}

#[tokio::test]
async fn who_goes_away_leaves_the_answer_for_the_next() {
    let server = Standin::new(|query, _| {
        thread::sleep(Duration::from_millis(200));
        vec![wire(&honest(query, RIGHT))]
    });
    let forwarder = Forwarder::new(vec![server.at], &[]);
    let impatient = tokio::time::timeout(Duration::from_millis(50), wiki(&forwarder)).await;
    assert!(impatient.is_err());
    assert_eq!(wiki(&forwarder).await, GOOD);
    assert_eq!(server.heard(), 1);
}

/// What a device that asks for everything may cost while the line is down.
#[tokio::test]
async fn ten_thousand_questions_to_a_dead_server_leave_nothing_behind() {
    let proved = Arc::new(Mutex::new(HashSet::new()));
    let heard = proved.clone();
    let silent = Standin::new(move |query, _| {
        let name = query.queries[0].name.to_lowercase().to_ascii();
        if name.starts_with('t') {
            heard.lock().unwrap().insert(name);
        }
        Vec::new()
    });
    let forwarder = Arc::new(Forwarder::new(vec![silent.at], &[]));
    let port = silent.at.port();
    let start = Instant::now();
    let equal = (0..5_000).map(|_| "same.example.".to_owned());
    let different = (0..5_000).map(|n| format!("n{n}.example."));
    let by_udp = equal.chain(different).map(|name| (name, Protocol::Udp));
    // What came by connections has a part that no datagram takes.
    let by_tcp = (0..100).map(|n| (format!("t{n}.example."), Protocol::Tcp));
    let all = by_udp.chain(by_tcp).map(|(name, by)| {
        let forwarder = forwarder.clone();
        async move { forwarder.answer(&query(&name, RecordType::A), by).await }
    });
    let watch = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (forwarder.status().asking, sockets_towards(port))
    };
    let (answers, (asking, sockets)) = tokio::join!(join_all(all), watch);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(answers.iter().all(|answer| answer.metadata.response_code == ResponseCode::ServFail));
    assert_eq!(asking, 256);
    assert_eq!(sockets, 256);
    assert_eq!(proved.lock().unwrap().len(), 64, "of those that came by connections");
    assert!(silent.heard() <= 3 * 256, "{}", silent.heard());
    assert_eq!(forwarder.status().asking, 0);
    assert_eq!(sockets_towards(port), 0);
}

/// How many UDP sockets are connected to that port (proc_net(5)).
fn sockets_towards(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap();
    let remote = format!(":{port:04X}");
    table
        .lines()
        .filter(|line| line.split_whitespace().nth(2).is_some_and(|at| at.ends_with(&remote)))
        .count()
}
