//! What a connection costs in memory while nothing happens on it.

use std::io;
use std::thread;
use std::time::Duration;

use super::ANSWER;
use crate::client::{Client, Target, Then, get};
use crate::options::Options;
use crate::report::Report;

const SETTLE: Duration = Duration::from_millis(1500);
const TOO_MANY_ERRORS: usize = 50;

pub fn run(target: &Target, options: &Options) -> io::Result<Report> {
    let before = options.processes.memory_kb("VmRSS");
    let request = get("/1k", Then::Keep);
    let mut buffer = vec![0; ANSWER];
    let (mut open, mut errors) = (Vec::with_capacity(options.count), 0);
    for lane in 0..options.count {
        match connect(target, lane % 64, &request, &mut buffer) {
            Ok(client) => open.push(client.stream),
            Err(error) => {
                errors += 1;
                eprintln!("connection {lane}: {error}");
            }
        }
        if errors > TOO_MANY_ERRORS {
            break;
        }
    }
    thread::sleep(SETTLE);
    let after = options.processes.memory_kb("VmRSS");
    Ok(Report::default()
        .with("err", errors as f64)
        .with("rss_idle_kb", before)
        .with("rss_full_kb", after)
        .with("per_conn_kb", (after - before) / open.len() as f64))
}

fn connect(target: &Target, lane: usize, request: &[u8], buffer: &mut [u8]) -> io::Result<Client> {
    let mut client = target.connect_from(lane)?;
    client.exchange(request, buffer)?;
    Ok(client)
}
