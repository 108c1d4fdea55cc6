-- Workers say more of themselves, are held from work, and join by tokens.

ALTER TABLE worker ADD COLUMN about TEXT NOT NULL DEFAULT '{}';
ALTER TABLE worker ADD COLUMN token TEXT;
ALTER TABLE worker ADD COLUMN public_key TEXT;
ALTER TABLE worker ADD COLUMN holds TEXT NOT NULL DEFAULT '{}';

CREATE TABLE token (
    id TEXT PRIMARY KEY,                        -- the public part
    admits TEXT NOT NULL,                       -- a worker, or a pool and how many
    sha256 TEXT NOT NULL,                       -- of the secret part
    owner TEXT,
    made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
) STRICT, WITHOUT ROWID;
