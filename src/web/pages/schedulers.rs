//! Schedulers: what each will start next and what it decided lately; and the form of those that people start.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use gristmill_model::time::say_span;
use gristmill_model::{Parameter, ParameterKind, Scheduler, SchedulerKind, SchedulerName, Timestamp};

use super::find::Missing;
use super::shell::{Shell, Shown, answer, page};
use super::show::{self, Markup, Sign};
use crate::store::read::SchedulerState;
use crate::web::{App, ansi};

/// Verdicts that are shown of each.
const VERDICTS_SHOWN: i64 = 6;
/// Schedulers that one page shows.
const SCHEDULERS_SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "schedulers.html")]
struct SchedulersPage {
    shell: Shell,
    schedulers: Vec<SchedulerView>,
    more: usize,
}

struct SchedulerView {
    name: String,
    path: String,
    kind: &'static str,
    words: String,
    place: String,
    nodes: Vec<String>,
    next: Option<Markup>,
    last: Option<Markup>,
    nothing: String,
    held: Vec<(i64, String, Option<Markup>)>,
    verdicts: Vec<VerdictLine>,
    is_force: bool,
}

struct VerdictLine {
    change: i64,
    sign: Sign,
    word: String,
    buildset: Option<i64>,
    reason: String,
    at: Markup,
}

/// Shows `/schedulers`.
pub(crate) async fn schedulers(State(app): State<App>) -> Response {
    answer(&app, schedulers_page(&app).await).await
}

async fn schedulers_page(app: &App) -> Shown {
    let live = "verdict. timer. catalog. buildset.created";
    let shell = Shell::read(app, "/schedulers", live).await?.titled("Schedulers");
    let catalog = app.engine.catalog();
    let names: Vec<SchedulerName> = catalog.schedulers.keys().take(SCHEDULERS_SHOWN).cloned().collect();
    let states = app.reader.scheduler_states(&names, VERDICTS_SHOWN).await?;
    let views = states.into_iter().filter_map(|state| {
        let scheduler = catalog.schedulers.get(&state.scheduler)?;
        Some(scheduler_view(scheduler, state, shell.now))
    });
    page(&SchedulersPage {
        schedulers: views.collect(),
        more: catalog.schedulers.len().saturating_sub(SCHEDULERS_SHOWN),
        shell,
    })
}

fn scheduler_view(scheduler: &Scheduler, state: SchedulerState, now: Timestamp) -> SchedulerView {
    let timer = state.timer;
    SchedulerView {
        path: show::encoded(state.scheduler.as_str()),
        name: state.scheduler.0,
        kind: scheduler.kind.as_str(),
        words: words(&scheduler.kind),
        place: show::place(&scheduler.place.to_string()),
        nodes: scheduler.graph.keys().map(|node| node.0.clone()).collect(),
        next: timer.as_ref().and_then(|timer| timer.next).map(|next| show::until(next, now)),
        last: timer.as_ref().and_then(|timer| timer.nominal).map(|last| show::at(last, now)),
        nothing: timer.and_then(|timer| timer.nothing).map(|nothing| ansi::one_line(&nothing)).unwrap_or_default(),
        held: state
            .held
            .iter()
            .map(|held| {
                let until = held.until.map(|until| show::until(until, now));
                (held.change.id.0, ansi::one_line(&held.change.title), until)
            })
            .collect(),
        verdicts: state
            .verdicts
            .iter()
            // That a change does not wake what no change wakes is no news.
            .filter(|verdict| scheduler.kind.judges_changes() || verdict.verdict != "nothing")
            .map(|verdict| VerdictLine {
                change: verdict.change.0,
                sign: match verdict.verdict.as_str() {
                    "built" => Sign::Success,
                    "held" => Sign::Waiting,
                    _ => Sign::Skipped,
                },
                word: verdict.verdict.clone(),
                buildset: verdict.buildset.map(|buildset| buildset.0),
                reason: verdict.reasons.first().map(|reason| ansi::one_line(&reason.to_string())).unwrap_or_default(),
                at: show::at(verdict.at, now),
            })
            .collect(),
        is_force: matches!(scheduler.kind, SchedulerKind::Force { .. }),
    }
}

/// Says in words what wakes a scheduler.
fn words(kind: &SchedulerKind) -> String {
    let quiet = |quiet: &Option<gristmill_model::Quiet>| {
        quiet.map_or_else(String::new, |quiet| {
            format!(", once the branch was quiet for {} (at most {})", say_span(quiet.span), say_span(quiet.at_most))
        })
    };
    match kind {
        SchedulerKind::Branch { quiet: period } => format!("each change that matches{}", quiet(period)),
        SchedulerKind::AnyBranch { quiet: period } => {
            format!("each change of any branch that matches{}", quiet(period))
        }
        SchedulerKind::Dependent { upstream, on } => {
            let names: Vec<&str> = upstream.iter().map(SchedulerName::as_str).collect();
            format!("{} of {}", on.as_str(), names.join(", "))
        }
        SchedulerKind::Triggerable => "a step of a build that triggers it".to_owned(),
        SchedulerKind::Periodic { every, target } => {
            format!("every {}: {} of {}", say_span(*every), target.branch, target.repository)
        }
        SchedulerKind::Nightly { cron, timezone, target } => {
            format!("{cron} ({timezone}): {} of {}", target.branch, target.repository)
        }
        SchedulerKind::Force { .. } => "a person".to_owned(),
    }
}

#[derive(Template)]
#[template(path = "force.html")]
struct ForcePage {
    shell: Shell,
    name: String,
    path: String,
    nodes: Vec<String>,
    fields: Vec<FieldView>,
    by: String,
    reason: String,
    problem: String,
}

/// One thing that may be said.
struct FieldView {
    name: String,
    label: String,
    value: String,
    required: bool,
    kind: &'static str,
    choices: Vec<String>,
    problem: String,
}

/// Shows `/schedulers/{name}/force`; values in the address fill it in, so that a form can be linked to.
pub(crate) async fn force_form(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(values): Query<BTreeMap<String, String>>,
) -> Response {
    answer(&app, force_page(&app, &name, &values, None).await).await
}

/// Makes the form, with what was wrong with the values beside their fields.
pub(crate) async fn force_page(
    app: &App,
    name: &str,
    values: &BTreeMap<String, String>,
    wrong: Option<(&str, &str)>,
) -> Shown {
    let catalog = app.engine.catalog();
    let shell = Shell::read(app, "/schedulers", "").await?.titled(format!("Start {name}"));
    let scheduler = catalog.schedulers.get(name);
    let known: Vec<String> = catalog.schedulers.keys().map(|name| name.0.clone()).collect();
    let scheduler = scheduler.ok_or_else(|| Missing::named("scheduler", name, "/schedulers", &known))?;
    let SchedulerKind::Force { parameters } = &scheduler.kind else {
        return Err(Missing::not_forced(name).into());
    };
    let fields: Vec<FieldView> =
        parameters.iter().map(|(name, parameter)| field(name, parameter, values, wrong)).collect();
    let is_placed = wrong.is_some_and(|(field, _)| fields.iter().any(|view| view.name == field));
    page(&ForcePage {
        path: show::encoded(name),
        name: name.to_owned(),
        nodes: scheduler.graph.keys().map(|node| node.0.clone()).collect(),
        fields,
        by: values.get("by").cloned().unwrap_or_default(),
        reason: values.get("reason").cloned().unwrap_or_default(),
        problem: wrong.filter(|_| !is_placed).map_or_else(String::new, |(field, problem)| {
            if field.is_empty() { problem.to_owned() } else { format!("{field}: {problem}") }
        }),
        shell,
    })
}

fn field(
    name: &str,
    parameter: &Parameter,
    values: &BTreeMap<String, String>,
    wrong: Option<(&str, &str)>,
) -> FieldView {
    let said = values.get(&format!("p.{name}")).or_else(|| values.get(name));
    let (kind, choices) = match &parameter.kind {
        ParameterKind::String => ("text", Vec::new()),
        ParameterKind::Integer => ("number", Vec::new()),
        ParameterKind::Boolean => ("choice", vec!["true".to_owned(), "false".to_owned()]),
        ParameterKind::Choice(choices) => ("choice", choices.clone()),
    };
    FieldView {
        label: parameter.label.clone().unwrap_or_else(|| name.to_owned()),
        value: said.or(parameter.default.as_ref()).map(|value| ansi::one_line(value)).unwrap_or_default(),
        required: parameter.required,
        problem: wrong.filter(|(field, _)| *field == name).map_or_else(String::new, |(_, problem)| problem.to_owned()),
        name: name.to_owned(),
        kind,
        choices,
    }
}
