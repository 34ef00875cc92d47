-- The journal: append-only lines, each chained to the one before. Everything but the chain is read out of the line itself,
-- so that no column can say something else than the bytes that were hashed.

-- one row: whose journal this is; its hash is what the first line is chained to
CREATE TABLE chain (
    env        TEXT NOT NULL,
    venue      TEXT NOT NULL,
    profile    TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE journal (
    seq       INTEGER PRIMARY KEY,
    canonical TEXT NOT NULL,
    prev_hash BLOB NOT NULL,
    hash      BLOB NOT NULL,
    kind      TEXT AS (canonical ->> '$.kind') VIRTUAL,
    at        TEXT AS (canonical ->> '$.at_utc') VIRTUAL,
    intent_id TEXT AS (canonical ->> '$.correlation.intent_id') VIRTUAL,
    plan_id   TEXT AS (canonical ->> '$.correlation.plan_id') VIRTUAL,
    order_id  TEXT AS (canonical ->> '$.body.order_id') VIRTUAL
) STRICT;

CREATE INDEX journal_by_kind ON journal (kind, at);
CREATE INDEX journal_by_intent ON journal (intent_id) WHERE intent_id IS NOT NULL;
CREATE INDEX journal_by_plan ON journal (plan_id) WHERE plan_id IS NOT NULL;
CREATE INDEX journal_by_order ON journal (order_id) WHERE order_id IS NOT NULL;

CREATE TRIGGER journal_is_never_updated BEFORE UPDATE ON journal
BEGIN SELECT raise(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER journal_is_never_deleted BEFORE DELETE ON journal
BEGIN SELECT raise(ABORT, 'the journal is append-only'); END;

-- also what keeps INSERT OR REPLACE from deleting past the trigger above
CREATE TRIGGER journal_only_grows BEFORE INSERT ON journal
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM journal)
BEGIN SELECT raise(ABORT, 'the journal is append-only'); END;
