//! CPU time and memory of the contender, read from /proc (proc(5)).

use std::fs;
use std::io;
use std::time::Instant;

use crate::options::number;

/// /proc counts CPU time in this many ticks a second on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The contender's process tree.
#[derive(Default)]
pub struct Processes(Vec<u32>);

impl Processes {
    pub fn parse(list: &str) -> io::Result<Self> {
        let ids = list.split(',').filter(|id| !id.is_empty());
        Ok(Self(ids.map(|id| number("--pids", id)).collect::<io::Result<_>>()?))
    }

    /// User and system time so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.0.iter().filter_map(|id| ticks(*id)).sum::<u64>() as f64 / TICKS_PER_SECOND
    }

    /// A line of `/proc/PID/status` added up, in kB: `VmRSS` is now, `VmHWM` the peak.
    pub fn memory_kb(&self, line: &str) -> f64 {
        self.0.iter().filter_map(|id| status_kb(*id, line)).sum::<u64>() as f64
    }

    /// Has the peaks counted anew from here.
    pub fn forget_peaks(&self) {
        for id in &self.0 {
            // Not allowed on every machine; the peak then includes the start.
            let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }
}

fn ticks(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(times.next()? + times.next()?)
}

fn status_kb(id: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let found = status.lines().find(|candidate| candidate.starts_with(line))?;
    found.split_whitespace().nth(1)?.parse().ok()
}

/// A measured stretch of time that has begun.
pub struct Window<'a> {
    processes: &'a Processes,
    cpu_seconds: f64,
    pub start: Instant,
}

/// What the contender used within a window.
pub struct Used {
    pub cpu_seconds: f64,
    pub seconds: f64,
}

impl<'a> Window<'a> {
    pub fn open(processes: &'a Processes) -> Self {
        Self { processes, cpu_seconds: processes.cpu_seconds(), start: Instant::now() }
    }

    pub fn close(&self) -> Used {
        let seconds = self.start.elapsed().as_secs_f64();
        Used { cpu_seconds: self.processes.cpu_seconds() - self.cpu_seconds, seconds }
    }
}
