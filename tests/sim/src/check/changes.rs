//! Changes and verdicts: S2, S3, S4, S5, S20, S28.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_model::{
    Buildset, Change, ChangeId, EventBody, Quiet, RequestState, SchedulerKind, SchedulerName, Suspects, Timestamp,
    Transition, Trigger, Verdict, VerdictKind,
};

use super::{Checked, Checker, must};
use crate::config::Config;
use crate::store::Store;

/// What a scheduler should make of a change when it first sees it.
#[derive(Debug, PartialEq, Eq)]
enum Opinion {
    Nothing,
    Hold(Option<Timestamp>),
    /// Build, or hold until a tip is known.
    Build,
}

impl Checker {
    /// S2: a change begins where its ref is, moves it, and is numbered without gaps.
    pub(super) fn s2_change(&mut self, store: &Store, change: &Change) -> Checked {
        self.count("S2");
        let key = (change.repository.clone(), change.reference.clone());
        let (tip, seq, _) = store.rows.tips.get(&key).cloned().unwrap_or_default();
        must(change.old == tip && change.seq == seq + 1 && change.new != change.old, "S2", || {
            format!(
                "change {} of {} goes from {:?} to {:?} as number {}, and the tip is {tip:?} as number {seq}",
                change.id, change.reference, change.old, change.new, change.seq
            )
        })?;
        let config = self.in_force()?;
        self.turn.changes.push((change.id, config));
        Ok(())
    }

    /// S3: a verdict is the first, or replaces one that held; and it is what the scheduler's wish says. S4: what is held is
    /// let go for nothing only if it can never be built.
    pub(super) fn s3_verdict(&mut self, store: &Store, verdict: &Verdict) -> Checked {
        self.count("S3");
        let config = self.in_force()?;
        let change = store.rows.changes.get(&verdict.change).cloned();
        let change =
            change.ok_or_else(|| super::Violation::new("S3", format!("change {} is unknown", verdict.change)))?;
        let before = store.rows.verdicts.get(&(verdict.change, verdict.scheduler.clone()));
        let found = format!("{} makes {} of change {}", verdict.scheduler, verdict.kind.as_str(), change.id);
        if let VerdictKind::Built { buildset } = &verdict.kind {
            let row = store.rows.buildsets.get(buildset);
            let contains = row.is_some_and(|row| match &row.buildset.trigger {
                Trigger::Changes { changes } | Trigger::Time { changes, .. } => changes.contains(&change.id),
                _ => false,
            });
            must(contains, "S5", || format!("{found}, and buildset {buildset} does not contain it"))?;
        }
        match before.map(|before| &before.kind) {
            Some(VerdictKind::Held { .. }) => self.s4_held(&config, &change, verdict, &found),
            Some(_) => must(false, "S3", || format!("{found} a second time")),
            None => self.s3_first(store, &config, &change, verdict, &found),
        }
    }

    fn s3_first(&mut self, store: &Store, config: &Config, change: &Change, verdict: &Verdict, found: &str) -> Checked {
        let wanted = opinion(store, config, change, &verdict.scheduler, verdict.at);
        self.count("S20");
        let fits = match (&wanted, &verdict.kind) {
            (Opinion::Nothing, VerdictKind::Nothing) | (Opinion::Build, VerdictKind::Built { .. }) => true,
            (Opinion::Build, VerdictKind::Held { until: None, .. }) => true,
            (Opinion::Hold(wanted), VerdictKind::Held { until, .. }) => wanted == until,
            _ => false,
        };
        let rule =
            if matches!((&wanted, &verdict.kind), (Opinion::Hold(_), VerdictKind::Held { .. })) { "S20" } else { "S3" };
        must(fits, rule, || format!("{found}: {:?}, and {wanted:?} is right", verdict.kind))
    }

    fn s4_held(&mut self, config: &Config, change: &Change, verdict: &Verdict, found: &str) -> Checked {
        self.count("S4");
        let is_lost = match config.catalog.schedulers.get(&verdict.scheduler).map(|scheduler| &scheduler.kind) {
            None => true,
            Some(SchedulerKind::Branch { .. } | SchedulerKind::AnyBranch { .. }) => false,
            Some(SchedulerKind::Periodic { target, .. } | SchedulerKind::Nightly { target, .. }) => {
                target.repository != change.repository || target.branch != change.reference.short()
            }
            Some(_) => true,
        };
        match &verdict.kind {
            VerdictKind::Nothing => must(is_lost, "S4", || format!("{found}, which it held and could build")),
            VerdictKind::Held { until, .. } => {
                must(until.is_none(), "S20", || format!("{found} once more, until later"))
            }
            VerdictKind::Built { .. } => Ok(()),
        }
    }

    /// S3: every scheduler that was there has said something about every change.
    pub(super) fn s3_every_scheduler(&mut self, store: &Store, changes: &[(ChangeId, Arc<Config>)]) -> Checked {
        for (change, config) in changes {
            for scheduler in config.catalog.schedulers.keys() {
                self.count("S28");
                must(store.rows.verdicts.contains_key(&(*change, scheduler.clone())), "S28", || {
                    format!("{scheduler} says nothing about change {change}")
                })?;
            }
        }
        Ok(())
    }

    /// S20, L1: what was held is built when its branch has been quiet for long enough.
    pub(super) fn s20_nothing_overdue(&mut self, store: &Store, config: &Config, now: Timestamp) -> Checked {
        self.count("S20");
        let mut newest: BTreeMap<(&SchedulerName, &str, &str), Option<Timestamp>> = BTreeMap::new();
        for (scheduler, change) in &store.rows.held {
            let VerdictKind::Held { until, repository, branch, .. } =
                &store.rows.verdicts[&(*change, scheduler.clone())].kind
            else {
                continue;
            };
            newest.insert((scheduler, repository.as_str(), branch), *until);
        }
        for ((scheduler, repository, branch), until) in newest {
            let kind = config.catalog.schedulers.get(scheduler).map(|scheduler| &scheduler.kind);
            let judges = matches!(kind, Some(SchedulerKind::Branch { .. } | SchedulerKind::AnyBranch { .. }));
            must(!judges || until.is_none_or(|until| until > now), "S20", || {
                format!("{scheduler} holds what came on {branch} of {repository} although it was due")
            })?;
        }
        Ok(())
    }

    /// S5: a buildset contains all that was held of its branch.
    pub(super) fn s5_trigger(&mut self, store: &Store, buildset: &Buildset) -> Checked {
        let (Trigger::Changes { changes } | Trigger::Time { changes, .. }) = &buildset.trigger else { return Ok(()) };
        self.count("S5");
        let name = &buildset.scheduler;
        let is_new = |change: &ChangeId| !store.rows.verdicts.contains_key(&(*change, name.clone()));
        if let ([one], Trigger::Changes { .. }) = (changes.as_slice(), &buildset.trigger)
            && is_new(one)
        {
            return Ok(());
        }
        let config = self.in_force()?;
        let kind = config.catalog.schedulers.get(name).map(|scheduler| &scheduler.kind);
        let target = match kind {
            Some(SchedulerKind::Periodic { target, .. } | SchedulerKind::Nightly { target, .. }) => {
                Some((target.repository.clone(), target.branch.clone()))
            }
            _ => {
                let first = changes.first().and_then(|change| store.rows.changes.get(change));
                first.map(|change| (change.repository.clone(), change.reference.short().to_owned()))
            }
        };
        let held = store.rows.held.range((name.clone(), ChangeId(0))..).take_while(|(scheduler, _)| scheduler == name);
        let of_branch = held.map(|(_, change)| *change).filter(|change| {
            let change = &store.rows.changes[change];
            target.as_ref().is_some_and(|(repository, branch)| {
                change.repository == *repository && change.reference.short() == branch
            })
        });
        let wanted: Vec<ChangeId> = of_branch.collect();
        must(*changes == wanted, "S5", || {
            format!("buildset {} of {name} is of changes {changes:?}, and {wanted:?} were held", buildset.id)
        })
    }

    /// S5: who may have broken something is counted from the last good build.
    pub(super) fn s5_blame(&mut self, store: &Store, body: &EventBody) -> Checked {
        self.count("S5");
        match body {
            EventBody::BuilderTurned { builder, branch, transition, outcome, build, contains, .. } => {
                let key = (builder.clone(), branch.clone());
                let was_bad = store.rows.standings.get(&key).is_some_and(|row| row.outcome.is_bad());
                let wanted = match (was_bad, outcome.is_bad()) {
                    (false, true) => Transition::Broke,
                    (true, true) => Transition::StillFailing,
                    (true, false) => Transition::Fixed,
                    (false, false) => Transition::Passing,
                };
                must(*transition == wanted, "S5", || {
                    format!("{builder} on {branch} is {transition}, and should be {wanted}")
                })?;
                if outcome.is_good() {
                    let found =
                        contained(store, *build).into_iter().map(|(name, (_, change))| (name, change)).collect();
                    must(found == *contains, "S5", || format!("build {build} contains {found:?}, not {contains:?}"))?;
                    self.good.insert(key, found);
                }
                Ok(())
            }
            EventBody::IncidentOpened { incident, branch, builder, build, suspects } => {
                let wanted = self.suspects(store, *build, &(builder.clone(), branch.clone()));
                must(wanted == *suspects, "S5", || format!("incident {incident} suspects {suspects:?}, not {wanted:?}"))
            }
            EventBody::IncidentJoined { incident, builder, build, suspects } => {
                let row = &store.rows.incidents[incident];
                let mine = self.suspects(store, *build, &(builder.clone(), row.branch.clone()));
                let within = |all: &Suspects| {
                    let covers = |(name, range): (_, &gristmill_model::SuspectRange)| {
                        all.get(name).is_some_and(|whole| whole.after <= range.after && range.upto <= whole.upto)
                    };
                    !suspects.is_empty() && suspects.iter().all(covers)
                };
                must(within(&mine) && within(&row.suspects), "S5", || {
                    format!(
                        "incident {incident} with {builder} suspects {suspects:?}, and not what both do: {mine:?} and {:?}",
                        row.suspects
                    )
                })
            }
            _ => Ok(()),
        }
    }

    fn suspects(
        &self,
        store: &Store,
        build: gristmill_model::BuildId,
        key: &(gristmill_model::BuilderName, String),
    ) -> Suspects {
        let good = self.good.get(key).filter(|good| !good.is_empty());
        let buildset = &store.rows.buildsets[&store.rows.builds[&build].build.buildset].buildset;
        let own: &[ChangeId] = match &buildset.trigger {
            Trigger::Changes { changes } | Trigger::Time { changes, .. } => changes,
            _ => &[],
        };
        let mut all = Suspects::new();
        for (repository, (branch, upto)) in contained(store, build) {
            let after = match good {
                Some(good) => good.get(&repository).copied().unwrap_or(ChangeId(0)),
                None if own.contains(&upto) => ChangeId(own[0].0 - 1),
                None => ChangeId(upto.0 - 1),
            };
            if after < upto {
                all.insert(repository, gristmill_model::SuspectRange { branch, after, upto });
            }
        }
        all
    }

    /// S28: nothing is counted twice or not at all.
    pub(crate) fn s28_conservation(&mut self, store: &Store) -> Checked {
        self.count("S28");
        let rows = &store.rows;
        let leased = |row: &&gristmill_model::Request| row.state == RequestState::Leased;
        let (mut leases, mut open) = (0, 0);
        for id in &rows.open_buildsets {
            let row = &rows.buildsets[id];
            let requests = || row.requests.iter().map(|request| &rows.requests[request]);
            let left = requests().filter(|request| request.state != RequestState::Settled).count();
            must(left == row.remaining, "S28", || {
                format!("buildset {id} counts {}, and {left} are open", row.remaining)
            })?;
            leases += requests().filter(leased).count();
            open += left;
        }
        let all_open = rows.requests.values().filter(|request| request.state != RequestState::Settled).count();
        must(open == all_open, "S28", || format!("{all_open} requests are open, {open} of them in open buildsets"))?;
        must(leases == rows.open_builds.len(), "S28", || {
            format!("{leases} requests are leased, and {} builds are open", rows.open_builds.len())
        })?;
        let held = rows.verdicts.values().filter(|verdict| matches!(verdict.kind, VerdictKind::Held { .. })).count();
        must(held == rows.held.len(), "S28", || format!("{held} verdicts hold, {} are known", rows.held.len()))
    }
}

/// What a build used: per repository the branch and the newest change.
fn contained(
    store: &Store,
    build: gristmill_model::BuildId,
) -> BTreeMap<gristmill_model::RepositoryName, (String, ChangeId)> {
    let build = &store.rows.builds[&build].build;
    let recipe = &store.rows.recipes[&store.rows.requests[&build.request].recipe];
    let stamps = &store.rows.buildsets[&build.buildset].buildset.stamps;
    let used = recipe.sources.keys().filter_map(|codebase| stamps.get(codebase));
    used.filter_map(|stamp| Some((stamp.repository.clone(), (stamp.branch.clone(), stamp.change?)))).collect()
}

/// What a scheduler should make of a change, by its wish.
fn opinion(store: &Store, config: &Config, change: &Change, name: &SchedulerName, now: Timestamp) -> Opinion {
    let (Some(scheduler), Some(wish)) = (config.catalog.schedulers.get(name), config.wishes.get(name)) else {
        return Opinion::Nothing;
    };
    let builders = scheduler.graph.values().map(|node| &config.catalog.builders[&node.builder]);
    let uses =
        builders.flat_map(|builder| builder.recipe.sources.values()).any(|used| used.repository == change.repository);
    if !uses || !wish.wants(change) {
        return Opinion::Nothing;
    }
    match &scheduler.kind {
        SchedulerKind::Branch { quiet: None } | SchedulerKind::AnyBranch { quiet: None } => Opinion::Build,
        SchedulerKind::Branch { quiet: Some(quiet) } | SchedulerKind::AnyBranch { quiet: Some(quiet) } => {
            Opinion::Hold(Some(quiet_until(store, change, name, *quiet, now)))
        }
        SchedulerKind::Periodic { target, .. } | SchedulerKind::Nightly { target, .. } => {
            if target.repository == change.repository && change.reference.branch() == Some(target.branch.as_str()) {
                Opinion::Hold(store.rows.timers.get(name).and_then(|(_, next)| *next))
            } else {
                Opinion::Nothing
            }
        }
        _ => Opinion::Nothing,
    }
}

/// S20: since the last change for the span, since the first one for the longest wait, whichever is over first.
fn quiet_until(store: &Store, change: &Change, name: &SchedulerName, quiet: Quiet, now: Timestamp) -> Timestamp {
    let held = store.rows.held.range((name.clone(), ChangeId(0))..).take_while(|(scheduler, _)| scheduler == name);
    let mut of_branch = held.map(|(_, id)| *id).filter(|id| {
        let other = &store.rows.changes[id];
        other.repository == change.repository && other.reference.short() == change.reference.short()
    });
    let first = of_branch.next().map_or(now, |id| store.rows.verdicts[&(id, name.clone())].at);
    now.after(quiet.span).min(first.after(quiet.at_most))
}
