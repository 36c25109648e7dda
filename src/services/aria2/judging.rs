//! The judging of one message: each of its calls gets its place among the answers, and what is allowed is written anew.

use http::StatusCode;

use super::House;
use super::calls::{self, Allowed};
use super::conversation::MOST_OPEN;
use super::json::Json;
use super::methods::{MULTICALL, Role};
use super::question::{Calls, Entry, Expected, told};
use super::refusal::Refusal;
use super::request::{Call, MOST_CALLS, Wrong};
use super::words;
use crate::model::RefusalCode;
use crate::services::Deed;

/// What a list of downloads counts for: aria2 builds the whole of it in memory, and apps ask for three at a time.
const A_LIST: usize = MOST_CALLS / 8;

/// Calls, those within multicalls counted each, and lists of downloads for many.
pub fn count(calls: &[Result<Call, Wrong>]) -> usize {
    let weight = |method: Option<&str>| match method {
        Some("aria2.tellActive" | "aria2.tellWaiting" | "aria2.tellStopped") => A_LIST,
        _ => 1,
    };
    let nested = |call: &Call| match call.params.iter().find(|param| matches!(param, Json::List(_))) {
        Some(Json::List(items)) if call.method == MULTICALL => {
            let named = |item: &Json| weight(item.get("methodName").and_then(Json::as_text));
            items.iter().map(named).sum::<usize>().max(1)
        }
        _ => weight(Some(&call.method)),
    };
    calls.iter().map(|call| call.as_ref().map_or(1, nested)).sum()
}

/// The judging of one message.
pub struct Judging<'a> {
    pub house: &'a House,
    pub role: Option<Role>,
    pub busy: bool,
    pub next: u64,
    pub forward: Vec<Json>,
    pub deeds: Vec<Deed>,
    /// Of a message that is one call, where nothing is forwarded.
    pub status: StatusCode,
}

impl Judging<'_> {
    pub fn entry(&mut self, call: Result<Call, Wrong>) -> Entry {
        let call = match call {
            Ok(call) => call,
            Err(Wrong { id, refusal }) => {
                self.deeds.push(words::refused_message(&refusal));
                self.status = refusal.status();
                return Entry::Told(told(&id, "error", refusal.error()));
            }
        };
        if call.method == MULTICALL {
            return self.multicall(call);
        }
        match self.judge(&call.method, call.params) {
            Ok(allowed) => {
                let expected = self.expected(&allowed);
                self.forward(call.id, allowed.method.name, allowed.params, Calls::One(expected))
            }
            Err(refusal) => {
                self.status = refusal.status();
                Entry::Told(told(&call.id, "error", refusal.error()))
            }
        }
    }

    /// Each of its calls by itself; aria2 hears of those that are allowed.
    fn multicall(&mut self, mut call: Call) -> Entry {
        calls::strip_tokens(&mut call.params);
        let whole = match <[Json; 1]>::try_from(call.params) {
            Ok([Json::List(items)]) => calls::method(MULTICALL, self.role).map(|_| items),
            _ => Err(Refusal::malformed("system.multicall takes one parameter: a list of calls")),
        };
        let items = match whole {
            Ok(items) => items,
            Err(refusal) => {
                self.deeds.push(words::refused(MULTICALL, &refusal));
                self.status = refusal.status();
                return Entry::Told(told(&call.id, "error", refusal.error()));
            }
        };
        let mut forward = Vec::new();
        let calls: Vec<Result<Expected, Json>> = items
            .into_iter()
            .map(|item| {
                let allowed = self.nested(item).map_err(|refusal| refusal.error())?;
                let expected = self.expected(&allowed);
                let (name, params) = (Json::text(allowed.method.name), Json::List(allowed.params));
                forward.push(Json::from([("methodName", name), ("params", params)]));
                Ok(expected)
            })
            .collect();
        if forward.is_empty() {
            let answers = calls.into_iter().filter_map(Result::err).collect();
            return Entry::Told(told(&call.id, "result", Json::List(answers)));
        }
        self.forward(call.id, MULTICALL, vec![Json::List(forward)], Calls::Many(calls))
    }

    fn nested(&mut self, item: Json) -> Result<Allowed, Refusal> {
        let (mut name, mut params) = (None, Some(Json::List(Vec::new())));
        if let Json::Object(members) = item {
            for (key, value) in members {
                match key.as_str() {
                    "methodName" => name = Some(value),
                    "params" => params = Some(value),
                    _ => {}
                }
            }
        }
        match (name, params) {
            (Some(Json::Text(name)), Some(Json::List(params))) => self.judge(&name, params),
            _ => {
                let refusal =
                    Refusal::malformed("expected an object with methodName and params within the multicall");
                self.deeds.push(words::refused(MULTICALL, &refusal));
                Err(refusal)
            }
        }
    }

    fn judge(&mut self, name: &str, params: Vec<Json>) -> Result<Allowed, Refusal> {
        let judged = match self.busy {
            false => calls::judge(name, params, self.role, self.house),
            true => Err(Refusal {
                code: RefusalCode::GatewayBusy,
                text: format!("{MOST_OPEN} messages wait for aria2 already"),
            }),
        };
        if let Err(refusal) = &judged {
            self.deeds.push(words::refused(name, refusal));
        }
        judged
    }

    fn expected(&self, allowed: &Allowed) -> Expected {
        let sees_all = self.role == Some(Role::Admin);
        Expected { method: allowed.method, about: allowed.about.clone(), sees_all }
    }

    fn forward(&mut self, theirs: Json, method: &str, params: Vec<Json>, calls: Calls) -> Entry {
        let ours = self.next;
        self.next += 1;
        self.forward.push(Json::from([
            ("jsonrpc", Json::text("2.0")),
            ("id", Json::Number(ours.into())),
            ("method", Json::text(method)),
            ("params", Json::List(params)),
        ]));
        Entry::Asked { ours, theirs, calls }
    }
}
