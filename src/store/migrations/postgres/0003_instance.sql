-- Which installation this is, so that a backup can be restored beside what went on after it; and what retention needs.

CREATE TABLE instance (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    id TEXT COLLATE "C" NOT NULL,                -- by chance, at creation; a backup says whose it is
    epoch BIGINT NOT NULL,             -- grows with each restore, so that leases of before are told from those after
    created_at BIGINT NOT NULL,
    restored_at BIGINT                 -- when it was last restored
);
INSERT INTO instance (one, id, epoch, created_at)
SELECT 1, replace(CAST(gen_random_uuid() AS TEXT), '-', ''), 0, COALESCE(MIN(at), CAST(EXTRACT(EPOCH FROM now()) * 1000000 AS BIGINT)) FROM event;

-- The numbers that count as given out although no row has them: they were given out after a backup, and lost with it.
CREATE TABLE number_floor (
    noun TEXT COLLATE "C" PRIMARY KEY,
    last BIGINT NOT NULL
);

-- When the logs of a finished build were deleted, because logs are kept for a shorter time than builds.
ALTER TABLE build ADD COLUMN logs_retired_at BIGINT;

-- What is deleted is found by its age, and whatever may refer to it is looked up for each row.
CREATE INDEX answer_at ON answer (at);
CREATE INDEX build_logs ON build (id) WHERE state = 'finished' AND logs_retired_at IS NULL;
CREATE INDEX request_recipe ON request (recipe);
CREATE INDEX step_triggered ON step (triggered) WHERE triggered IS NOT NULL;
CREATE INDEX upstream_used_by ON upstream (used_by) WHERE used_by IS NOT NULL;
