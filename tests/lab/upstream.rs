//! A service on the gateway's machine that tells what reached it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::GATEWAY;

/// Where it is, on the gateway's machine alone.
pub const UPSTREAM: &str = "127.0.0.1:18080";

/// An endless answer of the service that ended.
pub struct Ended {
    /// The member it was for, by `X-Ztgate-Member`.
    pub member: String,
    pub at: Instant,
}

/// Starts it: it answers with the head of the request, and to `/endless` for as long as it is listened to. Returns when
/// each endless answer ended.
pub fn serve() -> mpsc::Receiver<Ended> {
    let (tell, told) = mpsc::channel();
    GATEWAY.run(|| {
        let listener = TcpListener::bind(UPSTREAM).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tell = tell.clone();
                thread::spawn(move || answer(stream, &tell));
            }
        });
    });
    told
}

fn answer(stream: TcpStream, ended: &mpsc::Sender<Ended>) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let mut stream = &stream;
    if head.first().is_some_and(|line| line.contains(" /endless")) {
        let mut send = |bytes: &[u8]| stream.write_all(bytes);
        let mut sent = send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while sent.is_ok() {
            thread::sleep(Duration::from_millis(10));
            sent = send(&[b'x'; 4096]);
        }
        let member =
            |line: &String| line.to_ascii_lowercase().strip_prefix("x-ztgate-member: ").map(str::to_owned);
        let member = head.iter().find_map(member).unwrap_or_default();
        let _ = ended.send(Ended { member, at: Instant::now() });
    } else {
        let body = head.join("\n");
        // A gateway that has gone is no fault of this service.
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}
