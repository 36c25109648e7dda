//! A new connection, with a full handshake over TLS, for every request.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use super::ANSWER;
use crate::client::{Target, Then, get};
use crate::meter::Window;
use crate::options::Options;
use crate::report::Report;

const WARM_UP: Duration = Duration::from_millis(700);

pub fn run(target: &Target, options: &Options) -> io::Result<Report> {
    let warm = Instant::now() + WARM_UP;
    let end = warm + options.duration;
    let clients: Vec<_> = (0..options.count)
        .map(|lane| {
            let target = target.clone();
            thread::spawn(move || requests(&target, lane, warm, end))
        })
        .collect();
    thread::sleep(warm.saturating_duration_since(Instant::now()));
    let window = Window::open(&options.processes);
    thread::sleep(end.saturating_duration_since(Instant::now()));
    let used = window.close();
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for client in clients {
        let (some, failed) = client.join().map_err(|_| io::Error::other("a client panicked"))?;
        latencies.extend(some);
        errors += failed;
    }
    Ok(Report::default().with("err", errors as f64).requests(latencies, &used))
}

/// One request after another until `end`; the latencies since `warm`, and how many failed.
fn requests(target: &Target, lane: usize, warm: Instant, end: Instant) -> (Vec<Duration>, usize) {
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let request = get("/1k", Then::Close);
    let mut buffer = vec![0; ANSWER];
    while Instant::now() < end {
        let start = Instant::now();
        match request_once(target, lane, &request, &mut buffer) {
            Ok(()) if start >= warm => latencies.push(start.elapsed()),
            Ok(()) => {}
            Err(error) => {
                if errors == 0 {
                    eprintln!("{error}");
                }
                errors += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    (latencies, errors)
}

fn request_once(target: &Target, lane: usize, request: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    let mut client = target.connect_from(lane)?;
    client.exchange(request, buffer)?;
    // The other end closes first, so that the waiting ports are its own.
    while client.stream.read(buffer).is_ok_and(|count| count > 0) {}
    Ok(())
}
