//! One conversation with aria2: questions are judged, numbered anew and kept until they are answered.
//!
//! aria2 hears numbers of our own as ids, so no member can have an answer mistaken for another. What was refused is
//! answered in its place when the rest is.

mod results;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::calls::{self, Allowed};
use super::json::{self, Json};
use super::methods::{MULTICALL, Method, Role};
use super::refusal::Refusal;
use super::request::{self, Call, MOST_CALLS, Wrong};
use super::words::{self, About};
use super::{House, answer};
use crate::model::{Moment, RefusalCode};
use crate::services::{Answered, Deed, PATIENCE, Reply, Ruling, Talk};

/// Messages of one conversation that aria2 has not answered yet. It answers within milliseconds unless it hangs.
const MOST_OPEN: usize = 64;

/// Everything that is said on one WebSocket, or in one request.
pub struct Conversation {
    house: Arc<House>,
    /// The id of the next call that aria2 hears.
    next: u64,
    /// By the id of the first call of each.
    open: BTreeMap<u64, Question>,
}

/// A message on its way.
struct Question {
    /// Whether the answers belong into a list.
    batch: bool,
    entries: Vec<Entry>,
    due: Moment,
}

/// A call of a message, in its place.
enum Entry {
    /// It has its answer already.
    Told(Json),
    /// aria2 was asked, by that number.
    Asked { ours: u64, theirs: Json, calls: Calls },
}

enum Calls {
    One(Expected),
    /// A multicall's: what aria2 was asked, and the answers of the others.
    Many(Vec<Result<Expected, Json>>),
}

/// A call that waits for its result.
struct Expected {
    method: &'static Method,
    about: About,
    /// Whether whoever asked may see the answer as it is.
    sees_all: bool,
}

impl Conversation {
    pub fn new(house: Arc<House>) -> Self {
        Self { house, next: 1, open: BTreeMap::new() }
    }

    /// A message of which nothing is a call.
    fn refuse_whole(refusal: &Refusal) -> Ruling {
        let message = told(&Json::Null, "error", refusal.error()).to_bytes();
        let reply = Some(Reply { status: refusal.status(), message });
        Ruling { forward: None, reply, deeds: vec![words::refused_message(refusal)] }
    }

    /// The message that this answers.
    fn question_of(&mut self, id: &Json) -> Option<Question> {
        let id = id.as_whole().and_then(|id| u64::try_from(id).ok())?;
        let (&first, question) = self.open.range(..=id).next_back()?;
        question.asked(id).then(|| self.open.remove(&first))?
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl Talk for Conversation {
    fn longest(&self) -> usize {
        self.house.longest
    }

    fn ask(&mut self, message: &[u8], roles: &[&str], now: Moment) -> Ruling {
        if message.len() > self.house.longest {
            return self.too_long();
        }
        let read = json::read(message).map_err(|error| Refusal::malformed(format!("no JSON: {error}")));
        let message = match read.and_then(request::read) {
            Ok(message) if count(&message.calls) <= MOST_CALLS => message,
            Ok(_) => return Self::refuse_whole(&request::too_many()),
            Err(refusal) => return Self::refuse_whole(&refusal),
        };
        let mut judging = Judging {
            house: &self.house,
            role: Role::strongest(roles),
            busy: self.open.len() >= MOST_OPEN,
            next: self.next,
            forward: Vec::new(),
            deeds: Vec::new(),
            status: StatusCode::OK,
        };
        let entries: Vec<Entry> = message.calls.into_iter().map(|call| judging.entry(call)).collect();
        let Judging { next, forward, deeds, status, .. } = judging;
        let batch = message.batch;
        if forward.is_empty() {
            let status = if batch { StatusCode::OK } else { status };
            let answers = entries.into_iter().filter_map(|entry| match entry {
                Entry::Told(answer) => Some(answer),
                Entry::Asked { .. } => None,
            });
            let message = whole(answers.collect(), batch);
            return Ruling { forward: None, reply: Some(Reply { status, message }), deeds };
        }
        let forward = whole(forward, batch);
        // What is inserted may be what makes it too long, and aria2 drops what is.
        if forward.len() > self.house.longest {
            return self.too_long();
        }
        self.open.insert(self.next, Question { batch, entries, due: now + PATIENCE });
        self.next = next;
        Ruling { forward: Some(forward), reply: None, deeds }
    }

    fn too_long(&mut self) -> Ruling {
        let refusal = Refusal::malformed(format!("longer than {} bytes", self.house.longest));
        let message = told(&Json::Null, "error", refusal.too_long()).to_bytes();
        let reply = Some(Reply { status: StatusCode::PAYLOAD_TOO_LARGE, message });
        Ruling { forward: None, reply, deeds: vec![words::refused_message(&refusal)] }
    }

    fn answer(&mut self, message: Bytes, _now: Moment) -> Answered {
        // File names may be in any encoding, and aria2 passes them on as they are.
        let text = String::from_utf8_lossy(&message);
        let Ok(said) = json::read_answer(text.as_bytes()) else { return Answered::default() };
        let answers = match said {
            Json::Object(_) if said.get("id").is_none() => {
                let is_news = said.get("method").is_some();
                drop(text);
                return Answered { message: is_news.then_some(message), deeds: Vec::new() };
            }
            Json::Object(_) => vec![said],
            Json::List(answers) => answers,
            _ => return Answered::default(),
        };
        let id = answers.first().and_then(|first| first.get("id"));
        match id.and_then(|id| self.question_of(id)) {
            Some(question) => question.answered(answers, &message),
            None => Answered::default(),
        }
    }

    fn due(&self) -> Option<Moment> {
        self.open.values().map(|question| question.due).min()
    }

    fn give_up(&mut self, now: Option<Moment>) -> Answered {
        let overdue = |question: &Question| now.is_none_or(|now| question.due <= now);
        let first = self.open.iter().find(|(_, question)| overdue(question)).map(|(first, _)| *first);
        let refusal = match now {
            Some(_) => Refusal {
                code: RefusalCode::UpstreamSlow,
                text: format!("aria2 did not answer within {} seconds", PATIENCE.as_secs()),
            },
            None => Refusal {
                code: RefusalCode::UpstreamDown,
                text: "aria2 went away without an answer".to_owned(),
            },
        };
        match first.and_then(|first| self.open.remove(&first)) {
            Some(question) => question.given_up(&refusal),
            None => Answered::default(),
        }
    }
}

/// Calls, those within multicalls counted each.
fn count(calls: &[Result<Call, Wrong>]) -> usize {
    let nested = |call: &Call| match call.params.iter().find(|param| matches!(param, Json::List(_))) {
        Some(Json::List(items)) if call.method == MULTICALL => items.len().max(1),
        _ => 1,
    };
    calls.iter().map(|call| call.as_ref().map_or(1, nested)).sum()
}

/// The judging of one message.
struct Judging<'a> {
    house: &'a House,
    role: Option<Role>,
    busy: bool,
    next: u64,
    forward: Vec<Json>,
    deeds: Vec<Deed>,
    /// Of a message that is one call, where nothing is forwarded.
    status: StatusCode,
}

impl Judging<'_> {
    fn entry(&mut self, call: Result<Call, Wrong>) -> Entry {
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
                text: format!("{MOST_OPEN} calls wait for aria2 already"),
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

impl Question {
    fn asked(&self, id: u64) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Asked { ours, .. } if *ours == id))
    }

    /// Puts aria2's answers into the places of the questions. `raw` is what aria2 said as it said it.
    fn answered(self, mut answers: Vec<Json>, raw: &[u8]) -> Answered {
        let mut deeds = Vec::new();
        let mut told_all = Vec::new();
        for entry in self.entries {
            let (ours, theirs, calls) = match entry {
                Entry::Told(answer) => {
                    told_all.push(answer);
                    continue;
                }
                Entry::Asked { ours, theirs, calls } => (ours, theirs, calls),
            };
            let is_it = |answer: &Json| answer.get("id").and_then(Json::as_whole) == i64::try_from(ours).ok();
            let Some(at) = answers.iter().position(is_it) else {
                let refusal =
                    Refusal { code: RefusalCode::UpstreamDown, text: "aria2 left this out".to_owned() };
                calls.unanswered(&mut deeds);
                told_all.push(told(&theirs, "error", refusal.error()));
                continue;
            };
            let mut answer = answers.swap_remove(at);
            let changed = calls.complete(&mut answer, &mut deeds);
            if !self.batch
                && !changed
                && let Some(verbatim) = answer::with_id(raw, ours, &theirs)
            {
                return Answered { message: Some(verbatim.into()), deeds };
            }
            if let Json::Object(members) = &mut answer {
                for (key, value) in members {
                    if key == "id" {
                        *value = theirs.clone();
                    }
                }
            }
            told_all.push(answer);
        }
        Answered { message: Some(whole(told_all, self.batch).into()), deeds }
    }

    /// Says to all that aria2 was asked that there is no answer.
    fn given_up(self, refusal: &Refusal) -> Answered {
        let mut deeds = Vec::new();
        let answers = self.entries.into_iter().map(|entry| match entry {
            Entry::Told(answer) => answer,
            Entry::Asked { theirs, calls, .. } => {
                calls.unanswered(&mut deeds);
                told(&theirs, "error", refusal.error())
            }
        });
        let message = whole(answers.collect(), self.batch);
        Answered { message: Some(message.into()), deeds }
    }
}

/// An answer: its id, and `result` or `error`. In the order in which aria2 has them.
fn told(id: &Json, kind: &str, what: Json) -> Json {
    Json::from([("id", id.clone()), ("jsonrpc", Json::text("2.0")), (kind, what)])
}

/// A message of one, or a batch of them.
fn whole(mut messages: Vec<Json>, batch: bool) -> Vec<u8> {
    match (messages.len(), batch) {
        (1, false) => messages.remove(0).to_bytes(),
        _ => Json::List(messages).to_bytes(),
    }
}

#[cfg(test)]
mod tests;
