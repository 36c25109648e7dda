//! What a scenario found, as one line of JSON.

use std::fmt;
use std::time::Duration;

use crate::meter::Used;

/// Numbers by name, in the order they were added.
#[derive(Default)]
pub struct Report(Vec<(&'static str, f64)>);

impl Report {
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.0.push((name, if value.is_finite() { value } else { 0.0 }));
        self
    }

    /// Requests a second, CPU per request, median and 99th percentile, from the latency of each request.
    #[must_use]
    pub fn requests(self, mut latencies: Vec<Duration>, used: &Used) -> Self {
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        self.with("n", count)
            .with("rps", count / used.seconds)
            .with("cpu_us", used.cpu_seconds * 1e6 / count)
            .with("p50_us", quantile(&latencies, 0.5))
            .with("p99_us", quantile(&latencies, 0.99))
    }

    /// Throughput and CPU per gigabyte (10^9 bytes).
    #[must_use]
    pub fn transfer(self, bytes: u64, used: &Used) -> Self {
        let gigabytes = bytes as f64 / 1e9;
        self.with("gbps", gigabytes / used.seconds).with("cpu_s_gb", used.cpu_seconds / gigabytes)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\": {value:.4}")).collect();
        write!(out, "{{{}}}", fields.join(", "))
    }
}

/// In microseconds; the latencies are sorted.
fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}
