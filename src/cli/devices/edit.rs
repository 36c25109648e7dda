//! Changes to what is said of a device.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::order;
use crate::cli::style::Style;
use crate::cli::time::Term;
use crate::model::Label;
use crate::sync::{Edit, Order};

/// One change to one device.
#[derive(Debug, Subcommand)]
pub enum EditCommand {
    /// Give it another name
    Rename {
        #[command(flatten)]
        target: Target,
        name: Label,
    },
    /// Say whose it is
    Owner {
        #[command(flatten)]
        target: Target,
        #[arg(required_unless_present = "none")]
        name: Option<Label>,
        /// Nobody's
        #[arg(long, conflicts_with = "name")]
        none: bool,
    },
    /// Put it into groups and take it out of others
    Groups {
        #[command(flatten)]
        target: Target,
        /// A group to put it in; can be given several times
        #[arg(long, value_name = "NAME", value_delimiter = ',', required_unless_present = "remove")]
        add: Vec<Label>,
        /// A group to take it out of; can be given several times
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        remove: Vec<Label>,
    },
    /// Say until when it is let in
    #[command(group(clap::ArgGroup::new("end").required(true).args(["duration", "until", "never"])))]
    Expire {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        term: Term,
        /// For good
        #[arg(long)]
        never: bool,
    },
    /// Note something about it
    Note {
        #[command(flatten)]
        target: Target,
        #[arg(required_unless_present = "none")]
        text: Option<String>,
        /// Nothing
        #[arg(long, conflicts_with = "text")]
        none: bool,
    },
}

/// The device that it is about.
#[derive(Debug, Args)]
pub struct Target {
    /// A device name or member ID
    device: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    command: EditCommand,
    config: &Path,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    let (Target { device, json }, edit) = command.edit();
    order::carry_out(&Order::Edit { who: device, edit }, json, config, out, style)
}

impl EditCommand {
    fn edit(self) -> (Target, Edit) {
        match self {
            Self::Rename { target, name } => (target, Edit::Rename(name)),
            // `--none` is there exactly where the name is not.
            Self::Owner { target, name, .. } => (target, Edit::Owner(name)),
            Self::Groups { target, add, remove } => (target, Edit::Groups { add, remove }),
            Self::Expire { target, term, .. } => (target, Edit::Until(term.end())),
            Self::Note { target, text, .. } => (target, Edit::Notes(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: EditCommand,
    }

    fn edit(line: &[&str]) -> Result<Edit, String> {
        let words = ["devices"].iter().chain(line);
        Cli::try_parse_from(words).map(|cli| cli.command.edit().1).map_err(|error| error.to_string())
    }

    #[test]
    fn each_command_is_one_change() {
        let name = |text: &str| text.parse::<Label>().unwrap();
        for (line, means) in [
            (&["rename", "tv", "old-tv"][..], Edit::Rename(name("old-tv"))),
            (&["owner", "tv", "mum"], Edit::Owner(Some(name("mum")))),
            (&["owner", "tv", "--none"], Edit::Owner(None)),
            (
                &["groups", "tv", "--add", "kids,guests", "--remove", "family", "--add", "tvs"],
                Edit::Groups {
                    add: ["kids", "guests", "tvs"].map(name).to_vec(),
                    remove: vec![name("family")],
                },
            ),
            (&["expire", "tv", "--never"], Edit::Until(None)),
            (
                &["expire", "tv", "--until", "2999-01-01T00:00:00Z"],
                Edit::Until("2999-01-01T00:00:00Z".parse().ok()),
            ),
            (&["note", "tv", "in the kitchen"], Edit::Notes(Some("in the kitchen".to_owned()))),
            (&["note", "tv", "--none"], Edit::Notes(None)),
        ] {
            assert_eq!(edit(line), Ok(means), "{line:?}");
        }
    }

    #[test]
    fn half_a_command_says_what_is_missing() {
        for (line, hint) in [
            (&["rename", "tv"][..], "<NAME>"),
            (&["rename", "tv", "Old TV"], "a name is 1 to 63 of a-z"),
            (&["rename", "tv", "c4c8812898"], "it looks like a member ID"),
            (&["owner", "tv"], "<NAME>"),
            (&["owner", "tv", "mum", "--none"], "cannot be used with"),
            (&["groups", "tv"], "--add <NAME>"),
            (&["expire", "tv"], "<--for <DURATION>|--until <TIME>|--never>"),
            (&["expire", "tv", "--for", "24h", "--never"], "cannot be used with"),
            (&["expire", "tv", "--for", "24h", "--until", "2999-01-01"], "cannot be used with"),
            (&["expire", "tv", "--until", "2001-01-01"], "2001-01-01 has passed"),
            (&["note", "tv"], "<TEXT>"),
        ] {
            let error = edit(line).unwrap_err();
            assert!(error.contains(hint), "{line:?}: {error}");
        }
    }
}
