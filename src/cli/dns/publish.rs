//! `ztgate dns publish`: the records of `[publish]` at the domain's own name server, as a diff, and changed after a yes.
//!
//! It talks to the server itself, with or without a running gateway, which does the same by itself every few minutes. Without
//! `[publish]` it takes back what was published before, which the gateway never does by itself.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use crate::admin::Status;
use crate::cli::dns::unasked;
use crate::cli::doctor::confirmed;
use crate::cli::style::{Style, Tone, foreign};
use crate::config::{Config, Publish};
use crate::linux::clock::SystemClock;
use crate::publish::{self, Line, Plan, Publisher, Wanted};
use crate::zerotier::NodeClient;

#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// Only show what would change
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Say yes to it
    #[arg(long)]
    yes: bool,
    /// Take records that somebody else made where ours should stand: they are replaced, and ours from then on
    #[arg(long)]
    adopt: bool,
    /// Print JSON; takes --yes or --dry-run
    #[arg(long)]
    json: bool,
}

pub fn run(args: &PublishArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    if let Some(words) = unasked("publish", args.yes || args.dry_run, args.json) {
        eprintln!("ztgate: {words}");
        return Ok(ExitCode::from(crate::cli::WRONG));
    }
    let config = crate::cli::load(file)?;
    let Some(publisher) = Publisher::of(&config, Arc::new(SystemClock)) else {
        eprintln!(
            "ztgate: there is no server to publish at: add [nameserver] with server, key and secret_file to {}",
            file.display()
        );
        return Ok(ExitCode::from(crate::cli::WRONG));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let services = config.publish.as_ref().is_some_and(|publish| publish.services);
    let overlay = if services { overlay(file, &config, &runtime)? } else { Vec::new() };
    runtime.block_on(async {
        let (wanted, trouble) = match &config.publish {
            Some(publish) => {
                let (house, trouble) = house(publish).await;
                (publish::wanted(&config, publish, &overlay, house.as_ref()), trouble)
            }
            // Whoever took [publish] away wants the records away, too.
            None => (Wanted::default(), None),
        };
        let plan = publisher.look(&wanted, args.adopt).await?;
        if !args.json {
            out.write_all(render(&plan, &wanted, style).as_bytes())?;
            out.flush()?;
        }
        if let Some(trouble) = &trouble {
            eprintln!("ztgate: {trouble}; the house's address stays as it is");
        }
        let apply = match (args.dry_run, plan.is_empty() && !args.adopt) {
            (true, _) => false,
            (false, true) => true,
            (false, false) if args.yes => true,
            (false, false) => {
                let question = format!("Change this at {}?", publisher.at());
                confirmed(&question, &mut io::stdin().lock(), &mut io::stderr().lock())?
            }
        };
        let published = match apply {
            true => Some(publisher.pass(&wanted, args.adopt, Some(&plan)).await?.published),
            false => None,
        };
        if args.json {
            let unknown = &wanted.unknown;
            let told =
                Told { server: publisher.at(), plan: &plan, unknown, trouble: trouble.as_deref(), published };
            serde_json::to_writer(&mut *out, &told)?;
            writeln!(out)?;
        } else if let Some(published) = published {
            eprintln!("ztgate: {published} records stand at {} as they should", publisher.at());
        }
        let no = !apply && !args.dry_run;
        let amiss = no || trouble.is_some() || !plan.foreign.is_empty();
        Ok(if amiss { ExitCode::from(crate::cli::NO) } else { ExitCode::SUCCESS })
    })
}

#[derive(Serialize)]
struct Told<'a> {
    server: String,
    #[serde(flatten)]
    plan: &'a Plan,
    /// Names of which nothing is known right now; their records stay.
    unknown: &'a BTreeSet<String>,
    trouble: Option<&'a str>,
    /// How many stand there as they should; `null` if nothing was to be changed.
    published: Option<usize>,
}

/// The gateway's addresses on the overlay: as it says itself, or the node if no gateway runs.
fn overlay(file: &Path, config: &Config, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Vec<IpAddr>> {
    let (addresses, own) = match crate::cli::ask::gateway::<Status>(file, "/status") {
        Ok(status) => (status.addresses, status.own),
        Err(_) => {
            let node = NodeClient::new(&config.node.url, &config.node.token_file)?;
            let (network, status) =
                runtime.block_on(async { tokio::join!(node.network(config.network), node.status()) });
            let network = network.context("neither a gateway nor the node tells this machine's addresses")?;
            let network = network.with_context(|| {
                format!(
                    "this machine has not joined {n}; type: sudo zerotier-cli join {n}",
                    n = config.network
                )
            })?;
            let addresses = network.addresses.iter().map(|net| net.addr()).collect();
            (addresses, status.ok().map(|status| status.address))
        }
    };
    Ok(publish::managed(&addresses, own, config.network))
}

async fn house(publish: &Publish) -> (Option<BTreeSet<IpAddr>>, Option<String>) {
    match &publish.public {
        None => (None, None),
        Some(public) => match publish::ask(public).await {
            Ok(addresses) => (Some(addresses), None),
            Err(error) => (None, Some(error.to_string())),
        },
    }
}

/// The plan as a diff of what the server has.
fn render(plan: &Plan, wanted: &Wanted, style: Style) -> String {
    let row = |tone: Tone, sign: &str, line: &Line| {
        vec![
            (tone, format!("{sign} {}", line.name)),
            (tone, line.kind.to_string()),
            (tone, line.data.to_string()),
        ]
    };
    let mut rows: Vec<Vec<(Tone, String)>> =
        plan.remove.iter().map(|line| row(Tone::Bad, "-", line)).collect();
    rows.extend(plan.add.iter().map(|line| row(Tone::Good, "+", line)));
    for other in &plan.foreign {
        let found: Vec<String> = other.found.iter().map(|data| foreign(&data.to_string())).collect();
        let (kind, found, why) = match &other.alias {
            Some(target) => {
                ("CNAME".to_owned(), foreign(target), "(nothing can stand beside it; remove it there)")
            }
            None => {
                let why = "(not made by ztgate, so it stays; to replace it: --adopt)";
                (other.kind.to_string(), found.join(" "), why)
            }
        };
        rows.push(vec![
            (Tone::Odd, format!("! {}", other.name)),
            (Tone::Odd, kind),
            (Tone::Odd, found),
            (Tone::Quiet, why.to_owned()),
        ]);
    }
    for name in &wanted.unknown {
        rows.push(vec![
            (Tone::Odd, format!("? {name}")),
            (Tone::Plain, String::new()),
            (Tone::Plain, String::new()),
            (Tone::Quiet, "(its address is not known right now; what stands there stays)".to_owned()),
        ]);
    }
    let mut text = style.columns(&rows);
    if plan.is_empty() && plan.foreign.is_empty() {
        text.push_str(&format!("{}, {} records\n", style.paint(Tone::Good, "in step"), plan.right));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nameserver::{Data, Kind};
    use crate::publish::Foreign;

    fn line(name: &str, address: &str) -> Line {
        let data = Data::from(address.parse::<IpAddr>().unwrap());
        Line { name: name.into(), kind: data.kind(), data }
    }

    #[test]
    fn the_plan_reads_as_a_diff() {
        let mut plan = Plan::default();
        plan.remove.push(line("wiki.example.org", "10.0.0.1"));
        plan.add.push(line("wiki.example.org", "fd00::1"));
        let found = vec![Data::from("192.0.2.7".parse::<IpAddr>().unwrap())];
        plan.foreign.push(Foreign { name: "gate.example.org".into(), kind: Kind::A, found, alias: None });
        let alias = Some("elsewhere.example.org".to_owned());
        plan.foreign.push(Foreign { name: "tv.example.org".into(), kind: Kind::A, found: Vec::new(), alias });
        let wanted =
            Wanted { unknown: BTreeSet::from(["house.example.org".to_owned()]), ..Wanted::default() };
        insta::assert_snapshot!(render(&plan, &wanted, Style::PLAIN), @r"
        - wiki.example.org   A      10.0.0.1
        + wiki.example.org   AAAA   fd00::1
        ! gate.example.org   A      192.0.2.7              (not made by ztgate, so it stays; to replace it: --adopt)
        ! tv.example.org     CNAME  elsewhere.example.org  (nothing can stand beside it; remove it there)
        ? house.example.org                                (its address is not known right now; what stands there stays)
        ");
        let right = Plan { right: 4, ..Plan::default() };
        assert_eq!(render(&right, &Wanted::default(), Style::PLAIN), "in step, 4 records\n");
    }
}
