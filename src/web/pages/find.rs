//! Finding things: the search box, short addresses for speech and IRC, and what is offered when something is not there.

use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use gristmill_model::{BuildId, BuildsetId, ChangeId, RequestId};
use serde::Deserialize;

use super::shell::{Shown, Trouble, answer};
use super::show::encoded;
use crate::store::read::{ChangeRow, ShaLookup};
use crate::web::{App, ansi};

/// Names that are offered in place of one that is not known.
const OFFERS_MAX: usize = 8;
/// Characters of what was asked for that are said again.
const ECHO_CHARS: usize = 80;

/// Something that was asked for and is not there.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) offers: Vec<Offer>,
}

/// Something that may have been meant.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) href: String,
    pub(crate) words: String,
}

impl Offer {
    fn new(href: impl Into<String>, words: impl Into<String>) -> Self {
        Self { href: href.into(), words: words.into() }
    }
}

/// Reads a number as the engine gives them out; nothing else.
pub(crate) fn number(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn echo(text: &str) -> String {
    let line = ansi::one_line(text);
    if line.chars().count() <= ECHO_CHARS {
        return line;
    }
    line.chars().take(ECHO_CHARS).chain(['…']).collect()
}

impl Missing {
    /// There is no such numbered thing.
    pub(crate) fn numbered(noun: &str, which: &str) -> Self {
        let path = format!("/{noun}s");
        let list = if noun == "request" { "/queue".to_owned() } else { path };
        Self {
            title: format!("There is no {noun} {}", echo(which)),
            message: "It may have been retired, or the number may be another thing's.".to_owned(),
            offers: vec![
                Offer::new(format!("/search?q={}", encoded(which)), "look for it among everything"),
                Offer::new(list, format!("the newest {noun}s")),
            ],
        }
    }

    /// A build has no such step, or has not come to it.
    pub(crate) fn step(build: i64, step: &str) -> Self {
        Self {
            title: format!("Build {build} has no step {}", echo(step)),
            message: "It may not have come to it yet.".to_owned(),
            offers: vec![Offer::new(format!("/builds/{build}"), format!("build {build}"))],
        }
    }

    /// No change brought a revision that begins so.
    pub(crate) fn revision(prefix: &str) -> Self {
        Self {
            title: format!("No change brought {}", echo(prefix)),
            message:
                "A revision is found by at least six of its characters, once it has been seen at the tip of a branch."
                    .to_owned(),
            offers: vec![Offer::new("/changes", "the newest changes")],
        }
    }

    /// Several changes brought revisions that begin so.
    pub(crate) fn ambiguous(prefix: &str, rows: &[ChangeRow]) -> Self {
        let offer = |row: &ChangeRow| {
            let words = format!("{} {} {}", row.repository, row.short(), ansi::one_line(&row.title));
            Offer::new(format!("/changes/{}", row.id), words)
        };
        Self {
            title: format!("Several changes begin with {}", echo(prefix)),
            message: "Which one is meant?".to_owned(),
            offers: rows.iter().take(OFFERS_MAX).map(offer).collect(),
        }
    }

    /// There is nothing of that name; those that are spelled nearly so are offered.
    pub(crate) fn named(noun: &str, name: &str, list: &str, known: &[String]) -> Self {
        let mut near: Vec<(usize, &String)> = known
            .iter()
            .map(|other| (strsim::damerau_levenshtein(name, other), other))
            .filter(|(far, _)| *far <= 3)
            .collect();
        near.sort();
        let mut offers: Vec<Offer> =
            near.iter().take(OFFERS_MAX).map(|(_, name)| Offer::new(list, format!("{noun} {name}"))).collect();
        offers.push(Offer::new(list, format!("all {noun}s")));
        Self { title: format!("There is no {noun} {}", echo(name)), message: String::new(), offers }
    }

    /// The scheduler is not one that people start.
    pub(crate) fn not_forced(name: &str) -> Self {
        Self {
            title: format!("{} is not started by people", echo(name)),
            message: "Only schedulers of the kind `force` are.".to_owned(),
            offers: vec![Offer::new("/schedulers", "all schedulers")],
        }
    }
}

/// Answers a path that no page has.
pub async fn missing_page(State(app): State<App>, uri: Uri) -> Response {
    let last = uri.path().rsplit('/').find(|part| !part.is_empty()).unwrap_or("").to_owned();
    let mut offers = vec![Offer::new("/", "the overview")];
    if !last.is_empty() && last.is_ascii() {
        offers.insert(0, Offer::new(format!("/search?q={}", encoded(&last)), format!("look for {}", echo(&last))));
    }
    let missing = Missing { title: "There is no such page".to_owned(), message: echo(uri.path()), offers };
    answer(&app, Err(Trouble::Missing(missing))).await
}

#[derive(Deserialize)]
pub(crate) struct SearchQuery {
    q: Option<String>,
}

/// Goes where a number, a revision or a name leads.
pub(crate) async fn search(State(app): State<App>, Query(query): Query<SearchQuery>) -> Response {
    let wanted = query.q.unwrap_or_default();
    answer(&app, found(&app, wanted.trim()).await).await
}

async fn found(app: &App, wanted: &str) -> Shown {
    let mut offers = Vec::new();
    if let Some(id) = number(wanted) {
        offers.extend(by_number(app, id).await?);
    }
    match app.reader.find_change_by_sha(wanted.trim_start_matches('@')).await? {
        ShaLookup::One(id) => offers.push(Offer::new(format!("/changes/{id}"), format!("change {id}"))),
        ShaLookup::Ambiguous(ids) => {
            let rows = app.reader.changes_by_id(&ids).await?;
            offers.extend(Missing::ambiguous(wanted, &rows).offers);
        }
        ShaLookup::Unknown => {}
    }
    offers.extend(by_name(app, wanted));
    match offers.as_slice() {
        [only] => Ok(Redirect::to(&only.href).into_response()),
        [] => Err(Trouble::Missing(Missing {
            title: if wanted.is_empty() {
                "What are you looking for?".to_owned()
            } else {
                format!("Nothing is called {}", echo(wanted))
            },
            message:
                "Numbers, the beginnings of revisions, and parts of names of builders, schedulers, repositories and \
                      branches are found."
                    .to_owned(),
            offers: vec![Offer::new("/changes", "the newest changes"), Offer::new("/builds", "the newest builds")],
        })),
        _ => {
            offers.truncate(4 * OFFERS_MAX);
            let title = format!("Found for {}", echo(wanted));
            Err(Trouble::Found { title, offers })
        }
    }
}

async fn by_number(app: &App, id: i64) -> Result<Vec<Offer>, Trouble> {
    let mut offers = Vec::new();
    if let Some(build) = app.reader.find_build(BuildId(id)).await? {
        offers.push(Offer::new(format!("/builds/{id}"), format!("build {id}: {}", build.builder)));
    }
    if let Some(buildset) = app.reader.find_buildset(BuildsetId(id)).await? {
        offers.push(Offer::new(format!("/buildsets/{id}"), format!("buildset {id}: {}", buildset.scheduler)));
    }
    if let Some(change) = app.reader.find_change(ChangeId(id)).await? {
        offers.push(Offer::new(format!("/changes/{id}"), format!("change {id}: {}", ansi::one_line(&change.title()))));
    }
    if let Some(request) = app.reader.find_request(RequestId(id)).await? {
        offers.push(Offer::new(format!("/requests/{id}"), format!("request {id}: {}", request.node)));
    }
    Ok(offers)
}

fn by_name(app: &App, wanted: &str) -> Vec<Offer> {
    let catalog = app.engine.catalog();
    let needle = wanted.to_lowercase();
    if needle.is_empty() {
        return Vec::new();
    }
    let has = |name: &str| name.to_lowercase().contains(&needle);
    let builders = catalog
        .builders
        .keys()
        .filter(|name| has(name.as_str()))
        .map(|name| Offer::new(format!("/builds?builder={}", encoded(name.as_str())), format!("builder {name}")));
    let schedulers = catalog.schedulers.keys().filter(|name| has(name.as_str())).map(|name| {
        Offer::new(format!("/buildsets?scheduler={}", encoded(name.as_str())), format!("scheduler {name}"))
    });
    let repositories = catalog.repositories.keys().filter(|name| has(name.as_str())).map(|name| {
        Offer::new(format!("/changes?repository={}", encoded(name.as_str())), format!("repository {name}"))
    });
    builders.take(OFFERS_MAX).chain(schedulers.take(OFFERS_MAX)).chain(repositories.take(OFFERS_MAX)).collect()
}

/// Goes from `/b/12` to the build.
pub(crate) async fn short_build(State(app): State<App>, Path(id): Path<String>) -> Response {
    short(&app, "build", &id).await
}

/// Goes from `/bs/12` to the buildset.
pub(crate) async fn short_buildset(State(app): State<App>, Path(id): Path<String>) -> Response {
    short(&app, "buildset", &id).await
}

/// Goes from `/c/12` to the change; also by revision.
pub(crate) async fn short_change(Path(id): Path<String>) -> Response {
    Redirect::to(&format!("/changes/{}", encoded(&id))).into_response()
}

/// Goes from `/r/12` to the request.
pub(crate) async fn short_request(State(app): State<App>, Path(id): Path<String>) -> Response {
    short(&app, "request", &id).await
}

async fn short(app: &App, noun: &str, id: &str) -> Response {
    match number(id) {
        Some(id) => Redirect::to(&format!("/{noun}s/{id}")).into_response(),
        None => answer(app, Err(Missing::numbered(noun, id).into())).await,
    }
}
