//! JSON as strictly as it can be read: whatever aria2's own parser might understand otherwise is an error here.
//!
//! aria2 1.36 (JsonParser.cc) ignores what follows the first value, drops fractions and exponents of numbers, forgets the
//! value of a key that comes twice (ValueBase.cc), and passes any bytes on as text. None of that gets past [`read`].

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

/// A value, its keys in the order in which they came.
#[derive(Clone, PartialEq)]
pub enum Json {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Why a text is not taken, with the place where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// Deeper than any call that aria2 knows, a multicall in a batch included.
const DEEPEST_REQUEST: usize = 16;
/// Two bytes of a text may be a value of 32 bytes in memory, and no app says as much.
const MOST_VALUES: usize = 1 << 16;
/// As deep as aria2's own parser goes (JsonParser.cc, `pushState`).
const DEEPEST_ANSWER: usize = 50;

/// Reads a device's message.
///
/// # Errors
/// It is not JSON, or not JSON that can be read in one way only: a key twice, anything behind the value, a NUL, a number that
/// is not whole or does not fit 63 bits, more than 16 levels, more than 65,536 values.
pub fn read(message: &[u8]) -> Result<Json, JsonError> {
    Reading { levels: DEEPEST_REQUEST, strict: true, left: &Cell::new(MOST_VALUES) }.whole(message)
}

/// Reads an answer of aria2's, which may say what a request may not: any number, and NULs in file names.
///
/// # Errors
/// It is not JSON.
pub fn read_answer(message: &[u8]) -> Result<Json, JsonError> {
    Reading { levels: DEEPEST_ANSWER, strict: false, left: &Cell::new(usize::MAX) }.whole(message)
}

impl Json {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_whole(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// As it is sent: one line without white space.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Keys are texts and nothing here can fail by itself, so neither can this.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl<const N: usize> From<[(&str, Json); N]> for Json {
    fn from(members: [(&str, Json); N]) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// Says what kind of value it is and no more, for a token may be in it.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Flag(_) => "a flag",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        })
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Flag(flag) => to.serialize_bool(*flag),
            Self::Number(number) => number.serialize(to),
            Self::Text(text) => to.serialize_str(text),
            Self::List(items) => to.collect_seq(items),
            Self::Object(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// What is still allowed at one place of a text.
#[derive(Clone, Copy)]
struct Reading<'a> {
    /// How many levels of lists and objects may open from here.
    levels: usize,
    strict: bool,
    /// How many values there may still be, anywhere.
    left: &'a Cell<usize>,
}

impl Reading<'_> {
    fn whole(self, message: &[u8]) -> Result<Json, JsonError> {
        let mut from = serde_json::Deserializer::from_slice(message);
        let value = self.deserialize(&mut from).and_then(|value| from.end().map(|()| value));
        value.map_err(|error| JsonError(error.to_string()))
    }

    fn one_more<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("far too many values"))?;
        self.left.set(left);
        Ok(())
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels, ..self }),
            None => Err(E::custom("nested too deeply")),
        }
    }

    fn text<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        // aria2 hands texts to C functions, which end at a NUL.
        match self.strict && text.contains('\0') {
            true => Err(E::custom("a NUL in a text")),
            false => Ok(text.to_owned()),
        }
    }

    fn number<E: serde::de::Error>(self, number: Number) -> Result<Json, E> {
        match self.strict && number.as_i64().is_none_or(|number| number == i64::MIN) {
            true => Err(E::custom("a number that is not whole, or too large")),
            false => Ok(Json::Number(number)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Json, E> {
        self.number(number.into())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Json, E> {
        self.number(number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Json, E> {
        self.number(Number::from_f64(number).ok_or_else(|| E::custom("not a number"))?)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json, E> {
        self.text(text).map(Json::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let inside = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(inside)? {
            self.one_more()?;
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let inside = self.deeper()?;
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            // Requests have a handful of keys, options some dozens; a limit keeps the search for twins cheap.
            if self.strict && members.len() == MOST_KEYS {
                return Err(A::Error::custom("too many keys in one object"));
            }
            if self.strict && members.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom("the same key twice in one object"));
            }
            let key = self.text(&key)?;
            self.one_more()?;
            members.push((key, from.next_value_seed(inside)?));
        }
        Ok(Json::Object(members))
    }
}

/// aria2 has about 200 options.
const MOST_KEYS: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &[u8]) -> String {
        read(text).map_or_else(|error| error.to_string(), |json| String::from_utf8(json.to_bytes()).unwrap())
    }

    #[test]
    fn what_can_be_read_in_one_way_only_is_written_in_one_way_only() {
        for (sent, kept) in [
            (r#" { "b" : [ 1 , -2 , true , null ] , "a" : { } } "#, r#"{"b":[1,-2,true,null],"a":{}}"#),
            (r#""\u0065\/\"\\\ud83d\ude00""#, r#""e/\"\\😀""#),
            (r#""\u0001é\u007f""#, "\"\\u0001é\u{7f}\""),
            ("9223372036854775807", "9223372036854775807"),
            ("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"),
        ] {
            assert_eq!(again(sent.as_bytes()), kept);
        }
    }

    #[test]
    fn what_aria2_might_read_otherwise_is_no_request() {
        let deep = [b"[".repeat(17), b"]".repeat(17)].concat();
        let sent: [&[u8]; 26] = [
            b"",
            b" ",
            b"{}x",
            b"{}{}",
            b"{} \x00",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"\"\xc0\xaf\"",
            b"\"\\ud800\"",
            b"\"\\ud800\\u0041\"",
            b"\"\\udc00\"",
            b"\"\\u0000\"",
            b"{\"\\u0000\":1}",
            b"\"\\x\"",
            b"\"\n\"",
            b"{\"a\":1,\"a\":1}",
            b"{\"a\":1,\"\\u0061\":1}",
            b"{\"a\":{\"b\":1,\"b\":2}}",
            b"1.0",
            b"1e2",
            b"-0",
            b"9223372036854775808",
            b"-9223372036854775808",
            b"123456789012345678901234567890",
            b"[1,]",
            b"{'a':1}",
        ];
        for sent in sent.into_iter().chain([&deep[..], b"nul", b"NaN", b"[1 2]", b"/**/1", b"01", b"+1"]) {
            assert!(read(sent).is_err(), "{}", String::from_utf8_lossy(sent));
        }
        // In UTF-16 and UTF-32, as some clients would have it.
        let utf16: Vec<u8> = r#"{"a":1}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(read(&utf16).is_err());
        let many: Vec<String> = (0..=MOST_KEYS).map(|n| format!("\"{n}\":1")).collect();
        assert!(read(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
        let list = |values: usize| format!("[[{}0]]", "0,".repeat(values - 2));
        assert!(read(list(MOST_VALUES).as_bytes()).is_ok());
        assert!(read(list(MOST_VALUES + 1).as_bytes()).is_err());
    }

    #[test]
    fn an_answer_may_say_more() {
        let said = br#"{"a":1.5,"b":18446744073709551615,"c":"\u0000","d":-9223372036854775808}"#;
        assert_eq!(read_answer(said).unwrap().to_bytes(), said);
        assert!(read_answer(b"<html>").is_err());
    }

    #[test]
    fn nobody_reads_a_token_in_a_debug_text() {
        let said = format!("{:?}", read(br#"["token:s3cret"]"#));
        assert!(!said.contains("s3cret"), "{said}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_stays_what_it_is(bytes in any::<Vec<u8>>()) {
            if let Ok(json) = read(&bytes) {
                prop_assert!(read(&json.to_bytes()).is_ok_and(|again| again == json));
            }
        }

        #[test]
        fn a_text_comes_out_as_it_went_in(text in "[^\0]*") {
            let sent = Json::text(text).to_bytes();
            prop_assert_eq!(read(&sent).unwrap().to_bytes(), sent);
        }
    }
}
