//! The journal for whoever follows it: as a list, and as it grows (server-sent events).
//!
//! A follower is a cursor and at most one batch. It wakes when the head moves and reads what came since, so a slow one
//! holds up nobody and loses nothing: its cursor waits. `id:` is the journal's number, and a lost connection goes on
//! after it (`Last-Event-ID`). Heartbeats carry the cursor, too, so that a filter that lets little through does not
//! make the next connection start far back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use gristmill_model::{BuildId, BuildsetId, Event, RequestId, Seq};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::App;
use super::api::ask::Asked;
use super::api::error::{ApiError, cut};
use super::api::shape::{List, event_json};
use crate::store::read::{LIMIT_DEFAULT, LIMIT_MAX, ReadError, Reader};

/// Events that are read at once.
const BATCH: usize = 256;
/// Silence after which a follower hears that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Kinds, builds or buildsets that one filter names.
const FILTER_TERMS_MAX: usize = 50;

/// What of the journal is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Only what came after this number.
    since: Option<i64>,
    /// Kinds, separated by commas; `build.*` stands for all that begin so.
    kind: Option<String>,
    /// Builds, separated by commas.
    build: Option<String>,
    /// Buildsets, separated by commas, with their requests and builds.
    buildset: Option<String>,
    /// At most so many; for the list only.
    limit: Option<i64>,
}

/// `GET /events`: one page of the journal, oldest first; `next` is the `since` of the next page.
pub(crate) async fn list(
    State(app): State<App>,
    Asked(query): Asked<EventsQuery>,
) -> Result<Json<List<Value>>, ApiError> {
    let filter = Filter::read(&query)?;
    let limit = usize::try_from(query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)).unwrap_or(BATCH);
    let events = read_events(&app.reader, Seq(query.since.unwrap_or(0).max(0)), limit + 1).await?;
    let more = events.len() > limit;
    let events = &events[..events.len().min(limit)];
    let next = if more { events.last().map(|event| event.seq.0) } else { None };
    let kept = filter.keep(&app.reader, events).await?;
    Ok(Json(List::up_to(kept.into_iter().map(event_json).collect(), next)))
}

/// `GET /events/stream`: the journal as it grows.
pub(crate) async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    Asked(query): Asked<EventsQuery>,
) -> Result<Response, ApiError> {
    let filter = Filter::read(&query)?;
    if query.limit.is_some() {
        return Err(ApiError::invalid("limit", "a stream has none"));
    }
    // A browser that connects again says where it was; what its address says is older.
    let since = match headers.get("last-event-id") {
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .filter(|seq| *seq >= 0)
                .ok_or_else(|| ApiError::bad_request("Last-Event-ID is not a number of the journal"))?,
        ),
        None => query.since,
    };
    let permit = std::sync::Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "as many streams are open as are allowed")
            .hint("try again later, or read GET /events from time to time")
    })?;
    let head = app.engine.head();
    let cursor = match since {
        Some(since) => Seq(since.max(0)),
        None => app.reader.journal_head().await?,
    };
    let follower = Follower { app, filter, head, cursor, pending: VecDeque::new(), greeted: false, _permit: permit };
    let mut response = Sse::new(stream::unfold(follower, Follower::next)).into_response();
    // Proxies must pass each event on as it comes.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn read_events(reader: &Reader, after: Seq, limit: usize) -> Result<Vec<Event>, ReadError> {
    Ok(reader.events_after(after, u32::try_from(limit).unwrap_or(u32::MAX)).await?)
}

/// One connection.
struct Follower {
    app: App,
    filter: Filter,
    head: watch::Receiver<Seq>,
    cursor: Seq,
    pending: VecDeque<sse::Event>,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some((Ok(event), self));
            }
            if self.app.stop.is_cancelled() {
                return None;
            }
            let head = *self.head.borrow_and_update();
            match self.read_on(head).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "an event stream ends because the journal cannot be read");
                    return None;
                }
            }
            if !self.greeted {
                // Sends the headers at once, and tells the follower where it is.
                self.greeted = true;
                let greeting = sse::Event::default().id(self.cursor.to_string()).comment("follows");
                return Some((Ok(greeting), self));
            }
            tokio::select! {
                changed = self.head.changed() => if changed.is_err() { return None },
                () = self.app.stop.cancelled() => return None,
                () = tokio::time::sleep(HEARTBEAT) => {
                    // An event and no comment, because a page's script hears no comments, and must tell a silent
                    // journal from a dead connection.
                    let data = json!({"head": self.cursor}).to_string();
                    let heartbeat = sse::Event::default().event("heartbeat").id(self.cursor.to_string()).data(data);
                    return Some((Ok(heartbeat), self));
                }
            }
        }
    }

    /// Reads a batch if there is one; gives whether it is worth asking again at once.
    async fn read_on(&mut self, head: Seq) -> Result<bool, ReadError> {
        if self.cursor > head {
            // What is published may be a moment behind what is stored; only a number that is not stored is wrong.
            let stored = self.app.reader.journal_head().await?;
            if self.cursor > stored {
                self.reset(stored);
                return Ok(true);
            }
            return Ok(false);
        }
        if self.cursor == head {
            return Ok(false);
        }
        let events = read_events(&self.app.reader, self.cursor, BATCH).await?;
        let Some((first, last)) = events.first().zip(events.last()) else {
            self.reset(head);
            return Ok(true);
        };
        if first.seq != self.cursor.next() {
            // What lies between is no longer kept.
            self.reset(head);
            return Ok(true);
        }
        self.cursor = last.seq;
        let kept = self.filter.keep(&self.app.reader, &events).await?;
        self.pending.extend(
            kept.into_iter()
                .map(|event| sse::Event::default().id(event.seq.to_string()).data(event_json(event).to_string())),
        );
        Ok(true)
    }

    /// Tells the follower to read everything again: there is no way from where it was to where the journal is.
    fn reset(&mut self, head: Seq) {
        self.cursor = head;
        let data = json!({"head": head}).to_string();
        self.pending.push_back(sse::Event::default().event("reset").id(head.to_string()).data(data));
    }
}

/// Which events are let through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    kinds: Vec<String>,
    builds: BTreeSet<BuildId>,
    buildsets: BTreeSet<BuildsetId>,
}

/// What an event is about.
#[derive(Debug, Default, PartialEq, Eq)]
struct About {
    builds: Vec<BuildId>,
    buildsets: Vec<BuildsetId>,
    requests: Vec<RequestId>,
}

impl Filter {
    fn read(query: &EventsQuery) -> Result<Self, ApiError> {
        let kinds: Vec<String> = terms("kind", query.kind.as_deref())?.map(str::to_owned).collect();
        let builds = numbers("build", query.build.as_deref())?.into_iter().map(BuildId).collect();
        let buildsets = numbers("buildset", query.buildset.as_deref())?.into_iter().map(BuildsetId).collect();
        Ok(Self { kinds, builds, buildsets })
    }

    /// Gives the events that are let through. To know a build's buildset the tables are asked once a batch, so that
    /// nothing has to be remembered for a connection.
    async fn keep<'a>(&self, reader: &Reader, events: &'a [Event]) -> Result<Vec<&'a Event>, ReadError> {
        let of_kind: Vec<&Event> = events.iter().filter(|event| self.takes_kind(event.body.kind())).collect();
        if self.builds.is_empty() && self.buildsets.is_empty() {
            return Ok(of_kind);
        }
        let about: Vec<About> = of_kind.iter().map(|event| About::of(event)).collect();
        let (mut of_builds, mut of_requests) = (BTreeMap::new(), BTreeMap::new());
        if !self.buildsets.is_empty() {
            let builds: Vec<BuildId> = about.iter().flat_map(|about| about.builds.iter().copied()).collect();
            let requests: Vec<RequestId> = about.iter().flat_map(|about| about.requests.iter().copied()).collect();
            of_builds.extend(reader.buildsets_of_builds(&builds).await?);
            of_requests.extend(reader.buildsets_of_requests(&requests).await?);
        }
        let takes = |about: &About| {
            let in_buildset = |buildset: Option<&BuildsetId>| buildset.is_some_and(|id| self.buildsets.contains(id));
            about.builds.iter().any(|id| self.builds.contains(id) || in_buildset(of_builds.get(id)))
                || about.requests.iter().any(|id| in_buildset(of_requests.get(id)))
                || about.buildsets.iter().any(|id| in_buildset(Some(id)))
        };
        Ok(of_kind.into_iter().zip(&about).filter(|(_, about)| takes(about)).map(|(event, _)| event).collect())
    }

    fn takes_kind(&self, kind: &str) -> bool {
        let takes = |wanted: &String| match wanted.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => wanted == kind,
        };
        self.kinds.is_empty() || self.kinds.iter().any(takes)
    }
}

impl About {
    /// Finds out from the event's JSON, in which a thing of one name always means the same.
    fn of(event: &Event) -> Self {
        let body = serde_json::to_value(&event.body).unwrap_or_default();
        let mut about = Self::default();
        about.look_at(&body);
        about.buildsets.extend(body["verdict"]["buildset"].as_i64().map(BuildsetId));
        about
    }

    fn look_at(&mut self, value: &Value) {
        // A noun stands there as its number, or as a whole with its number in `id`.
        let number = |noun: &str| value[noun].as_i64().or_else(|| value[noun]["id"].as_i64());
        self.builds.extend(number("build").map(BuildId));
        self.buildsets.extend(number("buildset").map(BuildsetId));
        self.requests.extend(number("request").map(RequestId));
        if value["build"].is_object() {
            self.look_at(&value["build"]);
        }
    }
}

fn terms<'a>(field: &'static str, text: Option<&'a str>) -> Result<impl Iterator<Item = &'a str>, ApiError> {
    let terms = || text.unwrap_or("").split(',').map(str::trim).filter(|term| !term.is_empty());
    if terms().count() > FILTER_TERMS_MAX {
        return Err(ApiError::invalid(field, format!("there are more than {FILTER_TERMS_MAX}")));
    }
    Ok(terms())
}

fn numbers(field: &'static str, text: Option<&str>) -> Result<Vec<i64>, ApiError> {
    let number =
        |term: &str| term.parse().map_err(|_| ApiError::invalid(field, format!("`{}` is not a number", cut(term))));
    terms(field, text)?.map(number).collect()
}
