//! `ztgate doctor --fix`: each unsafe setting of the network shown with the exact change, and mended after a yes.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::style::{Style, Tone, foreign};
use crate::cli::{NO, WRONG, ask};
use crate::model::{MemberId, NetworkId};
use crate::sync::{self, Order};
use crate::zerotier::{ApiError, Controller, ControllerMember, ControllerView, Fix, NodeClient, Proposal};

use super::{DoctorArgs, NetworkWord, fill};

const QUESTION: &str = "Make this change at the controller?";

/// Asks the controller what is not safe, and makes each change that is said yes to.
///
/// # Errors
/// The configuration is not right, or the controller cannot be asked. What goes wrong with one change is told in its place.
pub fn run(args: &DoctorArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    if let Some(words) = misused(args, io::stdin().is_terminal()) {
        eprintln!("ztgate: {words}");
        return Ok(ExitCode::from(WRONG));
    }
    let config = crate::cli::load(file)?;
    let node = NodeClient::new(&config.node.url, &config.node.token_file)?;
    let controller = sync::controller(&config, &node)?;
    let yes = args.yes;
    // Standard output is data, so the question goes beside it.
    let mut consent = |_: &Proposal| {
        if yes { Ok(true) } else { confirmed(QUESTION, &mut io::stdin().lock(), &mut io::stderr().lock()) }
    };
    // Nothing else runs on this thread, so that it may wait for a person.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (word, own) = tokio::join!(NetworkWord::ask(&*controller), node.status());
        let unsafe_now = Unsafe::of(word?, own.ok().map(|node| node.address));
        let shown = if args.json { &mut io::sink() } else { &mut *out };
        unsafe_now.mend(&*controller, &mut consent, shown, style).await
    })?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    }
    for change in report.changes.iter().filter(|change| change.outcome == Outcome::Made) {
        if let Err(error) = ask::order(file, &Order::Note { what: change.note() }) {
            eprintln!("ztgate: made, but not in the gateway's control log: {error}");
        }
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// Why this cannot be done the way it was asked for.
fn misused(args: &DoctorArgs, terminal: bool) -> Option<&'static str> {
    match (args.yes, args.json) {
        (true, _) => None,
        (false, true) => Some("--json asks no questions; type: ztgate doctor --fix --yes --json"),
        (false, false) if terminal => None,
        (false, false) => Some(
            "there is no terminal to ask at; look first: ztgate doctor, then say yes to all: ztgate doctor --fix --yes",
        ),
    }
}

/// Asks a person whether to do it. Whatever is not a yes, the end of the input too, is a no.
pub fn confirmed(question: &str, answers: &mut dyn BufRead, talk: &mut dyn Write) -> io::Result<bool> {
    write!(talk, "{question} [y/N] ")?;
    talk.flush()?;
    let mut answer = String::new();
    let ended = answers.read_line(&mut answer)? == 0;
    if ended {
        writeln!(talk)?;
    }
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// A network with settings that are not safe.
struct Unsafe {
    network: NetworkId,
    proposals: Vec<Proposal>,
    /// Who is on the network only because it is public.
    uninvited: Vec<ControllerMember>,
    /// What only a person can judge, as a mend each.
    by_hand: Vec<String>,
    /// This machine's member, if its node tells.
    own: Option<MemberId>,
}

impl Unsafe {
    fn of(word: NetworkWord, own: Option<MemberId>) -> Self {
        let by_hand = word.hazards(own).map(|hazard| hazard.mend()).collect();
        let NetworkWord { view: ControllerView { network, members, .. }, proposals } = word;
        let uninvited = members.into_iter().filter(|member| !member.authorized).collect();
        Self { network, proposals, uninvited, by_hand, own }
    }

    /// Shows each change, and makes those that `consent` is given to.
    ///
    /// # Errors
    /// Nothing can be shown or asked any more; what was made before that stands.
    async fn mend(
        self,
        controller: &dyn Controller,
        consent: &mut dyn FnMut(&Proposal) -> io::Result<bool>,
        out: &mut dyn Write,
        style: Style,
    ) -> anyhow::Result<FixReport> {
        let mut changes = Vec::with_capacity(self.proposals.len());
        if self.proposals.is_empty() && self.by_hand.is_empty() {
            writeln!(out, "nothing to do: the settings of network {} are safe", self.network)?;
        }
        for (nth, proposal) in self.proposals.iter().enumerate() {
            if nth > 0 {
                writeln!(out)?;
            }
            out.write_all(self.shown(proposal, style).as_bytes())?;
            // Otherwise the question is there before what it is about.
            out.flush()?;
            let outcome = match self.objection(proposal.fix) {
                Some(why) => Outcome::Left { why },
                None if consent(proposal)? => Outcome::of(controller.apply(proposal).await),
                None => Outcome::Left { why: "the answer was no".to_owned() },
            };
            writeln!(out, "{}", outcome.line(style))?;
            changes.push(Change::new(proposal, outcome));
        }
        for mend in &self.by_hand {
            writeln!(out, "{} to you: {mend}", style.paint(Tone::Odd, "left"))?;
        }
        Ok(FixReport { network: self.network, changes, by_hand: self.by_hand })
    }

    /// Why a change is not even asked for: a gateway does not shut itself out.
    fn objection(&self, fix: Fix) -> Option<String> {
        if fix != Fix::Private || self.uninvited.is_empty() {
            return None;
        }
        let Some(own) = self.own else {
            return Some(
                "the node does not say which member this machine is, which may lose the network by it; see: ztgate doctor"
                    .to_owned(),
            );
        };
        self.uninvited.iter().any(|member| member.id == own).then(|| {
            format!(
                "this machine ({own}) is not authorised itself and would lose the network; authorise it at the controller, \
                 then type the command again"
            )
        })
    }

    /// A change with what it costs.
    fn shown(&self, proposal: &Proposal, style: Style) -> String {
        let mut text = format!("{}\n", style.paint(Tone::Head, &proposal.fix.to_string()));
        text.push_str(&diff(proposal, style));
        text.push_str("  cost: ");
        fill(&mut text, proposal.fix.cost(), 8, style);
        if proposal.fix == Fix::Private && !self.uninvited.is_empty() {
            let names: Vec<String> = self.uninvited.iter().map(|member| self.name(member)).collect();
            text.push_str("  cut off: ");
            fill(&mut text, &names.join(", "), 11, style);
        }
        text
    }

    fn name(&self, member: &ControllerMember) -> String {
        let label = member.label.as_deref().map(foreign);
        match (Some(member.id) == self.own, label) {
            (true, _) => format!("{} (this machine)", member.id),
            (false, Some(label)) => format!("{} ({label})", member.id),
            (false, None) => member.id.to_string(),
        }
    }
}

/// A proposal's own diff in colour, without all of what stays as it is.
fn diff(proposal: &Proposal, style: Style) -> String {
    const KEPT_SHOWN: usize = 3;
    let text = proposal.to_string();
    let mut lines = text.lines();
    let field = lines.next().unwrap_or_default();
    let is_change = |line: &&str| line.starts_with(['-', '+']);
    let (changed, kept): (Vec<_>, Vec<_>) = lines.partition(is_change);
    let mut shown = vec![field.to_owned()];
    shown.extend(changed.iter().map(|line| {
        let tone = if line.starts_with('+') { Tone::Good } else { Tone::Bad };
        style.paint(tone, line)
    }));
    let (near, far) = kept.split_at(kept.len().min(KEPT_SHOWN));
    shown.extend(near.iter().map(|line| style.paint(Tone::Quiet, line)));
    if !far.is_empty() {
        shown.push(style.paint(Tone::Quiet, &format!("    ({} more, which stay as they are)", far.len())));
    }
    shown.push(String::new());
    shown.join("\n")
}

/// What was done about each setting; as JSON, too.
#[derive(Debug, Serialize)]
struct FixReport {
    network: NetworkId,
    changes: Vec<Change>,
    by_hand: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Change {
    fix: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberId>,
    field: String,
    before: Vec<String>,
    after: Vec<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Change {
    /// What the control log says of it.
    fn note(&self) -> String {
        let member = self.member.map(|member| format!(" of member {member}")).unwrap_or_default();
        let lines = |lines: &[String]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        format!("{}{member}: {} -> {}", self.field, lines(&self.before), lines(&self.after))
    }
}

/// How a change went.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum Outcome {
    /// It is there: the controller said so when it was asked again.
    Made,
    /// It was not tried.
    Left {
        why: String,
    },
    Failed {
        why: String,
    },
    /// It may be there or not.
    Unsure {
        why: String,
    },
}

impl FixReport {
    /// 1 if anything is left as it was, else 0.
    fn exit_code(&self) -> u8 {
        let all_made = self.changes.iter().all(|change| change.outcome == Outcome::Made);
        if all_made && self.by_hand.is_empty() { 0 } else { NO }
    }
}

impl Change {
    fn new(proposal: &Proposal, outcome: Outcome) -> Self {
        let (fix, member) = match proposal.fix {
            Fix::Private => ("private", None),
            Fix::BridgeOff(member) => ("bridge-off", Some(member)),
            Fix::DropUnauthenticated => ("drop-unauthenticated", None),
        };
        let (field, before, after) = (proposal.field(), proposal.before(), proposal.after());
        Self { fix, member, field, before, after, outcome }
    }
}

impl Outcome {
    fn of(applied: Result<(), ApiError>) -> Self {
        match applied {
            Ok(()) => Self::Made,
            Err(error @ ApiError::Unsure { .. }) => Self::Unsure { why: error.to_string() },
            Err(error) => Self::Failed { why: error.to_string() },
        }
    }

    fn line(&self, style: Style) -> String {
        match self {
            Self::Made => format!("{}, and read back from the controller", style.paint(Tone::Good, "made")),
            Self::Left { why } => format!("{} as it was: {why}", style.paint(Tone::Odd, "left")),
            Self::Failed { why } => format!("{}: {why}", style.paint(Tone::Bad, "failed")),
            Self::Unsure { why } => format!("{}: {why}", style.paint(Tone::Bad, "unsure")),
        }
    }
}

#[cfg(test)]
mod tests;
