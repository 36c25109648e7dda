//! Real programs through the gateway as without it: `ztgate demo` as a process of its own, with services added to its
//! configuration. A test whose component is missing says so in one line; where nothing may be skipped it fails.

mod aria2;
pub mod aria2c;
pub mod browser;
mod certs;
mod cockpit;
mod constraints;
mod copyparty;
mod curl;
mod demo;
pub mod door;
mod framed;
pub mod named;
mod netlog;
mod notify;
pub mod origin;
mod pages;
pub mod pebble;
pub mod process;
mod qr;
mod rebound;
mod resolved;
mod street;
mod trust;
mod webdav;
mod worker;

use std::path::PathBuf;

/// The path of a program, or `None` after a line that says what is not tested without it.
pub fn needs(program: &str) -> Option<PathBuf> {
    let given = match program {
        "chromium" => std::env::var_os("ZTGATE_TEST_CHROMIUM").map(PathBuf::from),
        "aria2p" | "copyparty" | "wsgidav" => venv().map(|venv| venv.join("bin").join(program)),
        _ => None,
    };
    let found = given.filter(|path| path.is_file()).or_else(|| on_the_path(program));
    if found.is_none() {
        assert!(
            std::env::var_os("ZTGATE_TEST_NO_SKIP").is_none(),
            "{program} is missing, and nothing may be skipped; as root: tests/run --install"
        );
        eprintln!("skipped: {program} is missing");
    }
    found
}

/// Where tests/run puts what comes from PyPI.
pub fn venv() -> Option<PathBuf> {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv");
    Some(std::env::var_os("ZTGATE_TEST_VENV").map_or_else(own, PathBuf::from)).filter(|venv| venv.is_dir())
}

fn on_the_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/lib/cockpit"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(program)).find(|path| path.is_file())
}
