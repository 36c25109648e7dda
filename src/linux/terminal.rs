//! The terminal that a command writes to, and asks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
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
/// There is no terminal, or it ended before the line did.
pub fn ask_unseen(question: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let mut line = Zeroizing::new(String::with_capacity(256));
    let read = {
        let _unseen = Unseen::from(&terminal)?;
        BufReader::new(&terminal).read_line(&mut line)
    };
    // The person's own line break was not shown either.
    terminal.write_all(b"\n")?;
    if read? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(line)
}

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
        mode.c_lflag &= !libc::ECHO;
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
