//! A device's message as JSON-RPC 2.0 has it: one call, or a batch of them.

use super::json::Json;
use super::refusal::Refusal;

/// Calls of a message, those within multicalls counted too. Apps mark some dozens of downloads and remove them at once.
pub const MOST_CALLS: usize = 256;
/// Bytes of an `id` that is a text; apps send a few dozen.
const LONGEST_ID: usize = 256;

/// What a message asks.
#[derive(Debug)]
pub struct Message {
    /// Whether the answers belong into a list.
    pub batch: bool,
    pub calls: Vec<Result<Call, Wrong>>,
}

/// One call that has all that a call must have.
#[derive(Debug)]
pub struct Call {
    /// A text, a number or null; the answer bears it.
    pub id: Json,
    pub method: String,
    pub params: Vec<Json>,
}

/// What should be a call and is none.
#[derive(Debug)]
pub struct Wrong {
    /// The id, as far as there is one.
    pub id: Json,
    pub refusal: Refusal,
}

/// Takes a message apart.
///
/// # Errors
/// It is neither a call nor a batch, or far too many calls. What is wrong with one call of a batch stands in its place.
pub fn read(message: Json) -> Result<Message, Refusal> {
    match message {
        Json::Object(members) => Ok(Message { batch: false, calls: vec![call(members)] }),
        Json::List(items) if items.is_empty() => Err(Refusal::malformed("a batch without a call")),
        Json::List(items) if items.len() > MOST_CALLS => Err(too_many()),
        Json::List(items) => {
            let calls = items.into_iter().map(|item| match item {
                Json::Object(members) => call(members),
                _ => Err(wrong(Json::Null, "expected a call: an object with id, method and params")),
            });
            Ok(Message { batch: true, calls: calls.collect() })
        }
        _ => Err(Refusal::malformed("expected a call: an object with id, method and params")),
    }
}

pub fn too_many() -> Refusal {
    Refusal::malformed(format!("more than {MOST_CALLS} calls, or 8 lists of downloads, in one message"))
}

/// Members that JSON-RPC does not know are passed over, for nothing of them is passed on.
fn call(members: Vec<(String, Json)>) -> Result<Call, Wrong> {
    let (mut id, mut method, mut params, mut version) = (None, None, None, None);
    for (key, value) in members {
        match key.as_str() {
            "id" => id = Some(value),
            "method" => method = Some(value),
            "params" => params = Some(value),
            "jsonrpc" => version = Some(value),
            _ => {}
        }
    }
    let id = match id {
        Some(Json::Text(id)) if id.len() > LONGEST_ID => {
            return Err(wrong(Json::Null, "the id is far too long"));
        }
        Some(id @ (Json::Null | Json::Number(_) | Json::Text(_))) => id,
        Some(_) => return Err(wrong(Json::Null, "the id must be a text or a number")),
        // aria2 takes no notifications either: "Invalid Request." (rpc_helper.cc)
        None => return Err(wrong(Json::Null, "the id is missing")),
    };
    if version.is_some_and(|version| version.as_text() != Some("2.0")) {
        return Err(wrong(id, "jsonrpc must be \"2.0\""));
    }
    let Some(Json::Text(method)) = method else {
        return Err(wrong(id, "the method is missing or no text"));
    };
    match params {
        None => Ok(Call { id, method, params: Vec::new() }),
        Some(Json::List(params)) => Ok(Call { id, method, params }),
        Some(_) => Err(wrong(id, "params must be a list; aria2 knows no named parameters")),
    }
}

fn wrong(id: Json, text: &str) -> Wrong {
    Wrong { id, refusal: Refusal::malformed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::aria2::json;

    fn of(text: &str) -> Result<Message, Refusal> {
        read(json::read(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_call_has_an_id_a_method_and_a_list() {
        for text in [
            r#"{"jsonrpc":"2.0","id":"a","method":"m","params":[1]}"#,
            r#"{"id":1,"method":"m"}"#,
            r#"{"id":null,"method":"m","params":[],"extra":{}}"#,
        ] {
            let message = of(text).unwrap();
            assert!(
                !message.batch && message.calls[0].as_ref().is_ok_and(|call| call.method == "m"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_call_is_told_what_it_lacks() {
        for (text, lacks) in [
            (r#"{"method":"m"}"#, "the id is missing"),
            (r#"{"id":{},"method":"m"}"#, "the id must be a text or a number"),
            (r#"{"id":1,"jsonrpc":"1.0","method":"m"}"#, "jsonrpc must be \"2.0\""),
            (r#"{"id":1,"jsonrpc":2,"method":"m"}"#, "jsonrpc must be \"2.0\""),
            (r#"{"id":1,"Method":"m"}"#, "the method is missing or no text"),
            (r#"{"id":1,"method":["m"]}"#, "the method is missing or no text"),
            (
                r#"{"id":1,"method":"m","params":{}}"#,
                "params must be a list; aria2 knows no named parameters",
            ),
        ] {
            let message = of(text).unwrap();
            assert_eq!(message.calls[0].as_ref().unwrap_err().refusal.text, lacks, "{text}");
        }
    }

    #[test]
    fn in_a_batch_each_stands_for_itself() {
        let message = of(r#"[{"id":1,"method":"m"},5,[{"id":2,"method":"m"}]]"#).unwrap();
        let fine: Vec<bool> = message.calls.iter().map(Result::is_ok).collect();
        assert!(message.batch);
        assert_eq!(fine, [true, false, false]);
        for text in ["[]", "5", "null", "\"aria2.addUri\""] {
            assert!(of(text).is_err(), "{text}");
        }
        assert!(of(&format!("[{}]", vec!["1"; MOST_CALLS + 1].join(","))).is_err());
    }
}
