-- Evidence: what cannot be made again. Nothing here is updated but the
-- checkpoint and the state of an approval.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- The log's stored hashes, at the positions of tlog.StoredHashIndex.
CREATE TABLE hashes (
    position INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL
);

-- A batch note is the leaf at log_index. The payload is as the agent sent it.
CREATE TABLE batches (
    log_index INTEGER PRIMARY KEY,
    agent     TEXT NOT NULL,
    epoch     TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    stored    INTEGER NOT NULL, -- ns since 1970
    note      BLOB NOT NULL,
    payload   BLOB NOT NULL,
    UNIQUE (agent, epoch, seq)
);

CREATE TABLE checkpoint (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    size INTEGER NOT NULL,
    note BLOB NOT NULL
);

-- Verified batches that wait for one before them.
CREATE TABLE parked (
    agent   TEXT NOT NULL,
    epoch   TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    note    BLOB NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (agent, epoch, seq)
);

-- Messages that were not believed, kept for whoever asks why.
CREATE TABLE quarantine (
    id      INTEGER PRIMARY KEY,
    digest  BLOB NOT NULL UNIQUE,
    at      INTEGER NOT NULL,
    agent   TEXT NOT NULL, -- whose subject it came in on
    reason  TEXT NOT NULL,
    note    BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX quarantine_agent ON quarantine (agent);

CREATE TABLE findings (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    agent  TEXT NOT NULL,
    epoch  TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    code   TEXT NOT NULL,
    detail TEXT NOT NULL,
    UNIQUE (agent, epoch, seq, code)
);

-- Numbers are never given twice, also not after a deletion.
CREATE TABLE approvals (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    agent     TEXT NOT NULL,
    session   TEXT NOT NULL,
    operation INTEGER NOT NULL,
    resource  TEXT NOT NULL,
    rule      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    text      TEXT NOT NULL,
    state     TEXT NOT NULL,
    requested INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    request   BLOB NOT NULL,
    repository TEXT NOT NULL DEFAULT '' -- of the requester's verified token
);
CREATE INDEX approvals_state ON approvals (state, agent);

CREATE TABLE votes (
    id       INTEGER PRIMARY KEY,
    number   INTEGER NOT NULL REFERENCES approvals (number),
    approver TEXT NOT NULL,
    decision TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    signed   BLOB NOT NULL,
    UNIQUE (number, signed)
);
