-- Workers say more of themselves, are held from work, and join by tokens.

ALTER TABLE worker ADD COLUMN about TEXT COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE worker ADD COLUMN token TEXT COLLATE "C";
ALTER TABLE worker ADD COLUMN public_key TEXT COLLATE "C";
ALTER TABLE worker ADD COLUMN holds TEXT COLLATE "C" NOT NULL DEFAULT '{}';

CREATE TABLE token (
    id TEXT COLLATE "C" PRIMARY KEY,                        -- the public part
    admits TEXT COLLATE "C" NOT NULL,                       -- a worker, or a pool and how many
    sha256 TEXT COLLATE "C" NOT NULL,                       -- of the secret part
    owner TEXT COLLATE "C",
    made_at BIGINT NOT NULL,
    made_by TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    revoked_by TEXT COLLATE "C",
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
