//! Rotation: another intermediate under the same root, so that no device has to learn anything.

use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use rcgen::KeyPair;

use super::authority::{self, Ca};
use super::describe::{Description, describe};
use super::layout::existing;
use super::{CaError, RootKey, files, mint, pem};

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    pub before: Option<Description>,
    pub after: Description,
}

/// Makes a new intermediate with a new key, signed by the root, and puts it in the old one's place. The old key is removed.
///
/// Leaves under the old one stay good until they end, so whoever is connected, or holds one, notices nothing. A running
/// gateway takes the new one over when it reads its files anew.
///
/// # Errors
/// The clock is wrong, the root is of another making or has ended, or the disk refuses; the old intermediate is then still
/// there, whole.
pub fn rotate(state_dir: &Path, root_key: RootKey, now: Timestamp) -> Result<Rotated, CaError> {
    if now < mint::EARLIEST {
        return Err(CaError::Clock { now });
    }
    let layout = existing(state_dir)?;
    // One at a time; the kernel lets go of it however this ends.
    let held =
        File::open(&layout.dir).and_then(|dir| dir.lock().map(|()| dir)).map_err(files::at(&layout.dir))?;
    let facts = pem::facts(&layout.root, &root_key.root)?;
    if facts.ends < now {
        return Err(CaError::CaEnded { file: layout.root, at: facts.ends, dir: layout.dir });
    }
    let not_ours =
        || CaError::Malformed { file: layout.root.clone(), reason: "not a root that ztgate made".to_owned() };
    let [zone] = &facts.zones[..] else { return Err(not_ours()) };
    let zone = zone.parse().map_err(|_| not_ours())?;
    // What is there may be unreadable: to be rid of that is a reason to rotate.
    let before = describe(state_dir).ok().and_then(|mut ca| ca.pop());
    if let Some(Description { file, begins, .. }) = before.as_ref().filter(|before| now < before.begins) {
        return Err(CaError::RotatedAhead { file: file.clone(), at: *begins });
    }
    let (certificate, key) = authority::make_intermediate(&zone, &root_key.issuer()?, facts.ends, now)?;
    // While the old one is still there.
    let made = (pem::chain_in(&layout.root, &certificate)?.swap_remove(0), KeyPair::from_pem(&key)?);
    let proved = Ca::assembled(existing(state_dir)?, made, &zone, now)?;
    proved.void(now).map_or(Ok(()), Err)?;
    layout.put(&certificate, &key)?;
    let after = describe(state_dir)?.pop().ok_or_else(not_ours)?;
    drop(held);
    Ok(Rotated { before, after })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::ca::RootKeyFile;
    use crate::ca::layout::Layout;
    use crate::model::Zone;

    const NOW: Timestamp = Timestamp::constant(1_793_534_400, 0); // 2026-11-01T12:00:00Z

    fn zone() -> Zone {
        "home.arpa".parse().unwrap()
    }

    fn years(count: i64) -> Timestamp {
        NOW + jiff::SignedDuration::from_hours(count * 365 * 24)
    }

    fn made() -> (tempfile::TempDir, Ca) {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::open_or_create(dir.path(), &zone(), NOW).unwrap();
        (dir, ca)
    }

    fn key(dir: &Path) -> RootKey {
        match RootKeyFile::read(dir, None).unwrap() {
            RootKeyFile::Open(key) => key,
            RootKeyFile::Locked(_) => unreachable!(),
        }
    }

    /// The files of the first versions: certificate and key apart.
    fn apart(dir: &Path) {
        let certs = dir.join("certs");
        let both = certs.join("intermediate-and-key.pem");
        let text = std::fs::read_to_string(&both).unwrap();
        let cut = text.find("-----BEGIN CERTIFICATE").unwrap();
        std::fs::write(certs.join("intermediate.pem"), &text[cut..]).unwrap();
        std::fs::copy(&both, certs.join("intermediate.key")).unwrap();
        std::fs::write(certs.join("intermediate.key"), &text[..cut]).unwrap();
        std::fs::remove_file(both).unwrap();
    }

    fn files(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir.join("certs")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn another_intermediate_signs_from_now_on_under_the_same_root() {
        let (dir, old) = made();
        let rotated = rotate(dir.path(), key(dir.path()), years(3)).unwrap();
        let new = Ca::open_or_create(dir.path(), &zone(), years(3)).unwrap();
        assert_eq!(new.root(), old.root());
        assert_ne!(new.intermediate(), old.intermediate());
        assert_ne!(rotated.before.unwrap().sha256, rotated.after.sha256);
        assert_eq!(new.ends(), years(13));
        assert_eq!(files(dir.path()), ["intermediate-and-key.pem", "root", "root.pem"]);
        let file = dir.path().join("certs/intermediate-and-key.pem");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_clock_that_is_behind_costs_no_intermediate() {
        let (dir, _) = made();
        let back = |years_back: i64| rotate(dir.path(), key(dir.path()), years(-years_back));
        let untouched = || std::fs::read(super::super::issuer_file(dir.path())).unwrap();
        let before = untouched();
        let said = back(1).unwrap_err().to_string();
        assert!(said.contains("timedatectl") && untouched() == before, "{said}");
        // Not even where there is none to be behind of.
        std::fs::remove_file(super::super::issuer_file(dir.path())).unwrap();
        assert!(matches!(back(1), Err(CaError::NotYet { .. })));
        assert_eq!(files(dir.path()), ["root", "root.pem"]);
        rotate(dir.path(), key(dir.path()), NOW).unwrap();
    }

    #[test]
    fn many_rotations_at_once_leave_one_that_works() {
        let (dir, ca) = made();
        let all = std::thread::scope(|scope| {
            let rotation =
                || scope.spawn(|| (0..8).all(|_| rotate(dir.path(), key(dir.path()), NOW).is_ok()));
            let threads: Vec<_> = (0..4).map(|_| rotation()).collect();
            threads.into_iter().all(|thread| thread.join().unwrap())
        });
        assert!(all, "each of them succeeds");
        assert_ne!(Ca::reopen(dir.path(), &zone(), NOW).unwrap().intermediate(), ca.intermediate());
    }

    #[test]
    fn no_intermediate_outlives_its_root() {
        let (dir, old) = made();
        rotate(dir.path(), key(dir.path()), years(15)).unwrap();
        assert_eq!(Ca::reopen(dir.path(), &zone(), years(15)).unwrap().ends(), old.root_ends());
        let late = rotate(dir.path(), key(dir.path()), years(21)).unwrap_err();
        assert!(matches!(late, CaError::CaEnded { .. }), "{late}");
    }

    #[test]
    fn an_intermediate_that_ended_says_how_to_go_on_and_goes_on() {
        let (dir, _) = made();
        let ended = Ca::reopen(dir.path(), &zone(), years(11)).unwrap_err().to_string();
        assert!(ended.contains("ztgate certs rotate"), "{ended}");
        rotate(dir.path(), key(dir.path()), years(11)).unwrap();
        Ca::reopen(dir.path(), &zone(), years(11)).unwrap();
    }

    #[test]
    fn files_of_the_first_versions_are_opened_and_rotated() {
        let (dir, ca) = made();
        apart(dir.path());
        assert_eq!(Ca::reopen(dir.path(), &zone(), NOW).unwrap().intermediate(), ca.intermediate());
        rotate(dir.path(), key(dir.path()), NOW).unwrap();
        assert_ne!(Ca::reopen(dir.path(), &zone(), NOW).unwrap().intermediate(), ca.intermediate());
        assert_eq!(files(dir.path()), ["intermediate-and-key.pem", "root", "root.pem"]);
    }

    /// Wherever a rotation is cut off, what is there is one whole intermediate, old or new, and the next rotation succeeds.
    #[test]
    fn a_crash_at_any_step_leaves_one_that_works() {
        type Step = fn(&Path);
        let steps: [(&str, Step); 4] = [
            ("the draft is begun", |certs| {
                std::fs::write(certs.join("intermediate-and-key.pem.partial"), "-----BEGIN").unwrap();
            }),
            ("the new one has its name, the old files are there", |certs| {
                std::fs::write(certs.join("intermediate-and-key.pem"), fresh(certs)).unwrap();
                private(&certs.join("intermediate-and-key.pem"));
            }),
            ("the old key is gone", |certs| {
                std::fs::write(certs.join("intermediate-and-key.pem"), fresh(certs)).unwrap();
                private(&certs.join("intermediate-and-key.pem"));
                std::fs::remove_file(certs.join("intermediate.key")).unwrap();
            }),
            ("nothing happened yet", |_| ()),
        ];
        for (what, step) in steps {
            let (dir, ca) = made();
            apart(dir.path());
            step(&dir.path().join("certs"));
            let opened = Ca::open_or_create(dir.path(), &zone(), NOW);
            let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(opened.root(), ca.root(), "{what}");
            rotate(dir.path(), key(dir.path()), NOW).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(files(dir.path()), ["intermediate-and-key.pem", "root", "root.pem"], "{what}");
        }
    }

    fn private(file: &Path) {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// A new intermediate as a rotation writes it.
    fn fresh(certs: &Path) -> String {
        let state_dir = certs.parent().unwrap();
        let ends = Ca::reopen(state_dir, &zone(), NOW).unwrap().root_ends();
        let issuer = key(state_dir).issuer().unwrap();
        let (certificate, key) = authority::make_intermediate(&zone(), &issuer, ends, NOW).unwrap();
        format!("{}{certificate}", &*key)
    }

    #[test]
    fn a_rotation_that_cannot_be_written_changes_nothing() {
        let (dir, ca) = made();
        // Not even root can make a file where a folder of that name is.
        std::fs::create_dir(dir.path().join("certs/intermediate-and-key.pem.partial")).unwrap();
        rotate(dir.path(), key(dir.path()), NOW).unwrap_err();
        assert_eq!(Ca::reopen(dir.path(), &zone(), NOW).unwrap().intermediate(), ca.intermediate());
        assert_eq!(Layout::of(dir.path()).unwrap().issuer.key(), super::super::issuer_file(dir.path()));
    }
}
