//! Torrents: bencoded (BEP 3), in order, with the trackers, web seeds and nodes that aria2 would ask.

use std::collections::HashSet;

use aws_lc_rs::digest;

use super::hidden;
use crate::services::aria2::refusal::Refusal;
use crate::services::aria2::targets;

/// What a torrent is, for the record.
#[derive(Debug)]
pub struct Torrent {
    /// As it calls itself.
    pub name: String,
    /// Its info hash (BEP 3) in hexadecimal digits, by which the world knows it.
    pub hash: String,
}

/// Judges a torrent.
///
/// # Errors
/// It is no torrent, names a tracker or web seed of the house, or writes to a file that begins with a dot.
pub fn torrent(file: &[u8], private: bool) -> Result<Torrent, Refusal> {
    let no_torrent = || Refusal::malformed("the file is no torrent");
    let mut reader = Reader { rest: file.strip_prefix(b"d").ok_or_else(no_torrent)?, left: MOST_VALUES };
    let mut torrent = None;
    let mut keys = HashSet::new();
    while !reader.ends().ok_or_else(no_torrent)? {
        let key = reader.text().filter(|key| keys.insert(*key)).ok_or_else(no_torrent)?;
        let before = reader.rest;
        let value = reader.value(DEEPEST).ok_or_else(no_torrent)?;
        match key {
            b"announce" | b"announce-list" | b"url-list" => value.each_text(&mut |link| {
                // aria2 strips what stands around it (bittorrent_helper.cc).
                targets::judge_inside(String::from_utf8_lossy(link).trim(), private)
            })?,
            // Where the DHT is entered (BEP 5).
            b"nodes" => value.each_text(&mut |host| {
                targets::judge_inside(&format!("udp://{}", String::from_utf8_lossy(host).trim()), private)
            })?,
            b"info" => torrent = Some(info(&value, &before[..before.len() - reader.rest.len()])?),
            _ => {}
        }
    }
    torrent.filter(|_| reader.rest.trim_ascii().is_empty()).ok_or_else(no_torrent)
}

fn info(value: &Bencode, written: &[u8]) -> Result<Torrent, Refusal> {
    let Bencode::Dict { in_order, .. } = value else {
        return Err(Refusal::malformed("the file is no torrent"));
    };
    // aria2 brings them into order before it computes the hash (bittorrent_helper.cc), and asks for another torrent then.
    if !in_order {
        return Err(Refusal::malformed(
            "the torrent's keys are in no order, so nobody has what aria2 would ask for",
        ));
    }
    // The first one that is there, whatever it is; without any aria2 writes to `.file` (bittorrent_helper.cc).
    let name = value.get(b"name.utf-8").or_else(|| value.get(b"name")).and_then(Bencode::text);
    let name =
        name.filter(|name| !name.is_empty()).ok_or_else(|| Refusal::malformed("the torrent has no name"))?;
    let name = String::from_utf8_lossy(name).into_owned();
    if name.split(['/', '\\']).any(|part| part.starts_with('.')) {
        return Err(hidden("torrent"));
    }
    // aria2 divides by it, counts in 32 bits, and ends where that comes to nothing (bittorrent_helper.cc).
    if let Some(Bencode::Whole(length)) = value.get(b"piece length")
        && !length.is_some_and(|length| (1..=MOST_A_PIECE).contains(&length))
    {
        return Err(Refusal::malformed("the torrent's pieces have no length that there is"));
    }
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, written);
    let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Torrent { name, hash })
}

/// As deep as aria2 goes (BencodeParser.cc), and far deeper than any torrent.
const DEEPEST: usize = 50;

/// Two bytes may be a value of 40 bytes in memory. Torrents of a hundred thousand files have as many.
const MOST_VALUES: usize = 1 << 19;

/// Bytes of a piece; aria2's own limit for those that it cuts itself (`--piece-length`, 1G).
const MOST_A_PIECE: i64 = 1 << 30;

enum Bencode<'a> {
    /// None if it does not fit into 64 bits.
    Whole(Option<i64>),
    Text(&'a [u8]),
    List(Vec<Self>),
    Dict {
        members: Vec<(&'a [u8], Self)>,
        /// Whether its keys, and those of all within, come once each and sorted.
        in_order: bool,
    },
}

impl Bencode<'_> {
    fn get(&self, wanted: &[u8]) -> Option<&Self> {
        let Self::Dict { members, .. } = self else { return None };
        members.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value)
    }

    fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is_in_order(&self) -> bool {
        match self {
            Self::Whole(_) | Self::Text(_) => true,
            Self::List(items) => items.iter().all(Self::is_in_order),
            Self::Dict { in_order, .. } => *in_order,
        }
    }

    fn each_text(&self, judge: &mut impl FnMut(&[u8]) -> Result<(), Refusal>) -> Result<(), Refusal> {
        match self {
            Self::Text(text) => judge(text),
            Self::List(items) => items.iter().try_for_each(|item| item.each_text(judge)),
            Self::Whole(_) | Self::Dict { .. } => Ok(()),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many values there may still be.
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, levels: usize) -> Option<Bencode<'a>> {
        let levels = levels.checked_sub(1)?;
        self.left = self.left.checked_sub(1)?;
        match *self.rest.first()? {
            b'i' => {
                let number = self.until(b'e')?.strip_prefix(b"i")?;
                let digits = number.strip_prefix(b"-").unwrap_or(number);
                let whole = || std::str::from_utf8(number).ok()?.parse().ok();
                is_whole(digits).then(|| Bencode::Whole(whole()))
            }
            b'l' => {
                self.rest = &self.rest[1..];
                let mut items = Vec::new();
                while !self.ends()? {
                    items.push(self.value(levels)?);
                }
                Some(Bencode::List(items))
            }
            b'd' => {
                self.rest = &self.rest[1..];
                let mut members: Vec<(&[u8], _)> = Vec::new();
                let mut in_order = true;
                while !self.ends()? {
                    let (key, value) = (self.text()?, self.value(levels)?);
                    in_order &= members.last().is_none_or(|(last, _)| *last < key) && value.is_in_order();
                    members.push((key, value));
                }
                Some(Bencode::Dict { members, in_order })
            }
            _ => self.text().map(Bencode::Text),
        }
    }

    fn ends(&mut self) -> Option<bool> {
        let end = *self.rest.first()? == b'e';
        self.rest = &self.rest[usize::from(end)..];
        Some(end)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.until(b':').filter(|digits| is_whole(digits))?;
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(text)
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        // No number is longer.
        let at = self.rest.iter().take(24).position(|byte| *byte == end)?;
        let (found, rest) = self.rest.split_at(at);
        self.rest = &rest[1..];
        Some(found)
    }
}

fn is_whole(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits[0] != b'0')
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

    fn named(name: &str) -> String {
        format!("d4:infod4:name{}ee", text(name))
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
            let torrent = torrent(file.as_bytes(), false).unwrap();
            assert_eq!(torrent.name, "iso", "{file}");
            // printf d4:name3:isoe | sha1sum
            assert_eq!(torrent.hash, "6a404f55bf72785847ec939ecb922bfab5eea25a");
        }
        let both = "d4:infod4:name1:a10:name.utf-82:\u{e9}ee";
        assert_eq!(torrent(both.as_bytes(), false).unwrap().name, "\u{e9}", "as aria2 has it");
    }

    #[test]
    fn nothing_is_written_where_programs_look_for_their_settings() {
        for name in [".profile", ".aria2/aria2.conf", "a/.ssh", "a\\.ssh", ".."] {
            assert!(torrent(named(name).as_bytes(), true).is_err(), "{name}");
        }
        assert!(torrent(named("a.b/c.d").as_bytes(), false).is_ok());
        for nameless in
            ["d4:infodee", "d4:infod4:name0:ee", "d4:infod4:namei1eee", "d4:infod4:name1:a10:name.utf-8leee"]
        {
            assert!(torrent(nameless.as_bytes(), true).is_err(), "{nameless}, which would be .file");
        }
    }

    #[test]
    fn no_torrent_is_long_to_judge() {
        let many = format!("d4:info{}", "le".repeat(MOST_VALUES + 1));
        assert!(
            torrent(format!("d1:al{}e{}", "le".repeat(MOST_VALUES), &named("a")[1..]).as_bytes(), true)
                .is_err()
        );
        assert!(torrent(many.as_bytes(), true).is_err());
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
    fn pieces_have_a_length_that_ends_no_aria2() {
        for (length, fine) in [
            ("1", true),
            ("16384", true),
            ("1073741824", true),
            ("0", false),
            ("-0", false),
            ("-16384", false),
            ("2147483648", false),
            ("4294967296", false),
            ("9223372036854775807", false),
            ("18446744073709551616", false),
        ] {
            let file = format!("d4:infod4:name3:iso12:piece lengthi{length}eee");
            assert_eq!(torrent(file.as_bytes(), false).is_ok(), fine, "{length}");
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
            "d4:infode4:infodee",
            "d4:infod1:bi1e1:ai1eee",
            "d4:infod1:ai1e1:ai1eee",
            "d4:infod1:ald1:bi1e1:ai1eeeee",
            &deep,
        ] {
            assert!(torrent(file.as_bytes(), true).is_err(), "{file}");
        }
    }
}
