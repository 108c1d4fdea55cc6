-- Which installation this is, so that a backup can be restored beside what went on after it; and what retention needs.

CREATE TABLE instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,                -- by chance, at creation; a backup says whose it is
    epoch INTEGER NOT NULL,             -- grows with each restore, so that leases of before are told from those after
    created_at INTEGER NOT NULL,
    restored_at INTEGER                 -- when it was last restored
) STRICT;
INSERT INTO instance (one, id, epoch, created_at)
SELECT 1, lower(hex(randomblob(16))), 0, COALESCE(MIN(at), CAST(strftime('%s', 'now') AS INTEGER) * 1000000) FROM event;

-- The numbers that count as given out although no row has them: they were given out after a backup, and lost with it.
CREATE TABLE number_floor (
    noun TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When the logs of a finished build were deleted, because logs are kept for a shorter time than builds.
ALTER TABLE build ADD COLUMN logs_retired_at INTEGER;

-- What is deleted is found by its age, and whatever may refer to it is looked up for each row.
CREATE INDEX answer_at ON answer (at);
CREATE INDEX build_logs ON build (id) WHERE state = 'finished' AND logs_retired_at IS NULL;
CREATE INDEX request_recipe ON request (recipe);
CREATE INDEX step_triggered ON step (triggered) WHERE triggered IS NOT NULL;
CREATE INDEX upstream_used_by ON upstream (used_by) WHERE used_by IS NOT NULL;
