-- Derived, too: one row for each group of records that has words to search. The
-- rowid is its place in the log (see placeOf). What is indexed is split into
-- words and folded before.
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', columnsize = 0, detail = none,
    tokenize = "ascii tokenchars '_$'"
);
