-- The first schema, for PostgreSQL: table by table the same as for SQLite. Texts are compared by their bytes, as
-- there. Plain column types that both databases have: integers (booleans are 0 or 1, times are microseconds
-- UTC), text (JSON is text), blobs. Every safety rule that can be a constraint is one.

CREATE TABLE journal_head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL
);
INSERT INTO journal_head (one, seq) VALUES (1, 0);

CREATE TABLE event (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL
);

-- How far each follower has read. The one called `announcer` is the engine's.
CREATE INDEX event_catalog ON event (seq) WHERE kind IN ('catalog.activated', 'catalog.refused');

CREATE TABLE cursor (
    consumer TEXT COLLATE "C" PRIMARY KEY,
    seq BIGINT NOT NULL
);

CREATE TABLE answer (
    key TEXT COLLATE "C" PRIMARY KEY,            -- principal and idempotency key
    request_sha256 TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE catalog_text (
    hash TEXT COLLATE "C" PRIMARY KEY,
    text TEXT COLLATE "C" NOT NULL
);

CREATE TABLE catalog (
    hash TEXT COLLATE "C" PRIMARY KEY REFERENCES catalog_text (hash),
    active BIGINT NOT NULL CHECK (active IN (0, 1)),
    at BIGINT NOT NULL              -- when it last came into force
);
CREATE UNIQUE INDEX catalog_active ON catalog (active) WHERE active = 1;

CREATE TABLE repository (
    name TEXT COLLATE "C" PRIMARY KEY,
    seen BIGINT NOT NULL CHECK (seen IN (0, 1)),
    failures BIGINT NOT NULL DEFAULT 0,
    error TEXT COLLATE "C",
    at BIGINT NOT NULL
);

CREATE TABLE ref_tip (
    repository TEXT COLLATE "C" NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    revision TEXT COLLATE "C",                   -- NULL: the ref is gone, its number goes on
    seq BIGINT NOT NULL,
    change BIGINT,                  -- the newest change of this ref
    PRIMARY KEY (repository, reference)
);

CREATE TABLE delivery (
    id BIGINT PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    result TEXT COLLATE "C",                     -- what came of it, in a sentence; NULL: not read yet
    UNIQUE (repository, key)
);

-- Apart, because lists of deliveries do not want them, and because they are the first to be retired.
CREATE TABLE delivery_body (
    delivery BIGINT PRIMARY KEY REFERENCES delivery (id),
    headers TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL
);

CREATE TABLE change (
    id BIGINT PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    branch TEXT COLLATE "C" NOT NULL,            -- the short name
    seq BIGINT NOT NULL,
    old TEXT COLLATE "C",
    new TEXT COLLATE "C",
    movement TEXT COLLATE "C" NOT NULL CHECK (movement IN ('created', 'moved', 'forced', 'deleted')),
    title TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,              -- the whole change, as JSON
    at BIGINT NOT NULL,
    UNIQUE (repository, reference, seq)
);
CREATE INDEX change_new ON change (new);
CREATE INDEX change_branch ON change (repository, branch, id);
CREATE INDEX change_repository ON change (repository, id);
CREATE INDEX change_any_branch ON change (branch, id);

CREATE TABLE verdict (
    change BIGINT NOT NULL REFERENCES change (id),
    scheduler TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('built', 'held', 'nothing')),
    buildset BIGINT,
    until BIGINT,
    reasons TEXT COLLATE "C" NOT NULL,
    place TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (change, scheduler),
    CHECK ((kind = 'built') = (buildset IS NOT NULL))
);
CREATE INDEX verdict_scheduler ON verdict (scheduler, change);
CREATE INDEX verdict_held ON verdict (kind) WHERE kind = 'held';

CREATE TABLE timer (
    scheduler TEXT COLLATE "C" PRIMARY KEY,
    nominal BIGINT,
    next BIGINT,
    why_nothing TEXT COLLATE "C",                -- NULL: something was built
    at BIGINT NOT NULL
);

CREATE TABLE recipe (
    digest TEXT COLLATE "C" PRIMARY KEY,
    body TEXT COLLATE "C" NOT NULL
);

CREATE TABLE buildset (
    id BIGINT PRIMARY KEY,
    scheduler TEXT COLLATE "C" NOT NULL,
    project TEXT COLLATE "C",
    branch TEXT COLLATE "C" NOT NULL,
    trigger_key TEXT COLLATE "C" NOT NULL,       -- what set it off; the same thing cannot set the same scheduler off twice
    body TEXT COLLATE "C" NOT NULL,
    remaining BIGINT NOT NULL CHECK (remaining >= 0),
    outcome TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    completed_at BIGINT,
    UNIQUE (scheduler, trigger_key),
    CHECK ((outcome IS NULL) = (completed_at IS NULL)),
    CHECK (outcome IS NULL OR remaining = 0)
);
CREATE INDEX buildset_open ON buildset (id) WHERE outcome IS NULL;
CREATE INDEX buildset_project ON buildset (project, id);
CREATE INDEX buildset_scheduler ON buildset (scheduler, id);

CREATE TABLE buildset_change (
    buildset BIGINT NOT NULL REFERENCES buildset (id),
    change BIGINT NOT NULL,
    PRIMARY KEY (buildset, change)
);
CREATE INDEX buildset_change_change ON buildset_change (change);

CREATE TABLE request (
    id BIGINT PRIMARY KEY,
    buildset BIGINT NOT NULL REFERENCES buildset (id),
    node TEXT COLLATE "C" NOT NULL,
    builder TEXT COLLATE "C" NOT NULL,
    recipe TEXT COLLATE "C" NOT NULL REFERENCES recipe (digest),
    digest TEXT COLLATE "C" NOT NULL,
    mode TEXT COLLATE "C" NOT NULL CHECK (mode IN ('all', 'any')),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'ready', 'leased', 'settled')),
    attempts BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    outcome TEXT COLLATE "C",
    cause TEXT COLLATE "C",
    reason TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    UNIQUE (buildset, node),
    CHECK ((state = 'settled') = (outcome IS NOT NULL)),
    CHECK ((state = 'settled') = (settled_at IS NOT NULL))
);
CREATE INDEX request_open ON request (state, id) WHERE state <> 'settled';
CREATE INDEX request_digest ON request (digest);

CREATE TABLE edge (
    request BIGINT NOT NULL REFERENCES request (id),
    needs BIGINT NOT NULL REFERENCES request (id),
    on_outcome TEXT COLLATE "C" NOT NULL CHECK (on_outcome IN ('success', 'failure', 'finished')),
    position BIGINT NOT NULL,       -- among the edges of its buildset, so that they are read back in their order
    PRIMARY KEY (request, needs),
    CHECK (request <> needs)
);
CREATE INDEX edge_needs ON edge (needs);

CREATE TABLE build (
    id BIGINT PRIMARY KEY,
    request BIGINT NOT NULL REFERENCES request (id),
    buildset BIGINT NOT NULL REFERENCES buildset (id),
    builder TEXT COLLATE "C" NOT NULL,
    branch TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('leased', 'running', 'suspended', 'resumable', 'finished')),
    cancel TEXT COLLATE "C",
    suspended_step BIGINT,
    outcome TEXT COLLATE "C",
    cause TEXT COLLATE "C",
    summary TEXT COLLATE "C",
    leased_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    UNIQUE (request, attempt),       -- the epoch grows with it: a lease is given on that condition
    CHECK ((state = 'finished') = (outcome IS NOT NULL)),
    CHECK ((state = 'finished') = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX build_one_lease ON build (request) WHERE state <> 'finished';   -- S8
CREATE INDEX build_open ON build (id) WHERE state <> 'finished';
CREATE INDEX build_builder ON build (builder, branch, id);
CREATE INDEX build_any_branch ON build (builder, id);
CREATE INDEX build_branch ON build (branch, id);
CREATE INDEX build_outcome ON build (outcome, id);
CREATE INDEX build_buildset ON build (buildset);

CREATE TABLE step (
    build BIGINT NOT NULL REFERENCES build (id),
    number BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C",
    cause TEXT COLLATE "C",
    summary TEXT COLLATE "C",
    triggered BIGINT,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (build, number),
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
);

-- What the last build said of a builder on a branch, and what its last good build contained: blame is counted from there.
CREATE TABLE standing (
    builder TEXT COLLATE "C" NOT NULL,
    branch TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    build BIGINT NOT NULL,
    good TEXT COLLATE "C" NOT NULL,              -- JSON: repository -> newest change in the last good build
    incident BIGINT,
    at BIGINT NOT NULL,
    PRIMARY KEY (builder, branch)
);
CREATE INDEX standing_incident ON standing (incident) WHERE incident IS NOT NULL;

CREATE TABLE incident (
    id BIGINT PRIMARY KEY,
    branch TEXT COLLATE "C" NOT NULL,
    first_build BIGINT NOT NULL,
    suspects TEXT COLLATE "C" NOT NULL,          -- JSON: repository -> {branch, after, upto}
    opened_at BIGINT NOT NULL,
    closed_at BIGINT
);
CREATE INDEX incident_open ON incident (id) WHERE closed_at IS NULL;

CREATE TABLE incident_builder (
    incident BIGINT NOT NULL REFERENCES incident (id),
    builder TEXT COLLATE "C" NOT NULL,
    broke_build BIGINT NOT NULL,
    fixed_build BIGINT,
    PRIMARY KEY (incident, builder)
);

-- Completed buildsets that a dependent scheduler has taken into account.
CREATE TABLE upstream (
    scheduler TEXT COLLATE "C" NOT NULL,
    buildset BIGINT NOT NULL REFERENCES buildset (id),
    upstream TEXT COLLATE "C" NOT NULL,          -- the scheduler of that buildset
    outcome TEXT COLLATE "C" NOT NULL,
    meets BIGINT NOT NULL CHECK (meets IN (0, 1)),
    branch TEXT COLLATE "C" NOT NULL,
    stamps TEXT COLLATE "C" NOT NULL,            -- JSON: what the dependent scheduler freezes
    depth BIGINT NOT NULL,
    result TEXT COLLATE "C" NOT NULL,
    noted BIGINT NOT NULL,          -- the event's number: a later one of the same upstream takes an earlier one's place
    used_by BIGINT REFERENCES buildset (id),
    at BIGINT NOT NULL,
    PRIMARY KEY (scheduler, buildset)
);
CREATE INDEX upstream_unused ON upstream (scheduler, noted) WHERE used_by IS NULL;
CREATE INDEX upstream_buildset ON upstream (buildset);

CREATE TABLE outbox (
    id BIGINT PRIMARY KEY,
    event BIGINT NOT NULL,
    notifier TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL UNIQUE,
    body TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('due', 'delivered', 'dead')),
    attempts BIGINT NOT NULL,
    claimed BIGINT NOT NULL CHECK (claimed IN (0, 1)),  -- it is being sent, and must not be sent twice
    due_at BIGINT NOT NULL,
    error TEXT COLLATE "C",
    receipt TEXT COLLATE "C",
    at BIGINT NOT NULL,
    incident BIGINT
);
CREATE INDEX outbox_due ON outbox (notifier, due_at, id, target) WHERE state = 'due';
CREATE INDEX outbox_incident ON outbox (incident);

CREATE TABLE worker (
    name TEXT COLLATE "C" PRIMARY KEY,
    labels TEXT COLLATE "C" NOT NULL,
    slots BIGINT NOT NULL,
    connected BIGINT NOT NULL CHECK (connected IN (0, 1)),
    since BIGINT NOT NULL
);
