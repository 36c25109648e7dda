//! A member that the controller deauthorises in the middle of a download.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Gateway, Privileges};
use crate::harness::{B, GATEWAY, Lab, Undo, within};

/// The gateway asks its controller every 5 s; the rest is for a busy machine.
const A_POLL: Duration = Duration::from_secs(6);

pub fn a_deauthorised_member_is_cut_off(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    let download = download();
    let (_, first) =
        within(Duration::from_secs(5), "bytes arrive", || (download.received() > 0).then_some(()));
    println!("  first bytes after {first:?}");

    let deauthorised = Instant::now();
    lab.set_member(B, &json!({ "authorized": false }));
    let ended = lab.ended.recv_timeout(A_POLL).expect("the service is still being read for b");
    println!("  cut after {:?}", ended - deauthorised);
    // ZeroTier drops what b sends and not what it is sent: a reset arrives, where an orderly end would wait for b's word.
    let (end, heard) = download.end();
    println!("  b hears \"{end}\" after {:?}", heard - deauthorised);
    assert!(end.contains("reset"), "{end}");

    // A node that starts anew has forgotten the revocation, and lets b's packets through; the gateway has not.
    lab.node(GATEWAY, "restart");
    let (mut codes, until) = (Vec::new(), Instant::now() + Duration::from_secs(12));
    while Instant::now() < until {
        let answer = B.curl("http://wiki.home.arpa/", GATEWAY.v4, &["--max-time", "2"]);
        let said = answer.map_or_else(|error| error, |it| it.refusal.unwrap_or(it.status.to_string()));
        assert_ne!(said, "200", "b is in again");
        codes.push(said);
    }
    codes.dedup();
    println!("  b after the restart: {codes:?}");

    lab.set_member(B, &json!({ "authorized": true }));
    println!("  let in again after {:?}", gateway.lets_in(B));
}

/// b's endless download.
struct Download {
    received: Arc<AtomicU64>,
    reader: thread::JoinHandle<(String, Instant)>,
}

fn download() -> Download {
    let received = Arc::<AtomicU64>::default();
    let count = received.clone();
    let reader = B.run(|| {
        let mut stream = TcpStream::connect((GATEWAY.v4, 80)).unwrap();
        thread::spawn(move || {
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            write!(stream, "GET /endless HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n").unwrap();
            let mut buffer = [0; 65536];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return ("end of file".to_owned(), Instant::now()),
                    Ok(n) => count.fetch_add(n as u64, Ordering::Relaxed),
                    Err(error) => return (error.to_string(), Instant::now()),
                };
            }
        })
    });
    Download { received, reader }
}

impl Download {
    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How it ended for b, and when.
    fn end(self) -> (String, Instant) {
        self.reader.join().unwrap()
    }
}
