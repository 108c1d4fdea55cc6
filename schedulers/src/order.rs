//! Orders: what workers are told because of what happened in a turn. Made after the turn is committed, from the state.

use std::collections::BTreeMap;

use gristmill_model::protocol::{BuildOrder, Origin, WorkerCommand};
use gristmill_model::{BuildId, EventBody, RepositoryName, WorkerName};

use crate::state::State;

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
