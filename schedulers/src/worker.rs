//! Workers come and go, are held and freed, and are let in by tokens.
//!
//! A lease ends in four states (running, late, detached, lost: D4 of the reliability paper). Late and detached are only
//! how long a worker has not been heard of; whoever hears workers knows that, by its own monotonic clock, and hands it in
//! as [`Input::Unheard`](crate::Input::Unheard). Only at *lost*, decided here, may another worker start the request.

use std::time::Duration;

use gristmill_model::protocol::{Hello, Welcome};
use gristmill_model::{
    Admits, Build, BuildId, Cause, EventBody, Hold, HoldKind, Timestamp, Token, TokenId, Worker, WorkerName, mutant,
};

use crate::create;
use crate::input::Denial;
use crate::people;
use crate::report::attempt_failed;
use crate::state::{OpenBuild, State};
use crate::turn::Turn;

/// Bytes of a worker's name, a label's name, and what else it says of itself.
pub const NAME_BYTES_MAX: usize = 128;
/// Labels of a worker.
pub const LABELS_MAX: usize = 200;
/// Bytes of a label's value.
pub const LABEL_BYTES_MAX: usize = 1024;
/// Builds that a worker runs at once.
pub const SLOTS_MAX: u32 = 1024;
/// Tokens that are kept, revoked ones included.
pub const TOKENS_MAX: usize = 10_000;

/// Welcomes a worker: what it no longer has is lost, what is no longer its own must stop.
///
/// # Errors
/// If its token admits it no more, its pool is full, or it says too much of itself.
pub fn hello(turn: &mut Turn<'_>, hello: Hello) -> Result<Welcome, Denial> {
    check_size(&hello)?;
    admit(turn, &hello)?;
    let name = hello.worker.clone();
    join(turn, &hello);
    lose(turn, &hello);
    let is_own = |build: &BuildId, epoch: i64| {
        turn.state.builds.get(build).is_some_and(|open| open.build.worker == name && open.build.epoch == epoch)
    };
    Ok(Welcome { stop: hello.builds.into_iter().filter(|held| !is_own(&held.build, held.epoch)).collect() })
}

fn check_size(hello: &Hello) -> Result<(), Denial> {
    let refuse = |field: &str, problem: String| Err(Denial::Invalid { field: field.to_owned(), problem });
    if hello.worker.as_str().is_empty() || hello.worker.as_str().len() > NAME_BYTES_MAX {
        return refuse("worker", format!("a worker's name has 1 to {NAME_BYTES_MAX} bytes"));
    }
    if hello.labels.len() > LABELS_MAX {
        return refuse("labels", format!("there are more than {LABELS_MAX}"));
    }
    let too_long =
        hello.labels.iter().find(|(name, value)| name.len() > NAME_BYTES_MAX || value.len() > LABEL_BYTES_MAX);
    if let Some((name, _)) = too_long {
        let name: String = name.chars().take(40).collect();
        return refuse(&format!("labels.{name}"), format!("it is longer than {LABEL_BYTES_MAX} bytes"));
    }
    if hello.about.version.len() > NAME_BYTES_MAX || hello.about.host.len() > NAME_BYTES_MAX {
        return refuse("about", format!("its texts have at most {NAME_BYTES_MAX} bytes"));
    }
    if hello.slots > SLOTS_MAX {
        return refuse("slots", format!("a worker runs at most {SLOTS_MAX} builds at once"));
    }
    Ok(())
}

/// Lets a worker in by its token. A worker without one is the built-in worker, or one of a simulation.
fn admit(turn: &Turn<'_>, hello: &Hello) -> Result<(), Denial> {
    let Some(id) = &hello.token else { return Ok(()) };
    let refuse = |why: String| Err(Denial::NotNow { why });
    let Some(token) = turn.state.tokens.get(id) else { return refuse(format!("there is no token {id}")) };
    if let Some(revoked) = token.revoked.as_ref().filter(|_| !mutant::is_on(115)) {
        return refuse(format!("token {id} was revoked by {}", revoked.by));
    }
    if token.expires_at.is_some_and(|at| at <= turn.now) {
        return refuse(format!("token {id} has expired"));
    }
    if let Admits::Pool { pool, max } = &token.admits {
        let others = turn.state.workers.values().filter(|worker| {
            worker.token.as_ref() == Some(id)
                && worker.name != hello.worker
                && (worker.connected || has_builds(turn, worker))
        });
        if others.count() >= usize::try_from(*max).unwrap_or(usize::MAX) && !mutant::is_on(114) {
            return refuse(format!("pool {pool} is full: it has {max} workers"));
        }
    }
    Ok(())
}

fn has_builds(turn: &Turn<'_>, worker: &Worker) -> bool {
    turn.state.builds.values().any(|open| open.build.worker == worker.name)
}

/// Ends the attempts that a worker came back without.
fn lose(turn: &mut Turn<'_>, hello: &Hello) {
    let is_held = |open: &OpenBuild| {
        hello.builds.iter().any(|held| held.build == open.build.id && held.epoch == open.build.epoch)
    };
    let of_worker = turn.state.builds.values().filter(|open| open.build.worker == hello.worker);
    let lost: Vec<OpenBuild> = of_worker.filter(|open| !is_held(open) || mutant::is_on(48)).cloned().collect();
    for open in lost {
        // One of those before may have ended it along with itself.
        let Some(open) = turn.state.builds.get(&open.build.id).cloned() else { continue };
        let summary = format!("{} came back without it", hello.worker);
        attempt_failed(turn, &open, Cause::Infrastructure, summary);
    }
}

fn join(turn: &mut Turn<'_>, hello: &Hello) {
    let known = turn.state.workers.get(&hello.worker);
    let worker = Worker {
        name: hello.worker.clone(),
        labels: hello.labels.clone(),
        slots: hello.slots,
        connected: true,
        since: turn.now,
        about: hello.about.clone(),
        token: hello.token.clone(),
        key: hello.key.clone(),
        holds: known.map(|known| known.holds.clone()).unwrap_or_default(),
    };
    if known.is_none_or(|known| Worker { since: known.since, ..worker.clone() } != *known) {
        turn.emit(EventBody::WorkerJoined { worker });
    }
}

/// Ends what a worker has that nobody has heard of for `silent`: each of its builds whose window is over is lost, and
/// another worker may have its request. The worker itself has ended it long before, by its own clock (S8).
pub fn unheard(turn: &mut Turn<'_>, worker: &WorkerName, silent: Duration) {
    let is_lost = |open: &&OpenBuild| {
        let window = create::of_build(turn, &open.build).map(|(_, recipe)| recipe.orphan_window());
        let is_over = |window: Duration| silent >= if mutant::is_on(110) { window / 2 } else { window };
        open.build.worker == *worker && window.is_some_and(is_over)
    };
    let lost: Vec<BuildId> = turn.state.builds.values().filter(is_lost).map(|open| open.build.id).collect();
    for build in lost {
        // One of those before may have ended it along with itself.
        let Some(open) = turn.state.builds.get(&build).cloned() else { continue };
        let summary = format!("{worker} was not heard of for {} s", silent.as_secs());
        attempt_failed(turn, &open, Cause::Infrastructure, summary);
    }
}

/// Ends the leases that were given before the installation was restored from a backup: their workers may have gone on
/// since, or ended, and what they say is not taken any more. Their requests are tried again like after any loss.
pub fn end_leases_of_before(turn: &mut Turn<'_>) {
    let instance = turn.state.instance;
    let before: Vec<BuildId> = turn
        .state
        .builds
        .values()
        .map(|open| &open.build)
        .filter(|it| instance.is_before(it.epoch))
        .map(|it| it.id)
        .collect();
    for build in before {
        // One of those before may have ended it along with itself.
        let Some(open) = turn.state.builds.get(&build).cloned() else { continue };
        let summary = "its lease ended when the installation was restored from a backup".to_owned();
        attempt_failed(turn, &open, Cause::Infrastructure, summary);
    }
}

/// Notes that a worker went. Its builds stay its own until it comes back without them.
pub fn gone(turn: &mut Turn<'_>, worker: WorkerName, why: String) {
    if turn.state.workers.get(&worker).is_some_and(|known| known.connected) {
        turn.emit(EventBody::WorkerLeft { worker: worker.clone(), why });
        if mutant::is_on(10) {
            let hello = Hello { worker, ..Hello::default() };
            lose(turn, &hello);
        }
    }
}

/// Notes that a worker is over for good: each of its builds is lost at once.
pub fn ended(turn: &mut Turn<'_>, worker: WorkerName, why: String) {
    let of_worker = turn.state.builds.values().filter(|open| open.build.worker == worker);
    let lost: Vec<BuildId> = of_worker.map(|open| open.build.id).collect();
    for build in lost {
        // One of those before may have ended it along with itself.
        let Some(open) = turn.state.builds.get(&build).cloned() else { continue };
        attempt_failed(turn, &open, Cause::Infrastructure, format!("{worker} ended: {why}"));
    }
    gone(turn, worker, why);
}

/// Keeps new builds from a worker.
///
/// # Errors
/// If there is no such worker, or the moment is past.
pub fn hold(turn: &mut Turn<'_>, worker: WorkerName, kind: HoldKind, hold: Hold) -> Result<(), Denial> {
    let Some(known) = turn.state.workers.get(&worker) else { return Err(no_worker(&worker)) };
    if hold.until.is_some_and(|until| until <= turn.now) {
        return Err(Denial::Invalid { field: "until".to_owned(), problem: "that moment is past".to_owned() });
    }
    let hold = Hold { at: turn.now, ..hold };
    let is_same = |known: &Hold| Hold { at: known.at, ..hold.clone() } == *known;
    if !known.holds.get(&kind).is_some_and(is_same) {
        turn.emit(EventBody::WorkerHeld { worker, kind, hold });
    }
    Ok(())
}

/// Ends one kind of hold, or all.
///
/// # Errors
/// If there is no such worker.
pub fn free(turn: &mut Turn<'_>, worker: WorkerName, kind: Option<HoldKind>, by: &str) -> Result<(), Denial> {
    let Some(known) = turn.state.workers.get(&worker) else { return Err(no_worker(&worker)) };
    let kinds: Vec<HoldKind> =
        known.holds.keys().copied().filter(|held| kind.is_none_or(|kind| kind == *held)).collect();
    for kind in kinds {
        turn.emit(EventBody::WorkerFreed { worker: worker.clone(), kind, by: by.to_owned() });
    }
    Ok(())
}

/// Forgets a worker that is not expected back.
///
/// # Errors
/// If there is no such worker, it is there, or it has builds.
pub fn forget(turn: &mut Turn<'_>, worker: WorkerName, by: String) -> Result<(), Denial> {
    let Some(known) = turn.state.workers.get(&worker) else { return Err(no_worker(&worker)) };
    if (known.connected || has_builds(turn, known)) && !mutant::is_on(118) {
        let why = format!("{worker} is connected, or has builds: revoke its token, or wait for its builds to be lost");
        return Err(Denial::NotNow { why });
    }
    turn.emit(EventBody::WorkerForgotten { worker, by });
    Ok(())
}

/// Notes a new token.
///
/// # Errors
/// If there are too many, or one of that id.
pub fn make_token(turn: &mut Turn<'_>, token: Token) -> Result<(), Denial> {
    if turn.state.tokens.len() >= TOKENS_MAX {
        return Err(Denial::NotNow { why: format!("there are {TOKENS_MAX} tokens already") });
    }
    if turn.state.tokens.contains_key(&token.id) {
        return Err(Denial::NotNow { why: format!("there is a token {} already", token.id) });
    }
    turn.emit(EventBody::TokenMade { token: Token { made_at: turn.now, ..token } });
    Ok(())
}

/// Takes a token back: who holds it is refused from now on, and must not go on with what it has.
///
/// # Errors
/// If there is no such token.
pub fn revoke_token(turn: &mut Turn<'_>, token: TokenId, by: String) -> Result<(), Denial> {
    let Some(known) = turn.state.tokens.get(&token) else {
        return Err(Denial::NotFound { what: format!("token {token}") });
    };
    if known.revoked.is_none() {
        turn.emit(EventBody::TokenRevoked { token: token.clone(), by });
        let of_token = turn.state.workers.values().filter(|worker| worker.token.as_ref() == Some(&token));
        let workers: Vec<WorkerName> = of_token.map(|worker| worker.name.clone()).collect();
        for worker in workers {
            gone(turn, worker, format!("token {token} was revoked"));
        }
    }
    Ok(())
}

/// Forgets a worker of a provider that exists no longer, with its token. What it had is lost at once: nobody runs it.
pub fn dismiss(turn: &mut Turn<'_>, worker: WorkerName, token: TokenId) {
    let lost = turn.state.builds.values().filter(|open| open.build.worker == worker).map(|open| open.build.id);
    let lost: Vec<BuildId> = lost.collect();
    for build in lost {
        // One of those before may have ended it along with itself.
        let Some(open) = turn.state.builds.get(&build).cloned() else { continue };
        attempt_failed(turn, &open, Cause::Infrastructure, format!("{worker} was stopped"));
    }
    gone(turn, worker.clone(), "it was stopped".to_owned());
    if turn.state.workers.contains_key(&worker) {
        turn.emit(EventBody::WorkerForgotten { worker, by: "its provider".to_owned() });
    }
    if turn.state.tokens.contains_key(&token) {
        turn.emit(EventBody::TokenDropped { token });
    }
}

/// Ends the pauses and quarantines whose time is over.
pub fn end_holds(turn: &mut Turn<'_>) {
    let now = if mutant::is_on(113) { Timestamp::default() } else { turn.now };
    let over = turn.state.workers.values().flat_map(|worker| {
        let over = lapsing(worker).filter(move |(_, until)| *until <= now);
        over.map(|(kind, _)| (worker.name.clone(), kind))
    });
    let over: Vec<(WorkerName, HoldKind)> = over.collect();
    for (worker, kind) in over {
        turn.emit(EventBody::WorkerFreed { worker, kind, by: "the clock".to_owned() });
    }
}

/// Ends the builds of workers whose drain is over: their workers are told, and their requests are tried again elsewhere.
pub fn end_drained(turn: &mut Turn<'_>) {
    let now = turn.now;
    let over = turn.state.workers.values().filter(|worker| deadline(worker).is_some_and(|until| until <= now));
    let over: Vec<WorkerName> = over.map(|worker| worker.name.clone()).collect();
    for worker in over {
        for build in unasked(turn.state, &worker).collect::<Vec<_>>() {
            turn.emit(EventBody::BuildCancelAsked { build, by: Build::HANDED_OVER.to_owned() });
            // What a step of it waits for goes with it (S12).
            if let Some(child) = turn.state.builds.get(&build).and_then(|open| open.waits_for) {
                people::cancel_buildset(turn, child, "the drain of the worker whose build waited for it");
            }
        }
    }
}

/// Lists a worker's builds that nobody has asked to end.
fn unasked(state: &State, worker: &WorkerName) -> impl Iterator<Item = BuildId> {
    let of_it = state.builds.values().map(|open| &open.build).filter(move |build| build.worker == *worker);
    of_it.filter(|build| build.cancel.is_none()).map(|build| build.id)
}

fn deadline(worker: &Worker) -> Option<Timestamp> {
    worker.holds.get(&HoldKind::Drain).and_then(|hold| hold.until)
}

/// Gives the next moment at which a hold ends by itself, or the builds of a drained worker are to end.
pub fn next_due(state: &State) -> Option<Timestamp> {
    let lapse = state.workers.values().flat_map(lapsing).map(|(_, until)| until);
    let with_builds = state.workers.values().filter(|worker| unasked(state, &worker.name).next().is_some());
    lapse.chain(with_builds.filter_map(deadline)).min()
}

/// Lists a worker's holds that end by themselves, and when. A drain does not: its moment is that of the builds.
fn lapsing(worker: &Worker) -> impl Iterator<Item = (HoldKind, Timestamp)> {
    let lapses = |(kind, hold): (&HoldKind, &Hold)| Some((*kind, hold.until.filter(|_| *kind != HoldKind::Drain)?));
    worker.holds.iter().filter_map(lapses)
}

fn no_worker(worker: &WorkerName) -> Denial {
    Denial::NotFound { what: format!("worker {worker}") }
}
