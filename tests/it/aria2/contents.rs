//! What aria2 1.36 makes of the file that comes with a call, by its sources: base64.h, BencodeParser.cc, bittorrent_helper.cc,
//! MetalinkParserStateV3Impl.cc, MetalinkParserStateV4Impl.cc and MetalinkParserController.cc. What is found may be more than
//! it would use, never less; a real aria2 is asked whether that is so.

use super::model::Value;

/// What a file would have aria2 do.
#[derive(Debug, Default)]
pub struct Contents {
    /// What it would ask: files, trackers, where the DHT is entered.
    pub links: Vec<String>,
    /// What it would write, below the folder of its downloads.
    pub names: Vec<String>,
}

/// The bytes of a text in base64; what is no base64 is passed over, and all is nothing if it is cut off.
pub fn from_base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let known: Vec<u8> = text.bytes().filter(|b| *b == b'=' || digit(*b).is_some()).collect();
    let mut out = Vec::new();
    for (at, four) in known.chunks(4).enumerate() {
        let pad = four.iter().filter(|b| **b == b'=').count();
        let bits = four.iter().fold(0u32, |bits, b| bits << 6 | u32::from(digit(*b).unwrap_or(0)));
        let ends_well = pad == 0 || at + 1 == known.len() / 4 && four[4 - pad..].iter().all(|b| *b == b'=');
        if four.len() < 4 || pad > 2 || !ends_well {
            return Vec::new();
        }
        out.extend(&bits.to_be_bytes()[1..4 - pad]);
    }
    out
}

/// Why there is nothing in a torrent.
#[derive(Debug, PartialEq)]
pub enum Unread {
    /// aria2 says so.
    NoTorrent,
    /// aria2 does not survive it.
    EndsAria2,
}

/// A torrent, with the web seeds that the call has beside it.
pub fn torrent(file: &[u8], seeds: &[String]) -> Result<Contents, Unread> {
    let root = Bencode { bytes: file, at: 0 }.value(0).ok_or(Unread::NoTorrent)?;
    let info = root.get("info").filter(|info| matches!(info, Value::Dict(_))).ok_or(Unread::NoTorrent)?;
    match info.get("piece length") {
        // For the hash it writes anew what came twice and so lost its value.
        _ if has_twins(info) => return Err(Unread::EndsAria2),
        Some(Value::Whole(1..=0x7fff_ffff)) => {}
        // It divides by this, in 32 bits (`processRootDictionary`).
        Some(Value::Whole(0..)) => return Err(Unread::EndsAria2),
        _ => return Err(Unread::NoTorrent),
    }
    let name = match info.get("name.utf-8").or_else(|| info.get("name")) {
        Some(Value::Text(name)) => lossy(name),
        _ => ".file".to_owned(),
    };
    let mut paths = vec![String::new()];
    if let Some(Value::List(files)) = info.get("files") {
        let path = |file: &Value| match file.get("path.utf-8").or_else(|| file.get("path")) {
            Some(Value::List(parts)) => {
                Some(parts.iter().filter_map(text).map(|part| format!("/{}", encoded(&part))).collect())
            }
            _ => None,
        };
        paths = files.iter().filter_map(path).collect();
    }
    let mut found = Contents { links: texts(root.get("announce")), names: vec![name.clone()] };
    found.links.extend(texts(root.get("announce-list")));
    if let Some(Value::List(nodes)) = root.get("nodes") {
        let host = |node: &Value| match node {
            Value::List(pair) => Some(format!("udp://{}/", text(pair.first()?)?.trim())),
            _ => None,
        };
        found.links.extend(nodes.iter().filter_map(host));
    }
    for seed in texts(root.get("url-list")).iter().chain(seeds) {
        // A folder is meant by what ends so, or where there are several files (`createUri`).
        let slash = if seed.ends_with('/') { "" } else { "/" };
        found.links.push(seed.clone());
        found.links.extend(paths.iter().map(|path| format!("{seed}{slash}{}{path}", encoded(&name))));
    }
    Ok(found)
}

fn has_twins(value: &Value) -> bool {
    match value {
        Value::Dict(members) => {
            let twin = |(at, (key, _)): (usize, &(Vec<u8>, Value))| {
                members[..at].iter().any(|(known, _)| known == key)
            };
            members.iter().enumerate().any(twin) || members.iter().any(|(_, value)| has_twins(value))
        }
        Value::List(items) => items.iter().any(has_twins),
        _ => false,
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(lossy(text)),
        _ => None,
    }
}

/// All texts of a value and of the lists in it, what stands around them taken off (`strip`).
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Text(text)) => vec![lossy(text).trim_matches([' ', '\t', '\r', '\n']).to_owned()],
        Some(Value::List(items)) => items.iter().flat_map(|item| texts(Some(item))).collect(),
        _ => Vec::new(),
    }
}

fn encoded(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Numbers with their sign, zeros and fractions, keys in any order, whatever behind the value: aria2 takes it all.
struct Bencode<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bencode<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let first = *self.bytes.get(self.at).filter(|_| depth < 50)?;
        match first {
            b'i' => {
                let end = self.at + self.bytes[self.at..].iter().position(|b| *b == b'e')?;
                let digits = lossy(&self.bytes[self.at + 1..end]);
                self.at = end + 1;
                // A fraction makes it zero.
                Some(Value::Whole(digits.parse().unwrap_or(0)))
            }
            b'l' | b'd' => {
                self.at += 1;
                let (mut items, mut members) = (Vec::new(), Vec::new());
                while *self.bytes.get(self.at)? != b'e' {
                    if first == b'd' {
                        members.push((self.text()?, self.value(depth + 1)?));
                    } else {
                        items.push(self.value(depth + 1)?);
                    }
                }
                self.at += 1;
                Some(if first == b'd' { Value::Dict(members) } else { Value::List(items) })
            }
            _ => self.text().map(Value::Text),
        }
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let colon = self.at + self.bytes[self.at..].iter().position(|b| *b == b':')?;
        let length: usize = std::str::from_utf8(&self.bytes[self.at..colon]).ok()?.parse().ok()?;
        let text = self.bytes.get(colon + 1..(colon + 1).checked_add(length)?)?;
        self.at = colon + 1 + length;
        Some(text.to_vec())
    }
}

/// A metalink of version 3 or 4. To aria2 whatever has a name may be a file, and what is in an `url` within an `url` is of none.
pub fn metalink(file: &[u8]) -> Contents {
    let mut xml = Xml { text: decoded(file), at: 0 };
    let mut found = Contents::default();
    let mut open: Vec<(String, String)> = Vec::new();
    while let Some(part) = xml.part() {
        match part {
            Part::Text(text) => open.last_mut().into_iter().for_each(|(_, within)| within.push_str(&text)),
            Part::Start { tag, names } => {
                found.names.extend(names);
                open.push((tag, String::new()));
            }
            Part::End => match open.pop() {
                Some((tag, link)) if matches!(tag.as_str(), "url" | "metaurl") => found.links.push(link),
                _ => {}
            },
        }
    }
    found
}

/// As libxml2 finds the encoding where nobody says it (XML 1.0, appendix F).
fn decoded(file: &[u8]) -> String {
    let units = |of: fn([u8; 2]) -> u16| -> Vec<u16> {
        file.chunks_exact(2).map(|two| of([two[0], two[1]])).collect()
    };
    match file {
        [0xff, 0xfe, ..] | [b'<', 0, ..] => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] | [0, b'<', ..] => String::from_utf16_lossy(&units(u16::from_be_bytes)),
        _ => lossy(file),
    }
}

enum Part {
    Text(String),
    Start { tag: String, names: Vec<String> },
    End,
}

struct Xml {
    text: String,
    at: usize,
}

impl Xml {
    /// Up to that mark, and behind it.
    fn until(&mut self, mark: &str) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(mark).unwrap_or(rest.len());
        let found = rest[..end].to_owned();
        self.at = (self.at + end + mark.len()).min(self.text.len());
        found
    }

    fn part(&mut self) -> Option<Part> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let hidden = [("<!--", "-->"), ("<?", "?>"), ("<!DOCTYPE", ">")];
        if let Some((_, end)) = hidden.iter().find(|(start, _)| rest.starts_with(start)) {
            self.until(end);
            return Some(Part::Text(String::new()));
        }
        if rest.starts_with("<![CDATA[") {
            self.at += 9;
            return Some(Part::Text(self.until("]]>")));
        }
        if rest.starts_with("</") {
            self.until(">");
            return Some(Part::End);
        }
        if !rest.starts_with('<') {
            let text = self.until("<");
            self.at -= usize::from(self.text[..self.at].ends_with('<'));
            return Some(Part::Text(plain(&text)));
        }
        self.at += 1;
        Some(self.start())
    }

    fn start(&mut self) -> Part {
        let local = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
        let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/' | '=');
        let (mut tag, mut names, mut last) = (None, Vec::new(), String::new());
        loop {
            let rest = &self.text[self.at..];
            let Some(first) = rest.chars().next() else { break };
            match first {
                '>' => {
                    self.at += 1;
                    break;
                }
                '"' | '\'' => {
                    self.at += 1;
                    let value = self.until(&first.to_string());
                    names.extend((last == "name").then(|| plain(&value)));
                }
                _ if ends(first) => self.at += 1,
                _ => {
                    let word =
                        &rest[..rest.find(|c| ends(c) || matches!(c, '"' | '\'')).unwrap_or(rest.len())];
                    self.at += word.len();
                    last = local(word);
                    tag.get_or_insert(last.clone());
                }
            }
        }
        if self.text[..self.at].ends_with("/>") {
            // What has no end has nothing within, and its end may as well be that of another.
            self.text.insert_str(self.at, "</>");
        }
        Part::Start { tag: tag.unwrap_or_default(), names }
    }
}

/// With the entities undone that every XML has; others make aria2 refuse the file.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let (name, after) = behind.split_once(';').unwrap_or((behind, ""));
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        out.extend(match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
                (Some(hex), _) => number(hex, 16),
                (None, Some(digits)) => number(digits, 10),
                _ => None,
            },
        });
        rest = after;
    }
    out.push_str(rest);
    out
}
