//! What can be changed: every handler reads what is asked, hands it to the engine, and says what came of it.
//!
//! A repeat under the same `Idempotency-Key` changes nothing and is answered as the first was.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gristmill_model::{
    BuildId, BuildsetId, DeliveryId, Digest, RepositoryName, RequestId, Scheduler, SchedulerKind, SchedulerName,
};
use gristmill_schedulers::input::Cancel;
use gristmill_schedulers::{Input, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Body, idempotency_key, number, person};
use super::error::{ApiError, cut};
use crate::chain::chain;
use crate::sources::webhook::replay::{Replayed, Stored};
use crate::store::DeliveryBody;
use crate::web::control::{NotSubmitted, Once};
use crate::web::{App, why};

/// Parameters that a force may say.
const PARAMETERS_MAX: usize = 500;
/// Bytes of the reason that somebody gives.
const REASON_BYTES_MAX: usize = 1_000;

/// What starts a force scheduler.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ForceBody {
    parameters: BTreeMap<String, Value>,
    reason: Option<String>,
    by: Option<String>,
}

/// Who wants something ended, or looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ByBody {
    pub(super) by: Option<String>,
}

/// `POST /schedulers/{name}/force`.
pub(super) async fn force(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<ForceBody>,
) -> Result<Response, ApiError> {
    let path = format!("/schedulers/{name}/force");
    let ForceBody { parameters, reason, by } = body.value;
    if parameters.len() > PARAMETERS_MAX {
        return Err(ApiError::invalid("parameters", format!("there are more than {PARAMETERS_MAX}")));
    }
    let parameters = parameters
        .into_iter()
        .map(|(name, value)| Ok((name.clone(), parameter_text(&name, value)?)))
        .collect::<Result<_, ApiError>>()?;
    let reason = reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(ApiError::invalid("reason", format!("it has more than {REASON_BYTES_MAX} bytes")));
    }
    let scheduler = SchedulerName(name);
    // A wrong name is refused by the engine; which ones it can be is said here.
    let catalog = app.engine.catalog();
    let is_force = |scheduler: &Scheduler| matches!(scheduler.kind, SchedulerKind::Force { .. });
    let hint = (!catalog.schedulers.get(&scheduler).is_some_and(is_force)).then(|| {
        let names = catalog.schedulers.iter().filter(|(_, known)| is_force(known)).map(|(name, _)| name.as_str());
        why::similar("force scheduler", names, scheduler.as_str())
    });
    let input = Input::Force { scheduler, parameters, by: person(by)?, reason };
    let reply = submit(&app, &headers, &path, &body.bytes, input).await;
    let reply = reply.map_err(|error| match hint.filter(|_| error.hint.is_none()) {
        Some(hint) => error.hint(hint),
        None => error,
    });
    match reply? {
        Reply::Forced { buildset } => {
            let mut response = (StatusCode::CREATED, Json(json!({"buildset": buildset}))).into_response();
            if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/buildsets/{buildset}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        other => Err(unexpected(&other)),
    }
}

/// Makes the text of a parameter: programs may say numbers and truth values as such.
fn parameter_text(name: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(is_true) => Ok(is_true.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(ApiError::invalid(&cut(name), "a value is a text, a number, true or false"))
        }
    }
}

/// `POST /builds/{id}/cancel`.
pub(super) async fn cancel_build(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<ByBody>,
) -> Result<Response, ApiError> {
    let id = BuildId(number("build", &id)?);
    cancel(&app, &headers, &format!("/builds/{id}/cancel"), body, Cancel::Build(id)).await
}

/// `POST /requests/{id}/cancel`.
pub(super) async fn cancel_request(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<ByBody>,
) -> Result<Response, ApiError> {
    let id = RequestId(number("request", &id)?);
    cancel(&app, &headers, &format!("/requests/{id}/cancel"), body, Cancel::Request(id)).await
}

/// `POST /buildsets/{id}/cancel`.
pub(super) async fn cancel_buildset(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<ByBody>,
) -> Result<Response, ApiError> {
    let id = BuildsetId(number("buildset", &id)?);
    cancel(&app, &headers, &format!("/buildsets/{id}/cancel"), body, Cancel::Buildset(id)).await
}

async fn cancel(
    app: &App,
    headers: &HeaderMap,
    path: &str,
    body: Body<ByBody>,
    what: Cancel,
) -> Result<Response, ApiError> {
    let by = person(body.value.by)?;
    match submit(app, headers, path, &body.bytes, Input::Cancel { what, by }).await? {
        Reply::Cancelled { builds, requests } => {
            Ok(Json(json!({"builds": builds, "requests": requests})).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// `POST /repositories/{name}/sweep`: looking twice finds nothing new, so no key is needed.
pub(super) async fn sweep(
    State(app): State<App>,
    Path(name): Path<String>,
    _: Body<ByBody>,
) -> Result<Json<Value>, ApiError> {
    let name = RepositoryName(name);
    sweep_now(&app, &name).await?;
    Ok(Json(json!({"repository": name, "swept": true})))
}

/// `POST /deliveries/{id}/replay`: reads it again, as if it had just come. One whose body is no longer kept can only make
/// us look at its repository.
pub(super) async fn replay(
    State(app): State<App>,
    Path(id): Path<String>,
    _: Body<ByBody>,
) -> Result<Json<Value>, ApiError> {
    let id = DeliveryId(number("delivery", &id)?);
    let delivery = app.reader.find_delivery(id).await?;
    let repository = delivery.ok_or_else(|| ApiError::not_found(format!("delivery {id}")))?.repository;
    let kept = app.reader.delivery_body(id).await.map_err(|error| ApiError::unavailable(chain(&error)))?;
    let Some(DeliveryBody { headers, body }) = kept else {
        sweep_now(&app, &repository).await?;
        let result = "replayed: its body is no longer kept; the repository was looked at".to_owned();
        let input = Input::DeliveryRead { delivery: id, result: result.clone() };
        return match app.engine.submit(input).await.map_err(ApiError::unavailable)? {
            Reply::Refused(denial) => Err(ApiError::of_denial(&denial)),
            _ => Ok(Json(json!({"delivery": id, "repository": repository, "changes": [], "result": result}))),
        };
    };
    let stored = Stored { delivery: id, repository: &repository, headers: &headers, body: &body };
    let Replayed { changes, result } = app.engine.replay(stored).await.map_err(|why| {
        ApiError::new(StatusCode::CONFLICT, "not-replayed", format!("delivery {id} was not read again: {why}"))
            .hint("GET /repositories shows which repositories have a webhook")
    })?;
    Ok(Json(json!({"delivery": id, "repository": repository, "changes": changes, "result": result})))
}

async fn sweep_now(app: &App, name: &RepositoryName) -> Result<(), ApiError> {
    if !app.engine.catalog().repositories.contains_key(name) {
        return Err(ApiError::not_found(format!("repository `{}`", cut(name.as_str())))
            .hint("GET /repositories lists those of the configuration in force"));
    }
    app.engine.sweep(name.clone()).await.map_err(|why| {
        ApiError::new(StatusCode::BAD_GATEWAY, "sweep-failed", format!("{name} could not be looked at: {why}"))
            .hint("it is tried again by itself; GET /repositories shows how it fares")
    })
}

/// Submits an input, under the caller's key if there is one.
pub(super) async fn submit(
    app: &App,
    headers: &HeaderMap,
    path: &str,
    body: &[u8],
    input: Input,
) -> Result<Reply, ApiError> {
    let reply = match idempotency_key(headers)? {
        None => app.engine.submit(input).await.map_err(ApiError::unavailable)?,
        Some(key) => {
            let mut request = format!("POST {path}\n").into_bytes();
            request.extend_from_slice(body);
            // There is one principal so far: whoever may change something at all.
            let once = Once { key: format!("api {key}"), request_sha256: Digest::of(&request).0 };
            app.engine.submit_once(once, input).await.map_err(|error| match error {
                NotSubmitted::KeyTaken => ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "key-taken",
                    "this Idempotency-Key was used before for another request",
                )
                .hint("use a new key for each new wish, and the same one only to repeat it"),
                NotSubmitted::Failed(why) => ApiError::unavailable(why),
            })?
        }
    };
    match reply {
        Reply::Refused(denial) => Err(ApiError::of_denial(&denial)),
        reply => Ok(reply),
    }
}

fn unexpected(reply: &Reply) -> ApiError {
    tracing::error!(?reply, "the engine gave an answer of another kind than was asked for");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the engine's answer could not be understood")
        .hint("the service's own log has it; it may have been done")
}
