//! One HTTP/1.1 connection, byte by byte, at either end: what tests send is what goes out, and what came is kept as it
//! came.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::SOON;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection and what was read of it too early.
pub struct Wire {
    stream: Box<dyn Stream>,
    early: Vec<u8>,
    /// The lines of all trailers that came.
    pub trailers: Vec<String>,
}

/// The head of a request or an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The request line or status line.
    pub line: String,
    pub headers: Vec<(String, String)>,
}

/// What a connection has to tell once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// In order or not, it is closed.
    Yes,
    /// There were bytes instead.
    Bytes,
    /// Nothing happened.
    Open,
}

impl Head {
    /// The one value of a field, by its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} more than once: {self:#?}");
        first
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let named = self.headers.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(&name));
        named.map(|(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Of an answer.
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    /// Of a request.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    /// Of a request.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line")
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header line: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        };
        Self { line, headers: lines.filter(|line| !line.is_empty()).map(field).collect() }
    }
}

impl Wire {
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), early: Vec::new(), trailers: Vec::new() }
    }

    /// Sends bytes. A peer that has closed already is no error: what it said before is what counts.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        let _ = tokio::time::timeout(SOON, sent).await.expect("nobody reads");
    }

    /// Reads the next head; `None` if the connection ends first.
    pub async fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n\r\n") {
                let head: Vec<u8> = self.early.drain(..end + 4).collect();
                return Some(Head::parse(&String::from_utf8_lossy(&head[..end])));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads the body that follows a request's head, or an answer's that is not to HEAD.
    pub async fn body(&mut self, head: &Head) -> Option<Vec<u8>> {
        if head.has("transfer-encoding") {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    return Some(body);
                }
                body.extend(chunk);
            }
            return None;
        }
        if let Some(length) = head.get("content-length") {
            return self.exactly(length.parse().unwrap()).await;
        }
        let is_request = !head.line.starts_with("HTTP/");
        if is_request || matches!(head.status(), 100..=199 | 204 | 304) {
            return Some(Vec::new());
        }
        while self.more().await {}
        Some(std::mem::take(&mut self.early))
    }

    /// Reads one chunk of a chunked body; the last is empty, and trailers come with it.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        if size == 0 {
            loop {
                match self.line().await? {
                    line if line.is_empty() => return Some(Vec::new()),
                    line => self.trailers.push(line),
                }
            }
        }
        let chunk = self.exactly(size).await?;
        assert_eq!(self.line().await?, "");
        Some(chunk)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n") {
                let line: Vec<u8> = self.early.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads so many bytes; `None` if there are fewer.
    pub async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.early.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.early.drain(..count).collect())
    }

    /// Some bytes, as they come; `None` at the end. Unlike the others it may wait for long.
    pub async fn some(&mut self) -> Option<Vec<u8>> {
        if self.early.is_empty()
            && !matches!(self.stream.read_buf(&mut self.early).await, Ok(count) if count > 0)
        {
            return None;
        }
        Some(std::mem::take(&mut self.early))
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Waits for the connection's end for a while.
    pub async fn closed_within(&mut self, limit: Duration) -> Closed {
        if !self.early.is_empty() {
            return Closed::Bytes;
        }
        let mut byte = [0];
        match tokio::time::timeout(limit, self.stream.read(&mut byte)).await {
            Err(_) => Closed::Open,
            Ok(Ok(0) | Err(_)) => Closed::Yes,
            Ok(Ok(_)) => {
                self.early.push(byte[0]);
                Closed::Bytes
            }
        }
    }

    /// All that comes until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.early)
    }

    /// All that comes within a while.
    pub async fn rest_within(&mut self, limit: Duration) -> Vec<u8> {
        let _ = tokio::time::timeout(limit, async { while self.more().await {} }).await;
        std::mem::take(&mut self.early)
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(SOON, self.stream.read_buf(&mut self.early)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing more comes after {:?}", lossy(&self.early)));
        matches!(read, Ok(count) if count > 0)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
