//! WebSockets that each send a small frame, wait for its echo and send the next.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use bench_tools::http;
use bench_tools::sys::Poll;

use crate::client::{Target, websocket};
use crate::meter::Window;
use crate::options::Options;
use crate::report::Report;

const WARM_UP: Duration = Duration::from_millis(500);
const PAYLOAD: usize = 64;

pub fn run(target: &Target, options: &Options) -> io::Result<Report> {
    let mut echoes = Echoes::open(target, options.count)?;
    echoes.run(WARM_UP)?;
    let window = Window::open(&options.processes);
    let latencies = echoes.run(options.duration)?;
    Ok(Report::default().with("err", 0.0).requests(latencies, &window.close()))
}

/// One socket with one frame under way.
struct Echo {
    stream: TcpStream,
    sent: Instant,
    received: usize,
}

struct Echoes {
    poll: Poll,
    sockets: HashMap<RawFd, Echo>,
    frame: Vec<u8>,
}

impl Echoes {
    fn open(target: &Target, count: usize) -> io::Result<Self> {
        let (poll, frame, mut sockets) = (Poll::new()?, masked_frame(), HashMap::new());
        for lane in 0..count {
            let mut stream = target.connect_from(lane % 16)?.stream;
            upgrade(&mut stream)?;
            poll.add(&stream)?;
            stream.write_all(&frame)?;
            sockets.insert(stream.as_raw_fd(), Echo { stream, sent: Instant::now(), received: 0 });
        }
        Ok(Self { poll, sockets, frame })
    }

    fn run(&mut self, duration: Duration) -> io::Result<Vec<Duration>> {
        let end = Instant::now() + duration;
        let (mut latencies, mut buffer) = (Vec::new(), [0; 4096]);
        while Instant::now() < end {
            for fd in self.poll.wait(Some(Duration::from_millis(100)))? {
                let Some(echo) = self.sockets.get_mut(&fd) else { continue };
                let count = echo.stream.read(&mut buffer)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                echo.received += count;
                if echo.received >= self.frame.len() {
                    echo.received -= self.frame.len();
                    latencies.push(echo.sent.elapsed());
                    echo.sent = Instant::now();
                    echo.stream.write_all(&self.frame)?;
                }
            }
        }
        Ok(latencies)
    }
}

/// Reads the 101 byte by byte, so that no frame is swallowed.
fn upgrade(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&websocket())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while http::head_length(&head).is_none() {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101") {
        return Ok(());
    }
    Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(&head))))
}

/// A binary frame as a client sends it (RFC 6455, section 5.2); it comes back as it is, for the upstream does not unmask.
fn masked_frame() -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    [&[0x82, 0x80 | PAYLOAD as u8][..], &mask, &[7; PAYLOAD]].concat()
}
