//! `ztgate certs trust` without a platform: where a device goes to trust the root, as text and as a QR code.

use std::io::Write;
use std::path::Path;

use qrcode::{Color, EcLevel, QrCode};

use super::style::Style;
use crate::ca::trust::{Root, TrustKit};
use crate::config::{self, Config};
use crate::model::Lane;

/// Light modules around the code, so that a camera finds its edge (ISO/IEC 18004, section 9.1).
const QUIET: usize = 4;

/// Black on white of the 256 colours, which themes leave alone (ECMA-48, SGR 38 and 48).
const INK: &str = "\x1b[38;5;231;48;5;16m";
const PLAIN: &str = "\x1b[0m";

/// Prints where to go, what to compare, and the code if it is wanted.
///
/// # Errors
/// There is no root, or `out` takes nothing.
pub fn invite(config: &Path, code: bool, out: &mut dyn Write, style: Style) -> anyhow::Result<()> {
    let kit = TrustKit::from(&Root::read(&super::state_dir(config)?)?);
    // The root is there even where the configuration is not right at the moment, and only its names are in it.
    let address = address(
        &config::load(config).map_err(|problems| anyhow::anyhow!("{}", config::Problems(&problems)))?,
    );
    if code {
        write!(out, "{}", drawn(address.as_bytes(), style.colour)?)?;
    }
    writeln!(out, "on the device, open  {address}")?;
    writeln!(out, "and compare there    {}", kit.subject)?;
    writeln!(out, "sha256               {}", kit.sha256)?;
    Ok(())
}

/// The page about trust. Plain HTTP, for a device that does not trust the root yet.
fn address(config: &Config) -> String {
    let port = config.http_port;
    let shown = if port == Lane::Http.default_port() { String::new() } else { format!(":{port}") };
    format!("http://{}{shown}/trust", config.zone.name("gate"))
}

/// A QR code in half blocks, two rows of modules a line.
///
/// Light modules are drawn and dark ones left out, as is right on the dark terminals that most are; with colours, both are
/// set, which makes it right on light ones too. Without colours on a light terminal it is a negative, which the standard
/// allows for and phones read.
fn drawn(text: &[u8], colour: bool) -> anyhow::Result<String> {
    // A screen is not torn or stained: the lowest level makes the smallest code.
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let (width, modules) = (code.width(), code.to_colors());
    let side = width + 2 * QUIET;
    let light = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => modules[y * width + x] == Color::Light,
            _ => true,
        }
    };
    let mut drawn = String::new();
    for y in (0..side).step_by(2) {
        let line: String = (0..side)
            .map(|x| match (light(x, y), light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
            .collect();
        let line = if colour { format!("{INK}{line}{PLAIN}\n") } else { format!("{line}\n") };
        drawn.push_str(&line);
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_with_its_quiet_zone() {
        let plain = drawn(b"http://gate.home.arpa/trust", false).unwrap();
        let lines: Vec<Vec<char>> = plain.lines().map(|line| line.chars().collect()).collect();
        let side = lines[0].len();
        // Version 2, 25 modules; the last line's lower half is one row more of the quiet zone.
        assert_eq!((side, lines.len()), (25 + 2 * QUIET, (25 + 2 * QUIET).div_ceil(2)));
        let is_light = |char: &char| *char == '█';
        assert!(lines[..2].iter().chain(&lines[lines.len() - 2..]).flatten().all(is_light), "{plain}");
        assert!(lines.iter().all(|line| line[..QUIET].iter().all(is_light)), "{plain}");
        assert!(lines.iter().all(|line| line[side - QUIET..].iter().all(is_light)), "{plain}");
        // The corner of the finder pattern: dark all along.
        assert_eq!(lines[2][4..12].iter().collect::<String>(), " ▄▄▄▄▄ █");
    }

    #[test]
    fn colours_frame_the_same_code() {
        let (plain, coloured) = (drawn(b"x", false).unwrap(), drawn(b"x", true).unwrap());
        assert!(!plain.contains('\x1b'));
        assert_eq!(coloured.replace(INK, "").replace(PLAIN, ""), plain);
        assert!(coloured.lines().all(|line| line.starts_with(INK) && line.ends_with(PLAIN)));
    }
}
