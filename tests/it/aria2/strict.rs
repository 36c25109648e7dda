//! A message as a reader has it that takes nothing but JSON-RPC 2.0 to the letter: what [`super::model`] finds with all of
//! aria2's leniency, this finds with none.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::model::{Run, Value};

/// The calls of a message.
///
/// # Errors
/// Something in it could be read in two ways, or is more than a call must have.
pub fn runs(message: &[u8]) -> Result<Vec<Run>, String> {
    let read: Strict = serde_json::from_slice(message).map_err(|error| error.to_string())?;
    let calls = match read.0 {
        Value::List(calls) if !calls.is_empty() => calls,
        call => vec![call],
    };
    let runs = calls.into_iter().map(call).collect::<Result<Vec<_>, _>>()?;
    Ok(runs.into_iter().flatten().collect())
}

fn call(call: Value) -> Result<Vec<Run>, String> {
    let [version, Value::Whole(_), Value::Text(method), Value::List(params)] =
        members(call, ["jsonrpc", "id", "method", "params"])?
    else {
        return Err("an id, method or params of another kind".to_owned());
    };
    if version != Value::Text(b"2.0".to_vec()) {
        return Err("another version".to_owned());
    }
    if method != b"system.multicall" {
        return Ok(vec![run(method, params)?]);
    }
    match <[Value; 1]>::try_from(params) {
        Ok([Value::List(items)]) => items.into_iter().map(nested).collect(),
        _ => Err("a multicall takes one list".to_owned()),
    }
}

fn nested(item: Value) -> Result<Run, String> {
    match members(item, ["methodName", "params"])? {
        [Value::Text(method), Value::List(params)] if method != b"system.multicall" => run(method, params),
        _ => Err("no call within a multicall".to_owned()),
    }
}

/// These, all of them, no others, and in this order.
fn members<const N: usize>(object: Value, keys: [&str; N]) -> Result<[Value; N], String> {
    let Value::Dict(members) = object else { return Err("no object".to_owned()) };
    if !members.iter().map(|(key, _)| key.as_slice()).eq(keys.iter().map(|key| key.as_bytes())) {
        return Err(format!("other keys than {keys:?}"));
    }
    let values: Vec<Value> = members.into_iter().map(|(_, value)| value).collect();
    values.try_into().map_err(|_| "too many".to_owned())
}

fn run(method: Vec<u8>, params: Vec<Value>) -> Result<Run, String> {
    let method = String::from_utf8(method).map_err(|error| error.to_string())?;
    let first = params.first().and_then(Value::text);
    let token = first.as_deref().and_then(|first| first.strip_prefix("token:")).map(str::to_owned);
    match token {
        Some(_) if method.starts_with("system.") => Err("a secret where none is asked for".to_owned()),
        Some(_) => Ok(Run { method, token, params: params[1..].to_vec() }),
        None => Ok(Run { method, token, params }),
    }
}

/// A value in which each key is there once, each number is whole, and no text has a NUL.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that can be read in one way only")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Value, E> {
        Ok(Value::Whole(whole))
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Value, E> {
        i64::try_from(whole).map(Value::Whole).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        match text.contains('\0') {
            true => Err(E::custom("a NUL")),
            false => Ok(Value::Text(text.into())),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members: Vec<(Vec<u8>, Value)> = Vec::new();
        while let Some((key, Strict(value))) = from.next_entry::<String, Strict>()? {
            if key.contains('\0') || members.iter().any(|(known, _)| *known == key.as_bytes()) {
                return Err(A::Error::custom("a key twice, or a NUL in one"));
            }
            members.push((key.into_bytes(), value));
        }
        Ok(Value::Dict(members))
    }
}

#[test]
fn what_two_readers_may_read_differently_is_read_by_none() {
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"aria2.pause","params":["token:x","a1",{"b":null}]}"#;
    assert_eq!(runs(plain.as_bytes()).as_deref(), Ok(&super::model::runs(plain.as_bytes()).unwrap()[..]));
    for (from, to) in [
        (r#""id":1"#, r#""id":1,"id":1"#),
        (r#""id":1"#, r#""id":1,"x":1"#),
        (r#""id":1"#, r#""id":1.0"#),
        (r#""id":1"#, r#""id":"1""#),
        (r#""id":1,"#, ""),
        (r#""2.0""#, r#""1.0""#),
        (r#""b":null"#, r#""b":null,"\u0062":null"#),
        (r#""b":null"#, r#""b":1e2"#),
        (r#""b":null"#, r#""\u0000":1"#),
        (r#""a1""#, r#""a1\u0000""#),
        (r#""a1""#, r#""\q""#),
        ("}]}", "}]} x"),
        ("}]}", "}],}"),
        ("aria2.pause", "system.multicall"),
    ] {
        let odd = plain.replace(from, to);
        assert!(odd != plain && runs(odd.as_bytes()).is_err(), "{odd}");
    }
}
