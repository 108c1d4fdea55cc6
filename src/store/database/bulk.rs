//! Statements that write many rows from one JSON list: a statement costs more than a row, so whatever comes in lists is
//! written by one.

use super::Text;

/// Writes many events: `$1` the number before the first, `$2` their time, `$3` their bodies as a list.
pub(in crate::store) const INSERT_EVENTS: Text = Text::Each {
    sqlite: "INSERT INTO event (seq, at, kind, body)
        SELECT $1 + key + 1, $2, value ->> 'kind', value FROM json_each($3)",
    postgres: "INSERT INTO event (seq, at, kind, body)
        SELECT $1 + position, $2, value ->> 'kind', CAST(value AS TEXT)
        FROM json_array_elements(CAST($3 AS json)) WITH ORDINALITY AS list (value, position)",
};

/// Writes many requests, from a list of them.
pub(in crate::store) const INSERT_REQUESTS: Text = Text::Each {
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
pub(in crate::store) const INSERT_EDGES: Text = Text::Each {
    sqlite: "INSERT INTO edge (request, needs, on_outcome, position)
        SELECT value ->> 'request', value ->> 'needs', value ->> 'on', key FROM json_each($1)",
    postgres: "INSERT INTO edge (request, needs, on_outcome, position)
        SELECT CAST(value ->> 'request' AS BIGINT), CAST(value ->> 'needs' AS BIGINT), value ->> 'on', position - 1
        FROM json_array_elements(CAST($1 AS json)) WITH ORDINALITY AS list (value, position)",
};

/// Writes the changes of buildset `$1`, from a list of their numbers.
pub(in crate::store) const INSERT_BUILDSET_CHANGES: Text = Text::Each {
    sqlite: "INSERT INTO buildset_change (buildset, change) SELECT $1, value FROM json_each($2)",
    postgres: "INSERT INTO buildset_change (buildset, change)
        SELECT $1, CAST(value AS BIGINT) FROM json_array_elements_text(CAST($2 AS json)) AS list (value)",
};

/// Writes many verdicts, from a list of them. One that would replace another than a held one is left out.
pub(in crate::store) const GIVE_VERDICTS: Text = Text::Each {
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
    INSERT_REQUESTS,
    INSERT_EDGES,
    INSERT_BUILDSET_CHANGES,
    GIVE_VERDICTS,
    INSERT_OUTPUTS,
    INSERT_TESTS
];
