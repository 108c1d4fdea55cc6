//! `POST /hooks/{repository}`: receives, checks, has stored, answers; and only then looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use futures_util::StreamExt;
use gristmill_model::catalog::Forge;
use gristmill_model::{ChangeId, DeliveryId, Digest, RefUpdate, RepositoryName, Sighting, Via};
use gristmill_schedulers::input::{Input, NewDelivery, Reply};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HookError, HookReading, Meaning, generic, github, read, signature};
use crate::sources::{Accept, Handle, Secrets};

/// Bytes of a body.
pub const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Bytes of a body that is too long that are still read, so that the sender hears why it is refused.
pub const REFUSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a body may take to come.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// Requests that are worked on at once; more are asked to come again.
pub const AT_ONCE_MAX: usize = 64;
/// Deliveries that wait to learn what a look brought; more are recorded as having asked for one.
pub const FOLLOW_UPS_MAX: usize = 1024;
/// Deliveries of an earlier run that are seen to at a start; what is left after that many is seen to at the next one.
pub const UNREAD_MAX: u32 = 10_000;
/// How long the objects of a told movement may take to come into the mirror before the answer. Forges wait 10 s for it.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(4);
/// How long the turn that stores a delivery may take.
pub const TURN_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of one header that is kept.
const HEADER_BYTES_MAX: usize = 256;
/// The headers that are kept with a delivery. Signatures are not: they were checked.
const HEADERS_KEPT: [&str; 6] =
    ["content-type", "user-agent", github::EVENT, github::DELIVERY, generic::DELIVERY, "x-github-hook-id"];
/// Stands in for the secret of a repository that has none, so that an answer takes as long.
const NO_SECRET: &str = "there is no secret";

/// What the route needs.
#[derive(Clone)]
pub struct Hooks(pub(super) Arc<Inner>);

pub(super) struct Inner {
    engine: Arc<dyn Accept>,
    pub(super) sources: Handle,
    secrets: Secrets,
    pub(super) at_once: Arc<Semaphore>,
    follow_ups: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Hooks {
    /// Makes it; `stop` ends what goes on after an answer.
    pub fn new(engine: Arc<dyn Accept>, sources: Handle, secrets: Secrets, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            engine,
            sources,
            secrets,
            at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            follow_ups: Arc::new(Semaphore::new(FOLLOW_UPS_MAX)),
            tasks: TaskTracker::new(),
            stop,
        }))
    }

    /// Waits until what goes on after answers has ended. To be called once nothing is received any more.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Sees to deliveries that an earlier run of the service accepted and did not come to read: looks at their
    /// repositories, once each, and records what that brought.
    pub fn resume(&self, unread: Vec<(DeliveryId, RepositoryName)>) {
        let mut per_repository: BTreeMap<RepositoryName, Vec<DeliveryId>> = BTreeMap::new();
        for (delivery, repository) in unread {
            per_repository.entry(repository).or_default().push(delivery);
        }
        let (all, stop) = (self.clone(), self.0.stop.clone());
        let work = async move {
            for (repository, deliveries) in per_repository {
                let (result, _) = all.look(&repository, NOT_READ).await;
                for delivery in deliveries {
                    record(&all, delivery, result.clone()).await;
                }
            }
        };
        self.0.tasks.spawn(async move {
            if stop.run_until_cancelled(work).await.is_none() {
                tracing::debug!("not every delivery of an earlier run was read; the next start does it");
            }
        });
    }

    pub(super) fn engine(&self) -> &dyn Accept {
        self.0.engine.as_ref()
    }

    /// Sees to it that a told movement can be checked out before it is handed over: what is accepted is built at once, and
    /// from the mirror. Gives the reason to look instead, if that cannot be had in time.
    pub(super) async fn have_ready(&self, repository: &RepositoryName, update: &RefUpdate) -> Result<(), String> {
        if update.new.is_none() {
            return Ok(());
        }
        match tokio::time::timeout(FETCH_TIME_MAX, self.0.sources.fetch(repository)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("what it tells of could not be fetched".to_owned()),
            Err(_) => Err("what it tells of could not be fetched in time".to_owned()),
        }
    }

    /// Looks at a repository, and says in a sentence what that brought.
    pub(super) async fn look(&self, repository: &RepositoryName, why: &str) -> (String, Vec<ChangeId>) {
        match self.0.sources.sweep(repository, Via::Webhook).await {
            Ok(report) => {
                let result = match report.changes.as_slice() {
                    [] => format!("{why}; looked at the repository and found nothing new"),
                    [one] => format!("{why}; looked at the repository and found change {one}"),
                    many => format!("{why}; looked at the repository and found {} changes", many.len()),
                };
                (result, report.changes)
            }
            Err(error) => (format!("{why}; the repository could not be looked at: {error}"), Vec::new()),
        }
    }
}

/// Gives the route.
pub fn routes(hooks: Hooks) -> Router {
    Router::new().route("/hooks/{repository}", post(receive)).with_state(hooks)
}

/// An answer that is a refusal.
struct Refusal(StatusCode, &'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let hint = match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                "deliver it again; a look at the repository in its interval finds it as well"
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                "nothing is lost: the next look at the repository finds what it would have told"
            }
            _ => "the webhook of a repository is configured under `webhook` in the configuration file",
        };
        let mut response =
            (status, Json(json!({"error": {"code": code, "message": message, "hint": hint}}))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<HookError> for Refusal {
    fn from(error: HookError) -> Self {
        let (status, code) = match &error {
            HookError::SignatureMissing { .. } | HookError::SignatureWrong => (StatusCode::UNAUTHORIZED, "unsigned"),
            HookError::NameMissing { .. } => (StatusCode::BAD_REQUEST, "unnamed"),
            HookError::ContentType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type"),
        };
        Self(status, code, error.to_string())
    }
}

async fn receive(
    State(hooks): State<Hooks>,
    Path(repository): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let busy = |why: &str| Refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", why.to_owned());
    let permit =
        Arc::clone(&hooks.0.at_once).try_acquire_owned().map_err(|_| busy("too many webhook requests at once"))?;
    let repository = RepositoryName::from(repository);
    let body = body_of(&headers, body).await?;
    let mut reading = check(&hooks, &repository, &headers, &body)?;
    // What a repeat says is what the first one was answered, so this depends on the body alone.
    let asks = matches!(reading.meaning, Meaning::Look(_));
    if let Meaning::Moved(update) = &reading.meaning
        && let Err(why) = hooks.have_ready(&repository, update).await
    {
        reading.meaning = Meaning::Look(why);
    }
    let delivery = NewDelivery {
        repository: repository.clone(),
        key: reading.key,
        event: reading.event,
        sha256: Digest::of(&body).0,
        headers: kept(&headers),
        body,
        sighting: match &reading.meaning {
            Meaning::Moved(update) => Some(sighting(&repository, update.as_ref().clone())),
            Meaning::Look(_) | Meaning::Nothing(_) => None,
        },
    };
    // In a task of its own: a sender that hangs up, or is told to come again, ends only the waiting. What is stored is
    // looked after all the same, because its repeat will not be.
    let (all, meaning) = (hooks.clone(), reading.meaning);
    let storing = hooks.0.tasks.spawn(async move {
        let stored = store(all, delivery, meaning).await;
        drop(permit);
        stored
    });
    let stored = tokio::time::timeout(TURN_TIME_MAX, storing).await;
    let stored = stored.map_err(|_| busy("it could not be stored in time"))?;
    match stored.unwrap_or_else(|problem| Err(problem.to_string())) {
        Ok(Reply::Delivered { delivery, repeat, changes, .. }) => {
            let status = if repeat { StatusCode::OK } else { StatusCode::ACCEPTED };
            Ok((status, Json(json!({"delivery": delivery, "changes": changes, "sweep": asks}))).into_response())
        }
        Ok(Reply::Refused(denial)) => Err(busy(&denial.to_string())),
        Ok(_) => Err(busy("it was not stored")),
        Err(error) => {
            tracing::error!(%repository, "a webhook request for `{repository}` could not be stored: {error}");
            Err(busy("it could not be stored"))
        }
    }
}

/// Has a delivery stored, and sees to what it asks for if it is new.
async fn store(hooks: Hooks, new: NewDelivery, meaning: Meaning) -> Result<Reply, String> {
    let repository = new.repository.clone();
    let reply = hooks.engine().accept(Input::Deliver(new)).await?;
    if let Reply::Delivered { delivery, repeat: false, sweep: true, .. } = reply {
        follow_up(&hooks, repository, delivery, meaning);
    }
    Ok(reply)
}

/// Finds out whose hook was called, and whether the call is signed. What is not there answers after the same work.
fn check(hooks: &Hooks, repository: &RepositoryName, headers: &HeaderMap, body: &[u8]) -> Result<HookReading, Refusal> {
    let catalog = hooks.engine().catalog();
    let configured = catalog.repositories.get(repository);
    let Some((config, webhook)) = configured.and_then(|config| Some((config, config.webhook.as_ref()?))) else {
        let header = if headers.contains_key(github::SIGNATURE) { github::SIGNATURE } else { generic::SIGNATURE };
        return match signature::check(headers, header, NO_SECRET, body) {
            Ok(()) | Err(_) => {
                let message = "no webhook is configured under this name".to_owned();
                Err(Refusal(StatusCode::NOT_FOUND, "not-found", message))
            }
        };
    };
    let secret = (hooks.0.secrets)(&webhook.secret).map_err(|problem| {
        tracing::error!(%repository, "the webhook secret `{}` cannot be had: {problem}", webhook.secret);
        Refusal(StatusCode::SERVICE_UNAVAILABLE, "secret", "the service cannot read the webhook's secret".to_owned())
    })?;
    read(webhook.forge, config, &secret, headers, body).map_err(|error| {
        tracing::warn!(%repository, "a webhook request for `{repository}` was refused: {error}");
        error.into()
    })
}

/// Reads a body within the limits of size and time.
async fn body_of(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    let too_long = || {
        let message = format!("the body is longer than {} MiB", BODY_BYTES_MAX / 1024 / 1024);
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too-long", message)
    };
    let told =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    if told.is_some_and(|told| told > REFUSED_BYTES_MAX as u64) {
        return Err(too_long());
    }
    let reading = async {
        let mut stream = body.into_data_stream();
        let (mut bytes, mut came) = (Vec::new(), 0);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_| {
                Refusal(StatusCode::BAD_REQUEST, "cut-off", "the body ended before its time".to_owned())
            })?;
            came += piece.len();
            if came > REFUSED_BYTES_MAX {
                return Err(too_long());
            }
            match came <= BODY_BYTES_MAX {
                true => bytes.extend_from_slice(&piece),
                false => bytes = Vec::new(),
            }
        }
        if came > BODY_BYTES_MAX { Err(too_long()) } else { Ok(bytes) }
    };
    tokio::time::timeout(BODY_TIME_MAX, reading).await.unwrap_or_else(|_| {
        Err(Refusal(StatusCode::REQUEST_TIMEOUT, "too-slow", "the body did not come in time".to_owned()))
    })
}

/// Writes the headers worth keeping as JSON.
fn kept(headers: &HeaderMap) -> String {
    let pairs: serde_json::Map<String, serde_json::Value> = HEADERS_KEPT
        .iter()
        .filter_map(|name| {
            let value = headers.get(*name)?.as_bytes();
            let text = String::from_utf8_lossy(&value[..value.len().min(HEADER_BYTES_MAX)]).into_owned();
            Some(((*name).to_owned(), serde_json::Value::String(text)))
        })
        .collect();
    serde_json::Value::Object(pairs).to_string()
}

/// Reads them back; what cannot be a header is left out.
pub(super) fn unkept(headers: &str) -> HeaderMap {
    let pairs: serde_json::Map<String, serde_json::Value> = serde_json::from_str(headers).unwrap_or_default();
    pairs
        .iter()
        .filter_map(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, value.as_str()?.parse::<axum::http::HeaderValue>().ok()?))
        })
        .collect()
}

/// Makes a sighting of one told movement.
pub(super) fn sighting(repository: &RepositoryName, update: RefUpdate) -> Sighting {
    Sighting { repository: repository.clone(), via: Via::Webhook, first_sight: false, updates: vec![update] }
}

/// Says why a delivery is only read now.
const NOT_READ: &str = "the service ended before it was read";

/// Says why a told movement was not taken as it was told.
pub(super) const NOT_NEXT: &str = "it does not follow what was accepted last";

/// Looks at the repository after the answer, if need be, and records what came of it.
fn follow_up(hooks: &Hooks, repository: RepositoryName, delivery: DeliveryId, meaning: Meaning) {
    let permit = Arc::clone(&hooks.0.follow_ups).try_acquire_owned();
    let all = hooks.clone();
    let work = async move {
        let result = match (meaning, permit) {
            (Meaning::Nothing(why), _) => why,
            (Meaning::Look(why), Ok(_permit)) => all.look(&repository, &why).await.0,
            (Meaning::Moved(_), Ok(_permit)) => all.look(&repository, NOT_NEXT).await.0,
            (Meaning::Look(_) | Meaning::Moved(_), Err(_)) => {
                all.0.sources.hint(&repository, Via::Webhook);
                "many came at once; a look at the repository was asked for".to_owned()
            }
        };
        record(&all, delivery, result).await;
    };
    let stop = hooks.0.stop.clone();
    hooks.0.tasks.spawn(async move {
        if stop.run_until_cancelled(work).await.is_none() {
            tracing::debug!("a delivery's result was not recorded, because the service stops; its next start does it");
        }
    });
}

/// Records what came of a delivery.
pub(super) async fn record(hooks: &Hooks, delivery: DeliveryId, result: String) {
    if let Err(error) = hooks.engine().accept(Input::DeliveryRead { delivery, result }).await {
        tracing::error!("what came of delivery {delivery} could not be recorded: {error}");
    }
}

/// The dialect of a repository's webhook, if it has one.
pub(super) fn dialect(hooks: &Hooks, repository: &RepositoryName) -> Option<(gristmill_model::Repository, Forge)> {
    let catalog = hooks.engine().catalog();
    let config = catalog.repositories.get(repository)?;
    Some((config.clone(), config.webhook.as_ref()?.forge))
}
