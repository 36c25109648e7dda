//! A real cockpit-ws, which looks at Host, Origin and X-Forwarded-Proto.

use std::process::Command;

use super::door::Door;
use super::needs;
use super::process::{Running, free_port};

#[test]
fn the_login_page_loads_and_the_origin_of_its_websocket_is_judged() {
    let (Some(cockpit), Some(_)) = (needs("cockpit-ws"), needs("curl")) else { return };
    let door = Door::open();
    let address = free_port();
    let own = format!("http://cockpit.localhost:{}", door.port());
    let config = door.folder.path().join("cockpit");
    std::fs::create_dir(&config).unwrap();
    let origins =
        format!("[WebService]\nOrigins = {own} http://{address}\nProtocolHeader = X-Forwarded-Proto\n");
    std::fs::write(config.join("cockpit.conf"), origins).unwrap();
    let _cockpit = Running::until_it_listens(
        Command::new(cockpit)
            .args(["--no-tls", "--address", "127.0.0.1", "--port", &address.port().to_string()])
            .env("XDG_CONFIG_DIRS", door.folder.path())
            .env("XDG_RUNTIME_DIR", door.folder.path()),
        address,
        &door.folder.path().join("cockpit.log"),
    );
    door.serve("cockpit", address);

    let direct = format!("http://{address}/");
    let page = |url: &str| door.curl(&["-w", " %{http_code}", url]);
    let through = page(&format!("{own}/"));
    assert!(through.contains("login") && through.ends_with("200"), "{through}");
    assert_eq!(through.len(), page(&direct).len());

    // Without a session cockpit answers 101 and closes the channel with "no-session"; a foreign Origin it refuses.
    let upgrade = |url: &str, origin: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "2", "-o", "/dev/null", "-w", "%{http_code}", "--http1.1"]);
        curl.args([
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "-H",
            "Sec-WebSocket-Version: 13",
        ]);
        curl.args([
            "-H",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "-H",
            &format!("Origin: {origin}"),
            url,
        ]);
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!(
        upgrade(&format!("{own}/cockpit/socket"), &own),
        upgrade(&format!("{direct}cockpit/socket"), &format!("http://{address}"))
    );
    assert_eq!(upgrade(&format!("{own}/cockpit/socket"), "http://elsewhere.example"), "403");
}
