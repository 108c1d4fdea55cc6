BEGIN TRANSACTION;
CREATE TABLE answer (
    key TEXT PRIMARY KEY,            -- principal and idempotency key
    request_sha256 TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
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
    finished_at INTEGER, logs_retired_at INTEGER,
    UNIQUE (request, attempt),       -- the epoch grows with it: a lease is given on that condition
    CHECK ((state = 'finished') = (outcome IS NOT NULL)),
    CHECK ((state = 'finished') = (finished_at IS NOT NULL))
) STRICT;
INSERT INTO "build" VALUES(1,1,2,'builder-1','main',1,1,'water','finished','ada',NULL,'retry','infrastructure','step test: exit code 2',13,1795518147000000,1795518149000000,NULL);
INSERT INTO "build" VALUES(2,6,7,'builder-6','main',1,1,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,1795518149000000,1795518159000000,NULL);
INSERT INTO "build" VALUES(3,7,8,'builder-7','main',1,1,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518158000000,NULL);
INSERT INTO "build" VALUES(4,1,2,'builder-1','main',2,2,'water','finished','ada',NULL,'success',NULL,'step test: exit code 2',13,1795518157000000,1795518166000000,NULL);
INSERT INTO "build" VALUES(5,8,8,'builder-8','main',1,1,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518164000000,NULL);
INSERT INTO "build" VALUES(6,9,8,'builder-9','main',1,1,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518166000000,NULL);
INSERT INTO "build" VALUES(7,10,9,'builder-10','main',1,1,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518160000000,NULL);
INSERT INTO "build" VALUES(8,7,8,'builder-7','main',2,2,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518160000000,NULL);
INSERT INTO "build" VALUES(9,6,7,'builder-6','main',2,2,'water','finished',NULL,NULL,'success',NULL,'step test: exit code 2',13,NULL,1795518167000000,NULL);
INSERT INTO "build" VALUES(10,7,8,'builder-7','main',3,3,'water','finished','ada',NULL,'retry','infrastructure','step test: exit code 2',13,1795518168000000,1795518183000000,NULL);
INSERT INTO "build" VALUES(11,8,8,'builder-8','main',2,2,'water','finished','ada',NULL,'success',NULL,'step test: exit code 2',13,NULL,1795518172000000,NULL);
INSERT INTO "build" VALUES(12,10,9,'builder-10','main',2,2,'water','finished',NULL,NULL,'success',NULL,'step test: exit code 2',13,NULL,1795518176000000,NULL);
INSERT INTO "build" VALUES(13,16,13,'builder-16','main',1,1,'water','finished','ada',NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518199000000,NULL);
INSERT INTO "build" VALUES(14,16,13,'builder-16','main',2,2,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518200000000,NULL);
INSERT INTO "build" VALUES(15,16,13,'builder-16','main',3,3,'water','finished',NULL,NULL,'retry','infrastructure','step test: exit code 2',13,NULL,1795518200000000,NULL);
INSERT INTO "build" VALUES(16,17,16,'builder-17','main',1,1,'water','leased','ada',NULL,NULL,NULL,NULL,13,NULL,NULL,NULL);
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
INSERT INTO "buildset" VALUES(1,'empty','mill','main','buildset:1','{"id":1,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518136000000);
INSERT INTO "buildset" VALUES(2,'ci','mill','main','buildset:2','{"id":2,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'success',12,1795518167000000);
INSERT INTO "buildset" VALUES(3,'empty','mill','main','buildset:3','{"id":3,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518137000000);
INSERT INTO "buildset" VALUES(4,'deploy','mill','main','upstream:1','{"id":4,"scheduler":"deploy","project":"mill","trigger":{"kind":"upstream","buildsets":[1]},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518144000000);
INSERT INTO "buildset" VALUES(5,'empty','mill','main','buildset:5','{"id":5,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518148000000);
INSERT INTO "buildset" VALUES(6,'empty','mill','main','buildset:6','{"id":6,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518146000000);
INSERT INTO "buildset" VALUES(7,'ci','mill','main','buildset:7','{"id":7,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'success',12,1795518167000000);
INSERT INTO "buildset" VALUES(8,'ci','mill','main','buildset:8','{"id":8,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'success',12,1795518187000000);
INSERT INTO "buildset" VALUES(9,'deploy','mill','main','upstream:4','{"id":9,"scheduler":"deploy","project":"mill","trigger":{"kind":"upstream","buildsets":[4]},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'success',12,1795518177000000);
INSERT INTO "buildset" VALUES(10,'deploy','mill','main','upstream:5','{"id":10,"scheduler":"deploy","project":"mill","trigger":{"kind":"upstream","buildsets":[5]},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518169000000);
INSERT INTO "buildset" VALUES(11,'ci','mill','main','buildset:11','{"id":11,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518179000000);
INSERT INTO "buildset" VALUES(12,'ci','mill','main','buildset:12','{"id":12,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518197000000);
INSERT INTO "buildset" VALUES(13,'ci','mill','main','buildset:13','{"id":13,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518203000000);
INSERT INTO "buildset" VALUES(14,'empty','mill','main','buildset:14','{"id":14,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518199000000);
INSERT INTO "buildset" VALUES(15,'empty','mill','main','buildset:15','{"id":15,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',0,'skipped',12,1795518204000000);
INSERT INTO "buildset" VALUES(16,'ci','mill','main','buildset:16','{"id":16,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null}',1,NULL,12,NULL);
CREATE TABLE buildset_change (
    buildset INTEGER NOT NULL REFERENCES buildset (id),
    change INTEGER NOT NULL,
    PRIMARY KEY (buildset, change)
) STRICT, WITHOUT ROWID;
CREATE TABLE catalog (
    hash TEXT PRIMARY KEY REFERENCES catalog_text (hash),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    at INTEGER NOT NULL              -- when it last came into force
) STRICT;
CREATE TABLE catalog_text (
    hash TEXT PRIMARY KEY,
    text TEXT NOT NULL
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
INSERT INTO "change" VALUES(1,'lib','refs/heads/main','main',1,'0000000000000000000000000000000000000009',NULL,'deleted','main deleted','Ada','{"id":1,"repository":"lib","reference":"refs/heads/main","seq":1,"old":"0000000000000000000000000000000000000009","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000001","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(2,'lib','refs/heads/main','main',2,NULL,'0000000000000000000000000000000000000002','moved','wheel: turn faster','Ada','{"id":2,"repository":"lib","reference":"refs/heads/main","seq":2,"old":null,"new":"0000000000000000000000000000000000000002","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000002","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(3,'lib','refs/heads/main','main',3,'0000000000000000000000000000000000000002',NULL,'deleted','main deleted','Ada','{"id":3,"repository":"lib","reference":"refs/heads/main","seq":3,"old":"0000000000000000000000000000000000000002","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000003","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(4,'lib','refs/heads/main','main',4,NULL,'0000000000000000000000000000000000000004','moved','wheel: turn faster','Ada','{"id":4,"repository":"lib","reference":"refs/heads/main","seq":4,"old":null,"new":"0000000000000000000000000000000000000004","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000004","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(5,'lib','refs/heads/main','main',5,'0000000000000000000000000000000000000004','0000000000000000000000000000000000000005','moved','wheel: turn faster','Ada','{"id":5,"repository":"lib","reference":"refs/heads/main","seq":5,"old":"0000000000000000000000000000000000000004","new":"0000000000000000000000000000000000000005","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000005","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(6,'lib','refs/heads/main','main',6,'0000000000000000000000000000000000000005',NULL,'deleted','main deleted','Ada','{"id":6,"repository":"lib","reference":"refs/heads/main","seq":6,"old":"0000000000000000000000000000000000000005","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000006","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(7,'lib','refs/heads/main','main',7,NULL,'0000000000000000000000000000000000000007','moved','wheel: turn faster','Ada','{"id":7,"repository":"lib","reference":"refs/heads/main","seq":7,"old":null,"new":"0000000000000000000000000000000000000007","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000007","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(8,'lib','refs/heads/main','main',8,'0000000000000000000000000000000000000007','0000000000000000000000000000000000000008','moved','wheel: turn faster','Ada','{"id":8,"repository":"lib","reference":"refs/heads/main","seq":8,"old":"0000000000000000000000000000000000000007","new":"0000000000000000000000000000000000000008","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000008","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(9,'lib','refs/heads/main','main',9,'0000000000000000000000000000000000000008',NULL,'deleted','main deleted','Ada','{"id":9,"repository":"lib","reference":"refs/heads/main","seq":9,"old":"0000000000000000000000000000000000000008","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000009","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(10,'lib','refs/heads/main','main',10,NULL,'000000000000000000000000000000000000000a','moved','wheel: turn faster','Ada','{"id":10,"repository":"lib","reference":"refs/heads/main","seq":10,"old":null,"new":"000000000000000000000000000000000000000a","movement":"moved","commits":[{"revision":"000000000000000000000000000000000000000a","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
INSERT INTO "change" VALUES(11,'lib','refs/heads/main','main',11,'000000000000000000000000000000000000000a',NULL,'deleted','main deleted','Ada','{"id":11,"repository":"lib","reference":"refs/heads/main","seq":11,"old":"000000000000000000000000000000000000000a","new":null,"movement":"deleted","commits":[{"revision":"000000000000000000000000000000000000000b","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}',8);
CREATE TABLE cursor (
    consumer TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
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
CREATE TABLE delivery_body (
    delivery INTEGER PRIMARY KEY REFERENCES delivery (id),
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE edge (
    request INTEGER NOT NULL REFERENCES request (id),
    needs INTEGER NOT NULL REFERENCES request (id),
    on_outcome TEXT NOT NULL CHECK (on_outcome IN ('success', 'failure', 'finished')),
    position INTEGER NOT NULL,       -- among the edges of its buildset, so that they are read back in their order
    PRIMARY KEY (request, needs),
    CHECK (request <> needs)
) STRICT, WITHOUT ROWID;
INSERT INTO "edge" VALUES(2,1,'success',2);
INSERT INTO "edge" VALUES(3,1,'success',0);
INSERT INTO "edge" VALUES(3,2,'success',1);
INSERT INTO "edge" VALUES(5,4,'success',0);
INSERT INTO "edge" VALUES(8,7,'success',2);
INSERT INTO "edge" VALUES(9,7,'success',0);
INSERT INTO "edge" VALUES(9,8,'success',1);
INSERT INTO "edge" VALUES(11,10,'success',0);
INSERT INTO "edge" VALUES(13,12,'success',0);
INSERT INTO "edge" VALUES(18,17,'success',2);
INSERT INTO "edge" VALUES(19,17,'success',0);
INSERT INTO "edge" VALUES(19,18,'success',1);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO "event" VALUES(1,1795518132000000,'recipe.recorded','{"kind":"recipe.recorded","digest":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","recipe":{"sources":{"lib":{"repository":"lib","into":"","branch":null}},"requires":{"os":"linux"},"environment":{"LANG":"C"},"matrix":{},"steps":[],"retries_max":2}}');
INSERT INTO "event" VALUES(2,1795518133000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"success","cause":null,"build":0,"contains":{"lib":0}}');
INSERT INTO "event" VALUES(3,1795518133000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":1,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[],"edges":[]}');
INSERT INTO "event" VALUES(4,1795518134000000,'worker.joined','{"kind":"worker.joined","worker":{"name":"water","labels":{"os":"linux"},"slots":1,"connected":true,"since":3}}');
INSERT INTO "event" VALUES(5,1795518134000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":0,"contains":{"lib":0}}');
INSERT INTO "event" VALUES(6,1795518134000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":0,"contains":{"lib":0}}');
INSERT INTO "event" VALUES(7,1795518134000000,'incident.opened','{"kind":"incident.opened","incident":1,"branch":"main","builder":"linux","build":0,"suspects":{"lib":{"branch":"main","after":1,"upto":2}}}');
INSERT INTO "event" VALUES(8,1795518134000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"success","cause":null,"build":0,"contains":{"lib":0}}');
INSERT INTO "event" VALUES(9,1795518135000000,'worker.joined','{"kind":"worker.joined","worker":{"name":"water","labels":{"os":"linux"},"slots":1,"connected":true,"since":3}}');
INSERT INTO "event" VALUES(10,1795518136000000,'worker.joined','{"kind":"worker.joined","worker":{"name":"water","labels":{"os":"linux"},"slots":1,"connected":true,"since":3}}');
INSERT INTO "event" VALUES(11,1795518136000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":2,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":1,"buildset":2,"node":"node-1","builder":"builder-1","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"ad1b9de910513527b407147d7a05569066c1a50cceaba3e118df6b13f49e749c","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":2,"buildset":2,"node":"node-2","builder":"builder-2","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"ff14e14c208d414590558c2e333a73da13828df7df2988dacc7f817e6aa5f995","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":3,"buildset":2,"node":"node-3","builder":"builder-3","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"6602268483bd7c7f95dcd1d1a3467612ff1724c621560c5f01d1785917886599","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[{"request":3,"needs":1,"on":"success"},{"request":3,"needs":2,"on":"success"},{"request":2,"needs":1,"on":"success"}]}');
INSERT INTO "event" VALUES(12,1795518136000000,'tip.recorded','{"kind":"tip.recorded","repository":"lib","reference":"refs/heads/main","revision":"0000000000000000000000000000000000000009"}');
INSERT INTO "event" VALUES(13,1795518136000000,'buildset.completed','{"kind":"buildset.completed","buildset":1,"outcome":"skipped"}');
INSERT INTO "event" VALUES(14,1795518136000000,'source.recovered','{"kind":"source.recovered","repository":"lib","failures":1}');
INSERT INTO "event" VALUES(15,1795518136000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"docs","buildset":1,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(16,1795518136000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":0,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(17,1795518136000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":3,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[],"edges":[]}');
INSERT INTO "event" VALUES(18,1795518137000000,'request.released','{"kind":"request.released","request":2}');
INSERT INTO "event" VALUES(19,1795518137000000,'source.recovered','{"kind":"source.recovered","repository":"lib","failures":1}');
INSERT INTO "event" VALUES(20,1795518137000000,'buildset.completed','{"kind":"buildset.completed","buildset":3,"outcome":"skipped"}');
INSERT INTO "event" VALUES(21,1795518138000000,'doctor.found','{"kind":"doctor.found","check":"disk-space","detail":"1 bytes"}');
INSERT INTO "event" VALUES(22,1795518138000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"success","cause":null,"build":0,"contains":{"lib":0}}');
INSERT INTO "event" VALUES(23,1795518138000000,'message.queued','{"kind":"message.queued","message":{"id":1,"event":1,"notifier":"mail","target":"person-1@example.org","because":"author","key":"key-1","incident":null,"subject":"main is broken","text":"text","html":null,"at":20}}');
INSERT INTO "event" VALUES(24,1795518138000000,'build.leased','{"kind":"build.leased","build":{"id":1,"request":1,"buildset":2,"builder":"builder-1","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(25,1795518138000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":1,"contains":{"lib":1}}');
INSERT INTO "event" VALUES(26,1795518139000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":1,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(27,1795518139000000,'request.settled','{"kind":"request.settled","request":2,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(28,1795518140000000,'change.seen','{"kind":"change.seen","change":{"id":1,"repository":"lib","reference":"refs/heads/main","seq":1,"old":"0000000000000000000000000000000000000009","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000001","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(29,1795518140000000,'request.settled','{"kind":"request.settled","request":3,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(30,1795518141000000,'repository.seen','{"kind":"repository.seen","repository":"lib"}');
INSERT INTO "event" VALUES(31,1795518142000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":4,"scheduler":"deploy","project":"mill","trigger":{"kind":"upstream","buildsets":[1]},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":4,"buildset":4,"node":"node-4","builder":"builder-4","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"6e9f43813f86baf1879f96ba064cd3b37ff1c9db77c558f05f56a597e46bc62b","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":5,"buildset":4,"node":"node-5","builder":"builder-5","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"dd56ba6cbd56451c7a7346def88b8fa8b9de2e4c4bcf5e5f6b07dfcfd03ee501","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[{"request":5,"needs":4,"on":"success"}]}');
INSERT INTO "event" VALUES(32,1795518143000000,'incident.eased','{"kind":"incident.eased","incident":1,"builder":"linux","build":1}');
INSERT INTO "event" VALUES(33,1795518143000000,'request.released','{"kind":"request.released","request":5}');
INSERT INTO "event" VALUES(34,1795518143000000,'request.settled','{"kind":"request.settled","request":4,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(35,1795518144000000,'request.settled','{"kind":"request.settled","request":5,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(36,1795518144000000,'buildset.completed','{"kind":"buildset.completed","buildset":4,"outcome":"skipped"}');
INSERT INTO "event" VALUES(37,1795518145000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":1,"contains":{"lib":1}}');
INSERT INTO "event" VALUES(38,1795518145000000,'timer.fired','{"kind":"timer.fired","scheduler":"nightly","nominal":36,"next":37,"nothing":null}');
INSERT INTO "event" VALUES(39,1795518145000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":1,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(40,1795518145000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":5,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[],"edges":[]}');
INSERT INTO "event" VALUES(41,1795518145000000,'worker.left','{"kind":"worker.left","worker":"water","why":"silent"}');
INSERT INTO "event" VALUES(42,1795518145000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":1,"contains":{"lib":1}}');
INSERT INTO "event" VALUES(43,1795518145000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":1,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(44,1795518145000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":6,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[],"edges":[]}');
INSERT INTO "event" VALUES(45,1795518145000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":7,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":6,"buildset":7,"node":"node-6","builder":"builder-6","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"5b958a204ef3002c71e1e2c7c1ef0b75b24372c9482aceb914e152d9d70a0408","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[]}');
INSERT INTO "event" VALUES(46,1795518146000000,'buildset.completed','{"kind":"buildset.completed","buildset":6,"outcome":"skipped"}');
INSERT INTO "event" VALUES(47,1795518147000000,'build.leased','{"kind":"build.leased","build":{"id":2,"request":6,"buildset":7,"builder":"builder-6","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(48,1795518147000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":8,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":7,"buildset":8,"node":"node-7","builder":"builder-7","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"1b95ed56bb99a35252c731bb029c79c2dd9e738368386f41307ed877480480b9","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":8,"buildset":8,"node":"node-8","builder":"builder-8","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"b61bae2c1c5d192e6b0d6bb456688fac0b1ca66b950d1dcac7d32db316ad39eb","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":9,"buildset":8,"node":"node-9","builder":"builder-9","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"01de42bc98706a85710c5316db05558ebdc0191c0c0fa1680b41fc5b0f7720d4","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[{"request":9,"needs":7,"on":"success"},{"request":9,"needs":8,"on":"success"},{"request":8,"needs":7,"on":"success"}]}');
INSERT INTO "event" VALUES(49,1795518147000000,'build.started','{"kind":"build.started","build":1}');
INSERT INTO "event" VALUES(50,1795518148000000,'buildset.completed','{"kind":"buildset.completed","buildset":5,"outcome":"skipped"}');
INSERT INTO "event" VALUES(51,1795518148000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":1,"by":"ada"}');
INSERT INTO "event" VALUES(52,1795518148000000,'build.leased','{"kind":"build.leased","build":{"id":3,"request":7,"buildset":8,"builder":"builder-7","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(53,1795518149000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":1,"by":"ada"}');
INSERT INTO "event" VALUES(54,1795518149000000,'build.finished','{"kind":"build.finished","build":1,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(55,1795518149000000,'build.leased','{"kind":"build.leased","build":{"id":4,"request":1,"buildset":2,"builder":"builder-1","attempt":2,"epoch":2,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(56,1795518149000000,'build.started','{"kind":"build.started","build":2}');
INSERT INTO "event" VALUES(57,1795518149000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":4,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(58,1795518150000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":4,"contains":{"lib":4}}');
INSERT INTO "event" VALUES(59,1795518151000000,'timer.fired','{"kind":"timer.fired","scheduler":"nightly","nominal":57,"next":58,"nothing":null}');
INSERT INTO "event" VALUES(60,1795518152000000,'worker.left','{"kind":"worker.left","worker":"water","why":"silent"}');
INSERT INTO "event" VALUES(61,1795518152000000,'step.started','{"kind":"step.started","build":2,"step":0,"name":"test"}');
INSERT INTO "event" VALUES(62,1795518153000000,'request.released','{"kind":"request.released","request":9}');
INSERT INTO "event" VALUES(63,1795518153000000,'request.released','{"kind":"request.released","request":8}');
INSERT INTO "event" VALUES(64,1795518153000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":9,"scheduler":"deploy","project":"mill","trigger":{"kind":"upstream","buildsets":[4]},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":10,"buildset":9,"node":"node-10","builder":"builder-10","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"ab9b802a5d69f8495b323f56075c6263e4cac8e24e41a31ea35a813e7167c847","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":11,"buildset":9,"node":"node-11","builder":"builder-11","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"a7342aa2a39ef8ff7acb0ca11e8c3bf689eae2ec2aa8685a8754d49ce7d2eef6","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[{"request":11,"needs":10,"on":"success"}]}');
INSERT INTO "event" VALUES(65,1795518154000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"docs","buildset":5,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(66,1795518154000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":10,"scheduler":"deploy","project":"mill","trigger":{"kind":"upstream","buildsets":[5]},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":12,"buildset":10,"node":"node-12","builder":"builder-12","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"2bac0944fd75814ac95de0d473d083955d9515348d72881f2f5ab72700325d9d","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":13,"buildset":10,"node":"node-13","builder":"builder-13","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"829099d79bf57d54ad72bf0c9f5f3e1bf4c466a4da25839adab129eea5491298","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[{"request":13,"needs":12,"on":"success"}]}');
INSERT INTO "event" VALUES(67,1795518154000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"docs","buildset":3,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(68,1795518154000000,'step.triggered','{"kind":"step.triggered","build":2,"step":0,"buildset":10,"wait":true}');
INSERT INTO "event" VALUES(69,1795518154000000,'change.seen','{"kind":"change.seen","change":{"id":2,"repository":"lib","reference":"refs/heads/main","seq":2,"old":null,"new":"0000000000000000000000000000000000000002","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000002","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(70,1795518154000000,'build.leased','{"kind":"build.leased","build":{"id":5,"request":8,"buildset":8,"builder":"builder-8","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(71,1795518155000000,'build.leased','{"kind":"build.leased","build":{"id":6,"request":9,"buildset":8,"builder":"builder-9","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(72,1795518156000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":4,"by":"ada"}');
INSERT INTO "event" VALUES(73,1795518157000000,'build.started','{"kind":"build.started","build":4}');
INSERT INTO "event" VALUES(74,1795518157000000,'build.leased','{"kind":"build.leased","build":{"id":7,"request":10,"buildset":9,"builder":"builder-10","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(75,1795518158000000,'build.finished','{"kind":"build.finished","build":3,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(76,1795518158000000,'request.settled','{"kind":"request.settled","request":12,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(77,1795518158000000,'build.resumable','{"kind":"build.resumable","build":2}');
INSERT INTO "event" VALUES(78,1795518158000000,'step.started','{"kind":"step.started","build":4,"step":0,"name":"test"}');
INSERT INTO "event" VALUES(79,1795518158000000,'build.leased','{"kind":"build.leased","build":{"id":8,"request":7,"buildset":8,"builder":"builder-7","attempt":2,"epoch":2,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(80,1795518159000000,'doctor.cleared','{"kind":"doctor.cleared","check":"disk-space"}');
INSERT INTO "event" VALUES(81,1795518159000000,'build.finished','{"kind":"build.finished","build":2,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(82,1795518160000000,'build.finished','{"kind":"build.finished","build":8,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(83,1795518160000000,'build.finished','{"kind":"build.finished","build":7,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(84,1795518161000000,'doctor.found','{"kind":"doctor.found","check":"disk-space","detail":"3 bytes"}');
INSERT INTO "event" VALUES(85,1795518162000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":8,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(86,1795518162000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":8,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(87,1795518163000000,'repository.seen','{"kind":"repository.seen","repository":"lib"}');
INSERT INTO "event" VALUES(88,1795518164000000,'build.finished','{"kind":"build.finished","build":5,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(89,1795518164000000,'request.released','{"kind":"request.released","request":13}');
INSERT INTO "event" VALUES(90,1795518165000000,'request.settled','{"kind":"request.settled","request":11,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(91,1795518166000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":2,"scheduler":"ci","verdict":"nothing","reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(92,1795518166000000,'build.leased','{"kind":"build.leased","build":{"id":9,"request":6,"buildset":7,"builder":"builder-6","attempt":2,"epoch":2,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(93,1795518166000000,'build.finished','{"kind":"build.finished","build":6,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(94,1795518166000000,'build.finished','{"kind":"build.finished","build":4,"outcome":"success","cause":null,"summary":"step test: exit code 2","retry":false}');
INSERT INTO "event" VALUES(95,1795518167000000,'build.finished','{"kind":"build.finished","build":9,"outcome":"success","cause":null,"summary":"step test: exit code 2","retry":false}');
INSERT INTO "event" VALUES(96,1795518167000000,'buildset.completed','{"kind":"buildset.completed","buildset":2,"outcome":"success"}');
INSERT INTO "event" VALUES(97,1795518167000000,'buildset.completed','{"kind":"buildset.completed","buildset":7,"outcome":"success"}');
INSERT INTO "event" VALUES(98,1795518167000000,'source.failing','{"kind":"source.failing","repository":"lib","error":"refused","failures":3}');
INSERT INTO "event" VALUES(99,1795518167000000,'request.settled','{"kind":"request.settled","request":9,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(100,1795518167000000,'request.settled','{"kind":"request.settled","request":13,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(101,1795518167000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":6,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(102,1795518168000000,'build.leased','{"kind":"build.leased","build":{"id":10,"request":7,"buildset":8,"builder":"builder-7","attempt":3,"epoch":3,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(103,1795518168000000,'build.started','{"kind":"build.started","build":10}');
INSERT INTO "event" VALUES(104,1795518169000000,'buildset.completed','{"kind":"buildset.completed","buildset":10,"outcome":"skipped"}');
INSERT INTO "event" VALUES(105,1795518170000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":10,"by":"ada"}');
INSERT INTO "event" VALUES(106,1795518170000000,'build.leased','{"kind":"build.leased","build":{"id":11,"request":8,"buildset":8,"builder":"builder-8","attempt":2,"epoch":2,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(107,1795518170000000,'repository.seen','{"kind":"repository.seen","repository":"lib"}');
INSERT INTO "event" VALUES(108,1795518171000000,'doctor.cleared','{"kind":"doctor.cleared","check":"disk-space"}');
INSERT INTO "event" VALUES(109,1795518172000000,'change.seen','{"kind":"change.seen","change":{"id":3,"repository":"lib","reference":"refs/heads/main","seq":3,"old":"0000000000000000000000000000000000000002","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000003","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(110,1795518172000000,'build.leased','{"kind":"build.leased","build":{"id":12,"request":10,"buildset":9,"builder":"builder-10","attempt":2,"epoch":2,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(111,1795518172000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":11,"by":"ada"}');
INSERT INTO "event" VALUES(112,1795518172000000,'build.finished','{"kind":"build.finished","build":11,"outcome":"success","cause":null,"summary":"step test: exit code 2","retry":false}');
INSERT INTO "event" VALUES(113,1795518172000000,'step.started','{"kind":"step.started","build":10,"step":0,"name":"test"}');
INSERT INTO "event" VALUES(114,1795518172000000,'step.triggered','{"kind":"step.triggered","build":10,"step":0,"buildset":10,"wait":false}');
INSERT INTO "event" VALUES(115,1795518172000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":11,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":14,"buildset":11,"node":"node-14","builder":"builder-14","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"eb24809d6e256ac90f4f4102cae195c2c695277c807a4c2fecba367735539ead","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[]}');
INSERT INTO "event" VALUES(116,1795518173000000,'request.settled','{"kind":"request.settled","request":14,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(117,1795518173000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":10,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(118,1795518173000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":12,"contains":{"lib":12}}');
INSERT INTO "event" VALUES(119,1795518173000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":12,"contains":{"lib":12}}');
INSERT INTO "event" VALUES(120,1795518174000000,'step.finished','{"kind":"step.finished","build":10,"step":0,"outcome":"failure","cause":"test","summary":"exit code 2"}');
INSERT INTO "event" VALUES(121,1795518175000000,'source.failing','{"kind":"source.failing","repository":"lib","error":"refused","failures":4}');
INSERT INTO "event" VALUES(122,1795518176000000,'build.finished','{"kind":"build.finished","build":12,"outcome":"success","cause":null,"summary":"step test: exit code 2","retry":false}');
INSERT INTO "event" VALUES(123,1795518177000000,'buildset.completed','{"kind":"buildset.completed","buildset":9,"outcome":"success"}');
INSERT INTO "event" VALUES(124,1795518177000000,'change.seen','{"kind":"change.seen","change":{"id":4,"repository":"lib","reference":"refs/heads/main","seq":4,"old":null,"new":"0000000000000000000000000000000000000004","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000004","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(125,1795518178000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"docs","buildset":9,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(126,1795518179000000,'buildset.completed','{"kind":"buildset.completed","buildset":11,"outcome":"skipped"}');
INSERT INTO "event" VALUES(127,1795518179000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":12,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(128,1795518179000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":4,"scheduler":"ci","verdict":"built","buildset":12,"reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(129,1795518180000000,'worker.left','{"kind":"worker.left","worker":"water","why":"silent"}');
INSERT INTO "event" VALUES(130,1795518181000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"docs","buildset":7,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(131,1795518182000000,'source.failing','{"kind":"source.failing","repository":"lib","error":"refused","failures":5}');
INSERT INTO "event" VALUES(132,1795518183000000,'build.finished','{"kind":"build.finished","build":10,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(133,1795518184000000,'request.settled','{"kind":"request.settled","request":7,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(134,1795518185000000,'source.recovered','{"kind":"source.recovered","repository":"lib","failures":1}');
INSERT INTO "event" VALUES(135,1795518186000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":12,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":15,"buildset":12,"node":"node-15","builder":"builder-15","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"dba226337409b3b3dbf58596d59beff200797246ea06a946bae5c9b4623458eb","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[]}');
INSERT INTO "event" VALUES(136,1795518187000000,'buildset.completed','{"kind":"buildset.completed","buildset":8,"outcome":"success"}');
INSERT INTO "event" VALUES(137,1795518188000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"success","cause":null,"build":12,"contains":{"lib":12}}');
INSERT INTO "event" VALUES(138,1795518189000000,'incident.joined','{"kind":"incident.joined","incident":1,"builder":"linux","build":12,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(139,1795518190000000,'source.failing','{"kind":"source.failing","repository":"lib","error":"refused","failures":5}');
INSERT INTO "event" VALUES(140,1795518191000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":2,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(141,1795518191000000,'timer.fired','{"kind":"timer.fired","scheduler":"nightly","nominal":139,"next":140,"nothing":null}');
INSERT INTO "event" VALUES(142,1795518191000000,'request.settled','{"kind":"request.settled","request":15,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(143,1795518191000000,'change.seen','{"kind":"change.seen","change":{"id":5,"repository":"lib","reference":"refs/heads/main","seq":5,"old":"0000000000000000000000000000000000000004","new":"0000000000000000000000000000000000000005","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000005","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(144,1795518191000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":5,"scheduler":"ci","verdict":"built","buildset":13,"reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(145,1795518192000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":13,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":16,"buildset":13,"node":"node-16","builder":"builder-16","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"4c1551bfe95d922e9a49ac1b31fc4a72d85433be484afc99926377e64a9ffb3a","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[]}');
INSERT INTO "event" VALUES(146,1795518193000000,'build.leased','{"kind":"build.leased","build":{"id":13,"request":16,"buildset":13,"builder":"builder-16","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(147,1795518194000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":13,"by":"ada"}');
INSERT INTO "event" VALUES(148,1795518194000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":13,"contains":{"lib":13}}');
INSERT INTO "event" VALUES(149,1795518194000000,'change.seen','{"kind":"change.seen","change":{"id":6,"repository":"lib","reference":"refs/heads/main","seq":6,"old":"0000000000000000000000000000000000000005","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000006","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(150,1795518195000000,'timer.fired','{"kind":"timer.fired","scheduler":"nightly","nominal":148,"next":149,"nothing":null}');
INSERT INTO "event" VALUES(151,1795518196000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"success","cause":null,"build":13,"contains":{"lib":13}}');
INSERT INTO "event" VALUES(152,1795518197000000,'change.seen','{"kind":"change.seen","change":{"id":7,"repository":"lib","reference":"refs/heads/main","seq":7,"old":null,"new":"0000000000000000000000000000000000000007","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000007","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(153,1795518197000000,'buildset.completed','{"kind":"buildset.completed","buildset":12,"outcome":"skipped"}');
INSERT INTO "event" VALUES(154,1795518197000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":7,"scheduler":"ci","verdict":"held","until":7,"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000007","reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(155,1795518197000000,'source.recovered','{"kind":"source.recovered","repository":"lib","failures":1}');
INSERT INTO "event" VALUES(156,1795518198000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":14,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[],"edges":[]}');
INSERT INTO "event" VALUES(157,1795518198000000,'worker.joined','{"kind":"worker.joined","worker":{"name":"water","labels":{"os":"linux"},"slots":8,"connected":true,"since":3}}');
INSERT INTO "event" VALUES(158,1795518199000000,'buildset.completed','{"kind":"buildset.completed","buildset":14,"outcome":"skipped"}');
INSERT INTO "event" VALUES(159,1795518199000000,'build.finished','{"kind":"build.finished","build":13,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(160,1795518199000000,'build.leased','{"kind":"build.leased","build":{"id":14,"request":16,"buildset":13,"builder":"builder-16","attempt":2,"epoch":2,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(161,1795518199000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":14,"contains":{"lib":14}}');
INSERT INTO "event" VALUES(162,1795518199000000,'change.seen','{"kind":"change.seen","change":{"id":8,"repository":"lib","reference":"refs/heads/main","seq":8,"old":"0000000000000000000000000000000000000007","new":"0000000000000000000000000000000000000008","movement":"moved","commits":[{"revision":"0000000000000000000000000000000000000008","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(163,1795518200000000,'build.finished','{"kind":"build.finished","build":14,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(164,1795518200000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":8,"scheduler":"ci","verdict":"built","buildset":15,"reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(165,1795518200000000,'incident.eased','{"kind":"incident.eased","incident":1,"builder":"linux","build":14}');
INSERT INTO "event" VALUES(166,1795518200000000,'build.leased','{"kind":"build.leased","build":{"id":15,"request":16,"buildset":13,"builder":"builder-16","attempt":3,"epoch":3,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(167,1795518200000000,'build.finished','{"kind":"build.finished","build":15,"outcome":"retry","cause":"infrastructure","summary":"step test: exit code 2","retry":true}');
INSERT INTO "event" VALUES(168,1795518201000000,'incident.opened','{"kind":"incident.opened","incident":2,"branch":"main","builder":"linux","build":15,"suspects":{"lib":{"branch":"main","after":1,"upto":2}}}');
INSERT INTO "event" VALUES(169,1795518202000000,'request.settled','{"kind":"request.settled","request":16,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(170,1795518203000000,'buildset.completed','{"kind":"buildset.completed","buildset":13,"outcome":"skipped"}');
INSERT INTO "event" VALUES(171,1795518203000000,'source.failing','{"kind":"source.failing","repository":"lib","error":"refused","failures":9}');
INSERT INTO "event" VALUES(172,1795518203000000,'doctor.found','{"kind":"doctor.found","check":"disk-space","detail":"9 bytes"}');
INSERT INTO "event" VALUES(173,1795518203000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":12,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(174,1795518203000000,'repository.seen','{"kind":"repository.seen","repository":"lib"}');
INSERT INTO "event" VALUES(175,1795518203000000,'message.queued','{"kind":"message.queued","message":{"id":2,"event":1,"notifier":"mail","target":"person-2@example.org","because":"author","key":"key-2","incident":null,"subject":"main is broken","text":"text","html":null,"at":20}}');
INSERT INTO "event" VALUES(176,1795518203000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":7,"scheduler":"ci","verdict":"built","buildset":15,"reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(177,1795518203000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":14,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(178,1795518203000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":15,"contains":{"lib":15}}');
INSERT INTO "event" VALUES(179,1795518203000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":15,"scheduler":"empty","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[],"edges":[]}');
INSERT INTO "event" VALUES(180,1795518204000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":15,"contains":{"lib":15}}');
INSERT INTO "event" VALUES(181,1795518204000000,'buildset.completed','{"kind":"buildset.completed","buildset":15,"outcome":"skipped"}');
INSERT INTO "event" VALUES(182,1795518204000000,'worker.joined','{"kind":"worker.joined","worker":{"name":"water","labels":{"os":"linux"},"slots":9,"connected":true,"since":3}}');
INSERT INTO "event" VALUES(183,1795518205000000,'change.seen','{"kind":"change.seen","change":{"id":9,"repository":"lib","reference":"refs/heads/main","seq":9,"old":"0000000000000000000000000000000000000008","new":null,"movement":"deleted","commits":[{"revision":"0000000000000000000000000000000000000009","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(184,1795518205000000,'buildset.created','{"kind":"buildset.created","buildset":{"id":16,"scheduler":"ci","project":"mill","trigger":{"kind":"person","by":"ada","reason":null},"stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"branch":"main","properties":{"why":"because"},"priority":3,"depth":1,"catalog":"c0ffee","created_at":12,"outcome":null,"completed_at":null},"requests":[{"id":17,"buildset":16,"node":"node-17","builder":"builder-17","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"bcc9cc815b477d8644527af1fb96e1f8d8f10c5c3d476bf7725ce75c97b8bf99","mode":"all","state":"ready","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":18,"buildset":16,"node":"node-18","builder":"builder-18","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"98646213e646399ea4e15d55ede7b50643b4d3df8667101217fa3fddfb22c2e3","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null},{"id":19,"buildset":16,"node":"node-19","builder":"builder-19","recipe":"c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41","digest":"ef19b5dd6534e51a81ae83f0090a0046be5a636483a5f405f83290c6c51cbaaf","mode":"all","state":"waiting","attempts":0,"epoch":0,"outcome":null,"cause":null,"created_at":12,"settled_at":null}],"edges":[{"request":19,"needs":17,"on":"success"},{"request":19,"needs":18,"on":"success"},{"request":18,"needs":17,"on":"success"}]}');
INSERT INTO "event" VALUES(185,1795518206000000,'upstream.noted','{"kind":"upstream.noted","scheduler":"deploy","upstream":"ci","buildset":8,"outcome":"success","meets":true,"branch":"main","stamps":{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}},"depth":1,"result":"waits"}');
INSERT INTO "event" VALUES(186,1795518207000000,'incident.eased','{"kind":"incident.eased","incident":2,"builder":"linux","build":15}');
INSERT INTO "event" VALUES(187,1795518208000000,'incident.joined','{"kind":"incident.joined","incident":2,"builder":"linux","build":15,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(188,1795518208000000,'message.queued','{"kind":"message.queued","message":{"id":3,"event":1,"notifier":"mail","target":"person-3@example.org","because":"author","key":"key-3","incident":null,"subject":"main is broken","text":"text","html":null,"at":20}}');
INSERT INTO "event" VALUES(189,1795518209000000,'build.leased','{"kind":"build.leased","build":{"id":16,"request":17,"buildset":16,"builder":"builder-17","attempt":1,"epoch":1,"worker":"water","state":"leased","cancel":null,"suspended_step":null,"outcome":null,"cause":null,"summary":null,"leased_at":13,"started_at":null,"finished_at":null}}');
INSERT INTO "event" VALUES(190,1795518210000000,'incident.joined','{"kind":"incident.joined","incident":2,"builder":"linux","build":16,"suspects":{"lib":{"branch":"main","after":2,"upto":4}}}');
INSERT INTO "event" VALUES(191,1795518211000000,'builder.turned','{"kind":"builder.turned","builder":"linux","branch":"main","transition":"passing","outcome":"failure","cause":null,"build":16,"contains":{"lib":16}}');
INSERT INTO "event" VALUES(192,1795518211000000,'request.settled','{"kind":"request.settled","request":19,"outcome":"skipped","cause":"dependency","reason":"a need"}');
INSERT INTO "event" VALUES(193,1795518211000000,'request.released','{"kind":"request.released","request":18}');
INSERT INTO "event" VALUES(194,1795518211000000,'timer.fired','{"kind":"timer.fired","scheduler":"nightly","nominal":192,"next":193,"nothing":null}');
INSERT INTO "event" VALUES(195,1795518211000000,'change.seen','{"kind":"change.seen","change":{"id":10,"repository":"lib","reference":"refs/heads/main","seq":10,"old":null,"new":"000000000000000000000000000000000000000a","movement":"moved","commits":[{"revision":"000000000000000000000000000000000000000a","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(196,1795518211000000,'worker.joined','{"kind":"worker.joined","worker":{"name":"water","labels":{"os":"linux"},"slots":11,"connected":true,"since":3}}');
INSERT INTO "event" VALUES(197,1795518211000000,'verdict.given','{"kind":"verdict.given","verdict":{"change":10,"scheduler":"ci","verdict":"built","buildset":17,"reasons":[{"code":"matches"}],"place":{"file":"","line":0},"at":11}}');
INSERT INTO "event" VALUES(198,1795518212000000,'build.cancel-asked','{"kind":"build.cancel-asked","build":16,"by":"ada"}');
INSERT INTO "event" VALUES(199,1795518212000000,'change.seen','{"kind":"change.seen","change":{"id":11,"repository":"lib","reference":"refs/heads/main","seq":11,"old":"000000000000000000000000000000000000000a","new":null,"movement":"deleted","commits":[{"revision":"000000000000000000000000000000000000000b","author":{"name":"Ada","email":"ada@example.org"},"message":"wheel: turn faster\n\nWater is free.","files":["src/wheel.rs"],"at":7}],"incomplete":false,"via":"webhook","at":8}}');
INSERT INTO "event" VALUES(200,1795518212000000,'doctor.cleared','{"kind":"doctor.cleared","check":"disk-space"}');
INSERT INTO "event" VALUES(201,1795518212000000,'request.settled','{"kind":"request.settled","request":18,"outcome":"skipped","cause":"dependency","reason":"a need"}');
CREATE TABLE finding (
    name TEXT PRIMARY KEY,                      -- the check that found it
    detail TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE incident (
    id INTEGER PRIMARY KEY,
    branch TEXT NOT NULL,
    first_build INTEGER NOT NULL,
    suspects TEXT NOT NULL,          -- JSON: repository -> {branch, after, upto}
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
) STRICT;
INSERT INTO "incident" VALUES(1,'main',0,'{"lib":{"branch":"main","after":2,"upto":4}}',1795518134000000,NULL);
INSERT INTO "incident" VALUES(2,'main',15,'{"lib":{"branch":"main","after":2,"upto":4}}',1795518201000000,NULL);
CREATE TABLE incident_builder (
    incident INTEGER NOT NULL REFERENCES incident (id),
    builder TEXT NOT NULL,
    broke_build INTEGER NOT NULL,
    fixed_build INTEGER,
    PRIMARY KEY (incident, builder)
) STRICT, WITHOUT ROWID;
INSERT INTO "incident_builder" VALUES(1,'linux',12,14);
INSERT INTO "incident_builder" VALUES(2,'linux',16,NULL);
CREATE TABLE instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,                -- by chance, at creation; a backup says whose it is
    epoch INTEGER NOT NULL,             -- grows with each restore, so that leases of before are told from those after
    created_at INTEGER NOT NULL,
    restored_at INTEGER                 -- when it was last restored
) STRICT;
INSERT INTO "instance" VALUES(1,'a7a7b3aafef7804dcb2a14b4eacdb7c9',0,1795545365000000,NULL);
CREATE TABLE journal_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO "journal_head" VALUES(1,201);
CREATE TABLE leader (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    master TEXT NOT NULL, -- who it is, by the name that it keeps in its data folder
    address TEXT NOT NULL, -- where other masters reach it, as a URL; empty if they cannot
    beat INTEGER NOT NULL, -- grows while it lives
    logs TEXT NOT NULL -- the folder of logs that all masters share, by its own name; empty until one has led
) STRICT;
INSERT INTO "leader" VALUES(1,0,'','',0,'');
CREATE TABLE number_floor (
    noun TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
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
INSERT INTO "outbox" VALUES(1,1,'mail','person-1@example.org','key-1','{"id":1,"event":1,"notifier":"mail","target":"person-1@example.org","because":"author","key":"key-1","incident":null,"subject":"main is broken","text":"text","html":null,"at":20}','due',0,0,20,NULL,NULL,20,NULL);
INSERT INTO "outbox" VALUES(2,1,'mail','person-2@example.org','key-2','{"id":2,"event":1,"notifier":"mail","target":"person-2@example.org","because":"author","key":"key-2","incident":null,"subject":"main is broken","text":"text","html":null,"at":20}','due',0,0,20,NULL,NULL,20,NULL);
INSERT INTO "outbox" VALUES(3,1,'mail','person-3@example.org','key-3','{"id":3,"event":1,"notifier":"mail","target":"person-3@example.org","because":"author","key":"key-3","incident":null,"subject":"main is broken","text":"text","html":null,"at":20}','due',0,0,20,NULL,NULL,20,NULL);
CREATE TABLE recipe (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;
INSERT INTO "recipe" VALUES('c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','{"sources":{"lib":{"repository":"lib","into":"","branch":null}},"requires":{"os":"linux"},"environment":{"LANG":"C"},"matrix":{},"steps":[],"retries_max":2}');
CREATE TABLE ref_tip (
    repository TEXT NOT NULL,
    reference TEXT NOT NULL,
    revision TEXT,                   -- NULL: the ref is gone, its number goes on
    seq INTEGER NOT NULL,
    change INTEGER,                  -- the newest change of this ref
    PRIMARY KEY (repository, reference)
) STRICT, WITHOUT ROWID;
INSERT INTO "ref_tip" VALUES('lib','refs/heads/main',NULL,11,11);
CREATE TABLE repository (
    name TEXT PRIMARY KEY,
    seen INTEGER NOT NULL CHECK (seen IN (0, 1)),
    failures INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "repository" VALUES('lib',1,9,'refused',1795518203000000);
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
INSERT INTO "request" VALUES(1,2,'node-1','builder-1','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','ad1b9de910513527b407147d7a05569066c1a50cceaba3e118df6b13f49e749c','all','settled',2,2,'success',NULL,'step test: exit code 2',12,1795518166000000);
INSERT INTO "request" VALUES(2,2,'node-2','builder-2','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','ff14e14c208d414590558c2e333a73da13828df7df2988dacc7f817e6aa5f995','all','settled',0,0,'skipped','dependency','a need',12,1795518139000000);
INSERT INTO "request" VALUES(3,2,'node-3','builder-3','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','6602268483bd7c7f95dcd1d1a3467612ff1724c621560c5f01d1785917886599','all','settled',0,0,'skipped','dependency','a need',12,1795518140000000);
INSERT INTO "request" VALUES(4,4,'node-4','builder-4','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','6e9f43813f86baf1879f96ba064cd3b37ff1c9db77c558f05f56a597e46bc62b','all','settled',0,0,'skipped','dependency','a need',12,1795518143000000);
INSERT INTO "request" VALUES(5,4,'node-5','builder-5','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','dd56ba6cbd56451c7a7346def88b8fa8b9de2e4c4bcf5e5f6b07dfcfd03ee501','all','settled',0,0,'skipped','dependency','a need',12,1795518144000000);
INSERT INTO "request" VALUES(6,7,'node-6','builder-6','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','5b958a204ef3002c71e1e2c7c1ef0b75b24372c9482aceb914e152d9d70a0408','all','settled',2,2,'success',NULL,'step test: exit code 2',12,1795518167000000);
INSERT INTO "request" VALUES(7,8,'node-7','builder-7','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','1b95ed56bb99a35252c731bb029c79c2dd9e738368386f41307ed877480480b9','all','settled',3,3,'skipped','dependency','a need',12,1795518184000000);
INSERT INTO "request" VALUES(8,8,'node-8','builder-8','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','b61bae2c1c5d192e6b0d6bb456688fac0b1ca66b950d1dcac7d32db316ad39eb','all','settled',2,2,'success',NULL,'step test: exit code 2',12,1795518172000000);
INSERT INTO "request" VALUES(9,8,'node-9','builder-9','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','01de42bc98706a85710c5316db05558ebdc0191c0c0fa1680b41fc5b0f7720d4','all','settled',1,1,'skipped','dependency','a need',12,1795518167000000);
INSERT INTO "request" VALUES(10,9,'node-10','builder-10','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','ab9b802a5d69f8495b323f56075c6263e4cac8e24e41a31ea35a813e7167c847','all','settled',2,2,'success',NULL,'step test: exit code 2',12,1795518176000000);
INSERT INTO "request" VALUES(11,9,'node-11','builder-11','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','a7342aa2a39ef8ff7acb0ca11e8c3bf689eae2ec2aa8685a8754d49ce7d2eef6','all','settled',0,0,'skipped','dependency','a need',12,1795518165000000);
INSERT INTO "request" VALUES(12,10,'node-12','builder-12','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','2bac0944fd75814ac95de0d473d083955d9515348d72881f2f5ab72700325d9d','all','settled',0,0,'skipped','dependency','a need',12,1795518158000000);
INSERT INTO "request" VALUES(13,10,'node-13','builder-13','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','829099d79bf57d54ad72bf0c9f5f3e1bf4c466a4da25839adab129eea5491298','all','settled',0,0,'skipped','dependency','a need',12,1795518167000000);
INSERT INTO "request" VALUES(14,11,'node-14','builder-14','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','eb24809d6e256ac90f4f4102cae195c2c695277c807a4c2fecba367735539ead','all','settled',0,0,'skipped','dependency','a need',12,1795518173000000);
INSERT INTO "request" VALUES(15,12,'node-15','builder-15','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','dba226337409b3b3dbf58596d59beff200797246ea06a946bae5c9b4623458eb','all','settled',0,0,'skipped','dependency','a need',12,1795518191000000);
INSERT INTO "request" VALUES(16,13,'node-16','builder-16','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','4c1551bfe95d922e9a49ac1b31fc4a72d85433be484afc99926377e64a9ffb3a','all','settled',3,3,'skipped','dependency','a need',12,1795518202000000);
INSERT INTO "request" VALUES(17,16,'node-17','builder-17','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','bcc9cc815b477d8644527af1fb96e1f8d8f10c5c3d476bf7725ce75c97b8bf99','all','leased',1,1,NULL,NULL,NULL,12,NULL);
INSERT INTO "request" VALUES(18,16,'node-18','builder-18','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','98646213e646399ea4e15d55ede7b50643b4d3df8667101217fa3fddfb22c2e3','all','settled',0,0,'skipped','dependency','a need',12,1795518212000000);
INSERT INTO "request" VALUES(19,16,'node-19','builder-19','c5c6595a02c39b39b0aa4c5ed88cf15a4fa7d5474abaf2aeaba18e112e46ac41','ef19b5dd6534e51a81ae83f0090a0046be5a636483a5f405f83290c6c51cbaaf','all','settled',0,0,'skipped','dependency','a need',12,1795518211000000);
CREATE TABLE schema_version (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL
    ) STRICT;
INSERT INTO "schema_version" VALUES(1,'first','47fb7f1706462707605c2c342e32a8d0417d6ad20224fd8fb4ec91c62d5c7571');
INSERT INTO "schema_version" VALUES(2,'leader','40997e7a0b022a948cf5165b0db5c339bd04437552897f072b2c6eb4c91147d7');
INSERT INTO "schema_version" VALUES(3,'instance','5613263fe7f881f11649e18e3f31b9cab90a5264c594cca6dc2071d92244477f');
INSERT INTO "schema_version" VALUES(4,'finding','4d806a1abbf88eced967b3fc39e5656b5f9a014e482b5380b42ddf2b5d9efab5');
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
INSERT INTO "standing" VALUES('linux','main','failure',16,'{"lib":13}',2,1795518211000000);
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
INSERT INTO "step" VALUES(2,0,'test',NULL,NULL,NULL,10,1795518152000000,NULL);
INSERT INTO "step" VALUES(4,0,'test',NULL,NULL,NULL,NULL,1795518158000000,NULL);
INSERT INTO "step" VALUES(10,0,'test','failure','test','exit code 2',10,1795518172000000,1795518174000000);
CREATE TABLE timer (
    scheduler TEXT PRIMARY KEY,
    nominal INTEGER,
    next INTEGER,
    why_nothing TEXT,                -- NULL: something was built
    at INTEGER NOT NULL
) STRICT;
INSERT INTO "timer" VALUES('nightly',192,193,NULL,1795518211000000);
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
INSERT INTO "upstream" VALUES('deploy',1,'docs','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',15,4,1795518136000000);
INSERT INTO "upstream" VALUES('deploy',4,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',57,9,1795518149000000);
INSERT INTO "upstream" VALUES('deploy',5,'docs','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',65,10,1795518154000000);
INSERT INTO "upstream" VALUES('deploy',3,'docs','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',67,NULL,1795518154000000);
INSERT INTO "upstream" VALUES('deploy',6,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',101,NULL,1795518167000000);
INSERT INTO "upstream" VALUES('deploy',10,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',117,NULL,1795518173000000);
INSERT INTO "upstream" VALUES('deploy',9,'docs','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',125,NULL,1795518178000000);
INSERT INTO "upstream" VALUES('deploy',7,'docs','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',130,NULL,1795518181000000);
INSERT INTO "upstream" VALUES('deploy',2,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',140,NULL,1795518191000000);
INSERT INTO "upstream" VALUES('deploy',12,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',173,NULL,1795518203000000);
INSERT INTO "upstream" VALUES('deploy',14,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',177,NULL,1795518203000000);
INSERT INTO "upstream" VALUES('deploy',8,'ci','success',1,'main','{"lib":{"repository":"lib","branch":"main","revision":"0000000000000000000000000000000000000002","change":1}}',1,'waits',185,NULL,1795518206000000);
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
INSERT INTO "verdict" VALUES(2,'ci','nothing',NULL,NULL,'[{"code":"matches"}]','{"file":"","line":0}',11);
INSERT INTO "verdict" VALUES(4,'ci','built',12,NULL,'[{"code":"matches"}]','{"file":"","line":0}',11);
INSERT INTO "verdict" VALUES(5,'ci','built',13,NULL,'[{"code":"matches"}]','{"file":"","line":0}',11);
INSERT INTO "verdict" VALUES(7,'ci','built',15,NULL,'[{"code":"matches"}]','{"file":"","line":0}',11);
INSERT INTO "verdict" VALUES(8,'ci','built',15,NULL,'[{"code":"matches"}]','{"file":"","line":0}',11);
INSERT INTO "verdict" VALUES(10,'ci','built',17,NULL,'[{"code":"matches"}]','{"file":"","line":0}',11);
CREATE TABLE worker (
    name TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    slots INTEGER NOT NULL,
    connected INTEGER NOT NULL CHECK (connected IN (0, 1)),
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "worker" VALUES('water','{"os":"linux"}',11,1,3);
CREATE INDEX event_catalog ON event (seq) WHERE kind IN ('catalog.activated', 'catalog.refused');
CREATE UNIQUE INDEX catalog_active ON catalog (active) WHERE active = 1;
CREATE INDEX change_new ON change (new);
CREATE INDEX change_branch ON change (repository, branch, id);
CREATE INDEX change_repository ON change (repository, id);
CREATE INDEX change_any_branch ON change (branch, id);
CREATE INDEX verdict_scheduler ON verdict (scheduler, change);
CREATE INDEX verdict_held ON verdict (kind) WHERE kind = 'held';
CREATE INDEX buildset_open ON buildset (id) WHERE outcome IS NULL;
CREATE INDEX buildset_project ON buildset (project, id);
CREATE INDEX buildset_scheduler ON buildset (scheduler, id);
CREATE INDEX buildset_change_change ON buildset_change (change);
CREATE INDEX request_open ON request (state, id) WHERE state <> 'settled';
CREATE INDEX request_digest ON request (digest);
CREATE INDEX edge_needs ON edge (needs);
CREATE UNIQUE INDEX build_one_lease ON build (request) WHERE state <> 'finished';
CREATE INDEX build_open ON build (id) WHERE state <> 'finished';
CREATE INDEX build_builder ON build (builder, branch, id);
CREATE INDEX build_any_branch ON build (builder, id);
CREATE INDEX build_branch ON build (branch, id);
CREATE INDEX build_outcome ON build (outcome, id);
CREATE INDEX build_buildset ON build (buildset);
CREATE INDEX standing_incident ON standing (incident) WHERE incident IS NOT NULL;
CREATE INDEX incident_open ON incident (id) WHERE closed_at IS NULL;
CREATE INDEX upstream_unused ON upstream (scheduler, noted) WHERE used_by IS NULL;
CREATE INDEX upstream_buildset ON upstream (buildset);
CREATE INDEX outbox_due ON outbox (notifier, due_at, id, target) WHERE state = 'due';
CREATE INDEX outbox_incident ON outbox (incident);
CREATE INDEX answer_at ON answer (at);
CREATE INDEX build_logs ON build (id) WHERE state = 'finished' AND logs_retired_at IS NULL;
CREATE INDEX request_recipe ON request (recipe);
CREATE INDEX step_triggered ON step (triggered) WHERE triggered IS NOT NULL;
CREATE INDEX upstream_used_by ON upstream (used_by) WHERE used_by IS NOT NULL;
COMMIT;
