//! What people ask for: starting a force scheduler, ending things.

use std::collections::BTreeMap;

use gristmill_model::{
    BuildId, BuildsetId, Cause, EventBody, Outcome, Parameter, ParameterKind, RequestId, RequestState, Revision,
    Scheduler, SchedulerKind, SchedulerName, SourceStamp, StampSet, Trigger, mutant,
};

use crate::create::{self, Given};
use crate::input::{Cancel, Denial};
use crate::report;
use crate::settle;
use crate::turn::Turn;

/// The parameter that names the branch to build, in every force scheduler.
pub const BRANCH: &str = "branch";
/// The parameter that names an exact revision of that branch's codebase, in every force scheduler.
pub const REVISION: &str = "revision";

/// Starts a force scheduler.
///
/// # Errors
/// What cannot be taken, by field; nothing has happened then.
pub fn force(
    turn: &mut Turn<'_>,
    name: &SchedulerName,
    said: &BTreeMap<String, String>,
    by: String,
    reason: Option<String>,
) -> Result<BuildsetId, Denial> {
    let catalog = turn.catalog;
    let scheduler =
        catalog.schedulers.get(name).ok_or_else(|| Denial::NotFound { what: format!("scheduler `{name}`") })?;
    let SchedulerKind::Force { parameters } = &scheduler.kind else {
        let kind = scheduler.kind.as_str();
        return Err(Denial::NotNow {
            why: format!("`{name}` is of kind {kind}; only a force scheduler can be started"),
        });
    };
    let mut values = check_parameters(parameters, said)?;
    let branch = values.remove(BRANCH).filter(|branch| !branch.is_empty());
    let revision = values.remove(REVISION).filter(|revision| !revision.is_empty());
    let stamps = chosen_stamps(turn, scheduler, branch.as_deref(), revision)?;
    let given = Given { stamps, branch, properties: values, ..Given::default() };
    let trigger = Trigger::Person { by, reason };
    create::create_given(turn, name, scheduler, None, trigger, given)
        .map_err(|missing| Denial::NotNow { why: missing.to_string() })
}

fn check_parameters(
    parameters: &BTreeMap<String, Parameter>,
    said: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Denial> {
    let is_known = |name: &str| name == BRANCH || name == REVISION || parameters.contains_key(name);
    if let Some(unknown) = said.keys().find(|name| !is_known(name)) {
        // A scheduler may define these two itself.
        let always = [BRANCH, REVISION].into_iter().filter(|name| !parameters.contains_key(*name));
        let known: Vec<&str> = parameters.keys().map(String::as_str).chain(always).collect();
        let problem = format!("there is no such parameter; there are {}", known.join(", "));
        return Err(Denial::Invalid { field: unknown.clone(), problem });
    }
    let mut values = said.clone();
    for (name, parameter) in parameters {
        match (said.get(name), &parameter.default) {
            (Some(value), _) => check_value(name, &parameter.kind, value)?,
            (None, Some(default)) => {
                values.insert(name.clone(), default.clone());
            }
            (None, None) if parameter.required => {
                let problem = "a value must be given".to_owned();
                return Err(Denial::Invalid { field: name.clone(), problem });
            }
            (None, None) => {}
        }
    }
    if let Some(long) = values.iter().find(|(_, value)| value.len() > Parameter::TEXT_BYTES_MAX) {
        let problem = format!("it is longer than {} bytes", Parameter::TEXT_BYTES_MAX);
        return Err(Denial::Invalid { field: long.0.clone(), problem });
    }
    Ok(values)
}

fn check_value(name: &str, kind: &ParameterKind, value: &str) -> Result<(), Denial> {
    let problem = match kind {
        ParameterKind::String => None,
        ParameterKind::Integer => value.parse::<i64>().err().map(|_| format!("`{value}` is not a whole number")),
        ParameterKind::Boolean => {
            (!matches!(value, "true" | "false")).then(|| format!("`{value}` is neither true nor false"))
        }
        ParameterKind::Choice(choices) => {
            let is_one = choices.iter().any(|choice| choice == value);
            (!is_one).then(|| format!("`{value}` is not one of {}", choices.join(", ")))
        }
    };
    problem.map_or(Ok(()), |problem| Err(Denial::Invalid { field: name.to_owned(), problem }))
}

/// Takes every codebase that has the branch at its tip there; the others stay with their own branches.
fn chosen_stamps(
    turn: &Turn<'_>,
    scheduler: &Scheduler,
    branch: Option<&str>,
    revision: Option<String>,
) -> Result<StampSet, Denial> {
    let codebases = create::codebases(turn.catalog, &scheduler.graph);
    let mut stamps = StampSet::new();
    if let Some(branch) = branch {
        for (codebase, source) in &codebases {
            if let Some(stamp) = create::tip_of(turn, &source.repository, branch) {
                stamps.insert(codebase.clone(), stamp);
            }
        }
        if stamps.is_empty() && !codebases.is_empty() && revision.is_none() {
            let problem = format!("none of its repositories has a branch `{branch}` that has been seen");
            return Err(Denial::Invalid { field: BRANCH.to_owned(), problem });
        }
    }
    if let Some(revision) = revision {
        let is_full = matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_full {
            let problem = format!("`{revision}` is not a full object id (40 or 64 hexadecimal digits)");
            return Err(Denial::Invalid { field: REVISION.to_owned(), problem });
        }
        let (codebase, source) = codebases
            .iter()
            .find(|(name, _)| stamps.contains_key(*name))
            .or_else(|| codebases.iter().next())
            .ok_or_else(|| Denial::Invalid {
                field: REVISION.to_owned(),
                problem: "its builders use no repository".to_owned(),
            })?;
        let branch = branch.map(str::to_owned).or_else(|| source.branch.clone()).unwrap_or_else(|| "main".to_owned());
        let stamp = SourceStamp {
            repository: source.repository.clone(),
            branch,
            revision: Revision(revision.to_ascii_lowercase()),
            change: None,
        };
        stamps.insert(codebase.clone(), stamp);
    }
    Ok(stamps)
}

/// How much a cancel reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// Builds that are told to end.
    pub builds: usize,
    /// Requests settled at once.
    pub requests: usize,
}

/// Ends something. What is over already stays as it is (S21).
///
/// # Errors
/// [`Denial::NotFound`] if it never was.
pub fn cancel(turn: &mut Turn<'_>, what: Cancel, by: &str) -> Result<Reached, Denial> {
    let mut reached = Reached::default();
    match what {
        Cancel::Build(id) if id > turn.state.last.build || id.0 < 1 => {
            return Err(Denial::NotFound { what: format!("build {id}") });
        }
        Cancel::Request(id) if id > turn.state.last.request || id.0 < 1 => {
            return Err(Denial::NotFound { what: format!("request {id}") });
        }
        Cancel::Buildset(id) if id > turn.state.last.buildset || id.0 < 1 => {
            return Err(Denial::NotFound { what: format!("buildset {id}") });
        }
        Cancel::Build(id) => cancel_build(turn, id, by, &mut reached),
        Cancel::Request(id) => cancel_request(turn, id, by, &mut reached),
        Cancel::Buildset(id) => reached = cancel_buildset(turn, id, by),
    }
    Ok(reached)
}

/// Ends everything of a buildset that is not over.
pub(crate) fn cancel_buildset(turn: &mut Turn<'_>, id: BuildsetId, by: &str) -> Reached {
    let mut reached = Reached::default();
    let open: Vec<RequestId> = turn
        .state
        .requests_of(id)
        .filter(|request| request.state != RequestState::Settled)
        .map(|request| request.id)
        .collect();
    // The last ones first: a request that nothing waits for sets nothing off.
    for request in open.into_iter().rev() {
        cancel_request(turn, request, by, &mut reached);
    }
    reached
}

fn cancel_request(turn: &mut Turn<'_>, id: RequestId, by: &str, reached: &mut Reached) {
    let Some(state) = turn.state.requests.get(&id).map(|request| request.state) else { return };
    match state {
        RequestState::Waiting | RequestState::Ready => {
            reached.requests += 1;
            let reason = format!("cancelled by {by}");
            settle::settle_without_build(turn, id, Outcome::Cancelled, Cause::Person, reason);
        }
        RequestState::Leased => {
            let build = turn.state.builds.values().find(|open| open.build.request == id).map(|open| open.build.id);
            if let Some(build) = build {
                cancel_build(turn, build, by, reached);
            }
        }
        RequestState::Settled => {}
    }
}

/// Asks for a build's end; the buildset that its step waits for goes with it (S12).
fn cancel_build(turn: &mut Turn<'_>, id: BuildId, by: &str, reached: &mut Reached) {
    let Some(open) = turn.state.builds.get(&id).cloned() else { return };
    // What is only handed over may still be ended for good.
    if open.build.cancel.is_some() && !open.build.is_handed_over() {
        return;
    }
    reached.builds += 1;
    turn.emit(EventBody::BuildCancelAsked { build: id, by: by.to_owned() });
    if let Some(child) = open.waits_for.filter(|_| !mutant::is_on(103)) {
        let child = cancel_buildset(turn, child, by);
        reached.builds += child.builds;
        reached.requests += child.requests;
    }
    // A worker that is away cannot be told; should it come back with the build, it learns that it is no longer its own.
    let worker_is_there = turn.state.workers.get(&open.build.worker).is_some_and(|worker| worker.connected);
    if !worker_is_there && let Some(open) = turn.state.builds.get(&id).cloned() {
        report::end(turn, &open, Outcome::Cancelled, Some(Cause::Person), format!("cancelled by {by}"), false);
    }
}
