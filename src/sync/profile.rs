//! What is said of a device, before and after a change. Pure.

use jiff::Timestamp;

use crate::model::Label;
use crate::store::Profile;

/// Whether what is said of a device opens nothing that it did not open before: any name may stand in a rule.
pub fn is_less(old: &Profile, new: &Profile) -> bool {
    let ends_no_later = match (old.until, new.until) {
        (Some(old), Some(new)) => new <= old,
        (Some(_), None) => false,
        (None, _) => true,
    };
    let same_words = (&old.name, &old.owner, &old.notes) == (&new.name, &new.owner, &new.notes);
    same_words && ends_no_later && new.groups.iter().all(|group| old.groups.contains(group))
}

/// How two profiles differ, for people to read.
pub fn differences(old: &Profile, new: &Profile) -> Vec<String> {
    let word = |label: &Option<Label>| label.as_ref().map_or("none", Label::as_str).to_owned();
    let words = |labels: &[Label]| {
        if labels.is_empty() {
            return "none".to_owned();
        }
        labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ")
    };
    let end = |until: &Option<Timestamp>| until.map_or("never".to_owned(), |until| format!("{until:.0}"));
    let mut told = Vec::new();
    let mut tell = |what: &str, old: String, new: String| {
        if old != new {
            told.push(format!("{what} {old} -> {new}"));
        }
    };
    tell("name", word(&old.name), word(&new.name));
    tell("owner", word(&old.owner), word(&new.owner));
    tell("groups", words(&old.groups), words(&new.groups));
    tell("expires", end(&old.until), end(&new.until));
    if old.notes != new.notes {
        told.push("notes changed".to_owned());
    }
    told
}
