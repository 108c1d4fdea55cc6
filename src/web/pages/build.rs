//! One build: did it work, and if not, which line says why. The excerpt comes before any log.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use gristmill_model::time::say_span;
use gristmill_model::{BuildId, Command, Outcome, StepAction, Timestamp};
use serde::Deserialize;

use super::buildset::{StampView, TriggerView, stamp_views, trigger_view};
use super::find::{Missing, number};
use super::lists::{ChangeLine, change_line};
use super::log::{LogPanel, log_panel};
use super::overview::SuspectView;
use super::shell::{Shell, Shown, Trouble, answer, blocking, page};
use super::show::{self, Markup, Sign};
use crate::store::read::{ArtifactRow, BuildDetail, StepRow, TestRow};
use crate::web::api::result::{artifact_href, followed};
use crate::web::{App, ansi};

/// Suspects that are named; the rest are counted.
const SUSPECTS_SHOWN: usize = 8;
/// Tests that are shown; the API gives all.
const TESTS_SHOWN: i64 = 50;
/// Files that are shown; the API gives all.
const ARTIFACTS_SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    shell: Shell,
    id: i64,
    builder: String,
    node: String,
    sign: Sign,
    lead: String,
    lasted: Markup,
    is_open: bool,
    attempts: Vec<(i64, usize, Sign, bool)>,
    worker: String,
    branch: String,
    buildset: i64,
    request: i64,
    scheduler: String,
    trigger: TriggerView,
    stamps: Vec<StampView>,
    changes: Vec<ChangeLine>,
    leased: Markup,
    cancel: String,
    excerpt: Option<ExcerptView>,
    suspects: Vec<SuspectView>,
    suspects_more: usize,
    last_good: Option<i64>,
    previous: Option<i64>,
    next: Option<i64>,
    steps: Vec<StepView>,
    ahead: Vec<String>,
    log: Option<LogPanel>,
    properties: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    requires: Vec<(String, String)>,
    results: ResultsView,
}

/// What came out of the steps.
struct ResultsView {
    failed: u64,
    skipped: u64,
    passed: u64,
    tests: Vec<TestView>,
    tests_more: u64,
    artifacts: Vec<(String, String, String)>,
    artifacts_more: usize,
    outputs: Vec<(String, String)>,
    /// Step, number, name of followed files.
    logs: Vec<(u32, u32, String)>,
}

struct TestView {
    outcome: &'static str,
    name: String,
    lasted: String,
    message: String,
}

struct ExcerptView {
    step: u32,
    step_name: String,
    error: Option<u64>,
    lines: Vec<(u64, bool, Markup)>,
}

struct StepView {
    number: u32,
    name: String,
    command: String,
    sign: Sign,
    summary: String,
    lasted: Markup,
    /// Thousandths of the longest step.
    share: u128,
    triggered: Option<i64>,
    current: bool,
}

#[derive(Deserialize)]
pub(crate) struct BuildQuery {
    step: Option<String>,
    from: Option<String>,
}

/// Shows `/builds/{id}`.
pub(crate) async fn build(State(app): State<App>, Path(id): Path<String>, Query(query): Query<BuildQuery>) -> Response {
    answer(&app, build_page(&app, &id, query).await).await
}

async fn build_page(app: &App, which: &str, query: BuildQuery) -> Shown {
    let id = number(which).ok_or_else(|| Missing::numbered("build", which))?;
    let shell = Shell::read(app, "/builds", format!("build={id}")).await?;
    let now = shell.now;
    let detail = app.reader.find_build_detail(BuildId(id)).await?;
    let detail = detail.ok_or_else(|| Missing::numbered("build", which))?;
    let asked = query.step.as_deref().and_then(|step| step.parse::<u32>().ok());
    let step = asked.and_then(|asked| detail.steps.iter().find(|step| step.number == asked));
    let step = step.or_else(|| detail.telling_step());
    let from = query.from.as_deref().and_then(|from| from.parse::<u64>().ok());
    let is_bad = detail.build.outcome.is_some_and(Outcome::is_bad);
    let range = if is_bad { app.reader.culprit_range(BuildId(id)).await? } else { None };
    let range = range.unwrap_or(crate::store::read::CulpritRange { last_good: None, suspects: Vec::new() });
    let excerpt = if is_bad { excerpt(app, &detail).await? } else { None };
    let log = match step {
        Some(step) => Some(log_panel(app, &detail.build, step, from).await?),
        None => None,
    };
    let row = &detail.build;
    let current = step.map(|step| step.number);
    let text = |map: &std::collections::BTreeMap<String, String>| -> Vec<(String, String)> {
        map.iter().map(|(name, value)| (name.clone(), ansi::one_line(value))).collect()
    };
    page(&BuildPage {
        id,
        builder: row.builder.0.clone(),
        node: detail.node.0.clone(),
        sign: Sign::of_build(row),
        lead: lead(&detail),
        lasted: show::build_lasted(row, now),
        is_open: row.outcome.is_none(),
        attempts: attempts(&detail),
        worker: row.worker.0.clone(),
        branch: ansi::one_line(&row.branch),
        buildset: row.buildset.0,
        request: row.request.0,
        scheduler: row.scheduler.0.clone(),
        trigger: trigger_view(&detail.trigger),
        stamps: stamp_views(detail.stamps.iter().map(|(codebase, stamp)| {
            (codebase.as_str(), stamp.branch.as_str(), &stamp.revision, stamp.change.map(|change| change.0))
        })),
        changes: detail.changes.iter().take(3).map(|change| change_line(change, now)).collect(),
        leased: show::at(row.leased_at, now),
        cancel: row.cancel.as_deref().map(ansi::one_line).unwrap_or_default(),
        excerpt,
        suspects_more: range.suspects.len().saturating_sub(SUSPECTS_SHOWN),
        suspects: range.suspects.iter().rev().take(SUSPECTS_SHOWN).map(suspect_view).collect(),
        last_good: range.last_good.or(detail.neighbours.last_good).map(|build| build.0),
        previous: detail.neighbours.previous.map(|build| build.0),
        next: detail.neighbours.next.map(|build| build.0),
        steps: steps(&detail, current, now),
        ahead: if row.outcome.is_none() { detail.steps_ahead().map(str::to_owned).collect() } else { Vec::new() },
        log,
        properties: text(&detail.properties),
        environment: text(&detail.recipe.environment),
        requires: text(&detail.recipe.requires),
        results: results(app, &detail).await?,
        shell: shell.titled(format!("{} {id}", row.builder)),
    })
}

async fn results(app: &App, detail: &BuildDetail) -> Result<ResultsView, Trouble> {
    let id = detail.build.id;
    let counts = app.reader.count_tests(id).await?;
    let tests = if counts.total() == 0 { Vec::new() } else { app.reader.tests_of_build(id, 0, TESTS_SHOWN).await? };
    let test = |row: &TestRow| TestView {
        outcome: row.outcome.as_str(),
        name: ansi::one_line(&if row.suite.is_empty() {
            row.name.clone()
        } else {
            format!("{} {}", row.suite, row.name)
        }),
        lasted: match row.micros {
            0 => String::new(),
            micros => say_span(std::time::Duration::from_micros(micros)),
        },
        message: ansi::many_lines(&row.message),
    };
    let artifacts = app.reader.artifacts_of_build(id).await?;
    let file = |row: &ArtifactRow| {
        (artifact_href(id, row.step, &row.path), ansi::one_line(&row.path), crate::keeping::files::size(row.bytes))
    };
    let outputs = app.reader.outputs_of_build(id).await?;
    Ok(ResultsView {
        failed: counts.failed,
        skipped: counts.skipped,
        passed: counts.passed,
        tests_more: counts.total().saturating_sub(tests.len() as u64),
        tests: tests.iter().map(test).collect(),
        artifacts_more: artifacts.len().saturating_sub(ARTIFACTS_SHOWN),
        artifacts: artifacts.iter().take(ARTIFACTS_SHOWN).map(file).collect(),
        outputs: outputs.into_iter().map(|row| (row.name, ansi::one_line(&row.value))).collect(),
        logs: followed(&detail.recipe, detail.steps.iter().map(|step| step.number)),
    })
}

fn lead(detail: &BuildDetail) -> String {
    let build = &detail.build;
    let summary = build.summary.as_deref().map(ansi::one_line).unwrap_or_default();
    let cause = build.cause.map_or_else(String::new, |cause| format!(" ({cause})"));
    match (build.outcome, &build.step) {
        (Some(outcome), _) if outcome.is_good() => summary,
        (Some(_), _) if summary.is_empty() => format!("{}{cause}", Sign::of_build(build).word()),
        (Some(_), _) => format!("{summary}{cause}"),
        (None, Some(step)) => {
            format!("{}, step {} of {}: {}", build.state.as_str(), step.number + 1, build.steps_total, step.name)
        }
        (None, None) => format!("{} to {}", build.state.as_str(), build.worker),
    }
}

fn attempts(detail: &BuildDetail) -> Vec<(i64, usize, Sign, bool)> {
    let attempts = detail.attempts.iter().zip(1..);
    attempts.map(|((id, outcome), number)| (id.0, number, Sign::of_outcome(*outcome), *id == detail.build.id)).collect()
}

fn suspect_view(suspect: &crate::store::read::Suspect) -> SuspectView {
    SuspectView {
        change: suspect.change.0,
        short: suspect.revision.as_ref().map_or("gone", |revision| revision.short()).to_owned(),
        title: ansi::one_line(&suspect.title),
        author: suspect.authors.iter().map(|author| ansi::one_line(&author.name)).collect::<Vec<_>>().join(", "),
    }
}

async fn excerpt(app: &App, detail: &BuildDetail) -> Result<Option<ExcerptView>, Trouble> {
    let Some(step) = detail.telling_step() else { return Ok(None) };
    let (logs, address) = (app.logs.clone(), detail.build.log(step.number));
    let excerpt = blocking(move || logs.excerpt(address)).await??;
    if excerpt.lines.is_empty() {
        return Ok(None);
    }
    let mut renderer = ansi::Renderer::new();
    let lines = excerpt
        .lines
        .iter()
        .map(|line| (line.number, Some(line.number) == excerpt.error, show::log_line(&mut renderer, &line.text)));
    Ok(Some(ExcerptView {
        step: step.number,
        step_name: step.name.clone(),
        error: excerpt.error,
        lines: lines.collect(),
    }))
}

fn steps(detail: &BuildDetail, current: Option<u32>, now: Timestamp) -> Vec<StepView> {
    let span = |step: &StepRow| step.finished_at.unwrap_or(now).since(step.started_at).as_millis();
    let longest = detail.steps.iter().map(span).max().unwrap_or(0).max(1);
    let view = |step: &StepRow| StepView {
        number: step.number,
        name: step.name.clone(),
        command: command(detail, step.number),
        sign: Sign::of_step(step),
        summary: step
            .summary
            .as_deref()
            .map(ansi::one_line)
            .filter(|_| step.warnings > 0 || step.outcome.is_some_and(|outcome| !outcome.is_good()))
            .unwrap_or_default(),
        lasted: show::lasted(step.started_at, step.finished_at, now),
        share: span(step) * 1000 / longest,
        triggered: step.triggered.map(|buildset| buildset.0),
        current: Some(step.number) == current,
    };
    detail.steps.iter().map(view).collect()
}

/// Says what a step does, as configured.
fn command(detail: &BuildDetail, number: u32) -> String {
    let Some(step) = detail.recipe.steps.get(number as usize) else { return String::new() };
    match &step.action {
        StepAction::Checkout { .. } => "checkout".to_owned(),
        StepAction::Run { command: Command::Script(script) } => ansi::one_line(script),
        StepAction::Run { command: Command::Arguments(words) } => ansi::one_line(&words.join(" ")),
        StepAction::Trigger { scheduler, .. } => format!("trigger {scheduler}"),
    }
}
