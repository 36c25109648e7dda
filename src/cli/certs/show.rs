//! `ztgate certs show`: each certificate with its names, validity and fingerprint, and which of them is served.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;

use crate::ca::{self, Description};
use crate::config::{self, Tls};

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(
    args: &ShowArgs,
    config: &Path,
    state_dir: &Path,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    // What is wrong elsewhere in it is no reason not to show the CA.
    let tls = config::load(config).map_or(Tls::PrivateCa, |config| config.tls);
    let all = match &tls {
        Tls::Files { certificate, .. } => {
            let mut all = vec![ca::describe_file(certificate)?];
            // A CA from before is nobody's business to have.
            all.extend(ca::describe(state_dir).unwrap_or_default());
            all
        }
        _ => ca::describe(state_dir)?,
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    for (i, certificate) in all.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        show(certificate, &tls, now, out)?;
    }
    Ok(())
}

fn show(certificate: &Description, tls: &Tls, now: Timestamp, out: &mut dyn Write) -> std::io::Result<()> {
    let Description { role, subject, file, zones, begins, ends, sha256, key } = certificate;
    let (from, to) = (begins.strftime("%Y-%m-%d"), ends.strftime("%Y-%m-%d"));
    let names = zones.join(", ");
    let ended = if *ends < now { ", ended" } else { "" };
    writeln!(out, "{role:<13}{subject}")?;
    match *role {
        "served" => writeln!(out, "  names      {names}")?,
        _ => writeln!(out, "  names      {names} and below; no IP addresses")?,
    }
    writeln!(out, "  valid      {from} to {to}{ended}")?;
    writeln!(out, "  sha256     {sha256}")?;
    writeln!(out, "  file       {}", file.display())?;
    if let Some(key) = key {
        writeln!(out, "  key        {}", key.in_words())?;
    }
    let served = match (*role, tls) {
        ("served", _) => "this one, for every name",
        ("intermediate", Tls::PrivateCa) => {
            "a certificate of 90 days for each name, made and renewed in memory"
        }
        ("intermediate", _) => "nothing: [tls] in ztgate.toml names certificates from elsewhere",
        _ => return Ok(()),
    };
    writeln!(out, "  serves     {served}")
}
