//! Reading JSON that may lack anything: what all of ZeroTier's answers have in common.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::ApiError;
use crate::model::NetworkId;

/// The longest text from outside that is worth keeping.
const LONGEST_LABEL: usize = 100;

/// Text from outside without what could play tricks on a terminal or a log: control characters, and those that turn
/// the direction of writing (Unicode TR 9) or take no room.
pub(super) fn printable(text: &str) -> String {
    let harmful = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || harmful(c) { ' ' } else { c }).collect()
}

/// What somebody called a member or a network; `None` for nothing but space.
pub(super) fn label(text: Option<String>) -> Option<String> {
    let text = printable(&text?);
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(LONGEST_LABEL).collect())
}

/// A public identity (`ID:0:KEY`, 141 characters), not proved. Should there be a secret behind it, that is dropped but
/// its colon stays, so that the identity is refused; and a text that is far too long is cut, for the same end.
pub(super) fn identity(text: Option<String>) -> Option<String> {
    let text = zeroize::Zeroizing::new(text.filter(|text| !text.is_empty())?);
    let end = text.match_indices(':').nth(2).map_or(text.len(), |(at, _)| at + 1);
    Some(text[..end].chars().take(200).collect())
}

/// `1.14.1`; `None` while the controller has not heard from the member (it says -1 then).
pub(super) fn version(parts: [Option<i64>; 3]) -> Option<String> {
    match parts {
        [Some(major @ 0..), Some(minor @ 0..), Some(patch @ 0..)] => Some(format!("{major}.{minor}.{patch}")),
        _ => None,
    }
}

/// Milliseconds since 1970; `None` for zero, which ZeroTier says for never.
pub(super) fn time(millis: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis.filter(|&ms| ms > 0)?).ok()
}

/// Assigned addresses, with or without a prefix length. What is no address can be nobody's source and is left out.
pub(super) fn addresses(texts: Option<Vec<Option<String>>>) -> Vec<IpAddr> {
    let texts = texts.unwrap_or_default().into_iter().flatten();
    texts.filter_map(|text| text.split('/').next()?.parse().ok()).collect()
}

/// Addresses with their prefix length.
pub(super) fn subnets(texts: Option<Vec<Option<String>>>) -> Vec<IpNet> {
    texts.unwrap_or_default().into_iter().flatten().filter_map(|text| text.parse().ok()).collect()
}

/// Checks that an object is about the network that was asked for. Each field that is there must say so, and one must.
pub(super) fn about(asked: NetworkId, fields: &[&Option<String>]) -> Result<(), ApiError> {
    let mut said = fields.iter().filter_map(|field| field.as_deref()).peekable();
    if said.peek().is_none() {
        return Err(ApiError::WrongNetwork { asked, got: None });
    }
    match said.find(|text| text.parse() != Ok(asked)) {
        Some(other) => Err(ApiError::WrongNetwork { asked, got: label(Some(other.to_owned())) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_play_tricks() {
        assert_eq!(
            label(Some("mum's \u{1b}[31mphone\u{202e}\n".into())).as_deref(),
            Some("mum's  [31mphone")
        );
        assert_eq!(label(Some(" \u{200b}".into())), None);
        assert_eq!(label(Some("é".repeat(200))).unwrap().chars().count(), LONGEST_LABEL);
    }

    #[test]
    fn a_secret_is_not_kept_but_told() {
        assert_eq!(identity(Some("id:0:public".into())).as_deref(), Some("id:0:public"));
        assert_eq!(identity(Some("id:0:public:secret".into())).as_deref(), Some("id:0:public:"));
        assert_eq!(identity(Some(String::new())), None);
    }

    #[test]
    fn an_object_must_say_which_network_it_is_about() {
        let asked = "5e02d9cb41c0ffee".parse().unwrap();
        let (right, wrong) = (Some("5e02d9cb41c0ffee".to_owned()), Some("0123456789abcdef".to_owned()));
        assert!(about(asked, &[&right, &None]).is_ok());
        for fields in [[&None, &None], [&right, &wrong], [&wrong, &None]] {
            assert!(about(asked, &fields).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn versions_and_times_that_are_not_known_are_none() {
        assert_eq!(version([Some(1), Some(14), Some(1)]).as_deref(), Some("1.14.1"));
        assert_eq!(version([Some(-1), Some(-1), Some(-1)]), None);
        assert_eq!(time(Some(0)), None);
        assert_eq!(time(Some(1_795_427_687_441)).unwrap().as_millisecond(), 1_795_427_687_441);
    }
}
