//! A real aria2 of the test's own: on a loopback port, in a folder of its own, with all it might fetch stopped or sent
//! to a port where nobody listens.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SECRET;
use crate::real::needs;

pub struct Daemon {
    process: Child,
    port: u16,
    pub folder: tempfile::TempDir,
}

impl Daemon {
    /// None, after a line that says so, if there is no aria2 here.
    pub fn start() -> Option<Self> {
        let program = needs("aria2c")?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .arg("--no-conf")
            .args(["--enable-rpc", "--rpc-listen-all=false", "--pause", "--quiet", "--enable-dht=false"])
            .args([
                "--all-proxy=http://127.0.0.1:1",
                "--bt-enable-lpd=false",
                "--rpc-save-upload-metadata=false",
            ])
            .arg(format!("--rpc-secret={SECRET}"))
            .arg(format!("--rpc-listen-port={port}"))
            .arg(format!("--dir={}", folder.path().display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { process, port, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "aria2 does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(daemon)
    }

    pub fn films(&self) -> &Path {
        self.folder.path()
    }

    /// Posts a message as it is; aria2's answer.
    pub fn post(&self, message: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!(
            "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            message.len()
        );
        socket.write_all(&[head.as_bytes(), message].concat()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("no HTTP answer");
        answer.split_off(body + 4)
    }

    /// The result of a call made with all rights.
    pub fn call(&self, method: &str, mut params: Vec<Value>) -> Value {
        params.insert(0, json!(format!("token:{SECRET}")));
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer: Value = serde_json::from_slice(&self.post(call.to_string().as_bytes())).unwrap();
        answer["result"].take()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
