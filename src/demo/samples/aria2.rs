//! aria2 as a child process, where `aria2c` is installed.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;

/// A port that was free may be taken before aria2 has it: so often another is tried.
const TRIES: usize = 3;
/// How often to look whether aria2 answers, and for how long.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: usize = 100;

/// A running aria2 with a folder of its own. Dropping it ends the one and removes the other.
#[derive(Debug)]
pub(super) struct Aria2 {
    address: SocketAddr,
    child: Child,
    _folder: Folder,
}

impl Aria2 {
    /// `None` if `aria2c` is not on the PATH, or does not start: then a line in the log says why.
    pub(super) async fn start() -> Option<Self> {
        for _ in 0..TRIES {
            match Self::attempt().await {
                Ok(Some(aria2)) => return Some(aria2),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => {
                    tracing::warn!("the demo goes without aria2: {error}");
                    return None;
                }
            }
        }
        tracing::warn!(
            "the demo goes without aria2: it ended at once or never listened; try `aria2c --version`"
        );
        None
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn attempt() -> io::Result<Option<Self>> {
        let folder = Folder::new()?;
        let address = free_port()?;
        let child = command(address.port(), folder.path()).spawn()?;
        let mut aria2 = Self { address, child, _folder: folder };
        Ok(aria2.listens().await?.then_some(aria2))
    }

    async fn listens(&mut self) -> io::Result<bool> {
        for _ in 0..LOOKS {
            let answered = TcpStream::connect(self.address).await.is_ok();
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if answered {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(false)
    }
}

impl Drop for Aria2 {
    fn drop(&mut self) {
        // Both fail only if it has ended already, and a killed child is waited for at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// There is no RPC secret: in the demo the gateway is the lock, and a secret of ours could not be typed by anyone. On a
/// machine that others use too, their programs could reach the port; a real aria2 behind the gateway has a secret.
fn command(port: u16, folder: &Path) -> Command {
    let mut command = Command::new("aria2c");
    command
        .args(["--enable-rpc", "--rpc-listen-all=false", "--no-conf", "--no-netrc", "--quiet"])
        // Nothing outside its folder, and no talk to others until someone adds a download.
        .args(["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"])
        .arg(format!("--rpc-listen-port={port}"))
        // Ends it when we are killed and cannot.
        .arg(format!("--stop-with-process={}", std::process::id()))
        .arg(format!("--dir={}", folder.display()))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// aria2 takes no port 0, so the system is asked for one first.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A new folder that only we can enter, with what aria2 downloads.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("ztgate-demo-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left by an earlier process with our number, or put there by someone else: not ours to use.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_are_new_private_and_removed() {
        let (one, other) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.path(), other.path());
        assert_eq!(fs::metadata(one.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(one.path().join("part"), "x").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(other.path().exists());
    }

    /// Says nothing where aria2 is not installed; CI installs it.
    #[tokio::test]
    async fn listens_until_dropped() {
        let Some(aria2) = Aria2::start().await else { return };
        let (address, folder) = (aria2.address(), aria2._folder.path().to_owned());
        assert!(address.ip().is_loopback());
        assert!(folder.is_dir());
        drop(aria2);
        assert!(TcpStream::connect(address).await.is_err());
        assert!(!folder.exists());
    }
}
