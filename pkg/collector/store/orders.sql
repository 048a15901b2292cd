-- Signed orders of people to agents, for agents that were away.

CREATE TABLE orders (
    id      TEXT PRIMARY KEY,
    at      INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    signed  BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX orders_expires ON orders (expires);
