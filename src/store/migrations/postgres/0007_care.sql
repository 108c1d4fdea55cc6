-- Where builders' newest checkouts are and how long their builds take; how workers fare that had trouble lately.

CREATE TABLE pace (
    builder TEXT COLLATE "C" PRIMARY KEY,
    worker TEXT COLLATE "C" NOT NULL,                     -- has the newest checkout
    runs BIGINT NOT NULL CHECK (runs >= 0),      -- good builds that the mean is of
    mean BIGINT NOT NULL CHECK (mean >= 0)       -- in milliseconds
);

CREATE TABLE rating (
    worker TEXT COLLATE "C" PRIMARY KEY,
    recent TEXT COLLATE "C" NOT NULL,                     -- its last builds since the first that failed by its fault
    quarantines BIGINT NOT NULL CHECK (quarantines >= 0)
);
