//! Device lists as files: `devices import` and `devices export`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::cli::style::Style;
use crate::cli::{CANNOT, NO, ask, order};
use crate::config::devices as list;
use crate::config::{self, Device, Problems};
use crate::model::MemberState;
use crate::sync::{DeviceView, Listed, Order};

use super::called;

pub(super) fn import(
    file: &Path,
    dry_run: bool,
    json: bool,
    path: &Path,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    // A configuration that is wrong at the moment keeps nobody from importing.
    let zone = config::load(path).map_or_else(|_| TimeZone::system(), |config| config.time_zone);
    let devices = match list::read(file, &zone) {
        Ok(devices) => devices.into_iter().map(Listed::from).collect(),
        Err(problems) => {
            eprintln!("{}", Problems(&problems));
            return Ok(ExitCode::from(if file.exists() { NO } else { CANNOT }));
        }
    };
    order::carry_out(&Order::Import { devices, dry_run }, json, path, out, style)
}

pub(super) fn export(file: Option<&Path>, config: &Path, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let devices: Vec<DeviceView> = ask::gateway(config, "/devices")?;
    let (listed, left_out) = listed(&devices);
    let text = list::write(&listed);
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
fn listed(devices: &[DeviceView]) -> (Vec<Device>, Vec<String>) {
    let (mut listed, mut left_out) = (Vec::new(), Vec::new());
    for device in devices.iter().filter(|device| device.state != MemberState::Pending) {
        let DeviceView { member: id, name, owner, groups, notes, until, .. } = device.clone();
        match name {
            Some(name) if device.state == MemberState::Active => {
                listed.push(Device { name, id, owner, groups, until, notes, line: 0 });
            }
            // Nobody would miss the gateway itself.
            None if device.own => {}
            _ => left_out.push(called(device)),
        }
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::devices::tests::devices;

    #[test]
    fn a_list_has_whom_it_would_let_in_again() {
        let (listed, left_out) = listed(&devices());
        insta::assert_snapshot!(list::write(&listed), @r#"
        [device.kids-tablet]
        id = "a000000002"
        owner = "tim"
        groups = ["family", "kids"]
        until = 2026-11-24T17:00:00Z

        [device.red-phone]
        id = "c4c8812898"
        owner = "mum"
        groups = ["family"]
        notes = "the red one"
        "#);
        assert_eq!(left_out, ["guest-laptop", "old-phone", "a000000005"]);
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
