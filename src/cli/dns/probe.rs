//! One DNS question over UDP or TCP, to see whether somebody answers. It believes nothing of what comes but the code.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::linux::holder::Protocol;

/// For each step of an exchange.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Nobody else's answer is expected on a socket of ours; the number only has to come back.
const ID: [u8; 2] = [0x7a, 0x74];

/// What is asked for (RFC 1035, section 3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    A = 1,
    Ns = 2,
}

/// What an answer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// RCODE: 0 is no error, 5 refused (RFC 1035, section 4.1.1).
    pub code: u8,
    pub answers: u16,
}

/// Asks one server for one name, without a dot at its end; the root is empty.
///
/// # Errors
/// Nobody answers, or not with an answer to this.
pub fn ask(at: SocketAddr, protocol: Protocol, name: &str, kind: Kind) -> io::Result<Reply> {
    let query = query(name, kind);
    let mut answer = vec![0; 4096];
    let length = match protocol {
        Protocol::Udp => {
            let any: SocketAddr = match at {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(at)?;
            socket.send(&query)?;
            socket.recv(&mut answer)?
        }
        Protocol::Tcp => {
            let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            // Length and message in one piece (RFC 7766, section 8).
            let length = u16::try_from(query.len()).map_err(|_| ErrorKind::InvalidInput)?;
            stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let length = usize::from(u16::from_be_bytes(length)).min(answer.len());
            stream.read_exact(&mut answer[..length])?;
            length
        }
    };
    read(&answer[..length])
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "what came is no answer to it"))
}

fn query(name: &str, kind: Kind) -> Vec<u8> {
    // Recursion desired, one question.
    let mut query = [&ID[..], &[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // Longer ones are no names, and nobody answers for them.
        let label = &label.as_bytes()[..label.len().min(63)];
        query.push(label.len() as u8);
        query.extend(label);
    }
    query.extend([0, 0, kind as u8, 0, 1]);
    query
}

fn read(answer: &[u8]) -> Option<Reply> {
    let header = answer.first_chunk::<12>()?;
    let is_answer = header[..2] == ID && header[2] & 0x80 != 0;
    is_answer.then_some(Reply { code: header[3] & 0x0f, answers: u16::from_be_bytes([header[6], header[7]]) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_question_is_what_the_standard_says() {
        let asked = query("gate.home.arpa", Kind::A);
        assert_eq!(&asked[12..], b"\x04gate\x04home\x04arpa\0\0\x01\0\x01");
        assert_eq!(&query("", Kind::Ns)[12..], b"\0\0\x02\0\x01");
    }

    #[test]
    fn an_answer_is_told_from_what_is_none() {
        let (code, answers) = (3, 0);
        assert_eq!(read(b"zt\x81\x83\0\x01\0\0\0\0\0\0"), Some(Reply { code, answers }));
        for odd in [&b"zt\x01\x00\0\x01\0\0\0\0\0\0"[..], b"xx\x81\x80\0\x01\0\x01\0\0\0\0", b"zt\x81"] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn both_protocols_are_asked() {
        let answer = b"zt\x81\x80\0\x01\0\x02\0\0\0\0";
        let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (by_udp, by_tcp) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut asked = [0; 512];
            let (length, from) = udp.recv_from(&mut asked).unwrap();
            udp.send_to(answer, from).unwrap();
            let (mut stream, _) = tcp.accept().unwrap();
            let mut framed = vec![0; length + 2];
            stream.read_exact(&mut framed).unwrap();
            assert_eq!(framed[2..], asked[..length]);
            stream.write_all(&[&[0, 12], &answer[..]].concat()).unwrap();
        });
        let reply = Reply { code: 0, answers: 2 };
        assert_eq!(ask(by_udp, Protocol::Udp, "gate.home.arpa", Kind::A).unwrap(), reply);
        assert_eq!(ask(by_tcp, Protocol::Tcp, "gate.home.arpa", Kind::A).unwrap(), reply);
        server.join().unwrap();
    }
}
