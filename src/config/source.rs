//! One file's text, parsed as TOML, and the way from a byte in it to the line that a person can go to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::Problem;

/// A file's text. `name` is how people see it: relative to the folder of `ztgate.toml`.
#[derive(Debug)]
pub(super) struct Source {
    pub name: Arc<str>,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub fn new(name: &str, text: String) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Self { name: name.into(), text, line_starts }
    }

    /// `absent` is the hint where there is no such file.
    pub fn read(file: &Path, name: &str, absent: &str) -> Result<Self, Problem> {
        let whole = |message: String, hint: Option<&str>| Problem {
            file: name.into(),
            line: None,
            key: None,
            message,
            hint: hint.map(str::to_owned),
        };
        let bytes = std::fs::read(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                whole(format!("there is no file {}", file.display()), Some(absent))
            }
            _ => whole(format!("{} cannot be read: {error}", file.display()), None),
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(_) => Err(whole("is not UTF-8 text".to_owned(), Some("save the file as UTF-8"))),
        }
    }

    /// The 1-based line of a byte.
    pub fn line(&self, offset: usize) -> u32 {
        self.line_starts.partition_point(|start| *start <= offset) as u32
    }

    /// The text at a key of the top, as far as the file is TOML.
    pub fn text_at(&self, key: &str) -> Option<String> {
        let (table, _) = DeTable::parse_recoverable(&self.text);
        table.get_ref().get(key)?.get_ref().as_str().map(str::to_owned)
    }

    /// The file as TOML, or every place where it is none.
    pub fn parse(&self) -> Result<DeTable<'_>, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if errors.is_empty() {
            return Ok(table.into_inner());
        }
        // The message alone: the error's own display quotes the line, which may hold a secret.
        let mut problems: Vec<Problem> = errors
            .iter()
            .map(|error| Problem {
                file: PathBuf::from(&*self.name),
                line: error.span().map(|span| self.line(span.start)),
                key: None,
                message: format!("not valid TOML: {}", error.message()),
                // IDs look like numbers, and addresses begin like them.
                hint: ["invalid float", "invalid integer"]
                    .iter()
                    .any(|start| error.message().starts_with(start))
                    .then(|| "IDs, addresses and names go between quotes".to_owned()),
            })
            .collect();
        problems.sort_by_key(|problem| problem.line);
        Err(problems)
    }
}
