//! What people may do from a page. The guard has already asked whether they may; the engine decides and records.

use std::collections::BTreeMap;

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use gristmill_model::{BuildId, BuildsetId, Hold, HoldKind, RequestId, SchedulerName, WorkerName};
use gristmill_schedulers::input::{Cancel, Denial};
use gristmill_schedulers::{Input, Reply};

use super::find::{Missing, number};
use super::schedulers::force_page;
use super::shell::{Shown, Trouble, answer};
use crate::web::App;

/// Bytes of a name or a reason that a person gives.
const WORDS_BYTES_MAX: usize = 500;
/// Who acts when nobody says who.
const SOMEBODY: &str = "web";

/// Ends a build.
pub(crate) async fn cancel_build(State(app): State<App>, Path(id): Path<String>) -> Response {
    let cancel = number(&id).map(|id| (Cancel::Build(BuildId(id)), format!("/builds/{id}")));
    answer(&app, end(&app, "build", &id, cancel).await).await
}

/// Ends all of a buildset.
pub(crate) async fn cancel_buildset(State(app): State<App>, Path(id): Path<String>) -> Response {
    let cancel = number(&id).map(|id| (Cancel::Buildset(BuildsetId(id)), format!("/buildsets/{id}")));
    answer(&app, end(&app, "buildset", &id, cancel).await).await
}

/// Ends a request, with its build if it has one.
pub(crate) async fn cancel_request(State(app): State<App>, Path(id): Path<String>) -> Response {
    let cancel = number(&id).map(|id| (Cancel::Request(RequestId(id)), format!("/requests/{id}")));
    answer(&app, end(&app, "request", &id, cancel).await).await
}

async fn end(app: &App, noun: &str, id: &str, cancel: Option<(Cancel, String)>) -> Shown {
    let (what, back) = cancel.ok_or_else(|| Missing::numbered(noun, id))?;
    match submit(app, Input::Cancel { what, by: SOMEBODY.to_owned() }).await? {
        Reply::Refused(denial) => Err(refused("It was not cancelled", &denial)),
        _ => Ok(Redirect::to(&back).into_response()),
    }
}

/// Keeps new builds from a worker until somebody resumes it.
pub(crate) async fn pause_worker(State(app): State<App>, Path(name): Path<String>) -> Response {
    let hold = Hold { by: SOMEBODY.to_owned(), ..Hold::default() };
    let input = Input::Hold { worker: WorkerName(name), kind: HoldKind::Pause, hold };
    answer(&app, care(&app, input).await).await
}

/// Ends whatever keeps new builds from a worker.
pub(crate) async fn resume_worker(State(app): State<App>, Path(name): Path<String>) -> Response {
    let input = Input::Free { worker: WorkerName(name), kind: None, by: SOMEBODY.to_owned() };
    answer(&app, care(&app, input).await).await
}

async fn care(app: &App, input: Input) -> Shown {
    match submit(app, input).await? {
        Reply::Refused(denial) => Err(refused("Nothing was changed", &denial)),
        _ => Ok(Redirect::to("/workers").into_response()),
    }
}

/// Starts a force scheduler; what cannot be taken comes back with the form, its values kept.
pub(crate) async fn force(
    State(app): State<App>,
    Path(name): Path<String>,
    Form(values): Form<BTreeMap<String, String>>,
) -> Response {
    answer(&app, started(&app, &name, values).await).await
}

async fn started(app: &App, name: &str, values: BTreeMap<String, String>) -> Shown {
    let words = |field: &str| values.get(field).map(|text| text.trim()).filter(|text| !text.is_empty());
    for field in ["by", "reason"] {
        if words(field).is_some_and(|text| text.len() > WORDS_BYTES_MAX) {
            let problem = format!("at most {WORDS_BYTES_MAX} bytes");
            return again(app, name, &values, field, &problem).await;
        }
    }
    let parameters = values
        .iter()
        .filter_map(|(field, value)| Some((field.strip_prefix("p.")?.to_owned(), value.clone())))
        // An empty field says nothing, so that the default holds.
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let input = Input::Force {
        scheduler: SchedulerName(name.to_owned()),
        parameters,
        by: words("by").unwrap_or(SOMEBODY).to_owned(),
        reason: words("reason").map(str::to_owned),
    };
    match submit(app, input).await? {
        Reply::Forced { buildset } => Ok(Redirect::to(&format!("/buildsets/{buildset}")).into_response()),
        Reply::Refused(Denial::Invalid { field, problem }) => again(app, name, &values, &field, &problem).await,
        Reply::Refused(denial) => again(app, name, &values, "", &denial.to_string()).await,
        _ => Err(Trouble::Broken("the engine answered a force with something else".to_owned())),
    }
}

async fn again(app: &App, name: &str, values: &BTreeMap<String, String>, field: &str, problem: &str) -> Shown {
    let form = force_page(app, name, values, Some((field, problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, form).into_response())
}

async fn submit(app: &App, input: Input) -> Result<Reply, Trouble> {
    app.engine.submit(input).await.map_err(|problem| Trouble::Refused {
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Nothing was changed".to_owned(),
        message: format!("{problem}. It is safe to try again."),
    })
}

fn refused(title: &str, denial: &Denial) -> Trouble {
    let status = match denial {
        Denial::NotFound { .. } => StatusCode::NOT_FOUND,
        Denial::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Denial::NotNow { .. } | Denial::Fenced { .. } => StatusCode::CONFLICT,
    };
    Trouble::Refused { status, title: title.to_owned(), message: denial.to_string() }
}
