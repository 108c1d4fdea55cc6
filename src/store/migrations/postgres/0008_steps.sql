-- What comes out of steps: warnings, values, tests, files.

ALTER TABLE step ADD COLUMN warnings BIGINT NOT NULL DEFAULT 0;

CREATE TABLE output (
    build BIGINT NOT NULL,
    step BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (build, step, name),
    FOREIGN KEY (build, step) REFERENCES step (build, number)
);

CREATE TABLE test_result (
    build BIGINT NOT NULL,
    step BIGINT NOT NULL,
    number BIGINT NOT NULL,                    -- in the step, from 0
    suite TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    rank BIGINT NOT NULL,                      -- what is to be looked at first has the smallest
    micros BIGINT NOT NULL,                    -- how long it took
    message TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (build, step, number),
    FOREIGN KEY (build, step) REFERENCES step (build, number)
);
CREATE INDEX test_result_rank ON test_result (build, rank, step, number);

CREATE TABLE artifact (
    build BIGINT NOT NULL,
    step BIGINT NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,                       -- SHA-256: the file's name in the store
    at BIGINT NOT NULL,
    PRIMARY KEY (build, step, path),
    FOREIGN KEY (build, step) REFERENCES step (build, number)
);
CREATE INDEX artifact_digest ON artifact (digest);
