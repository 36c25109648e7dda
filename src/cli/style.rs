//! How text looks: colour where a person reads it on a terminal, columns that line up, nothing unprintable.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// What standard output deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// A person reads it as it comes.
    pub terminal: bool,
    pub colour: bool,
}

/// What a text is, and so its colour (ECMA-48, SGR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Bad,
    Odd,
    Quiet,
    Head,
    /// A name that the eye looks for.
    Name,
}

impl Style {
    /// For programs and files.
    pub const PLAIN: Self = Self { terminal: false, colour: false };

    /// For this process's standard output: colour on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal
    /// is `dumb`.
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { terminal, colour: terminal && !unwanted }
    }

    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Odd => "33",
            Tone::Quiet => "2",
            Tone::Head => "1",
            Tone::Name => "36",
            Tone::Plain => return text.to_owned(),
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Rows of cells as aligned columns, two spaces apart; each line ends where its text ends.
    pub fn columns(self, rows: &[Vec<(Tone, String)>]) -> String {
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
        let mut out = String::new();
        for row in rows {
            let last = row.iter().rposition(|(_, text)| !text.is_empty());
            for (column, (tone, text)) in row.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
                out.push_str(&self.paint(*tone, text));
                if Some(column) != last {
                    let gap = widths[column] - text.chars().count() + 2;
                    // Writing to a String cannot fail.
                    _ = write!(out, "{:gap$}", "");
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Text from outside, such as a controller's name for a member, as a terminal may show it: [`harmless`], and cut at 40
/// characters.
pub fn foreign(text: &str) -> String {
    cut(text, 40)
}

/// A reason or a mend with parts from outside, such as what a server answered: [`harmless`], and cut only where nobody would
/// read on.
pub fn reason(text: &str) -> String {
    cut(text, 500)
}

fn cut(text: &str, longest: usize) -> String {
    let mut shown: String = harmless(text).chars().take(longest).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

/// Text with parts from outside, whole: control and direction-changing characters become `?`.
pub fn harmless(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if harmful(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let cell = |tone, text: &str| (tone, text.to_owned());
        let rows = [
            vec![cell(Tone::Head, "device"), cell(Tone::Head, "wiki"), cell(Tone::Plain, "")],
            vec![cell(Tone::Plain, "tv"), cell(Tone::Good, "yes")],
        ];
        assert_eq!(Style::PLAIN.columns(&rows), "device  wiki\ntv      yes\n");
        let coloured = Style { terminal: true, colour: true }.columns(&rows);
        assert_eq!(coloured, "\x1b[1mdevice\x1b[0m  \x1b[1mwiki\x1b[0m\ntv      \x1b[32myes\x1b[0m\n");
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(foreign("tv\x1b[2J\u{202e}x"), "tv?[2J?x");
        assert_eq!(foreign(&"é".repeat(41)), format!("{}…", "é".repeat(40)));
        assert_eq!(harmless(&"\té".repeat(41)), "?é".repeat(41));
        assert_eq!(reason(&"\té".repeat(251)), format!("{}…", "?é".repeat(250)));
    }
}
