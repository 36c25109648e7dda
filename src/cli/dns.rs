//! `ztgate dns`: the zone's names where devices and others look for them.

mod doctor;
mod linux;
mod probe;
mod publish;
mod push;

use std::io::{self, IsTerminal, Write};
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

/// Why a verb that asks before it changes anything cannot ask, unless the answer is given with it (`--yes`, `--dry-run`).
fn unasked(verb: &str, answered: bool, json: bool) -> Option<String> {
    unasked_at(io::stdin().is_terminal(), verb, answered, json)
}

fn unasked_at(terminal: bool, verb: &str, answered: bool, json: bool) -> Option<String> {
    let verb = format!("ztgate dns {verb}");
    match (answered, json) {
        (true, _) => None,
        (false, true) => {
            Some(format!("--json asks no questions; type: {verb} --yes --json, or --dry-run --json"))
        }
        (false, false) if terminal => None,
        (false, false) => Some(format!(
            "there is no terminal to ask at; look first: {verb} --dry-run, then say yes: {verb} --yes"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_it_takes_a_yes_or_only_looks() {
        for (terminal, answered, json, fine) in [
            (true, false, false, true),
            (false, false, false, false),
            (false, true, false, true),
            (false, true, true, true),
            (true, false, true, false),
        ] {
            let words = unasked_at(terminal, "push", answered, json);
            assert_eq!(words.is_none(), fine, "{words:?}");
            assert!(words.is_none_or(|words| words.contains("ztgate dns push --yes")));
        }
    }
}
