//! Incidents, standings and the outbox.

use super::Rule;
use crate::store::database::Text::Same;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "incidents",
        proves: "every builder that an open incident lists as broken stands broken under that incident, and the other way",
        safety: &["S5"],
        means: "an incident is never closed, or is closed by somebody else's build",
        text: Same(
            "SELECT what FROM (
                SELECT 'incident ' || incident.id || ' lists ' || broken.builder || ' as broken, and its standing on '
                    || incident.branch || ' ' || COALESCE('belongs to incident ' || standing.incident, 'belongs to none') AS what
                FROM incident JOIN incident_builder AS broken ON broken.incident = incident.id
                    LEFT JOIN standing ON standing.builder = broken.builder AND standing.branch = incident.branch
                WHERE incident.closed_at IS NULL AND broken.fixed_build IS NULL
                    AND standing.incident IS DISTINCT FROM incident.id
                UNION ALL
                SELECT standing.builder || ' on ' || standing.branch || ' belongs to incident ' || standing.incident
                    || ', which does not list it as broken'
                FROM standing LEFT JOIN incident_builder AS broken
                    ON broken.incident = standing.incident AND broken.builder = standing.builder
                WHERE standing.incident IS NOT NULL AND (broken.incident IS NULL OR broken.fixed_build IS NOT NULL)
                UNION ALL
                SELECT 'incident ' || incident.id || ' lists no builder' FROM incident
                    LEFT JOIN incident_builder AS broken ON broken.incident = incident.id
                WHERE broken.incident IS NULL
            ) AS wrong LIMIT $1",
        ),
    },
    Rule {
        id: "outbox",
        proves: "every message tells of an event that the announcer has passed, under a key of its own",
        safety: &["S17", "S28"],
        means: "somebody was told of what did not happen, or will be told of it twice",
        text: Same(
            "SELECT what FROM (
                SELECT 'message ' || id || ' tells of event ' || event || ', and the announcer has read up to '
                    || COALESCE((SELECT seq FROM cursor WHERE consumer = 'announcer'), 0) AS what
                FROM outbox WHERE event > COALESCE((SELECT seq FROM cursor WHERE consumer = 'announcer'), 0)
                UNION ALL
                SELECT COUNT(*) || ' messages have the key ' || key FROM outbox GROUP BY key HAVING COUNT(*) > 1
                UNION ALL
                SELECT 'message ' || id || ' is ' || state || ', and is being sent' FROM outbox
                WHERE state <> 'due' AND claimed <> 0
            ) AS wrong LIMIT $1",
        ),
    },
];
