//! `ztgate certs`: the private CA, for people and scripts. Needs no running gateway, and tells one that runs.

mod passphrase;
mod root_key;
mod rotate;
mod show;
mod verify;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::ca::{self, trust};

use super::qr;
use super::style::Style;

/// The private CA: what devices have to trust.
#[derive(Debug, Args)]
pub struct CertsArgs {
    #[command(subcommand)]
    pub command: CertsCommand,
}

#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Print the root certificate as PEM
    Root,
    /// Print what makes a device trust the root; without a platform, where a device finds that, with a QR code on a terminal
    Trust {
        platform: Option<Platform>,
        /// Print the QR code also where there is no terminal
        #[arg(long, conflicts_with = "platform")]
        qr: bool,
    },
    /// Show root, intermediate and what is served: names, validity, fingerprint
    Show(show::ShowArgs),
    /// Hold everything on disk against each other and the clock
    Verify(verify::VerifyArgs),
    /// Make a new intermediate under the same root; no device notices
    Rotate(rotate::RotateArgs),
    /// Take the root's key off this machine, or encrypt it; the gateway never needs it
    #[command(subcommand)]
    RootKey(root_key::RootKeyCommand),
}

/// What a device runs on.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Platform {
    /// A profile for iPhone, iPad and Mac
    Apple,
    /// A PowerShell script for the current user
    Windows,
    /// A shell script for the system's store
    Linux,
}

/// Answers from the state folder of a configuration.
///
/// # Errors
/// A [`ca::CaError`] where the CA is absent or unreadable, and whatever `out` says.
pub fn run(
    args: CertsArgs,
    config: &Path,
    now: Timestamp,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    let state_dir = super::state_dir(config)?;
    match args.command {
        CertsCommand::Root => out.write_all(ca::root_pem(&state_dir)?.as_bytes())?,
        CertsCommand::Trust { platform: None, qr } => {
            qr::invite(config, qr || style.terminal, out, style)?;
        }
        CertsCommand::Trust { platform: Some(platform), .. } => {
            let root = trust::Root::read(&state_dir)?;
            let text = match platform {
                Platform::Apple => trust::apple(&root),
                Platform::Windows => trust::windows(&root),
                Platform::Linux => trust::linux(&root),
            };
            out.write_all(text.as_bytes())?;
        }
        CertsCommand::Show(args) => show::run(&args, config, &state_dir, now, out)?,
        CertsCommand::Verify(args) => return verify::run(&args, config, now, out, style),
        CertsCommand::Rotate(args) => return rotate::run(&args, config, &state_dir, now, out),
        CertsCommand::RootKey(command) => root_key::run(&command, &state_dir, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
