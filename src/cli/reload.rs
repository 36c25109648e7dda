//! A changed configuration: noticed, and put in force without dropping a connection.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::Watcher;
use tokio::sync::mpsc;

use crate::ca;
use crate::config::{self, Config, Problems, Tls};
use crate::gateway::Gateway;

/// Editors write a file in several steps; the last one counts.
const SETTLE: Duration = Duration::from_millis(200);

/// Tells when the configuration's files changed.
pub struct Changes {
    /// The files and folders that the configuration is made of.
    paths: Vec<PathBuf>,
    notes: mpsc::Receiver<()>,
    note: mpsc::Sender<()>,
    /// `None` where the system cannot watch files.
    watcher: Option<notify::RecommendedWatcher>,
}

impl Changes {
    pub fn watch(config: &Config) -> Self {
        let (note, notes) = mpsc::channel(1);
        let paths = paths(config);
        let watcher = watch_files(&paths, note.clone());
        Self { paths, notes, note, watcher }
    }

    /// Watches the same paths anew, since a folder that was made anew is another one. To be done before the files are
    /// read: what changes after that is then noticed.
    pub fn rearm(&mut self) {
        self.watcher = watch_files(&self.paths, self.note.clone());
    }

    /// Watches what a new configuration names.
    pub fn follow(&mut self, config: &Config) {
        let paths = paths(config);
        if paths != self.paths {
            self.paths = paths;
            self.rearm();
        }
    }

    pub async fn next(&mut self) {
        // Without a watcher this waits for ever, since a sender is kept here.
        self.notes.recv().await;
        tokio::time::sleep(SETTLE).await;
        while self.notes.try_recv().is_ok() {}
    }
}

/// What a running gateway follows: the configuration, and what the certificates are made of.
fn paths(config: &Config) -> Vec<PathBuf> {
    let mut paths = config::watch_paths(config);
    // Also where it only stands in for an ACME server.
    if !matches!(config.tls, Tls::Files { .. }) {
        paths.push(ca::issuer_file(&config.state_dir));
    }
    paths
}

/// Puts a changed configuration in force; one that is not right changes nothing.
pub fn reload(gateway: &Gateway, file: &Path, changes: &mut Changes) {
    changes.rearm();
    match config::load(file) {
        Ok(config) => {
            changes.follow(&config);
            match gateway.reload(config) {
                Ok(warnings) => {
                    tracing::info!("the new configuration is in force");
                    for warning in warnings {
                        tracing::warn!("{warning}");
                    }
                }
                Err(why) => tracing::error!("the old configuration stays: {why}"),
            }
        }
        Err(problems) => {
            let why = Problems(&problems).to_string();
            tracing::error!("the old configuration stays:\n{why}");
            gateway.keep_old_config(why);
        }
    }
}

/// Without inotify, SIGHUP still works.
fn watch_files(paths: &[PathBuf], changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let watched = paths.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns(&event, &watched)) {
            // One note is enough.
            let _ = changed.try_send(());
        }
    })
    .map_err(|error| tracing::warn!("files are not watched: {error}; send SIGHUP after a change"))
    .ok()?;
    let folders: BTreeSet<PathBuf> = paths
        .iter()
        .flat_map(|path| [path.is_dir().then(|| path.clone()), path.parent().map(Path::to_owned)])
        .flatten()
        .collect();
    for folder in folders {
        if folder.is_dir() && watcher.watch(&folder, notify::RecursiveMode::NonRecursive).is_err() {
            tracing::warn!("{} is not watched; send SIGHUP after a change", folder.display());
        }
    }
    Some(watcher)
}

/// Whether an event is about one of these paths, or a configuration file in one of them.
fn concerns(event: &notify::Event, watched: &[PathBuf]) -> bool {
    use notify::EventKind::{Create, Modify, Remove};
    let ours = |path: &PathBuf| {
        let inside = path.parent().is_some_and(|folder| watched.iter().any(|watched| watched == folder));
        watched.contains(path) || inside && path.extension().is_some_and(|end| end == "toml")
    };
    matches!(event.kind, Create(_) | Modify(_) | Remove(_)) && event.paths.iter().any(ours)
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, EventKind, ModifyKind};

    use super::*;

    const CONFIG: &str = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"state\"\n";
    const DEVICES: &str = "[device.laptop]\nid = \"c4c8812898\"\n";

    #[tokio::test]
    async fn every_way_to_change_a_file_is_noticed_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (file, policy) = (folder.path().join("ztgate.toml"), folder.path().join("policy"));
        std::fs::create_dir(&policy).unwrap();
        std::fs::write(&file, CONFIG).unwrap();
        std::fs::write(policy.join("devices.toml"), DEVICES).unwrap();
        let issuer = ca::issuer_file(&folder.path().join("state"));
        std::fs::create_dir_all(issuer.parent().unwrap()).unwrap();
        let mut changes = Changes::watch(&config::load(&file).unwrap());

        let replaced = || {
            let draft = folder.path().join("ztgate.toml.draft");
            std::fs::write(&draft, CONFIG).unwrap();
            std::fs::rename(draft, &file).unwrap();
        };
        let device_list_written = || std::fs::write(policy.join("devices.toml"), DEVICES).unwrap();
        let rotated = || {
            let draft = issuer.with_extension("partial");
            std::fs::write(&draft, "").unwrap();
            std::fs::rename(draft, &issuer).unwrap();
        };
        let steps: [(&str, &dyn Fn()); 9] = [
            ("an intermediate rotated", &rotated),
            ("replaced by an editor", &replaced),
            ("and again", &replaced),
            ("written in place", &|| std::fs::write(&file, CONFIG).unwrap()),
            ("a policy file removed", &|| std::fs::remove_file(policy.join("devices.toml")).unwrap()),
            ("and put back", &device_list_written),
            ("the policy folder removed", &|| std::fs::remove_dir_all(&policy).unwrap()),
            ("made anew", &|| std::fs::create_dir(&policy).unwrap()),
            ("and filled", &device_list_written),
        ];
        for (what, change) in steps {
            change();
            let noticed = tokio::time::timeout(Duration::from_secs(5), changes.next()).await;
            assert!(noticed.is_ok(), "{what}: not noticed");
            // As a reload does; to read is no change, or it would go on for ever.
            changes.rearm();
            changes.follow(&config::load(&file).unwrap());
            assert!(changes.notes.try_recv().is_err(), "{what}: noticed twice");
        }
    }

    #[test]
    fn only_what_the_configuration_is_made_of_concerns_it() {
        let watched =
            ["/etc/ztgate/ztgate.toml", "/etc/ztgate/policy", "/etc/ssl/nas.pem"].map(PathBuf::from);
        let modified = EventKind::Modify(ModifyKind::Any);
        for (kind, path, expected) in [
            (modified, "/etc/ztgate/ztgate.toml", true),
            (modified, "/etc/ssl/nas.pem", true),
            (modified, "/etc/ssl/other.pem", false),
            (modified, "/etc/ztgate/policy/devices.toml", true),
            (modified, "/etc/ztgate/policy/.devices.toml.swp", false),
            (EventKind::Create(CreateKind::Folder), "/etc/ztgate/policy", true),
            (EventKind::Access(AccessKind::Any), "/etc/ztgate/ztgate.toml", false),
        ] {
            let event = notify::Event::new(kind).add_path(path.into());
            assert_eq!(concerns(&event, &watched), expected, "{kind:?} {path}");
        }
    }
}
