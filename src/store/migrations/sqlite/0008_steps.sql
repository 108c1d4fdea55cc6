-- What comes out of steps: warnings, values, tests, files.

ALTER TABLE step ADD COLUMN warnings INTEGER NOT NULL DEFAULT 0;

CREATE TABLE output (
    build INTEGER NOT NULL,
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (build, step, name),
    FOREIGN KEY (build, step) REFERENCES step (build, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE test_result (
    build INTEGER NOT NULL,
    step INTEGER NOT NULL,
    number INTEGER NOT NULL,                    -- in the step, from 0
    suite TEXT NOT NULL,
    name TEXT NOT NULL,
    outcome TEXT NOT NULL,
    rank INTEGER NOT NULL,                      -- what is to be looked at first has the smallest
    micros INTEGER NOT NULL,                    -- how long it took
    message TEXT NOT NULL,
    PRIMARY KEY (build, step, number),
    FOREIGN KEY (build, step) REFERENCES step (build, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX test_result_rank ON test_result (build, rank, step, number);

CREATE TABLE artifact (
    build INTEGER NOT NULL,
    step INTEGER NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,                       -- SHA-256: the file's name in the store
    at INTEGER NOT NULL,
    PRIMARY KEY (build, step, path),
    FOREIGN KEY (build, step) REFERENCES step (build, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_digest ON artifact (digest);
