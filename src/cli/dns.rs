//! `ztgate dns`: the zone's names where devices and others look for them.

mod publish;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::style::Style;

#[derive(Debug, clap::Args)]
pub struct DnsArgs {
    #[command(subcommand)]
    verb: DnsVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DnsVerb {
    /// Keep the records of [publish] at the domain's own name server: show what would change, and change it after a yes
    Publish(publish::PublishArgs),
}

pub fn run(args: &DnsArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    match &args.verb {
        DnsVerb::Publish(args) => publish::run(args, file, out, style),
    }
}
