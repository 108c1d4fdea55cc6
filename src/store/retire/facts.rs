//! What is known of buildsets when their end is judged.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::{BuildId, Buildset, BuildsetId, Outcome, RefName, RepositoryName};
use gristmill_schedulers::retention::{BuildFacts, Facts, Referred};

use super::{limit, with_ids};
use crate::store::StoreError;
use crate::store::database::{Text, sql};
use crate::store::record::{Record, to_json};
use crate::store::tx::Ask;

const BUILDSETS: Text = with_ids!("SELECT id, body, outcome, completed_at FROM buildset WHERE id IN ", "");
/// Counts newer builds no further than `$2`.
const BUILDS: Text = with_ids!(
    "SELECT build.id, build.buildset, build.builder, build.finished_at,
        (SELECT COUNT(*) FROM (SELECT newer.id FROM build AS newer WHERE newer.builder = build.builder
            AND newer.branch = build.branch AND newer.id > build.id AND newer.state = 'finished' LIMIT $2) AS few) AS newer
    FROM build WHERE build.buildset IN ",
    ""
);
const CHILDREN: Text = with_ids!(
    "SELECT build.buildset AS buildset, step.triggered AS kin FROM build JOIN step ON step.build = build.id
    WHERE step.triggered IS NOT NULL AND build.buildset IN ",
    ""
);
const PARENTS: Text = with_ids!(
    "SELECT step.triggered AS buildset, build.buildset AS kin FROM step JOIN build ON build.id = step.build
    WHERE step.triggered IN ",
    ""
);
/// The newest that is noted of each pair is what the dependent scheduler will build on.
const USES: Text = with_ids!(
    "SELECT noted.buildset, noted.used_by,
        CASE WHEN noted.used_by IS NULL AND NOT EXISTS (SELECT 1 FROM upstream AS later
            WHERE later.scheduler = noted.scheduler AND later.upstream = noted.upstream
            AND later.used_by IS NULL AND later.noted > noted.noted) THEN 1 ELSE 0 END AS is_noted
    FROM upstream AS noted WHERE noted.buildset IN ",
    ""
);
const TIPS: &str = "SELECT COUNT(*) AS known, COUNT(revision) AS alive FROM ref_tip
    WHERE repository = $1 AND reference IN ($2, $3)";
const STANDING: Text = with_ids!("SELECT build FROM standing WHERE build IN ", "");
const INCIDENTS: &str = "SELECT first_build FROM incident WHERE closed_at IS NULL";
const INCIDENT_BUILDERS: &str = "SELECT incident_builder.broke_build, incident_builder.fixed_build
    FROM incident CROSS JOIN incident_builder
    WHERE incident.closed_at IS NULL AND incident_builder.incident = incident.id";

/// Reads facts, each once.
pub(super) struct Archive {
    last: u32,
    known: BTreeMap<BuildsetId, Facts>,
    gone: BTreeMap<(RepositoryName, String), Tips>,
}

#[derive(Clone, Copy)]
struct Tips {
    known: bool,
    alive: bool,
}

impl Archive {
    /// Makes one that counts newer builds up to `last`.
    pub(super) fn new(last: u32) -> Self {
        Self { last, known: BTreeMap::new(), gone: BTreeMap::new() }
    }

    /// Gives a buildset that was looked up.
    pub(super) fn find(&self, id: BuildsetId) -> Option<&Facts> {
        self.known.get(&id)
    }

    /// Gives a buildset's family; `None` if it is too large.
    pub(super) async fn family(
        &mut self,
        asked: &mut impl Ask,
        id: BuildsetId,
    ) -> Result<Option<BTreeMap<BuildsetId, Facts>>, StoreError> {
        let (mut family, mut seen, mut next) = (BTreeMap::new(), BTreeSet::from([id]), BTreeSet::from([id]));
        while !next.is_empty() {
            self.look_up(asked, &next).await?;
            // Kin whose row is not there has nothing to say.
            let found: Vec<(BuildsetId, Facts)> =
                next.iter().filter_map(|id| Some((*id, self.known.get(id)?.clone()))).collect();
            next =
                found.iter().flat_map(|(_, facts)| facts.kin.iter().copied()).filter(|id| seen.insert(*id)).collect();
            family.extend(found);
            if family.len() > limit::FAMILY {
                return Ok(None);
            }
        }
        Ok(Some(family))
    }

    /// Looks up what is not known yet.
    pub(super) async fn look_up(&mut self, asked: &mut impl Ask, ids: &BTreeSet<BuildsetId>) -> Result<(), StoreError> {
        let ids: Vec<i64> = ids.iter().filter(|id| !self.known.contains_key(id)).map(|id| id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let list = to_json(&ids);
        let mut found = BTreeMap::new();
        for row in &asked.rows("read buildsets", sql(BUILDSETS).bind(list.as_str())).await? {
            let row = Record::of("buildset", row);
            let facts = self.read(asked, row).await?;
            found.insert(row.id("id")?, facts);
        }
        for row in &asked.rows("read builds", sql(BUILDS).bind(list.as_str()).bind(self.last)).await? {
            let row = Record::of("build", row);
            let id: BuildId = row.id("id")?;
            let build = BuildFacts {
                builder: row.text("builder")?.into(),
                finished_at: row.time_maybe("finished_at")?,
                newer: row.count("newer")?,
            };
            of(&mut found, row.id("buildset")?, |facts| facts.builds.insert(id, build));
        }
        for text in [CHILDREN, PARENTS] {
            for row in &asked.rows("read what steps triggered", sql(text).bind(list.as_str())).await? {
                let row = Record::of("step", row);
                let kin = row.id("kin")?;
                of(&mut found, row.id("buildset")?, |facts| facts.kin.insert(kin));
            }
        }
        for row in &asked.rows("read what was built on", sql(USES).bind(list)).await? {
            let row = Record::of("upstream", row);
            let (used_by, is_noted) = (row.id_maybe::<BuildsetId>("used_by")?, row.flag("is_noted")?);
            of(&mut found, row.id("buildset")?, |facts| {
                facts.used_by.extend(used_by);
                facts.is_noted |= is_noted;
            });
        }
        self.known.append(&mut found);
        Ok(())
    }

    async fn read(&mut self, asked: &mut impl Ask, row: Record<'_>) -> Result<Facts, StoreError> {
        let buildset: Buildset = row.json("body")?;
        let branch_is_gone = self.branch_is_gone(asked, &buildset).await?;
        Ok(Facts {
            scheduler: buildset.scheduler,
            project: buildset.project,
            branch: buildset.branch,
            branch_is_gone,
            repositories: buildset.stamps.values().map(|stamp| stamp.repository.0.clone()).collect(),
            outcome: row.word_maybe("outcome", Outcome::parse)?,
            completed_at: row.time_maybe("completed_at")?,
            ..Facts::default()
        })
    }

    /// A branch that no repository ever told of is not gone: it was never there.
    async fn branch_is_gone(&mut self, asked: &mut impl Ask, buildset: &Buildset) -> Result<bool, StoreError> {
        let mut all = Tips { known: false, alive: false };
        for stamp in buildset.stamps.values().filter(|stamp| stamp.branch == buildset.branch) {
            let key = (stamp.repository.clone(), stamp.branch.clone());
            let tips = match self.gone.get(&key) {
                Some(tips) => *tips,
                None => {
                    let tips = tips_of(asked, &key).await?;
                    self.gone.insert(key, tips);
                    tips
                }
            };
            all = Tips { known: all.known || tips.known, alive: all.alive || tips.alive };
        }
        Ok(all.known && !all.alive)
    }
}

async fn tips_of(asked: &mut impl Ask, (repository, branch): &(RepositoryName, String)) -> Result<Tips, StoreError> {
    let tag = format!("refs/tags/{branch}");
    let look = sql(TIPS).bind(repository.as_str()).bind(RefName::of_branch(branch).as_str()).bind(tag);
    let rows = asked.rows("read a branch's tip", look).await?;
    let Some(row) = rows.first() else { return Ok(Tips { known: false, alive: false }) };
    let row = Record::of("ref_tip", row);
    Ok(Tips { known: row.int("known")? > 0, alive: row.int("alive")? > 0 })
}

fn of<R>(found: &mut BTreeMap<BuildsetId, Facts>, id: BuildsetId, change: impl FnOnce(&mut Facts) -> R) {
    if let Some(facts) = found.get_mut(&id) {
        change(facts);
    }
}

/// Gives those of `builds` that standings refer to, and all that open incidents do.
pub(super) async fn referred(asked: &mut impl Ask, builds: &[BuildId]) -> Result<Referred, StoreError> {
    let builds: Vec<i64> = builds.iter().map(|build| build.0).collect();
    let mut referred = Referred::new();
    for (statement, columns) in [
        (sql(STANDING).bind(to_json(&builds)), &["build"][..]),
        (sql(INCIDENTS), &["first_build"][..]),
        (sql(INCIDENT_BUILDERS), &["broke_build", "fixed_build"][..]),
    ] {
        for row in &asked.rows("read what refers to builds", statement).await? {
            let row = Record::of("standing", row);
            for column in columns {
                referred.extend(row.id_maybe::<BuildId>(column)?);
            }
        }
    }
    Ok(referred)
}

#[cfg(test)]
crate::store::database::statements![
    BUILDSETS,
    BUILDS,
    CHILDREN,
    PARENTS,
    USES,
    TIPS,
    STANDING,
    INCIDENTS,
    INCIDENT_BUILDERS
];
