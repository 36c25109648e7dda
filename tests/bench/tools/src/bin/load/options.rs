//! The command line, checked.

use std::fmt::Display;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use crate::meter::Processes;

pub struct Options {
    pub port: u16,
    pub tls: bool,
    /// Whose CPU time and memory are measured.
    pub processes: Processes,
    pub duration: Duration,
    pub count: usize,
    pub bytes: u64,
    /// Bytes or requests a second.
    pub rate: u64,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut options = Self {
            port: 0,
            tls: false,
            processes: Processes::default(),
            duration: Duration::from_secs(3),
            count: 1,
            bytes: 0,
            rate: 200,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| io::Error::other(format!("{name} needs a value")))?;
            match name.as_str() {
                "--port" => options.port = number(&name, &value)?,
                "--tls" => options.tls = number::<u8>(&name, &value)? != 0,
                "--pids" => options.processes = Processes::parse(&value)?,
                "--seconds" => options.duration = Duration::from_secs_f64(number(&name, &value)?),
                "--count" => options.count = number(&name, &value)?,
                "--bytes" => options.bytes = number(&name, &value)?,
                "--rate" => options.rate = number(&name, &value)?,
                _ => return Err(io::Error::other(format!("unknown option {name}"))),
            }
        }
        Ok(options)
    }
}

pub fn number<T: FromStr<Err: Display>>(name: &str, value: &str) -> io::Result<T> {
    value.parse().map_err(|error| io::Error::other(format!("{name} {value}: {error}")))
}
