//! `ztgate certs rotate`: a new intermediate, and the running gateway's word that it signs with it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::admin::{AdminError, Status};
use crate::ca::{self, RootKeyFile};
use crate::cli::{NO, ask};

use super::passphrase::PassphraseArgs;

/// How long a running gateway may take to notice; it watches the file.
const NOTICED: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct RotateArgs {
    /// Where the root's key is, if it was taken off this machine
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub fn run(
    args: &RotateArgs,
    config: &Path,
    state_dir: &Path,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let file = RootKeyFile::read(state_dir, args.root_key.as_deref())?;
    let name = args.root_key.clone().map_or_else(|| RootKeyFile::usual(state_dir), Ok)?;
    let key = args.passphrase.unlock(file, &name)?;
    let rotated = ca::rotate(state_dir, key, now)?;
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    if let Some(before) = &rotated.before {
        writeln!(out, "before  {}, valid until {}", before.subject, day(before.ends))?;
    }
    writeln!(out, "now     {}, valid until {}", rotated.after.subject, day(rotated.after.ends))?;
    let (code, words) = match taken_over(config, &rotated.after.sha256) {
        TakenOver::Yes => {
            (ExitCode::SUCCESS, "The running gateway signs with it. No device has to do anything.")
        }
        TakenOver::NotRunning => (ExitCode::SUCCESS, "No gateway runs here; the next one signs with it."),
        TakenOver::Unused => (
            ExitCode::SUCCESS,
            "The running gateway serves certificates from elsewhere ([tls] in ztgate.toml), and does not use it.",
        ),
        TakenOver::No(why) => {
            writeln!(out, "The running gateway does not sign with it yet{why}")?;
            (ExitCode::from(NO), "type: systemctl reload ztgate, then: ztgate certs verify")
        }
    };
    writeln!(out, "{words}")?;
    Ok(code)
}

/// Whether the gateway that runs, if one does, signs with the new intermediate.
enum TakenOver {
    Yes,
    NotRunning,
    /// It has no use for the private CA.
    Unused,
    /// With what it says of that.
    No(String),
}

fn taken_over(config: &Path, sha256: &str) -> TakenOver {
    let end = Instant::now() + NOTICED;
    loop {
        let said: Result<Status, _> = ask::gateway(config, "/status");
        let why = match said {
            Ok(Status { ca, .. }) => match ca.intermediate {
                None => return TakenOver::Unused,
                Some(used) if used == sha256 => return TakenOver::Yes,
                Some(_) => ca.error.map(|why| format!(": {why}")).unwrap_or_default(),
            },
            Err(error) if matches!(error.downcast_ref(), Some(AdminError::NotRunning(_))) => {
                return TakenOver::NotRunning;
            }
            Err(error) => format!(", or cannot be asked: {error}"),
        };
        if Instant::now() > end {
            return TakenOver::No(why);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
