//! Leases: S8, S9, S10, S15, S16, S21, L2, L9.

use gristmill_model::{Build, BuildId, EventBody, Outcome, RequestState, WorkerName};
use gristmill_schedulers::Reply;
use gristmill_schedulers::input::Denial;

use super::{Checked, Checker, Said, must};
use crate::config::{LENT, LENT_MINUTES};
use crate::master::Heard;
use crate::store::Store;

impl Checker {
    /// S8: one live lease per request; attempts are counted, epochs grow, and nothing is tried more often than allowed.
    pub(super) fn s8_lease(&mut self, store: &Store, build: &Build) -> Checked {
        self.count("S8");
        let rows = &store.rows;
        let request = &rows.requests[&build.request];
        let holder = rows.open_builds.iter().find(|id| rows.builds[id].build.request == build.request);
        must(holder.is_none(), "S8", || {
            format!("build {} takes request {}, which has {holder:?}", build.id, build.request)
        })?;
        must(request.state == RequestState::Ready, "S8", || {
            format!("build {} takes request {}, which is {}", build.id, build.request, request.state.as_str())
        })?;
        must(build.epoch > request.epoch && build.attempt == request.attempts + 1, "S8", || {
            format!(
                "build {} is attempt {} under epoch {}, after {} under {}",
                build.id, build.attempt, build.epoch, request.attempts, request.epoch
            )
        })?;
        let recipe = &rows.recipes[&request.recipe];
        let of_request = rows.builds.values().filter(|row| row.build.request == build.request);
        let handed_over = of_request.filter(|row| row.build.is_handed_over()).count();
        let handed_over = u32::try_from(handed_over).unwrap_or(u32::MAX);
        must(build.attempt <= recipe.retries_max + 1 + handed_over, "S8", || {
            format!("build {} is attempt {}, and {} may be repeated", build.id, build.attempt, recipe.retries_max)
        })
    }

    /// S15: no worker has more than its slots. S16: it is there, and has what is required.
    pub(super) fn s15_placement(&mut self, store: &Store, build: &Build) -> Checked {
        self.count("S15");
        let worker = store.rows.workers.get(&build.worker);
        let is_there = worker.is_some_and(|worker| worker.connected);
        must(is_there, "S16", || format!("build {} goes to {}, which is not there", build.id, build.worker))?;
        let is_free = worker.is_some_and(|worker| worker.holds.is_empty());
        must(is_free, "S16", || format!("build {} goes to {}, which is held", build.id, build.worker))?;
        let minute = build.leased_at.seconds() / 60 % 60;
        must(build.worker.as_str() != LENT || minute < i64::from(LENT_MINUTES), "S16", || {
            format!("build {} goes to {LENT} at minute {minute}", build.id)
        })?;
        let slots = worker.map_or(0, |worker| worker.slots as usize);
        must(busy(store, &build.worker) < slots, "S15", || {
            format!("build {} goes to {}, which has no free slot of its {slots}", build.id, build.worker)
        })?;
        self.count("S16");
        let recipe = &store.rows.recipes[&store.rows.requests[&build.request].recipe];
        let has =
            |(label, value): (&String, &String)| worker.is_some_and(|worker| worker.labels.get(label) == Some(value));
        must(recipe.requires.iter().all(has), "S16", || {
            format!("build {} goes to {}, which has not what is required", build.id, build.worker)
        })
    }

    /// S10, S21: an attempt ends once; what was cancelled is not tried again; no request ends with a wish to be repeated.
    pub(super) fn s10_ended(&mut self, store: &Store, id: BuildId, outcome: Outcome, retry: bool) -> Checked {
        self.count("S10");
        let row = store.rows.builds.get(&id).map(|row| &row.build);
        let is_open = row.is_some_and(|build| build.outcome.is_none());
        must(is_open, "S10", || format!("build {id} ends, and is over"))?;
        must(retry == (outcome == Outcome::Retry), "S7", || format!("build {id} ends with {outcome}, again: {retry}"))?;
        self.count("S21");
        let is_cancelled = row.is_some_and(|build| build.cancel.is_some());
        let is_handed_over = row.is_some_and(Build::is_handed_over);
        must(!is_handed_over || retry || outcome.is_good(), "S21", || {
            format!("build {id} was handed over, and ended with {outcome}")
        })?;
        must(!(retry && is_cancelled && !is_handed_over), "S21", || {
            format!("build {id} was cancelled, and is to be tried again")
        })
    }

    /// S21, S7: what ends without a build was skipped or cancelled, and nothing else.
    pub(super) fn s21_settled(&mut self, body: &EventBody) -> Checked {
        self.count("S21");
        let EventBody::RequestSettled { request, outcome, .. } = body else { return Ok(()) };
        let is_so = matches!(outcome, Outcome::Skipped | Outcome::Cancelled);
        must(is_so, "S21", || format!("request {request} ends without a build with {outcome}"))
    }

    /// S9: what is said under a lease that is not one's own changes nothing and is refused; under one's own it is taken.
    /// L9: what a worker still has when it introduces itself stays its own.
    pub(super) fn s9_fencing(&mut self, store: &Store, heard: &Heard, events: &[EventBody]) -> Checked {
        let own = events.get(heard.events.clone()).unwrap_or_default();
        if let (Said::Report { worker, build, epoch, ended }, Ok(reply)) = (&heard.said, &heard.reply) {
            self.count("S9");
            let holds = self.leases.get(build) == Some(&(worker.clone(), *epoch));
            let is_refused = matches!(reply, Reply::Refused(Denial::Fenced { .. }));
            let is_silent = own.iter().all(|body| matches!(body, EventBody::ReportRefused { .. }));
            must(holds || (is_refused && is_silent), "S9", || {
                format!("{worker} does not hold build {build} under epoch {epoch}, and was heard")
            })?;
            must(!(holds && is_refused), "S9", || format!("{worker} holds build {build}, and was refused"))?;
            if own.iter().any(|body| matches!(body, EventBody::BuildResumed { build: resumed, .. } if resumed == build))
            {
                self.impatient.insert(*build);
            }
            if holds && ended.is_some_and(Outcome::is_good) {
                self.s10_first_wins(store, *build, own)?;
            }
        }
        if matches!(heard.said, Said::Gone) {
            self.count("S8");
            let ended = own.iter().find(|body| matches!(body, EventBody::BuildFinished { .. }));
            must(ended.is_none(), "S8", || {
                format!("a worker is away, and what it may still be doing is ended: {ended:?}")
            })?;
        }
        if let Said::Unheard { worker, silent } = &heard.said {
            self.count("S8");
            for body in own {
                let EventBody::BuildFinished { build, outcome, .. } = body else { continue };
                // What a lost build waited for goes with it, also on other workers.
                if *outcome == Outcome::Cancelled {
                    continue;
                }
                let is_its = self.leases.get(build).is_some_and(|(holder, _)| holder == worker);
                must(is_its, "S8", || format!("{worker} is not heard of, and build {build} of another is ended"))?;
                let request = store.rows.builds.get(build).and_then(|row| store.rows.requests.get(&row.build.request));
                let recipe = request.and_then(|request| store.rows.recipes.get(&request.recipe));
                let is_over = recipe.is_none_or(|recipe| *silent >= recipe.orphan_window());
                must(is_over, "S8", || {
                    format!("{worker} may still run build {build}: silent for {} s only", silent.as_secs())
                })?;
            }
        }
        self.follow_leases(own);
        if let (Said::Hello { worker, builds }, Ok(Reply::Welcome(welcome))) = (&heard.said, &heard.reply) {
            self.count("L9");
            for held in builds {
                let is_own = self.leases.get(&held.build) == Some(&(worker.clone(), held.epoch));
                let was_ended = own
                    .iter()
                    .any(|body| matches!(body, EventBody::BuildFinished { build, .. } if *build == held.build));
                let is_stopped = welcome.stop.contains(held);
                must(is_own != is_stopped, "L9", || {
                    format!(
                        "{worker} has build {} under epoch {}, own: {is_own}, stopped: {is_stopped}",
                        held.build, held.epoch
                    )
                })?;
                must(!was_ended, "L9", || format!("{worker} came back with build {}, and it was ended", held.build))?;
            }
        }
        Ok(())
    }

    /// S10: a build that was good when somebody's wish to end it came is good. A trigger that could not start anything is
    /// the one thing that the service knows better.
    fn s10_first_wins(&mut self, store: &Store, id: BuildId, own: &[EventBody]) -> Checked {
        self.count("S10");
        let is_kept = own.iter().any(|body| match body {
            EventBody::BuildFinished { build, outcome, .. } => *build == id && outcome.is_good(),
            _ => false,
        });
        let steps = store.rows.builds.get(&id).map(|row| &row.steps);
        let is_known_better =
            steps.is_some_and(|steps| steps.values().any(|(outcome, _)| outcome.is_some_and(Outcome::is_bad)));
        must(is_kept || is_known_better, "S10", || format!("build {id} was good, and ended otherwise: {own:?}"))
    }

    /// Keeps the list of live leases.
    pub(super) fn follow_leases(&mut self, events: &[EventBody]) {
        for body in events {
            match body {
                EventBody::BuildLeased { build } => {
                    self.leases.insert(build.id, (build.worker.clone(), build.epoch));
                }
                EventBody::BuildFinished { build, .. } => {
                    self.leases.remove(build);
                }
                _ => {}
            }
        }
    }

    /// L2: nothing waits for a worker that is free.
    pub(super) fn l2_nothing_idle(&mut self, store: &Store) -> Checked {
        self.count("L2");
        let rows = &store.rows;
        let mut ready = rows.open_buildsets.iter().flat_map(|id| &rows.buildsets[id].requests);
        let mut ready = ready
            .by_ref()
            .map(|id| &rows.requests[id])
            .filter(|request| request.state == RequestState::Ready)
            .peekable();
        if ready.peek().is_none() {
            return Ok(());
        }
        let free = rows.workers.values().filter(|worker| {
            worker.name.as_str() != LENT
                && worker.connected
                && worker.holds.is_empty()
                && busy(store, &worker.name) < worker.slots as usize
        });
        let free: Vec<_> = free.collect();
        for request in ready {
            let requires = &rows.recipes[&request.recipe].requires;
            let able = free
                .iter()
                .find(|worker| requires.iter().all(|(label, value)| worker.labels.get(label) == Some(value)));
            must(able.is_none(), "L2", || {
                format!("request {} waits, and {} is free", request.id, able.map_or("", |worker| worker.name.as_str()))
            })?;
        }
        Ok(())
    }
}

/// Counts the builds that hold slots of a worker.
fn busy(store: &Store, worker: &WorkerName) -> usize {
    let open = store.rows.open_builds.iter().map(|id| &store.rows.builds[id].build);
    open.filter(|build| build.worker == *worker && build.state.holds_slot()).count()
}
