//! Everything but buildsets: messages, incidents, changes, deliveries, answers, events, configurations.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill_model::{
    BuildId, BuilderOnBranch, BuildsetId, CatalogHash, ChangeId, RepositoryName, Suspects, Timestamp,
};

use super::{Found, Order, Retired, delete, limit, raise_floor, with_ids};
use crate::store::StoreError;
use crate::store::database::{Row, Text, sql};
use crate::store::read::{ReadError, Reader};
use crate::store::record::{Record, to_json};
use crate::store::tx::{Ask, Tx};

/// How long an answer is kept for a caller who repeats the request.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long a delivery is known, so that its repetition by the forge is noticed. Forges repeat for three days.
pub const DELIVERIES_KNOWN: Duration = Duration::from_secs(30 * 86_400);

// Each list is a bounded piece of the table in the order of its numbers, which is that of its times: it is read no further
// than to the first row that is young, and what of it may go is said for each row.
const MESSAGES: &str = "SELECT id, at, CASE WHEN state <> 'due' AND NOT EXISTS
        (SELECT 1 FROM incident WHERE incident.id = outbox.incident AND incident.closed_at IS NULL)
        THEN 1 ELSE 0 END AS is_free
    FROM outbox WHERE id > $1 ORDER BY id LIMIT $2";
const DELETE_MESSAGES: Text = with_ids!("DELETE FROM outbox WHERE id IN ", "");
/// An incident is the thread of its messages, so it stays as long as they do.
const INCIDENTS: &str = "SELECT id, opened_at AS at, closed_at, CASE WHEN closed_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.incident = incident.id)
        AND NOT EXISTS (SELECT 1 FROM standing WHERE standing.incident = incident.id)
        THEN 1 ELSE 0 END AS is_free
    FROM incident WHERE id > $1 ORDER BY id LIMIT $2";
const DELETE_INCIDENT_BUILDERS: Text = with_ids!("DELETE FROM incident_builder WHERE incident IN ", "");
const DELETE_INCIDENTS: Text = with_ids!("DELETE FROM incident WHERE id IN ", "");
/// Whether no row names a change.
macro_rules! unnamed {
    () => {
        "NOT EXISTS (SELECT 1 FROM ref_tip WHERE ref_tip.repository = change.repository
            AND ref_tip.reference = change.reference AND ref_tip.change = change.id)
        AND NOT EXISTS (SELECT 1 FROM buildset_change WHERE buildset_change.change = change.id)
        AND NOT EXISTS (SELECT 1 FROM verdict WHERE verdict.change = change.id AND verdict.kind = 'held')"
    };
}
const CHANGES: &str = concat!(
    "SELECT id, repository, branch, at, CASE WHEN ",
    unnamed!(),
    " THEN 1 ELSE 0 END AS is_free FROM change WHERE id > $1 ORDER BY id LIMIT $2"
);
const CHANGES_STILL: Text =
    with_ids!(concat!("SELECT id, repository, branch FROM change WHERE ", unnamed!(), " AND id IN "), "");
const GOOD: &str = "SELECT good FROM standing";
const SUSPECTS: &str = "SELECT suspects FROM incident WHERE closed_at IS NULL";
const DELETE_VERDICTS: Text = with_ids!("DELETE FROM verdict WHERE change IN ", "");
const DELETE_CHANGES: Text = with_ids!("DELETE FROM change WHERE id IN ", "");
/// Bodies may be large, and are not read.
const DELIVERY_BODIES: &str = "SELECT delivery.id, delivery.at,
        CASE WHEN delivery.result IS NOT NULL THEN 1 ELSE 0 END AS is_free
    FROM (SELECT delivery FROM delivery_body WHERE delivery > $1 ORDER BY delivery LIMIT $2) AS body
        JOIN delivery ON delivery.id = body.delivery ORDER BY delivery.id";
const DELETE_DELIVERY_BODIES: Text = with_ids!("DELETE FROM delivery_body WHERE delivery IN ", "");
const DELIVERIES: &str = "SELECT id, at, CASE WHEN result IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM delivery_body WHERE delivery_body.delivery = delivery.id)
        THEN 1 ELSE 0 END AS is_free
    FROM delivery WHERE id > $1 ORDER BY id LIMIT $2";
const DELETE_DELIVERIES: Text = with_ids!("DELETE FROM delivery WHERE id IN ", "");
const DELETE_ANSWERS: &str =
    "DELETE FROM answer WHERE key IN (SELECT key FROM answer WHERE at < $1 ORDER BY at LIMIT $2)";
/// What no follower has read yet stays, and so does the last event.
const EVENTS: &str = "SELECT seq, at FROM event WHERE seq <= (SELECT MIN(cursor.seq) FROM cursor)
    AND seq < (SELECT journal_head.seq FROM journal_head WHERE one = 1) ORDER BY seq LIMIT $1";
const DELETE_EVENTS: &str = "DELETE FROM event WHERE seq <= $1";
const CATALOGS: &str = "SELECT hash FROM catalog WHERE active = 0 AND at < $1 ORDER BY at LIMIT $2";
const DELETE_CATALOG: &str = "DELETE FROM catalog WHERE hash = $1 AND active = 0";
const DELETE_CATALOG_TEXT: &str = "DELETE FROM catalog_text WHERE hash = $1";

/// Changes below `$2` that the stamps of buildsets after `$1` name.
const STAMPED: Text = Text::Each {
    sqlite: "SELECT DISTINCT json_extract(stamp.value, '$.change') AS change
        FROM buildset, json_each(buildset.body, '$.stamps') AS stamp
        WHERE buildset.id > $1 AND json_extract(stamp.value, '$.change') < $2",
    postgres: "SELECT DISTINCT CAST(stamp.value ->> 'change' AS BIGINT) AS change
        FROM buildset CROSS JOIN json_each(CAST(buildset.body AS json) -> 'stamps') AS stamp
        WHERE buildset.id > $1 AND CAST(stamp.value ->> 'change' AS BIGINT) < $2",
};
const CATALOGS_USED: Text = Text::Each {
    sqlite: "SELECT DISTINCT json_extract(body, '$.catalog') AS hash FROM buildset WHERE id > $1",
    postgres: "SELECT DISTINCT CAST(body AS json) ->> 'catalog' AS hash FROM buildset WHERE id > $1",
};
const NEWEST_OLD_CHANGE: &str = "SELECT COALESCE(MAX(id), 0) AS id FROM change WHERE at < $1";
const NEWEST_BUILD: &str = "SELECT COALESCE(MAX(id), 0) AS id FROM build";
const WITH_LOGS: Text = with_ids!("SELECT id FROM build WHERE logs_retired_at IS NULL AND id IN ", "");
const LOGS_RETIRED_AT: &str = "SELECT logs_retired_at FROM build WHERE id = $1";
const NEWEST_BUILDSET: &str = "SELECT COALESCE(MAX(id), 0) AS id FROM buildset";
/// A name is gone once no repository has a branch or a tag of it any more. The change that a tip went with is kept.
const STANDINGS: &str = "SELECT standing.builder, standing.branch
    FROM (SELECT CASE WHEN substr(ref_tip.reference, 1, 11) = 'refs/heads/' THEN substr(ref_tip.reference, 12)
                WHEN substr(ref_tip.reference, 1, 10) = 'refs/tags/' THEN substr(ref_tip.reference, 11) ELSE ref_tip.reference END AS branch,
            COUNT(ref_tip.revision) AS alive, MAX(change.at) AS gone_at
        FROM ref_tip LEFT JOIN change ON change.id = ref_tip.change GROUP BY 1) AS name
        JOIN standing ON standing.branch = name.branch
    WHERE name.alive = 0 AND name.gone_at < $1 AND standing.at < $1 AND standing.incident IS NULL
    ORDER BY standing.branch, standing.builder LIMIT $2";
const RECIPES: &str = "SELECT digest FROM recipe
    WHERE NOT EXISTS (SELECT 1 FROM request WHERE request.recipe = recipe.digest) ORDER BY digest LIMIT $1";

/// What buildsets refer to inside their texts, where no index finds it: read beforehand, without holding up turns, up to
/// a buildset; those that were made since are looked at when something is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InUse {
    /// The newest buildset that was read.
    pub upto: BuildsetId,
    /// Old changes that stamps name.
    pub changes: BTreeSet<ChangeId>,
    /// Configurations under which buildsets were made.
    pub catalogs: BTreeSet<String>,
}

impl Reader {
    /// Reads what buildsets refer to inside their texts; of changes, those from before `changes_before`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn in_use(&self, changes_before: Timestamp) -> Result<InUse, ReadError> {
        let newest = sql(NEWEST_BUILDSET).fetch_one(self.pool()).await?;
        let below = sql(NEWEST_OLD_CHANGE).bind(changes_before.0).fetch_one(self.pool()).await?;
        let mut in_use = InUse { upto: BuildsetId(newest.value("id")?), ..InUse::default() };
        let below = below.value::<i64>("id")?.saturating_add(1);
        for row in sql(STAMPED).bind(0_i64).bind(below).fetch_all(self.pool()).await? {
            in_use.changes.insert(ChangeId(row.value("change")?));
        }
        for row in sql(CATALOGS_USED).bind(0_i64).fetch_all(self.pool()).await? {
            in_use.catalogs.insert(row.value("hash")?);
        }
        Ok(in_use)
    }

    /// Gives the newest build; 0 if there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn newest_build(&self) -> Result<BuildId, ReadError> {
        Ok(BuildId(sql(NEWEST_BUILD).fetch_one(self.pool()).await?.value("id")?))
    }

    /// Gives those of `builds` that are stored, and whose logs are kept.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn builds_with_logs(&self, builds: &[BuildId]) -> Result<BTreeSet<BuildId>, ReadError> {
        let ids: Vec<i64> = builds.iter().map(|id| id.0).collect();
        let rows = sql(WITH_LOGS).bind(to_json(&ids)).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(BuildId(row.value("id")?))).collect()
    }

    /// Says when a build's logs were retired; `None` if they were not, or if there is no such build.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn logs_retired_at(&self, build: BuildId) -> Result<Option<Timestamp>, ReadError> {
        let row = sql(LOGS_RETIRED_AT).bind(build.0).fetch_optional(self.pool()).await?;
        Ok(row.map(|row| row.maybe("logs_retired_at")).transpose()?.flatten().map(Timestamp))
    }

    /// Lists recipes that no request refers to, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn idle_recipes(&self, limit: u32) -> Result<Vec<gristmill_model::Digest>, ReadError> {
        let rows = sql(RECIPES).bind(limit).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(row.value::<String>("digest")?.into())).collect()
    }
}

impl Reader {
    /// Lists standings on branches that have been gone since before a time, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn standings_of_gone(&self, before: Timestamp, limit: u32) -> Result<Vec<BuilderOnBranch>, ReadError> {
        let rows = sql(STANDINGS).bind(before.0).bind(limit).fetch_all(self.pool()).await?;
        rows.iter()
            .map(|row| {
                Ok(BuilderOnBranch { builder: row.value::<String>("builder")?.into(), branch: row.value("branch")? })
            })
            .collect()
    }
}

/// Gives the rows of a bounded piece of a table that come before the first one that is young, and where the next call
/// goes on.
async fn list_old(
    asked: &mut impl Ask,
    text: &'static str,
    after: i64,
    before: Timestamp,
) -> Result<(Vec<Row>, Option<i64>), StoreError> {
    let mut rows = asked.rows("list what is old", sql(text).bind(after).bind(limit::ROWS)).await?;
    let mut next = None;
    for (index, row) in rows.iter().enumerate() {
        let row = Record::of("row", row);
        if row.time("at")? >= before {
            rows.truncate(index);
            return Ok((rows, None));
        }
        next = Some(row.int("id")?);
    }
    Ok((rows, next))
}

/// Gives the numbers of those rows that may go.
fn free(rows: &[Row]) -> Result<Vec<i64>, StoreError> {
    let rows = rows.iter().map(|row| Record::of("row", row));
    rows.filter_map(|row| match row.flag("is_free") {
        Ok(true) => Some(row.int("id")),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    })
    .collect()
}

/// The same of what goes by its age and one condition.
async fn find(
    tx: &mut Tx<'_>,
    text: &'static str,
    after: i64,
    before: Timestamp,
) -> Result<(Vec<i64>, Retired), StoreError> {
    let (rows, next) = list_old(tx, text, after, before).await?;
    Ok((free(&rows)?, Retired { next, ..Retired::default() }))
}

pub(super) async fn messages(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let (ids, mut retired) = find(tx, MESSAGES, order.after, order.now.before(order.rules.messages)).await?;
    retired.count("messages", delete(tx, "outbox", DELETE_MESSAGES, &ids).await?);
    raise_floor(tx, "message", &ids).await?;
    Ok(retired)
}

/// They were opened in the order of their numbers, and closed in any.
pub(super) async fn incidents(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let before = order.now.before(order.rules.builds);
    let (mut rows, next) = list_old(tx, INCIDENTS, order.after, before).await?;
    let mut retired = Retired { next, ..Retired::default() };
    let mut young = BTreeSet::new();
    for row in &rows {
        let row = Record::of("incident", row);
        if row.time_maybe("closed_at")?.is_none_or(|closed_at| closed_at >= before) {
            young.insert(row.int("id")?);
        }
    }
    rows.retain(|row| Record::of("incident", row).int("id").is_ok_and(|id| !young.contains(&id)));
    let ids = free(&rows)?;
    delete(tx, "incident_builder", DELETE_INCIDENT_BUILDERS, &ids).await?;
    retired.count("incidents", delete(tx, "incident", DELETE_INCIDENTS, &ids).await?);
    raise_floor(tx, "incident", &ids).await?;
    Ok(retired)
}

/// Looks for changes that may go.
pub(super) async fn find_changes(asked: &mut impl Ask, order: &Order) -> Result<Found, StoreError> {
    let before = order.now.before(order.rules.changes);
    let (rows, next) = list_old(asked, CHANGES, order.after, before).await?;
    let unnamed: BTreeSet<i64> = free(&rows)?.into_iter().collect();
    let mut used = Used::read(asked, &order.in_use).await?;
    used.add_standings(asked).await?;
    let mut free = used.leaves(&rows)?;
    free.retain(|id| unnamed.contains(id));
    let batches = if free.is_empty() { Vec::new() } else { vec![free] };
    Ok(Found { batches, next })
}

/// Deletes those of a batch that may go still: nothing that came since names them. A standing that has turned since names
/// what its build was made from, which is known.
pub(super) async fn changes(tx: &mut Tx<'_>, order: &Order, batch: &[i64]) -> Result<Retired, StoreError> {
    let rows = tx.rows("list changes", sql(CHANGES_STILL).bind(to_json(&batch))).await?;
    let free = Used::read(tx, &order.in_use).await?.leaves(&rows)?;
    let mut retired = Retired::default();
    retired.count("verdicts", delete(tx, "verdict", DELETE_VERDICTS, &free).await?);
    retired.count("changes", delete(tx, "change", DELETE_CHANGES, &free).await?);
    raise_floor(tx, "change", &free).await?;
    Ok(retired)
}

/// The changes that standings, open incidents and buildsets name.
struct Used<'o> {
    by_buildsets: &'o BTreeSet<ChangeId>,
    changes: BTreeSet<ChangeId>,
    ranges: Vec<Suspects>,
}

impl<'o> Used<'o> {
    async fn read(asked: &mut impl Ask, in_use: &'o InUse) -> Result<Self, StoreError> {
        let mut changes = BTreeSet::new();
        let since = sql(STAMPED).bind(in_use.upto.0).bind(i64::MAX);
        for row in &asked.rows("read the stamps of new buildsets", since).await? {
            changes.insert(Record::of("buildset", row).id("change")?);
        }
        let rows = asked.rows("read open incidents", sql(SUSPECTS)).await?;
        let ranges = rows.iter().map(|row| Record::of("incident", row).json("suspects"));
        Ok(Self { by_buildsets: &in_use.changes, changes, ranges: ranges.collect::<Result<_, _>>()? })
    }

    async fn add_standings(&mut self, asked: &mut impl Ask) -> Result<(), StoreError> {
        for row in &asked.rows("read standings", sql(GOOD)).await? {
            let good: std::collections::BTreeMap<RepositoryName, ChangeId> =
                Record::of("standing", row).json("good")?;
            self.changes.extend(good.into_values());
        }
        Ok(())
    }

    /// Gives the rows that it does not name.
    fn leaves(&self, rows: &[Row]) -> Result<Vec<i64>, StoreError> {
        let mut left = Vec::new();
        for row in rows {
            let row = Record::of("change", row);
            let id: ChangeId = row.id("id")?;
            if !self.names(id, &row.text("repository")?.into(), &row.text("branch")?) {
                left.push(id.0);
            }
        }
        Ok(left)
    }

    fn names(&self, id: ChangeId, repository: &RepositoryName, branch: &str) -> bool {
        let is_suspect = |suspects: &Suspects| {
            suspects
                .get(repository)
                .is_some_and(|range| range.branch == branch && range.after <= id && id <= range.upto)
        };
        self.by_buildsets.contains(&id) || self.changes.contains(&id) || self.ranges.iter().any(is_suspect)
    }
}

pub(super) async fn delivery_bodies(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let before = order.now.before(order.rules.deliveries);
    let (ids, mut retired) = find(tx, DELIVERY_BODIES, order.after, before).await?;
    retired.count("delivery bodies", delete(tx, "delivery_body", DELETE_DELIVERY_BODIES, &ids).await?);
    Ok(retired)
}

pub(super) async fn deliveries(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let before = order.now.before(DELIVERIES_KNOWN.max(order.rules.deliveries));
    let (ids, mut retired) = find(tx, DELIVERIES, order.after, before).await?;
    retired.count("deliveries", delete(tx, "delivery", DELETE_DELIVERIES, &ids).await?);
    raise_floor(tx, "delivery", &ids).await?;
    Ok(retired)
}

pub(super) async fn answers(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let before = order.now.before(ANSWERS_KEPT);
    let deleted = tx.any("answer", "to be retired", sql(DELETE_ANSWERS).bind(before.0).bind(limit::ROWS)).await?;
    let mut retired = Retired { next: (deleted > 0).then_some(0), ..Retired::default() };
    retired.count("answers", deleted);
    Ok(retired)
}

pub(super) async fn events(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let before = order.now.before(order.rules.events);
    let rows = tx.rows("list events", sql(EVENTS).bind(limit::ROWS)).await?;
    let mut upto = None;
    for row in &rows {
        let row = Record::of("event", row);
        if row.time("at")? >= before {
            break;
        }
        upto = Some(row.int("seq")?);
    }
    let mut retired = Retired { next: upto, ..Retired::default() };
    if let Some(upto) = upto {
        retired.count("events", tx.any("event", upto, sql(DELETE_EVENTS).bind(upto)).await?);
    }
    Ok(retired)
}

pub(super) async fn catalogs(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let before = order.now.before(order.rules.builds);
    let rows = tx.rows("list configurations", sql(CATALOGS).bind(before.0).bind(limit::ROWS)).await?;
    let mut used = order.in_use.catalogs.clone();
    let since = sql(CATALOGS_USED).bind(order.in_use.upto.0);
    for row in &tx.rows("read the configurations of new buildsets", since).await? {
        used.insert(Record::of("buildset", row).text("hash")?);
    }
    let mut retired = Retired::default();
    for row in &rows {
        let hash: CatalogHash = Record::of("catalog", row).text("hash")?.into();
        if used.contains(hash.as_str()) {
            continue;
        }
        tx.one("catalog", &hash, sql(DELETE_CATALOG).bind(hash.as_str())).await?;
        tx.one("catalog_text", &hash, sql(DELETE_CATALOG_TEXT).bind(hash.as_str())).await?;
        retired.count("configurations", 1);
    }
    Ok(retired)
}

#[cfg(test)]
crate::store::database::statements![
    MESSAGES,
    DELETE_MESSAGES,
    INCIDENTS,
    DELETE_INCIDENT_BUILDERS,
    DELETE_INCIDENTS,
    CHANGES,
    CHANGES_STILL,
    GOOD,
    SUSPECTS,
    DELETE_VERDICTS,
    DELETE_CHANGES,
    DELIVERY_BODIES,
    DELETE_DELIVERY_BODIES,
    DELIVERIES,
    DELETE_DELIVERIES,
    DELETE_ANSWERS,
    EVENTS,
    DELETE_EVENTS,
    CATALOGS,
    DELETE_CATALOG,
    DELETE_CATALOG_TEXT,
    STAMPED,
    CATALOGS_USED,
    NEWEST_OLD_CHANGE,
    NEWEST_BUILD,
    WITH_LOGS,
    LOGS_RETIRED_AT,
    NEWEST_BUILDSET,
    STANDINGS,
    RECIPES
];
