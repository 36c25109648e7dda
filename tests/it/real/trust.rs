//! The trust page as a person follows it: the files it leads to, and the line that it has people type.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use super::door::Door;
use super::needs;
use super::process::{say, sha256};

#[test]
fn each_file_comes_as_what_a_device_installs() {
    if needs("curl").is_none() {
        return;
    }
    let door = Door::open();
    for (path, media_type, first) in [
        ("/trust/root.crt", "application/x-x509-ca-cert", &b"\x30\x82"[..]),
        ("/trust/root.pem", "application/x-pem-file", b"-----BEGIN CERTIFICATE-----"),
        ("/trust/apple.mobileconfig", "application/x-apple-aspen-config", b"<?xml"),
        ("/trust/windows.ps1", "text/plain; charset=utf-8", b"#"),
        ("/trust/linux.sh", "text/plain; charset=utf-8", b"#!/bin/sh"),
    ] {
        let file = door.folder.path().join("fetched");
        let told = ["-o", file.to_str().unwrap(), "-w", "%{http_code} %{content_type}"];
        // Over http: a device that does not trust the root yet has no other way.
        let told = door.curl(&[&told[..], &[&door.http("gate", path)]].concat());
        assert_eq!(told, format!("200 {media_type}"), "{path}");
        assert!(std::fs::read(&file).unwrap().starts_with(first), "{path}");
    }
    let waiting = format!("http://gate.localhost:{}/trust/root.crt", door.television_port());
    assert_eq!(door.curl(&["-o", "/dev/null", "-w", "%{http_code}", &waiting]), "403");
    let private =
        door.curl(&["-o", "/dev/null", "-w", "%{http_code}", &door.http("gate", "/trust/root.key")]);
    assert_eq!(private, "404");
}

#[test]
fn the_line_for_linux_installs_the_root_and_nothing_else_under_its_name() {
    if needs("curl").is_none() || needs("openssl").is_none() {
        return;
    }
    let door = Door::open();
    let page = door.curl(&["-A", "Mozilla/5.0 (X11; Linux x86_64)", &door.http("gate", "/trust")]);
    let command =
        page.split("<code class=\"command\">").find(|part| part.starts_with("d=$(mktemp -d)")).unwrap();
    let command = command.split("</code>").next().unwrap().replace("&amp;", "&").replace("&quot;", "\"");

    let folder = door.folder.path().join("typed");
    let installed = type_it(&command, &folder);
    assert!(installed.status.success(), "{installed:?}");
    let did = std::fs::read_to_string(folder.join("sudo.log")).unwrap();
    // Nothing that lies in the folder where it is typed is looked at.
    let fresh = std::fs::read_dir(folder.join("tmp")).unwrap().next().unwrap().unwrap().path();
    let shown = fresh.join("localhost.crt");
    let expected =
        format!("cp {} /usr/local/share/ca-certificates/\nupdate-ca-certificates\n", shown.display());
    assert_eq!(did, expected);
    assert_eq!(std::fs::metadata(&fresh).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(
        std::fs::read_to_string(shown).unwrap(),
        std::fs::read_to_string(door.root()).unwrap().replace("\r\n", "\n")
    );
    // The fingerprint is the one that the person in charge reads out.
    let shown = String::from_utf8(door.ztgate(&["certs", "show"]).stdout).unwrap();
    let fingerprint = sha256(&fresh.join("root.der"));
    assert!(shown.to_lowercase().replace(':', "").contains(&fingerprint), "{fingerprint} in {shown}");

    // Another certificate on the way: nothing is installed.
    let other = door.folder.path().join("typed-elsewhere");
    let forged = command.replacen("/trust/root.crt", "/trust/root.pem", 1);
    let refused = type_it(&forged, &other);
    assert!(!refused.status.success() && !other.join("sudo.log").exists(), "{refused:?}");
}

/// Types a line into a shell, in a folder of its own and with a sudo that only takes note.
fn type_it(line: &str, folder: &Path) -> Output {
    let bin = folder.join("bin");
    let tmp = folder.join("tmp");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&tmp).unwrap();
    let sudo = bin.join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\necho \"$@\" >> sudo.log\n").unwrap();
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("sh")
        .arg("-c")
        .arg(line)
        .current_dir(folder)
        .env("PATH", path)
        .env("TMPDIR", tmp)
        .output()
        .unwrap()
}

#[test]
fn the_profile_for_apple_is_one() {
    if needs("curl").is_none() || needs("python3").is_none() {
        return;
    }
    let door = Door::open();
    let file = door.folder.path().join("profile");
    door.curl(&["-o", file.to_str().unwrap(), &door.http("gate", "/trust/apple.mobileconfig")]);
    let read = "import plistlib, sys, hashlib; p = plistlib.load(open(sys.argv[1], 'rb')); c = p['PayloadContent'][0]; \
                print(p['PayloadType'], c['PayloadType'], hashlib.sha256(c['PayloadContent']).hexdigest())";
    let said = say(Command::new("python3").args(["-c", read]).arg(&file));
    let root = door.folder.path().join("root.der");
    door.curl(&["-o", root.to_str().unwrap(), &door.http("gate", "/trust/root.crt")]);
    assert_eq!(said.trim(), format!("Configuration com.apple.security.root {}", sha256(&root)));
}
