//! Questions on their way to aria2, and how an answer finds its places: what was refused stands where it was asked.

use super::answer;
use super::json::Json;
use super::methods::Method;
use super::refusal::Refusal;
use super::words::{self, About};
use crate::model::{Moment, RefusalCode};
use crate::services::{Answered, Deed, Silence};

/// A message on its way.
pub struct Question {
    /// Whether the answers belong into a list.
    pub batch: bool,
    pub entries: Vec<Entry>,
    pub due: Moment,
}

/// A call of a message, in its place.
pub enum Entry {
    /// It has its answer already.
    Told(Json),
    /// aria2 was asked, by that number.
    Asked { ours: u64, theirs: Json, calls: Calls },
}

pub enum Calls {
    One(Expected),
    /// A multicall's: what aria2 was asked, and the answers of the others.
    Many(Vec<Result<Expected, Json>>),
}

/// A call that waits for its result.
pub struct Expected {
    pub method: &'static Method,
    pub about: About,
    /// Whether whoever asked may see the answer as it is.
    pub sees_all: bool,
}

impl Question {
    pub fn asked(&self, id: u64) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Asked { ours, .. } if *ours == id))
    }

    /// Puts aria2's answers into the places of the questions. `raw` is what aria2 said as it said it.
    pub fn answered(self, mut answers: Vec<Json>, raw: &[u8]) -> Answered {
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

    /// Says to all that aria2 was asked, or should have been, that there is no answer.
    pub fn given_up(self, why: Silence) -> Answered {
        let refusal = Refusal::unanswered(why);
        let mut deeds = Vec::new();
        let answers = self.entries.into_iter().map(|entry| match entry {
            Entry::Told(answer) => answer,
            Entry::Asked { theirs, calls, .. } => {
                match why {
                    Silence::Unreached | Silence::Busy { heard: false } => {
                        calls.unasked(&refusal, &mut deeds);
                    }
                    _ => calls.unanswered(&mut deeds),
                }
                told(&theirs, "error", refusal.error())
            }
        });
        let message = whole(answers.collect(), self.batch);
        Answered { message: Some(message.into()), deeds }
    }
}

impl Calls {
    /// Makes aria2's answer the one that the member gets, but for its id, and notes what was done. Whether anything in it
    /// changed.
    fn complete(self, answer: &mut Json, deeds: &mut Vec<Deed>) -> bool {
        let Json::Object(members) = answer else { return false };
        let member = |name: &str| members.iter().position(|(key, _)| key == name);
        match (self, member("result"), member("error")) {
            (Self::One(call), Some(at), _) => call.succeeded(&mut members[at].1, deeds),
            (Self::One(call), None, Some(at)) => call.failed(&mut members[at].1, deeds),
            (Self::Many(calls), Some(at), _) => {
                let Json::List(results) = &mut members[at].1 else { return false };
                complete_all(calls, results, deeds)
            }
            (Self::Many(calls), None, Some(at)) => {
                let error = &mut members[at].1;
                calls.into_iter().flatten().fold(false, |hid, call| call.failed(error, deeds) | hid)
            }
            (calls, None, None) => {
                calls.unanswered(deeds);
                false
            }
        }
    }

    fn unanswered(self, deeds: &mut Vec<Deed>) {
        deeds.extend(self.all().iter().filter_map(|call| words::unanswered(call.method, &call.about)));
    }

    fn unasked(self, why: &Refusal, deeds: &mut Vec<Deed>) {
        let could_not = |call: &Expected| words::could_not(call.method, &call.about, &why.text);
        deeds.extend(self.all().iter().filter_map(could_not));
    }

    /// Those that aria2 should hear.
    fn all(self) -> Vec<Expected> {
        match self {
            Self::One(call) => vec![call],
            Self::Many(calls) => calls.into_iter().flatten().collect(),
        }
    }
}

/// The results of a multicall, what was refused in its place. aria2 gives `[result]` for each call that went well, and
/// the error itself for each that did not.
fn complete_all(calls: Vec<Result<Expected, Json>>, results: &mut Vec<Json>, deeds: &mut Vec<Deed>) -> bool {
    let mut said = std::mem::take(results).into_iter();
    let mut changed = false;
    for call in calls {
        let result = match call {
            Err(refused) => {
                changed = true;
                refused
            }
            Ok(call) => match said.next() {
                Some(mut result) => {
                    changed |= match &mut result {
                        Json::List(one) if one.len() == 1 => call.succeeded(&mut one[0], deeds),
                        error => call.failed(error, deeds),
                    };
                    result
                }
                None => {
                    changed = true;
                    deeds.extend(words::unanswered(call.method, &call.about));
                    let text = "aria2 left this out".to_owned();
                    Refusal { code: RefusalCode::UpstreamDown, text }.error()
                }
            },
        };
        results.push(result);
    }
    changed
}

impl Expected {
    fn succeeded(self, result: &mut Json, deeds: &mut Vec<Deed>) -> bool {
        deeds.extend(words::done(self.method, &self.about, result));
        !self.sees_all && answer::hide(self.method.name, result)
    }

    fn failed(self, error: &mut Json, deeds: &mut Vec<Deed>) -> bool {
        // Devices have no secret to mend: whatever they send as one is taken off.
        if error.get("message").and_then(Json::as_text) == Some("Unauthorized") {
            *error = Refusal::wrong_secret().error();
            deeds.extend(words::failed(self.method, &self.about, error));
            return true;
        }
        deeds.extend(words::failed(self.method, &self.about, error));
        !self.sees_all && answer::hide(self.method.name, error)
    }
}

/// An answer: its id, and `result` or `error`. In the order in which aria2 has them.
pub fn told(id: &Json, kind: &str, what: Json) -> Json {
    Json::from([("id", id.clone()), ("jsonrpc", Json::text("2.0")), (kind, what)])
}

/// A message of one, or a batch of them.
pub fn whole(mut messages: Vec<Json>, batch: bool) -> Vec<u8> {
    match (messages.len(), batch) {
        (1, false) => messages.remove(0).to_bytes(),
        _ => Json::List(messages).to_bytes(),
    }
}
