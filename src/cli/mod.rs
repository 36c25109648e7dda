//! The command line: one file per verb. stdout is data, stderr is talk.
//!
//! Exit codes: 0 done (an empty list too), 1 the answer is no, 2 wrong use, 3 cannot answer.

// Here stdout is data, and a command's time is the wall's.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

pub mod access;
mod admit;
mod ask;
pub mod audit;
pub mod certs;
pub mod check;
mod demo;
mod devices;
mod dns;
pub mod doctor;
#[cfg(test)]
mod end_to_end;
mod history;
mod init;
pub mod nft;
mod notify;
mod order;
mod qr;
mod reload;
mod restore;
mod revoke;
mod run;
mod status;
pub mod style;
mod suspend;
mod sync;
mod time;
mod whois;
pub mod why;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, Problems};
use style::Style;

/// The answer is no.
const NO: u8 = 1;
/// Wrong use, as by clap.
const WRONG: u8 = 2;
/// The question cannot be answered: no gateway is running, say.
const CANNOT: u8 = 3;

/// The front door of a home lab on a ZeroTier network
#[derive(Debug, Parser)]
#[command(name = "ztgate", version, max_term_width = 100)]
struct Cli {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/ztgate/ztgate.toml")]
    config: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Try it: no ZeroTier, no root
    Demo(demo::DemoArgs),
    /// Write a configuration from what is found on this machine
    Init(init::InitArgs),
    /// The gateway
    Run,
    /// Check configuration and policy; nothing is changed
    Check(check::CheckArgs),
    /// What is wrong around the gateway, each with its mend
    Doctor(doctor::DoctorArgs),
    /// One screen: network, controller, roster, services, connections
    Status(status::StatusArgs),
    /// Who is enrolled; with --pending, who waits
    Devices(devices::DevicesArgs),
    /// Let a device in
    Admit(admit::AdmitArgs),
    /// Put a device aside for now
    Suspend(suspend::SuspendArgs),
    /// Put a device out: now, everywhere, open streams too
    Revoke(revoke::RevokeArgs),
    /// Let a device in again that was suspended, revoked or expired
    Restore(restore::RestoreArgs),
    /// Ask the controller now, and bring it in step
    Sync(sync::SyncArgs),
    /// Who an address, member ID or device name is, and how we know
    Whois(whois::WhoisArgs),
    /// Every device against every service
    Access(access::AccessArgs),
    /// One verdict, with the rule and line that gave it
    Why(why::WhyArgs),
    /// What happened: requests, streams and refusals
    Audit(audit::AuditArgs),
    /// The private CA: what devices have to trust
    Certs(certs::CertsArgs),
    /// The zone's names: what devices are told of them, whether they work, and at the domain's own name server
    Dns(dns::DnsArgs),
    /// Print the nftables ruleset that leaves only the gateway reachable on the overlay
    Nft(nft::NftArgs),
    /// Whether notifications arrive
    Notify(notify::NotifyArgs),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

/// Runs the command and tells how it ended.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = &mut std::io::stdout().lock();
    let style = Style::of_stdout();
    match answer(cli, out, style) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ztgate: {error:#}");
            ExitCode::from(CANNOT)
        }
    }
}

fn answer(cli: Cli, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let file = cli.config.as_path();
    match cli.verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Init(args) => init::run(&args, file, out),
        Verb::Run => run::run(file),
        Verb::Check(args) => check::run(&args, file, out, style),
        Verb::Doctor(args) => doctor::run(&args, file, out, style),
        Verb::Status(args) => status::run(&args, file, out, style),
        Verb::Devices(args) => devices::run(args, file, out, style),
        Verb::Admit(args) => admit::run(args, file, out, style),
        Verb::Suspend(args) => suspend::run(args, file, out, style),
        Verb::Revoke(args) => revoke::run(args, file, out, style),
        Verb::Restore(args) => restore::run(args, file, out, style),
        Verb::Sync(args) => sync::run(&args, file, out, style),
        Verb::Whois(args) => whois::run(&args, file, out, style),
        Verb::Access(args) => access::run(&args, file, out, style),
        Verb::Why(args) => why::run(&args, file, out, style),
        Verb::Audit(args) if args.control => audit::control::run(&args, file, out, style),
        Verb::Audit(args) => audit::run(&args, &state_dir(file)?.join("audit.db"), out, style),
        Verb::Certs(args) => certs::run(args, file, jiff::Timestamp::now(), out, style),
        Verb::Dns(args) => dns::run(&args, file, out, style),
        Verb::Nft(args) => nft::run(&args, file, out),
        Verb::Notify(args) => notify::run(&args, file, out, style),
        Verb::Completions { shell } => {
            // It panics where it cannot write, as into `| head`.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ztgate", &mut script);
            out.write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The configuration, or all that is wrong with it.
fn load(file: &Path) -> anyhow::Result<Config> {
    crate::config::load(file).map_err(|problems| anyhow::anyhow!("{}", Problems(&problems)))
}

/// The state folder, also where the rest of the configuration is wrong.
fn state_dir(file: &Path) -> anyhow::Result<PathBuf> {
    crate::config::state_dir(file).map_err(|problem| anyhow::anyhow!("{}", Problems(&[problem])))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that went away.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn completions_end_quietly_when_nobody_reads_on() {
        let cli = Cli::try_parse_from(["ztgate", "completions", "bash"]).unwrap();
        assert!(is_broken_pipe(&answer(cli, &mut Gone, Style::PLAIN).unwrap_err()));
    }
}
