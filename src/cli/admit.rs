//! `ztgate admit ID`: lets a device in.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::model::{Label, MemberId};
use crate::sync::{Order, Profile};

use super::order;
use super::style::Style;
use super::time::Term;

#[derive(Debug, clap::Args)]
pub struct AdmitArgs {
    /// The member ID, as `ztgate devices --pending` lists it
    id: MemberId,
    /// What to call the device; otherwise the controller's label, where that can be a name
    #[arg(long)]
    name: Option<Label>,
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    owner: Option<Label>,
    /// A group to put it in; can be given several times
    #[arg(long = "group", value_name = "NAME", value_delimiter = ',')]
    groups: Vec<Label>,
    /// Something to remember it by
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    term: Term,
    /// Admit it before it was ever seen
    #[arg(long)]
    ahead: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: AdmitArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let AdmitArgs { id, name, owner, groups, note, term, ahead, json } = args;
    let profile = Profile { name, owner, groups, notes: note, until: term.end() };
    order::carry_out(&Order::Admit { id, profile, ahead }, json, config, out, style)
}
