-- What the service found wrong with itself and has not found mended.

CREATE TABLE finding (
    name TEXT COLLATE "C" PRIMARY KEY,           -- the check that found it
    detail TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);
