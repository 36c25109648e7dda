//! A real `aria2c` of a test's own, and what it says when it is asked without the gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::world::Wire;

use super::needs;
use super::process::{Running, free_port};

/// A running aria2. It ends when it is dropped.
pub struct Daemon {
    pub process: Running,
    pub address: SocketAddr,
    secret: &'static str,
    folder: TempDir,
}

impl Daemon {
    /// With that secret and more options of its own; `None` where there is no aria2c.
    pub fn start(secret: &'static str, options: &[&str]) -> Option<Self> {
        let program = needs("aria2c")?;
        let folder = tempfile::tempdir().unwrap();
        let address = free_port();
        let mut command = Command::new(program);
        command
            .args(["--no-conf", "--enable-rpc", "--enable-dht=false", "--bt-enable-lpd=false"])
            .arg(format!("--rpc-listen-port={}", address.port()))
            .arg(format!("--rpc-secret={secret}"))
            .arg(format!("--dir={}", folder.path().display()))
            // A test that is killed leaves nobody behind.
            .arg(format!("--stop-with-process={}", std::process::id()))
            .args(options);
        let log = folder.path().join("aria2.log");
        let process = Running::until_it_listens(&mut command, address, &log);
        Some(Self { process, address, secret, folder })
    }

    /// Where its downloads go.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The result of a call that is made without the gateway.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let mut all = vec![json!(format!("token:{}", self.secret))];
        all.extend(params.as_array().unwrap().iter().cloned());
        let body = json!({ "jsonrpc": "2.0", "id": "test", "method": method, "params": all }).to_string();
        let answer = self.post(body).await;
        let mut message: Value = serde_json::from_slice(&answer).unwrap();
        assert!(message["error"].is_null(), "{method}: {message}");
        message["result"].take()
    }

    /// What it answers to a body as it is, well or badly.
    pub async fn post(&self, body: impl AsRef<[u8]>) -> Vec<u8> {
        let body = body.as_ref();
        let mut wire = Wire::new(TcpStream::connect(self.address).await.unwrap());
        let length = body.len();
        let head = format!("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        wire.send([head.as_bytes(), body].concat()).await;
        let head = wire.head().await.expect("an answer of aria2's");
        wire.body(&head).await.expect("a whole one")
    }
}
