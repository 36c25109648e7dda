//! The terminal that a command writes to, and asks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

use zeroize::Zeroizing;

/// How many columns standard output shows; `None` where it is no terminal, or one that does not tell.
pub fn width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize` (ioctl_tty(2)).
    let told = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (told == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Asks for a line on the controlling terminal, wherever standard input and output go, and shows none of it.
///
/// # Errors
/// There is no terminal, or it ended before the line did; `Interrupted` by Ctrl-C, which the caller has to end for.
pub fn ask_unseen(question: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let line = {
        let _unseen = Unseen::from(&terminal)?;
        read_line(&terminal)
    };
    // The person's own line break was not shown either.
    terminal.write_all(b"\n")?;
    line
}

/// The longest line: more than any passphrase, and allocated at once, so that no copy is left behind by growing.
const LONGEST: usize = 1024;

/// Reads key by key: nothing but the line itself has a copy of it, and Ctrl-C comes as a key, so that no signal ends us
/// while the terminal shows nothing.
fn read_line(mut terminal: &File) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut key = Zeroizing::new([0u8]);
    loop {
        if terminal.read(&mut *key)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match key[0] {
            b'\n' | b'\r' => break,
            CTRL_C => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_D if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            CTRL_U => line.clear(),
            // One character, however many bytes it is of.
            BACKSPACE | DELETE => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ if line.len() == LONGEST => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is too long a line"));
            }
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Zeroizing::new(text.to_owned()))
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen<'a> {
    terminal: &'a File,
    before: libc::termios,
}

impl<'a> Unseen<'a> {
    fn from(terminal: &'a File) -> io::Result<Self> {
        // SAFETY: all-zero is a valid `termios`, and the kernel fills it in (tcgetattr(3)) before it is looked at.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open as long as `terminal` is, and `before` is one whole `termios`.
        if unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let unseen = Self { terminal, before };
        let mut mode = before;
        mode.c_lflag &= !(libc::ECHO | libc::ICANON | libc::ISIG);
        unseen.set(&mode)?;
        Ok(unseen)
    }

    fn set(&self, mode: &libc::termios) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as `terminal` is, and `mode` is one whole `termios` (tcsetattr(3)).
        let done = unsafe { libc::tcsetattr(self.terminal.as_raw_fd(), libc::TCSAFLUSH, mode) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = self.set(&self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd;

    use super::*;

    /// Both ends of a terminal: the person's, and the program's.
    fn terminal() -> (File, File) {
        let (mut person, mut program) = (-1, -1);
        let none = std::ptr::null_mut();
        // SAFETY: the kernel writes two descriptors, and the rest may be null (openpty(3)).
        let done = unsafe { libc::openpty(&mut person, &mut program, none, none.cast(), none.cast()) };
        assert_eq!(done, 0);
        // SAFETY: both were made just now, and nobody else knows of them.
        unsafe { (File::from_raw_fd(person), File::from_raw_fd(program)) }
    }

    /// What is read of these keys.
    fn typed(keys: &[u8]) -> Result<String, io::ErrorKind> {
        let (mut person, program) = terminal();
        let _unseen = Unseen::from(&program).unwrap();
        person.write_all(keys).unwrap();
        read_line(&program).map(|line| line.to_string()).map_err(|error| error.kind())
    }

    #[test]
    fn a_line_is_read_key_by_key() {
        for (keys, line) in [
            ("open sesame\n", Ok("open sesame")),
            ("oppen\x7f\x7f\x7fen\r", Ok("open")),
            ("gr\u{fc}\u{df}\x7f\x7f\x7fut\n", Ok("gut")),
            ("wrong\x15right\n", Ok("right")),
            ("half\x03\n", Err(io::ErrorKind::Interrupted)),
            ("\x04", Err(io::ErrorKind::UnexpectedEof)),
        ] {
            assert_eq!(typed(keys.as_bytes()), line.map(str::to_owned), "{keys:?}");
        }
    }

    #[test]
    fn the_terminal_is_as_before_however_it_ends() {
        let (mut person, program) = terminal();
        let echoes = |program: &File| {
            let unseen = Unseen::from(program).unwrap();
            unseen.before.c_lflag & libc::ECHO != 0 && unseen.before.c_lflag & libc::ISIG != 0
        };
        assert!(echoes(&program));
        {
            let _unseen = Unseen::from(&program).unwrap();
            person.write_all(b"\x03").unwrap();
            read_line(&program).unwrap_err();
        }
        assert!(echoes(&program));
    }
}
