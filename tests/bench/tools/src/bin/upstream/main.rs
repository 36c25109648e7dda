//! The upstream behind every contender, so quick that the proxy is what a run measures.
//!
//!     upstream PORT THREADS BIG_FILE
//!
//! Answers on 127.0.0.1: `GET /1k` (1,024 bytes; any other path too), `GET /big` (the file, by sendfile), `GET /ws`
//! (accepts the bench's one WebSocket key and echoes), and any other method by dropping its body and saying `ok`.

mod connection;

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;

use bench_tools::sys::{self, Poll};
use connection::{Connection, Content};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upstream: {error}\nusage: upstream PORT THREADS BIG_FILE");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let [port, threads, file] = arguments else {
        return Err(io::Error::other("three arguments are expected"));
    };
    let port = port.parse().map_err(io::Error::other)?;
    let threads: usize = threads.parse().map_err(io::Error::other)?;
    let content = Arc::new(Content::new(File::open(file)?)?);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let content = Arc::clone(&content);
            std::thread::spawn(move || Worker::new(port)?.serve(&content))
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| io::Error::other("a worker panicked"))??;
    }
    Ok(())
}

/// One thread's listener and its connections, indexed by descriptor.
struct Worker {
    listener: TcpListener,
    poll: Poll,
    connections: Vec<Option<Box<Connection>>>,
}

impl Worker {
    fn new(port: u16) -> io::Result<Self> {
        let (listener, poll) = (sys::listen(port)?, Poll::new()?);
        poll.add(&listener)?;
        Ok(Self { listener, poll, connections: Vec::new() })
    }

    fn serve(&mut self, content: &Content) -> io::Result<()> {
        let mut scratch = vec![0; 64 * 1024];
        loop {
            for fd in self.poll.wait(None)? {
                if fd == self.listener.as_raw_fd() {
                    self.accept()?;
                } else {
                    self.advance(fd as usize, content, &mut scratch);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.poll.add(&stream)?;
            let slot = stream.as_raw_fd() as usize;
            if self.connections.len() <= slot {
                self.connections.resize_with(slot + 1, || None);
            }
            self.connections[slot] = Some(Box::new(Connection::new(stream)));
        }
        Ok(())
    }

    /// Moves one connection on; dropping it closes its socket.
    fn advance(&mut self, slot: usize, content: &Content, scratch: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if connection.advance(&self.poll, content, scratch).is_err() {
            self.connections[slot] = None;
        }
    }
}
