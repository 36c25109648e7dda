//! `ztgate sync`: asks the controller now and brings it in step.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::sync::{AtTheController, Difference, Done, Order, Step};

use super::order;
use super::style::{Style, Tone, harmless};

#[derive(Debug, clap::Args)]
pub struct SyncArgs {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &SyncArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    order::carry_out(&Order::Sync { dry_run: args.dry_run }, args.json, config, out, style)
}

/// How gateway and controller differ, as a diff of what the controller says, and what came of each line.
pub fn plan(done: &Done, dry_run: bool, style: Style) -> String {
    if done.plan.is_empty() {
        return format!("{}\n", style.paint(Tone::Good, "in step"));
    }
    let came_of = |difference: &Difference| {
        let told = done.devices.iter().find(|device| device.member == difference.member);
        match told.map(|device| &device.controller) {
            _ if dry_run => None,
            Some(AtTheController::Queued(why)) => Some((Tone::Odd, format!("queued: {}", harmless(why)))),
            Some(AtTheController::Authorized | AtTheController::Deauthorized) => {
                Some((Tone::Good, "done".to_owned()))
            }
            Some(AtTheController::Nothing) | None => Some((Tone::Quiet, "left".to_owned())),
        }
    };
    style.columns(&done.plan.iter().map(|line| row(line, came_of(line))).collect::<Vec<_>>())
}

fn row(difference: &Difference, came_of: Option<(Tone, String)>) -> Vec<(Tone, String)> {
    let Difference { member, name, here, authorized, step, why } = difference;
    let name = name.as_ref().map(ToString::to_string).unwrap_or_default();
    let word = |authorized: bool| if authorized { "authorised" } else { "deauthorised" };
    let (tone, sign, change) = match step {
        Step::Authorize => (Tone::Good, "+", format!("{} -> {}", word(*authorized), word(true))),
        Step::Deauthorize => (Tone::Bad, "-", format!("{} -> {}", word(*authorized), word(false))),
        Step::Leave => (Tone::Odd, "=", format!("{}, {here} here", word(*authorized))),
    };
    let mut row = vec![(tone, format!("{sign} {name}")), (tone, member.to_string()), (tone, change)];
    row.extend(came_of);
    row.push((Tone::Quiet, format!("({})", harmless(why))));
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::order::tests::changed;
    use crate::model::MemberState;

    fn difference(name: &str, here: MemberState, authorized: bool, step: Step, why: &str) -> Difference {
        let member = if name == "red-phone" { "c4c8812898" } else { "a000000002" }.parse().unwrap();
        Difference { member, name: name.parse().ok(), here, authorized, step, why: why.to_owned() }
    }

    #[test]
    fn the_plan_reads_as_a_diff() {
        let plan = vec![
            difference("red-phone", MemberState::Revoked, true, Step::Deauthorize, "revoked here"),
            difference("kids-tablet", MemberState::Active, false, Step::Authorize, "admitted here"),
            difference(
                "",
                MemberState::Pending,
                true,
                Step::Leave,
                "authorised by someone else; ztgate admit a000000002",
            ),
        ];
        let mut done = Done { plan, ..Done::default() };
        insta::assert_snapshot!(super::plan(&done, true, Style::PLAIN), @r"
        - red-phone    c4c8812898  authorised -> deauthorised  (revoked here)
        + kids-tablet  a000000002  deauthorised -> authorised  (admitted here)
        =              a000000002  authorised, pending here    (authorised by someone else; ztgate admit a000000002)
        ");
        let queued = AtTheController::Queued("it does not answer".to_owned());
        done.devices = vec![
            changed("red-phone", MemberState::Revoked, &[], AtTheController::Deauthorized),
            changed("kids-tablet", MemberState::Active, &[], queued),
        ];
        done.plan[2].member = "a000000003".parse().unwrap();
        insta::assert_snapshot!(super::plan(&done, false, Style::PLAIN), @r"
        - red-phone    c4c8812898  authorised -> deauthorised  done                        (revoked here)
        + kids-tablet  a000000002  deauthorised -> authorised  queued: it does not answer  (admitted here)
        =              a000000003  authorised, pending here    left                        (authorised by someone else; ztgate admit a000000002)
        ");
        // What nobody told the controller is not done.
        done.devices[0].controller = AtTheController::Nothing;
        assert!(
            super::plan(&done, false, Style::PLAIN)
                .starts_with("- red-phone    c4c8812898  authorised -> deauthorised  left ")
        );
        assert_eq!(super::plan(&Done::default(), false, Style::PLAIN), "in step\n");
    }
}
