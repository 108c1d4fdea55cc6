//! Buildsets, their requests, and the edges between them.

use super::Rule;
use crate::store::database::Text::Same;

/// An outcome's place in the order of combination.
macro_rules! rank {
    ($column:literal) => {
        concat!(
            "CASE ",
            $column,
            " WHEN 'skipped' THEN 0 WHEN 'success' THEN 1 WHEN 'warnings' THEN 2 WHEN 'failure' THEN 3
                WHEN 'exception' THEN 4 WHEN 'retry' THEN 5 WHEN 'cancelled' THEN 6 END"
        )
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "buildset-remaining",
        proves: "each buildset counts as many open requests as it has",
        safety: &["S6", "S28"],
        means: "the buildset completes too early, or never",
        text: Same(
            "SELECT 'buildset ' || buildset.id || ' counts ' || buildset.remaining || ' open requests and has '
                || COALESCE(open.open, 0) AS what
            FROM buildset LEFT JOIN (SELECT buildset, COUNT(*) AS open FROM request
                WHERE state <> 'settled' GROUP BY buildset) AS open ON open.buildset = buildset.id
            WHERE buildset.remaining <> COALESCE(open.open, 0) ORDER BY buildset.id LIMIT $1",
        ),
    },
    Rule {
        id: "buildset-complete",
        proves: "a buildset is complete exactly when all its requests are settled",
        safety: &["S6"],
        means: "a buildset has ended while requests of it wait, or waits for nothing",
        text: Same(
            "SELECT 'buildset ' || buildset.id || CASE WHEN buildset.outcome IS NULL
                    THEN ' is open, and all its requests are settled'
                    ELSE ' ended with ' || buildset.outcome || ', and requests of it are open' END AS what
            FROM buildset LEFT JOIN (SELECT DISTINCT buildset FROM request WHERE state <> 'settled') AS open
                ON open.buildset = buildset.id
            WHERE (buildset.outcome IS NULL) <> (open.buildset IS NOT NULL) ORDER BY buildset.id LIMIT $1",
        ),
    },
    Rule {
        id: "buildset-outcome",
        proves: "each completed buildset ended with the combination of its requests' outcomes",
        safety: &["S6", "S7"],
        means: "people and dependent schedulers were told another outcome than there was",
        text: Same(concat!(
            "SELECT 'buildset ' || buildset.id || ' ended with ' || buildset.outcome
                || ', and its requests combine to another outcome' AS what
            FROM buildset LEFT JOIN (SELECT buildset, MAX(",
            rank!("outcome"),
            ") AS worst FROM request GROUP BY buildset) AS requests ON requests.buildset = buildset.id
            WHERE buildset.outcome IS NOT NULL AND COALESCE(requests.worst, 0) <> ",
            rank!("buildset.outcome"),
            " ORDER BY buildset.id LIMIT $1"
        )),
    },
    Rule {
        id: "edges",
        proves: "edges stay inside one buildset",
        safety: &["S11", "S13"],
        means: "a request waits for one that its buildset does not have",
        text: Same(
            "SELECT 'request ' || edge.request || ' of buildset ' || waits.buildset || ' needs request ' || edge.needs
                || ' of buildset ' || needed.buildset AS what
            FROM edge JOIN request AS waits ON waits.id = edge.request JOIN request AS needed ON needed.id = edge.needs
            WHERE waits.buildset <> needed.buildset ORDER BY edge.request LIMIT $1",
        ),
    },
    Rule {
        id: "needs",
        proves: "no open request runs before what it needs has ended, and none waits when all of it has",
        safety: &["S11"],
        means: "a request was started too early, or waits for ever",
        text: Same(
            "SELECT what FROM (
                SELECT 'request ' || waits.id || ' waits, and all that it needs has ended' AS what
                FROM request AS waits WHERE waits.state <> 'settled' AND waits.state = 'waiting' AND NOT EXISTS (
                    SELECT 1 FROM edge JOIN request AS needed ON needed.id = edge.needs
                    WHERE edge.request = waits.id AND needed.state <> 'settled')
                UNION ALL
                SELECT 'request ' || runs.id || ' is ' || runs.state || ', and request ' || needed.id
                    || ' that it needs is ' || needed.state
                FROM request AS runs JOIN edge ON edge.request = runs.id JOIN request AS needed ON needed.id = edge.needs
                WHERE runs.state <> 'settled' AND runs.state IN ('ready', 'leased') AND runs.mode = 'all' AND needed.state <> 'settled'
            ) AS wrong LIMIT $1",
        ),
    },
    Rule {
        id: "upstreams",
        proves: "what a dependent scheduler noted of a completed buildset is what that came to, and it was used once",
        safety: &["S11"],
        means: "a dependent scheduler decided on something that did not happen",
        text: Same(
            "SELECT 'scheduler ' || upstream.scheduler || ' noted that buildset ' || upstream.buildset || ' ended with '
                || upstream.outcome || CASE WHEN done.outcome IS DISTINCT FROM upstream.outcome
                    THEN ', and it ' || COALESCE('ended with ' || done.outcome, 'has not ended')
                    ELSE ', and used it for buildset ' || upstream.used_by || ' of '
                        || COALESCE(made.scheduler, 'nobody') END AS what
            FROM upstream JOIN buildset AS done ON done.id = upstream.buildset
                LEFT JOIN buildset AS made ON made.id = upstream.used_by
            WHERE done.outcome IS DISTINCT FROM upstream.outcome
                OR (upstream.used_by IS NOT NULL AND made.scheduler IS DISTINCT FROM upstream.scheduler)
            ORDER BY upstream.noted LIMIT $1",
        ),
    },
];

#[cfg(test)]
mod tests {
    use gristmill_model::Outcome;

    #[test]
    fn outcomes_are_ranked_as_they_combine() {
        for (rank, outcome) in Outcome::ALL.iter().enumerate() {
            assert!(rank!("x").contains(&format!("WHEN '{outcome}' THEN {rank}")), "{outcome}");
        }
    }
}
