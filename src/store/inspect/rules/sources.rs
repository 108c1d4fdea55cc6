//! Deliveries, tips, changes, and what every scheduler made of each change.

use super::Rule;
use crate::store::database::Text::Same;

/// Changes with the number of the configuration that they were judged under. One that has the very time of an
/// activation is left out: which of both came first is not in the rows.
macro_rules! generations {
    () => {
        "WITH activation AS (
            SELECT at FROM event
            WHERE kind IN ('catalog.activated', 'catalog.refused') AND kind = 'catalog.activated'
        ), marks AS (
            SELECT at, 0 AS change FROM activation
            UNION ALL SELECT at, id FROM change WHERE at NOT IN (SELECT at FROM activation)
        ), judged AS (
            SELECT change, SUM(CASE WHEN change = 0 THEN 1 ELSE 0 END) OVER (ORDER BY at) AS generation FROM marks
        )"
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "deliveries",
        proves: "every delivery that was not read yet has its body",
        safety: &["S1"],
        means: "a webhook request was accepted and cannot be read again",
        // Of those that were read the bodies are retired first of all.
        text: Same(
            "SELECT 'delivery ' || delivery.id || ' of ' || delivery.repository || ' has no body' AS what
            FROM delivery LEFT JOIN delivery_body ON delivery_body.delivery = delivery.id
            WHERE delivery_body.delivery IS NULL AND delivery.result IS NULL ORDER BY delivery.id LIMIT $1",
        ),
    },
    Rule {
        id: "tips",
        proves: "every accepted tip is where the newest change of its ref left it",
        safety: &["S2"],
        means: "the next movement of the ref is taken for another one, or refused for ever",
        text: Same(concat!(
            "SELECT what FROM (
                SELECT ref_tip.repository || ' ' || ref_tip.reference || ' stands at movement ' || ref_tip.seq
                    || ', and its newest change is ' || COALESCE('number ' || newest.id || ', movement ' || newest.seq, 'gone')
                    AS what
                FROM ref_tip LEFT JOIN change AS newest ON newest.repository = ref_tip.repository
                    AND newest.reference = ref_tip.reference
                    AND newest.seq = (SELECT MAX(seq) FROM change
                        WHERE change.repository = ref_tip.repository AND change.reference = ref_tip.reference)
                WHERE (newest.id IS NULL AND ref_tip.seq > 0 AND ",
            nothing_retired!(),
            ") OR (newest.id IS NOT NULL AND (newest.seq <> ref_tip.seq
                        OR newest.id IS DISTINCT FROM ref_tip.change OR newest.new IS DISTINCT FROM ref_tip.revision))
                UNION ALL
                SELECT 'change ' || change.id || ' is of ' || change.repository || ' ' || change.reference
                    || ', whose tip is not known'
                FROM change LEFT JOIN ref_tip ON ref_tip.repository = change.repository
                    AND ref_tip.reference = change.reference
                WHERE ref_tip.repository IS NULL
            ) AS wrong LIMIT $1"
        )),
    },
    Rule {
        id: "change-chain",
        proves: "each change of a ref begins where the one before ended, and none is missing that was not retired",
        safety: &["S2", "S5"],
        means: "a movement of a ref was lost or told twice: blame for it is wrong",
        text: Same(concat!(
            "SELECT 'change ' || id || ' is movement ' || seq || ' of ' || repository || ' ' || reference || ' from '
                || COALESCE(old, 'nothing') || ', and the one before was movement ' || seq_before || ' to '
                || COALESCE(new_before, 'nothing') AS what
            FROM (SELECT id, repository, reference, seq, old,
                    LAG(seq) OVER (PARTITION BY repository, reference ORDER BY seq) AS seq_before,
                    LAG(new) OVER (PARTITION BY repository, reference ORDER BY seq) AS new_before
                FROM change) AS chain
            WHERE seq_before IS NOT NULL AND (seq <= seq_before
                OR (seq = seq_before + 1 AND old IS DISTINCT FROM new_before) OR (seq > seq_before + 1 AND ",
            nothing_retired!(),
            ")) ORDER BY id LIMIT $1"
        )),
    },
    Rule {
        id: "verdicts",
        proves: "every change has a verdict of every scheduler that judged other changes under the same configuration",
        safety: &["S3", "S4", "S28"],
        means: "a scheduler never heard of a change: what it would have built was not built, and nobody was told why",
        text: Same(concat!(
            generations!(),
            ", given AS (
                SELECT judged.change, judged.generation, COUNT(verdict.scheduler) AS given
                FROM judged LEFT JOIN verdict ON verdict.change = judged.change
                WHERE judged.change > 0 AND judged.generation > 0 GROUP BY judged.change, judged.generation
            ), wanted AS (
                SELECT judged.generation, COUNT(DISTINCT verdict.scheduler) AS wanted
                FROM judged JOIN verdict ON verdict.change = judged.change
                WHERE judged.change > 0 GROUP BY judged.generation
            )
            SELECT 'change ' || given.change || ' has verdicts of ' || given.given || ' of ' || wanted.wanted
                || ' schedulers' AS what
            FROM given JOIN wanted ON wanted.generation = given.generation
            WHERE given.given <> wanted.wanted ORDER BY given.change LIMIT $1"
        )),
    },
    Rule {
        id: "verdict-buildset",
        proves: "a verdict that says what was built names a buildset of its own scheduler",
        safety: &["S3"],
        means: "what came of a change is told wrongly",
        text: Same(concat!(
            "SELECT 'scheduler ' || verdict.scheduler || ' says that it built buildset ' || verdict.buildset
                || ' of change ' || verdict.change || ', which is '
                || COALESCE('of ' || buildset.scheduler, 'not there') AS what
            FROM verdict LEFT JOIN buildset ON buildset.id = verdict.buildset
            WHERE verdict.kind = 'built' AND (buildset.scheduler <> verdict.scheduler
                OR (buildset.id IS NULL AND ",
            nothing_retired!(),
            ")) ORDER BY verdict.change LIMIT $1"
        )),
    },
    Rule {
        id: "triggers",
        proves: "no change set off two buildsets of the same scheduler",
        safety: &["S3"],
        means: "the same change was built twice by one scheduler",
        text: Same(
            "SELECT 'change ' || buildset_change.change || ' set off ' || COUNT(*) || ' buildsets of '
                || buildset.scheduler AS what
            FROM buildset_change JOIN buildset ON buildset.id = buildset_change.buildset
            GROUP BY buildset_change.change, buildset.scheduler HAVING COUNT(*) > 1
            ORDER BY buildset_change.change LIMIT $1",
        ),
    },
    Rule {
        id: "timers",
        proves: "the next moment of a timed scheduler is after the last one that fired",
        safety: &["S19"],
        means: "a moment would fire again",
        text: Same(
            "SELECT 'scheduler ' || scheduler || ' fired for ' || nominal || ' and is next due at ' || next AS what
            FROM timer WHERE next <= nominal ORDER BY scheduler LIMIT $1",
        ),
    },
];
