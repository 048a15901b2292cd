-- What people do here, and what they are told.

CREATE INDEX approvals_number ON approvals (state, number);

-- Who is logged in at the console. The key is the hash of a cookie.
CREATE TABLE logins (
    hash    BLOB PRIMARY KEY,
    person  BLOB NOT NULL, -- JSON
    created INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    proven  INTEGER NOT NULL -- when the person last proved who they are
) WITHOUT ROWID;

-- Who is told. The outbox has one row for each message that somebody has not
-- taken yet; it is written in the transaction that changes the approval.
CREATE TABLE notifiers (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    notifier TEXT NOT NULL,
    number   INTEGER NOT NULL, -- of the approval
    state    TEXT NOT NULL,    -- that it came to
    at       INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due      INTEGER NOT NULL
);
CREATE INDEX outbox_due ON outbox (notifier, due);

CREATE TRIGGER approval_added AFTER INSERT ON approvals BEGIN
    INSERT INTO outbox (notifier, number, state, at, due)
        SELECT name, new.number, new.state, new.requested, 0 FROM notifiers;
END;
CREATE TRIGGER approval_moved AFTER UPDATE OF state ON approvals WHEN old.state <> new.state BEGIN
    INSERT INTO outbox (notifier, number, state, at, due)
        SELECT name, new.number, new.state, CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000000, 0 FROM notifiers;
END;
