//! `ztgate certs` beside a running gateway, as an operator types it.

use std::process::Command;

use super::door::{Door, PATIENCE};
use super::needs;
use super::process::soon;

/// What it prints, and how it ends.
fn certs(door: &Door, args: &[&str]) -> (String, Option<i32>) {
    let output = door.ztgate(&[&["certs"], args].concat());
    let both = [output.stdout, output.stderr].concat();
    (String::from_utf8(both).unwrap(), output.status.code())
}

#[test]
fn a_rotation_with_the_key_from_a_stick_reaches_the_running_gateway() {
    let Some(_) = needs("curl") else { return };
    let door = Door::open();
    let (stick, passphrase) = (door.folder.path().join("stick.key"), door.folder.path().join("passphrase"));
    std::fs::write(&passphrase, "four words are better\n").unwrap();
    std::fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let [stick, passphrase] = [&stick, &passphrase].map(|path| path.to_str().unwrap());

    let (said, code) =
        certs(&door, &["root-key", "export", stick, "--remove", "--passphrase-file", passphrase]);
    assert_eq!(code, Some(0), "{said}");
    let (said, code) = certs(&door, &["verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the root's key is not on this machine") && !said.contains("warn"), "{said}");

    let (said, code) = certs(&door, &["rotate", "--root-key", stick, "--passphrase-file", passphrase]);
    assert_eq!(code, Some(0), "{said}: {}", door.stderr());
    assert!(said.contains("The running gateway signs with it."), "{said}");
    assert!(door.curl(&[&door.https("films", "/")]).contains("laptop"));

    let (said, code) = certs(&door, &["verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the running gateway signs with ztgate intermediate"), "{said}");
}

#[test]
fn a_device_without_the_root_is_told_of_with_the_page_that_helps() {
    let Some(curl) = needs("curl") else { return };
    let door = Door::open();
    let output = Command::new(&curl).args(["--silent", &door.https("films", "/")]).output().unwrap();
    assert!(!output.status.success());
    let told = soon(PATIENCE, || {
        let status = String::from_utf8(door.ztgate(&["status"]).stdout).unwrap();
        let help = format!("open on it: http://gate.localhost:{}/trust", door.port());
        status.contains("laptop does not trust the root")
            && status.contains(&help)
            && status.contains("1 handshake failed: 1 for distrust of the certificate")
    });
    assert!(told, "{:?}", door.ztgate(&["status"]));
    assert_eq!(door.json(&["status", "--json"])["handshake_failures"]["distrust"], 1);
}
