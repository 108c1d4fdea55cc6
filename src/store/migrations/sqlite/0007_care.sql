-- Where builders' newest checkouts are and how long their builds take; how workers fare that had trouble lately.

CREATE TABLE pace (
    builder TEXT PRIMARY KEY,
    worker TEXT NOT NULL,                     -- has the newest checkout
    runs INTEGER NOT NULL CHECK (runs >= 0),      -- good builds that the mean is of
    mean INTEGER NOT NULL CHECK (mean >= 0)       -- in milliseconds
) STRICT, WITHOUT ROWID;

CREATE TABLE rating (
    worker TEXT PRIMARY KEY,
    recent TEXT NOT NULL,                     -- its last builds since the first that failed by its fault
    quarantines INTEGER NOT NULL CHECK (quarantines >= 0)
) STRICT, WITHOUT ROWID;
