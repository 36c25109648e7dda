//! `ztgate check [FILE]`: whether a configuration is right. Nothing is changed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::names::{self, Bearer};
use crate::config::{self, Config, Device, Problem, Service};
use crate::linux::secret::SecretError;
use crate::routes::{self, OpenError};
use crate::store::{Look, Members, Profile, StoredMember};

use super::style::{Style, Tone};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration to check, in place of --config
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CheckArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let file = args.file.as_deref().unwrap_or(config);
    let said = if args.json { check_json(file) } else { check(file, style) };
    out.write_all(said.stdout.as_bytes())?;
    eprint!("{}", said.stderr);
    Ok(ExitCode::from(said.code))
}

/// What the command says, where, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    /// 0: right, perhaps with warnings; 1: not; 3: there is nothing to read.
    pub code: u8,
}

/// Checks a configuration as `ztgate run` would read it.
pub fn check(file: &Path, style: Style) -> Said {
    match load(file) {
        Ok(Checked { config, devices }) => {
            let stderr = listed(&config.warnings, "warning: ", Tone::Odd, style);
            Said { stdout: summary(&config, devices), stderr, code: 0 }
        }
        Err(problems) => {
            let mut stderr = listed(&problems, "", Tone::Bad, style);
            let count = plural(problems.len(), "problem");
            let folder = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            let folder = folder.parent().unwrap_or(Path::new("/")).display();
            let last = format!("{count} in {folder}; a running gateway keeps the rules that it has");
            stderr.push_str(&format!("{}\n", style.paint(Tone::Head, &last)));
            Said { stdout: String::new(), stderr, code: wrong(file) }
        }
    }
}

/// The same as JSON: `{"ok":…,"problems":[…],"warnings":[…]}` on stdout, and nothing on stderr.
pub fn check_json(file: &Path) -> Said {
    let (problems, warnings) = match load(file) {
        Ok(checked) => (Vec::new(), checked.config.warnings),
        Err(problems) => (problems, Vec::new()),
    };
    let ok = problems.is_empty();
    let json = serde_json::json!({ "ok": ok, "problems": problems, "warnings": warnings });
    Said { stdout: format!("{json}\n"), stderr: String::new(), code: if ok { 0 } else { wrong(file) } }
}

/// A configuration without fault, and how many devices its names were held against, if any could be.
struct Checked {
    config: Config,
    devices: Option<usize>,
}

/// The configuration, held against the devices that are known here.
fn load(file: &Path) -> Result<Checked, Vec<Problem>> {
    let mut config = config::load(file)?;
    let look = Members::look(&config.state_dir, config.network);
    if matches!(look, Look::Older) {
        config.warnings.push(unseen(file, &config));
    }
    config.warnings.extend(unopened(file, &config));
    let devices = known(&config, look);
    against(config, devices.as_ref().map(|devices| devices.iter().map(Bearer::from)))
}

/// Words that nobody bears are warnings, for a name may be given later; a group that is called like a device is an error.
fn against<'a>(
    mut config: Config,
    devices: Option<impl Iterator<Item = Bearer<'a>> + Clone>,
) -> Result<Checked, Vec<Problem>> {
    let Some(devices) = devices else { return Ok(Checked { config, devices: None }) };
    let clashes = names::clashes(&config, devices.clone());
    if !clashes.is_empty() {
        return Err(clashes);
    }
    config.warnings.extend(names::unused_words(&config, devices.clone()));
    Ok(Checked { config, devices: Some(devices.count()) })
}

/// The devices that names can be held against; `None` where nobody can tell. Before the first start these are the ones that
/// it would take over.
fn known(config: &Config, look: Look) -> Option<Vec<Device>> {
    match look {
        Look::Members(members) => Some(members.into_iter().filter_map(device).collect()),
        Look::Nothing if !config.devices.is_empty() => Some(config.devices.clone()),
        Look::Nothing | Look::Older => None,
    }
}

/// The services whose secret or folder cannot be read. Whoever checks may well not be the user that the gateway runs as,
/// so that this is no error.
fn unopened(file: &Path, config: &Config) -> Vec<Problem> {
    let problem = |service: &Arc<Service>| {
        let error = routes::room(service).err()?;
        let key = match &error {
            OpenError::Secret { key, .. } | OpenError::Folder { key, .. } => *key,
            OpenError::Setting(error) => error.key,
        };
        let (message, hint) = match error {
            OpenError::Secret { source: SecretError::Denied { file, .. }, .. } => (
                format!("{}: this user may not read it, so it was not looked at", file.display()),
                "check as the user that the gateway runs as: sudo -u ztgate ztgate check",
            ),
            OpenError::Secret { source, .. } => (source.to_string(), UNTIL_THEN),
            OpenError::Folder { source, .. } => (source.to_string(), UNTIL_THEN),
            OpenError::Setting(error) => (error.why, UNTIL_THEN),
        };
        Some(Problem {
            file: file.file_name().map(PathBuf::from).unwrap_or_default(),
            line: Some(service.line),
            key: Some(format!("service.{}.{key}", service.name)),
            message,
            hint: Some(hint.to_owned()),
        })
    };
    config.services.iter().filter_map(problem).collect()
}

const UNTIL_THEN: &str =
    "until then the gateway does not start, and a running one keeps the rules that it has";

/// That names were held against no device, because this is between an upgrade and the restart.
fn unseen(file: &Path, config: &Config) -> Problem {
    Problem {
        file: file.file_name().map(PathBuf::from).unwrap_or_default(),
        line: None,
        key: None,
        message: format!(
            "the devices in {} could not be looked at, for an older ztgate wrote them; no name was held against theirs",
            config.state_dir.display()
        ),
        hint: Some("restart the gateway, and check again: sudo systemctl restart ztgate".to_owned()),
    }
}

/// A member that has a name, as a device list has it.
fn device(member: StoredMember) -> Option<Device> {
    let Profile { name, owner, groups, notes, until } = member.profile;
    Some(Device { name: name?, id: member.id, owner, groups, notes, until, line: 0 })
}

/// The code for a configuration that is not right: nothing can be said of one that cannot be read.
fn wrong(file: &Path) -> u8 {
    if std::fs::read(file).is_ok() { super::NO } else { super::CANNOT }
}

fn summary(config: &Config, devices: Option<usize>) -> String {
    let mut parts = vec![plural(config.services.len(), "service"), plural(config.groups.len(), "group")];
    parts.extend(devices.map(|count| plural(count, "device")));
    parts.push(plural(config.warnings.len(), "warning"));
    format!("{} is right: {} on network {}\n", config.file.display(), parts.join(", "), config.network)
}

fn listed(problems: &[Problem], before: &str, tone: Tone, style: Style) -> String {
    let mut text = String::new();
    for problem in problems {
        let said = problem.to_string();
        let (first, rest) = said.split_once('\n').map_or((said.as_str(), None), |(a, b)| (a, Some(b)));
        text.push_str(&format!("{}\n", style.paint(tone, &format!("{before}{first}"))));
        if let Some(rest) = rest {
            text.push_str(&format!("{rest}\n"));
        }
    }
    text
}

fn plural(count: usize, thing: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problems;

    /// stdout, stderr and exit code in one block, with the folder's own name left out.
    fn said(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ztgate.toml");
        std::fs::write(&file, text).unwrap();
        let Said { stdout, stderr, code } = check(&file, Style::PLAIN);
        let block = format!("-- stdout\n{stdout}-- stderr\n{stderr}-- exit {code}");
        block.replace(&folder.path().display().to_string(), "/etc/ztgate")
    }

    #[test]
    fn a_right_file_is_one_line() {
        let text = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n\
                    [service.nas]\nupstream = \"http://127.0.0.1:5000\"\n";
        insta::assert_snapshot!(said(text), @r#"
        -- stdout
        /etc/ztgate/ztgate.toml is right: 1 service, 0 groups, 1 warning on network 5e02d9cb41c0ffee
        -- stderr
        warning: ztgate.toml:3: service.nas.allow: missing, so nobody may open it
          hint: add a line like allow = ["*"], for any active member
        -- exit 0
        "#);
    }

    #[test]
    fn a_wrong_file_is_a_list_and_a_one() {
        insta::assert_snapshot!(said("network = \"5e02d9cb41c0ffee\"\nzone = \"home.lan\"\n"), @r#"
        -- stdout
        -- stderr
        ztgate.toml:2: zone: "home.lan" will not do: lan is no zone for a private network (mDNS and routers claim it); use home.arpa or internal
        1 problem in /etc/ztgate; a running gateway keeps the rules that it has
        -- exit 1
        "#);
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_a_warning() {
        let text = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.dl]\nkind = \"aria2\"\n\
                    upstream = \"http://127.0.0.1:6800\"\nallow = [\"*\"]\nsecret_file = \"none\"\n";
        insta::assert_snapshot!(said(text), @r"
        -- stdout
        /etc/ztgate/ztgate.toml is right: 1 service, 0 groups, 1 warning on network 5e02d9cb41c0ffee
        -- stderr
        warning: ztgate.toml:3: service.dl.secret_file: /etc/ztgate/none: there is no such file; check the path in ztgate.toml
          hint: until then the gateway does not start, and a running one keeps the rules that it has
        -- exit 0
        ");
    }

    #[test]
    fn names_are_held_against_the_devices_that_are_known() {
        let text = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[groups]\ntv = [\"mum\"]\n\
                    [service.nas]\nupstream = \"http://127.0.0.1:5000\"\nallow = [\"tv\", \"mun\"]\n";
        let against = |devices: Option<&str>| {
            let devices =
                devices.map(|text| config::devices::parse("x", text, &jiff::tz::TimeZone::UTC).unwrap());
            let bearers = devices.as_ref().map(|devices| devices.iter().map(Bearer::from));
            match against(config::from_text(text, &[]).unwrap(), bearers) {
                Ok(Checked { config, devices }) => (devices, Problems(&config.warnings).to_string()),
                Err(problems) => (None, Problems(&problems).to_string()),
            }
        };
        assert_eq!(against(None), (None, String::new()));
        let (devices, said) = against(Some("[device.phone]\nid = \"c4c8812898\"\nowner = \"mum\"\n"));
        assert_eq!(devices, Some(1));
        assert!(said.contains("called \"mun\" yet\n  hint: did you mean \"mum\"?"), "{said}");
        let (_, said) = against(Some("[device.tv]\nid = \"c4c8812898\"\nowner = \"mum\"\n"));
        assert!(said.contains("it is the name of device c4c8812898"), "{said}");
    }

    #[test]
    fn between_an_upgrade_and_the_restart_it_says_that_no_device_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let network = "5e02d9cb41c0ffee";
        let file = folder.path().join("ztgate.toml");
        let state_dir = folder.path().display();
        let text = format!("network = \"{network}\"\nzone = \"home.arpa\"\nstate_dir = \"{state_dir}\"\n");
        std::fs::write(&file, text).unwrap();
        drop(Members::open(folder.path()).unwrap());
        let words = "could not be looked at, for an older ztgate wrote them";
        assert!(!check(&file, Style::PLAIN).stderr.contains(words));
        let store = rusqlite::Connection::open(folder.path().join("members.db")).unwrap();
        store.pragma_update(None, "user_version", 2).unwrap();
        let Said { stderr, code, .. } = check(&file, Style::PLAIN);
        assert!(stderr.contains(words) && stderr.contains("sudo systemctl restart ztgate"), "{stderr}");
        assert_eq!(code, 0);
    }

    #[test]
    fn json_has_the_same_answer() {
        let said = check_json(Path::new("/nonexistent/ztgate.toml"));
        let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((said.code, &json["ok"]), (3, &false.into()));
        assert_eq!(json["problems"][0]["file"], "ztgate.toml");
    }
}
