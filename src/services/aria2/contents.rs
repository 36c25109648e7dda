//! What is in the files that come with a call: the hosts that a torrent or a metalink would have aria2 ask are judged as
//! if their links stood in the call itself.
//!
//! Not by whole parsers: what is found may be more than aria2 would use, never less. A file that is written in a way in
//! which a link could hide is refused.

use super::refusal::Refusal;
use super::targets;

/// Judges a torrent; the name that it gives itself.
///
/// # Errors
/// It is no torrent, or names a tracker or web seed of the house.
pub fn torrent(file: &[u8], private: bool) -> Result<Option<String>, Refusal> {
    let no_torrent = || Refusal::malformed("the file is no torrent");
    let mut reader = Reader(file);
    let root = reader.value(DEEPEST).filter(|_| reader.0.trim_ascii().is_empty()).ok_or_else(no_torrent)?;
    let Bencode::Dict(members) = root else { return Err(no_torrent()) };
    let mut name = None;
    for (key, value) in &members {
        match *key {
            b"announce" | b"announce-list" | b"url-list" => value.each_text(&mut |link| {
                // aria2 strips what stands around it (bittorrent_helper.cc).
                targets::judge_inside(String::from_utf8_lossy(link).trim(), private)
            })?,
            // Where the DHT is entered (BEP 5).
            b"nodes" => value.each_text(&mut |host| {
                targets::judge_inside(&format!("udp://{}", String::from_utf8_lossy(host).trim()), private)
            })?,
            b"info" => name = value.get(b"name").map(|name| String::from_utf8_lossy(name).into_owned()),
            _ => {}
        }
    }
    Ok(name)
}

/// As deep as aria2 goes (BencodeParser.cc), and far deeper than any torrent.
const DEEPEST: usize = 50;

enum Bencode<'a> {
    Whole,
    Text(&'a [u8]),
    List(Vec<Self>),
    Dict(Vec<(&'a [u8], Self)>),
}

impl Bencode<'_> {
    fn get(&self, wanted: &[u8]) -> Option<&[u8]> {
        let Self::Dict(members) = self else { return None };
        members.iter().find_map(|(key, value)| match value {
            Self::Text(text) if *key == wanted => Some(*text),
            _ => None,
        })
    }

    fn each_text(&self, judge: &mut impl FnMut(&[u8]) -> Result<(), Refusal>) -> Result<(), Refusal> {
        match self {
            Self::Text(text) => judge(text),
            Self::List(items) => items.iter().try_for_each(|item| item.each_text(judge)),
            Self::Whole | Self::Dict(_) => Ok(()),
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn value(&mut self, levels: usize) -> Option<Bencode<'a>> {
        let levels = levels.checked_sub(1)?;
        match *self.0.first()? {
            b'i' => {
                let number = self.until(b'e')?.strip_prefix(b"i")?;
                let digits = number.strip_prefix(b"-").unwrap_or(number);
                is_whole(digits).then_some(Bencode::Whole)
            }
            b'l' => {
                self.0 = &self.0[1..];
                let mut items = Vec::new();
                while !self.ends()? {
                    items.push(self.value(levels)?);
                }
                Some(Bencode::List(items))
            }
            b'd' => {
                self.0 = &self.0[1..];
                let mut members = Vec::new();
                while !self.ends()? {
                    members.push((self.text()?, self.value(levels)?));
                }
                Some(Bencode::Dict(members))
            }
            _ => self.text().map(Bencode::Text),
        }
    }

    fn ends(&mut self) -> Option<bool> {
        let end = *self.0.first()? == b'e';
        self.0 = &self.0[usize::from(end)..];
        Some(end)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.until(b':').filter(|digits| is_whole(digits))?;
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        // No number is longer.
        let at = self.0.iter().take(24).position(|byte| *byte == end)?;
        let (found, rest) = self.0.split_at(at);
        self.0 = &rest[1..];
        Some(found)
    }
}

fn is_whole(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits[0] != b'0')
}

/// Judges a metalink.
///
/// # Errors
/// It is no text in UTF-8, hides links in parts of XML that no metalink needs, or names a host of the house.
pub fn metalink(file: &[u8], private: bool) -> Result<(), Refusal> {
    if private {
        return Ok(());
    }
    let hides = |how: &str| Refusal::not_offered(format!("a metalink with {how}, in which links can hide"));
    let text = std::str::from_utf8(file).map_err(|_| hides("another encoding than UTF-8"))?;
    // ASCII in UTF-16 is UTF-8 with zeros between, and aria2's parser tells it by its first bytes.
    let is_text = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    if !text.chars().all(is_text) || !text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        return Err(hides("another encoding than UTF-8"));
    }
    let mut in_link = false;
    for (at, piece) in text.split('<').enumerate() {
        if at > 0 && in_link && !piece.starts_with('/') {
            return Err(hides("something else within a link"));
        }
        let tag = piece
            .split(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'))
            .next()
            .unwrap_or_default();
        in_link = matches!(tag.rsplit(':').next(), Some("url" | "metaurl"));
        let declared = piece.to_ascii_lowercase();
        if declared.starts_with("!doctype") || declared.starts_with("!entity") {
            return Err(hides("a document type"));
        }
        if declared.starts_with("?xml") && declared.contains("encoding") && !declared.contains("utf-8") {
            return Err(hides("another encoding than UTF-8"));
        }
        let plain = without_entities(piece).ok_or_else(|| hides("entities of its own"))?;
        let plain = plain.trim_end();
        for (at, _) in plain.match_indices("://") {
            let scheme = plain[..at].trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
            targets::judge_inside(&plain[scheme..], private)?;
        }
    }
    Ok(())
}

/// A piece of XML with the entities undone that every XML has; none if it has others.
fn without_entities(piece: &str) -> Option<String> {
    let mut parts = piece.split('&');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = part.split_once(';')?;
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        out.push(match (name, name.strip_prefix("#x"), name.strip_prefix('#')) {
            ("amp", ..) => '&',
            ("lt", ..) => '<',
            ("gt", ..) => '>',
            ("quot", ..) => '"',
            ("apos", ..) => '\'',
            (_, Some(hex), _) => number(hex, 16)?,
            (_, None, Some(digits)) => number(digits, 10)?,
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        format!("{}:{text}", text.len())
    }

    fn of(key: &str, value: &str) -> String {
        format!("d{}{value}4:infod4:name3:isoee", text(key))
    }

    #[test]
    fn a_torrent_tells_its_name_and_asks_the_world() {
        let list = format!("ll{}el{}{}ee", text("udp://t.example.org:80"), text("wss://nas/"), text(""));
        for file in [
            "d4:infod4:name3:isoee".to_owned(),
            of("announce", &text("http://t.example.org/announce")),
            of("announce-list", &list),
            of("url-list", &text("https://example.org/")),
            of("comment", &text("http://192.168.1.1/")),
        ] {
            assert_eq!(torrent(file.as_bytes(), false).unwrap().as_deref(), Some("iso"), "{file}");
        }
    }

    #[test]
    fn a_torrent_may_not_ask_the_house() {
        for file in [
            of("announce", &text("http://192.168.1.1/set?dns=6.6.6.6")),
            of("nodes", &format!("ll{}i6881eee", text("192.168.1.1"))),
            of("announce", &text("\n http://127.0.0.1:6800/")),
            of("announce-list", &format!("ll{}ee", text("udp://nas:80"))),
            of("url-list", &format!("l{}e", text("HTTP://[::1]/"))),
        ] {
            assert!(torrent(file.as_bytes(), false).is_err(), "{file}");
            assert!(torrent(file.as_bytes(), true).is_ok(), "{file}");
        }
    }

    #[test]
    fn what_is_no_torrent_is_refused() {
        let deep = format!("{}{}", "l".repeat(60), "e".repeat(60));
        for file in [
            "",
            "d",
            "de x",
            "i5e",
            "d4:infoe",
            "d04:infodee",
            "d4:infoi-e1:ae",
            "d9:infodee",
            "d4:infodeede",
            &deep,
        ] {
            assert!(torrent(file.as_bytes(), true).is_err(), "{file}");
        }
    }

    #[test]
    fn a_metalink_asks_the_world_and_hides_nothing() {
        let plain = r#"<?xml version="1.0" encoding="UTF-8"?><metalink xmlns="http://www.metalinker.org/"><!-- x -->
            <file name="a"><url type="http">http://example.org/a?b&amp;c</url><url> ftp://me@b.org/ </url></file>"#;
        assert!(metalink(plain.as_bytes(), false).is_ok());
        for part in [
            "<url>http://192.168.1.1/</url>",
            "<url>http://example.org\n@127.0.0.1/</url>",
            "<url>http://example.org&#34;@127.0.0.1/</url>",
            "<url>http&#58;//127.0.0.1/</url>",
            "<m:url>http&#x3a;&#x2F;/127.0.0.1/</m:url>",
            "<url>http:<!-- -->//127.0.0.1/</url>",
            "<url>http:<b/>//127.0.0.1/</url>",
            "<metaurl><![CDATA[http://127.0.0.1/]]></metaurl>",
            "<url>&x;//127.0.0.1/</url>",
            "<!DOCTYPE x>",
            "<?xml version='1.0' encoding='utf-7'?>",
            "<url>\u{e9}http://nas/</url>",
        ] {
            assert!(metalink(format!("{plain}{part}").as_bytes(), false).is_err(), "{part}");
            assert!(metalink(part.as_bytes(), true).is_ok());
        }
        assert!(metalink(b"<url>\xff</url>", false).is_err());
        // aria2 reads these, and all their letters are UTF-8 with zeros between.
        let little: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = plain.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(metalink(&little, false).is_err() && metalink(&big, false).is_err());
    }
}
