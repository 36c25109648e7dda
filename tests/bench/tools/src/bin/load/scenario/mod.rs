//! The scenarios by name; main.rs has their table.

mod connect;
mod echo;
mod idle;
mod pace;
mod streams;
mod transfer;

use std::io;

use crate::client::Target;
use crate::options::Options;
use crate::report::Report;

pub fn run(name: &str, options: &Options) -> io::Result<Report> {
    let target = Target::new(options)?;
    match name {
        "connect" => connect::run(&target, options),
        "download" => transfer::download(&target, options),
        "upload" => transfer::upload(&target, options),
        "streams" => streams::run(&target, options),
        "echo" => echo::run(&target, options),
        "idle" => idle::run(&target, options),
        "pace" => pace::run(&target, options),
        _ => Err(io::Error::other("unknown scenario; src/bin/load/main.rs lists them")),
    }
}

/// Room for the head and the body of `/1k`.
const ANSWER: usize = 8192;
