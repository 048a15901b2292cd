-- Evidence: the leaves that say which bodies were destroyed, and which batches
-- they speak of.

CREATE TABLE shreddings (
    log_index INTEGER PRIMARY KEY,
    note      BLOB NOT NULL
);

CREATE TABLE shredded (
    log_index INTEGER NOT NULL, -- of the batch
    shredding INTEGER NOT NULL REFERENCES shreddings (log_index),
    PRIMARY KEY (log_index, shredding)
) WITHOUT ROWID;
