//! `ztgate restore DEVICE`: lets a device in again that was suspended, revoked or expired.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::sync::Order;

use super::order;
use super::style::Style;
use super::time::Term;

#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A device name or member ID
    device: String,
    #[command(flatten)]
    term: Term,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: RestoreArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let order = Order::Restore { who: args.device, until: args.term.end() };
    order::carry_out(&order, args.json, config, out, style)
}
