-- Derived: all of this can be made again from batches (see Reindex).

CREATE TABLE chains (
    agent     TEXT NOT NULL,
    epoch     TEXT NOT NULL,
    prev      TEXT NOT NULL, -- the epoch before it, empty for none
    reason    TEXT NOT NULL,
    next_seq  INTEGER NOT NULL,
    next_no   INTEGER NOT NULL,
    last_hash BLOB NOT NULL, -- of its newest note
    records   INTEGER NOT NULL,
    drops     INTEGER NOT NULL,
    sealed    INTEGER NOT NULL,
    stored    INTEGER NOT NULL,
    newest    INTEGER NOT NULL, -- log index of its newest note
    behind    INTEGER NOT NULL DEFAULT 0, -- ns, from its newest record to when it was stored
    version   TEXT NOT NULL DEFAULT '',   -- this and the next: what the agent says of itself
    host      TEXT NOT NULL DEFAULT '',
    policy    TEXT NOT NULL DEFAULT '',
    policy_since INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, epoch)
) WITHOUT ROWID;

CREATE TABLE sessions (
    key         INTEGER PRIMARY KEY,
    agent       TEXT NOT NULL,
    epoch       TEXT NOT NULL,
    id          TEXT NOT NULL,
    resource    TEXT NOT NULL DEFAULT '',
    protocol    TEXT NOT NULL DEFAULT '',
    destination TEXT NOT NULL DEFAULT '',
    assurance   TEXT NOT NULL DEFAULT 'A0',
    workload    BLOB NOT NULL DEFAULT '{}',
    started     INTEGER NOT NULL,
    ended       INTEGER, -- NULL while it is open
    reason      TEXT NOT NULL DEFAULT '',
    operations  INTEGER NOT NULL DEFAULT 0,
    denied      INTEGER NOT NULL DEFAULT 0,
    held        INTEGER NOT NULL DEFAULT 0,
    masked      INTEGER NOT NULL DEFAULT 0,
    newest      INTEGER NOT NULL, -- time of its newest record
    repository  TEXT NOT NULL DEFAULT '', -- of the verified token
    run         TEXT NOT NULL DEFAULT '', -- see runOf
    parent      TEXT NOT NULL DEFAULT '', -- the session that it is inside of
    parent_operation INTEGER NOT NULL DEFAULT 0,
    UNIQUE (id, agent)
);
CREATE INDEX sessions_started ON sessions (started);
CREATE INDEX sessions_resource ON sessions (resource, started);
CREATE INDEX sessions_repository ON sessions (repository, started);
CREATE INDEX sessions_run ON sessions (run, started);
CREATE INDEX sessions_protocol ON sessions (protocol, started);
CREATE INDEX sessions_agent ON sessions (agent, started);
CREATE INDEX sessions_open ON sessions (started) WHERE ended IS NULL;
CREATE INDEX sessions_denied ON sessions (started) WHERE denied > 0;
CREATE INDEX sessions_held ON sessions (started) WHERE held > 0;

-- One row for each run, so that they can be listed.
CREATE TABLE runs (
    key     INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    started INTEGER NOT NULL -- of its newest session
);
CREATE INDEX runs_started ON runs (started);

-- Which batches hold records of which session.
CREATE TABLE pieces (
    session   INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    PRIMARY KEY (session, log_index)
) WITHOUT ROWID;
