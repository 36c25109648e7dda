//! `ztgate dns`: the zone's names where devices and others look for them.

mod doctor;
mod linux;
mod probe;
mod publish;
mod push;

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
    /// Have devices told of this DNS by ZeroTier: show what would change at the controller, change it after a yes, and keep it
    Push(push::PushArgs),
    /// Whether names work, and what each kind of device must allow
    Doctor(doctor::DoctorArgs),
    /// What a Linux device needs, which takes no notice of what ZeroTier tells it
    Linux(linux::LinuxArgs),
}

pub fn run(args: &DnsArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    match &args.verb {
        DnsVerb::Publish(args) => publish::run(args, file, out, style),
        DnsVerb::Push(args) => push::run(args, file, out, style),
        DnsVerb::Doctor(args) => doctor::run(args, file, out, style),
        DnsVerb::Linux(args) => linux::run(args, file, out),
    }
}
