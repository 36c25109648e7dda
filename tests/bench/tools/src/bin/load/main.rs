//! The load generator: one scenario a run, one JSON object on stdout.
//!
//!     load SCENARIO --port PORT [--tls 1] [--pids 12,13] [--seconds 4] [--count N] [--bytes N] [--rate N]
//!
//! | scenario   | what it does                                            | rows          |
//! |------------|---------------------------------------------------------|---------------|
//! | `connect`  | a new connection per request, `--count` at a time       | S4, S5        |
//! | `download` | one `GET /big` of `--bytes`                             | S6, S7        |
//! | `upload`   | one `PUT` of `--bytes`                                  | S8, S8t       |
//! | `streams`  | `--count` paced downloads of `--rate` bytes a second    | S9, S9t       |
//! | `echo`     | `--count` WebSockets, one frame in flight on each       | S10a, S10b    |
//! | `idle`     | `--count` kept-alive connections, each after a request  | S11, S11t     |
//! | `pace`     | `--rate` requests a second on one connection            | S12, S12t     |
//!
//! The CPU time of `--pids` is read before and after the measured window; what warms up stands outside it.

mod client;
mod meter;
mod options;
mod report;
mod scenario;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().unwrap_or_default();
    let outcome = Options::parse(arguments).and_then(|options| scenario::run(&scenario, &options));
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load {scenario}: {error}");
            ExitCode::FAILURE
        }
    }
}
