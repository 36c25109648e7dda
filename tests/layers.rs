//! Holds the shape of the house: which module may import which, how each file opens, how long it grows, and where
//! `unsafe` lives. Each failure says what to do about it.

#![allow(clippy::unwrap_used, reason = "clippy.toml spares test functions, not their helpers")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. A module imports only from the layers below its own: data and decisions then flow one way, and a file
/// can be read knowing only what lies under it. ARCHITECTURE.md says what each module owns.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["linux", "outbound"],
    &["services"],
    &["config", "store", "zerotier", "ca"],
    &["identity", "nameserver"],
    &["policy", "routes", "sync", "overlay", "notify", "acme", "publish"],
    &["audit", "portal", "push"],
    &["proxy", "dns"],
    &["admin"],
    &["gateway"],
    &["cli", "demo", "main"],
];

/// Neighbours of one layer stay strangers, unless a line here says why: `(importer, imported, reason)`.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("main", "cli", "the program is its command line"),
    ("cli", "demo", "`ztgate demo` is a verb like any other"),
];

/// Code lines of one file, tests aside, at its end or in a `tests.rs`. Most files stay far below.
const LONGEST_FILE: usize = 450;

/// Where a kind of service may be called by its name outside its room, and why.
const CALLED_BY_NAME: &[(&str, &str)] = &[
    ("src/demo/", "the demo brings services to look at"),
    ("src/cli/demo.rs", "it says what there is to look at"),
];

/// The one module that talks to the kernel by hand.
const UNSAFE_MODULE: &str = "linux";

#[test]
fn modules_import_only_from_the_layers_below() {
    report(
        sources().iter().flat_map(Source::wrong_imports),
        "move the code, or change LAYERS in tests/layers.rs",
    );
}

#[test]
fn every_allowed_neighbour_is_still_needed() {
    let sources = sources();
    let exists = |module: &str| sources.iter().any(|source| source.module == module);
    let used: BTreeSet<_> = sources.iter().flat_map(Source::imports).collect();
    let stale = NEIGHBOURS
        .iter()
        .filter(|(from, to, _)| exists(from) && exists(to))
        .filter(|(from, to, _)| !used.contains(&(from.to_string(), to.to_string())))
        .map(|(from, to, _)| format!("{from} no longer imports {to}"));
    report(stale, "take the line out of NEIGHBOURS in tests/layers.rs");
}

#[test]
fn files_open_by_saying_what_they_own() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//!"));
    report(silent.map(|source| source.name), "open the file with a `//!` line that says what it owns");
}

#[test]
fn files_stay_short_enough_to_read_in_one_go() {
    let long =
        sources().into_iter().filter(|source| !source.name.ends_with("/tests.rs")).filter_map(|source| {
            let lines = without_tests(&source.text).lines().count();
            (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines, {LONGEST_FILE} at most", source.name))
        });
    report(long, "give the stage that outgrew the file a file of its own");
}

/// `run` cannot be talked into a simulated origin, because nothing outside the demo can name it.
#[test]
fn the_simulated_origin_is_the_demos_alone() {
    let sources = sources();
    let users = sources.iter().filter(|source| words(&source.code).any(|word| word == "SimulatedOrigin"));
    let (inside, outside): (Vec<_>, Vec<_>) = users.partition(|source| source.module == "demo");
    assert!(!inside.is_empty(), "the demo has no SimulatedOrigin; has it another name?");
    report(outside.into_iter().map(|source| source.name.clone()), "build it in src/demo only");
}

/// What sets a kind of service apart is its room's to know: a new kind is a new room, and no change anywhere else.
#[test]
fn kinds_of_services_are_known_in_their_rooms_alone() {
    let sources = sources();
    let rooms = sources.iter().filter(|source| source.name.starts_with("src/services/"));
    let words: BTreeSet<&str> = rooms.filter_map(Source::kind).filter(|word| *word != "http").collect();
    assert!(words.len() > 1, "found only {words:?}; is a kind's word written in another way?");
    let elsewhere = sources.iter().filter(|source| {
        let mut spared = CALLED_BY_NAME.iter().map(|(place, _)| *place).chain(["src/services/"]);
        !spared.any(|place| source.name.starts_with(place)) && !source.is_test()
    });
    let found = elsewhere.flat_map(|source| {
        let said = source.said().to_lowercase();
        let named: Vec<&&str> = words.iter().filter(|word| said.contains(**word)).collect();
        named.into_iter().map(|word| format!("{} knows of {word}", source.name)).collect::<Vec<_>>()
    });
    report(found, "let the kind say it (src/services/mod.rs), and ask the kind");
}

#[test]
fn unsafe_lives_in_one_module() {
    let stray = sources()
        .into_iter()
        .filter(|source| source.module != UNSAFE_MODULE && words(&source.code).any(|word| word == "unsafe"));
    report(stray.map(|source| source.name), "wrap the system call in src/linux and call the wrapper");
}

/// Fails with every finding at once, and how to mend them.
#[track_caller]
fn report(findings: impl IntoIterator<Item = String>, mend: &str) {
    let findings: BTreeSet<String> = findings.into_iter().collect();
    let list = findings.into_iter().collect::<Vec<_>>();
    assert!(list.is_empty(), "\n  {}\n\nTo mend it: {mend}.\n", list.join("\n  "));
}

/// One file under `src`.
struct Source {
    /// Like `src/identity/roster.rs`.
    name: String,
    /// The first part of its path: `identity`.
    module: String,
    text: String,
    /// The text without comments and string contents.
    code: String,
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let inner = file.strip_prefix(root).unwrap();
        let module = inner.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(file).unwrap();
        Self { name: format!("src/{}", inner.display()), module, code: code_only(&text), text }
    }

    /// `(importer, imported)` for each other module that this file names. Inside `main.rs` the crate is called `ztgate`.
    fn imports(&self) -> Vec<(String, String)> {
        let root = if self.module == "main" { "ztgate" } else { "crate" };
        let others = first_segments(&self.code, root).into_iter().filter(|name| *name != self.module);
        others
            .filter(|name| self.module != "lib" && layer(name).is_some())
            .map(|to| (self.module.clone(), to))
            .collect()
    }

    /// The word of the kind of service whose room this file opens.
    fn kind(&self) -> Option<&str> {
        let (_, kind) = self.text.split_once("static KIND: Kind = Kind {")?;
        let (_, word) = kind.split_once("word: \"")?;
        word.split('"').next()
    }

    fn is_test(&self) -> bool {
        self.name.contains("/tests/") || self.name.ends_with("tests.rs")
    }

    /// What the program itself says: names and texts, without comments and the tests beside the code.
    fn said(&self) -> String {
        let lines = without_tests(&self.text).lines();
        lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }

    fn wrong_imports(&self) -> Vec<String> {
        if self.module == "lib" {
            return Vec::new();
        }
        let Some(own) = layer(&self.module) else {
            return vec![format!("{}: module `{}` has no layer", self.name, self.module)];
        };
        let allowed =
            |to: &str| NEIGHBOURS.iter().any(|(from, neighbour, _)| *from == self.module && *neighbour == to);
        let wrong = self.imports().into_iter().filter(|(_, to)| layer(to) >= Some(own) && !allowed(to));
        wrong
            .map(|(from, to)| {
                let level = layer(&to).unwrap();
                format!(
                    "{}: {from} (layer {own}) imports {to} (layer {level}), which is not below it",
                    self.name
                )
            })
            .collect()
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&module))
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 5, "found only {} files in {}", files.len(), root.display());
    files.iter().map(|file| Source::read(&root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What stands right behind `ROOT::`, one name or the heads of a braced list.
fn first_segments(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let needle = format!("{root}::");
    for (at, _) in code.match_indices(&needle) {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + needle.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => found.extend(words(rest).next().map(str::to_owned)),
        }
    }
    found
}

/// The first word of each item at the top level of a `{...}` list that has just been opened.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut item, mut found) = (0, String::new(), Vec::new());
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(std::mem::take(&mut item)),
            _ => item.push(letter),
        }
    }
    found.push(item);
    found.iter().filter_map(|item| words(item).next()).map(str::to_owned).collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter| !is_word(letter)).filter(|word| !word.is_empty())
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The file up to its last `#[cfg(test)]`, where the tests beside the code begin.
fn without_tests(text: &str) -> &str {
    let begins = ["mod ", "pub(crate) mod ", "pub(super) mod "];
    let ends = begins.iter().filter_map(|module| text.rfind(&format!("\n#[cfg(test)]\n{module}")));
    ends.max().map_or(text, |end| &text[..end])
}

/// Drops comments and what is between quotes, so that neither prose nor messages count as code.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skip = match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if !code.ends_with(is_word) && raw_string(rest).is_some() => raw_string(rest).unwrap(),
            '"' => quoted(rest),
            '\'' => char_literal(rest).unwrap_or(0),
            _ => 0,
        };
        if skip == 0 {
            code.push(letter);
        }
        rest = &rest[skip.max(letter.len_utf8())..];
    }
    code
}

/// The length of the string literal that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The length of the raw string literal that `text` begins with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|letter| *letter == '#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len()))
}

/// The length of the character literal that `text` begins with; `None` for a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        letters.next()?;
        return letters.find(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1);
    }
    letters.next().filter(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_in_every_form() {
        let code =
            "use crate::a::B;\nuse crate::{c, d::{E, f}, g as h};\nfn x() { crate::i::j(); mycrate::k::l() }";
        let found: Vec<_> = first_segments(code, "crate").into_iter().collect();
        assert_eq!(found, ["a", "c", "d", "g", "i"]);
    }

    #[test]
    fn neither_prose_nor_text_counts_as_code() {
        let cases = [
            ("a // unsafe\nb", "a \nb"),
            ("a /* unsafe */ b", "a  b"),
            (r#"a("unsafe \" unsafe") b"#, "a() b"),
            (r##"a(r#"un"safe"#) b"##, "a() b"),
            (r"a('\'', '/', b'\x7f') b", "a(, , b) b"),
            ("a<'b>('\"') c", "a<'b>() c"),
            ("for r in \"x\" {}", "for r in  {}"),
        ];
        for (text, code) in cases {
            assert_eq!(code_only(text), code, "{text}");
        }
    }

    #[test]
    fn upward_and_sideways_imports_are_named() {
        let source = |module: &str, text: &str| Source {
            name: format!("src/{module}.rs"),
            module: module.into(),
            code: code_only(text),
            text: text.into(),
        };
        assert!(source("identity", "use crate::model::Mac;").wrong_imports().is_empty());
        assert!(source("cli", "use crate::demo::run;").wrong_imports().is_empty(), "a listed neighbour");
        let upward = source("identity", "use crate::{model::Mac, policy::Rules};").wrong_imports();
        assert_eq!(
            upward,
            ["src/identity.rs: identity (layer 4) imports policy (layer 5), which is not below it"]
        );
        assert_eq!(source("store", "use crate::config::Config;").wrong_imports().len(), 1, "same layer");
        assert_eq!(source("attic", "").wrong_imports(), ["src/attic.rs: module `attic` has no layer"]);
    }

    #[test]
    fn tests_beside_the_code_do_not_count_as_length() {
        for module in ["mod tests", "pub(crate) mod tests", "pub(super) mod tests"] {
            assert_eq!(without_tests(&format!("a\n\n#[cfg(test)]\n{module} {{\n}}\n")).lines().count(), 1);
        }
    }
}
