//! What came of calls: aria2's results without what is not for everybody, and what they say was done.

use super::{Calls, Expected};
use crate::model::RefusalCode;
use crate::services::Deed;
use crate::services::aria2::json::Json;
use crate::services::aria2::refusal::Refusal;
use crate::services::aria2::{answer, words};

impl Calls {
    /// Makes aria2's answer the one that the member gets, but for its id, and notes what was done. Whether anything in it
    /// changed.
    pub(super) fn complete(self, answer: &mut Json, deeds: &mut Vec<Deed>) -> bool {
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
                let mut hidden = false;
                for call in calls.into_iter().flatten() {
                    hidden |= call.failed(error, deeds);
                }
                hidden
            }
            (calls, None, None) => {
                calls.unanswered(deeds);
                false
            }
        }
    }

    pub(super) fn unanswered(self, deeds: &mut Vec<Deed>) {
        let calls = match self {
            Self::One(call) => vec![call],
            Self::Many(calls) => calls.into_iter().flatten().collect(),
        };
        deeds.extend(calls.iter().filter_map(|call| words::unanswered(call.method, &call.about)));
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
        deeds.extend(words::failed(self.method, &self.about, error));
        !self.sees_all && answer::hide(self.method.name, error)
    }
}
