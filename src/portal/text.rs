//! Text from outside, made fit to stand in a page.

use std::borrow::Cow;

/// The longest such text on a page, in characters: longer than any DNS name that people type.
const LONGEST: usize = 100;

/// Text without control characters, without marks that reorder or hide its neighbours, and not too long.
///
/// The escaping of HTML is maud's; this is about what a person would read.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut plain: String =
        text.chars().take(LONGEST).map(|c| if is_treacherous(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        plain.push('…');
    }
    Cow::Owned(plain)
}

/// Controls, and the format characters (Unicode category Cf) that are invisible or change direction.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_invisible_gets_through() {
        for (from, to) in [
            ("red-phone", "red-phone"),
            ("Grüße 🎬", "Grüße 🎬"),
            ("a\u{202e}cod.exe", "a\u{fffd}cod.exe"),
            ("x\u{1b}[31m\n", "x\u{fffd}[31m\u{fffd}"),
            ("a\u{2066}b\u{200b}c", "a\u{fffd}b\u{fffd}c"),
        ] {
            assert_eq!(plain(from), to);
        }
        assert_eq!(plain(&"é".repeat(500)).chars().count(), LONGEST + 1);
        assert_eq!(plain(&"e".repeat(500)).len(), LONGEST + '…'.len_utf8());
    }
}
