//! What of a request may be written down: secrets out, and nothing in that could play tricks on the reader's terminal.
//!
//! Everything here fails closed: what is not known to be harmless is not shown. A key that is spelt in an unusual way
//! (`%74oken`) is simply not on the list of harmless ones, so nothing has to be decoded to be safe.

use std::fmt::Write as _;

/// The most bytes of path and query that a record keeps, the mark of the cut included.
pub const TARGET_CAP: usize = 512;

/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// Query keys whose values are kept, in lower case, where the value is [plain](is_plain) too. Each is about how
/// something is listed or shown; none, in any service, lets anybody in.
const HARMLESS_KEYS: &[&str] = &[
    "cols",
    "count",
    "dir",
    "fillheight",
    "fillwidth",
    "format",
    "height",
    "lang",
    "limit",
    "maxheight",
    "maxwidth",
    "offset",
    "order",
    "page",
    "per_page",
    "quality",
    "recursive",
    "size",
    "sort",
    "sortby",
    "sortorder",
    "start",
    "startindex",
    "width",
];

/// Query flags that stand without a value, such as copyparty's `?zip`; any other bare word might be a secret itself.
const HARMLESS_FLAGS: &[&str] = &["cached", "dl", "h", "ls", "raw", "tar", "v", "zip"];

/// The longest key whose name is shown; nobody names a parameter so long, but a token may stand where a name should.
const KEY_CAP: usize = 40;
const VALUE_CAP: usize = 40;

/// Path and query as a record keeps them: query values hidden but for harmless ones, and so is whatever follows a `=`
/// within a path segment (`;jsessionid=…`).
///
/// Percent-escapes stay as they are, invisible and control characters become percent-escapes. At most [`TARGET_CAP`]
/// bytes; one allocation.
pub fn target(path_and_query: &str) -> Box<str> {
    let mut line = Line::new();
    let (path, query) = match cut(path_and_query, b'?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    push_path(&mut line, path);
    for (i, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        line.push(if i == 0 { "?" } else { "&" });
        if line.full {
            break;
        }
        match cut(pair, b'=') {
            Some((key, value)) => {
                if key.len() <= KEY_CAP {
                    line.push_visible(key);
                } else {
                    line.push(HIDDEN);
                }
                line.push("=");
                let shown = is_plain(value) && is_one_of(HARMLESS_KEYS, key);
                line.push(if shown { value } else { HIDDEN });
            }
            None if pair.is_empty() || is_one_of(HARMLESS_FLAGS, pair) => line.push(pair),
            None => line.push(HIDDEN),
        }
    }
    line.finish()
}

fn push_path(line: &mut Line, path: &str) {
    if path.bytes().all(|b| b.is_ascii_graphic() && b != b'=' && b != b'#') {
        return line.push(path);
    }
    // A fragment is never sent by a browser; where one is, it is the client's own business.
    let path = cut(path, b'#').map_or(path, |(path, _)| path);
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            line.push("/");
        }
        match cut(segment, b'=') {
            Some((name, _)) => {
                line.push_visible(name);
                line.push("=");
                line.push(HIDDEN);
            }
            None => line.push_visible(segment),
        }
    }
}

/// What stands before and after the first such ASCII byte; on texts as short as these quicker than `split_once`.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == at)?;
    Some((&text[..at], &text[at + 1..]))
}

/// A host that was asked for, without the user and password that may stand before its `@`.
pub fn host(text: &str) -> Box<str> {
    const CAP: usize = 255;
    match text.rsplit_once('@') {
        Some((_, host)) => self::text(&format!("{HIDDEN}@{host}"), CAP),
        None => self::text(text, CAP),
    }
}

/// A short text from outside: invisible, direction-changing and control characters become `\u{…}`, and what goes
/// beyond `cap` bytes is cut and marked. Applied twice, it changes nothing more.
pub fn text(text: &str, cap: usize) -> Box<str> {
    if text.len() <= cap && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.into();
    }
    let mut out = String::with_capacity(cap.min(4 * text.len()));
    let mut fits = 0;
    for c in text.chars() {
        if is_invisible(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
        if out.len() > cap {
            out.truncate(fits);
            out.push_str(HIDDEN);
            break;
        }
        if out.len() + HIDDEN.len() <= cap {
            fits = out.len();
        }
    }
    out.into()
}

fn is_one_of(list: &[&str], key: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(key))
}

/// A number, a word or a list of them: no separator in it that some server might take for the start of another
/// parameter (`page=1;token=…`).
fn is_plain(value: &str) -> bool {
    value.len() <= VALUE_CAP
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b',' | b':' | b'+'))
}

/// Characters that change what a line looks like without being seen: controls, everything that Unicode calls
/// white space but the plain one, its `Bidi_Control` and `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt),
/// the blank braille pattern, and private use, which each font draws as it likes.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{1680}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// A line of at most [`TARGET_CAP`] bytes that grows on the stack and is copied out once.
struct Line {
    bytes: [u8; TARGET_CAP],
    len: usize,
    full: bool,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; TARGET_CAP], len: 0, full: false }
    }

    /// Appends as much as fits, in whole characters; room for the mark of the cut always stays.
    fn push(&mut self, text: &str) {
        if self.full {
            return;
        }
        let room = TARGET_CAP - HIDDEN.len() - self.len;
        let fits = if text.len() <= room {
            text.len()
        } else {
            self.full = true;
            (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
        };
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if self.full {
            self.bytes[self.len..self.len + HIDDEN.len()].copy_from_slice(HIDDEN.as_bytes());
            self.len += HIDDEN.len();
        }
    }

    fn push_visible(&mut self, text: &str) {
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            return self.push(text);
        }
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut utf8 = [0; 4];
        for c in text.chars() {
            let encoded = c.encode_utf8(&mut utf8);
            if !is_invisible(c) && c != ' ' {
                self.push(encoded);
                continue;
            }
            for &byte in encoded.as_bytes() {
                let escape = [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                self.push(std::str::from_utf8(&escape).unwrap_or(HIDDEN));
            }
        }
    }

    fn finish(self) -> Box<str> {
        // Only whole characters are ever appended, so this cannot fail.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or(HIDDEN).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_target_keeps_what_tells_the_story_and_nothing_that_opens_a_door() {
        for (sent, kept) in [
            ("/", "/"),
            ("/web/index.html", "/web/index.html"),
            ("/Items?Limit=20&SortBy=Name,Year&ParentId=77", "/Items?Limit=20&SortBy=Name,Year&ParentId=…"),
            ("/Videos/1/stream?static=true&api_key=s3cret", "/Videos/1/stream?static=…&api_key=…"),
            ("/jsonrpc?method=aria2.addUri&params=WyJ0b2tlbjp4Il0=", "/jsonrpc?method=…&params=…"),
            ("/a%2Fb/%E2%82%AC?q=%20", "/a%2Fb/%E2%82%AC?q=…"),
            ("/film.mkv?zip", "/film.mkv?zip"),
            ("/film.mkv?hunter2&", "/film.mkv?…&"),
            ("/login;jsessionid=ABC/next?page=2", "/login;jsessionid=…/next?page=2"),
            ("/?page=1;token=abc", "/?page=…"),
            ("/?page=1?token=abc", "/?page=…"),
            ("/?limit=abc%26token%3Dabc", "/?limit=…"),
            ("/a#access_token=abc", "/a"),
            ("/?a=1&&b", "/?a=…&&…"),
            ("/\u{1b}[2J\u{202e}é x", "/%1B[2J%E2%80%AEé%20x"),
        ] {
            assert_eq!(&*target(sent), kept, "{sent:?}");
        }
    }

    #[test]
    fn the_keys_that_carry_secrets_are_not_among_the_harmless() {
        for key in
            ["ApiKey", "api_key", "token", "accessToken", "X-Emby-Token", "secret", "code", "auth", "sid"]
        {
            assert!(!is_one_of(HARMLESS_KEYS, key) && !is_one_of(HARMLESS_FLAGS, key), "{key}");
        }
    }

    #[test]
    fn a_long_target_is_cut_at_a_character_and_says_so() {
        for length in 500..520 {
            let kept = target(&format!("/{}é", "a".repeat(length)));
            assert!(kept.len() <= TARGET_CAP);
            assert_eq!(kept.ends_with('…'), length + 3 > TARGET_CAP - HIDDEN.len(), "{length}");
        }
        assert!(target(&format!("/?{}", "a&".repeat(4000))).len() <= TARGET_CAP);
        assert_eq!(&*target(&format!("/?{}=1", "k".repeat(41))), "/?…=…");
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor_or_turn_the_line_around() {
        for (sent, kept) in [
            ("Mum’s 📱", "Mum’s 📱"),
            ("a\nb\x1b[31m", "a\\u{a}b\\u{1b}[31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
        ] {
            assert_eq!(&*text(sent, 64), kept);
            assert_eq!(text(&text(sent, 64), 64), text(sent, 64));
        }
        assert_eq!(&*text("0123456789", 8), "01234…");
        assert_eq!(&*text("0123456é", 8), "01234…");
        assert_eq!(&*text("01234567", 8), "01234567");
        assert_eq!(&*text("012345é", 8), "012345é");
    }

    #[test]
    fn a_host_loses_its_userinfo() {
        assert_eq!(&*host("me:pass@word@nas.home.arpa"), "…@nas.home.arpa");
        assert_eq!(&*host("nas.home.arpa"), "nas.home.arpa");
    }

    /// Each letter of a key as it is, in the other case, or percent-encoded.
    fn disguised(key: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(0..3u8, key.len()).prop_map(move |ways| {
            key.bytes()
                .zip(ways)
                .map(|(b, way)| match way {
                    0 => char::from(b).to_string(),
                    1 => char::from(b ^ if b.is_ascii_alphabetic() { 0x20 } else { 0 }).to_string(),
                    _ => format!("%{b:02x}"),
                })
                .collect()
        })
    }

    fn secret_key() -> impl Strategy<Value = String> {
        proptest::sample::select(vec![
            "ApiKey",
            "api_key",
            "token",
            "accessToken",
            "X-Emby-Token",
            "secret",
            "code",
            "auth",
            "sid",
        ])
        .prop_flat_map(disguised)
    }

    proptest! {
        #[test]
        fn no_secret_survives_wherever_it_stands(
            path in "/[a-z/%.]{0,20}",
            before in "([a-z]{1,8}=[0-9]{0,4}[&;])*",
            key in secret_key(),
            after in "(&[a-z]{1,8}=[0-9]{0,4})*",
        ) {
            let secret = "hunter2-Zq";
            for sent in [
                format!("{path}?{before}{key}={secret}{after}"),
                format!("{path}?{before}{secret}{after}"),
                format!("{path};{key}={secret}?{before}"),
                format!("{path}&{key}={secret}{after}"),
                format!("{path}#{key}={secret}"),
            ] {
                prop_assert!(!target(&sent).contains(secret), "{} -> {}", sent, target(&sent));
            }
        }

        #[test]
        fn whatever_is_sent_one_visible_line_comes_out(sent in any::<String>(), cap in 8..80usize) {
            let line = target(&sent);
            prop_assert!(line.len() <= TARGET_CAP && !line.chars().any(|c| is_invisible(c) || c == ' '));
            let kept = text(&sent, cap);
            prop_assert!(kept.len() <= cap && !kept.chars().any(is_invisible));
            prop_assert_eq!(text(&kept, cap), kept);
        }
    }
}
