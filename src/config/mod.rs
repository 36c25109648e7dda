//! `ztgate.toml` and the policy folder: read once, checked whole, then the [`Config`] that the rest relies on.
//!
//! All problems are found in one go, each with its file, line and key. A file that is not TOML stops the checks that
//! would need it, because half a file gives misleading errors.

mod checked;
pub mod devices;
mod dns;
mod gateway;
mod kind;
mod links;
pub mod names;
mod nameserver;
mod notify;
mod origins;
mod people;
mod problem;
mod read;
mod service;
mod source;
mod template;
mod tls;
mod upstream;
mod words;

use std::path::{Path, PathBuf};

pub use checked::*;
pub use dns::{DNS_PORT, Dns};
pub use links::LinkPaths;
pub use nameserver::{Nameserver, PublicName, Publish, TsigAlgorithm, TsigKey, UpdateServer};
pub use notify::{Notify, NotifyEvent, NotifyUrl, Ntfy, UnknownEvent, Webhook};
pub use problem::Problems;
pub use template::{Found, GuessedService, starter};

use read::{Report, Section};
use source::Source;

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/ztgate/ztgate.toml";

/// Reads a configuration: the file, and `policy/*.toml` beside it where that folder exists.
///
/// Only these files are opened. Those that they name (keys, certificates, tokens) are checked by whoever uses them.
///
/// # Errors
/// Every problem found, ordered by file and line. Warnings are no errors: see [`Config::warnings`].
pub fn load(file: &Path) -> Result<Config, Vec<Problem>> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(Path::new("/"));
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    for (path, name) in
        std::iter::once((file.clone(), name.into_owned())).chain(policy_files(folder, &mut problems))
    {
        match Source::read(&path, &name, ABSENT) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { check(&file, &sources) } else { Err(problems) }
}

/// Where the gateway of this file keeps its state, however wrong the rest of the file is: while a running one keeps its old
/// configuration, this is how it is found and asked why.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn state_dir(file: &Path) -> Result<PathBuf, Problem> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let source = Source::read(&file, &name, ABSENT)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    Ok(folder.join(source.text_at("state_dir").as_deref().unwrap_or(gateway::STATE_DIR)))
}

/// The files and folders whose change can change the configuration's meaning. The policy folder may not exist.
pub fn watch_paths(config: &Config) -> Vec<PathBuf> {
    let mut paths = vec![config.file.clone(), config.file.with_file_name(POLICY_FOLDER)];
    if let Tls::Files { certificate, key } = &config.tls {
        paths.extend([certificate.clone(), key.clone()]);
    }
    for service in &config.services {
        if let Some(UpstreamTls::Verified { ca: Some(ca) }) = &service.upstream.tls
            && !paths.contains(ca)
        {
            paths.push(ca.clone());
        }
    }
    paths
}

const ABSENT: &str = "\"ztgate init\" writes one; \"--config FILE\" names another";

const POLICY_FOLDER: &str = "policy";

/// `policy/*.toml`, ordered by name.
fn policy_files(folder: &Path, problems: &mut Vec<Problem>) -> Vec<(PathBuf, String)> {
    let mut trouble = |error: std::io::Error| {
        problems.push(Problem {
            file: POLICY_FOLDER.into(),
            line: None,
            key: None,
            message: format!("the folder cannot be read: {error}"),
            hint: None,
        });
    };
    let entries = match std::fs::read_dir(folder.join(POLICY_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            trouble(error);
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_string_lossy().into_owned();
                // Editors leave hidden copies behind.
                if name.ends_with(".toml") && !name.starts_with('.') {
                    files.push((entry.path(), format!("{POLICY_FOLDER}/{name}")));
                }
            }
            Err(error) => trouble(error),
        }
    }
    files.sort();
    files
}

/// The checks themselves, on text alone. The first source is `ztgate.toml`.
fn check(file: &Path, sources: &[Source]) -> Result<Config, Vec<Problem>> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut tables = Vec::new();
    let mut broken = Vec::new();
    for source in sources {
        match source.parse() {
            Ok(table) => tables.push((source, table)),
            Err(problems) => broken.extend(problems),
        }
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let (lists, files): (Vec<_>, Vec<_>) = tables
        .iter()
        .map(|(source, table)| Section::root(source, table))
        .partition(|root| &*root.spot.file == devices::FILE);
    let Some(main) = files.first() else { return Err(Vec::new()) };

    let mut report = Report::default();
    let gateway = gateway::read(main, folder, &mut report);
    let notify = notify::read(main, folder, &mut report);
    let dns = dns::read(main, [gateway.http_port, gateway.https_port], &mut report);
    let (nameserver, publish) = nameserver::read(main, folder, gateway.zone.as_ref(), &mut report);
    let devices = lists.first().map(|root| devices::read_list(root, &gateway.time_zone, &mut report));
    for policy in &files[1..] {
        people::check_policy_keys(policy, &mut report);
    }
    let groups = people::read_groups(&files, &mut report);
    let dns_port = dns.enabled.then_some(dns.port);
    let ports: Vec<u16> = [gateway.http_port, gateway.https_port].into_iter().chain(dns_port).collect();
    let around = service::Around { folder, zone: gateway.zone.as_ref(), ports: &ports };
    let services = match main.section("service", &mut report) {
        Some(section) => service::read_all(&section, &around, &mut report),
        None => Vec::new(),
    };
    people::warn_of_idle_groups(&groups, &services, &mut report);

    let order = |problem: &Problem| {
        (sources.iter().position(|source| Path::new(&*source.name) == problem.file), problem.line)
    };
    report.problems.sort_by_key(order);
    report.warnings.sort_by_key(order);
    match (gateway.network, gateway.zone) {
        (Some(network), Some(zone)) if report.problems.is_empty() => Ok(Config {
            file: file.to_owned(),
            network,
            zone,
            state_dir: gateway.state_dir,
            node: gateway.node,
            controller: gateway.controller,
            sync: gateway.sync,
            time_zone: gateway.time_zone,
            http_port: gateway.http_port,
            https_port: gateway.https_port,
            tls: gateway.tls,
            services,
            groups,
            devices: devices.unwrap_or_default(),
            notify,
            dns,
            nameserver,
            publish,
            warnings: report.warnings,
        }),
        _ => Err(report.problems),
    }
}

/// The configuration in these texts: `ztgate.toml`, and files of the policy folder by name.
#[cfg(test)]
pub(crate) fn from_text(main: &str, policy: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let policy =
        policy.iter().map(|(name, text)| Source::new(&format!("{POLICY_FOLDER}/{name}"), (*text).into()));
    let sources: Vec<Source> =
        std::iter::once(Source::new("ztgate.toml", main.into())).chain(policy).collect();
    check(Path::new("/etc/ztgate/ztgate.toml"), &sources)
}

#[cfg(test)]
mod tests;
