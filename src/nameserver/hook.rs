//! A program of the house's own that makes and removes TXT records, for providers without dynamic updates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::{ProgramError, run};

/// Providers' APIs take seconds; a program may also wait until its record is seen.
const LIMIT: Duration = Duration::from_secs(120);

/// `HOOK present NAME. VALUE` and `HOOK cleanup NAME. VALUE`, as lego's `exec` provider calls it.
#[derive(Clone, Debug)]
pub struct Hook {
    program: PathBuf,
}

/// What the program could not do.
#[derive(Debug, thiserror::Error)]
#[error("{source}; to try it by hand: {command}")]
pub struct HookError {
    command: String,
    source: ProgramError,
}

impl Hook {
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned() }
    }

    /// Makes a TXT record, beside others of its name.
    ///
    /// # Errors
    /// The program failed or took over two minutes.
    pub async fn present(&self, name: &str, value: &str) -> Result<(), HookError> {
        self.call("present", name, value).await
    }

    /// Removes that one again.
    ///
    /// # Errors
    /// The program failed or took over two minutes.
    pub async fn cleanup(&self, name: &str, value: &str) -> Result<(), HookError> {
        self.call("cleanup", name, value).await
    }

    async fn call(&self, verb: &str, name: &str, value: &str) -> Result<(), HookError> {
        // With the dot that says that the name is whole.
        let arguments = [verb.to_owned(), format!("{name}."), value.to_owned()];
        let command = || format!("{} {}", self.program.display(), arguments.join(" "));
        run(&self.program, &arguments, LIMIT)
            .await
            .map(drop)
            .map_err(|source| HookError { command: command(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn it_is_told_what_to_do_by_three_words() {
        let folder = tempfile::tempdir().unwrap();
        let (program, log) = (folder.path().join("hook"), folder.path().join("log"));
        let script = format!("#!/bin/sh\necho \"$# $*\" >> {}\n[ $1 = present ]\n", log.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let hook = Hook::new(&program);
        hook.present("_acme-challenge.example.org", "a b$HOME").await.unwrap();
        let failed = hook.cleanup("_acme-challenge.example.org", "x").await.unwrap_err().to_string();
        assert!(failed.contains("hook cleanup _acme-challenge.example.org. x"), "{failed}");
        let told = std::fs::read_to_string(log).unwrap();
        assert_eq!(
            told,
            "3 present _acme-challenge.example.org. a b$HOME\n3 cleanup _acme-challenge.example.org. x\n"
        );
    }
}
