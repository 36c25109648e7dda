//! The tables of `members.db`, one step for each version of the schema.

/// Released steps never change: stores in the world have taken them.
pub(super) const MIGRATIONS: &[&str] = &[
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
