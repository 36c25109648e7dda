//! A download without an end, as a device sees it and as the service does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{GATEWAY, Host, within};

/// After so long without a byte, a film has ended without a word.
const SILENCE: Duration = Duration::from_secs(15);

/// A device's endless download. It ends when the device is put out, or its connection is dropped with this.
pub struct Film {
    pub host: Host,
    stream: TcpStream,
    received: Arc<AtomicU64>,
    reader: thread::JoinHandle<(String, Instant)>,
}

impl Film {
    /// Starts it, and waits for its first bytes.
    pub fn start(host: Host) -> Self {
        let stream = host.run(|| TcpStream::connect((GATEWAY.v4, 80))).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let received = Arc::<AtomicU64>::default();
        let (mut reads, count) = (stream.try_clone().unwrap(), received.clone());
        let reader = thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                match reads.read(&mut buffer) {
                    Ok(0) => return ("end of file".to_owned(), Instant::now()),
                    Ok(n) => count.fetch_add(n as u64, Ordering::Relaxed),
                    Err(error) => return (error.to_string(), Instant::now()),
                };
            }
        });
        let film = Self { host, stream, received, reader };
        write!(&film.stream, "GET /endless HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n").unwrap();
        film.goes_on();
        film
    }

    /// Waits until more bytes have come.
    #[track_caller]
    pub fn goes_on(&self) {
        let before = self.received();
        let more = || (self.received() > before).then_some(());
        within(Duration::from_secs(2), &format!("the film of {} goes on", self.host.name), more);
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How it ended for the device, and when; waits for that.
    pub fn end(self) -> (String, Instant) {
        self.reader.join().unwrap()
    }

    /// The device has seen enough.
    pub fn stop(self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.reader.join();
    }
}
