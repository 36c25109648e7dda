//! One connection: reads requests as they come, writes answers as far as the socket takes them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use bench_tools::http;
use bench_tools::sys::{self, Poll, Wait};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Accepts the key `dGhlIHNhbXBsZSBub25jZQ==`, the example of RFC 6455, which the load generator sends.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";
/// What one call discards or sends at most, so that one connection cannot hold a thread.
const STEP: u64 = 1 << 20;

/// What this upstream serves, shared by its threads.
pub struct Content {
    file: File,
    file_length: u64,
    small: Vec<u8>,
}

impl Content {
    pub fn new(file: File) -> io::Result<Self> {
        let head = "HTTP/1.1 200 OK\r\nServer: up\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\
            Cache-Control: no-store\r\n\r\n";
        let small = [head.as_bytes(), &[b'x'; 1024]].concat();
        Ok(Self { file_length: file.metadata()?.len(), file, small })
    }
}

/// What the connection is in the middle of.
enum State {
    /// Waiting for a request's head, or within it.
    Head,
    /// Sending the file, from `offset` on.
    File { offset: i64 },
    /// Dropping a body of known length.
    Body { left: u64 },
    /// Dropping a chunked body; its last five bytes so far.
    Chunks { tail: [u8; 5] },
    /// A WebSocket: sending back what comes.
    Echo,
}

/// What a step of reading came to.
enum Step {
    Again,
    Done,
}

pub struct Connection {
    stream: TcpStream,
    state: State,
    received: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
    /// The client asked for the connection to end after this answer.
    close: bool,
    /// epoll watches for room to write.
    writing: bool,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            state: State::Head,
            received: Vec::new(),
            answer: Vec::new(),
            sent: 0,
            close: false,
            writing: false,
        }
    }

    /// Reads and writes what the socket allows. An error, the client's goodbye among them, ends the connection.
    pub fn advance(&mut self, poll: &Poll, content: &Content, scratch: &mut [u8]) -> io::Result<()> {
        until_blocked(self.read_all(content, scratch))?;
        until_blocked(self.write_all(content))?;
        let pending = self.sent < self.answer.len() || matches!(self.state, State::File { .. });
        if !pending && self.close && matches!(self.state, State::Head) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        if pending != self.writing {
            self.writing = pending;
            poll.set_writing(&self.stream, pending)?;
        }
        Ok(())
    }

    fn read_all(&mut self, content: &Content, scratch: &mut [u8]) -> io::Result<()> {
        while let Step::Again = self.read(content, scratch)? {}
        Ok(())
    }

    fn read(&mut self, content: &Content, scratch: &mut [u8]) -> io::Result<Step> {
        match &mut self.state {
            State::Head => self.read_head(content, scratch),
            State::File { .. } => Ok(Step::Done),
            State::Body { left: 0 } => {
                self.answer_body();
                Ok(Step::Again)
            }
            State::Body { left } => {
                *left -= some(sys::discard(&self.stream, (*left).min(STEP) as usize, Wait::No)?)? as u64;
                Ok(Step::Again)
            }
            State::Chunks { tail } => {
                let count = some(self.stream.read(scratch)?)?;
                *tail = last_five(tail, &scratch[..count]);
                if tail == LAST_CHUNK {
                    self.answer_body();
                }
                Ok(Step::Again)
            }
            State::Echo => {
                let count = some(self.stream.read(scratch)?)?;
                self.answer.extend_from_slice(&scratch[..count]);
                Ok(if count == scratch.len() { Step::Again } else { Step::Done })
            }
        }
    }

    fn read_head(&mut self, content: &Content, scratch: &mut [u8]) -> io::Result<Step> {
        let Some(length) = http::head_length(&self.received) else {
            let count = some(self.stream.read(scratch)?)?;
            self.received.extend_from_slice(&scratch[..count]);
            return Ok(Step::Again);
        };
        let rest = self.received.split_off(length);
        let head = std::mem::replace(&mut self.received, rest);
        let head = std::str::from_utf8(&head).map_err(io::Error::other)?;
        self.close |=
            http::field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(self.answer(head, content))
    }

    fn answer(&mut self, head: &str, content: &Content) -> Step {
        let Some(path) = head.strip_prefix("GET ") else {
            self.expect_body(head);
            return Step::Again;
        };
        if path.starts_with("/big") {
            let length = content.file_length;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {length}\r\n\r\n");
            self.answer.extend_from_slice(head.as_bytes());
            self.state = State::File { offset: 0 };
            return Step::Done;
        }
        if path.starts_with("/ws") {
            self.answer.extend_from_slice(SWITCHING);
            self.state = State::Echo;
            return Step::Done;
        }
        self.answer.extend_from_slice(&content.small);
        if self.received.is_empty() { Step::Done } else { Step::Again }
    }

    fn expect_body(&mut self, head: &str) {
        if http::field(head, "expect").is_some() {
            self.answer.extend_from_slice(CONTINUE);
        }
        let received = std::mem::take(&mut self.received);
        if http::field(head, "transfer-encoding").is_none() {
            let (length, have) = (http::content_length(head), received.len() as u64);
            self.received = received[have.min(length) as usize..].to_vec();
            self.state = State::Body { left: length.saturating_sub(have) };
            return;
        }
        let tail = last_five(&[0; 5], &received);
        self.state = State::Chunks { tail };
        if &tail == LAST_CHUNK {
            self.answer_body();
        }
    }

    fn answer_body(&mut self) {
        self.answer.extend_from_slice(OK);
        self.state = State::Head;
    }

    fn write_all(&mut self, content: &Content) -> io::Result<()> {
        while self.sent < self.answer.len() {
            let bytes = &self.answer[self.sent..];
            self.sent += match self.state {
                State::File { .. } => sys::send_before_file(&self.stream, bytes)?,
                _ => self.stream.write(bytes)?,
            };
        }
        self.answer.clear();
        self.sent = 0;
        while let State::File { offset } = &mut self.state {
            let left = content.file_length - *offset as u64;
            if left == 0 {
                self.state = State::Head;
            } else {
                some(sys::send_file(&self.stream, &content.file, offset, left.min(STEP) as usize)?)?;
            }
        }
        Ok(())
    }
}

/// A socket with nothing more to give or take for now is no error.
fn until_blocked(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        other => other,
    }
}

/// Zero bytes are the end of the stream.
fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

fn last_five(tail: &[u8; 5], more: &[u8]) -> [u8; 5] {
    let recent = &more[more.len().saturating_sub(5)..];
    let mut last = [0; 5];
    last[..5 - recent.len()].copy_from_slice(&tail[recent.len()..]);
    last[5 - recent.len()..].copy_from_slice(recent);
    last
}
