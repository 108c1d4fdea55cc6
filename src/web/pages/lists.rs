//! Lists: changes, buildsets, builds, workers, messages. Newest first, fifty a page.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use gristmill_model::{About, Care, HoldKind, IncidentId, Outcome, Timestamp, WorkerName};
use serde::Deserialize;

use super::change::{BuildsetView, buildset_view};
use super::shell::{Shell, Shown, Trouble, answer, page};
use super::show::{self, Markup, Sign};
use crate::store::read::{
    BuildFilter, BuildRow, BuildsetFilter, ChangeFilter, ChangeRow, HoldRow, LIMIT_DEFAULT, MessageFilter, MessageRow,
    Page, WorkerRow,
};
use crate::web::{App, ansi};

/// What lists may be narrowed to, and where they go on.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct ListQuery {
    before: Option<i64>,
    repository: Option<String>,
    branch: Option<String>,
    builder: Option<String>,
    outcome: Option<String>,
    scheduler: Option<String>,
    project: Option<String>,
    incident: Option<i64>,
}

impl ListQuery {
    fn page(&self) -> Page {
        Page::of(self.before, Some(LIMIT_DEFAULT))
    }

    /// Gives what was asked for, a value each; an empty field asks for nothing.
    fn wanted(&self) -> Vec<(&'static str, &str)> {
        let fields = [
            ("repository", &self.repository),
            ("branch", &self.branch),
            ("builder", &self.builder),
            ("outcome", &self.outcome),
            ("scheduler", &self.scheduler),
            ("project", &self.project),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| value.as_deref().map(|value| (name, value.trim())));
        given.filter(|(_, value)| !value.is_empty()).collect()
    }

    fn get<T: From<String>>(&self, field: &str) -> Option<T> {
        self.wanted().into_iter().find(|(name, _)| *name == field).map(|(_, value)| T::from(value.to_owned()))
    }

    /// Gives what was asked for, as it may stand in a page.
    fn shown(&self, field: &str) -> String {
        self.get(field).map(|value: String| ansi::one_line(&value)).unwrap_or_default()
    }

    /// Gives the rest of a link to the next page.
    fn older(&self, last: Option<i64>, length: usize) -> Option<String> {
        let last = last.filter(|_| i64::try_from(length) == Ok(LIMIT_DEFAULT))?;
        let wanted: String =
            self.wanted().iter().map(|(name, value)| format!("&{name}={}", show::encoded(value))).collect();
        Some(format!("?before={last}{wanted}"))
    }

    fn filters(&self) -> Vec<(String, String)> {
        self.wanted().into_iter().map(|(name, value)| (name.to_owned(), ansi::one_line(value))).collect()
    }
}

/// A change in a list.
pub(crate) struct ChangeLine {
    pub(crate) id: i64,
    pub(crate) repository: String,
    pub(crate) branch: String,
    pub(crate) short: String,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) at: Markup,
}

/// Shows a change in a list.
pub(crate) fn change_line(change: &ChangeRow, now: Timestamp) -> ChangeLine {
    ChangeLine {
        id: change.id.0,
        repository: change.repository.0.clone(),
        branch: ansi::one_line(&change.branch),
        short: change.short().to_owned(),
        title: ansi::one_line(&change.title),
        author: ansi::one_line(&change.author),
        at: show::at(change.at, now),
    }
}

#[derive(Template)]
#[template(path = "changes.html")]
struct ChangesPage {
    shell: Shell,
    changes: Vec<(ChangeLine, Vec<BuildsetView>)>,
    repositories: Vec<String>,
    chosen: String,
    branch: String,
    filters: Vec<(String, String)>,
    older: Option<String>,
}

/// Shows `/changes`.
pub(crate) async fn changes(State(app): State<App>, Query(query): Query<ListQuery>) -> Response {
    answer(&app, changes_page(&app, query).await).await
}

async fn changes_page(app: &App, query: ListQuery) -> Shown {
    let live = if query.before.is_none() { "change. verdict. buildset. build.finished" } else { "" };
    let shell = Shell::read(app, "/changes", live).await?.titled("Changes");
    let filter = ChangeFilter { repository: query.get("repository"), branch: query.get("branch") };
    let rows = app.reader.list_changes(&filter, query.page()).await?;
    let mut changes = Vec::new();
    for row in &rows {
        let mut buildsets = Vec::new();
        for buildset in app.reader.buildsets_of_change(row.id).await?.iter().take(4) {
            buildsets.push(buildset_view(app, buildset, shell.now).await?);
        }
        changes.push((change_line(row, shell.now), buildsets));
    }
    page(&ChangesPage {
        older: query.older(rows.last().map(|row| row.id.0), rows.len()),
        repositories: app.engine.catalog().repositories.keys().map(|name| name.0.clone()).collect(),
        chosen: query.get("repository").unwrap_or_default(),
        branch: query.shown("branch"),
        filters: query.filters(),
        changes,
        shell,
    })
}

#[derive(Template)]
#[template(path = "buildsets.html")]
struct BuildsetsPage {
    shell: Shell,
    buildsets: Vec<(BuildsetView, String, Markup)>,
    filters: Vec<(String, String)>,
    older: Option<String>,
}

/// Shows `/buildsets`.
pub(crate) async fn buildsets(State(app): State<App>, Query(query): Query<ListQuery>) -> Response {
    answer(&app, buildsets_page(&app, query).await).await
}

async fn buildsets_page(app: &App, query: ListQuery) -> Shown {
    let live = if query.before.is_none() { "buildset. build. request." } else { "" };
    let shell = Shell::read(app, "/builds", live).await?.titled("Buildsets");
    let filter = BuildsetFilter {
        scheduler: query.get("scheduler"),
        project: query.get("project"),
        branch: query.get("branch"),
    };
    let rows = app.reader.list_buildsets(&filter, query.page()).await?;
    let mut buildsets = Vec::new();
    for row in &rows {
        let view = buildset_view(app, row, shell.now).await?;
        buildsets.push((view, ansi::one_line(&row.branch), show::at(row.created_at, shell.now)));
    }
    page(&BuildsetsPage {
        older: query.older(rows.last().map(|row| row.id.0), rows.len()),
        filters: query.filters(),
        buildsets,
        shell,
    })
}

#[derive(Template)]
#[template(path = "builds.html")]
struct BuildsPage {
    shell: Shell,
    builds: Vec<BuildLine>,
    builder: String,
    branch: String,
    outcome: String,
    outcomes: Vec<(&'static str, &'static str)>,
    filters: Vec<(String, String)>,
    older: Option<String>,
}

/// A build in a list.
pub(crate) struct BuildLine {
    pub(crate) id: i64,
    pub(crate) builder: String,
    pub(crate) branch: String,
    pub(crate) sign: Sign,
    pub(crate) said: String,
    pub(crate) buildset: i64,
    pub(crate) revision: String,
    pub(crate) worker: String,
    pub(crate) at: Markup,
    pub(crate) lasted: Markup,
}

/// Shows a build in a list.
pub(crate) fn build_line(build: &BuildRow, now: Timestamp) -> BuildLine {
    let said = match (&build.summary, &build.step, build.outcome) {
        (_, Some(step), None) => format!("{} ({} of {})", step.name, step.number + 1, build.steps_total),
        (Some(summary), _, Some(outcome)) if !outcome.is_good() => ansi::one_line(summary),
        _ => String::new(),
    };
    BuildLine {
        id: build.id.0,
        builder: build.builder.0.clone(),
        branch: ansi::one_line(&build.branch),
        sign: Sign::of_build(build),
        said,
        buildset: build.buildset.0,
        revision: build.stamps.values().next().map_or_else(String::new, |revision| revision.short().to_owned()),
        worker: build.worker.0.clone(),
        at: show::at(build.started_at.unwrap_or(build.leased_at), now),
        lasted: show::build_lasted(build, now),
    }
}

/// Shows `/builds`.
pub(crate) async fn builds(State(app): State<App>, Query(query): Query<ListQuery>) -> Response {
    answer(&app, builds_page(&app, query).await).await
}

async fn builds_page(app: &App, query: ListQuery) -> Shown {
    let live = if query.before.is_none() { "build. step." } else { "" };
    let shell = Shell::read(app, "/builds", live).await?.titled("Builds");
    let word: String = query.get("outcome").unwrap_or_default();
    let filter = BuildFilter {
        builder: query.get("builder"),
        branch: query.get("branch"),
        outcome: Outcome::parse(&word),
        state: None,
    };
    let rows = app.reader.list_builds(&filter, query.page()).await?;
    page(&BuildsPage {
        older: query.older(rows.last().map(|row| row.id.0), rows.len()),
        builds: rows.iter().map(|build| build_line(build, shell.now)).collect(),
        builder: query.shown("builder"),
        branch: query.shown("branch"),
        outcome: word,
        outcomes: Outcome::ALL.into_iter().map(|outcome| (outcome.as_str(), Sign::from(outcome).word())).collect(),
        filters: query.filters(),
        shell,
    })
}

#[derive(Template)]
#[template(path = "workers.html")]
struct WorkersPage {
    shell: Shell,
    workers: Vec<WorkerView>,
}

struct WorkerView {
    name: String,
    connected: bool,
    slots: u32,
    builds: Vec<(i64, String)>,
    labels: Vec<String>,
    since: Markup,
    /// What it says of its own program, its token and its owner, in words.
    about: String,
    holds: Vec<HoldView>,
}

struct HoldView {
    kind: &'static str,
    by: String,
    reason: String,
    at: Markup,
    until: Option<String>,
}

/// Shows `/workers`.
pub(crate) async fn workers(State(app): State<App>) -> Response {
    answer(&app, workers_page(&app).await).await
}

async fn workers_page(app: &App) -> Shown {
    let shell = Shell::read(app, "/workers", "worker. build.").await?.titled("Workers");
    let mut workers = Vec::new();
    for worker in app.reader.workers().await? {
        workers.push(worker_view(app, worker, shell.now).await?);
    }
    page(&WorkersPage { workers, shell })
}

async fn worker_view(app: &App, worker: WorkerRow, now: Timestamp) -> Result<WorkerView, Trouble> {
    let mut builds = Vec::new();
    for id in worker.builds.iter().take(50) {
        let name = app.reader.find_build(*id).await?.map_or_else(String::new, |build| build.builder.0);
        builds.push((id.0, name));
    }
    let name = worker.name.clone();
    Ok(WorkerView {
        name: worker.name.0,
        connected: worker.connected,
        slots: worker.slots,
        builds,
        labels: worker.labels.iter().map(|(name, value)| ansi::one_line(&format!("{name}={value}"))).collect(),
        since: show::at(worker.since, now),
        about: about(app, &name, &worker.about, worker.token.as_deref(), worker.owner),
        holds: worker.holds.iter().map(|hold| hold_view(hold, now)).collect(),
    })
}

fn about(app: &App, name: &WorkerName, about: &About, token: Option<&str>, owner: Option<String>) -> String {
    let catalog = app.engine.catalog();
    let owner = owner.or_else(|| Care::of(&catalog.care, name).and_then(|care| care.owner.clone()));
    let parts = [
        (!about.version.is_empty()).then(|| format!("version {}", about.version)),
        (!about.host.is_empty()).then(|| format!("on {}", about.host)),
        token.map(|token| format!("token {token}")),
        owner.map(|owner| format!("owner {owner}")),
    ];
    ansi::one_line(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn hold_view(hold: &HoldRow, now: Timestamp) -> HoldView {
    HoldView {
        kind: match hold.kind {
            HoldKind::Pause => "paused",
            HoldKind::Drain => "drained",
            HoldKind::Quarantine => "quarantined",
        },
        by: ansi::one_line(&hold.by),
        reason: hold.reason.as_deref().map(ansi::one_line).unwrap_or_default(),
        at: show::at(hold.at, now),
        until: hold.until.map(Timestamp::to_minute),
    }
}

#[derive(Template)]
#[template(path = "messages.html")]
struct MessagesPage {
    shell: Shell,
    messages: Vec<MessageView>,
    routes: Vec<String>,
    older: Option<String>,
}

struct MessageView {
    id: i64,
    notifier: String,
    target: String,
    because: String,
    subject: String,
    text: String,
    sign: Sign,
    state: String,
    said: String,
    attempts: u32,
    at: Markup,
}

/// Shows `/messages`.
pub(crate) async fn messages(State(app): State<App>, Query(query): Query<ListQuery>) -> Response {
    answer(&app, messages_page(&app, query).await).await
}

async fn messages_page(app: &App, query: ListQuery) -> Shown {
    let live = if query.before.is_none() { "message." } else { "" };
    let shell = Shell::read(app, "/messages", live).await?.titled("Messages");
    let filter = MessageFilter { incident: query.incident.map(IncidentId) };
    let rows = app.reader.list_messages(&filter, query.page()).await?;
    page(&MessagesPage {
        older: query.older(rows.last().map(|row| row.id.0), rows.len()),
        messages: rows.iter().map(|row| message_view(row, shell.now)).collect(),
        routes: app.engine.catalog().routes.iter().map(|route| show::place(&route.place.to_string())).collect(),
        shell,
    })
}

/// Says why somebody was told; a rule's place goes without its folders.
fn because(because: &str) -> String {
    let line = ansi::one_line(because);
    if line.starts_with('/') { show::place(&line) } else { line }
}

fn message_view(message: &MessageRow, now: Timestamp) -> MessageView {
    let (sign, state) = match message.state.as_str() {
        "delivered" => (Sign::Success, "delivered"),
        "dead" => (Sign::Failure, "given up"),
        _ if message.attempts > 0 => (Sign::Retry, "tried again later"),
        _ => (Sign::Ready, "on its way"),
    };
    let said = message.error.as_deref().or(message.receipt.as_deref()).map(ansi::one_line).unwrap_or_default();
    MessageView {
        id: message.id.0,
        notifier: message.notifier.0.clone(),
        target: ansi::one_line(&message.target),
        because: because(&message.because),
        subject: ansi::one_line(&message.subject),
        text: ansi::many_lines(&message.text),
        sign,
        state: state.to_owned(),
        said,
        attempts: message.attempts,
        at: show::at(message.at, now),
    }
}
