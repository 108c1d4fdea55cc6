//! Builds: attempts, leases, epochs, and what is suspended.

use super::Rule;
use crate::store::database::Text::Same;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "leases",
        proves: "a request is leased exactly while one build of it is not over, and never two are",
        safety: &["S8"],
        means: "two workers may run the same request, or none does and nobody notices",
        text: Same(
            "SELECT what FROM (
                SELECT 'build ' || build.id || ' is ' || build.state || ', and its request ' || request.id || ' is '
                    || request.state AS what
                FROM build JOIN request ON request.id = build.request
                WHERE build.state <> 'finished' AND request.state <> 'leased'
                UNION ALL
                SELECT 'request ' || request.id || ' is leased, and no build of it is under way' FROM request
                WHERE request.state <> 'settled' AND request.state = 'leased' AND NOT EXISTS (
                    SELECT 1 FROM build WHERE build.request = request.id AND build.state <> 'finished')
                UNION ALL
                SELECT 'request ' || request || ' has ' || COUNT(*) || ' builds under way' FROM build
                WHERE state <> 'finished' GROUP BY request HAVING COUNT(*) > 1
            ) AS wrong LIMIT $1",
        ),
    },
    Rule {
        id: "attempts",
        proves: "the builds of a request are numbered from 1, each under a greater epoch, and the request knows the last",
        safety: &["S8", "S9"],
        means: "a worker of an older attempt could be taken for the present one",
        text: Same(
            "SELECT what FROM (
                SELECT 'build ' || id || ' is attempt ' || attempt || ' under epoch ' || epoch || ' of request '
                    || request || ', and the one before was attempt ' || COALESCE(attempt_before, 0)
                    || ' under epoch ' || COALESCE(epoch_before, 0) AS what
                FROM (SELECT id, request, attempt, epoch,
                        LAG(attempt) OVER (PARTITION BY request ORDER BY attempt) AS attempt_before,
                        LAG(epoch) OVER (PARTITION BY request ORDER BY attempt) AS epoch_before
                    FROM build) AS chain
                WHERE attempt <> COALESCE(attempt_before, 0) + 1 OR epoch <= COALESCE(epoch_before, 0)
                UNION ALL
                SELECT 'request ' || request.id || ' counts ' || request.attempts || ' attempts, epoch ' || request.epoch
                    || ', and its last build is attempt ' || COALESCE(build.attempt, 0) || ', epoch '
                    || COALESCE(build.epoch, 0)
                FROM request LEFT JOIN build ON build.request = request.id AND build.attempt = request.attempts
                WHERE request.attempts > 0 AND (build.id IS NULL OR build.epoch <> request.epoch)
            ) AS wrong LIMIT $1",
        ),
    },
    Rule {
        id: "request-outcome",
        proves: "a request that a build settled ended as that build did",
        safety: &["S10"],
        means: "what a request came to is not what its build came to",
        text: Same(
            "SELECT 'request ' || request.id || ' is ' || request.state || COALESCE(' with ' || request.outcome, '')
                || ', and its last build ' || build.id || ' ended with ' || build.outcome AS what
            FROM build JOIN request ON request.id = build.request AND request.attempts = build.attempt
            WHERE build.state = 'finished' AND build.outcome <> 'retry'
                AND request.outcome IS DISTINCT FROM build.outcome
            ORDER BY request.id LIMIT $1",
        ),
    },
    Rule {
        id: "build-buildset",
        proves: "a build belongs to the buildset of its request, on that buildset's branch",
        safety: &["S8", "S22"],
        means: "a build is shown, and blamed, where it does not belong",
        text: Same(
            "SELECT 'build ' || build.id || ' is of buildset ' || build.buildset || ' on ' || build.branch
                || ', and its request is of buildset ' || request.buildset || ' on ' || buildset.branch AS what
            FROM build JOIN request ON request.id = build.request JOIN buildset ON buildset.id = request.buildset
            WHERE build.buildset <> request.buildset OR build.branch <> buildset.branch OR build.builder <> request.builder
            ORDER BY build.id LIMIT $1",
        ),
    },
    Rule {
        id: "suspended",
        proves: "every build that waits for another buildset waits for one that is not over",
        safety: &["S12"],
        means: "the build waits for ever",
        text: Same(
            "SELECT 'build ' || build.id || ' is suspended, and ' || CASE
                    WHEN step.triggered IS NULL THEN 'no step of it set off a buildset'
                    WHEN buildset.id IS NULL THEN 'buildset ' || step.triggered || ' that it waits for is not there'
                    ELSE 'buildset ' || buildset.id || ' that it waits for ended with ' || buildset.outcome END AS what
            FROM build LEFT JOIN step ON step.build = build.id AND step.number = build.suspended_step
                LEFT JOIN buildset ON buildset.id = step.triggered
            WHERE build.state <> 'finished' AND build.state = 'suspended'
                AND (step.triggered IS NULL OR buildset.id IS NULL OR buildset.outcome IS NOT NULL)
            ORDER BY build.id LIMIT $1",
        ),
    },
];
