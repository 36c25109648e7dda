//! Words in the files that mean somebody, read one by one.

use crate::model::{Label, MemberId, NameError};

use super::names::{Kind, RESERVED};
use super::read::{Item, Report, Spot, quote};
use super::{Grant, Who};

/// Whom a word of `allow` or `[groups]` means. `None`, and a problem, if it can mean nobody; whether somebody is called
/// that is not asked here, because names are given while the gateway runs.
pub(super) fn who(word: &Item<'_>, report: &mut Report) -> Option<Who> {
    let text = word.text(report)?;
    if text == "*" {
        return Some(Who::Anyone);
    }
    if let Ok(id) = text.parse::<MemberId>() {
        return Some(Who::Member(id));
    }
    if RESERVED.contains(&text) {
        let message = format!("no device, owner or group can be called {}", quote(text));
        report.error(&word.spot, message, "any active member is \"*\"");
        return None;
    }
    label(text, &word.spot, report).map(Who::Name)
}

/// A list of such words as grants of a role, or of the strongest one.
pub(super) fn grants(list: &Item<'_>, role: Option<&'static str>, report: &mut Report) -> Vec<Grant> {
    let words = list.list(report);
    words
        .iter()
        .filter_map(|word| {
            let who = who(word, report)?;
            Some(Grant { who, role, file: word.spot.file.clone(), line: word.spot.line })
        })
        .collect()
}

/// A text as the name of something; a problem if it will not do.
pub(super) fn name(text: &str, kind: Kind, spot: &Spot, report: &mut Report) -> Option<Label> {
    let name = label(text, spot, report)?;
    if RESERVED.contains(&name.as_str()) {
        let message = format!("\"{name}\" is reserved; it would read as more than {kind}");
        report.error(spot, message, "choose another name; any active member is \"*\" in allow");
        return None;
    }
    Some(name)
}

/// A text as a name; a problem if it is none.
pub(super) fn label(text: &str, spot: &Spot, report: &mut Report) -> Option<Label> {
    match text.parse::<Label>() {
        Ok(name) => Some(name),
        Err(error) => {
            let mended = text.to_lowercase().replace([' ', '_', '.'], "-");
            let hint = match error {
                NameError::LooksLikeId => Some("give it a name that a person would say".to_owned()),
                _ if mended != text && mended.parse::<Label>().is_ok() => Some(format!("write \"{mended}\"")),
                _ => None,
            };
            report.error(spot, format!("{} is no name: {error}", quote(text)), hint);
            None
        }
    }
}
