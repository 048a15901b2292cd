-- Policies that people published for agents, as they were signed.
CREATE TABLE policies (
	sequence INTEGER PRIMARY KEY, -- milliseconds since 1970, of signing
	published BLOB NOT NULL
);
