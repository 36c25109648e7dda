//! Which bytes a `Range` header asks for (RFC 9110, section 14).

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no range, several, or one that is none. A server may ignore those (RFC 9110, section 14.2).
    Whole,
    /// The half-open span of bytes, never empty.
    Part(Range<u64>),
    /// A well-formed range that begins past the end: 416.
    Beyond,
}

/// Reads the header's value for content of `length` bytes.
pub(super) fn asked(value: &str, length: u64) -> Asked {
    match read(value) {
        None => Asked::Whole,
        Some(Span::Last(0)) => Asked::Beyond,
        Some(Span::Last(_)) if length == 0 => Asked::Beyond,
        Some(Span::Last(count)) => Asked::Part(length.saturating_sub(count)..length),
        Some(Span::From { first, .. }) if first >= length => Asked::Beyond,
        Some(Span::From { first, last }) => Asked::Part(first..last.saturating_add(1).min(length)),
    }
}

enum Span {
    From { first: u64, last: u64 },
    Last(u64),
}

fn read(value: &str) -> Option<Span> {
    let (unit, span) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match span.trim().split_once('-')? {
        ("", count) => Some(Span::Last(number(count)?)),
        (first, "") => Some(Span::From { first: number(first)?, last: u64::MAX }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Span::From { first, last })
        }
    }
}

/// Digits only, so no sign; more of them than fit are a number past any end.
fn number(digits: &str) -> Option<u64> {
    let well_formed = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Asked::{Beyond, Part, Whole};
    use super::*;

    #[test]
    fn one_range_of_a_thousand_bytes() {
        let table = [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-99", Part(0..100)),
            ("bytes=100-", Part(100..1000)),
            ("bytes=999-", Part(999..1000)),
            ("bytes=990-5000", Part(990..1000)),
            ("bytes=0-18446744073709551615", Part(0..1000)),
            ("bytes=0-99999999999999999999999", Part(0..1000)),
            ("bytes=-1", Part(999..1000)),
            ("bytes=-1000", Part(0..1000)),
            ("bytes=-2000", Part(0..1000)),
            ("Bytes= 5-6 ", Part(5..7)),
            ("bytes=1000-", Beyond),
            ("bytes=1000-1001", Beyond),
            ("bytes=99999999999999999999999-", Beyond),
            ("bytes=-0", Beyond),
            ("bytes=5-4", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1--2", Whole),
            ("bytes=0x1-2", Whole),
            ("bytes=0-1,5-6", Whole),
            ("lines=0-1", Whole),
        ];
        for (value, expected) in table {
            assert_eq!(asked(value, 1000), expected, "{value}");
        }
    }

    #[test]
    fn nothing_has_no_part() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(asked(value, 0), Beyond, "{value}");
        }
    }
}
