//! `ztgate suspend DEVICE`: puts a device aside for now.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::sync::Order;

use super::order;
use super::style::Style;

#[derive(Debug, clap::Args)]
pub struct SuspendArgs {
    /// A device name or member ID
    device: String,
    /// For its history
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: SuspendArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let order = Order::Suspend { who: args.device, why: args.why };
    order::carry_out(&order, args.json, config, out, style)
}
