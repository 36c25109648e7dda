//! How heads are read, and where bodies end.

use proptest::prelude::*;

use super::*;

fn read(text: &str, asked: Asked) -> Result<Option<Head>, AnswerError> {
    head(&mut BytesMut::from(text), asked)
}

fn answer(fields: &str) -> Result<Head, AnswerError> {
    read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), Asked::Other).map(Option::unwrap)
}

#[test]
fn how_a_body_ends() {
    use Decoder::{Ended, Length, UntilClose};
    for (status, fields, asked, body, keep_alive) in [
        ("1.1 200", "content-length: 5\r\n", Asked::Other, Length(5), true),
        ("1.1 200", "content-length: 0\r\n", Asked::Other, Ended, true),
        ("1.1 200", "content-length: 5\r\ncontent-length: 5\r\n", Asked::Other, Length(5), true),
        ("1.1 200", "content-length: 5\r\n", Asked::Head, Ended, true),
        ("1.1 304", "content-length: 5\r\n", Asked::Other, Ended, true),
        ("1.1 204", "", Asked::Other, Ended, true),
        ("1.1 204", "content-length: 0\r\n", Asked::Other, Ended, true),
        ("1.1 204", "content-length: 5\r\n", Asked::Other, Ended, false),
        ("1.1 204", "transfer-encoding: chunked\r\n", Asked::Other, Ended, false),
        ("1.1 101", "", Asked::Upgrade, Ended, true),
        ("1.1 200", "transfer-encoding: Chunked\r\n", Asked::Other, Decoder::Chunked(Chunked::Size), true),
        (
            "1.1 200",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            Asked::Other,
            Decoder::Chunked(Chunked::Size),
            false,
        ),
        ("1.1 200", "", Asked::Other, UntilClose, false),
        ("1.1 200", "connection: Keep-Alive, CLOSE\r\ncontent-length: 5\r\n", Asked::Other, Length(5), false),
        ("1.0 200", "content-length: 5\r\n", Asked::Other, Length(5), false),
        ("1.0 200", "connection: keep-alive\r\ncontent-length: 5\r\n", Asked::Other, Length(5), true),
    ] {
        let text = format!("HTTP/{status} X\r\n{fields}\r\n");
        let head = read(&text, asked).unwrap().unwrap();
        assert_eq!((head.body, head.keep_alive), (body, keep_alive), "{text}");
    }
}

#[test]
fn a_device_is_told_of_one_end_only() {
    for (text, length) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Some("5")),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Some("5")),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", None),
    ] {
        let head = read(text, Asked::Other).unwrap().unwrap();
        let told = head.parts.headers.get(header::CONTENT_LENGTH);
        assert_eq!(told.map(|told| told.to_str().unwrap()), length, "{text}");
    }
}

#[test]
fn a_length_in_doubt_is_no_answer() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        assert!(matches!(answer(fields), Err(AnswerError::Length(_))), "{fields}");
    }
    assert!(read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Asked::Other).is_err());
}

#[test]
fn what_is_no_http_is_no_answer() {
    for text in ["HTTP/2 200 OK\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 099 X\r\n\r\n"] {
        assert!(read(text, Asked::Other).is_err(), "{text}");
    }
    for fields in ["a b: c\r\n", "a : b\r\n", "a: b\r\n c\r\n", "a: b\0\r\n"] {
        assert!(answer(fields).is_err(), "{fields:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(LONGEST_HEAD));
    assert!(matches!(read(&endless, Asked::Other), Err(AnswerError::TooLong)));
}

fn decode(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<Vec<u8>, AnswerError> {
    let (mut input, mut body) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(data) = decoder.next(&mut input)? {
            body.extend_from_slice(&data);
        }
    }
    Ok(body)
}

#[test]
fn chunks_that_are_none_break_the_answer() {
    for bad in [
        "5\r\nhelloX\r\n",
        "g\r\n",
        "-1\r\n",
        "5 hello",
        "ffffffffffffffffff\r\n",
        "0\r\na b\r\n\r\n",
        "\r\n\r\n",
        ";x\r\n\r\n",
        " 0\r\n\r\n",
        "5\r\nhello\r\n\r\n",
    ] {
        let mut decoder = Decoder::Chunked(Chunked::Size);
        assert!(decode(&mut decoder, &[bad.as_bytes()]).is_err(), "{bad:?}");
    }
    let mut decoder = Decoder::Chunked(Chunked::Size);
    let line = format!("5;{}", "x".repeat(LONGEST_CHUNK_LINE));
    assert!(decode(&mut decoder, &[line.as_bytes()]).is_err());
}

proptest! {
    #[test]
    fn a_chunked_body_is_the_same_however_it_arrives(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in prop::collection::vec(1usize..30, 1..40),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend(format!("{:X};ext=1\r\n", chunk.len()).into_bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\ntrailer: x\r\n\r\n");
        let (mut pieces, mut rest, mut cuts) = (Vec::new(), &wire[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        let mut decoder = Decoder::Chunked(Chunked::Size);
        prop_assert_eq!(decode(&mut decoder, &pieces).unwrap(), chunks.concat());
        prop_assert!(decoder.is_ended());
    }

    #[test]
    fn nothing_a_service_sends_is_a_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut start = BytesMut::from(&b"HTTP/1.1 200 OK\r\n"[..]);
        start.extend_from_slice(&text);
        let _ = head(&mut start, Asked::Other);
        let _ = decode(&mut Decoder::Chunked(Chunked::Size), &[&text]);
    }
}
