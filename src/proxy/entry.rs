//! The record of one request while it happens. Dropping it writes it, so that no way out of a request goes unrecorded.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::Request;
use jiff::Timestamp;

use crate::audit::{Ending, Record, Verdict, redact};
use crate::identity::Member;
use crate::model::{MemberId, RefusalCode, RequestId};
use crate::policy::RuleRef;
use crate::services::{GATE, Target};

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

    /// Notes a bad end; the first reason stands.
    pub fn ended(&mut self, how: Ending) {
        self.edit(|record| record.ended = record.ended.or(Some(how)));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = Instant::now();
        self.connection.clock.request_ended(now);
        self.connection.has_ended(self.id);
        let Some(mut record) = self.record.take() else { return };
        record.micros = (now - self.began).as_micros() as u64;
        record.received += self.received.as_ref().map_or(0, |meter| meter.get());
        if record.status.is_none() {
            // The device left, or the connection was cut, before there was an answer.
            record.ended = record.ended.or(Some(self.connection.ending()));
        }
        self.connection.context.recorder.push(record);
    }
}
