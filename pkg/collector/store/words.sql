-- Derived, too: one row for each record that has words to search. The rowid is
-- its place in the log (see placeOf).
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', columnsize = 0, detail = full,
    tokenize = "unicode61 tokenchars '_$'"
);
