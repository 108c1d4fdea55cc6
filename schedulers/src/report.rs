//! What workers say: checked against their lease, and applied.
//!
//! Every report may come twice: one that was applied before changes nothing. One under a lease that is over is refused
//! and recorded (S9).

use gristmill_model::protocol::{Report, ReportBody};
use gristmill_model::{
    BuildState, Cause, EventBody, Outcome, Scheduler, SchedulerKind, SchedulerName, StepAction, Timestamp, Trigger,
    WorkerName, mutant,
};

use crate::care;
use crate::create::{self, Given};
use crate::input::Denial;
use crate::people;
use crate::results;
use crate::settle;
use crate::standing;
use crate::state::OpenBuild;
use crate::turn::Turn;

/// Applies one report.
///
/// # Errors
/// [`Denial::Fenced`] if the lease is not the worker's.
pub fn report(turn: &mut Turn<'_>, worker: &WorkerName, report: Report) -> Result<(), Denial> {
    let (build, epoch) = (report.build, report.epoch);
    let held = turn
        .state
        .builds
        .get(&build)
        .filter(|open| open.build.worker == *worker && (open.build.epoch == epoch || mutant::is_on(1)));
    let Some(open) = held.cloned() else {
        let why = format!("{worker} does not hold build {build} under epoch {epoch}");
        turn.emit(EventBody::ReportRefused { worker: worker.clone(), build, epoch, why });
        return Err(Denial::Fenced { build, epoch });
    };
    if let Some(step) = step_of(&report.body).filter(|step| !has_step(turn, &open, *step)) {
        // Nothing can come of it, so whoever says it may go on; but a build has no more steps than its recipe.
        let why = format!("build {build} has no step {step}");
        turn.emit(EventBody::ReportRefused { worker: worker.clone(), build, epoch, why });
        return Ok(());
    }
    match report.body {
        ReportBody::Started => {
            if open.build.state == BuildState::Leased {
                turn.emit(EventBody::BuildStarted { build });
            }
        }
        ReportBody::StepStarted { step } => step_started(turn, &open, step),
        ReportBody::StepFinished { step, outcome, cause, summary, warnings } => {
            step_started(turn, &open, step);
            if open.steps.get(&step).copied().flatten().is_none() {
                turn.emit(EventBody::StepFinished { build, step, outcome, cause, summary: summary.clone(), warnings });
                leave_suspension(turn, &open, step, outcome, summary);
            }
        }
        ReportBody::StepOutputs { step, outputs } => results::outputs(turn, &open, step, outputs),
        ReportBody::StepTests { step, first, tests } => results::tests(turn, &open, step, first, tests),
        ReportBody::ArtifactStored { step, path, bytes, digest } => {
            results::artifact(turn, &open, step, path, bytes, digest);
        }
        ReportBody::TriggerReached { step } => trigger_reached(turn, &open, step),
        ReportBody::Finished { outcome, cause, summary } => finished(turn, &open, outcome, cause, summary),
    }
    Ok(())
}

/// Gives the step that a report is about.
fn step_of(body: &ReportBody) -> Option<u32> {
    match body {
        ReportBody::StepStarted { step }
        | ReportBody::StepFinished { step, .. }
        | ReportBody::StepOutputs { step, .. }
        | ReportBody::StepTests { step, .. }
        | ReportBody::ArtifactStored { step, .. }
        | ReportBody::TriggerReached { step } => Some(*step),
        ReportBody::Started | ReportBody::Finished { .. } => None,
    }
}

fn has_step(turn: &Turn<'_>, open: &OpenBuild, step: u32) -> bool {
    let steps = create::of_build(turn, &open.build).map_or(0, |(_, recipe)| recipe.steps.len());
    usize::try_from(step).is_ok_and(|step| step < steps)
}

fn step_started(turn: &mut Turn<'_>, open: &OpenBuild, step: u32) {
    let build = open.build.id;
    if open.build.state == BuildState::Leased {
        turn.emit(EventBody::BuildStarted { build });
    }
    if !open.steps.contains_key(&step) {
        let name = create::of_build(turn, &open.build)
            .and_then(|(_, recipe)| recipe.steps.get(usize::try_from(step).ok()?))
            .map_or_else(|| format!("step {step}"), |recipe| recipe.name.clone());
        turn.emit(EventBody::StepStarted { build, step, name });
    }
}

/// Lets a build go on whose waiting step was ended by its worker, as a cancel does: nobody waits for the child any more.
fn leave_suspension(turn: &mut Turn<'_>, open: &OpenBuild, step: u32, outcome: Outcome, summary: String) {
    if open.build.suspended_step != Some(step) {
        return;
    }
    let build = open.build.id;
    if open.build.state == BuildState::Suspended {
        turn.emit(EventBody::BuildResumable { build });
    }
    turn.emit(EventBody::BuildResumed { build, step: Some(step), outcome, summary });
    if let Some(child) = open.waits_for {
        people::cancel_buildset(turn, child, "the end of the step that waited for it");
    }
}

/// Starts what a trigger step names. If that cannot be, the step has failed, and says why.
fn trigger_reached(turn: &mut Turn<'_>, open: &OpenBuild, step: u32) {
    step_started(turn, open, step);
    let is_repeat = open.waits_for.is_some() || open.steps.get(&step).copied().flatten().is_some();
    if is_repeat {
        return;
    }
    let build = open.build.id;
    match start_triggered(turn, open, step) {
        Ok((buildset, true)) => turn.emit(EventBody::StepTriggered { build, step, buildset, wait: true }),
        Ok((buildset, false)) => {
            turn.emit(EventBody::StepTriggered { build, step, buildset, wait: false });
            let summary = format!("started buildset {buildset}");
            turn.emit(EventBody::StepFinished {
                build,
                step,
                outcome: Outcome::Success,
                cause: None,
                summary,
                warnings: 0,
            });
        }
        Err(summary) => {
            let (outcome, cause) = (Outcome::Failure, Some(Cause::Policy));
            turn.emit(EventBody::StepFinished { build, step, outcome, cause, summary: summary.clone(), warnings: 0 });
            if waits(turn, open, step) {
                turn.emit(EventBody::BuildResumed { build, step: Some(step), outcome, summary });
            }
        }
    }
}

/// Says whether a step lasts until what it triggers completes, so that its worker waits for word.
fn waits(turn: &Turn<'_>, open: &OpenBuild, step: u32) -> bool {
    let recipe = create::of_build(turn, &open.build).map(|(_, recipe)| recipe);
    let step = usize::try_from(step).ok().and_then(|step| recipe?.steps.get(step));
    step.is_some_and(|step| matches!(step.action, StepAction::Trigger { wait: true, .. }))
}

fn start_triggered(
    turn: &mut Turn<'_>,
    open: &OpenBuild,
    step: u32,
) -> Result<(gristmill_model::BuildsetId, bool), String> {
    if let Some(by) = &open.build.cancel {
        return Err(format!("cancelled by {by} before it started anything"));
    }
    let (buildset, recipe) = create::of_build(turn, &open.build).ok_or("the build's buildset is gone")?;
    let action = usize::try_from(step).ok().and_then(|step| recipe.steps.get(step)).map(|step| step.action.clone());
    let Some(StepAction::Trigger { scheduler: name, wait, properties }) = action else {
        return Err("the step triggers nothing".to_owned());
    };
    let given = Given {
        stamps: buildset.stamps.clone(),
        branch: Some(buildset.branch.clone()),
        depth: buildset.depth + 1,
        properties,
    };
    if given.depth > gristmill_model::Buildset::DEPTH_MAX {
        return Err(format!("{} buildsets set each other off already", gristmill_model::Buildset::DEPTH_MAX));
    }
    let scheduler = triggerable(turn, &name)?;
    let trigger = Trigger::Step { build: open.build.id, step, wait };
    let made = create::create_given(turn, &name, scheduler, None, trigger, given);
    made.map(|buildset| (buildset, wait)).map_err(|missing| missing.to_string())
}

fn triggerable<'a>(turn: &Turn<'a>, name: &SchedulerName) -> Result<&'a Scheduler, String> {
    let scheduler = turn.catalog.schedulers.get(name);
    scheduler
        .filter(|scheduler| scheduler.kind == SchedulerKind::Triggerable)
        .ok_or_else(|| format!("{name} is not a triggerable scheduler of the configuration in force"))
}

fn finished(turn: &mut Turn<'_>, open: &OpenBuild, outcome: Outcome, cause: Option<Cause>, summary: String) {
    let (outcome, cause, summary) = match failed_trigger(turn, open) {
        Some((effect, why)) if effect > outcome => (effect, Some(Cause::Policy), why),
        _ => (outcome, cause, summary),
    };
    match (&open.build.cancel, outcome) {
        (Some(by), Outcome::Success | Outcome::Warnings) if !mutant::is_on(26) => {
            // It was over before the worker was told: what happened is what counts.
            end(turn, open, outcome, cause, format!("{summary} (ended before it could be cancelled for {by})"), false);
        }
        (Some(_), _) if open.build.is_handed_over() => hand_over(turn, open, summary),
        (Some(by), _) => {
            end(turn, open, Outcome::Cancelled, Some(Cause::Person), format!("cancelled by {by}"), false);
        }
        (None, Outcome::Retry) => attempt_failed(turn, open, cause.unwrap_or(Cause::Infrastructure), summary),
        (None, outcome) => end(turn, open, outcome, cause, summary, false),
    }
}

/// Gives what a trigger step that nobody waited for, and that could not start anything, means for its build: the worker
/// had gone on by then.
fn failed_trigger(turn: &Turn<'_>, open: &OpenBuild) -> Option<(Outcome, String)> {
    let (_, recipe) = create::of_build(turn, &open.build)?;
    let failed = |(number, outcome): (&u32, &Option<Outcome>)| {
        let step = recipe.steps.get(usize::try_from(*number).ok()?)?;
        let outcome = outcome.filter(|outcome| outcome.is_bad())?;
        let is_passed = matches!(step.action, StepAction::Trigger { wait: false, .. });
        let why = format!("step {}: nothing could be triggered", step.name);
        is_passed.then(|| (step.rules.effect_of(outcome).0, why))
    };
    open.steps.iter().filter_map(failed).max_by_key(|(effect, _)| *effect)
}

/// Ends an attempt that says nothing about the code: tries again, unless all attempts are used up.
pub(crate) fn attempt_failed(turn: &mut Turn<'_>, open: &OpenBuild, cause: Cause, summary: String) {
    let retries_max = create::of_build(turn, &open.build).map_or(0, |(_, recipe)| recipe.retries_max);
    if open.build.is_handed_over() {
        hand_over(turn, open, summary);
    } else if open.build.cancel.is_some() {
        end(turn, open, Outcome::Cancelled, Some(Cause::Person), summary, false);
    } else if mutant::is_on(21) {
        end(turn, open, Outcome::Retry, Some(cause), summary, false);
    } else if open.build.attempt <= retries_max {
        end(turn, open, Outcome::Retry, Some(cause), summary, true);
    } else {
        let attempts = open.build.attempt;
        let summary = format!("{summary}; all {attempts} attempts ended so");
        end(turn, open, Outcome::Exception, Some(cause), summary, false);
    }
}

/// Ends an attempt that was to end because its worker goes. It is tried again in any case, also where all attempts that
/// trouble allows are used up: a drain must never fail a build. It counts as an attempt all the same.
fn hand_over(turn: &mut Turn<'_>, open: &OpenBuild, summary: String) {
    let summary = format!("handed over, because {} is drained ({summary})", open.build.worker);
    end(turn, open, Outcome::Retry, Some(Cause::Policy), summary, !mutant::is_on(121));
}

/// Ends a build: its open steps, what it waits for, its request, its builder's standing, its graph.
pub fn end(
    turn: &mut Turn<'_>,
    open: &OpenBuild,
    outcome: Outcome,
    cause: Option<Cause>,
    summary: String,
    retry: bool,
) {
    let build = open.build.id;
    for (step, _) in open.steps.iter().filter(|(_, ended)| ended.is_none()) {
        let summary = format!("the build ended: {summary}");
        turn.emit(EventBody::StepFinished { build, step: *step, outcome, cause, summary, warnings: 0 });
    }
    let origin = create::of_build(turn, &open.build).map(|(buildset, recipe)| (buildset.clone(), recipe.clone()));
    turn.emit(EventBody::BuildFinished { build, outcome, cause, summary, retry });
    care::ended(turn, &open.build, outcome, cause);
    // The build is gone by now, so that the child's end wakes nobody (S12).
    if let Some(child) = open.waits_for.filter(|_| !mutant::is_on(25)) {
        people::cancel_buildset(turn, child, "the end of the build that waited for it");
    }
    if retry {
        return;
    }
    if let Some((buildset, recipe)) = origin {
        standing::tell(turn, &open.build, &buildset, &recipe, outcome, cause);
    }
    settle::after(turn, open.build.request);
}

/// Gives how long a build has been running.
pub fn running_since(open: &OpenBuild) -> Timestamp {
    open.build.started_at.unwrap_or(open.build.leased_at)
}
