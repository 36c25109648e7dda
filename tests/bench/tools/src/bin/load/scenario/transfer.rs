//! One large download or upload.

use std::io::{self, Write};

use bench_tools::sys::{self, Wait};

use crate::client::{Client, Target, Then, get, put};
use crate::meter::Window;
use crate::options::Options;
use crate::report::Report;

const STEP: u64 = 1 << 20;
/// What a download has passed before the window opens.
const WARM_UP: u64 = 128 << 20;

/// Bytes are counted as they come off the wire and never decrypted: the contender is measured, not this program.
pub fn download(target: &Target, options: &Options) -> io::Result<Report> {
    let mut client = target.connect()?;
    client.send(&get("/big", Then::Close))?;
    let warm = take(&client, WARM_UP.min(options.bytes / 4))?;
    let window = Window::open(&options.processes);
    let rest = take(&client, u64::MAX)?;
    let used = window.close();
    let short = warm + rest < options.bytes;
    Ok(Report::default()
        .with("err", f64::from(u8::from(short)))
        .transfer(rest, &used)
        .with("rss_peak_kb", options.processes.memory_kb("VmHWM")))
}

/// Discards up to `limit` bytes, or until the stream ends.
fn take(client: &Client, limit: u64) -> io::Result<u64> {
    let mut taken = 0;
    while taken < limit {
        match sys::discard(&client.stream, (limit - taken).min(STEP) as usize, Wait::Yes)? {
            0 => break,
            count => taken += count as u64,
        }
    }
    Ok(taken)
}

/// Over TLS the body is encrypted before the window opens, for the same reason.
pub fn upload(target: &Target, options: &Options) -> io::Result<Report> {
    let mut client = target.connect()?;
    let sealed = if options.tls { Some(seal(&mut client, options.bytes)?) } else { None };
    options.processes.forget_peaks();
    let window = Window::open(&options.processes);
    match sealed {
        Some(bytes) => client.stream.write_all(&bytes)?,
        None => write_body(&mut client.stream, options.bytes)?,
    }
    let mut answer = [0; 4096];
    let count = client.receive(&mut answer)?;
    let used = window.close();
    let failed = !answer[..count].starts_with(b"HTTP/1.1 200");
    Ok(Report::default()
        .with("err", f64::from(u8::from(failed)))
        .transfer(options.bytes, &used)
        .with("rss_peak_kb", options.processes.memory_kb("VmHWM")))
}

fn seal(client: &mut Client, length: u64) -> io::Result<Vec<u8>> {
    let tls = client.tls.as_mut().ok_or_else(|| io::Error::other("the connection is not TLS"))?;
    let overhead = length / 500 + 64 * 1024;
    let mut sealed = Vec::with_capacity((length + overhead) as usize);
    let mut plain = Sealing { tls, sealed: &mut sealed };
    write_body(&mut plain, length)?;
    Ok(sealed)
}

/// Encrypts what is written into a vector.
struct Sealing<'a> {
    tls: &'a mut rustls::ClientConnection,
    sealed: &'a mut Vec<u8>,
}

impl Write for Sealing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.writer().write(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(self.sealed)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_body(out: &mut impl Write, length: u64) -> io::Result<()> {
    out.write_all(&put(length))?;
    let chunk = vec![0x5a; STEP as usize];
    let mut left = length;
    while left > 0 {
        let count = left.min(STEP);
        out.write_all(&chunk[..count as usize])?;
        left -= count;
    }
    Ok(())
}
