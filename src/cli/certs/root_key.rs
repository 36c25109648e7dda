//! `ztgate certs root-key`: the root's key off the machine, or encrypted on it.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::ca::{self, CaError, RootKeyFile};

use super::passphrase::PassphraseArgs;

#[derive(Debug, Subcommand)]
pub enum RootKeyCommand {
    /// Write the key to another medium, encrypted, and read it back from there
    Export {
        /// A file that is not there yet, on a stick, say
        file: PathBuf,
        /// Then remove the key from this machine
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Encrypt the key where it lies
    Encrypt {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

pub fn run(command: &RootKeyCommand, state_dir: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let usual = RootKeyFile::usual(state_dir)?;
    let file = RootKeyFile::read(state_dir, None).map_err(|error| match error {
        CaError::NoRootKey { .. } => anyhow::anyhow!(
            "the root's key is not on this machine any more, and that is well; a rotation takes it from where it is: \
             ztgate certs rotate --root-key FILE"
        ),
        other => other.into(),
    })?;
    match command {
        RootKeyCommand::Export { file: copy, remove, passphrase } => {
            let (key, passphrase) = match file {
                RootKeyFile::Open(key) => (key, passphrase.new_one()?),
                // The copy opens by the same.
                RootKeyFile::Locked(key) => {
                    let passphrase = passphrase.of(&usual.display().to_string())?;
                    (key.unlock(&passphrase)?, passphrase)
                }
            };
            key.export(state_dir, copy, &passphrase)?;
            writeln!(out, "{} holds the root's key, encrypted, and was read back.", copy.display())?;
            if *remove {
                let gone = ca::remove_local(state_dir, copy, &passphrase)?;
                writeln!(out, "{} is gone. The gateway does not need it; a rotation does:", gone.display())?;
                writeln!(out, "  ztgate certs rotate --root-key {}", copy.display())?;
            } else {
                writeln!(out, "Once that is safe elsewhere, take the key off this machine:")?;
                writeln!(out, "  rm {}", usual.display())?;
            }
        }
        RootKeyCommand::Encrypt { passphrase } => {
            let RootKeyFile::Open(key) = file else {
                anyhow::bail!("{} is encrypted already; nothing was done", usual.display());
            };
            let at = key.encrypt_in_place(state_dir, &passphrase.new_one()?)?;
            writeln!(out, "{} is encrypted now, and was read back.", at.display())?;
        }
    }
    Ok(())
}
