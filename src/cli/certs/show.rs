//! `ztgate certs show`: each certificate with its names, validity and fingerprint, and which of them is served.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::acme;
use crate::admin::{CaStatus, Status};
use crate::ca::{self, Certificates, Description};
use crate::config::{self, Config, Tls};

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(
    args: &ShowArgs,
    file: &Path,
    state_dir: &Path,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    // What is wrong elsewhere in it is no reason not to show the CA.
    let config = config::load(file).ok();
    let running: Option<Status> = crate::cli::ask::gateway(file, "/status").ok();
    let all = look(config.as_ref(), state_dir, running.as_ref().map(|status| &status.ca), now)?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    for (i, one) in all.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        show(one, now, out)?;
    }
    Ok(())
}

/// A certificate, and what it is there for.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    what: What,
    /// Whom it serves, in words; `None` if nobody, or nobody by itself, like a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    serves: Option<String>,
    /// Why it cannot be served as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    OnDisk(Description),
    /// Nothing to be read there.
    Unreadable {
        role: &'static str,
        file: PathBuf,
    },
    /// What the gateway serves from memory, while something else lies on disk.
    InMemory {
        role: &'static str,
        sha256: String,
        ends: Option<Timestamp>,
    },
}

/// What comes from elsewhere, then root and intermediate; by the gateway that runs, or by what one that starts now would serve.
fn look(
    config: Option<&Config>,
    state_dir: &Path,
    running: Option<&CaStatus>,
    now: Timestamp,
) -> anyhow::Result<Vec<Shown>> {
    let Some((config, given)) = config.and_then(|config| Some((config, Given::of(config, now)?))) else {
        return Ok(ca::describe(state_dir)?.into_iter().map(|one| issued(one, Some(EACH))).collect());
    };
    let is_served = running.map_or(given.is_served, |running| running.certificate.is_some());
    let stands_in = match &config.tls {
        Tls::Acme(server) if !is_served => {
            Some(format!("{EACH}, until there is one from {}", server.directory))
        }
        _ => None,
    };
    let mut all = given.shown(running);
    match ca::describe(state_dir) {
        Ok(ours) => all.extend(ours.into_iter().map(|one| issued(one, stands_in.as_deref()))),
        Err(error) if stands_in.is_some() => return Err(error.into()),
        // A CA from before is nobody's business to have.
        Err(_) => {}
    }
    Ok(all)
}

const EACH: &str = "a certificate of 90 days for each name, made and renewed in memory";

/// One of the private CA's.
fn issued(certificate: Description, serves: Option<&str>) -> Shown {
    let serves = serves.filter(|_| certificate.role == "intermediate").map(str::to_owned);
    Shown { what: What::OnDisk(certificate), serves, error: None }
}

/// What `[tls]` names.
struct Given {
    file: PathBuf,
    /// Nothing is said of a bundle before the first one.
    is_there: bool,
    /// Whether a gateway that starts now serves it.
    is_served: bool,
    error: Option<String>,
}

impl Given {
    fn of(config: &Config, now: Timestamp) -> Option<Self> {
        match &config.tls {
            Tls::PrivateCa => None,
            Tls::Files { certificate, key } => {
                let read = Certificates::from_pem_whenever(certificate, key, now);
                let is_served = read.is_ok();
                let error = read.map_or_else(Some, |(_, void)| void).map(|why| why.to_string());
                Some(Self { file: certificate.clone(), is_there: true, is_served, error })
            }
            Tls::Acme(_) => {
                let (file, kept) = (acme::bundle(&config.state_dir), acme::read_kept(config, now));
                let (is_there, is_served) = (!matches!(kept, Ok(None)), matches!(kept, Ok(Some(_))));
                let error = match kept {
                    Ok(kept) => kept.and_then(|kept| kept.doubt(now)).map(|why| why.to_string()),
                    Err(why) => Some(why.to_string()),
                };
                Some(Self { file, is_there, is_served, error })
            }
        }
    }

    /// What lies on disk, and before it what the gateway that runs serves instead.
    fn shown(self, running: Option<&CaStatus>) -> Vec<Shown> {
        const THIS: &str = "this one, for every name";
        let Self { file, is_there, is_served, error } = self;
        let description = ca::describe_file(&file).ok().filter(|_| is_there);
        let used = running.map(|running| &running.certificate);
        let is_used = match (&used, &description) {
            (None, _) => is_served,
            (Some(Some(used)), Some(found)) => found.sha256 == **used,
            (Some(_), _) => false,
        };
        let serves = |is_used: bool| is_used.then(|| THIS.to_owned());
        let mut all = Vec::new();
        if let (Some(Some(sha256)), false) = (used, is_used) {
            let ends = running.and_then(|running| running.ends);
            let what = What::InMemory { role: "served", sha256: sha256.clone(), ends };
            all.push(Shown { what, serves: serves(true), error: None });
        }
        let what = match description {
            Some(description) => What::OnDisk(description),
            None => What::Unreadable { role: "served", file },
        };
        all.extend(is_there.then(|| Shown { what, serves: serves(is_used), error }));
        all
    }
}

fn show(Shown { what, serves, error }: &Shown, now: Timestamp, out: &mut dyn Write) -> std::io::Result<()> {
    const NOTHING: &str = "nothing: [tls] in ztgate.toml names certificates from elsewhere";
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let mut serves = serves.as_deref();
    match what {
        What::OnDisk(Description { role, subject, file, zones, begins, ends, sha256, key }) => {
            let names = zones.join(", ");
            let standing = if *ends < now {
                ", ended"
            } else if *begins > now {
                ", not begun"
            } else {
                ""
            };
            // Public servers leave the subject empty (RFC 5280, section 4.1.2.6): the names say it.
            let title = if subject.is_empty() { &names } else { subject };
            writeln!(out, "{role:<13}{title}")?;
            match *role {
                "served" => writeln!(out, "  names      {names}")?,
                _ => writeln!(out, "  names      {names} and below; no IP addresses")?,
            }
            writeln!(out, "  valid      {} to {}{standing}", day(*begins), day(*ends))?;
            writeln!(out, "  sha256     {sha256}")?;
            writeln!(out, "  file       {}", file.display())?;
            if let Some(key) = key {
                writeln!(out, "  key        {}", key.in_words())?;
            }
            serves = match *role {
                "intermediate" => serves.or(Some(NOTHING)),
                "served" => serves.or(Some("nothing")),
                _ => serves,
            };
        }
        What::Unreadable { role, file } => {
            writeln!(out, "{role:<13}none")?;
            writeln!(out, "  file       {}", file.display())?;
            serves = serves.or(Some("nothing"));
        }
        What::InMemory { role, sha256, ends } => {
            writeln!(out, "{role:<13}by the running gateway, and not what lies on disk")?;
            if let Some(ends) = ends {
                writeln!(out, "  valid      to {}", day(*ends))?;
            }
            writeln!(out, "  sha256     {sha256}")?;
        }
    }
    if let Some(why) = error {
        writeln!(out, "  error      {why}")?;
    }
    serves.map_or(Ok(()), |serves| writeln!(out, "  serves     {serves}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_runs_is_believed_before_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-11-01T12:00:00Z".parse().unwrap();
        let text = format!(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"{}\"\n\
             [tls]\nacme = \"letsencrypt\"\n[nameserver]\nhook = \"/bin/true\"\n",
            dir.path().display()
        );
        let config = config::from_text(&text, &[]).unwrap();
        ca::Ca::open_or_create(dir.path(), &config.zone, now).unwrap();
        std::fs::create_dir(dir.path().join("acme")).unwrap();
        std::fs::write(acme::bundle(dir.path()), "half of it").unwrap();

        let in_memory =
            CaStatus { certificate: Some("AB:CD".into()), ends: Some(now), ..CaStatus::default() };
        let stands_in = CaStatus { intermediate: Some("EF:01".into()), ..CaStatus::default() };
        for (running, served_by) in
            [(None, "intermediate"), (Some(&stands_in), "intermediate"), (Some(&in_memory), "memory")]
        {
            let all = look(Some(&config), dir.path(), running, now).unwrap();
            let serving: Vec<&str> = all
                .iter()
                .filter(|one| one.serves.is_some())
                .map(|one| match &one.what {
                    What::OnDisk(description) => description.role,
                    What::InMemory { sha256, .. } if sha256 == "AB:CD" => "memory",
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(serving, [served_by]);
            let broken =
                all.iter().find_map(|one| one.error.as_ref()).expect("what lies on disk is told, too");
            assert!(broken.contains("bundle.pem"), "{broken}");
        }
    }
}
