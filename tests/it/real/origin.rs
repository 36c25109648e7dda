//! An upstream of gigabytes: it makes up what is read from it, and remembers the digest of what is sent to it. Plain
//! threads and a hand-made HTTP, so that it owes nothing to what it tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256};

use super::process::hex;

pub const BLOCK: usize = 1 << 16;

/// Its thread ends with the test's process.
pub struct Origin {
    pub address: SocketAddr,
    digests: Mutex<Receiver<String>>,
}

impl Origin {
    /// `GET /N` answers N bytes, anything with a body is read, and `GET /slow/N` sends N bytes of one a tenth of a second.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, digests) = channel();
        let blocks = Arc::new(content().take(16).map(|block| block.to_vec()).collect::<Vec<_>>());
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (tell, blocks) = (tell.clone(), blocks.clone());
                // An error is the other side's going away.
                thread::spawn(move || converse(socket, &blocks, &tell).ok());
            }
        });
        Self { address, digests: Mutex::new(digests) }
    }

    /// The SHA-256 of the body that went last, up or down.
    pub fn digest(&self) -> String {
        self.digests.lock().unwrap().recv_timeout(super::door::PATIENCE).unwrap()
    }
}

/// Blocks without end that differ in each byte's place.
pub fn content() -> impl Iterator<Item = [u8; BLOCK]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::from_fn(move || {
        let mut block = [0; BLOCK];
        for word in block.chunks_exact_mut(8) {
            // xorshift64 (Marsaglia, 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        Some(block)
    })
}

fn converse(socket: TcpStream, blocks: &[Vec<u8>], tell: &Sender<String>) -> std::io::Result<()> {
    let mut out = socket.try_clone()?;
    let mut input = BufReader::with_capacity(BLOCK, socket);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut chunked, mut waits) = (0, false, false);
        loop {
            let mut field = String::new();
            input.read_line(&mut field)?;
            let field = field.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            chunked |= field == "transfer-encoding: chunked";
            waits |= field == "expect: 100-continue";
        }
        if waits {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if chunked {
            let digest = read_chunks(&mut input)?;
            out.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")?;
            let _ = tell.send(digest);
        } else if length > 0 {
            let mut context = Context::new(&SHA256);
            read_into(&mut input, length, &mut context)?;
            out.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")?;
            let _ = tell.send(hex(context.finish().as_ref()));
        } else if let Some(count) = path.strip_prefix("/slow/") {
            drip(&mut out, count.parse().unwrap_or(0))?;
        } else {
            let digest = send(&mut out, path.trim_start_matches('/').parse().unwrap_or(0), blocks)?;
            let _ = tell.send(digest);
        }
    }
}

fn read_into(input: &mut impl BufRead, mut length: u64, context: &mut Context) -> std::io::Result<()> {
    while length > 0 {
        let buffer = input.fill_buf()?;
        let taken = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        if taken == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        context.update(&buffer[..taken]);
        input.consume(taken);
        length -= taken as u64;
    }
    Ok(())
}

fn read_chunks(input: &mut impl BufRead) -> std::io::Result<String> {
    let mut context = Context::new(&SHA256);
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        read_into(input, size, &mut context)?;
        input.read_exact(&mut [0; 2])?;
        if size == 0 {
            return Ok(hex(context.finish().as_ref()));
        }
    }
}

fn send(out: &mut impl Write, length: u64, blocks: &[Vec<u8>]) -> std::io::Result<String> {
    let mut context = Context::new(&SHA256);
    write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
    let mut left = length;
    for block in blocks.iter().cycle() {
        let part = &block[..block.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if part.is_empty() {
            break;
        }
        out.write_all(part)?;
        context.update(part);
        left -= part.len() as u64;
    }
    Ok(hex(context.finish().as_ref()))
}

fn drip(out: &mut impl Write, count: usize) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n")?;
    for _ in 0..count {
        out.write_all(b".")?;
        thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}
