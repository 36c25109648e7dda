//! Device lists as files: `devices import` and `devices export`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cli::style::Style;
use crate::cli::{NO, ask, order};
use crate::model::{Label, MemberId, MemberState};
use crate::sync::{DeviceView, Listed, Order, Profile};

use super::called;

pub(super) fn import(
    file: &Path,
    dry_run: bool,
    json: bool,
    config: &Path,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let devices = match read(&text) {
        Ok(devices) => devices,
        Err(problem) => {
            eprintln!("ztgate: {}: {problem}", file.display());
            return Ok(ExitCode::from(NO));
        }
    };
    order::carry_out(&Order::Import { devices, dry_run }, json, config, out, style)
}

pub(super) fn export(file: Option<&Path>, config: &Path, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let devices: Vec<DeviceView> = ask::gateway(config, "/devices")?;
    let (listed, left_out) = listed(&devices);
    let text = write(&listed)?;
    match file {
        Some(file) => replace(file, &text).with_context(|| format!("{}", file.display()))?,
        None => out.write_all(text.as_bytes())?,
    }
    if !left_out.is_empty() {
        // Whoever is not let in must not be so after an import; whoever has no name cannot stand in the list.
        eprintln!("left out, not active or without a name: {}", left_out.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Those that a list admits, and those that cannot stand in it.
fn listed(devices: &[DeviceView]) -> (Vec<Listed>, Vec<String>) {
    let (mut listed, mut left_out) = (Vec::new(), Vec::new());
    for device in devices.iter().filter(|device| device.state != MemberState::Pending) {
        if device.state != MemberState::Active || device.name.is_none() {
            left_out.push(called(device));
            continue;
        }
        let DeviceView { name, owner, groups, notes, until, .. } = device.clone();
        listed.push(Listed { id: device.member, profile: Profile { name, owner, groups, notes, until } });
    }
    (listed, left_out)
}

/// Writes the whole file or nothing, also where the disk is full. What is no plain file (a link, `/dev/stdout`) is written
/// in place.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let before = match std::fs::symlink_metadata(file) {
        Ok(before) if !before.is_file() => return std::fs::write(file, text),
        Ok(before) => Some(before.permissions()),
        Err(_) => None,
    };
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    let mut open = File::options().write(true).create_new(true).open(&draft)?;
    let written = open
        .write_all(text.as_bytes())
        .and_then(|()| before.map_or(Ok(()), |before| open.set_permissions(before)))
        .and_then(|()| std::fs::rename(&draft, file));
    if written.is_err() {
        // What is left of it is worth nothing, and the first error is the one to tell.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

/// The file's shape.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DeviceList {
    #[serde(default)]
    device: BTreeMap<Label, Paragraph>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Paragraph {
    id: MemberId,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Label>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// With its offset from UTC (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

fn read(text: &str) -> Result<Vec<Listed>, toml::de::Error> {
    let list: DeviceList = toml::from_str(text)?;
    let device = |(name, Paragraph { id, owner, groups, note, until })| Listed {
        id,
        profile: Profile { name: Some(name), owner, groups, notes: note, until },
    };
    Ok(list.device.into_iter().map(device).collect())
}

fn write(devices: &[Listed]) -> anyhow::Result<String> {
    let mut list = DeviceList::default();
    for Listed { id, profile } in devices {
        let Profile { name, owner, groups, notes, until } = profile.clone();
        let Some(name) = name else {
            bail!("{id} has no name; give it one: ztgate devices rename {id} NAME")
        };
        list.device.insert(name, Paragraph { id: *id, owner, groups, note: notes, until });
    }
    Ok(toml::to_string(&list)?)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::devices::tests::devices;

    #[test]
    fn what_is_written_is_read_back() {
        let (mut listed, left_out) = listed(&devices());
        let text = write(&listed).unwrap();
        insta::assert_snapshot!(text, @r#"
        [device.kids-tablet]
        id = "a000000002"
        owner = "tim"
        groups = ["family", "kids"]
        until = "2026-11-24T17:00:00Z"

        [device.red-phone]
        id = "c4c8812898"
        owner = "mum"
        groups = ["family"]
        note = "the red one"
        "#);
        listed.sort_by(|a, b| a.profile.name.cmp(&b.profile.name));
        assert_eq!(read(&text).unwrap(), listed);
        assert_eq!(left_out, ["guest-laptop", "old-phone", "a000000005"]);
    }

    #[test]
    fn what_is_not_understood_is_not_imported() {
        for (text, hint) in [
            ("[device.tv]\nid = \"tv\"", "a member ID is 10 hexadecimal digits"),
            ("[device.tv]\nid = \"a000000001\"\nexpires = 2026-12-24", "unknown field `expires`"),
            ("[device.\"The TV\"]\nid = \"a000000001\"", "a name is 1 to 63 of a-z"),
            ("[groups]\nkids = []", "unknown field `groups`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("devices.toml"), folder.path().join("link.toml"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        replace(&file, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "newer").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "newer");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "and nothing is left beside them");
        assert!(replace(&folder.path().join("missing/devices.toml"), "new").is_err());
    }
}
