//! The record of one request while it happens. Dropping it writes it, so that no way out of a request goes unrecorded.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::Request;
use jiff::Timestamp;

use crate::audit::{Ending, Record, Verdict, redact};
use crate::identity::Member;
use crate::model::{MemberId, RefusalCode, RequestId};
use crate::policy::RuleRef;
use crate::routes::{GATE, Target};
use crate::services::{Deed, Silence, Talk};

use super::connection::{Connection, Identified};

/// One request's record, still growing. In one place from beginning to end: a request is handed on often.
#[derive(Debug)]
pub struct Entry(Box<Open>);

#[derive(Debug)]
struct Open {
    connection: Rc<Connection>,
    at: Timestamp,
    /// Until it is written.
    record: Option<Record>,
    id: RequestId,
    began: Instant,
    received: Option<Rc<Cell<u64>>>,
    deeds: Vec<Deed>,
    talk: Option<Rc<RefCell<Box<dyn Talk>>>>,
}

impl Entry {
    /// Opens the record of a request.
    pub fn begin<B>(connection: &Rc<Connection>, request: &Request<B>, id: RequestId) -> Self {
        let context = &connection.context;
        let path = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let at = context.clock.now();
        let record = Record {
            at,
            member: connection.member,
            claimed: None,
            device: None,
            owner: None,
            address: connection.peer.ip(),
            service: None,
            host: None,
            method: Some(context.method(request.method())),
            path: Some(redact::target(path)),
            verdict: Verdict::Allow,
            rule: None,
            status: None,
            received: 0,
            sent: 0,
            micros: 0,
            request: Some(id),
            ended: None,
            deed: None,
            count: 1,
        };
        connection.clock.request_began();
        let connection = connection.clone();
        Self(Box::new(Open {
            connection,
            at,
            record: Some(record),
            id,
            began: Instant::now(),
            received: None,
            deeds: Vec::new(),
            talk: None,
        }))
    }

    /// When it began.
    pub fn at(&self) -> Timestamp {
        self.0.at
    }

    fn edit(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.0.record {
            change(record);
        }
    }

    pub fn request_id(&self) -> RequestId {
        self.0.id
    }

    pub fn connection(&self) -> &Rc<Connection> {
        &self.0.connection
    }

    /// The meter of the request's body.
    pub fn meter(&mut self) -> Rc<Cell<u64>> {
        self.0.received.get_or_insert_default().clone()
    }

    pub fn by(&mut self, who: &Identified) {
        self.edit(|record| (record.device, record.owner) = (who.device.clone(), who.owner.clone()));
    }

    /// Names a device that is refused.
    pub fn known(&mut self, member: &Member) {
        self.edit(|record| {
            record.device = member.device.as_ref().map(|name| name.shared());
            record.owner = member.owner.as_ref().map(|name| name.shared());
        });
    }

    pub fn claimed(&mut self, owner: Option<MemberId>) {
        self.edit(|record| record.claimed = owner);
    }

    pub fn asked(&mut self, host: &str) {
        self.edit(|record| record.host = Some(redact::text(host, 253)));
    }

    pub fn target(&mut self, target: &Target) {
        let name = match target {
            Target::Gate | Target::TrustProbe => self.0.connection.context.word(GATE),
            Target::Service(route) => route.word.clone(),
        };
        self.edit(|record| {
            record.service = Some(name);
            record.host = None;
        });
    }

    pub fn rule(&mut self, rule: Option<&Arc<RuleRef>>) {
        self.edit(|record| record.rule = rule.map(|rule| rule.label.clone()));
    }

    pub fn refused(&mut self, code: RefusalCode) {
        self.edit(|record| record.verdict = Verdict::Refuse(code));
    }

    pub fn status(&mut self, status: http::StatusCode) {
        self.edit(|record| record.status = Some(status.as_u16()));
    }

    pub fn sent(&mut self, bytes: u64) {
        self.edit(|record| record.sent += bytes);
    }

    /// Notes what the request turned out to do. One deed becomes the request's own record, of several each has one beside it.
    pub fn did(&mut self, deeds: Vec<Deed>) {
        self.0.deeds.extend(deeds);
    }

    /// Keeps an eye on the request's conversation: what the service was asked is told even if nobody waits for its answer.
    pub fn watches(&mut self, talk: &Rc<RefCell<Box<dyn Talk>>>) {
        self.0.talk = Some(talk.clone());
    }

    /// Records at once what was done in the course of a stream.
    pub fn tell(&mut self, deed: &Deed) {
        let Some(record) = &self.0.record else { return };
        let now = self.0.connection.context.clock.now();
        let record = Record { at: now, received: 0, sent: 0, micros: 0, ..of_deed(record, deed) };
        self.0.connection.context.recorder.push(record);
    }

    /// Notes a bad end; the first reason stands.
    pub fn ended(&mut self, how: Ending) {
        self.edit(|record| record.ended = record.ended.or(Some(how)));
    }
}

/// The record of a deed of a request's. A service that did not answer is the request's verdict, not the deed's.
fn of_deed(request: &Record, deed: &Deed) -> Record {
    let verdict = deed.refused.map_or(request.verdict, Verdict::Refuse);
    Record {
        method: Some(redact::text(&deed.call, 64).into()),
        deed: Some(redact::text(&deed.text, redact::TARGET_CAP)),
        verdict,
        status: deed.refused.map(|code| code.status().as_u16()).or(request.status),
        ..request.clone()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = Instant::now();
        self.connection.clock.request_ended(now);
        self.connection.has_ended(self.id);
        let Some(mut record) = self.record.take() else { return };
        if let Some(talk) = &self.talk {
            let mut talk = talk.borrow_mut();
            while talk.due().is_some() {
                self.deeds.extend(talk.give_up(Silence::Broke).deeds);
            }
        }
        record.micros = (now - self.began).as_micros() as u64;
        record.received += self.received.as_ref().map_or(0, |meter| meter.get());
        if record.status.is_none() {
            // The device left, or the connection was cut, before there was an answer.
            record.ended = record.ended.or(Some(self.connection.ending()));
        }
        let recorder = &self.connection.context.recorder;
        match &*self.deeds {
            [] => {}
            [deed] => record = of_deed(&record, deed),
            deeds => {
                for deed in deeds {
                    recorder.push(Record { received: 0, sent: 0, ..of_deed(&record, deed) });
                }
            }
        }
        recorder.push(record);
    }
}
