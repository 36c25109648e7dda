//! One conversation with aria2: questions are judged, numbered anew and kept until they are answered.
//!
//! aria2 hears numbers of our own as ids, so no member can have an answer mistaken for another. What was refused is
//! answered in its place when the rest is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::House;
use super::json::{self, Json};
use super::judging::{self, Judging};
use super::methods::Role;
use super::question::{Entry, Question, told, whole};
use super::refusal::Refusal;
use super::request::{self, MOST_CALLS};
use super::words;
use crate::model::Moment;
use crate::services::{Answered, PATIENCE, Reply, Ruling, Silence, Talk, Unheard};

/// Messages of one conversation that aria2 has not answered yet. It answers within milliseconds unless it hangs.
pub const MOST_OPEN: usize = 64;

/// Everything that is said on one WebSocket, or in one request.
pub struct Conversation {
    house: Arc<House>,
    /// The id of the next call that aria2 hears.
    next: u64,
    /// By the id of the first call of each.
    open: BTreeMap<u64, Question>,
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
            return self.unheard(Unheard::TooLong);
        }
        let read = json::read(message).map_err(|error| Refusal::malformed(format!("no JSON: {error}")));
        let message = match read.and_then(request::read) {
            Ok(message) if judging::count(&message.calls) <= MOST_CALLS => message,
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
            let mut ruling = self.unheard(Unheard::TooLong);
            ruling.deeds.extend(deeds);
            return ruling;
        }
        self.open.insert(self.next, Question { batch, entries, due: now + PATIENCE });
        self.next = next;
        Ruling { forward: Some(forward), reply: None, deeds }
    }

    fn unheard(&mut self, why: Unheard) -> Ruling {
        match why {
            Unheard::TooLong => {
                let what = format!("longer than {} bytes", self.house.longest);
                let mend = "raise max_request_size in ztgate.toml and rpc-max-request-size in aria2.conf";
                let advice = Refusal::malformed(format!("{what}: if it should fit, {mend}"));
                let refusal = Refusal::malformed(what);
                let message = told(&Json::Null, "error", advice.too_long()).to_bytes();
                let reply = Some(Reply { status: StatusCode::PAYLOAD_TOO_LARGE, message });
                Ruling { forward: None, reply, deeds: vec![words::refused_message(&refusal)] }
            }
            Unheard::NoRoom => Self::refuse_whole(&Refusal::busy()),
        }
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

    fn give_up(&mut self, why: Silence) -> Answered {
        let is_meant = |question: &Question| match why {
            Silence::Late(now) => question.due <= now,
            _ => true,
        };
        let first = self.open.iter().find(|(_, question)| is_meant(question)).map(|(first, _)| *first);
        match first.and_then(|first| self.open.remove(&first)) {
            Some(question) => question.given_up(why),
            None => Answered::default(),
        }
    }
}

#[cfg(test)]
mod tests;
