//! DNS on real devices: who hears an answer, by which device, and what becomes of it while addresses come and go.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::harness::{Namespace, Segment, with_namespaces};
use crate::home::{Home, PATIENCE, until};
use crate::lab::{A, B, GATEWAY};

/// What comes back for the echo service's name: the code and how many addresses, or `None` for silence.
fn ask(machine: &Namespace, at: SocketAddr) -> Option<(ResponseCode, usize)> {
    machine.run(|| {
        let any: SocketAddr = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii("echo.home.arpa.").unwrap(), RecordType::A));
        socket.send_to(&query.to_vec().unwrap(), at).ok()?;
        let mut bytes = [0; 1500];
        let (length, from) = socket.recv_from(&mut bytes).ok()?;
        assert_eq!(from, at, "answered from where it was asked");
        let answer = Message::from_vec(&bytes[..length]).unwrap();
        Some((answer.metadata.response_code, answer.answers.len()))
    })
}

#[test]
fn members_are_answered_at_every_address_and_others_are_not() {
    with_namespaces("dns::members_are_answered_at_every_address_and_others_are_not", || {
        let home = Home::new();
        let _gateway = home.start();
        let (a, b) = (A.machine(&home.segment), B.machine(&home.segment));
        home.until_served(&a);
        for at in GATEWAY.at(53) {
            let answered = || ask(&a, at) == Some((ResponseCode::NoError, 1));
            assert!(until(PATIENCE, answered), "{at}: {:#?}", home.status().map(|status| status.dns));
        }

        home.node.change(|net| net.authorize(B.id.parse().unwrap(), false));
        let refused = || ask(&b, GATEWAY.at(53)[0]) == Some((ResponseCode::Refused, 0));
        assert!(until(PATIENCE, refused), "{}", home.log());
        home.recorded("member-revoked", &[("claimed", Some(B.id)), ("method", Some("DNS"))]);

        let stranger = Namespace::new();
        home.segment.plug(&stranger, "zt0", "ee:00:00:00:00:99", &["10.147.20.99/24"]);
        assert_eq!(ask(&stranger, GATEWAY.at(53)[0]), None);
        home.until_status("the stranger", |status| status.dns.counts.strangers > 0);
    });
}

#[test]
fn no_other_device_brings_a_query_in() {
    with_namespaces("dns::no_other_device_brings_a_query_in", || {
        let home = Home::new();
        let lan = Segment::new();
        lan.plug(&home.machine, "eth0", "02:00:00:00:00:01", &["192.168.1.1/24"]);
        // Linux takes packets for any of its addresses by any device; this one even has a member's address.
        let neighbour = Namespace::new();
        lan.plug(&neighbour, "eth0", "02:00:00:00:00:02", &["192.168.1.2/24", "10.147.20.2/32"]);
        neighbour.ip("route add 10.147.20.1/32 via 192.168.1.1 dev eth0 src 10.147.20.2");
        // A socket that is bound to no device hears it, so there is a way.
        let weak = home.machine.run(|| UdpSocket::bind(GATEWAY.at(53)[0])).unwrap();
        weak.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(ask(&neighbour, GATEWAY.at(53)[0]), None, "heard, and not answered");
        let (_, from) = weak.recv_from(&mut [0; 512]).unwrap();
        assert_eq!(from.ip().to_string(), "10.147.20.2");
        drop(weak);
        let _gateway = home.start();
        let a = A.machine(&home.segment);
        home.until_served(&a);
        let at = GATEWAY.at(53)[0];
        assert!(until(PATIENCE, || ask(&a, at).is_some()), "{}", home.log());
        let counts = || home.status().unwrap().dns.counts;
        let before = counts();
        assert!(before.answered > 0, "{before:?}");
        assert_eq!(ask(&neighbour, at), None);
        assert_eq!(ask(&neighbour, "192.168.1.1:53".parse().unwrap()), None);
        assert_eq!(counts(), before, "nothing was heard, let alone answered where another would hear it");
    });
}

#[test]
fn it_comes_and_goes_with_the_device_and_its_addresses() {
    with_namespaces("dns::it_comes_and_goes_with_the_device_and_its_addresses", || {
        let home = Home::new();
        let _gateway = home.start();
        let a = A.machine(&home.segment);
        home.until_served(&a);
        let [v4, v6, _] = GATEWAY.at(53);
        let answers = |at, count| ask(&a, at) == Some((ResponseCode::NoError, count));
        assert!(until(PATIENCE, || answers(v4, 1) && answers(v6, 1)), "{}", home.log());

        // An address that is gone is no longer told at the others.
        home.machine.ip(&format!("address del {}/24 dev zt0", GATEWAY.v4));
        assert!(until(PATIENCE, || answers(v6, 0)), "{}", home.log());
        home.machine.ip(&format!("address add {}/24 dev zt0", GATEWAY.v4));
        assert!(until(PATIENCE, || answers(v4, 1) && answers(v6, 1)), "{}", home.log());

        home.unplug();
        assert!(until(PATIENCE, || ask(&a, v4).is_none()));
        home.plug();
        assert!(until(PATIENCE, || answers(v4, 1) && answers(v6, 1)), "{}", home.log());
    });
}
