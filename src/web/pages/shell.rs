//! What all pages have: the bar, the numbers in it, the place in the journal they were made at, and what is answered
//! when something is not there or cannot be read.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use gristmill_model::{RequestId, Timestamp};
use tracing::error;

use super::find::Missing;
use crate::store::read::Totals;
use crate::web::{App, static_files};

/// What all pages have.
pub(crate) struct Shell {
    /// What the window is called.
    pub(crate) title: String,
    /// The path of the bar's entry that this page belongs to.
    pub(crate) current: &'static str,
    /// Which events concern the page: `all`, or words such as `build=12` and `worker`; empty for none.
    pub(crate) live: String,
    /// The journal's head before anything was read.
    pub(crate) seq: i64,
    pub(crate) totals: Totals,
    pub(crate) now: Timestamp,
    pub(crate) files: String,
    pub(crate) version: String,
    pub(crate) demo: bool,
    /// The configuration in force, as people call it; empty before the first.
    pub(crate) catalog: String,
}

impl Shell {
    /// Reads what all pages have. Comes before anything else is read, so that no event falls between page and stream.
    pub(crate) async fn read(app: &App, current: &'static str, live: impl Into<String>) -> Result<Self, Trouble> {
        let seq = app.reader.journal_head().await?.0;
        let totals = app.reader.totals().await?;
        Ok(Self {
            title: String::new(),
            current,
            live: live.into(),
            seq,
            totals,
            now: app.clock.now(),
            files: static_files::base(),
            version: app.info.version.clone(),
            demo: app.info.demo,
            catalog: app.engine.catalog().hash.short().to_owned(),
        })
    }

    pub(crate) fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Gives the window's title: what is broken comes first.
    pub(crate) fn window(&self) -> String {
        let broken = match self.totals.incidents {
            0 => String::new(),
            count => format!("({count}) "),
        };
        format!("{broken}{} · Gristmill", self.title)
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |path, name, count: u32, bad| Entry { path, name, count, bad, current: path == self.current };
        vec![
            entry("/", "Overview", self.totals.incidents, true),
            entry("/changes", "Changes", 0, false),
            entry("/builds", "Builds", self.totals.running, false),
            entry("/queue", "Queue", self.totals.waiting, false),
            entry("/schedulers", "Schedulers", 0, false),
            entry("/workers", "Workers", 0, false),
            entry("/messages", "Messages", 0, false),
        ]
    }
}

/// An entry of the bar.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) count: u32,
    pub(crate) bad: bool,
    pub(crate) current: bool,
}

/// Why a page is not shown.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is not there.
    Missing(Missing),
    /// Several things may be meant.
    Found { title: String, offers: Vec<super::find::Offer> },
    /// What a person sent cannot be taken.
    Refused { status: StatusCode, title: String, message: String },
    /// Something could not be read or rendered.
    Broken(String),
}

impl From<crate::store::read::ReadError> for Trouble {
    fn from(error: crate::store::read::ReadError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<crate::logs::ReadError> for Trouble {
    fn from(error: crate::logs::ReadError) -> Self {
        Self::Broken(format!("{error}: {}", error.source))
    }
}

impl From<askama::Error> for Trouble {
    fn from(error: askama::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<Missing> for Trouble {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

/// What a handler comes to.
pub(crate) type Shown = Result<Response, Trouble>;

/// Renders a page.
pub(crate) fn page(template: &impl Template) -> Shown {
    Ok(Html(template.render()?).into_response())
}

/// Answers with a page, or with one that says why there is none.
pub(crate) async fn answer(app: &App, shown: Shown) -> Response {
    let (status, title, message, offers) = match shown {
        Ok(response) => return response,
        Err(Trouble::Missing(missing)) => (StatusCode::NOT_FOUND, missing.title, missing.message, missing.offers),
        Err(Trouble::Found { title, offers }) => (StatusCode::OK, title, String::new(), offers),
        Err(Trouble::Refused { status, title, message }) => (status, title, message, Vec::new()),
        Err(Trouble::Broken(problem)) => {
            error!(problem, "a page could not be made");
            let message = "The service's own log has the details. What runs goes on running.".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made".to_owned(), message, Vec::new())
        }
    };
    let Ok(shell) = Shell::read(app, "", "").await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{title}\n{message}\n")).into_response();
    };
    let template = TroublePage { shell: shell.titled(title.clone()), title, message, offers };
    match page(&template) {
        Ok(response) => (status, response).into_response(),
        Err(_) => (status, "The page could not be made.\n").into_response(),
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    shell: Shell,
    title: String,
    message: String,
    offers: Vec<super::find::Offer>,
}

/// Runs what blocks on files outside the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Trouble::Broken(error.to_string()))
}

/// Says why a request waits, in sentences; the first one is the reason.
pub(crate) async fn reasons(app: &App, request: RequestId) -> Vec<String> {
    app.engine.explain(request).await.iter().map(ToString::to_string).collect()
}
