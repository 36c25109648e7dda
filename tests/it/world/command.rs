//! The command line beside a gateway that runs in the test.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a command comes to that is given the configuration in this folder. It blocks: the gateway needs another thread to answer.
pub fn ztgate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztgate"));
    command.arg("--config").arg(folder.join("ztgate.toml")).args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// The same as a person sees it, and how it ends.
pub fn typed(folder: &Path, line: &str) -> (String, Option<i32>) {
    let arguments: Vec<&str> = line.split(' ').collect();
    let Output { status, stdout, stderr } = ztgate(folder, &arguments);
    (String::from_utf8([stdout, stderr].concat()).unwrap(), status.code())
}
