//! What a service answers, taken apart: heads of responses, and how their bodies are delimited (RFC 9112). Pure.
//!
//! Strict where leniency would let the end of one answer be mistaken: an answer whose length is in doubt is refused, and a
//! connection whose next byte is in doubt is not used again.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version, response};

/// The longest head of a response, and the longest trailer section.
const LONGEST_HEAD: usize = 64 << 10;
/// The most header fields of a response.
const MOST_FIELDS: usize = 128;
/// The longest line that begins a chunk; extensions count.
const LONGEST_CHUNK_LINE: usize = 4 << 10;

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("its answer is no HTTP: {0}")]
    Malformed(#[from] httparse::Error),
    #[error("the head of its answer is longer than {} KiB", LONGEST_HEAD >> 10)]
    TooLong,
    #[error("its answer has a status that is no HTTP status")]
    Status,
    #[error("the length of its answer is in doubt: {0}")]
    Length(&'static str),
    #[error("a chunk of its answer is malformed")]
    Chunk,
    #[error("it sent more than {0} interim answers")]
    Interim(u8),
}

/// What the request was, as far as it decides how its answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: the answer has no body, whatever its head says.
    Head,
    /// A tunnel: 101 is an answer, and what follows it belongs to the tunnel.
    Upgrade,
    Other,
}

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    pub parts: response::Parts,
    pub body: Decoder,
    /// Whether the connection is good for another request once the body has ended.
    pub keep_alive: bool,
}

/// Takes the head of a response off the front of `input`, if it is all there.
pub fn head(input: &mut BytesMut, asked: Asked) -> Result<Option<Head>, AnswerError> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut fields,
    )?;
    let httparse::Status::Complete(length) = status else {
        return if input.len() > LONGEST_HEAD { Err(AnswerError::TooLong) } else { Ok(None) };
    };
    if length > LONGEST_HEAD {
        return Err(AnswerError::TooLong);
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(AnswerError::Status)?;
    let is_http11 = response.version == Some(1);
    let start = input.as_ptr() as usize;
    let mut places = Vec::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| AnswerError::Malformed(httparse::Error::HeaderName))?;
        let from = field.value.as_ptr() as usize - start;
        places.push((name, from..from + field.value.len()));
    }
    // Values are parts of what was received, not copies.
    let bytes = input.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len());
    for (name, place) in places {
        let value = HeaderValue::from_maybe_shared(bytes.slice(place))
            .map_err(|_| AnswerError::Malformed(httparse::Error::HeaderValue))?;
        headers.append(name, value);
    }
    let (body, delimited) = Decoder::of(status, &headers, asked, is_http11)?;
    // One way to tell the end of it goes on to the device, the one that counts (RFC 9112, section 6.3).
    let has_another = match body {
        Decoder::Chunked(_) => true,
        Decoder::Ended => status == StatusCode::NO_CONTENT || headers.contains_key(header::TRANSFER_ENCODING),
        Decoder::Length(_) | Decoder::UntilClose => false,
    };
    if has_another {
        headers.remove(header::CONTENT_LENGTH);
    }
    let keep_alive =
        delimited && if is_http11 { !says(&headers, "close") } else { says(&headers, "keep-alive") };
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_11;
    *response.headers_mut() = headers;
    Ok(Some(Head { parts: response.into_parts().0, body, keep_alive }))
}

fn says(headers: &HeaderMap, option: &str) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    })
}

/// Finds the body of a response in what follows its head.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoder {
    /// Nothing more comes.
    Ended,
    /// This many bytes are to come.
    Length(u64),
    Chunked(Chunked),
    /// All until the connection ends.
    UntilClose,
}

/// Where a chunked body is.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunked {
    /// Before the line that gives a chunk's size.
    Size,
    /// This much of a chunk is to come.
    Data(u64),
    /// Before the line end that closes a chunk.
    DataEnd,
    /// In the trailer section.
    Trailers,
}

impl Decoder {
    /// How a body is delimited (RFC 9112, section 6.3), and whether its end is known before the connection's.
    fn of(
        status: StatusCode,
        headers: &HeaderMap,
        asked: Asked,
        is_http11: bool,
    ) -> Result<(Self, bool), AnswerError> {
        let bodiless =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(coding), None) if is_http11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
            _ => return Err(AnswerError::Length("its transfer coding is not chunked")),
        };
        let length = length(headers)?;
        if asked == Asked::Head || bodiless {
            // A 204 that announces a body may well send it.
            let contradicts =
                status == StatusCode::NO_CONTENT && (chunked || length.is_some_and(|length| length > 0));
            return Ok((Self::Ended, !contradicts));
        }
        Ok(match (chunked, length) {
            // Two lengths, one of them wrong: read as the standard says, then done with.
            (true, Some(_)) => (Self::Chunked(Chunked::Size), false),
            (true, None) => (Self::Chunked(Chunked::Size), true),
            (false, Some(0)) => (Self::Ended, true),
            (false, Some(length)) => (Self::Length(length), true),
            (false, None) => (Self::UntilClose, false),
        })
    }

    pub fn is_ended(&self) -> bool {
        *self == Self::Ended
    }

    /// The bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Ended => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next piece of the body off `input`: nothing if more must be received first, or if the body has ended.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, AnswerError> {
        loop {
            match self {
                Self::Ended => return Ok(None),
                Self::UntilClose => return Ok(all(input)),
                Self::Length(left) => {
                    let piece = up_to(input, left);
                    if *left == 0 {
                        *self = Self::Ended;
                    }
                    return Ok(piece);
                }
                Self::Chunked(at) => match at {
                    // To httparse a line without a digit is a zero, and so the end.
                    Chunked::Size if input.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) => {
                        return Err(AnswerError::Chunk);
                    }
                    Chunked::Size => match httparse::parse_chunk_size(input) {
                        Ok(httparse::Status::Complete((line, size))) => {
                            let _ = input.split_to(line);
                            *at = if size == 0 { Chunked::Trailers } else { Chunked::Data(size) };
                        }
                        Ok(httparse::Status::Partial) if input.len() <= LONGEST_CHUNK_LINE => {
                            return Ok(None);
                        }
                        _ => return Err(AnswerError::Chunk),
                    },
                    Chunked::Data(left) => {
                        let piece = up_to(input, left);
                        if *left == 0 {
                            *at = Chunked::DataEnd;
                        }
                        return Ok(piece);
                    }
                    Chunked::DataEnd => match input.get(..2) {
                        Some(b"\r\n") => {
                            let _ = input.split_to(2);
                            *at = Chunked::Size;
                        }
                        Some(_) => return Err(AnswerError::Chunk),
                        None => return Ok(None),
                    },
                    Chunked::Trailers => {
                        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
                        match httparse::parse_headers(input, &mut fields)? {
                            httparse::Status::Complete((length, _)) => {
                                // What they may say was never judged; they end here.
                                let _ = input.split_to(length);
                                *self = Self::Ended;
                            }
                            httparse::Status::Partial if input.len() <= LONGEST_HEAD => return Ok(None),
                            httparse::Status::Partial => return Err(AnswerError::TooLong),
                        }
                    }
                },
            }
        }
    }

    /// Whether the end of the connection is the end of the body, and not a break in it.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose | Self::Ended)
    }
}

/// The one length that a response names, if it does.
fn length(headers: &HeaderMap) -> Result<Option<u64>, AnswerError> {
    let mut found = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let digits = value.as_bytes();
        let length = std::str::from_utf8(digits)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(AnswerError::Length("Content-Length is no number"))?;
        if found.is_some_and(|found| found != length) {
            return Err(AnswerError::Length("two Content-Lengths disagree"));
        }
        found = Some(length);
    }
    Ok(found)
}

fn all(input: &mut BytesMut) -> Option<Bytes> {
    (!input.is_empty()).then(|| input.split().freeze())
}

fn up_to(input: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= taken as u64;
    (taken > 0).then(|| input.split_to(taken).freeze())
}

#[cfg(test)]
mod tests;
