//! One change: what it brought, what every scheduler made of it, and what came of that.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use gristmill_model::{ChangeId, Movement, Timestamp};

use super::find::{Missing, number};
use super::shell::{Shell, Shown, answer, page};
use super::show::{self, Markup, Sign};
use crate::store::read::{BuildsetRow, ChangeDetail, ShaLookup, VerdictRow};
use crate::web::{App, ansi};

/// Commits whose message is shown; the rest are counted.
const COMMITS_SHOWN: usize = 50;
/// Files that are listed; the rest are counted.
const FILES_SHOWN: usize = 300;

#[derive(Template)]
#[template(path = "change.html")]
struct ChangePage {
    shell: Shell,
    id: i64,
    repository: String,
    branch: String,
    short: String,
    revision: String,
    old: String,
    title: String,
    movement: &'static str,
    via: String,
    seen: Markup,
    authors: String,
    sign: Option<Sign>,
    lead: String,
    verdicts: Vec<VerdictView>,
    commits: Vec<CommitView>,
    commits_more: usize,
    files: Vec<String>,
    files_more: usize,
    incomplete: bool,
}

struct VerdictView {
    scheduler: String,
    word: &'static str,
    sign: Sign,
    buildset: Option<BuildsetView>,
    until: Option<Markup>,
    reasons: Vec<String>,
    place: String,
}

pub(crate) struct BuildsetView {
    pub(crate) id: i64,
    pub(crate) scheduler: String,
    pub(crate) sign: Sign,
    pub(crate) cells: Vec<(String, String, Sign)>,
    pub(crate) said: String,
    pub(crate) lasted: Markup,
}

struct CommitView {
    short: String,
    revision: String,
    subject: String,
    rest: String,
    author: String,
    at: Markup,
}

/// Shows `/changes/{id or revision}`.
pub(crate) async fn change(State(app): State<App>, Path(which): Path<String>) -> Response {
    answer(&app, change_page(&app, &which).await).await
}

async fn change_page(app: &App, which: &str) -> Shown {
    let Some(id) = number(which) else { return by_revision(app, which).await };
    let shell = Shell::read(app, "/changes", format!("change={id} buildset request build")).await?;
    let detail = app.reader.find_change_detail(ChangeId(id)).await?;
    let detail = detail.ok_or_else(|| Missing::numbered("change", which))?;
    let mut buildsets = Vec::new();
    for buildset in &detail.buildsets {
        buildsets.push(buildset_view(app, buildset, shell.now).await?);
    }
    page(&view(shell, detail, buildsets))
}

/// Looks for a revision by its beginning; `@1234567` is one although it has only digits.
async fn by_revision(app: &App, which: &str) -> Shown {
    let prefix = which.strip_prefix('@').unwrap_or(which);
    match app.reader.find_change_by_sha(prefix).await? {
        ShaLookup::One(id) => Ok(Redirect::to(&format!("/changes/{id}")).into_response()),
        ShaLookup::Ambiguous(ids) => {
            let rows = app.reader.changes_by_id(&ids).await?;
            Err(Missing::ambiguous(prefix, &rows).into())
        }
        ShaLookup::Unknown => Err(Missing::revision(prefix).into()),
    }
}

pub(crate) async fn buildset_view(
    app: &App,
    buildset: &BuildsetRow,
    now: Timestamp,
) -> Result<BuildsetView, super::shell::Trouble> {
    let requests = app.reader.requests_of_buildset(buildset.id).await?;
    let cells = requests.iter().take(60).map(|request| {
        let href =
            request.build.map_or_else(|| format!("/requests/{}", request.id), |build| format!("/builds/{build}"));
        let sign = Sign::of_request(request);
        (href, format!("{}, {}", request.node, sign.word()), sign)
    });
    let counts = buildset.counts;
    let over = counts.good + counts.bad;
    let said = match buildset.outcome {
        Some(_) if counts.bad == 0 => show::many(counts.total as usize, "build"),
        Some(_) => format!("{} of {} did not end well", counts.bad, counts.total),
        None => format!("{over} of {} over", counts.total),
    };
    Ok(BuildsetView {
        id: buildset.id.0,
        scheduler: buildset.scheduler.0.clone(),
        sign: Sign::of_buildset(buildset),
        cells: cells.collect(),
        said,
        lasted: show::lasted(buildset.created_at, buildset.completed_at, now),
    })
}

fn view(shell: Shell, detail: ChangeDetail, mut buildsets: Vec<BuildsetView>) -> ChangePage {
    let now = shell.now;
    let change = detail.change;
    let outcomes: Vec<Option<gristmill_model::Outcome>> =
        detail.buildsets.iter().map(|buildset| buildset.outcome).collect();
    let sign = match outcomes.iter().copied().collect::<Option<Vec<_>>>() {
        _ if outcomes.is_empty() => None,
        Some(all) => Some(Sign::from(gristmill_model::Outcome::combine(all))),
        None => Some(Sign::Running),
    };
    let total: u32 = detail.buildsets.iter().map(|buildset| buildset.counts.total).sum();
    let over: u32 = detail.buildsets.iter().map(|buildset| buildset.counts.good + buildset.counts.bad).sum();
    let bad: u32 = detail.buildsets.iter().map(|buildset| buildset.counts.bad).sum();
    let lead = match (detail.buildsets.len(), detail.verdicts.len()) {
        (0, 0) => "No scheduler has seen it.".to_owned(),
        (0, _) => "It started nothing; each scheduler says why below.".to_owned(),
        _ if bad > 0 => format!("{over} of {} over, {bad} did not end well.", show::many(total as usize, "build")),
        _ if over == total => format!("All of {} ended well.", show::many(total as usize, "build")),
        _ => format!("{over} of {} over.", show::many(total as usize, "build")),
    };
    let verdicts = detail.verdicts.iter().map(|verdict| {
        let at = verdict.buildset.and_then(|id| buildsets.iter().position(|buildset| buildset.id == id.0));
        verdict_view(verdict, at.map(|at| buildsets.remove(at)), now)
    });
    let mut verdicts: Vec<VerdictView> = verdicts.collect();
    // What was set off by what this change set off has no verdict on the change itself.
    verdicts.extend(buildsets.into_iter().map(|buildset| VerdictView {
        scheduler: buildset.scheduler.clone(),
        word: "built",
        sign: buildset.sign,
        buildset: Some(buildset),
        until: None,
        reasons: vec!["it contains this change".to_owned()],
        place: String::new(),
    }));
    verdicts.sort_by_key(|verdict| verdict.buildset.is_none());
    let mut files: Vec<String> =
        change.commits.iter().flat_map(|commit| &commit.files).map(|file| ansi::one_line(file)).collect();
    files.sort();
    files.dedup();
    let authors: Vec<String> = change.authors().iter().map(|author| ansi::one_line(&author.name)).collect();
    let title = ansi::one_line(&change.title());
    ChangePage {
        shell: shell.titled(format!("Change {}", change.id)),
        id: change.id.0,
        repository: change.repository.0.clone(),
        branch: ansi::one_line(change.reference.short()),
        short: change.new.as_ref().map_or("gone", |revision| revision.short()).to_owned(),
        revision: change.new.as_ref().map_or_else(String::new, |revision| revision.0.clone()),
        old: change.old.as_ref().map_or_else(String::new, |revision| revision.short().to_owned()),
        movement: match change.movement {
            Movement::Created => "created",
            Movement::Moved => "moved",
            Movement::Forced => "forced: history was rewritten",
            Movement::Deleted => "deleted",
        },
        via: serde_json::to_value(change.via)
            .ok()
            .and_then(|word| word.as_str().map(str::to_owned))
            .unwrap_or_default(),
        seen: show::at(change.at, now),
        authors: authors.join(", "),
        title,
        sign,
        lead,
        verdicts,
        commits_more: change.commits.len().saturating_sub(COMMITS_SHOWN),
        commits: change.commits.iter().rev().take(COMMITS_SHOWN).map(|commit| commit_view(commit, now)).collect(),
        files_more: files.len().saturating_sub(FILES_SHOWN),
        files: files.into_iter().take(FILES_SHOWN).collect(),
        incomplete: change.incomplete,
    }
}

fn verdict_view(verdict: &VerdictRow, buildset: Option<BuildsetView>, now: Timestamp) -> VerdictView {
    let (word, sign) = match verdict.verdict.as_str() {
        "built" => ("built", Sign::Success),
        "held" => ("held", Sign::Waiting),
        _ => ("nothing", Sign::Skipped),
    };
    VerdictView {
        scheduler: verdict.scheduler.0.clone(),
        word,
        sign: buildset.as_ref().map_or(sign, |buildset| buildset.sign),
        buildset,
        until: verdict.until.map(|until| show::until(until, now)),
        reasons: verdict.reasons.iter().map(|reason| ansi::one_line(&reason.to_string())).collect(),
        place: show::place(&verdict.place),
    }
}

fn commit_view(commit: &gristmill_model::Commit, now: Timestamp) -> CommitView {
    let message = ansi::many_lines(commit.message.trim());
    let (subject, rest) = message.split_once('\n').unwrap_or((message.as_str(), ""));
    CommitView {
        short: commit.revision.short().to_owned(),
        revision: commit.revision.0.clone(),
        subject: subject.to_owned(),
        rest: rest.trim().to_owned(),
        author: ansi::one_line(&commit.author.name),
        at: show::at(commit.at, now),
    }
}
