//! A real WebDAV server, WsgiDAV: litmus scores the same through the gateway, and rclone copies, moves and syncs.

use std::path::Path;
use std::process::Command;

use super::door::Door;
use super::needs;
use super::process::{Running, file_of, free_port, knowing, say, sha256};

/// A gateway with a WebDAV server behind it, whose files are in the folder `dav`.
struct Shelf {
    door: Door,
    direct: String,
    _server: Running,
}

impl Shelf {
    fn open() -> Option<Self> {
        let wsgidav = needs("wsgidav")?;
        let (door, address) = (Door::open(), free_port());
        let shared = door.folder.path().join("dav");
        std::fs::create_dir(&shared).unwrap();
        let server = Running::until_it_listens(
            Command::new(wsgidav)
                .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
                .args(["--auth", "anonymous", "--server", "cheroot", "--root"])
                .arg(shared),
            address,
            &door.folder.path().join("wsgidav.log"),
        );
        door.serve("dav", address);
        Some(Self { door, direct: format!("http://{address}/"), _server: server })
    }

    fn folder(&self) -> &Path {
        self.door.folder.path()
    }
}

/// Plain only: litmus (neon) takes no CA of one's own.
#[test]
fn litmus_scores_through_the_gateway_as_without_it() {
    let Some(litmus) = needs("litmus") else { return };
    let Some(shelf) = Shelf::open() else { return };
    let score = |url: &str| {
        let mut command = knowing(&["dav.localhost"], shelf.folder(), &litmus);
        // -k: go on after a suite with failures.
        let output = command.args(["-k", url]).current_dir(shelf.folder()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> =
            told.lines().filter(|line| line.starts_with("<- summary")).map(str::to_owned).collect();
        lines.sort();
        assert!(lines.len() >= 4, "{told}{}", String::from_utf8_lossy(&output.stderr));
        lines
    };
    let direct = score(&shelf.direct);
    assert_eq!(score(&shelf.door.http("dav", "/")), direct);
    let whole = ["`basic': of 16 tests run: 16 passed", "`copymove': of 13 tests run: 13 passed"];
    for line in whole {
        assert!(direct.iter().any(|scored| scored.contains(line)), "{direct:?}");
    }
}

#[test]
fn rclone_copies_moves_and_syncs() {
    let Some(rclone) = needs("rclone") else { return };
    let Some(shelf) = Shelf::open() else { return };
    let root = shelf.door.root();
    let here = shelf.folder().join("here");
    std::fs::create_dir_all(here.join("a folder")).unwrap();
    let big = file_of(&here, "big.bin", 20_000_000);
    std::fs::write(here.join("a folder/ünï & 100%.txt"), "words").unwrap();
    let dav = shelf.folder().join("dav");
    for url in [shelf.door.http("dav", "/"), shelf.door.https("dav", "/")] {
        let run = |args: &[&str]| {
            let mut command = knowing(&["dav.localhost"], shelf.folder(), &rclone);
            command.args(args).args(["--config", "", "--retries", "1", "--low-level-retries", "1"]);
            command.args(["--webdav-url", &url, "--webdav-vendor", "other", "--ca-cert"]).arg(&root);
            say(&mut command)
        };
        let local = here.to_str().unwrap();
        run(&["copy", local, ":webdav:films"]);
        assert_eq!(sha256(&dav.join("films/big.bin")), sha256(&big));
        assert!(dav.join("films/a folder/ünï & 100%.txt").is_file());
        run(&["check", "--download", local, ":webdav:films"]);

        run(&["moveto", ":webdav:films/big.bin", ":webdav:moved & kept.bin"]);
        assert_eq!(sha256(&dav.join("moved & kept.bin")), sha256(&big));
        assert!(!dav.join("films/big.bin").exists());

        std::fs::write(dav.join("films/stray"), "x").unwrap();
        run(&["sync", local, ":webdav:films"]);
        assert!(!dav.join("films/stray").exists());
        assert_eq!(run(&["lsf", ":webdav:films"]), "a folder/\nbig.bin\n");
        run(&["purge", ":webdav:films"]);
        assert!(!dav.join("films").exists());
    }
}
