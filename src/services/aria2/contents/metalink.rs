//! Metalinks (RFC 5854, and version 3 before it): XML with links, and the names of the files that they become.

use super::hidden;
use crate::services::aria2::refusal::Refusal;
use crate::services::aria2::targets;

/// Judges a metalink.
///
/// # Errors
/// It is no text in UTF-8, hides links in parts of XML that no metalink needs, names a host of the house, or writes to a file
/// that begins with a dot.
pub fn metalink(file: &[u8], private: bool) -> Result<(), Refusal> {
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
        let undone = |written: &str| without_entities(written).ok_or_else(|| hides("entities of its own"));
        let plain = undone(piece)?;
        let plain = plain.trim_end();
        // Comments, instructions and CDATA hold marks as they please, and no names.
        let is_tag = at > 0 && !piece.starts_with(['!', '?']);
        let (names, text) = match tag_and_text(piece) {
            Some(found) => found,
            None if is_tag => return Err(hides("a tag that does not end")),
            None => (Vec::new(), ""),
        };
        for name in names {
            // Of any tag: to aria2 all that is of another namespace is a file (MetalinkParserStateV4Impl.cc).
            if undone(name)?.split(['/', '\\']).any(|part| part.trim_start().starts_with('.')) {
                return Err(hidden("metalink"));
            }
        }
        // Its trackers may be percent-escaped, so nothing below would find them.
        let text = undone(text)?;
        if text.trim().starts_with("magnet:?") {
            targets::judge_inside(text.trim(), private)?;
        }
        for (at, _) in plain.match_indices("://") {
            let scheme = plain[..at].trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
            targets::judge_inside(&plain[scheme..], private)?;
        }
    }
    Ok(())
}

/// The names in a tag's attributes, and what stands behind the tag, all as it is written; none if it has no end. Between
/// quotation marks there may be a `>`.
fn tag_and_text(piece: &str) -> Option<(Vec<&str>, &str)> {
    let mut names = Vec::new();
    let mut rest = piece;
    while let Some(at) = rest.find(['>', '"', '\'']) {
        let (before, behind) = (&rest[..at], &rest[at + 1..]);
        let mark = &rest[at..=at];
        if mark == ">" {
            return Some((names, behind));
        }
        let (value, after) = behind.split_once(mark)?;
        let attribute = before.trim_end().strip_suffix('=').map(str::trim_end);
        names.extend(attribute.filter(|attribute| attribute.ends_with("name")).map(|_| value));
        rest = after;
    }
    None
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

    #[test]
    fn nothing_is_written_where_programs_look_for_their_settings() {
        for name in [".profile", ".aria2/aria2.conf", "a/.ssh", "a\\.ssh", ".."] {
            for file in [
                format!(r#"<file name="{name}">"#),
                format!("<file size='5' name = ' {name}' >"),
                format!("<x:file\nname='{}'/>", name.replace('.', "&#46;")),
                format!("<x:y xmlns:x='x' name='{name}'>"),
                format!("<y z='&quot;>' x = '>' name=\"{name}\">"),
                // No XML, and not to be taken for some.
                format!("<file name=\"{name}(><metaurl type=\"torrent\">"),
                format!("<file name=\"{name}"),
            ] {
                assert!(metalink(file.as_bytes(), true).is_err(), "{file}");
            }
        }
        for file in [
            r#"<file name="a.b/c.d"><size x="/.y">5</size><description>name=".x"</description></file>"#,
            "<!-- don't <b> say \" --><?do 'it ?><file name='a'><description>don't</description></file>",
            "<description><![CDATA[don't]]></description>",
        ] {
            assert!(metalink(file.as_bytes(), false).is_ok(), "{file}");
        }
    }

    #[test]
    fn no_metalink_is_long_to_judge() {
        let links = format!("<url>{}{}</url>", "x://".repeat(1 << 20), " ".repeat(4 << 20));
        assert!(metalink(links.as_bytes(), false).is_ok());
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
            "<metaurl a='>'>magnet:?xt=urn:btih:a&amp;tr=http%3A%2F%2Fnas%2F</metaurl>",
            "<url type='bittorrent'>&#109;agnet:?xt=urn:btih:a&amp; tr =http%3A%2F%2Fnas%2F</url>",
        ] {
            assert!(metalink(format!("{plain}{part}").as_bytes(), false).is_err(), "{part}");
        }
        assert!(metalink(b"<url>http://192.168.1.1/</url>", true).is_ok());
        assert!(
            metalink(b"<metaurl>magnet:?xt=urn:btih:a&amp;tr=udp%3A%2F%2Ft.example.org:80</metaurl>", false)
                .is_ok()
        );
        assert!(metalink(b"<url>\xff</url>", false).is_err());
        // aria2 reads these, and all their letters are UTF-8 with zeros between.
        let little: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = plain.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(metalink(&little, false).is_err() && metalink(&big, false).is_err());
    }
}
