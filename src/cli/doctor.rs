//! `ztgate doctor`: what is wrong around the gateway, each with its mend.
//!
//! A check is a name and a closure; a later part of the program adds its own to the list that the verb makes. What a
//! check judges comes as an argument, so that the judging is pure and the checks of this file are tables in its tests.

pub mod certificates;
mod checks;
mod doors;
mod fix;
mod names;
mod services;
mod settings;

pub use checks::{
    capabilities, clock, configuration, gateway, joined, kernel_saves_syns, node_answers, own_names,
    saved_syn_on_loopback, wsl,
};
pub(super) use fix::confirmed;

pub use doors::{foreign_sockets, overlay_upstreams};
pub use settings::{NetworkWord, controller, identities, settings};

use std::fmt::Write as _;
use std::io::Write;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::admin::Status;
use crate::config::{self, Config, Upstream, UpstreamHost};
use crate::linux::capabilities::Capabilities;
use crate::linux::{clock as kernel_clock, holder, wsl as windows};
use crate::sync;
use crate::zerotier::{ApiError, NodeClient, NodeNetwork, NodeStatus};

use super::style::Style;

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Show the change for each unsafe setting of the network, and make it at the controller after a yes
    #[arg(long)]
    fix: bool,
    /// Say yes to every change
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Print JSON; with --fix only together with --yes
    #[arg(long)]
    json: bool,
}

/// Looks at everything around the gateway. Works without a running gateway, and says more with one.
pub fn run(args: &DoctorArgs, file: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    if args.fix {
        return fix::run(args, file, out, style);
    }
    let running: Result<Status, _> = super::ask::gateway(file, "/status");
    let report = match config::load(file) {
        Ok(config) => look(&config, &running)?,
        Err(problems) => Report::of([
            Check::new("config", || configuration(file, &problems)),
            Check::new("gateway", || gateway(&running)),
            Check::new("settings", || settings(None, hazards(&running), None)),
            Check::new("kernel", kernel),
        ]),
    };
    if args.json {
        writeln!(out, "{}", report.json()?)?;
    } else {
        out.write_all(report.text(style).as_bytes())?;
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// Every check, which takes a configuration that can be read.
fn look(config: &Config, running: &anyhow::Result<Status>) -> anyhow::Result<Report> {
    let (node, word) = ask(config)?;
    let own = node.status.as_ref().ok().map(|status| status.address);
    let gateway_fails = running.as_ref().ok().and_then(|status| status.controller_error.as_deref());
    let overlay: Vec<IpNet> = match &node.network {
        // Nobody else reaches the loopback of the demo.
        Ok(Some(network)) => {
            network.addresses.iter().filter(|net| !net.addr().is_loopback()).copied().collect()
        }
        _ => Vec::new(),
    };
    let addresses: Vec<IpAddr> = overlay.iter().map(IpNet::addr).collect();
    let ours = running.as_ref().ok().map(|status| status.pid).into_iter().collect::<Vec<_>>();
    Ok(Report::of([
        Check::new("config", || vec![Finding::ok("is right")]),
        Check::new("gateway", || gateway(running)),
        Check::new("node", || node_answers(&node.status)),
        Check::new("network", || joined(config, &node.network)),
        Check::new("controller", || match (&config.controller, &node.status) {
            // The node's own finding says why.
            (config::Controller::Local, Err(_)) => Vec::new(),
            _ => vec![controller(&word, gateway_fails)],
        }),
        Check::new("settings", || settings(word.as_ref().ok(), hazards(running), own)),
        Check::new("certificates", || certificates::on_disk_in_short(config, jiff::Timestamp::now())),
        Check::new("certificates", || {
            let said =
                |status| [certificates::in_use(config, status), certificates::distrusting(status)].concat();
            running.as_ref().map(said).unwrap_or_default()
        }),
        Check::new("identities", || running.as_ref().map(|it| identities(&it.changed)).unwrap_or_default()),
        Check::new("kernel", kernel),
        Check::new("privileges", || {
            capabilities(Capabilities::effective(), config.http_port.min(config.https_port))
        }),
        Check::new("clock", || clock(kernel_clock::is_synchronised(), node.clock_offset())),
        Check::new("other doors", || foreign_sockets(&holder::foreign_sockets(&addresses, &ours))),
        Check::new("other doors", || {
            let upstreams: Vec<_> =
                config.services.iter().map(|s| (s.name.as_str(), addresses_of(&s.upstream))).collect();
            overlay_upstreams(&upstreams, &overlay)
        }),
        Check::new("services", || {
            let vantage = services::Vantage::here();
            config.services.iter().flat_map(|service| services::examine(service, &vantage)).collect()
        }),
        Check::new("wsl2", || {
            let uses = config.services.iter().any(|s| s.upstream.host == UpstreamHost::WindowsHost);
            wsl(windows::detect(), Path::new("/dev/net/tun").exists(), uses)
        }),
        Check::new("certificates", || names::certificates(running)),
        Check::new("published", || names::published(running)),
        Check::new("own names", || own_names(&config.zone.name("gate"))),
    ]))
}

/// What the running gateway refuses to work with, each with its mend; `None` if none is running.
fn hazards(running: &anyhow::Result<Status>) -> Option<&[String]> {
    running.as_ref().ok().map(|status| status.hazards.as_slice())
}

/// Where an upstream is right now; nowhere if its name has no address, which `status` says.
fn addresses_of(upstream: &Upstream) -> Vec<IpAddr> {
    match &upstream.host {
        UpstreamHost::Address(address) => vec![*address],
        UpstreamHost::Name(name) => (name.as_str(), upstream.port)
            .to_socket_addrs()
            .map(|found| found.map(|at| at.ip()).collect())
            .unwrap_or_default(),
        // Reached through WSL2's own wiring, which is no overlay.
        UpstreamHost::WindowsHost => Vec::new(),
    }
}

fn kernel() -> Vec<Finding> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    kernel_saves_syns(&release, saved_syn_on_loopback())
}

/// What the local node says.
struct NodeWord {
    status: Result<NodeStatus, ApiError>,
    network: Result<Option<NodeNetwork>, ApiError>,
    asked: jiff::Timestamp,
}

impl NodeWord {
    fn clock_offset(&self) -> Option<Duration> {
        let told = self.status.as_ref().ok()?.clock?;
        Some(told.duration_since(self.asked).unsigned_abs())
    }
}

/// Asks node and controller at the same time.
fn ask(config: &Config) -> anyhow::Result<(NodeWord, Result<NetworkWord, ApiError>)> {
    let node = NodeClient::new(&config.node.url, &config.node.token_file)?;
    let controller = sync::controller(config, &node)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = jiff::Timestamp::now();
    let (status, network, word) = runtime.block_on(async {
        tokio::join!(node.status(), node.network(config.network), NetworkWord::ask(&*controller))
    });
    Ok((NodeWord { status, network, asked }, word))
}

/// How a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Ok,
    /// It works, with less than could be had.
    Warn,
    /// It does not work, or is not safe.
    Bad,
}

/// One thing found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub grade: Grade,
    pub what: String,
    /// What to type or to change; always there unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    pub fn ok(what: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, what: what.into(), mend: None }
    }

    pub fn warn(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, what: what.into(), mend: Some(mend.into()) }
    }

    pub fn bad(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, what: what.into(), mend: Some(mend.into()) }
    }
}

/// One thing to find out.
pub struct Check<'a> {
    pub name: &'static str,
    run: Box<dyn FnOnce() -> Vec<Finding> + 'a>,
}

impl<'a> Check<'a> {
    pub fn new(name: &'static str, run: impl FnOnce() -> Vec<Finding> + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// What all checks found, in their order.
#[derive(Debug, Serialize)]
pub struct Report {
    findings: Vec<Named>,
}

#[derive(Debug, Serialize)]
struct Named {
    check: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

impl Report {
    /// Runs the checks. One that finds nothing says nothing.
    pub fn of<'a>(checks: impl IntoIterator<Item = Check<'a>>) -> Self {
        let named = |check: Check<'a>| {
            let name = check.name;
            (check.run)().into_iter().map(move |finding| Named { check: name, finding })
        };
        Self { findings: checks.into_iter().flat_map(named).collect() }
    }

    /// 1 if anything is bad, else 0.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.findings.iter().any(|named| named.finding.grade == Grade::Bad))
    }

    /// One line a finding, aligned, its mend on a line of its own.
    /// On a terminal no line is much longer than 100 columns.
    pub fn text(&self, style: Style) -> String {
        let colour = style.colour;
        let width = self.findings.iter().map(|named| named.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Named { check, finding } in &self.findings {
            let grade = paint(finding.grade, colour);
            // Writing to a String cannot fail.
            let _ = write!(text, "{grade}  {check:width$}  ");
            fill(&mut text, &finding.what, width + 8, style);
            if let Some(mend) = &finding.mend {
                let _ = write!(text, "      {:width$}  -> ", "");
                fill(&mut text, mend, width + 11, style);
            }
        }
        text
    }

    /// `{"findings":[{"check","grade","what","mend"}…]}`.
    ///
    /// # Errors
    /// None is to be expected; the shape has nothing that JSON lacks.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// A text from a column on, over several lines where a person reads it. What stands between backticks is typed, and so
/// stays on one line, which a terminal folds by itself and still copies as one.
pub(super) fn fill(text: &mut String, words: &str, column: usize, style: Style) {
    const WIDEST: usize = 100;
    let mut at = column;
    let mut typed = false;
    for (i, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        let breaks = style.terminal && !typed && at + 1 + length > WIDEST;
        typed ^= word.matches('`').count() % 2 == 1;
        if i > 0 && breaks {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{:column$}", "");
            at = column;
        } else if i > 0 {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += length;
    }
    text.push('\n');
}

fn paint(grade: Grade, colour: bool) -> String {
    let (word, code) = match grade {
        Grade::Ok => ("ok  ", 32),
        Grade::Warn => ("warn", 33),
        Grade::Bad => ("bad ", 31),
    };
    if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::of([
            Check::new("clock", || vec![Finding::ok("kept right")]),
            Check::new("nothing to say", Vec::new),
            Check::new("privileges", || vec![Finding::warn("no CAP_NET_ADMIN", "add it to the unit")]),
            Check::new("node", || vec![Finding::bad("does not answer", "systemctl start zerotier-one")]),
        ])
    }

    #[test]
    fn findings_are_aligned_and_each_has_its_mend_below() {
        let expected = "\
ok    clock       kept right
warn  privileges  no CAP_NET_ADMIN
                  -> add it to the unit
bad   node        does not answer
                  -> systemctl start zerotier-one
";
        assert_eq!(report().text(Style::PLAIN), expected);
        assert!(report().text(Style { terminal: true, colour: true }).contains("\x1b[31mbad \x1b[0m  node"));
    }

    #[test]
    fn a_long_line_is_broken_where_a_person_reads_it() {
        let long =
            Report::of([Check::new("node", || vec![Finding::ok("many words ".repeat(30).trim_end())])]);
        assert_eq!(long.text(Style::PLAIN).lines().count(), 1);
        let text = long.text(Style { terminal: true, colour: false });
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with(&" ".repeat(12))), "{text}");
        let command = format!("`{}`", "one word ".repeat(20).trim_end());
        let mend = format!("{} {command} and {}", "some words ".repeat(9), "more words ".repeat(9));
        let typed = Report::of([Check::new("node", || vec![Finding::warn("amiss", mend)])]);
        let text = typed.text(Style { terminal: true, colour: false });
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 5 && lines.iter().any(|line| line.ends_with(&command)), "{text}");
    }

    #[test]
    fn anything_bad_is_exit_code_1() {
        assert_eq!(report().exit_code(), 1);
        let fair =
            Report::of([Check::new("clock", || vec![Finding::warn("drifts", "systemctl start chrony")])]);
        assert_eq!(fair.exit_code(), 0);
    }

    #[test]
    fn json_has_the_same_words() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        let node = serde_json::json!({
            "check": "node", "grade": "bad", "what": "does not answer", "mend": "systemctl start zerotier-one",
        });
        assert_eq!(json["findings"][2], node);
    }
}
