//! The web: the JSON API, live events, and the pages over the same reads.
//!
//! In reading order: [`control`] is all that the web may ask of the engine; [`guard`] says who may change something;
//! [`api`] are the JSON answers; [`stream`] is the journal as it grows; [`why`] puts what is recorded into sentences;
//! [`headers`] is what every answer carries; `forward` passes on what another master must decide; [`doors`] lets connections in; [`pages`] are what people see, with [`static_files`] beside them; [`ansi`]
//! makes printed text harmless, and [`graph`] lays graphs out.

pub mod ansi;
pub mod api;
pub mod control;
pub mod doors;
mod forward;
pub mod graph;
pub mod guard;
pub mod headers;
pub mod pages;
pub mod static_files;
pub mod stream;
pub mod why;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};

pub use control::{Control, NotSubmitted, Once};
pub use guard::Guard;

use crate::clock::Clock;
use crate::leader::Leadership;
use crate::logs::LogStore;
use crate::store::read::Reader;

/// Event streams that are open at once; one more is refused with 503.
pub const STREAMS_MAX: usize = 2_000;

/// All that pages and the API work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The engine: the only way to change anything.
    pub engine: Arc<dyn Control>,
    /// Reads the database.
    pub reader: Reader,
    /// Reads what steps printed.
    pub logs: LogStore,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What there is to say about this service itself.
    pub info: Arc<Info>,
    /// Who may change something.
    pub guard: Arc<Guard>,
    /// Ends open streams when the service stops.
    pub stop: CancellationToken,
    /// Room for event streams: [`STREAMS_MAX`] of them.
    pub streams: Arc<Semaphore>,
    /// Which master decides; `None` where there is no other than this one.
    pub leadership: Option<Leadership>,
}

impl App {
    /// Gives an app its room for streams and puts the rest together.
    pub fn new(
        engine: Arc<dyn Control>,
        reader: Reader,
        logs: LogStore,
        clock: Arc<dyn Clock>,
        about: (Info, Guard, CancellationToken),
    ) -> Self {
        let (info, guard, stop) = about;
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let (info, guard) = (Arc::new(info), Arc::new(guard));
        Self { engine, reader, logs, clock, info, guard, stop, streams, leadership: None }
    }

    /// Lets the app pass on what only the master that leads can do.
    #[must_use]
    pub fn led_by(self, leadership: Leadership) -> Self {
        Self { leadership: Some(leadership), ..self }
    }
}

/// What there is to say about this service itself.
#[derive(Debug, Clone)]
pub struct Info {
    /// Its version.
    pub version: String,
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The configuration's file; `None` for the demo's.
    pub catalog_file: Option<PathBuf>,
    /// The address that people reach the pages by, without a trailing slash.
    pub base_url: String,
    /// Whether this is the demo.
    pub demo: bool,
}

/// Makes the whole web.
pub fn router(app: App) -> Router {
    router_with(app, Router::new())
}

/// Makes the whole web with routes that have their own way of trusting callers, such as webhooks: the guard does not
/// look at them, and the common headers are still set.
pub fn router_with(app: App, trusted_otherwise: Router) -> Router {
    let forward = app.leadership.clone().and_then(forward::Forward::new);
    let pass_on = middleware::from_fn_with_state(forward, forward::forward);
    let guarded = Router::new()
        .nest("/api/v1", api::routes())
        .merge(pages::routes())
        .fallback(no_such_page)
        .layer(pass_on.clone())
        .layer(middleware::from_fn_with_state(app.clone(), guard::check));
    // Whoever watches over machines asks by whatever name the machine has there, and learns nothing but a number.
    let health = Router::new().route("/healthz", get(api::health::healthz));
    let compression = CompressionLayer::new().compress_when(DefaultPredicate::new().and(headers::may_be_held_back));
    guarded
        .merge(health)
        .with_state(app)
        .merge(trusted_otherwise.layer(pass_on))
        .layer(middleware::from_fn(headers::complete))
        .layer(compression)
}

/// Answers for paths that no route has.
async fn no_such_page(State(app): State<App>, uri: Uri) -> Response {
    if api::is_api_path(uri.path()) {
        return api::error::ApiError::no_such_path(uri.path()).into_response();
    }
    pages::missing_page(State(app), uri).await
}
