//! A roster on its way to disk: all of it in one transaction, of the members only those that differ.

use std::collections::HashSet;
use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::params;

use super::Members;
use super::facts::FACT_HELD;
use super::types::{Admitted, Change, ChangeOrigin, StoredMember, StoredRoster};
use crate::model::{Label, MemberId, MemberState};

impl Members {
    pub(super) fn write(&mut self, roster: &StoredRoster, changes: &[Change]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT OR REPLACE INTO roster (one, network, taken, public, listed) VALUES (1, ?1, ?2, ?3, ?4)",
            params![roster.network.to_string(), roster.taken.as_millisecond(), roster.public, roster.listed],
        )?;
        transaction.execute("DELETE FROM redirects", [])?;
        for rule in &roster.redirects {
            transaction.execute("INSERT INTO redirects (rule) VALUES (?1)", [rule])?;
        }
        match &self.written {
            None => _ = transaction.execute("DELETE FROM members", [])?,
            Some(written) => {
                let kept: HashSet<MemberId> = roster.members.iter().map(|member| member.id).collect();
                for id in written.members.keys().filter(|id| !kept.contains(id)) {
                    transaction.execute("DELETE FROM members WHERE id = ?1", [id.to_string()])?;
                    transaction.execute("DELETE FROM presence WHERE member = ?1", [id.to_string()])?;
                }
            }
        }
        let written = self.written.as_ref();
        let is_written = |member: &StoredMember| {
            written.is_some_and(|written| written.members.get(&member.id) == Some(member))
        };
        {
            let mut insert = transaction.prepare(
                "INSERT OR REPLACE INTO members VALUES \
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            )?;
            for m in roster.members.iter().filter(|member| !is_written(member)) {
                let assigned: Vec<String> = m.assigned.iter().map(IpAddr::to_string).collect();
                let groups: Vec<&str> = m.profile.groups.iter().map(Label::as_str).collect();
                insert.execute(params![
                    m.id.to_string(),
                    m.state.as_str(),
                    m.at_controller.as_str(),
                    m.identity,
                    m.proof.as_str(),
                    m.differs,
                    m.admitted.map(Admitted::as_str),
                    m.first_seen.as_millisecond(),
                    m.label,
                    assigned.join(" "),
                    m.active_bridge,
                    m.version,
                    m.creation_time.map(Timestamp::as_millisecond),
                    m.profile.name.as_ref().map(Label::as_str),
                    m.profile.owner.as_ref().map(Label::as_str),
                    groups.join(" "),
                    m.profile.notes,
                    m.profile.until.map(Timestamp::as_millisecond),
                    m.notice.map(Timestamp::as_millisecond),
                ])?;
            }
            transaction.execute("DELETE FROM outbox", [])?;
            let mut outbox = transaction.prepare("INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (id, intent) in &roster.outbox {
                let since = intent.since.as_millisecond();
                let origin = intent.origin.as_ref().map(told);
                outbox.execute(params![id.to_string(), intent.authorize, since, intent.who, origin])?;
            }
            let mut log = transaction.prepare("INSERT INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for c in changes {
                let before = c.from.map(MemberState::as_str);
                let id = c.member.to_string();
                let (time, to, origin) =
                    (c.time.as_millisecond(), c.to.as_str(), c.origin.as_ref().map(told));
                log.execute(params![time, id, before, to, c.why, c.who, origin])?;
            }
            if self.number > self.voided {
                let number = self.number.to_string();
                transaction.execute("INSERT OR REPLACE INTO facts VALUES (?1, ?2)", [FACT_HELD, &number])?;
            }
        }
        transaction.commit()
    }
}

/// From where a change came, as a column has it.
fn told(origin: &ChangeOrigin) -> String {
    serde_json::json!(origin).to_string()
}
