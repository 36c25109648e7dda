//! What came of an order: what changed on the gateway, and what at the controller.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::Zoned;

use crate::model::MemberState;
use crate::sync::{AtTheController, Changed, Done, Edit, Order};

use super::ask;
use super::style::{Style, Tone, harmless};
use super::sync;
use super::time::{distance, shown};

/// What the gateway cannot end: other members keep the controller's word that they had (ZeroTier's certificates of
/// membership).
const LINGERS: [&str; 2] = [
    "other members may still reach it over ZeroTier: up to 30 min,",
    "longer after a restart of their ZeroTier",
];

/// Has an order carried out and tells what came of it. Ends with 0 once it is done, also if the controller is yet to be
/// told, and with 1 if the gateway declines.
pub fn carry_out(
    order: &Order,
    json: bool,
    config: &Path,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    let done = match ask::refused(ask::order(config, order))? {
        Ok(done) => done,
        Err(code) => return Ok(code),
    };
    if json {
        let mut text = serde_json::to_string(&done)?;
        text.push('\n');
        out.write_all(text.as_bytes())?;
    } else {
        out.write_all(render(order, &done, &Zoned::now(), style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The outcome for people: a few lines about one device, a line each of several.
pub fn render(order: &Order, done: &Done, now: &Zoned, style: Style) -> String {
    let (mut text, mut lines) = match (order, &done.devices[..]) {
        (Order::Sync { dry_run }, _) => (sync::plan(done, *dry_run, style), Vec::new()),
        (_, [one]) => (String::new(), about_one(order, one, now)),
        (_, several) => (style.columns(&several.iter().map(row).collect::<Vec<_>>()), Vec::new()),
    };
    if done.devices.iter().any(lingers) {
        lines.extend(
            std::iter::zip(["meanwhile", ""], LINGERS).map(|(word, text)| line(word, Tone::Odd, text)),
        );
    }
    lines.extend(done.notes.iter().map(|note| line("note", Tone::Plain, &harmless(note))));
    text.push_str(&style.columns(&lines));
    text
}

fn about_one(order: &Order, one: &Changed, now: &Zoned) -> Vec<Vec<(Tone, String)>> {
    let (tone, controller) = at_the_controller(&one.controller);
    let gateway = format!("{}: {}", who(one), changes(one));
    let mut lines =
        vec![line("gateway", tone_of(one.state), &gateway), line("controller", tone, &controller)];
    let end = match order {
        Order::Admit { profile, .. } => profile.until,
        Order::Restore { until, .. } | Order::Edit { edit: Edit::Until(until), .. } => *until,
        _ => None,
    };
    if let Some(end) = end {
        let text = format!("{} ({})", shown(end, now), distance(end, now.timestamp()));
        lines.push(line("expires", Tone::Plain, &text));
    }
    lines
}

fn line(word: &str, tone: Tone, text: &str) -> Vec<(Tone, String)> {
    vec![(Tone::Quiet, word.to_owned()), (tone, text.to_owned())]
}

fn row(one: &Changed) -> Vec<(Tone, String)> {
    let name = one.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let (tone, controller) = at_the_controller(&one.controller);
    vec![
        (Tone::Name, name),
        (Tone::Plain, one.member.to_string()),
        (tone_of(one.state), changes(one)),
        (tone, controller),
    ]
}

fn who(one: &Changed) -> String {
    match &one.name {
        Some(name) => format!("{name} ({})", one.member),
        None => one.member.to_string(),
    }
}

fn changes(one: &Changed) -> String {
    if one.gateway.is_empty() {
        return format!("nothing changed, it is {}", one.state);
    }
    harmless(&one.gateway.join("; "))
}

fn at_the_controller(said: &AtTheController) -> (Tone, String) {
    match said {
        AtTheController::Nothing => (Tone::Quiet, "nothing to do".to_owned()),
        AtTheController::Authorized => (Tone::Good, "authorised".to_owned()),
        AtTheController::Deauthorized => (Tone::Bad, "deauthorised".to_owned()),
        AtTheController::Queued(why) => (Tone::Odd, format!("not told yet, will be: {}", harmless(why))),
    }
}

/// Whether others on the network may go on talking to the device, which the gateway itself refuses from now on.
fn lingers(one: &Changed) -> bool {
    let out = matches!(one.state, MemberState::Expired | MemberState::Suspended | MemberState::Revoked);
    out && matches!(one.controller, AtTheController::Queued(_) | AtTheController::Deauthorized)
}

pub(super) fn tone_of(state: MemberState) -> Tone {
    match state {
        MemberState::Active => Tone::Good,
        MemberState::Pending => Tone::Odd,
        MemberState::Expired | MemberState::Suspended | MemberState::Revoked => Tone::Bad,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sync::Profile;

    pub fn now() -> Zoned {
        "2026-11-23T15:00:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    pub fn changed(name: &str, state: MemberState, gateway: &[&str], controller: AtTheController) -> Changed {
        let id = if name == "red-phone" { "c4c8812898" } else { "a000000002" };
        Changed {
            member: id.parse().unwrap(),
            name: name.parse().ok(),
            state,
            gateway: gateway.iter().map(|&text| text.to_owned()).collect(),
            controller,
        }
    }

    fn one(changed: Changed) -> Done {
        Done { devices: vec![changed], ..Done::default() }
    }

    fn said(order: &Order, done: &Done) -> String {
        render(order, done, &now(), Style::PLAIN)
    }

    #[test]
    fn an_admission_for_a_while() {
        let profile = Profile { until: "2026-12-24T17:00:00Z".parse().ok(), ..Profile::default() };
        let order = Order::Admit { id: "c4c8812898".parse().unwrap(), profile, ahead: false };
        let gateway = ["pending -> active", "owner mum"];
        let done = one(changed("red-phone", MemberState::Active, &gateway, AtTheController::Authorized));
        insta::assert_snapshot!(said(&order, &done), @r"
        gateway     red-phone (c4c8812898): pending -> active; owner mum
        controller  authorised
        expires     2026-12-24 18:00 CET (in 31 days)
        ");
    }

    #[test]
    fn a_revocation_says_what_it_cannot_reach() {
        let order = Order::Revoke { who: "red-phone".to_owned(), why: None };
        let told =
            changed("red-phone", MemberState::Revoked, &["active -> revoked"], AtTheController::Deauthorized);
        insta::assert_snapshot!(said(&order, &one(told)), @r"
        gateway     red-phone (c4c8812898): active -> revoked
        controller  deauthorised
        meanwhile   other members may still reach it over ZeroTier: up to 30 min,
                    longer after a restart of their ZeroTier
        ");
        let queued = AtTheController::Queued("it does not answer".to_owned());
        let waits = changed("", MemberState::Revoked, &["active -> revoked"], queued);
        insta::assert_snapshot!(said(&order, &one(waits)), @r"
        gateway     a000000002: active -> revoked
        controller  not told yet, will be: it does not answer
        meanwhile   other members may still reach it over ZeroTier: up to 30 min,
                    longer after a restart of their ZeroTier
        ");
    }

    #[test]
    fn an_admission_that_waits_for_the_controller_frightens_nobody() {
        let order =
            Order::Admit { id: "a000000002".parse().unwrap(), profile: Profile::default(), ahead: false };
        let queued = AtTheController::Queued("it does not answer".to_owned());
        insta::assert_snapshot!(said(&order, &one(changed("tv", MemberState::Pending, &[], queued))), @r"
        gateway     tv (a000000002): nothing changed, it is pending
        controller  not told yet, will be: it does not answer
        ");
    }

    #[test]
    fn several_devices_are_a_line_each() {
        let order = Order::Import { devices: Vec::new(), dry_run: false };
        let devices = vec![
            changed("red-phone", MemberState::Active, &["pending -> active"], AtTheController::Authorized),
            changed("kids-tablet", MemberState::Active, &[], AtTheController::Nothing),
        ];
        let done =
            Done { devices, notes: vec!["1 device of the list was known".to_owned()], ..Done::default() };
        insta::assert_snapshot!(said(&order, &done), @r"
        red-phone    c4c8812898  pending -> active              authorised
        kids-tablet  a000000002  nothing changed, it is active  nothing to do
        note  1 device of the list was known
        ");
    }
}
