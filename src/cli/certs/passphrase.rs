//! A passphrase: from a file, from standard input, or from the person at the terminal.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::ca::{self, RootKey, RootKeyFile};
use crate::linux::terminal;

#[derive(Debug, clap::Args)]
pub struct PassphraseArgs {
    /// Read the passphrase from the first line of a private file, or with - from standard input, instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase of a key that is encrypted already.
    pub fn of(&self, what: &str) -> anyhow::Result<Zeroizing<String>> {
        match &self.passphrase_file {
            Some(file) => given(file),
            None => ask(&format!("Passphrase of {what}: ")),
        }
    }

    /// A passphrase to encrypt with from now on; a person types it twice.
    pub fn new_one(&self) -> anyhow::Result<Zeroizing<String>> {
        let passphrase = match &self.passphrase_file {
            Some(file) => given(file)?,
            None => {
                let first = ask("New passphrase: ")?;
                let again = ask("The same again: ")?;
                anyhow::ensure!(*first == *again, "these were two different passphrases; nothing was done");
                first
            }
        };
        let shortest = ca::SHORTEST_PASSPHRASE;
        anyhow::ensure!(
            passphrase.chars().count() >= shortest,
            "a passphrase of less than {shortest} characters is soon found by trying; take four or five words"
        );
        Ok(passphrase)
    }

    /// The key in a file, with its passphrase if it takes one.
    pub fn unlock(&self, file: RootKeyFile, name: &Path) -> anyhow::Result<RootKey> {
        Ok(match file {
            RootKeyFile::Open(key) => key,
            RootKeyFile::Locked(key) => key.unlock(&self.of(&name.display().to_string())?)?,
        })
    }
}

fn given(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    if file != Path::new("-") {
        return Ok(ca::passphrase_in(file)?);
    }
    let mut line = Zeroizing::new(String::with_capacity(256));
    std::io::stdin().lock().read_line(&mut line).context("reading the passphrase")?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(line)
}

fn ask(question: &str) -> anyhow::Result<Zeroizing<String>> {
    terminal::ask_unseen(question)
        .context("there is no terminal to ask on; name a file: --passphrase-file FILE")
}
