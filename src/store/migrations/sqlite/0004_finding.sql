-- What the service found wrong with itself and has not found mended.

CREATE TABLE finding (
    name TEXT PRIMARY KEY,                      -- the check that found it
    detail TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
