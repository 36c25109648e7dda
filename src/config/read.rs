//! Reading TOML values with their places: what was expected, what is there, and where.
//!
//! Nothing here stops at the first problem. A value that is not what it should be is reported and read as absent.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Problem;
use super::source::Source;
use crate::model::nearest;

/// What was found wrong, or odd, so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl Report {
    pub fn error(&mut self, at: &Spot, message: impl Into<String>, hint: impl Into<Hint>) {
        self.problems.push(at.problem(message.into(), hint.into()));
    }

    pub fn warn(&mut self, at: &Spot, message: impl Into<String>, hint: impl Into<Hint>) {
        self.warnings.push(at.problem(message.into(), hint.into()));
    }
}

/// What to type instead, if there is something to say.
pub(super) struct Hint(Option<String>);

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self(Some(text))
    }
}
impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}
impl From<Option<String>> for Hint {
    fn from(text: Option<String>) -> Self {
        Self(text)
    }
}

/// A place in a file. Prints as `FILE:LINE`.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub file: Arc<str>,
    pub line: u32,
    key: String,
}

impl Spot {
    /// The place of something that was read before.
    pub fn of(file: &Arc<str>, line: u32, key: String) -> Self {
        Self { file: file.clone(), line, key }
    }

    /// The place of a key that is missing from this table.
    pub fn missing(&self, key: &str) -> Self {
        Self { key: join(&self.key, key), ..self.clone() }
    }

    fn problem(&self, message: String, hint: Hint) -> Problem {
        Problem {
            file: PathBuf::from(&*self.file),
            line: Some(self.line),
            key: (!self.key.is_empty()).then(|| self.key.clone()),
            message,
            hint: hint.0,
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let key = if bare { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A text from a file as an error shows it: escaped, and cut where it grows long.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// The keys that a table may have.
pub(super) struct Keys<'a> {
    pub known: &'a [&'a str],
    /// Keys that mean something elsewhere or later, each with what to say about it.
    pub not_here: &'a [(&'a str, &'a str)],
    /// Words that people try, each with the key they mean.
    pub meant: &'a [(&'a str, &'a str)],
}

/// A TOML table.
pub(super) struct Section<'a> {
    pub spot: Spot,
    source: &'a Source,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    pub fn root(source: &'a Source, table: &'a DeTable<'a>) -> Self {
        let spot = Spot { file: source.name.clone(), line: 1, key: String::new() };
        Self { spot, source, table }
    }

    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        self.table.iter().map(|(key, value)| {
            let name: &'a str = key.get_ref();
            // The key's line, not the value's: a table's own span may begin elsewhere.
            let line = self.source.line(key.span().start);
            let spot = Spot { file: self.source.name.clone(), line, key: join(&self.spot.key, name) };
            (name, Item { spot, source: self.source, value: value.get_ref() })
        })
    }

    pub fn get(&self, key: &str) -> Option<Item<'a>> {
        self.entries().find(|(name, _)| *name == key).map(|(_, item)| item)
    }

    pub fn section(&self, key: &str, report: &mut Report) -> Option<Section<'a>> {
        self.get(key)?.section(report)
    }

    pub fn text(&self, key: &str, report: &mut Report) -> Option<&'a str> {
        self.get(key)?.text(report)
    }

    pub fn flag(&self, key: &str, default: bool, report: &mut Report) -> bool {
        self.get(key).and_then(|item| item.flag(report)).unwrap_or(default)
    }

    /// Reports every key that is none of these. Values are not shown: an unknown key may hold a secret.
    pub fn only(&self, keys: &Keys<'_>, report: &mut Report) {
        for (name, item) in self.entries().filter(|(name, _)| !keys.known.contains(name)) {
            let find = |pairs: &[(&str, &str)]| {
                pairs.iter().find(|(word, _)| *word == name).map(|(_, says)| (*says).to_owned())
            };
            if let Some(says) = find(keys.not_here) {
                report.error(&item.spot, says, None);
                continue;
            }
            let meant =
                find(keys.meant).or_else(|| nearest(name, keys.known.iter().copied()).map(str::to_owned));
            let hint = match meant {
                Some(key) => format!("did you mean \"{key}\"?"),
                None => format!("known here: {}", keys.known.join(", ")),
            };
            report.error(&item.spot, "unknown key", hint);
        }
    }
}

/// One value.
pub(super) struct Item<'a> {
    pub spot: Spot,
    source: &'a Source,
    value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    pub fn text(&self, report: &mut Report) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expected("a text in quotes", report);
        }
        text
    }

    /// A time as its text, which may stand in quotes or, as TOML's own kind of value, without.
    pub fn time(&self, report: &mut Report) -> Option<Cow<'a, str>> {
        match self.value {
            DeValue::String(text) => Some(text.clone()),
            DeValue::Datetime(time) => Some(time.to_string().into()),
            _ => {
                self.expected("a time like \"2026-12-24 18:00\"", report);
                None
            }
        }
    }

    pub fn flag(&self, report: &mut Report) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.expected("true or false", report);
        }
        flag
    }

    pub fn whole_number(&self, report: &mut Report) -> Option<i64> {
        let number = self.value.as_integer();
        if number.is_none() {
            self.expected("a whole number", report);
        }
        number.and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok())
    }

    pub fn port(&self, report: &mut Report) -> Option<u16> {
        let number = self.value.as_integer();
        let port =
            number.and_then(|n| u16::from_str_radix(n.as_str(), n.radix()).ok()).filter(|port| *port != 0);
        match (port, number) {
            (None, Some(n)) => report.error(
                &self.spot,
                format!("expected a TCP port, 1 to 65535, found {}", n.as_str()),
                None,
            ),
            (None, None) => self.expected("a TCP port, 1 to 65535", report),
            _ => {}
        }
        port
    }

    pub fn section(&self, report: &mut Report) -> Option<Section<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Section { spot: self.spot.clone(), source: self.source, table }),
            _ => {
                self.expected("a table", report);
                None
            }
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub fn is_text(&self, text: &str) -> bool {
        self.value.as_str() == Some(text)
    }

    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub fn is_section(&self) -> bool {
        self.value.is_table()
    }

    /// The values of a list, each with its own line.
    pub fn list(&self, report: &mut Report) -> Vec<Item<'a>> {
        let DeValue::Array(values) = self.value else {
            let hint = self.value.as_str().map(|word| format!("write [{}]", quote(word)));
            let message = format!("expected a list of names, found {}", kind_of(self.value));
            report.error(&self.spot, message, hint);
            return Vec::new();
        };
        values
            .iter()
            .map(|value| {
                let spot = Spot { line: self.source.line(value.span().start), ..self.spot.clone() };
                Item { spot, source: self.source, value: value.get_ref() }
            })
            .collect()
    }

    fn expected(&self, what: &str, report: &mut Report) {
        report.error(&self.spot, format!("expected {what}, found {}", kind_of(self.value)), None);
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
