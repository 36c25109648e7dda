//! `ztgate devices`: who is enrolled, who waits, and what is said of them.

mod edit;
mod file;
mod list;
mod pending;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::linux::terminal;
use crate::model::{MemberState, nearest};
use crate::sync::DeviceView;

use super::ask;
use super::style::Style;
use edit::EditCommand;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DevicesArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    /// Who waits to be admitted, with what is known of each and the command that admits it
    #[arg(long, conflicts_with = "state")]
    pending: bool,
    /// Only these; can be given several times
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = states())]
    state: Vec<MemberState>,
    /// With --pending: also those that have not asked for a week
    #[arg(long, requires = "pending")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn states() -> impl TypedValueParser<Value = MemberState> {
    let all = [
        MemberState::Pending,
        MemberState::Active,
        MemberState::Expired,
        MemberState::Suspended,
        MemberState::Revoked,
    ];
    PossibleValuesParser::new(all.map(MemberState::as_str)).try_map(|text| text.parse::<MemberState>())
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Everything that is known of one, and its history
    Show {
        /// A device name, member ID or address
        device: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Edit(EditCommand),
    /// Take over a device list, such as policy/devices.toml
    Import {
        file: PathBuf,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the active devices as a device list that import reads
    Export {
        /// Otherwise it is printed
        file: Option<PathBuf>,
    },
}

pub fn run(args: DevicesArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    match args.command {
        None => list(&args.list, config, out, style),
        Some(DevicesCommand::Show { device, json }) => show::run(&device, json, config, out, style),
        Some(DevicesCommand::Import { file, dry_run, json }) => {
            file::import(&file, dry_run, json, config, out, style)
        }
        Some(DevicesCommand::Export { file }) => file::export(file.as_deref(), config, out),
        Some(DevicesCommand::Edit(command)) => edit::run(command, config, out, style),
    }
}

fn list(args: &ListArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let devices: Vec<DeviceView> = ask::gateway(config, "/devices")?;
    let chosen: Vec<&DeviceView> = devices.iter().filter(|device| args.chooses(device)).collect();
    if args.json {
        let mut text = serde_json::to_string(&chosen)?;
        text.push('\n');
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    // Who reads it from a pipe or a file gets it whole.
    let width = terminal::width();
    let text = if args.pending {
        pending::render(&chosen, &devices, now, width, style)
    } else {
        list::render(&chosen, now, width, style)
    };
    out.write_all(text.as_bytes())?;
    if let Some(hint) = args.left_out(&devices, chosen.len()) {
        eprintln!("{hint}");
    }
    Ok(ExitCode::SUCCESS)
}

impl ListArgs {
    fn chooses(&self, device: &DeviceView) -> bool {
        if self.pending {
            device.state == MemberState::Pending && (self.all || !device.aged)
        } else if self.state.is_empty() {
            device.state != MemberState::Pending
        } else {
            self.state.contains(&device.state)
        }
    }

    /// A word about who is not in the list, and how to see them.
    fn left_out(&self, devices: &[DeviceView], shown: usize) -> Option<String> {
        let waits = |aged: bool| {
            let is = |device: &&DeviceView| device.state == MemberState::Pending && device.aged == aged;
            devices.iter().filter(is).count()
        };
        let (fresh, aged) = (waits(false), waits(true));
        let hint = match self {
            Self { pending: true, all: false, .. } if aged > 0 => {
                Some(format!("{aged} more have not asked for a week: ztgate devices --pending --all"))
            }
            Self { pending: false, .. } if self.state.is_empty() && fresh > 0 => {
                Some(format!("waiting to be admitted: {fresh}; ztgate devices --pending"))
            }
            _ => None,
        };
        match (shown, hint) {
            (0, None) if self.pending => Some("nobody waits".to_owned()),
            (0, None) if self.state.is_empty() => Some("no devices yet".to_owned()),
            (0, None) => Some("no such devices".to_owned()),
            (_, hint) => hint,
        }
    }
}

/// The device that a name, ID or address means.
///
/// # Errors
/// The words for the terminal if there is none, with the nearest name.
pub(super) fn find<'a>(devices: &'a [DeviceView], who: &str) -> Result<&'a DeviceView, String> {
    let named = |device: &&DeviceView| device.name.as_ref().is_some_and(|name| name.as_str() == who);
    let (id, address) = (who.parse().ok(), who.parse().ok());
    let found = devices.iter().find(named).or_else(|| {
        devices.iter().find(|device| {
            Some(device.member) == id || address.is_some_and(|address| device.addresses.contains(&address))
        })
    });
    found.ok_or_else(|| {
        let words = devices.iter().flat_map(|device| {
            [device.name.as_ref().map(ToString::to_string), Some(device.member.to_string())]
        });
        let words: Vec<String> = words.flatten().collect();
        let meant = nearest(who, words.iter().map(String::as_str));
        let hint = meant.map_or("see ztgate devices".to_owned(), |word| format!("did you mean {word}?"));
        format!("no device {who} here; {hint}")
    })
}

/// What a device is called here, else its ID.
fn called(device: &DeviceView) -> String {
    device.name.as_ref().map_or_else(|| device.member.to_string(), ToString::to_string)
}

/// When it last was heard of; a device that speaks now is `now`.
fn seen(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_secs() {
        ..60 => "now".to_owned(),
        _ => super::time::distance(at, now),
    }
}

#[cfg(test)]
pub(super) mod tests;
