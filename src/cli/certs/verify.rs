//! `ztgate certs verify`: everything on disk held against each other, the clock, and the gateway that runs.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::admin::Status;
use crate::cli::doctor::{Check, Report, certificates};
use crate::cli::style::Style;
use crate::config::Tls;

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(
    args: &VerifyArgs,
    file: &Path,
    now: Timestamp,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    let config = crate::cli::load(file)?;
    if let Some(why) = certificates::unseen(&config, now) {
        // Nobody knows, which is neither right nor wrong.
        anyhow::bail!("{why}; type: sudo ztgate certs verify");
    }
    let running: Result<Status, _> = crate::cli::ask::gateway(file, "/status");
    let report = Report::of([
        Check::new("on disk", || certificates::on_disk(&config, now)),
        Check::new("in use", || {
            running.iter().flat_map(|status| certificates::in_use(&config, status)).collect()
        }),
        Check::new("asked for", || match config.tls {
            Tls::Acme(_) => certificates::asked_for(&running),
            _ => Vec::new(),
        }),
    ]);
    if args.json {
        writeln!(out, "{}", report.json()?)?;
    } else {
        out.write_all(report.text(style).as_bytes())?;
    }
    Ok(ExitCode::from(report.exit_code()))
}
