//! `ztgate dns push`: the zone and its servers as the network's DNS setting at the controller: shown as a diff, told after a
//! yes, and from then on kept in step by the gateway.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::admin::PushOrder;
use crate::cli::dns::unasked;
use crate::cli::doctor::confirmed;
use crate::cli::style::{Style, Tone, harmless};
use crate::cli::{CANNOT, NO, WRONG, ask};
use crate::push::Look;
use crate::zerotier::NetworkDns;

/// The port that a device asks: the setting has room for no other.
const PORT: u16 = 53;

#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// Only show what would change
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Say yes to it
    #[arg(long)]
    yes: bool,
    /// Keep it no longer, and take away what the gateway set
    #[arg(long)]
    off: bool,
    /// Print JSON; takes --yes or --dry-run
    #[arg(long)]
    json: bool,
}

pub fn run(args: &PushArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    if let Some(words) = unasked("push", args.yes || args.dry_run, args.json) {
        eprintln!("ztgate: {words}");
        return Ok(ExitCode::from(WRONG));
    }
    let look: Look = ask::gateway(file, "/dns/push")?;
    let plan = match Plan::of(&look, args.off) {
        Ok(plan) => plan,
        Err((words, code)) => {
            eprintln!("ztgate: {words}");
            return Ok(ExitCode::from(code));
        }
    };
    if !args.json {
        out.write_all(plan.render(style).as_bytes())?;
        // Otherwise the question is there before what it is about.
        out.flush()?;
    }
    let apply = plan.order.is_some()
        && !args.dry_run
        && (args.yes || confirmed(plan.question, &mut io::stdin().lock(), &mut io::stderr().lock())?);
    let done = match plan.order.as_ref().filter(|_| apply) {
        Some(order) => match ask::refused(ask::push(file, order))? {
            Ok(done) => Some(done),
            Err(code) => return Ok(code),
        },
        // A no to clearing is no wish to keep it.
        None if args.off && look.kept && !args.dry_run => {
            match ask::refused(ask::push(file, &PushOrder::Stop { clear: false }))? {
                Ok(done) => Some(done),
                Err(code) => return Ok(code),
            }
        }
        None => None,
    };
    for note in done.iter().flat_map(|done| &done.notes) {
        eprintln!("ztgate: {note}");
    }
    if args.json {
        let now = done.as_ref().map(|done| &done.found);
        serde_json::to_writer(&mut *out, &Told { look: Shown::from(&look), now, warnings: &plan.warnings })?;
        writeln!(out)?;
    } else if let Some(done) = &done {
        let words = match (args.off, done.found.is_empty()) {
            (false, _) => {
                "the controller says so, and the gateway keeps it; devices must allow it: ztgate dns doctor"
            }
            (true, true) => "cleared, and kept no longer",
            (true, false) => "kept no longer; what is there stays",
        };
        eprintln!("ztgate: {words}");
    }
    let no = plan.order.is_some() && !apply && !args.dry_run && !args.off;
    Ok(if no { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// What would be done.
struct Plan {
    before: NetworkDns,
    after: NetworkDns,
    warnings: Vec<String>,
    question: &'static str,
    /// `None` if there is nothing to do.
    order: Option<PushOrder>,
    /// What to say where nothing differs.
    settled: &'static str,
}

impl Plan {
    /// What there is to do, or why nothing can be, with the exit code.
    fn of(look: &Look, off: bool) -> Result<Self, (String, u8)> {
        let found = look.found.clone().map_err(|why| (why, CANNOT));
        if off {
            let found = found?;
            let ours = look.ours;
            return Ok(Self {
                after: if ours { NetworkDns::default() } else { found.clone() },
                before: found,
                warnings: Vec::new(),
                question: "Have devices told nothing of DNS any more?",
                order: (ours || look.kept).then_some(PushOrder::Stop { clear: ours }),
                settled: if look.kept {
                    "not ours: it stays, and is kept no longer"
                } else {
                    "nothing is kept"
                },
            });
        }
        let wanted = look.wanted.clone().map_err(|why| (why, NO))?;
        let found = found?;
        let same = wanted.says_same(&found);
        let mut warnings = Vec::new();
        if !found.is_empty() && !look.ours && !same {
            warnings.push(format!("somebody else set {}, which devices lose", harmless(&found.to_string())));
        }
        let port = look.facts.serving.port;
        if port != PORT {
            warnings.push(format!("devices ask port {PORT} only, and DNS is on {port} here: lead it there, or take port out of [dns]"));
        }
        if look.facts.serving.alone {
            let words = "nobody is asked about other names (forward = [] in [dns]), and an Android phone sends every name here: \
                         it loses all of the others";
            warnings.push(words.to_owned());
        }
        let left_out = look.facts.serving.addresses.len().saturating_sub(wanted.servers.len());
        if left_out > 0 {
            let most = NetworkDns::MOST_SERVERS;
            warnings.push(format!("ZeroTier tells devices of {most} servers, so {left_out} are left out"));
        }
        Ok(Self {
            order: (!same || !look.kept)
                .then(|| PushOrder::Push { shown: found.clone(), agreed: wanted.clone() }),
            question: if same {
                "It says so already. Keep it in step with the gateway's addresses?"
            } else {
                "Change this at the controller, and keep it in step with the gateway's addresses?"
            },
            settled: "in step",
            before: found,
            after: wanted,
            warnings,
        })
    }

    /// The change as a diff of what the controller has.
    fn render(&self, style: Style) -> String {
        let mut rows = Vec::new();
        for (what, before, after) in [
            ("domain", domain(&self.before), domain(&self.after)),
            ("server", servers(&self.before), servers(&self.after)),
        ] {
            let mut row = |tone, sign: &str, value: &str| {
                rows.push(vec![(tone, format!("{sign} {what}")), (tone, harmless(value))]);
            };
            for old in before.iter().filter(|old| !after.contains(old)) {
                row(Tone::Bad, "-", old);
            }
            for new in &after {
                let (tone, sign) = if before.contains(new) { (Tone::Quiet, " ") } else { (Tone::Good, "+") };
                row(tone, sign, new);
            }
        }
        let mut text = style.columns(&rows);
        for warning in &self.warnings {
            text.push_str(&format!("{} {warning}\n", style.paint(Tone::Odd, "!")));
        }
        if self.before.says_same(&self.after) {
            text.push_str(&format!("{}\n", style.paint(Tone::Good, self.settled)));
        }
        text
    }
}

fn domain(dns: &NetworkDns) -> Vec<String> {
    Some(dns.domain.clone()).filter(|domain| !domain.is_empty()).into_iter().collect()
}

fn servers(dns: &NetworkDns) -> Vec<String> {
    dns.servers.iter().map(ToString::to_string).chain(dns.odd.iter().cloned()).collect()
}

/// As JSON.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    look: Shown<'a>,
    /// What the controller has after it; `null` if nothing was to be changed.
    now: Option<&'a NetworkDns>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Shown<'a> {
    /// What devices should be told; `null` with `why_not`.
    wanted: Option<&'a NetworkDns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<&'a str>,
    found: Option<&'a NetworkDns>,
    /// Whether the gateway kept it before.
    kept: bool,
    /// Whether the gateway wrote what was found.
    ours: bool,
}

impl<'a> From<&'a Look> for Shown<'a> {
    fn from(look: &'a Look) -> Self {
        Self {
            wanted: look.wanted.as_ref().ok(),
            why_not: look.wanted.as_ref().err().map(String::as_str),
            found: look.found.as_ref().ok(),
            kept: look.kept,
            ours: look.ours,
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::push::{Facts, Serving};

    pub fn dns(domain: &str, servers: &[&str]) -> NetworkDns {
        let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
        NetworkDns { domain: domain.to_owned(), servers, odd: Vec::new() }
    }

    /// A gateway that serves, and a controller that knows nothing of it.
    pub fn look() -> Look {
        let wanted = dns("home.arpa", &["10.147.20.1", "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41"]);
        Look {
            facts: Facts {
                zone: "home.arpa".to_owned(),
                network: "5e02d9cb41c0ffee".parse().unwrap(),
                own: "5e02d9cb41".parse().ok(),
                device: Some("ztsvbrsnfp".to_owned()),
                serving: Serving {
                    enabled: true,
                    port: 53,
                    addresses: wanted.servers.clone(),
                    ..Serving::default()
                },
            },
            wanted: Ok(wanted),
            found: Ok(NetworkDns::default()),
            kept: false,
            ours: false,
        }
    }

    fn shown(look: &Look, off: bool) -> String {
        match Plan::of(look, off) {
            Ok(plan) => format!("{}=> {:?}", plan.render(Style::PLAIN), plan.order),
            Err((words, code)) => format!("{words} ({code})"),
        }
    }

    #[test]
    fn a_first_push_adds() {
        insta::assert_snapshot!(shown(&look(), false), @r#"
        + domain  home.arpa
        + server  10.147.20.1
        + server  fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41
        => Some(Push { shown: NetworkDns { domain: "", servers: [], odd: [] }, agreed: NetworkDns { domain: "home.arpa", servers: [10.147.20.1, fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41], odd: [] } })
        "#);
    }

    #[test]
    fn a_foreign_value_is_said_to_be_lost() {
        let mut foreign = look();
        foreign.facts.serving.port = 5353;
        foreign.facts.serving.alone = true;
        foreign.found =
            Ok(NetworkDns { odd: vec!["\u{1b}[2J".to_owned()], ..dns("home.arpa", &["10.147.20.9"]) });
        insta::assert_snapshot!(shown(&foreign, false), @r#"
          domain  home.arpa
        - server  10.147.20.9
        - server  ?[2J
        + server  10.147.20.1
        + server  fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41
        ! somebody else set home.arpa at 10.147.20.9 "\u{1b}[2J" (no address), which devices lose
        ! devices ask port 53 only, and DNS is on 5353 here: lead it there, or take port out of [dns]
        ! nobody is asked about other names (forward = [] in [dns]), and an Android phone sends every name here: it loses all of the others
        => Some(Push { shown: NetworkDns { domain: "home.arpa", servers: [10.147.20.9], odd: ["\u{1b}[2J"] }, agreed: NetworkDns { domain: "home.arpa", servers: [10.147.20.1, fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41], odd: [] } })
        "#);
    }

    #[test]
    fn what_is_there_and_kept_needs_nothing() {
        let kept = Look { found: look().wanted, kept: true, ours: true, ..look() };
        insta::assert_snapshot!(shown(&kept, false), @r#"
          domain  home.arpa
          server  10.147.20.1
          server  fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41
        in step
        => None
        "#);
        insta::assert_snapshot!(shown(&kept, true), @r#"
        - domain  home.arpa
        - server  10.147.20.1
        - server  fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41
        => Some(Stop { clear: true })
        "#);
        let foreign = Look { found: Ok(dns("example.org", &["10.0.0.9"])), kept: true, ..look() };
        insta::assert_snapshot!(shown(&foreign, true), @r#"
          domain  example.org
          server  10.0.0.9
        not ours: it stays, and is kept no longer
        => Some(Stop { clear: false })
        "#);
        let unasked = Look { found: look().wanted, ..look() };
        assert!(Plan::of(&unasked, false).unwrap().question.starts_with("It says so already"));
    }

    #[test]
    fn why_there_is_nothing_to_push_is_said() {
        let off = Look { wanted: Err("DNS is off here".to_owned()), ..look() };
        assert_eq!(shown(&off, false), "DNS is off here (1)");
        let away = Look { found: Err("the controller is away".to_owned()), ..look() };
        assert_eq!(shown(&away, false), "the controller is away (3)");
    }
}
