//! Latency without pressure: one connection, a steady rate.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::ANSWER;
use crate::client::{Target, Then, get};
use crate::meter::Window;
use crate::options::Options;
use crate::report::Report;

const WARM_UP: usize = 50;

pub fn run(target: &Target, options: &Options) -> io::Result<Report> {
    let mut client = target.connect()?;
    let request = get("/1k", Then::Keep);
    let mut buffer = vec![0; ANSWER];
    for _ in 0..WARM_UP {
        client.exchange(&request, &mut buffer)?;
    }
    let gap = Duration::from_secs(1) / options.rate as u32;
    let window = Window::open(&options.processes);
    let (mut next, mut latencies) = (window.start, Vec::new());
    while window.start.elapsed() < options.duration {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += gap;
        let start = Instant::now();
        client.exchange(&request, &mut buffer)?;
        latencies.push(start.elapsed());
    }
    Ok(Report::default().with("err", 0.0).requests(latencies, &window.close()))
}
