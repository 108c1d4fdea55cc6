-- The first schema. Plain column types that both databases have: integers (booleans are 0 or 1, times are microseconds
-- UTC), text (JSON is text), blobs. Every safety rule that can be a constraint is one.

CREATE TABLE journal_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO journal_head (one, seq) VALUES (1, 0);

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- How far each follower has read. The one called `announcer` is the engine's.
CREATE INDEX event_catalog ON event (seq) WHERE kind IN ('catalog.activated', 'catalog.refused');

CREATE TABLE cursor (
    consumer TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE answer (
    key TEXT PRIMARY KEY,            -- principal and idempotency key
    request_sha256 TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE catalog_text (
    hash TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE catalog (
    hash TEXT PRIMARY KEY REFERENCES catalog_text (hash),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    at INTEGER NOT NULL              -- when it last came into force
) STRICT;
CREATE UNIQUE INDEX catalog_active ON catalog (active) WHERE active = 1;

CREATE TABLE repository (
    name TEXT PRIMARY KEY,
    seen INTEGER NOT NULL CHECK (seen IN (0, 1)),
    failures INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ref_tip (
    repository TEXT NOT NULL,
    reference TEXT NOT NULL,
    revision TEXT,                   -- NULL: the ref is gone, its number goes on
    seq INTEGER NOT NULL,
    change INTEGER,                  -- the newest change of this ref
    PRIMARY KEY (repository, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    key TEXT NOT NULL,
    event TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    at INTEGER NOT NULL,
    result TEXT,                     -- what came of it, in a sentence; NULL: not read yet
    UNIQUE (repository, key)
) STRICT;

-- Apart, because lists of deliveries do not want them, and because they are the first to be retired.
CREATE TABLE delivery_body (
    delivery INTEGER PRIMARY KEY REFERENCES delivery (id),
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE change (
    id INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    reference TEXT NOT NULL,
    branch TEXT NOT NULL,            -- the short name
    seq INTEGER NOT NULL,
    old TEXT,
    new TEXT,
    movement TEXT NOT NULL CHECK (movement IN ('created', 'moved', 'forced', 'deleted')),
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    body TEXT NOT NULL,              -- the whole change, as JSON
    at INTEGER NOT NULL,
    UNIQUE (repository, reference, seq)
) STRICT;
CREATE INDEX change_new ON change (new);
CREATE INDEX change_branch ON change (repository, branch, id);
CREATE INDEX change_repository ON change (repository, id);
CREATE INDEX change_any_branch ON change (branch, id);

CREATE TABLE verdict (
    change INTEGER NOT NULL REFERENCES change (id),
    scheduler TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('built', 'held', 'nothing')),
    buildset INTEGER,
    until INTEGER,
    reasons TEXT NOT NULL,
    place TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (change, scheduler),
    CHECK ((kind = 'built') = (buildset IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX verdict_scheduler ON verdict (scheduler, change);
CREATE INDEX verdict_held ON verdict (kind) WHERE kind = 'held';

CREATE TABLE timer (
    scheduler TEXT PRIMARY KEY,
    nominal INTEGER,
    next INTEGER,
    why_nothing TEXT,                -- NULL: something was built
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE recipe (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE buildset (
    id INTEGER PRIMARY KEY,
    scheduler TEXT NOT NULL,
    project TEXT,
    branch TEXT NOT NULL,
    trigger_key TEXT NOT NULL,       -- what set it off; the same thing cannot set the same scheduler off twice
    body TEXT NOT NULL,
    remaining INTEGER NOT NULL CHECK (remaining >= 0),
    outcome TEXT,
    created_at INTEGER NOT NULL,
    completed_at INTEGER,
    UNIQUE (scheduler, trigger_key),
    CHECK ((outcome IS NULL) = (completed_at IS NULL)),
    CHECK (outcome IS NULL OR remaining = 0)
) STRICT;
CREATE INDEX buildset_open ON buildset (id) WHERE outcome IS NULL;
CREATE INDEX buildset_project ON buildset (project, id);
CREATE INDEX buildset_scheduler ON buildset (scheduler, id);

CREATE TABLE buildset_change (
    buildset INTEGER NOT NULL REFERENCES buildset (id),
    change INTEGER NOT NULL,
    PRIMARY KEY (buildset, change)
) STRICT, WITHOUT ROWID;
CREATE INDEX buildset_change_change ON buildset_change (change);

CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    buildset INTEGER NOT NULL REFERENCES buildset (id),
    node TEXT NOT NULL,
    builder TEXT NOT NULL,
    recipe TEXT NOT NULL REFERENCES recipe (digest),
    digest TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('all', 'any')),
    state TEXT NOT NULL CHECK (state IN ('waiting', 'ready', 'leased', 'settled')),
    attempts INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    outcome TEXT,
    cause TEXT,
    reason TEXT,
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    UNIQUE (buildset, node),
    CHECK ((state = 'settled') = (outcome IS NOT NULL)),
    CHECK ((state = 'settled') = (settled_at IS NOT NULL))
) STRICT;
CREATE INDEX request_open ON request (state, id) WHERE state <> 'settled';
CREATE INDEX request_digest ON request (digest);

CREATE TABLE edge (
    request INTEGER NOT NULL REFERENCES request (id),
    needs INTEGER NOT NULL REFERENCES request (id),
    on_outcome TEXT NOT NULL CHECK (on_outcome IN ('success', 'failure', 'finished')),
    position INTEGER NOT NULL,       -- among the edges of its buildset, so that they are read back in their order
    PRIMARY KEY (request, needs),
    CHECK (request <> needs)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_needs ON edge (needs);

CREATE TABLE build (
    id INTEGER PRIMARY KEY,
    request INTEGER NOT NULL REFERENCES request (id),
    buildset INTEGER NOT NULL REFERENCES buildset (id),
    builder TEXT NOT NULL,
    branch TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    worker TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('leased', 'running', 'suspended', 'resumable', 'finished')),
    cancel TEXT,
    suspended_step INTEGER,
    outcome TEXT,
    cause TEXT,
    summary TEXT,
    leased_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    UNIQUE (request, attempt),       -- the epoch grows with it: a lease is given on that condition
    CHECK ((state = 'finished') = (outcome IS NOT NULL)),
    CHECK ((state = 'finished') = (finished_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX build_one_lease ON build (request) WHERE state <> 'finished';   -- S8
CREATE INDEX build_open ON build (id) WHERE state <> 'finished';
CREATE INDEX build_builder ON build (builder, branch, id);
CREATE INDEX build_any_branch ON build (builder, id);
CREATE INDEX build_branch ON build (branch, id);
CREATE INDEX build_outcome ON build (outcome, id);
CREATE INDEX build_buildset ON build (buildset);

CREATE TABLE step (
    build INTEGER NOT NULL REFERENCES build (id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    outcome TEXT,
    cause TEXT,
    summary TEXT,
    triggered INTEGER,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (build, number),
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
) STRICT;

-- What the last build said of a builder on a branch, and what its last good build contained: blame is counted from there.
CREATE TABLE standing (
    builder TEXT NOT NULL,
    branch TEXT NOT NULL,
    outcome TEXT NOT NULL,
    build INTEGER NOT NULL,
    good TEXT NOT NULL,              -- JSON: repository -> newest change in the last good build
    incident INTEGER,
    at INTEGER NOT NULL,
    PRIMARY KEY (builder, branch)
) STRICT, WITHOUT ROWID;
CREATE INDEX standing_incident ON standing (incident) WHERE incident IS NOT NULL;

CREATE TABLE incident (
    id INTEGER PRIMARY KEY,
    branch TEXT NOT NULL,
    first_build INTEGER NOT NULL,
    suspects TEXT NOT NULL,          -- JSON: repository -> {branch, after, upto}
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
) STRICT;
CREATE INDEX incident_open ON incident (id) WHERE closed_at IS NULL;

CREATE TABLE incident_builder (
    incident INTEGER NOT NULL REFERENCES incident (id),
    builder TEXT NOT NULL,
    broke_build INTEGER NOT NULL,
    fixed_build INTEGER,
    PRIMARY KEY (incident, builder)
) STRICT, WITHOUT ROWID;

-- Completed buildsets that a dependent scheduler has taken into account.
CREATE TABLE upstream (
    scheduler TEXT NOT NULL,
    buildset INTEGER NOT NULL REFERENCES buildset (id),
    upstream TEXT NOT NULL,          -- the scheduler of that buildset
    outcome TEXT NOT NULL,
    meets INTEGER NOT NULL CHECK (meets IN (0, 1)),
    branch TEXT NOT NULL,
    stamps TEXT NOT NULL,            -- JSON: what the dependent scheduler freezes
    depth INTEGER NOT NULL,
    result TEXT NOT NULL,
    noted INTEGER NOT NULL,          -- the event's number: a later one of the same upstream takes an earlier one's place
    used_by INTEGER REFERENCES buildset (id),
    at INTEGER NOT NULL,
    PRIMARY KEY (scheduler, buildset)
) STRICT;
CREATE INDEX upstream_unused ON upstream (scheduler, noted) WHERE used_by IS NULL;
CREATE INDEX upstream_buildset ON upstream (buildset);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    notifier TEXT NOT NULL,
    target TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('due', 'delivered', 'dead')),
    attempts INTEGER NOT NULL,
    claimed INTEGER NOT NULL CHECK (claimed IN (0, 1)),  -- it is being sent, and must not be sent twice
    due_at INTEGER NOT NULL,
    error TEXT,
    receipt TEXT,
    at INTEGER NOT NULL,
    incident INTEGER
) STRICT;
CREATE INDEX outbox_due ON outbox (notifier, due_at, id, target) WHERE state = 'due';
CREATE INDEX outbox_incident ON outbox (incident);

CREATE TABLE worker (
    name TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    slots INTEGER NOT NULL,
    connected INTEGER NOT NULL CHECK (connected IN (0, 1)),
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
