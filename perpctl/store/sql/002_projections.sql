-- Folds of the journal, written in the transaction of the line they come from; each can be thrown away and folded again.
CREATE TABLE orders (
    key          TEXT PRIMARY KEY, -- our identity; the venue's id for an order that no intent of ours explains
    identity     TEXT,
    order_id     TEXT,
    state        TEXT NOT NULL,    -- intended sent confirmed refused unknown absent terminal
    cancel_state TEXT,             -- intended confirmed refused unknown
    product_id   TEXT NOT NULL,
    request      TEXT,             -- as we asked for it; null: not ours
    seen         TEXT,             -- as the venue last reported it; null: never seen
    booked       TEXT NOT NULL,    -- sum of the fills booked, base coin
    cause        TEXT,             -- of the last refusal, unknown outcome or absence
    epoch        INTEGER,
    risk_day     TEXT,
    since_ms     INTEGER,          -- market time of the intent
    first_seq    INTEGER NOT NULL,
    last_seq     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_by_order_id ON orders (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX orders_of_shared_identity ON orders (identity) WHERE identity <> key;
CREATE INDEX orders_by_state ON orders (state);
CREATE INDEX orders_by_risk_day ON orders (risk_day) WHERE risk_day IS NOT NULL;

CREATE TABLE fills (
    seq        INTEGER PRIMARY KEY,
    venue      TEXT NOT NULL,
    trade_id   TEXT NOT NULL,
    order_id   TEXT NOT NULL,
    product_id TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    seen_by    TEXT NOT NULL,
    fill       TEXT NOT NULL,
    UNIQUE (venue, trade_id)
) STRICT;

CREATE INDEX fills_by_order ON fills (order_id);
CREATE INDEX fills_by_time ON fills (at_ms);

CREATE TABLE corrections (
    seq      INTEGER PRIMARY KEY,
    trade_id TEXT NOT NULL UNIQUE, -- of our own making: the same correction is applied once
    cause    TEXT NOT NULL,
    movement TEXT NOT NULL
) STRICT;

CREATE TABLE positions (
    product_id TEXT NOT NULL,
    slot       TEXT NOT NULL, -- the isolated slot, 'cross' for none
    tally      TEXT NOT NULL, -- the fold of its fills and funding
    fills      INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    PRIMARY KEY (product_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE funding (
    seq        INTEGER PRIMARY KEY,
    venue      TEXT NOT NULL,
    row_id     TEXT NOT NULL,
    product_id TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    payment    TEXT NOT NULL,
    UNIQUE (venue, row_id)
) STRICT;

CREATE INDEX funding_by_time ON funding (at_ms);

CREATE TABLE mode_changes (
    seq    INTEGER PRIMARY KEY,
    at     TEXT NOT NULL,
    change TEXT NOT NULL
) STRICT;

CREATE TABLE reconciles (
    seq INTEGER PRIMARY KEY,
    at  TEXT NOT NULL
) STRICT;

CREATE TABLE baselines (
    risk_day TEXT PRIMARY KEY,
    equity   TEXT NOT NULL,
    currency TEXT NOT NULL,
    seq      INTEGER NOT NULL
) STRICT;
