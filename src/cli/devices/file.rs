//! Device lists as files: `devices import` and `devices export`.

use std::fs::{File, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::cli::style::Style;
use crate::cli::{CANNOT, NO, ask, order};
use crate::config::devices as list;
use crate::config::{self, Device, Problems};
use crate::linux::limits;
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
/// in place. A file that was not there before is for our eyes only: it says who lives here.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let before = match std::fs::symlink_metadata(file) {
        Ok(before) if !before.is_file() => return std::fs::write(file, text),
        Ok(before) => Some(before.permissions()),
        Err(_) => None,
    };
    let mut path = file.as_os_str().to_owned();
    path.push(".draft");
    let path = PathBuf::from(path);
    let mut draft = draft(&path)?;
    let written = draft
        .write_all(text.as_bytes())
        .and_then(|()| before.map_or(Ok(()), |before| draft.set_permissions(before)))
        .and_then(|()| draft.sync_all())
        .and_then(|()| std::fs::rename(&path, file));
    if written.is_err() {
        // What is left of it is worth nothing, and the first error is the one to tell.
        let _ = std::fs::remove_file(&path);
    }
    written
}

/// An empty file of ours at this place, locked, so that two exports do not write into each other. One that was left behind,
/// by an export that was killed, is taken over; its lock ended with that export. What is not evidently a draft of ours is
/// left alone.
fn draft(path: &Path) -> std::io::Result<File> {
    let refused = |why: &str| std::io::Error::other(format!("{}: {why}", path.display()));
    let options = || {
        let mut options = File::options();
        // Not emptied before it is locked; O_NONBLOCK, lest a FIFO there makes us wait.
        options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options
    };
    let open = match options().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options().open(path),
        made => made,
    };
    let open = open.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENXIO) => refused("no plain file; remove it"),
        _ => error,
    })?;
    match open.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(refused("another export is being written")),
        locked => locked?,
    }
    let (opened, found) = (open.metadata()?, std::fs::symlink_metadata(path)?);
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
        return Err(refused("another export was faster; try again"));
    }
    if !opened.is_file() || opened.nlink() != 1 || opened.uid() != limits::user() {
        return Err(refused("not a draft of ours; remove it"));
    }
    open.set_permissions(Permissions::from_mode(0o600))?;
    open.set_len(0)?;
    Ok(open)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_draft_that_was_left_behind_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (file, left) = (folder.path().join("devices.toml"), folder.path().join("devices.toml.draft"));
        std::fs::write(&left, "half of a longer list than the one to come").unwrap();
        std::fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        replace(&file, "whole").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "whole");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left.exists());
    }

    #[test]
    fn what_is_no_draft_of_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, left) = (folder.path().join("devices.toml"), folder.path().join("devices.toml.draft"));
        let other = folder.path().join("other");
        std::fs::write(&other, "dear").unwrap();
        let refused = |why: &str| {
            let error = replace(&file, "new").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(std::fs::read_to_string(&other).unwrap(), "dear");
            std::fs::remove_file(&left).unwrap();
        };
        std::os::unix::fs::symlink(&other, &left).unwrap();
        refused("no plain file");
        std::fs::hard_link(&other, &left).unwrap();
        refused("not a draft of ours");
        let _under_way = draft(&left).unwrap();
        refused("another export is being written");
        assert!(!file.exists());
    }
}
