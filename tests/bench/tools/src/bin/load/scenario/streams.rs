//! Many films at once: each client takes a fixed rate off a download that never ends.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use bench_tools::sys::{self, Wait};
use socket2::SockRef;

use crate::client::{Client, Target, Then, get};
use crate::meter::Window;
use crate::options::Options;
use crate::report::Report;

/// Players fill their buffers first.
const WARM_UP: Duration = Duration::from_secs(4);
/// Each stream is read once a tick; the streams take turns in groups, so that reads spread over it.
const TICK: Duration = Duration::from_millis(64);
const GROUPS: usize = 16;
const RECEIVE_BUFFER: usize = 256 * 1024;

pub fn run(target: &Target, options: &Options) -> io::Result<Report> {
    let streams = (0..options.count).map(|lane| open(target, lane)).collect::<io::Result<Vec<_>>>()?;
    let mut players = Players::new(&streams, options.rate);
    players.play(WARM_UP)?;
    let window = Window::open(&options.processes);
    players.forget();
    players.play(options.duration)?;
    let used = window.close();
    let (bytes, memory) = (players.bytes as f64, |line| options.processes.memory_kb(line));
    Ok(Report::default()
        .with("err", 0.0)
        .with("mbit", bytes * 8.0 / 1e6 / used.seconds)
        .with("cpu_pct", used.cpu_seconds / used.seconds * 100.0)
        .with("cpu_s_gb", used.cpu_seconds / (bytes / 1e9))
        .with("short", players.short as f64 / players.reads as f64)
        .with("rss_kb", memory("VmRSS"))
        .with("rss_peak_kb", memory("VmHWM")))
}

fn open(target: &Target, lane: usize) -> io::Result<Client> {
    let mut client = target.connect_from(lane % GROUPS)?;
    SockRef::from(&client.stream).set_recv_buffer_size(RECEIVE_BUFFER)?;
    client.send(&get("/big", Then::Close))?;
    Ok(client)
}

struct Players<'a> {
    streams: &'a [Client],
    per_tick: usize,
    /// What each stream was owed and did not get, up to half a second's worth.
    debts: Vec<usize>,
    group: usize,
    bytes: u64,
    reads: u64,
    /// Reads that found less than was due.
    short: u64,
}

impl<'a> Players<'a> {
    fn new(streams: &'a [Client], rate: u64) -> Self {
        let per_tick = (rate as f64 * TICK.as_secs_f64()) as usize;
        Self { streams, per_tick, debts: vec![0; streams.len()], group: 0, bytes: 0, reads: 0, short: 0 }
    }

    fn forget(&mut self) {
        (self.bytes, self.reads, self.short) = (0, 0, 0);
    }

    fn play(&mut self, duration: Duration) -> io::Result<()> {
        let mut next = Instant::now();
        let end = next + duration;
        while next < end {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += TICK / GROUPS as u32;
            for stream in (self.group..self.streams.len()).step_by(GROUPS) {
                self.read(stream)?;
            }
            self.group = (self.group + 1) % GROUPS;
        }
        Ok(())
    }

    fn read(&mut self, stream: usize) -> io::Result<()> {
        let due = self.per_tick + self.debts[stream];
        let got = match sys::discard(&self.streams[stream].stream, due, Wait::No) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            other => other?,
        };
        self.reads += 1;
        self.bytes += got as u64;
        self.short += u64::from(got < due);
        self.debts[stream] = (due - got).min(self.per_tick * 8);
        Ok(())
    }
}
