//! A webhook's receiver made of what deploy/notify.md tells people to write.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::needs;
use super::process::{Running, free_port};

/// Around the documented function: a server that answers 204 to what is genuine and 401 to the rest.
const SERVER: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204 if is_genuine(sys.argv[2].encode(), self.headers, body) else 401)
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
"#;

#[test]
fn the_documented_receiver_takes_what_is_signed_and_nothing_else() {
    let Some(python) = needs("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let page = include_str!("../../../deploy/notify.md");
    let snippet = page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    std::fs::write(at("receiver.py"), format!("{snippet}{SERVER}")).unwrap();
    let address = free_port();
    let mut receiver = Command::new(python);
    receiver.arg(at("receiver.py")).args([&address.port().to_string(), "s3cret"]);
    let _receiver = Running::until_it_listens(&mut receiver, address, &at("receiver.log"));

    let config = format!(
        "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[notify]\n\
         webhook = \"http://{address}/ztgate\"\nsecret_file = \"webhook.secret\"\n"
    );
    std::fs::write(at("ztgate.toml"), config).unwrap();
    for (secret, code, answer) in [("s3cret\n", 0, "delivered: HTTP 204"), ("other\n", 1, "HTTP 401")] {
        std::fs::write(at("webhook.secret"), secret).unwrap();
        std::fs::set_permissions(at("webhook.secret"), PermissionsExt::from_mode(0o600)).unwrap();
        let mut test = Command::new(env!("CARGO_BIN_EXE_ztgate"));
        let told = test.arg("--config").arg(at("ztgate.toml")).args(["notify", "test"]).output().unwrap();
        let stdout = String::from_utf8(told.stdout).unwrap();
        assert_eq!(told.status.code(), Some(code), "{stdout}");
        assert!(stdout.contains(answer), "{stdout}");
    }
}
