//! Programs of the house's own: run without a shell, with little environment, and not for ever.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::linux::children::{kill_group, without_our_capabilities};

/// What a program may print; more is cut off, and its pipe is read on so that it can end.
const LONGEST_OUTPUT: usize = 16 * 1024;

/// What is passed on of our own environment; nothing in it is a secret.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("{} cannot be run: {why}", program.display())]
    Start { program: PathBuf, why: std::io::Error },
    #[error("{} did not end within {} s, and was killed{}", program.display(), limit.as_secs(), said(output))]
    TooLong { program: PathBuf, limit: Duration, output: String },
    #[error("{} failed ({how}){}", program.display(), said(output))]
    Failed { program: PathBuf, how: String, output: String },
}

/// Runs a program and tells what it printed on standard output. Of one that fails, both outputs are in the error.
///
/// # Errors
/// It cannot be started, takes longer than `limit`, or ends with anything but 0. It is killed when it takes too long, and
/// when whoever waits for it no longer does.
pub async fn run(program: &Path, arguments: &[String], limit: Duration) -> Result<String, ProgramError> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what a script started ends with it.
    command.process_group(0);
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    without_our_capabilities(command.as_std_mut());
    let mut child =
        command.spawn().map_err(|why| ProgramError::Start { program: program.to_owned(), why })?;
    let mut group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    let ended = tokio::time::timeout(limit, async {
        let (status, (), ()) =
            tokio::join!(child.wait(), gather(stdout, &mut printed), gather(stderr, &mut complained));
        status
    })
    .await;
    let output = |complained: &[u8], printed: &[u8]| text(&[complained, printed].concat());
    if ended.is_ok() {
        group.disband();
    }
    match ended {
        Ok(Ok(status)) if status.success() => Ok(text(&printed)),
        Ok(Ok(status)) => Err(ProgramError::Failed {
            program: program.to_owned(),
            how: status.to_string(),
            output: output(&complained, &printed),
        }),
        Ok(Err(why)) => Err(ProgramError::Start { program: program.to_owned(), why }),
        Err(_) => {
            // The group's end, before its leader is waited for.
            drop(group);
            let _ = child.wait().await;
            Err(ProgramError::TooLong {
                program: program.to_owned(),
                limit,
                output: output(&complained, &printed),
            })
        }
    }
}

/// Kills the program and what it started, when it is dropped.
struct Group(Option<u32>);

impl Group {
    /// It ended by itself, and its number may soon be another's.
    fn disband(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            kill_group(leader);
        }
    }
}

async fn gather(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; 4096];
    // What cannot be read any more has ended.
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let room = LONGEST_OUTPUT.saturating_sub(into.len());
        into.extend_from_slice(&piece[..read.min(room)]);
    }
}

/// Printable text: a program's output goes to terminals and logs.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.trim().chars().map(plain).collect()
}

/// The last lines, which say why.
fn said(output: &str) -> String {
    const LINES: usize = 3;
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.get(lines.len().saturating_sub(LINES)..) {
        None | Some([]) => "; it said nothing".to_owned(),
        Some(last) => format!("; it said: {}", last.join(" / ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<String, ProgramError> {
        run(Path::new("/bin/sh"), &["-c".to_owned(), script.to_owned()], limit).await
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_it_prints_is_told_and_what_it_complains_of_when_it_fails() {
        assert_eq!(shell("echo 203.0.113.9; echo careful >&2", LIMIT).await.unwrap(), "203.0.113.9");
        let failed = shell("echo no such zone >&2; exit 3", LIMIT).await.unwrap_err().to_string();
        assert!(failed.contains("exit status: 3") && failed.contains("it said: no such zone"), "{failed}");
        let absent = run(Path::new("/no/such/hook"), &[], LIMIT).await.unwrap_err().to_string();
        assert!(absent.contains("/no/such/hook cannot be run"), "{absent}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo waiting; wait", pid.display());
        let slow = shell(&script, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(&slow, ProgramError::TooLong { output, .. } if output == "waiting"), "{slow}");
        let sleeper = std::fs::read_to_string(&pid).unwrap();
        let proc = format!("/proc/{}/stat", sleeper.trim());
        let gone = || std::fs::read_to_string(&proc).map_or(true, |stat| stat.contains(") Z "));
        for _ in 0..200 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{proc} is still there");
    }

    #[tokio::test]
    async fn its_environment_is_clean_and_its_output_bounded() {
        let seen = shell("env | cut -d= -f1 | sort", LIMIT).await.unwrap();
        let known = ["PATH", "HOME", "LANG", "TZ", "PWD", "SHLVL", "_", "OLDPWD"];
        assert!(seen.lines().all(|name| known.contains(&name)), "{seen}");
        let long = shell("head -c 1000000 /dev/zero | tr '\\0' x", LIMIT).await.unwrap();
        assert_eq!(long.len(), LONGEST_OUTPUT);
    }
}
