//! The CA on disk, all of it held against each other and the clock.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::authority::Ca;
use super::layout::{IssuerFiles, Layout, existing};
use super::root_key::{self, Kept};
use super::{CaError, RootKeyFile, files, mint, pem};
use crate::model::Zone;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Ok,
    /// It works, and could be better, or will end.
    Advice,
    /// It does not work, or is not safe.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub standing: Standing,
    pub what: String,
    /// What to type; always there unless all is well, or `what` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Checked {
    pub fn ok(what: impl Into<String>) -> Self {
        Self { standing: Standing::Ok, what: what.into(), mend: None }
    }

    pub fn advice(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { standing: Standing::Advice, what: what.into(), mend: Some(mend.into()) }
    }

    pub fn wrong(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { standing: Standing::Wrong, what: what.into(), mend: Some(mend.into()) }
    }

    /// An error, whose text says what to type. What this user may not look at may be well.
    pub fn error(error: &CaError) -> Self {
        match error {
            denied if denied.is_denied() => Self::advice(error.to_string(), "sudo ztgate certs verify"),
            _ => Self { standing: Standing::Wrong, what: error.to_string(), mend: None },
        }
    }
}

/// What takes the root's key away.
const EXPORT: &str =
    "ztgate certs root-key export FILE --remove, with FILE on a stick that you keep elsewhere";
const ROTATE: &str = "ztgate certs rotate";
const NEW_CA: &str = "plan a new CA: stop the gateway, move STATE_DIR/certs away, start it, and have each device trust the new root";

/// Looks at the CA of a state folder: the certificates, their keys, what they are confined to, whether devices believe these
/// names, and the clock.
pub fn verify(state_dir: &Path, zone: &Zone, names: &[String], now: Timestamp) -> Vec<Checked> {
    let layout = match existing(state_dir) {
        Ok(layout) => layout,
        Err(error) => return vec![Checked::error(&error)],
    };
    let mut checked = Vec::new();
    checked.extend(certificate("root", &layout.root, NEW_CA, now));
    checked.extend(certificate("intermediate", layout.issuer.certificate(), ROTATE, now));
    checked.push(match existing(state_dir).and_then(|layout| Ca::open(layout, zone, now)) {
        Ok(ca) => together(&ca, names, now),
        Err(error) => Checked::error(&error),
    });
    if let IssuerFiles::Together(_) = layout.issuer {
        checked.extend(left_behind(&layout));
    }
    checked.push(root_key(state_dir, &layout));
    // What is wrong is told once, by the first who finds it.
    let mut known = Vec::new();
    checked.retain(|one: &Checked| {
        let new = !known.contains(&one.what);
        known.push(one.what.clone());
        new
    });
    checked
}

/// One certificate of the CA by itself.
fn certificate(role: &str, file: &Path, renew: &str, now: Timestamp) -> Vec<Checked> {
    let facts = match pem::chain(file).and_then(|chain| pem::facts(file, &chain[0])) {
        Ok(facts) => facts,
        Err(error) => return vec![Checked::error(&error)],
    };
    let zones = facts.zones.join(", ");
    let confined = if facts.confined && !facts.zones.is_empty() {
        Checked::ok(format!("the {role} is confined to {zones}, critical, without IP addresses"))
    } else {
        let what = format!("{}: not confined to the zone by critical constraints", file.display());
        Checked::wrong(what, "put it back from a backup; ztgate makes no such certificate")
    };
    let is_late = is_near_end(facts.ends, now);
    vec![confined, lasting(&format!("the {role}"), (facts.begins, facts.ends), is_late, renew, now)]
}

/// How a certificate's validity stands to the clock. `is_late` says whether it should have been renewed by now.
pub(super) fn lasting(
    what: &str,
    (begins, ends): (Timestamp, Timestamp),
    is_late: bool,
    renew: &str,
    now: Timestamp,
) -> Checked {
    const CLOCK: &str = "see whether the clock is right: timedatectl";
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    if now < begins {
        Checked::wrong(format!("{what} begins at {begins}, and the clock says {now}"), CLOCK)
    } else if now > ends {
        let mend = format!("{CLOCK}; if it is: {renew}");
        Checked::wrong(format!("{what} ended at {ends}, and the clock says {now}"), mend)
    } else if is_late {
        Checked::advice(format!("{what} ends on {}", day(ends)), renew)
    } else {
        Checked::ok(format!("{what} is valid until {}", day(ends)))
    }
}

/// Whether a root or an intermediate ends within a year.
pub fn is_near_end(ends: Timestamp, now: Timestamp) -> bool {
    ends.duration_since(now)
        < jiff::SignedDuration::try_from(mint::NEAR_END).unwrap_or(jiff::SignedDuration::MAX)
}

/// Whether the CA, which has just proved that it can sign for its zone, can sign for each name, and for nothing else.
fn together(ca: &Ca, names: &[String], now: Timestamp) -> Checked {
    let refused: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !ca.would_vouch_for(name, now)).collect();
    // Who is out of its time vouches for nobody, and that is told already.
    if !refused.is_empty() && ca.void(now).is_none() {
        let what = format!("devices would not believe a certificate for {}", refused.join(", "));
        return Checked::wrong(what, "give that service another name");
    }
    for outside in ["example.org", "127.0.0.1"] {
        if ca.would_vouch_for(outside, now) {
            let what =
                format!("a certificate for {outside} would be believed by devices that trust the root");
            return Checked::wrong(
                what,
                "put the folder back from a backup; ztgate makes no such certificates",
            );
        }
    }
    Checked::ok(format!(
        "key, intermediate and root belong together: a name in {} is believed, others and IP addresses are not",
        ca.zone()
    ))
}

/// What an interrupted rotation did not come to remove.
fn left_behind(layout: &Layout) -> Option<Checked> {
    let old = layout.dir.join("intermediate.key");
    files::exists(&old).is_ok_and(|there| there).then(|| {
        let what = format!("{} is the key of an intermediate that was rotated out", old.display());
        Checked::advice(what, format!("rm {}", old.display()))
    })
}

/// Where the root's key is, and whether it is safe there.
fn root_key(state_dir: &Path, layout: &Layout) -> Checked {
    match root_key::kept(layout) {
        Ok(Kept::Elsewhere) => Checked::ok("the root's key is not on this machine"),
        Ok(Kept::Encrypted) => Checked::ok("the root's key is on this machine, encrypted"),
        Ok(Kept::Plain) => match RootKeyFile::read(state_dir, None) {
            Ok(_) => Checked::advice(
                "the root's key lies on this machine unencrypted: whoever copies it can sign for the zone for as long as \
                 devices trust the root",
                EXPORT,
            ),
            Err(error) => Checked::error(&error),
        },
        Err(error) => Checked::error(&error),
    }
}

/// Whether the renewal of a certificate from elsewhere was forgotten. Whoever has one for 90 days renews it with 30 left
/// (letsencrypt.org/docs/integration-guide).
pub fn is_overdue(ends: Timestamp, now: Timestamp) -> bool {
    ends.duration_since(now) < jiff::SignedDuration::from_hours(21 * 24)
}
