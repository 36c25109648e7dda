//! Whether the folders are there that a service's configuration names: looked at as the service sees them, where its file
//! system is ours, and else told how to look there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Finding;
use super::whereabouts::Whereabouts;
use crate::linux::holder::Holder;
use crate::linux::users;

/// What is to be said of the folders under `key`, by the names that they have there.
pub fn look(
    service: &str,
    key: &str,
    places: &[(String, PathBuf)],
    whereabouts: &Whereabouts,
) -> Vec<Finding> {
    if places.is_empty() {
        return Vec::new();
    }
    let list = |quote: fn(&Path) -> String, between: &str| {
        places.iter().map(|(_, path)| quote(path)).collect::<Vec<_>>().join(between)
    };
    let ls = format!("ls -ld {}", list(shell, " "));
    let (why, mend) = match whereabouts {
        Whereabouts::Here(process) => return here(service, key, places, process.as_ref()),
        Whereabouts::Forwarded | Whereabouts::HostNetwork => (
            "it has a file system of its own, a container's as a rule",
            format!("look there, and mount what is missing: docker exec CONTAINER {ls}"),
        ),
        Whereabouts::BesideUs => (
            "no process of it is to be seen from this container",
            format!("look where it runs, in its own container if it has one: {ls}"),
        ),
        Whereabouts::OutsideOurContainer => (
            "it runs outside this container",
            format!("look where it runs, in its own container if it has one: {ls}"),
        ),
        Whereabouts::OtherMachine => {
            ("it runs on another machine", format!("look there, as the user that it runs as: {ls}"))
        }
        Whereabouts::Windows { .. } => {
            ("it runs on Windows", format!("look there, in PowerShell: Test-Path {}", list(powershell, ", ")))
        }
        Whereabouts::Unknown => return Vec::new(),
    };
    vec![Finding::warn(format!("{service}'s {key} cannot be looked at from here: {why}"), mend)]
}

fn here(service: &str, key: &str, places: &[(String, PathBuf)], process: Option<&Holder>) -> Vec<Finding> {
    let root = process.map_or_else(|| PathBuf::from("/"), Holder::root);
    let user = process.and_then(Holder::user).map(|user| users::name(user).unwrap_or(user.to_string()));
    let amiss = places.iter().filter_map(|(name, path)| {
        let found = Found::at(path, &root);
        let (what, mend) = found.in_words(service, path, user.as_deref())?;
        Some(Finding::warn(format!("{service}'s {key}.{name}, {}, {what}", path.display()), mend))
    });
    let amiss: Vec<Finding> = amiss.collect();
    if amiss.is_empty() { vec![Finding::ok(format!("{service}'s {key} are all there"))] } else { amiss }
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Folder,
    NoFolder,
    Nothing,
    /// It is there for others, but not among what this service is shown.
    Hidden,
    /// We may not look, or cannot.
    Unseen(ErrorKind),
}

impl Found {
    /// Looks with the eyes of a process whose root is that.
    fn at(path: &Path, root: &Path) -> Self {
        let inside = root.join(path.strip_prefix("/").unwrap_or(path));
        match std::fs::metadata(inside) {
            Ok(found) if found.is_dir() => Self::Folder,
            Ok(_) => Self::NoFolder,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if root != Path::new("/") && path.is_dir() { Self::Hidden } else { Self::Nothing }
            }
            Err(error) => Self::Unseen(error.kind()),
        }
    }

    /// What is wrong with a folder, and its mend; nothing if it is one.
    fn in_words(&self, service: &str, path: &Path, user: Option<&str>) -> Option<(String, String)> {
        let path = shell(path);
        let make = match user {
            Some(user) => format!("sudo install -d -o {user} {path}"),
            None => format!("sudo mkdir -p {path}, and give it to the user that {service} runs as"),
        };
        Some(match self {
            Self::Folder => return None,
            Self::NoFolder => ("is no folder".to_owned(), format!("move away what is there; then: {make}")),
            Self::Nothing => ("is not there".to_owned(), make),
            Self::Hidden => (
                format!("is there, but {service} is not shown it"),
                format!("see ProtectHome=, ReadWritePaths= and the like in {service}'s unit: systemctl cat"),
            ),
            Self::Unseen(why) => (
                format!("cannot be looked at: {why}"),
                match user {
                    Some(user) => {
                        format!("look as the user that {service} runs as: sudo -u {user} ls -ld {path}")
                    }
                    None => "sudo ztgate doctor".to_owned(),
                },
            ),
        })
    }
}

/// A path as a shell takes it.
fn shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A path as PowerShell takes it.
fn powershell(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn what_is_at_a_path_is_told_apart_and_never_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let (house, root) = (folder.path().join("house"), folder.path().join("root"));
        std::fs::create_dir(&house).unwrap();
        std::fs::create_dir_all(root.join("srv/films")).unwrap();
        std::fs::write(root.join("srv/file"), "").unwrap();
        std::os::unix::fs::symlink("loop", root.join("srv/loop")).unwrap();
        for (path, expected) in [
            (Path::new("/srv/films"), Found::Folder),
            (Path::new("/srv/file"), Found::NoFolder),
            (Path::new("/srv/none"), Found::Nothing),
            (Path::new("/srv/file/films"), Found::Nothing),
            (&house, Found::Hidden),
        ] {
            assert_eq!(Found::at(path, &root), expected, "{}", path.display());
        }
        assert!(matches!(Found::at(Path::new("/srv/loop"), &root), Found::Unseen(_)));
        assert_eq!(Found::at(&house, Path::new("/")), Found::Folder);
        assert_eq!(Found::at(&house.join("none"), Path::new("/")), Found::Nothing);
    }

    #[test]
    fn a_mend_names_the_user_that_the_service_runs_as() {
        let mend =
            |found: &Found, user| found.in_words("dl", Path::new("/srv/my films"), user).map(|it| it.1);
        let denied = Found::Unseen(ErrorKind::PermissionDenied);
        for (found, user, expected) in [
            (&Found::Folder, None, None),
            (&Found::Nothing, Some("aria"), Some("sudo install -d -o aria '/srv/my films'")),
            (
                &Found::Nothing,
                None,
                Some("sudo mkdir -p '/srv/my films', and give it to the user that dl runs as"),
            ),
            (
                &denied,
                Some("aria"),
                Some("look as the user that dl runs as: sudo -u aria ls -ld '/srv/my films'"),
            ),
            (&denied, None, Some("sudo ztgate doctor")),
        ] {
            assert_eq!(mend(found, user).as_deref(), expected, "{found:?} {user:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_called_missing() {
        let places =
            [("a".to_owned(), PathBuf::from("/srv/a")), ("b".to_owned(), PathBuf::from("D:/it's b"))];
        for (whereabouts, why, mend) in [
            (Whereabouts::OtherMachine, "on another machine", "runs as: ls -ld /srv/a 'D:/it'\\''s b'"),
            (Whereabouts::Forwarded, "a container's", "docker exec CONTAINER ls -ld /srv/a"),
            (Whereabouts::HostNetwork, "a container's", "docker exec CONTAINER ls -ld /srv/a"),
            (Whereabouts::BesideUs, "from this container", "in its own container if it has one: ls -ld"),
            (Whereabouts::OutsideOurContainer, "outside this container", "in its own container if"),
            (
                Whereabouts::Windows { shares_loopback: true },
                "on Windows",
                "Test-Path '/srv/a', 'D:/it''s b'",
            ),
        ] {
            let found = look("dl", "dirs", &places, &whereabouts);
            let [Finding { grade: Grade::Warn, what, mend: Some(told) }] = &found[..] else {
                panic!("{found:?}")
            };
            assert!(
                what.starts_with("dl's dirs cannot be looked at from here: ") && what.contains(why),
                "{what}"
            );
            assert!(told.contains(mend) && !told.contains("mkdir") && !told.contains("install"), "{told}");
            assert_eq!(look("dl", "dirs", &[], &whereabouts), []);
        }
        assert_eq!(look("dl", "dirs", &places, &Whereabouts::Unknown), [], "other findings say why");
    }
}
