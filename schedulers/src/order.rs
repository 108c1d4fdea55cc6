//! Orders: what workers are told because of what happened in a turn. Made after the turn is committed, from the state.

use std::collections::BTreeMap;

use gristmill_model::protocol::{BuildOrder, Origin, WorkerCommand};
use gristmill_model::{BuildId, BuildState, EventBody, RepositoryName, StepAction, WorkerName};

use crate::state::{OpenBuild, State};

/// Lists what is to be said to whom because of `events`. `origin` knows where a repository is fetched from.
pub fn commands(
    state: &State,
    events: &[EventBody],
    origin: &dyn Fn(&RepositoryName) -> Option<Origin>,
) -> Vec<(WorkerName, WorkerCommand)> {
    events.iter().filter_map(|event| command(state, event, origin)).collect()
}

fn command(
    state: &State,
    event: &EventBody,
    origin: &dyn Fn(&RepositoryName) -> Option<Origin>,
) -> Option<(WorkerName, WorkerCommand)> {
    let (id, make): (BuildId, Box<dyn Fn(i64) -> Option<WorkerCommand>>) = match event {
        EventBody::BuildLeased { build } => {
            let id = build.id;
            (id, Box::new(move |_| order(state, id, origin).map(|order| WorkerCommand::Start { order })))
        }
        EventBody::BuildResumed { build, step, outcome, summary } => {
            let (build, step, outcome) = (*build, *step, *outcome);
            let summary = summary.clone();
            (
                build,
                Box::new(move |epoch| {
                    Some(WorkerCommand::Resume { build, epoch, step, outcome, summary: summary.clone() })
                }),
            )
        }
        EventBody::BuildCancelAsked { build, by } => {
            let build = *build;
            (build, Box::new(move |epoch| Some(WorkerCommand::Cancel { build, epoch, by: by.clone() })))
        }
        _ => return None,
    };
    let open = state.builds.get(&id)?;
    Some((open.build.worker.clone(), make(open.build.epoch)?))
}

/// Lists all that workers must have heard as things stand, of one worker or of all: for when nobody knows what they did
/// hear, because commands are kept in memory alone. A worker that has heard one before passes it over.
pub fn standing(
    state: &State,
    only: Option<&WorkerName>,
    origin: &dyn Fn(&RepositoryName) -> Option<Origin>,
) -> Vec<(WorkerName, WorkerCommand)> {
    let meant = state.builds.values().filter(|open| only.is_none_or(|only| open.build.worker == *only));
    meant
        .flat_map(|open| {
            let build = &open.build;
            let start = (build.state == BuildState::Leased).then(|| order(state, build.id, origin)).flatten();
            let start = start.map(|order| WorkerCommand::Start { order });
            let by = build.cancel.clone();
            let cancel = by.map(|by| WorkerCommand::Cancel { build: build.id, epoch: build.epoch, by });
            let commands = start.into_iter().chain(resume(state, open)).chain(cancel);
            commands.map(|command| (build.worker.clone(), command))
        })
        .collect()
}

/// Says again that the last step of a running build is over, if it is one that its worker waits for.
fn resume(state: &State, open: &OpenBuild) -> Option<WorkerCommand> {
    let build = &open.build;
    let recipe = state.recipes.get(&state.requests.get(&build.request)?.recipe)?;
    // A worker may have spoken of steps that its recipe does not have.
    let known = open
        .steps
        .iter()
        .rev()
        .find_map(|(number, outcome)| Some((*number, *outcome, recipe.steps.get(usize::try_from(*number).ok()?)?)));
    let (step, outcome, recipe) = known?;
    let action = &recipe.action;
    let is_waited_for = build.state == BuildState::Running && matches!(action, StepAction::Trigger { wait: true, .. });
    let outcome = outcome.filter(|_| is_waited_for)?;
    let summary = format!("what it triggered ended with {outcome}");
    Some(WorkerCommand::Resume { build: build.id, epoch: build.epoch, step: Some(step), outcome, summary })
}

/// Writes the order of an open build: everything is frozen in it.
pub fn order(state: &State, id: BuildId, origin: &dyn Fn(&RepositoryName) -> Option<Origin>) -> Option<BuildOrder> {
    let open = state.builds.get(&id)?;
    let request = state.requests.get(&open.build.request)?;
    let buildset = state.buildsets.get(&open.build.buildset)?;
    let recipe = state.recipes.get(&request.recipe)?;
    let stamps: gristmill_model::StampSet = recipe
        .sources
        .keys()
        .filter_map(|codebase| Some((codebase.clone(), buildset.stamps.get(codebase)?.clone())))
        .collect();
    let origins: BTreeMap<RepositoryName, Origin> =
        stamps.values().filter_map(|stamp| Some((stamp.repository.clone(), origin(&stamp.repository)?))).collect();
    Some(BuildOrder {
        build: id,
        epoch: open.build.epoch,
        attempt: open.build.attempt,
        builder: open.build.builder.clone(),
        project: buildset.project.clone(),
        scheduler: buildset.scheduler.clone(),
        branch: buildset.branch.clone(),
        stamps,
        origins,
        recipe: recipe.as_ref().clone(),
        properties: buildset.properties.clone(),
        at: open.build.leased_at,
    })
}
