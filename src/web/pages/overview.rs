//! The first page: what is broken and since when, what runs, what waits and why, what was just fixed.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use gristmill_model::protocol::LogAddress;
use gristmill_model::{Outcome, ProjectName, RequestState};

use super::shell::{Shell, Shown, answer, blocking, page, reasons};
use super::show::{self, Markup, Sign};
use crate::logs::{LogStore, Mark};
use crate::store::read::{BuildRow, IncidentRow, ProjectRow, ReadError, RequestRow};
use crate::web::{App, ansi};

/// Builders that one incident names; more are counted.
const BUILDERS_SHOWN: usize = 4;
/// Suspects that one incident names; more are counted.
const SUSPECTS_SHOWN: usize = 3;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    incidents: Vec<IncidentView>,
    running: Vec<RunningView>,
    waiting: Vec<WaitingView>,
    fixed: Vec<FixedView>,
    projects: Vec<ProjectView>,
    builders: usize,
    troubles: Vec<(String, String)>,
    slots: (usize, usize),
    is_new: bool,
}

pub(crate) struct IncidentView {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) branch: String,
    pub(crate) since: Markup,
    pub(crate) builders: Vec<BrokenView>,
    pub(crate) builders_more: usize,
    pub(crate) suspects: Vec<SuspectView>,
    pub(crate) suspects_more: usize,
    pub(crate) step: String,
    pub(crate) summary: String,
    pub(crate) first_build: i64,
    pub(crate) error: Option<ErrorView>,
}

pub(crate) struct BrokenView {
    name: String,
    build: i64,
    is_fixed: bool,
}

pub(crate) struct SuspectView {
    pub(crate) change: i64,
    pub(crate) short: String,
    pub(crate) title: String,
    pub(crate) author: String,
}

pub(crate) struct ErrorView {
    pub(crate) href: String,
    pub(crate) line: u64,
    pub(crate) text: String,
}

pub(crate) struct RunningView {
    pub(crate) id: i64,
    pub(crate) builder: String,
    pub(crate) branch: String,
    pub(crate) sign: Sign,
    pub(crate) step: String,
    pub(crate) done: u32,
    pub(crate) steps: u32,
    pub(crate) worker: String,
    pub(crate) lasted: Markup,
}

pub(crate) struct WaitingView {
    pub(crate) id: i64,
    pub(crate) builder: String,
    pub(crate) buildset: i64,
    pub(crate) branch: String,
    pub(crate) sign: Sign,
    pub(crate) since: Markup,
    pub(crate) reason: String,
}

struct FixedView {
    title: String,
    branch: String,
    after: Markup,
    at: Markup,
    build: Option<i64>,
}

struct ProjectView {
    name: String,
    href: String,
    sign: Option<Sign>,
    strip: Vec<(i64, Sign)>,
}

/// Shows `/`.
pub(crate) async fn overview(State(app): State<App>) -> Response {
    answer(&app, overview_page(&app).await).await
}

async fn overview_page(app: &App) -> Shown {
    let shell = Shell::read(app, "/", "all").await?.titled("Overview");
    let now = shell.now;
    let catalog = app.engine.catalog();
    let names: Vec<ProjectName> = catalog.projects.keys().cloned().collect();
    let overview = app.reader.overview(&names).await?;
    let mut incidents = Vec::new();
    for incident in overview.incidents {
        incidents.push(incident_view(app, incident, now).await?);
    }
    let mut waiting = Vec::new();
    for request in &overview.waiting {
        waiting.push(waiting_view(app, request, now).await);
    }
    let workers = app.reader.workers().await?;
    let here = workers.iter().filter(|worker| worker.connected);
    let slots = here.fold((0, 0), |(busy, all), worker| (busy + worker.builds.len(), all + worker.slots as usize));
    let troubles = troubles(app).await?;
    let is_new = overview.projects.iter().all(|project| project.strip.is_empty())
        && overview.running.is_empty()
        && overview.waiting.is_empty();
    page(&OverviewPage {
        is_new,
        incidents,
        running: overview.running.iter().map(|build| running_view(build, now)).collect(),
        waiting,
        fixed: overview.fixed.iter().map(|incident| fixed_view(incident, now)).collect(),
        projects: overview.projects.into_iter().map(project_view).collect(),
        builders: catalog.builders.len(),
        troubles,
        slots,
        shell,
    })
}

/// What the service itself suffers from: what, and why.
async fn troubles(app: &App) -> Result<Vec<(String, String)>, ReadError> {
    let failing = app.reader.repositories().await?.into_iter().filter(|repository| repository.failures > 0);
    let failing = failing.map(|repository| {
        let why = ansi::one_line(&repository.error.unwrap_or_default());
        (format!("{} cannot be read.", repository.name), why)
    });
    let refused = app.reader.catalog_problem().await?.map(|problem| {
        let first = problem.problems.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let what = "The configuration's file has mistakes; what was in force before stays in force.".to_owned();
        (what, ansi::one_line(first))
    });
    let silent = app.reader.silent_notifiers().await?.into_iter().map(|silent| {
        let messages = if silent.waiting == 1 { "message waits" } else { "messages wait" };
        (format!("{} {messages} for {}.", silent.waiting, silent.notifier), ansi::one_line(&silent.error))
    });
    let found = app.reader.findings().await?.into_iter().map(|finding| {
        let what = format!("The service's own data is not as it should be ({}).", finding.check);
        (what, ansi::one_line(&finding.detail))
    });
    Ok(found.chain(refused).chain(failing).chain(silent).collect())
}

/// Finds the first line of a log that looks like an error.
pub(crate) fn first_error(logs: &LogStore, address: LogAddress) -> Option<Mark> {
    logs.errors(address).ok()?.marks.into_iter().next()
}

/// Makes the link to an error's line.
pub(crate) fn error_view(address: LogAddress, mark: &Mark) -> ErrorView {
    let text = ansi::Renderer::new().plain(&mark.text);
    let (build, step, line) = (address.build, address.step, mark.line);
    ErrorView { href: format!("/builds/{build}?step={step}#L{line}"), line, text: text.trim().to_owned() }
}

async fn incident_view(
    app: &App,
    incident: IncidentRow,
    now: gristmill_model::Timestamp,
) -> Result<IncidentView, super::shell::Trouble> {
    let logs = app.logs.clone();
    let error = match incident.log {
        Some(address) => blocking(move || first_error(&logs, address).map(|mark| error_view(address, &mark))).await?,
        None => None,
    };
    let broken = incident.broken_count();
    let project = incident.project.as_ref().map_or_else(String::new, |project| format!("{project}: "));
    let title = match broken {
        0 | 1 => {
            format!("{project}{}", incident.builders.first().map_or(&incident.first_builder, |first| &first.builder))
        }
        count => format!("{project}{}", show::many(count, "builder")),
    };
    let builders = incident.builders.iter().map(|builder| BrokenView {
        name: builder.builder.0.clone(),
        build: builder.broke_build.0,
        is_fixed: builder.fixed_build.is_some(),
    });
    let suspects = incident.suspects.iter().rev().take(SUSPECTS_SHOWN).map(|suspect| SuspectView {
        change: suspect.change.0,
        short: suspect.revision.as_ref().map_or("gone", |revision| revision.short()).to_owned(),
        title: ansi::one_line(&suspect.title),
        author: suspect.authors.first().map_or_else(String::new, |author| ansi::one_line(&author.name)),
    });
    Ok(IncidentView {
        id: incident.id.0,
        title,
        branch: ansi::one_line(&incident.branch),
        since: show::lasted(incident.opened_at, None, now),
        builders_more: incident.builders.len().saturating_sub(BUILDERS_SHOWN),
        builders: builders.take(BUILDERS_SHOWN).collect(),
        suspects_more: incident.suspects.len().saturating_sub(SUSPECTS_SHOWN),
        suspects: suspects.collect(),
        step: incident.step.unwrap_or_default(),
        summary: ansi::one_line(&incident.summary.unwrap_or_default()),
        first_build: incident.first_build.0,
        error,
    })
}

pub(crate) fn running_view(build: &BuildRow, now: gristmill_model::Timestamp) -> RunningView {
    RunningView {
        id: build.id.0,
        builder: build.builder.0.clone(),
        branch: ansi::one_line(&build.branch),
        sign: Sign::of_build(build),
        step: build.step.as_ref().map_or_else(|| build.state.as_str().to_owned(), |step| step.name.clone()),
        done: build.step.as_ref().map_or(0, |step| step.number),
        steps: build.steps_total.max(1),
        worker: build.worker.0.clone(),
        lasted: show::build_lasted(build, now),
    }
}

pub(crate) async fn waiting_view(app: &App, request: &RequestRow, now: gristmill_model::Timestamp) -> WaitingView {
    let reason = reasons(app, request.id).await.into_iter().next();
    let fallback = if request.state == RequestState::Ready { "waits to be placed" } else { "waits for its needs" };
    WaitingView {
        id: request.id.0,
        builder: request.builder.0.clone(),
        buildset: request.buildset.0,
        branch: ansi::one_line(&request.branch),
        sign: Sign::of_request(request),
        since: show::lasted(request.created_at, None, now),
        reason: reason.unwrap_or_else(|| fallback.to_owned()),
    }
}

fn fixed_view(incident: &IncidentRow, now: gristmill_model::Timestamp) -> FixedView {
    let names: Vec<&str> = incident.builders.iter().take(3).map(|builder| builder.builder.as_str()).collect();
    let more = incident.builders.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let closed = incident.closed_at.unwrap_or(now);
    FixedView {
        title: format!("{}{more}", names.join(", ")),
        branch: ansi::one_line(&incident.branch),
        after: show::lasted(incident.opened_at, Some(closed), now),
        at: show::at(closed, now),
        build: incident.builders.iter().filter_map(|builder| builder.fixed_build).max().map(|build| build.0),
    }
}

fn project_view(row: ProjectRow) -> ProjectView {
    let mut strip: Vec<(i64, Sign)> =
        row.strip.iter().map(|cell| (cell.buildset.0, Sign::of_outcome(cell.outcome))).collect();
    let newest = row.strip.iter().find_map(|cell| cell.outcome.filter(|outcome| *outcome != Outcome::Cancelled));
    // The newest one stands at the right, where the eye ends.
    strip.sort_by_key(|(buildset, _)| *buildset);
    let href = row.project.as_ref().map_or_else(
        || "/buildsets".to_owned(),
        |project| format!("/buildsets?project={}", show::encoded(project.as_str())),
    );
    ProjectView {
        name: row.project.map_or_else(|| "without a project".to_owned(), |name| name.0),
        href,
        sign: newest.map(Sign::from),
        strip,
    }
}
