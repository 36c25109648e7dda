//! A real copyparty: its page, an upload of 200 MB, a part of it back.

use std::process::Command;

use super::door::Door;
use super::needs;
use super::process::{Running, file_of, free_port, sha256};

#[test]
fn a_big_file_goes_up_whole_and_comes_back_in_parts() {
    let (Some(copyparty), Some(_)) = (needs("copyparty"), needs("curl")) else { return };
    let door = Door::open();
    let (address, shared) = (free_port(), door.folder.path().join("shared"));
    std::fs::create_dir(&shared).unwrap();
    let _copyparty = Running::until_it_listens(
        Command::new(copyparty)
            .args(["-q", "--no-ses", "-i", "127.0.0.1", "-p", &address.port().to_string()])
            .args(["-v", &format!("{}::rwmd", shared.display())])
            .env("HOME", door.folder.path()),
        address,
        &door.folder.path().join("copyparty.log"),
    );
    door.serve("share", address);

    let page = door.curl(&["-A", "Mozilla/5.0 (X11) Gecko", &door.http("share", "/")]);
    assert!(page.contains("up2k.js"), "{page}");

    let file = file_of(door.folder.path(), "up.bin", 200_000_000);
    let told =
        door.curl(&["-T", file.to_str().unwrap(), &door.https("share", "/up.bin"), "-w", "%{http_code}"]);
    assert!(told.ends_with("201"), "{told}");
    assert_eq!(sha256(&shared.join("up.bin")), sha256(&file));

    let part = door.folder.path().join("part");
    let part_name = part.to_str().unwrap();
    let told = door.curl(&[
        "-r",
        "199000000-",
        "-o",
        part_name,
        "-w",
        "%{http_code}",
        &door.http("share", "/up.bin"),
    ]);
    assert_eq!(told, "206");
    assert_eq!(std::fs::read(&part).unwrap(), std::fs::read(&file).unwrap()[199_000_000..]);
}
