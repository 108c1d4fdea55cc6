//! The journal and what is numbered by it.

use super::Rule;
use crate::store::database::Text::{self, Same};

/// Numbers are given out one after the other. Where something was retired, rows are missing on purpose.
macro_rules! gap {
    ($noun:literal, $table:literal) => {
        concat!(
            "SELECT '",
            $noun,
            " ' || id || ' comes after ' || before AS what FROM (SELECT id, LAG(id) OVER (ORDER BY id) AS before FROM ",
            $table,
            ") AS numbered WHERE id <> before + 1 AND ",
            nothing_retired!(),
            " UNION ALL SELECT 'the first ",
            $noun,
            " is ' || MIN(id) FROM ",
            $table,
            " HAVING MIN(id) > 1 AND ",
            nothing_retired!()
        )
    };
}

/// A restored installation passes over the numbers after the `head` of its backup.
macro_rules! gapless {
    ($head:literal) => {
        concat!(
            "SELECT 'the journal has ' || (SELECT COUNT(*) FROM event) || ' events from '
                || COALESCE((SELECT MIN(seq) FROM event), 0) || ' to ' || COALESCE((SELECT MAX(seq) FROM event), 0)
                || ', and its head is ' || seq AS what
            FROM journal_head
            WHERE seq <> COALESCE((SELECT MAX(seq) FROM event), 0)
                OR (SELECT COUNT(*) FROM event) + COALESCE((SELECT SUM(seq - 1 - ",
            $head,
            ") FROM event WHERE kind = 'instance.restored' AND seq > (SELECT MIN(seq) FROM event)), 0)
                    <> COALESCE((SELECT MAX(seq) - MIN(seq) + 1 FROM event), 0)
            UNION ALL SELECT 'the journal has no head' WHERE NOT EXISTS (SELECT 1 FROM journal_head)
            LIMIT $1"
        )
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "journal-gapless",
        proves: "the journal has every event from its oldest to its head, each once",
        safety: &["S1", "S4"],
        means: "events are missing, or are there that no turn wrote: what happened then is not told, and cannot be folded",
        text: Text::Each {
            sqlite: gapless!("CAST(body ->> 'head' AS INTEGER)"),
            postgres: gapless!("CAST(CAST(body AS json) ->> 'head' AS BIGINT)"),
        },
    },
    Rule {
        id: "cursors",
        proves: "no follower has read further than the journal goes",
        safety: &["S17"],
        means: "a follower skips what is written until the journal reaches its cursor",
        text: Same(
            "SELECT 'cursor ' || consumer || ' is at ' || seq || ', and the journal ends at '
                || (SELECT seq FROM journal_head) AS what
            FROM cursor WHERE seq > (SELECT seq FROM journal_head) ORDER BY consumer LIMIT $1",
        ),
    },
    Rule {
        id: "numbers",
        proves: "changes, deliveries, buildsets, requests, builds, incidents and messages are numbered without gaps",
        safety: &["S1", "S17", "S28"],
        means: "rows are missing from the middle of a table",
        text: Same(concat!(
            "SELECT what FROM (",
            gap!("change", "change"),
            " UNION ALL ",
            gap!("delivery", "delivery"),
            " UNION ALL ",
            gap!("buildset", "buildset"),
            " UNION ALL ",
            gap!("request", "request"),
            " UNION ALL ",
            gap!("build", "build"),
            " UNION ALL ",
            gap!("incident", "incident"),
            " UNION ALL ",
            gap!("message", "outbox"),
            ") AS gaps LIMIT $1"
        )),
    },
    Rule {
        id: "catalog",
        proves: "exactly one configuration is in force once one was",
        safety: &["S22"],
        means: "it is not known under which configuration is decided",
        text: Same(
            "SELECT (SELECT COUNT(*) FROM catalog WHERE active = 1) || ' of '
                || (SELECT COUNT(*) FROM catalog) || ' configurations are in force' AS what
            FROM journal_head
            WHERE (SELECT COUNT(*) FROM catalog WHERE active = 1) <> 1 AND EXISTS (SELECT 1 FROM catalog)
            LIMIT $1",
        ),
    },
];
