//! Files that are shown as they are: all of them in memory, so that a request can only ever ask for one that is there.

use std::collections::HashMap;

use bytes::Bytes;

/// A folder's files by their path in it, `/index.html` say.
#[derive(Debug, Default)]
pub struct Folder(HashMap<Box<str>, Shown>);

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub media_type: &'static str,
    pub content: Bytes,
    /// A strong validator in quotes, as `ETag` has it.
    pub tag: Box<str>,
}

impl FromIterator<(String, Shown)> for Folder {
    fn from_iter<I: IntoIterator<Item = (String, Shown)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, file)| (path.into_boxed_str(), file)).collect())
    }
}

impl Folder {
    /// The file at a request's path; a folder's own is its `index.html`.
    pub fn find(&self, path: &str) -> Option<&Shown> {
        match path.ends_with('/') {
            true => self.0.get(format!("{path}index.html").as_str()),
            false => self.0.get(path),
        }
    }
}
