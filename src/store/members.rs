//! What we know of members: the roster as it was last, and a log of every change of state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::StoreError;
use super::open::{open, open_to_read};
use crate::model::{Label, MemberId, MemberState, NetworkId};
use facts::FACT_HELD;
use held::OnDisk;
use history::Knocks;
use reserve::{Reserve, Written};
use row::{member, origin};

mod error;
mod facts;
mod held;
mod history;
mod put_by;
mod reserve;
mod row;
mod types;

pub use error::MembersError;
pub use history::History;
#[cfg(test)]
pub use put_by::after_a_restart;
pub use types::{
    Admitted, AtController, Caller, Change, ChangeOrigin, Intent, PinProof, Presence, Profile, StoredMember,
    StoredRoster,
};

const FILE: &str = "members.db";

const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE roster (
        one           INTEGER PRIMARY KEY CHECK (one = 1),
        network       TEXT NOT NULL,
        taken         INTEGER NOT NULL,            -- ms since 1970
        public        INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE redirects (rule TEXT NOT NULL) STRICT;
    CREATE TABLE members (
        id            TEXT PRIMARY KEY,
        state         TEXT NOT NULL,
        at_controller TEXT NOT NULL,
        identity      TEXT,                        -- the pinned one
        proof         TEXT NOT NULL,
        differs       INTEGER NOT NULL,
        admitted      TEXT,
        first_seen    INTEGER NOT NULL,            -- ms since 1970
        label         TEXT,
        assigned      TEXT NOT NULL,               -- addresses with a space between
        active_bridge INTEGER NOT NULL,
        version       TEXT,
        creation_time INTEGER                      -- ms since 1970, the controller's
    ) STRICT;
    CREATE TABLE changes (
        time          INTEGER NOT NULL,            -- ms since 1970
        member        TEXT NOT NULL,
        before        TEXT,
        after         TEXT NOT NULL,
        why           TEXT NOT NULL
    ) STRICT;
    CREATE INDEX changes_by_member ON changes (member, time);
",
    "
    ALTER TABLE roster ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE members ADD COLUMN name TEXT;
    ALTER TABLE members ADD COLUMN owner TEXT;
    ALTER TABLE members ADD COLUMN groups TEXT NOT NULL DEFAULT '';  -- with a space between
    ALTER TABLE members ADD COLUMN notes TEXT;
    ALTER TABLE members ADD COLUMN until INTEGER;                    -- ms since 1970
    ALTER TABLE members ADD COLUMN notice INTEGER;                   -- when to say that it ends soon, ms since 1970
    ALTER TABLE changes ADD COLUMN who TEXT NOT NULL DEFAULT 'ztgate';
    CREATE TABLE presence (
        member        TEXT PRIMARY KEY,
        last_seen     INTEGER,                     -- ms since 1970
        physical      TEXT
    ) STRICT;
    CREATE TABLE outbox (
        member        TEXT PRIMARY KEY,
        authorize     INTEGER NOT NULL,
        since         INTEGER NOT NULL,            -- ms since 1970
        who           TEXT NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE changes ADD COLUMN origin TEXT;                      -- from where, as JSON
    ALTER TABLE outbox ADD COLUMN origin TEXT;
",
    "
    -- What is one thing only, by name: see FACT_*.
    CREATE TABLE IF NOT EXISTS facts (
        name          TEXT PRIMARY KEY,
        value         TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS knocks ON changes (time) WHERE before IS NULL AND after = 'pending';
",
];

/// The members on disk, in `STATE_DIR/members.db`; and beside it, what is to survive though that could not be written.
#[derive(Debug)]
pub struct Members {
    connection: Connection,
    file: PathBuf,
    /// What is on disk, so that only what differs is written; `None` until it was read or written.
    written: Option<OnDisk>,
    /// `None` where there is no room for one yet.
    reserve: Option<Reserve>,
    /// That there is no room was told.
    lacks_room: bool,
    /// What the reserve has and the database has not, as it was written last.
    held: Option<Written>,
    /// The highest number in use, in the reserve or the database.
    number: u64,
    /// As far as the database voids it, or it is blank.
    voided: u64,
    /// What of the history the reserve had at the start, and the database had not.
    unkept: Option<Vec<Change>>,
    knocks: Knocks,
}

/// What is seen in a store from outside.
#[derive(Debug)]
pub enum Look {
    Members(Vec<StoredMember>),
    /// An older ztgate wrote it, and the next start of this one brings it up to date.
    Older,
    /// There is none, or none that can be read here.
    Nothing,
}

impl Members {
    /// Opens the file, or makes it; the second value tells which.
    ///
    /// # Errors
    /// The file cannot be used, or what was put by beside it cannot be read; see [`StoreError`].
    pub fn open(state_dir: &Path) -> Result<(Self, bool), MembersError> {
        let file = state_dir.join(FILE);
        let opened = open(&file, MIGRATIONS)?;
        let mut members = Self::over(opened.connection, state_dir, Reserve::read(state_dir)?);
        if opened.created {
            // What is there was put by beside another database.
            members.save_fact(FACT_HELD, &members.number.to_string())?;
        }
        let kept = members.fact(FACT_HELD)?.unwrap_or(0);
        let is_blank = members.held.as_ref().is_some_and(|held| held.body.is_empty());
        members.held = members.held.filter(|held| held.number > kept && !is_blank);
        members.voided = if is_blank { members.number } else { kept };
        members.number = members.number.max(kept);
        members.take_room();
        Ok((members, opened.created))
    }

    /// The members of a network as a store has them that may be in use.
    pub fn look(state_dir: &Path, network: NetworkId) -> Look {
        let known = MIGRATIONS.len() as u32;
        let Ok(connection) = open_to_read(&state_dir.join(FILE), known) else { return Look::Nothing };
        let schema = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        if schema.is_ok_and(|schema| schema < known) {
            return Look::Older;
        }
        let Ok(held) = Reserve::read(state_dir) else { return Look::Nothing };
        match Self::over(connection, state_dir, held).load(network) {
            Ok(Some(roster)) => Look::Members(roster.members),
            Ok(None) | Err(_) => Look::Nothing,
        }
    }

    fn over(connection: Connection, state_dir: &Path, held: Option<Written>) -> Self {
        Self {
            connection,
            file: state_dir.join(FILE),
            written: None,
            reserve: None,
            lacks_room: false,
            number: held.as_ref().map_or(0, |held| held.number),
            held,
            voided: 0,
            unkept: None,
            knocks: Knocks::default(),
        }
    }

    /// The roster as it was last; `None` if there never was one.
    ///
    /// # Errors
    /// It is another network's, or cannot be read.
    pub fn load(&mut self, network: NetworkId) -> Result<Option<StoredRoster>, MembersError> {
        let head = self
            .connection
            .query_row("SELECT network, taken, public, listed FROM roster", [], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, bool>(2)?,
                    row.get::<_, bool>(3)?,
                ))
            })
            .optional()
            .map_err(|e| self.sql(e))?;
        let Some((found, taken, public, listed)) = head else { return Ok(None) };
        if found.parse() != Ok(network) {
            return Err(MembersError::OtherNetwork { file: self.file.clone(), found, asked: network });
        }
        let redirects = self.rows("SELECT rule FROM redirects ORDER BY rowid", |row| row.get(0))?;
        let members = self.rows("SELECT * FROM members ORDER BY id", |row| Ok(member(row)))?;
        let members =
            members.into_iter().collect::<Result<Vec<_>, _>>().map_err(|what| self.damaged(what))?;
        let taken = Timestamp::from_millisecond(taken).map_err(|_| self.damaged("the roster's time"))?;
        let outbox = self.outbox()?;
        let mut roster = StoredRoster { network, taken, public, redirects, listed, members, outbox };
        self.written = Some(OnDisk::of(&roster));
        if let Some(held) = self.held_beyond()?.filter(|held| held.is_about(network)) {
            held.narrow(&mut roster);
            self.unkept = Some(held.changes);
        }
        Ok(Some(roster))
    }

    /// When and where members were last heard.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn presence(&self) -> Result<HashMap<MemberId, Presence>, MembersError> {
        let rows = self.rows("SELECT member, last_seen, physical FROM presence", |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?))
        })?;
        let parsed = rows.into_iter().map(|(id, last_seen, physical)| {
            let last_seen = last_seen.map(Timestamp::from_millisecond).transpose().ok()?;
            Some((id.parse().ok()?, Presence { last_seen, physical }))
        });
        parsed.collect::<Option<_>>().ok_or_else(|| self.damaged("when a member was last heard"))
    }

    fn outbox(&self) -> Result<BTreeMap<MemberId, Intent>, MembersError> {
        let rows = self.rows("SELECT member, authorize, since, who, origin FROM outbox", |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get(3)?, row.get(4)?))
        })?;
        let parsed = rows.into_iter().map(|(id, authorize, since, who, from)| {
            let since = Timestamp::from_millisecond(since).ok()?;
            Some((id.parse().ok()?, Intent { authorize, since, who, origin: origin(from)? }))
        });
        parsed.collect::<Option<_>>().ok_or_else(|| self.damaged("what the controller is still to be told"))
    }

    /// Replaces the roster and adds to the log of changes, both or neither.
    ///
    /// # Errors
    /// It could not be written; what was there stands.
    pub fn save(&mut self, roster: &StoredRoster, changes: &[Change]) -> Result<(), MembersError> {
        self.write(roster, changes).map_err(|e| self.sql(e))?;
        let written = self.written.get_or_insert_default();
        written.public = roster.public;
        written.redirects.clone_from(&roster.redirects);
        let kept: HashSet<MemberId> = roster.members.iter().map(|member| member.id).collect();
        written.members.retain(|id, _| kept.contains(id));
        for member in &roster.members {
            if written.members.get(&member.id) != Some(member) {
                written.members.insert(member.id, member.clone());
            }
        }
        written.outbox.clone_from(&roster.outbox);
        self.take_room();
        self.blank();
        if let Err(error) = self.knocks.note(&mut self.connection, changes) {
            tracing::warn!("old knocks stay in the history for now: {error}");
        }
        Ok(())
    }

    /// What reads the log of changes.
    pub fn history(&self) -> History {
        History { file: self.file.clone() }
    }

    /// Notes that the roster was as it is at a later time too, and who was heard meanwhile.
    ///
    /// # Errors
    /// It could not be written.
    pub fn touch<'a>(
        &mut self,
        taken: Timestamp,
        heard: impl Iterator<Item = (&'a MemberId, &'a Presence)>,
    ) -> Result<(), MembersError> {
        let write = |connection: &mut Connection| {
            let change = connection.transaction()?;
            change.execute("UPDATE roster SET taken = ?1", [taken.as_millisecond()])?;
            {
                let mut insert = change.prepare("INSERT OR REPLACE INTO presence VALUES (?1, ?2, ?3)")?;
                for (id, presence) in heard {
                    let last_seen = presence.last_seen.map(Timestamp::as_millisecond);
                    insert.execute(params![id.to_string(), last_seen, presence.physical])?;
                }
            }
            change.commit()
        };
        write(&mut self.connection).map_err(|e| self.sql(e))
    }

    /// Notes what became of the pinned identities of some members, each still the one named.
    ///
    /// # Errors
    /// It could not be written; they will be proved again.
    pub fn save_proofs(&mut self, proofs: &[(MemberId, &str, PinProof)]) -> Result<(), MembersError> {
        let write = |connection: &mut Connection| {
            let change = connection.transaction()?;
            for (id, identity, proof) in proofs {
                change.execute(
                    "UPDATE members SET proof = ?3 WHERE id = ?1 AND identity = ?2",
                    params![id.to_string(), identity, proof.as_str()],
                )?;
            }
            change.commit()
        };
        write(&mut self.connection).map_err(|e| self.sql(e))?;
        let written = self.written.get_or_insert_default();
        for (id, identity, proof) in proofs {
            let member = written.members.get_mut(id);
            if let Some(member) = member.filter(|m| m.identity.as_deref() == Some(*identity)) {
                member.proof = *proof;
            }
        }
        Ok(())
    }

    fn write(&mut self, roster: &StoredRoster, changes: &[Change]) -> rusqlite::Result<()> {
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

    fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, MembersError> {
        let all = || self.connection.prepare(query)?.query_map([], read)?.collect();
        let all: rusqlite::Result<_> = all();
        all.map_err(|e| self.sql(e))
    }

    fn sql(&self, source: rusqlite::Error) -> MembersError {
        StoreError::Sqlite { file: self.file.clone(), source }.into()
    }

    fn damaged(&self, what: impl Into<String>) -> MembersError {
        MembersError::Damaged { file: self.file.clone(), what: what.into() }
    }
}

/// From where a change came, as a column has it.
fn told(origin: &ChangeOrigin) -> String {
    serde_json::json!(origin).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn roster() -> StoredRoster {
        let taken: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let member = StoredMember {
            at_controller: AtController::Unauthorized,
            active_bridge: true,
            ..StoredMember::unheard("bcba17eef8".parse().unwrap(), taken)
        };
        let full = StoredMember {
            id: "c4c8812898".parse().unwrap(),
            state: MemberState::Active,
            at_controller: AtController::Authorized,
            identity: Some("c4c8812898:0:20".into()),
            proof: PinProof::Proven,
            differs: true,
            admitted: Some(Admitted::Adopted),
            label: Some("mum's phone".into()),
            assigned: vec!["10.147.20.11".parse().unwrap(), "fd00::1".parse().unwrap()],
            active_bridge: false,
            version: Some("1.14.1".into()),
            creation_time: Some(taken),
            profile: Profile {
                name: Some("red-phone".parse().unwrap()),
                owner: Some("mum".parse().unwrap()),
                groups: vec!["family".parse().unwrap(), "admins".parse().unwrap()],
                notes: Some("the one with the cracked glass".into()),
                until: Some(taken),
            },
            notice: Some(taken),
            ..member.clone()
        };
        let intent = Intent { authorize: true, since: taken, who: "root".into(), origin: Some(by_ssh()) };
        let outbox = BTreeMap::from([(member.id, intent)]);
        let network = "5e02d9cb41c0ffee".parse().unwrap();
        let redirects = vec!["ACTION_TEE to 5e02d9cb41 (rule 1)".into()];
        let members = vec![member, full];
        StoredRoster { network, taken, public: true, redirects, listed: true, members, outbox }
    }

    fn by_ssh() -> ChangeOrigin {
        let claimed_ssh = "192.168.1.20".parse().ok();
        ChangeOrigin::Socket(Caller {
            login: Some("mum".into()),
            terminal: Some("pts/3".into()),
            claimed_ssh,
        })
    }

    #[test]
    fn a_store_of_each_earlier_schema_keeps_its_rows() {
        let rows = "INSERT INTO roster (one, network, taken, public) VALUES (1, '5e02d9cb41c0ffee', 0, 0);
             INSERT INTO changes (time, member, after, why) VALUES (0, 'c4c8812898', 'active', 'adopted');
             INSERT INTO members (id, state, at_controller, proof, differs, first_seen, assigned, active_bridge)
             VALUES ('c4c8812898', 'active', 'authorized', 'unproven', 0, 0, '', 0);";
        let queued = "INSERT INTO outbox VALUES ('c4c8812898', 0, 0, 'mum');";
        for (schema, more) in [(1, ""), (2, queued)] {
            let folder = tempfile::tempdir().unwrap();
            let old = open(&folder.path().join(FILE), &MIGRATIONS[..schema]).unwrap().connection;
            old.execute_batch(&format!("{rows}{more}")).unwrap();
            drop(old);
            let network = "5e02d9cb41c0ffee".parse().unwrap();
            assert!(matches!(Members::look(folder.path(), network), Look::Older), "schema {schema}");
            let (mut members, created) = Members::open(folder.path()).unwrap();
            let roster = members.load(network).unwrap().unwrap();
            assert!(matches!(Members::look(folder.path(), network), Look::Members(_)), "schema {schema}");
            assert_eq!((created, roster.members[0].state), (false, MemberState::Active), "schema {schema}");
            let changes = members.history().changes(None).unwrap();
            assert_eq!((changes[0].who.as_str(), &changes[0].origin), ("ztgate", &None), "schema {schema}");
            let intent = roster.outbox.values().next();
            assert_eq!(
                intent.map(|intent| (&*intent.who, &intent.origin)),
                (schema > 1).then_some(("mum", &None))
            );
        }
    }

    #[test]
    fn from_where_reads_as_words() {
        let socket = ChangeOrigin::Socket;
        let bare = Caller::default();
        let controller = |kind: &str, url: Option<&str>| ChangeOrigin::Controller {
            controller: kind.into(),
            url: url.map(Into::into),
        };
        for (origin, words) in [
            (by_ssh(), "pts/3, says login mum, by SSH from 192.168.1.20"),
            (socket(Caller { login: Some("mum".into()), ..bare.clone() }), "this machine, says login mum"),
            (socket(Caller { terminal: Some("tty1".into()), ..bare.clone() }), "tty1"),
            (socket(bare), "this machine"),
            (controller("local", None), "local controller"),
            (controller("remote", Some("https://10.0.0.2")), "remote controller https://10.0.0.2"),
            (ChangeOrigin::Clock, "the gateway's clock"),
        ] {
            assert_eq!(origin.to_string(), words);
        }
    }

    #[test]
    fn what_was_saved_is_loaded_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut roster = roster();
        let heard = Presence { last_seen: Some(roster.taken), physical: Some("203.0.113.7:9993".into()) };
        {
            let (mut members, created) = Members::open(folder.path()).unwrap();
            assert!(created);
            assert_eq!(members.load(roster.network).unwrap(), None);
            members.save(&roster, &[]).unwrap();
            roster.taken += std::time::Duration::from_secs(60);
            members.touch(roster.taken, [(&roster.members[0].id, &heard)].into_iter()).unwrap();
        }
        let (mut members, created) = Members::open(folder.path()).unwrap();
        assert!(!created);
        assert_eq!(members.presence().unwrap(), HashMap::from([(roster.members[0].id, heard)]));
        assert_eq!(members.load(roster.network).unwrap(), Some(roster));
    }

    #[test]
    fn what_changed_is_written_and_what_is_gone_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (mut members, _) = Members::open(folder.path()).unwrap();
        let mut roster = roster();
        members.save(&roster, &[]).unwrap();
        roster.members[1].state = MemberState::Suspended;
        let newcomer = StoredMember::unheard("00deadbeef".parse().unwrap(), roster.taken);
        roster.members[0] = newcomer;
        roster.members.sort_by_key(|member| member.id);
        members.save(&roster, &[]).unwrap();
        let (mut again, _) = Members::open(folder.path()).unwrap();
        assert_eq!(again.load(roster.network).unwrap(), Some(roster));
    }

    #[test]
    fn a_store_of_another_network_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let (mut members, _) = Members::open(folder.path()).unwrap();
        members.save(&roster(), &[]).unwrap();
        let error = members.load("0123456789abcdef".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("members of network 5e02d9cb41c0ffee"), "{error}");
        assert!(error.contains("members.db.5e02d9cb41c0ffee"), "{error}");
    }

    #[test]
    fn a_proof_counts_for_the_pinned_identity_only() {
        let folder = tempfile::tempdir().unwrap();
        let (mut members, _) = Members::open(folder.path()).unwrap();
        let roster = roster();
        members.save(&roster, &[]).unwrap();
        let id = roster.members[1].id;
        let proof = |members: &mut Members| members.load(roster.network).unwrap().unwrap().members[1].proof;
        members.save_proofs(&[(id, "c4c8812898:0:other", PinProof::Failed)]).unwrap();
        assert_eq!(proof(&mut members), PinProof::Proven);
        members.save_proofs(&[(id, "c4c8812898:0:20", PinProof::Failed)]).unwrap();
        assert_eq!(proof(&mut members), PinProof::Failed);
    }

    #[test]
    fn changes_are_kept_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut members, _) = Members::open(folder.path()).unwrap();
        let roster = roster();
        let change = |from, to, why: &str| Change {
            time: roster.taken,
            member: roster.members[0].id,
            from,
            to,
            why: why.into(),
            who: "root".into(),
            origin: from.is_some().then(by_ssh),
        };
        let changes = [
            change(None, MemberState::Pending, "new"),
            change(Some(MemberState::Pending), MemberState::Active, "listed"),
        ];
        members.save(&roster, &changes[..1]).unwrap();
        members.save(&roster, &changes[1..]).unwrap();
        assert_eq!(members.history().changes(None).unwrap(), changes);
    }

    #[test]
    fn nonsense_on_disk_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (mut members, _) = Members::open(folder.path()).unwrap();
        members.save(&roster(), &[]).unwrap();
        members.connection.execute("UPDATE members SET state = 'king' WHERE id = 'bcba17eef8'", []).unwrap();
        let error = members.load(roster().network).unwrap_err().to_string();
        assert!(error.contains("state of member bcba17eef8"), "{error}");
    }

    #[test]
    fn the_gateways_own_id_is_kept_and_another_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (mut members, _) = Members::open(folder.path()).unwrap();
        assert_eq!(members.own().unwrap(), None);
        for id in ["c4c8812898", "bcba17eef8"] {
            let id = id.parse().unwrap();
            members.save_own(id).unwrap();
            let (members, _) = Members::open(folder.path()).unwrap();
            assert_eq!(members.own().unwrap(), Some(id));
        }
    }
}
