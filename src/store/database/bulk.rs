//! Statements that write many rows from one JSON list: a statement costs more than a row, so whatever comes in lists is
//! written by one.

use super::Text;

/// What rows that are written together are, in the order in which they are written: what is referred to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Sort {
    /// A webhook request.
    Delivery,
    /// What came of a webhook request.
    DeliveryRead,
    /// A tip of a ref that was never seen.
    FirstTip,
    /// A tip that moves.
    MovedTip,
    /// A change.
    Change,
    /// A buildset.
    Buildset,
    /// What set a buildset off.
    BuildsetChange,
    /// A request.
    Request,
    /// An edge between requests.
    Edge,
    /// What a scheduler made of a change.
    Verdict,
    /// An answer that is kept for whoever asks again.
    Answer,
}

impl Sort {
    /// Gives the table and the statement that writes many of its rows from a list.
    pub(in crate::store) fn written_by(self) -> (&'static str, Text) {
        match self {
            Self::Delivery => ("delivery", INSERT_DELIVERIES),
            Self::DeliveryRead => ("delivery", READ_DELIVERIES),
            Self::FirstTip => ("ref_tip", FIRST_TIPS),
            Self::MovedTip => ("ref_tip", MOVE_TIPS),
            Self::Change => ("change", INSERT_CHANGES),
            Self::Buildset => ("buildset", INSERT_BUILDSETS),
            Self::BuildsetChange => ("buildset_change", INSERT_BUILDSET_CHANGES),
            Self::Request => ("request", INSERT_REQUESTS),
            Self::Edge => ("edge", INSERT_EDGES),
            Self::Verdict => ("verdict", GIVE_VERDICTS),
            Self::Answer => ("answer", INSERT_ANSWERS),
        }
    }
}

/// Writes many events: `$1` the number before the first, `$2` their time, `$3` their bodies as a list.
pub(in crate::store) const INSERT_EVENTS: Text = Text::Each {
    sqlite: "INSERT INTO event (seq, at, kind, body)
        SELECT $1 + key + 1, $2, value ->> 'kind', value FROM json_each($3)",
    postgres: "INSERT INTO event (seq, at, kind, body)
        SELECT $1 + position, $2, value ->> 'kind', CAST(value AS TEXT)
        FROM json_array_elements(CAST($3 AS json)) WITH ORDINALITY AS list (value, position)",
};

/// Writes many webhook requests, without their bodies, from a list of them.
const INSERT_DELIVERIES: Text = Text::Each {
    sqlite: "INSERT INTO delivery (id, repository, key, event, sha256, at)
        SELECT value ->> 'id', value ->> 'repository', value ->> 'key', value ->> 'event', value ->> 'sha256',
            value ->> 'at'
        FROM json_each($1)",
    postgres: "INSERT INTO delivery (id, repository, key, event, sha256, at)
        SELECT id, repository, key, event, sha256, at FROM json_to_recordset(CAST($1 AS json)) AS list (id BIGINT,
            repository TEXT, key TEXT, event TEXT, sha256 TEXT, at BIGINT)",
};

/// Says what came of many webhook requests, from a list. One can be read again, so a result replaces the one before.
const READ_DELIVERIES: Text = Text::Each {
    sqlite: "UPDATE delivery SET result = list.value ->> 'result' FROM json_each($1) AS list
        WHERE delivery.id = list.value ->> 'id'",
    postgres: "UPDATE delivery SET result = list.result
        FROM json_to_recordset(CAST($1 AS json)) AS list (id BIGINT, result TEXT) WHERE delivery.id = list.id",
};

/// Records the tips of refs that were never seen, from a list of them.
const FIRST_TIPS: Text = Text::Each {
    sqlite: "INSERT INTO ref_tip (repository, reference, revision, seq, change)
        SELECT value ->> 'repository', value ->> 'reference', value ->> 'revision', value ->> 'seq', value ->> 'change'
        FROM json_each($1)",
    postgres: "INSERT INTO ref_tip (repository, reference, revision, seq, change)
        SELECT repository, reference, revision, seq, change FROM json_to_recordset(CAST($1 AS json)) AS list
            (repository TEXT, reference TEXT, revision TEXT, seq BIGINT, change BIGINT)",
};

/// Moves tips, from a list of them; each only if it is where its change says that it was.
const MOVE_TIPS: Text = Text::Each {
    sqlite: "UPDATE ref_tip SET revision = list.value ->> 'revision', seq = list.value ->> 'seq',
            change = list.value ->> 'change'
        FROM json_each($1) AS list
        WHERE ref_tip.repository = list.value ->> 'repository' AND ref_tip.reference = list.value ->> 'reference'
            AND ref_tip.seq = (list.value ->> 'seq') - 1
            AND ref_tip.revision IS NOT DISTINCT FROM list.value ->> 'old'",
    postgres: "UPDATE ref_tip SET revision = list.revision, seq = list.seq, change = list.change
        FROM json_to_recordset(CAST($1 AS json)) AS list (repository TEXT, reference TEXT, revision TEXT, seq BIGINT,
            change BIGINT, old TEXT)
        WHERE ref_tip.repository = list.repository AND ref_tip.reference = list.reference
            AND ref_tip.seq = list.seq - 1 AND ref_tip.revision IS NOT DISTINCT FROM list.old",
};

/// Writes many changes, from a list of them.
const INSERT_CHANGES: Text = Text::Each {
    sqlite: "INSERT INTO change
        (id, repository, reference, branch, seq, old, new, movement, title, author, body, at)
        SELECT value ->> 'id', value ->> 'repository', value ->> 'reference', value ->> 'branch', value ->> 'seq',
            value ->> 'old', value ->> 'new', value ->> 'movement', value ->> 'title', value ->> 'author',
            value -> 'body', value ->> 'at'
        FROM json_each($1)",
    postgres: "INSERT INTO change
        (id, repository, reference, branch, seq, old, new, movement, title, author, body, at)
        SELECT id, repository, reference, branch, seq, old, new, movement, title, author, CAST(body AS TEXT), at
        FROM json_to_recordset(CAST($1 AS json)) AS list (id BIGINT, repository TEXT, reference TEXT, branch TEXT,
            seq BIGINT, old TEXT, new TEXT, movement TEXT, title TEXT, author TEXT, body json, at BIGINT)",
};

/// Writes many buildsets, from a list of them.
const INSERT_BUILDSETS: Text = Text::Each {
    sqlite: "INSERT INTO buildset (id, scheduler, project, branch, trigger_key, body, remaining, created_at)
        SELECT value ->> 'id', value ->> 'scheduler', value ->> 'project', value ->> 'branch',
            value ->> 'trigger_key', value -> 'body', value ->> 'remaining', value ->> 'created_at'
        FROM json_each($1)",
    postgres: "INSERT INTO buildset (id, scheduler, project, branch, trigger_key, body, remaining, created_at)
        SELECT id, scheduler, project, branch, trigger_key, CAST(body AS TEXT), remaining, created_at
        FROM json_to_recordset(CAST($1 AS json)) AS list (id BIGINT, scheduler TEXT, project TEXT, branch TEXT,
            trigger_key TEXT, body json, remaining BIGINT, created_at BIGINT)",
};

/// Writes many requests, from a list of them.
const INSERT_REQUESTS: Text = Text::Each {
    sqlite: "INSERT INTO request
        (id, buildset, node, builder, recipe, digest, mode, state, attempts, epoch, outcome, cause, created_at, settled_at)
        SELECT value ->> 'id', value ->> 'buildset', value ->> 'node', value ->> 'builder', value ->> 'recipe',
            value ->> 'digest', value ->> 'mode', value ->> 'state', value ->> 'attempts', value ->> 'epoch',
            value ->> 'outcome', value ->> 'cause', value ->> 'created_at', value ->> 'settled_at'
        FROM json_each($1)",
    postgres: "INSERT INTO request
        (id, buildset, node, builder, recipe, digest, mode, state, attempts, epoch, outcome, cause, created_at, settled_at)
        SELECT id, buildset, node, builder, recipe, digest, mode, state, attempts, epoch, outcome, cause, created_at,
            settled_at
        FROM json_to_recordset(CAST($1 AS json)) AS list (id BIGINT, buildset BIGINT, node TEXT, builder TEXT,
            recipe TEXT, digest TEXT, mode TEXT, state TEXT, attempts BIGINT, epoch BIGINT, outcome TEXT, cause TEXT,
            created_at BIGINT, settled_at BIGINT)",
};

/// Writes many edges, from a list of them.
const INSERT_EDGES: Text = Text::Each {
    sqlite: "INSERT INTO edge (request, needs, on_outcome, position)
        SELECT value ->> 'request', value ->> 'needs', value ->> 'on', value ->> 'position' FROM json_each($1)",
    postgres: r#"INSERT INTO edge (request, needs, on_outcome, position)
        SELECT request, needs, "on", position FROM json_to_recordset(CAST($1 AS json))
            AS list (request BIGINT, needs BIGINT, "on" TEXT, position BIGINT)"#,
};

/// Writes what set buildsets off, from a list of pairs.
const INSERT_BUILDSET_CHANGES: Text = Text::Each {
    sqlite: "INSERT INTO buildset_change (buildset, change)
        SELECT value ->> 'buildset', value ->> 'change' FROM json_each($1)",
    postgres: "INSERT INTO buildset_change (buildset, change)
        SELECT buildset, change FROM json_to_recordset(CAST($1 AS json)) AS list (buildset BIGINT, change BIGINT)",
};

/// Writes many verdicts, from a list of them. One that would replace another than a held one is left out.
const GIVE_VERDICTS: Text = Text::Each {
    sqlite: "INSERT INTO verdict (change, scheduler, kind, buildset, until, reasons, place, at)
        SELECT value ->> 'change', value ->> 'scheduler', value ->> 'verdict', value ->> 'buildset',
            value ->> 'until', value -> 'reasons', value -> 'place', value ->> 'at'
        FROM json_each($1) WHERE true
        ON CONFLICT (change, scheduler) DO UPDATE SET kind = excluded.kind, buildset = excluded.buildset,
            until = excluded.until, reasons = excluded.reasons, place = excluded.place, at = excluded.at
        WHERE verdict.kind = 'held'",
    postgres: "INSERT INTO verdict (change, scheduler, kind, buildset, until, reasons, place, at)
        SELECT change, scheduler, verdict, buildset, until, CAST(reasons AS TEXT), CAST(place AS TEXT), at
        FROM json_to_recordset(CAST($1 AS json)) AS list (change BIGINT, scheduler TEXT, verdict TEXT,
            buildset BIGINT, until BIGINT, reasons json, place json, at BIGINT)
        ON CONFLICT (change, scheduler) DO UPDATE SET kind = excluded.kind, buildset = excluded.buildset,
            until = excluded.until, reasons = excluded.reasons, place = excluded.place, at = excluded.at
        WHERE verdict.kind = 'held'",
};

/// Keeps many answers, from a list of them.
const INSERT_ANSWERS: Text = Text::Each {
    sqlite: "INSERT INTO answer (key, request_sha256, body, at)
        SELECT value ->> 'key', value ->> 'request_sha256', value ->> 'body', value ->> 'at' FROM json_each($1)",
    postgres: "INSERT INTO answer (key, request_sha256, body, at)
        SELECT key, request_sha256, body, at FROM json_to_recordset(CAST($1 AS json))
            AS list (key TEXT, request_sha256 TEXT, body TEXT, at BIGINT)",
};

/// Writes the outputs of step `$2` of build `$1`, from a map of them. What is there stays.
pub(in crate::store) const INSERT_OUTPUTS: Text = Text::Each {
    sqlite: "INSERT INTO output (build, step, name, value)
        SELECT $1, $2, key, value FROM json_each($3) WHERE true ON CONFLICT (build, step, name) DO NOTHING",
    postgres: "INSERT INTO output (build, step, name, value)
        SELECT $1, $2, key, value FROM json_each_text(CAST($3 AS json)) AS list (key, value)
        ON CONFLICT (build, step, name) DO NOTHING",
};

/// Writes tests of step `$2` of build `$1`, from a list of them. What is there stays.
pub(in crate::store) const INSERT_TESTS: Text = Text::Each {
    sqlite: "INSERT INTO test_result (build, step, number, suite, name, outcome, rank, micros, message)
        SELECT $1, $2, value ->> 'number', value ->> 'suite', value ->> 'name', value ->> 'outcome',
            value ->> 'rank', value ->> 'micros', value ->> 'message'
        FROM json_each($3) WHERE true ON CONFLICT (build, step, number) DO NOTHING",
    postgres: "INSERT INTO test_result (build, step, number, suite, name, outcome, rank, micros, message)
        SELECT $1, $2, number, suite, name, outcome, rank, micros, message
        FROM json_to_recordset(CAST($3 AS json)) AS list (number BIGINT, suite TEXT, name TEXT, outcome TEXT,
            rank BIGINT, micros BIGINT, message TEXT)
        ON CONFLICT (build, step, number) DO NOTHING",
};

#[cfg(test)]
crate::store::database::statements![
    INSERT_EVENTS,
    INSERT_DELIVERIES,
    READ_DELIVERIES,
    FIRST_TIPS,
    MOVE_TIPS,
    INSERT_CHANGES,
    INSERT_BUILDSETS,
    INSERT_BUILDSET_CHANGES,
    INSERT_REQUESTS,
    INSERT_EDGES,
    GIVE_VERDICTS,
    INSERT_ANSWERS,
    INSERT_OUTPUTS,
    INSERT_TESTS
];
