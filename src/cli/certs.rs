//! `ztgate certs`: the private CA, for people and scripts. Needs no running gateway, and opens no key.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::qr;
use super::style::Style;
use crate::ca::{self, Description, trust};

/// The private CA: what devices have to trust.
#[derive(Debug, Args)]
pub struct CertsArgs {
    #[command(subcommand)]
    pub command: CertsCommand,
}

#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Print the root certificate as PEM
    Root,
    /// Print what makes a device trust the root; without a platform, where a device finds that, with a QR code on a terminal
    Trust {
        platform: Option<Platform>,
        /// Print the QR code also where there is no terminal
        #[arg(long, conflicts_with = "platform")]
        qr: bool,
    },
    /// Show root and intermediate: names, validity, fingerprint
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What a device runs on.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Platform {
    /// A profile for iPhone, iPad and Mac
    Apple,
    /// A PowerShell script for the current user
    Windows,
    /// A shell script for the system's store
    Linux,
}

/// Answers from the state folder of a configuration.
///
/// # Errors
/// A [`ca::CaError`] where the CA is absent or unreadable, and whatever `out` says.
pub fn run(
    args: &CertsArgs,
    config: &Path,
    now: Timestamp,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<()> {
    let state_dir = &super::state_dir(config)?;
    match args.command {
        CertsCommand::Root => out.write_all(ca::root_pem(state_dir)?.as_bytes())?,
        CertsCommand::Trust { platform: None, qr } => {
            qr::invite(config, qr || style.terminal, out, style)?;
        }
        CertsCommand::Trust { platform: Some(platform), .. } => {
            let root = trust::Root::read(state_dir)?;
            let text = match platform {
                Platform::Apple => trust::apple(&root),
                Platform::Windows => trust::windows(&root),
                Platform::Linux => trust::linux(&root),
            };
            out.write_all(text.as_bytes())?;
        }
        CertsCommand::Show { json: true } => {
            serde_json::to_writer_pretty(&mut *out, &ca::describe(state_dir)?)?;
            writeln!(out)?;
        }
        CertsCommand::Show { json: false } => {
            for (i, certificate) in ca::describe(state_dir)?.iter().enumerate() {
                if i > 0 {
                    writeln!(out)?;
                }
                show(certificate, now, out)?;
            }
        }
    }
    Ok(())
}

fn show(certificate: &Description, now: Timestamp, out: &mut dyn Write) -> std::io::Result<()> {
    let Description { role, subject, file, zones, begins, ends, sha256 } = certificate;
    let (from, to) = (begins.strftime("%Y-%m-%d"), ends.strftime("%Y-%m-%d"));
    writeln!(out, "{role:<13}{subject}")?;
    writeln!(out, "  names      {} and below; no IP addresses", zones.join(", "))?;
    writeln!(out, "  valid      {from} to {to}{}", if *ends < now { ", ended" } else { "" })?;
    writeln!(out, "  sha256     {sha256}")?;
    writeln!(out, "  file       {}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{Ca, CaError};

    fn said(command: CertsCommand, state_dir: &Path) -> anyhow::Result<String> {
        let mut out = Vec::new();
        let now = "2026-11-02T12:00:00Z".parse()?;
        let config = state_dir.join("ztgate.toml");
        let lines =
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \".\"\nhttp_port = 8080\n";
        std::fs::write(&config, lines)?;
        run(&CertsArgs { command }, &config, now, &mut out, Style::PLAIN)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn the_arguments_are_sound() {
        CertsArgs::augment_args(clap::Command::new("certs")).debug_assert();
    }

    #[test]
    fn the_ca_is_shown_without_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let absent = said(CertsCommand::Root, dir.path()).unwrap_err();
        assert!(matches!(absent.downcast_ref(), Some(CaError::None { .. })), "{absent}");

        let now = "2026-11-01T12:00:00Z".parse().unwrap();
        Ca::open_or_create(dir.path(), &"home.arpa".parse().unwrap(), now).unwrap();
        std::fs::remove_dir_all(dir.path().join("certs/root")).unwrap();
        std::fs::remove_file(dir.path().join("certs/intermediate.key")).unwrap();

        let root = said(CertsCommand::Root, dir.path()).unwrap();
        assert!(root.starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(root.matches("BEGIN").count(), 1);

        for (platform, part) in [
            (Platform::Apple, "<plist"),
            (Platform::Windows, "X509Certificate2"),
            (Platform::Linux, "#!/bin/sh"),
        ] {
            let text = said(CertsCommand::Trust { platform: Some(platform), qr: false }, dir.path()).unwrap();
            assert!(text.contains(part) && !text.contains("{{"), "{platform:?}");
        }

        let invitation = |qr| said(CertsCommand::Trust { platform: None, qr }, dir.path()).unwrap();
        let (text, with_code) = (invitation(false), invitation(true));
        assert!(text.starts_with("on the device, open  http://gate.home.arpa:8080/trust\n"), "{text}");
        assert!(with_code.ends_with(&text) && with_code.starts_with('█'), "{with_code}");

        let text = said(CertsCommand::Show { json: false }, dir.path()).unwrap();
        for part in ["root         ztgate root ", "home.arpa and below", "2026-10-31 to 2046-10-27"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json = said(CertsCommand::Show { json: true }, dir.path()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json[1]["role"], "intermediate");
        assert_eq!(json[0]["zones"][0], "home.arpa");
        assert_eq!(json[0]["ends"], "2046-10-27T12:00:00Z");
    }
}
