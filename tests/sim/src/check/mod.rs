//! The invariants: looked at after every commit, each by a function that carries its id.
//!
//! The checker has the tables as they were before each event ([`Checker::event`]) and after each turn
//! ([`Checker::committed`]). What it expects it works out by itself: from the plain wishes of the configuration, the
//! graphs, the tables, never from the code that it judges.
//!
//! Checked here: S1 to S6, S8 to S13, S15 to S17, S19 to S23, S28; L1 to L6 and L9 in the second phase. L8 has nothing
//! to look at yet. Not checked here, because the core has no such thing: S14 (locks), S18 (logs: the bytes never come
//! into the core), S24 (audit), S25 (secrets), S26 (permissions), S27 (retention), L7 (drain), L10 (overload), L11 (live
//! pages). S7 is a property test of the model.

mod changes;
mod graph;
mod lease;
mod message;
mod time;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::{Held, ReportBody};
use gristmill_model::{
    BuildId, BuilderName, BuildsetId, CatalogHash, ChangeId, Event, EventBody, HoldKind, MessageState, Outcome,
    RepositoryName, Seq, Timestamp, WorkerName,
};
use gristmill_schedulers::{Input, Reply, State};

use crate::config::Config;
use crate::master::Heard;
use crate::store::Store;
use crate::world::{Asker, NoAnswer};

/// Commits between two comparisons of the whole tables with the whole memory.
const WHOLE_EVERY: u64 = 8;
/// Open requests from which on the memory counts as big.
const BIG: usize = 300;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: &'static str,
    /// How that shows.
    pub text: String,
}

impl Violation {
    /// Makes one.
    pub fn new(rule: &'static str, text: impl Into<String>) -> Self {
        Self { rule, text: text.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

type Checked = Result<(), Violation>;

/// Says no if something does not hold.
fn must(holds: bool, rule: &'static str, text: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation::new(rule, text())) }
}

/// What was said, as far as the checker wants to know.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// Something about a build.
    Report {
        /// By whom.
        worker: WorkerName,
        /// About which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
        /// With what it ended, if it did.
        ended: Option<Outcome>,
    },
    /// A worker introduced itself.
    Hello {
        /// Which.
        worker: WorkerName,
        /// What it still has.
        builds: Vec<Held>,
    },
    /// A worker went.
    Gone,
    /// A worker was not heard of.
    Unheard {
        /// Which.
        worker: WorkerName,
        /// For how long.
        silent: Duration,
    },
    /// Anything else.
    Other,
}

impl Said {
    /// Takes what the checker wants to know of an input.
    pub(crate) fn of(input: &Input) -> Self {
        match input {
            Input::Report { worker, report } => {
                let ended = match report.body {
                    ReportBody::Finished { outcome, .. } => Some(outcome),
                    _ => None,
                };
                Self::Report { worker: worker.clone(), build: report.build, epoch: report.epoch, ended }
            }
            Input::Hello(hello) => Self::Hello { worker: hello.worker.clone(), builds: hello.builds.clone() },
            Input::Gone { .. } => Self::Gone,
            Input::Unheard { worker, silent } => Self::Unheard { worker: worker.clone(), silent: *silent },
            _ => Self::Other,
        }
    }
}

/// Says whether the last of several reports ends its build.
pub(crate) fn ends_build(inputs: &[Input]) -> bool {
    matches!(inputs.last(), Some(Input::Report { report, .. }) if matches!(report.body, ReportBody::Finished { .. }))
}

/// What the checker knows.
#[derive(Debug)]
pub(crate) struct Checker {
    counts: BTreeMap<&'static str, u64>,
    configs: BTreeMap<CatalogHash, Arc<Config>>,
    /// The configuration in force, by the journal.
    config: Option<Arc<Config>>,
    commits: u64,
    cursor: Seq,
    /// Live leases: who has which build under which epoch.
    leases: BTreeMap<BuildId, (WorkerName, i64)>,
    /// What the last good build of a builder on a branch contained.
    good: BTreeMap<(BuilderName, String), BTreeMap<RepositoryName, ChangeId>>,
    /// Builds whose worker ended the step that waited, instead of waiting.
    impatient: BTreeSet<BuildId>,
    turn: Touched,
}

/// What the events of one turn touched.
#[derive(Debug, Default)]
struct Touched {
    at: Timestamp,
    changes: Vec<(ChangeId, Arc<Config>)>,
    buildsets: BTreeSet<BuildsetId>,
    completed: Vec<(BuildsetId, Arc<Config>)>,
    /// Builds that ended, or whose end was asked for.
    ended: Vec<BuildId>,
}

impl Checker {
    /// Makes one that knows the configurations.
    pub(crate) fn new(configs: &[Arc<Config>]) -> Self {
        Self {
            counts: BTreeMap::new(),
            configs: configs.iter().map(|config| (config.catalog.hash.clone(), Arc::clone(config))).collect(),
            config: None,
            commits: 0,
            cursor: Seq(0),
            leases: BTreeMap::new(),
            good: BTreeMap::new(),
            impatient: BTreeSet::new(),
            turn: Touched::default(),
        }
    }

    /// Gives how often each invariant was looked at.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    fn count(&mut self, rule: &'static str) {
        *self.counts.entry(rule).or_default() += 1;
    }

    /// Gives the configuration in force, by the journal.
    fn in_force(&self) -> Result<Arc<Config>, Violation> {
        self.config.clone().ok_or_else(|| Violation::new("S22", "something was decided before any configuration"))
    }

    /// Looks at one event, before its rows are written.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub(crate) fn event(&mut self, store: &Store, event: &Event) -> Checked {
        self.journal_grows(store, event)?;
        self.turn.at = event.at;
        match &event.body {
            EventBody::CatalogActivated { hash } => {
                let config = self.configs.get(hash).cloned();
                must(config.is_some(), "S22", || format!("{hash} is no configuration"))?;
                self.config = config;
                Ok(())
            }
            EventBody::ChangeSeen { change } => self.s2_change(store, change),
            EventBody::VerdictGiven { verdict } => self.s3_verdict(store, verdict),
            EventBody::TimerFired { scheduler, nominal, next, .. } => {
                self.s19_timer(store, event.at, scheduler, *nominal, *next)
            }
            EventBody::BuildsetCreated { buildset, requests, edges } => {
                self.turn.buildsets.insert(buildset.id);
                self.s22_buildset(store, buildset, requests, edges)?;
                self.s5_trigger(store, buildset)?;
                self.s11_stamps(store, buildset)
            }
            EventBody::RequestReleased { request } | EventBody::RequestSettled { request, .. } => {
                self.turn.buildsets.extend(store.rows.requests.get(request).map(|row| row.buildset));
                self.s21_settled(&event.body)
            }
            EventBody::BuildLeased { build } => {
                self.turn.buildsets.insert(build.buildset);
                self.s8_lease(store, build)?;
                self.s15_placement(store, build)
            }
            EventBody::BuildFinished { build, outcome, retry, .. } => {
                self.turn.ended.push(*build);
                self.turn.buildsets.extend(store.rows.builds.get(build).map(|row| row.build.buildset));
                self.s10_ended(store, *build, *outcome, *retry)
            }
            EventBody::BuildCancelAsked { build, .. } => {
                self.turn.ended.push(*build);
                Ok(())
            }
            EventBody::StepTriggered { build, step, buildset, wait } => {
                self.s12_triggered(store, *build, *step, *buildset, *wait)
            }
            EventBody::BuildsetCompleted { buildset, outcome } => {
                let config = self.in_force()?;
                self.turn.completed.push((*buildset, config));
                self.s6_completed(store, *buildset, *outcome)
            }
            EventBody::BuilderTurned { .. } | EventBody::IncidentOpened { .. } | EventBody::IncidentJoined { .. } => {
                self.s5_blame(store, &event.body)
            }
            EventBody::WorkerJoined { worker } => self.s26_joined(store, event.at, worker),
            EventBody::WorkerHeld { worker, kind: HoldKind::Quarantine, .. } => self.l2_not_the_last(store, worker),
            EventBody::WorkerForgotten { worker, .. } => self.s16_forgotten(store, worker),
            EventBody::MessageQueued { message } => self.s17_queued(store, event.seq, message),
            EventBody::MessageDead { message, error } => self.s17_dead(store, event.at, *message, error),
            _ => Ok(()),
        }
    }

    /// The journal is numbered without gaps, and its time never runs backwards.
    fn journal_grows(&mut self, store: &Store, event: &Event) -> Checked {
        self.count("journal");
        must(event.seq == store.head().next(), "S23", || {
            format!(
                "event {} comes after event {}: a master wrote that had lost the store to another",
                event.seq,
                store.head()
            )
        })?;
        must(event.at >= store.rows.at, "S19", || format!("event {} happens before the one before it", event.seq))
    }

    /// Looks at the tables after a turn.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub(crate) fn committed(&mut self, store: &Store) -> Checked {
        self.commits += 1;
        let turn = std::mem::take(&mut self.turn);
        let Some(config) = self.config.clone() else { return Ok(()) };
        self.s3_every_scheduler(store, &turn.changes)?;
        self.s20_nothing_overdue(store, &config, turn.at)?;
        self.s19_nothing_due(store, &config, turn.at)?;
        self.s20_holds_end(store, turn.at)?;
        self.l2_nothing_idle(store)?;
        for id in &turn.buildsets {
            self.s6_whole(store, *id)?;
            self.s11_needs(store, *id)?;
        }
        for (id, config) in &turn.completed {
            self.s11_dependents(store, *id, config)?;
            self.s12_parent(store, *id)?;
        }
        for build in &turn.ended {
            self.s12_child(store, *build)?;
        }
        self.s17_announced(store)?;
        if self.commits.is_multiple_of(WHOLE_EVERY * 8) {
            self.s28_conservation(store)?;
        }
        Ok(())
    }

    /// The memory is the fold of the journal, and what the tables say.
    ///
    /// # Errors
    /// Where they differ.
    pub(crate) fn same_as_memory(&mut self, folded: &State, memory: &State, store: &Store) -> Checked {
        // A comparison costs what is open: where much is, it is made less often.
        let is_big = memory.requests.len() > BIG;
        if is_big && !self.commits.is_multiple_of(WHOLE_EVERY) {
            return Ok(());
        }
        self.count("fold");
        must(folded == memory, "fold", || "the memory is not what the journal folds to".to_owned())?;
        if !self.commits.is_multiple_of(if is_big { WHOLE_EVERY * 8 } else { WHOLE_EVERY }) {
            return Ok(());
        }
        self.count("load");
        let loaded = store.load();
        must(loaded == *memory, "load", || format!("the tables give another state: {}", difference(&loaded, memory)))
    }

    /// Looks at what was said in a turn and what was answered (S9).
    ///
    /// # Errors
    /// If what a worker said under a lease that is not its own had an effect.
    pub(crate) fn turned(&mut self, store: &Store, heard: &[Heard], events: &[EventBody]) -> Checked {
        for one in heard {
            self.s9_fencing(store, one, events)?;
        }
        let after = heard.last().map_or(0, |last| last.events.end);
        self.follow_leases(&events[after.min(events.len())..]);
        Ok(())
    }

    /// What was acknowledged is there, and stays there (S1).
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn acknowledged(&mut self, store: &Store, asker: &Asker, answer: &Result<Reply, NoAnswer>) -> Checked {
        let Ok(reply) = answer else { return Ok(()) };
        self.count("S1");
        let rows = &store.rows;
        let is_there = match (asker, reply) {
            (_, Reply::Refused(_)) => true,
            (Asker::Hook { repository }, Reply::Delivered { delivery, changes, .. }) => {
                rows.deliveries.get(delivery).is_some_and(|row| row.repository == *repository)
                    && store.bodies.contains_key(delivery)
                    && changes.iter().all(|change| rows.changes.contains_key(change))
            }
            (_, Reply::Sighted { changes, .. }) => changes.iter().all(|change| rows.changes.contains_key(change)),
            (_, Reply::Forced { buildset }) => rows.buildsets.contains_key(buildset),
            (Asker::Report { lease, ends: true, .. }, _) => !rows.open_builds.contains(&lease.0),
            (Asker::Announcer { to, .. }, _) => {
                store.cursors.get(gristmill_schedulers::round::ANNOUNCER).is_some_and(|cursor| cursor >= to)
            }
            (Asker::Claim { message, .. }, _) => {
                let row = &rows.outbox[message];
                row.claimed || row.state != MessageState::Due || row.attempts > 0
            }
            _ => true,
        };
        must(is_there, "S1", || format!("{asker:?} was answered {reply:?}, and it is not in the store"))
    }
}

/// Names the first part in which two states differ.
fn difference(one: &State, other: &State) -> String {
    macro_rules! compare {
        ($($part:ident)*) => {
            $(if one.$part != other.$part {
                return format!("{}: {:?} against {:?}", stringify!($part), one.$part, other.$part);
            })*
        };
    }
    compare!(head at last repositories tips held timers recipes buildsets requests ready first_request needs needed_by
        builds workers paces ratings tokens standings incidents upstreams);
    "nothing".to_owned()
}
