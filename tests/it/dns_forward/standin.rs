//! A server that answers as a test says, byte by byte, on UDP and TCP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record, rdata::A};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
}

/// Ends when it is dropped.
pub struct Standin {
    pub at: SocketAddr,
    heard: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Standin {
    /// Sends all of these to whoever asks; by TCP the first one.
    pub fn new(says: impl Fn(&Message, Via) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = on_one_port();
        let at = udp.local_addr().unwrap();
        let (heard, is_over, says) =
            (Arc::new(AtomicUsize::new(0)), Arc::<AtomicBool>::default(), Arc::new(says));
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let counted = |heard: &Arc<AtomicUsize>| {
            let (heard, says) = (heard.clone(), says.clone());
            move |wire: &[u8], via| {
                heard.fetch_add(1, Ordering::SeqCst);
                says(&Message::from_vec(wire).unwrap(), via)
            }
        };
        let (by_udp, by_tcp) = (counted(&heard), counted(&heard));
        let ends = [is_over.clone(), is_over.clone()];
        let [udp_ends, tcp_ends] = ends;
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while !udp_ends.load(Ordering::SeqCst) {
                if let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    for datagram in by_udp(&buffer[..length], Via::Udp) {
                        // Nobody may be there any more.
                        let _ = udp.send_to(&datagram, from);
                    }
                }
            }
        });
        thread::spawn(move || {
            while !tcp_ends.load(Ordering::SeqCst) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut wire = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut wire).unwrap();
                if let Some(answer) = by_tcp(&wire, Via::Tcp).first() {
                    stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
                    stream.write_all(answer).unwrap();
                }
            }
        });
        Self { at, heard, is_over }
    }

    /// Hears everything and says nothing.
    pub fn silent() -> Self {
        Self::new(|_, _| Vec::new())
    }

    /// How many queries came.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// A honest answer: this address, for a minute.
pub fn honest(query: &Message, address: [u8; 4]) -> Message {
    let mut answer = query.clone().into_response();
    let name = query.queries[0].name.clone();
    answer.metadata.recursion_available = true;
    answer.add_answer(Record::from_rdata(name, 60, RData::A(A(address.into()))));
    answer
}

pub fn wire(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

fn on_one_port() -> (UdpSocket, TcpListener) {
    (0..100)
        .find_map(|_| {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
            Some((udp, tcp))
        })
        .unwrap()
}
