//! The pages: what people see.
//!
//! Every page is complete without scripts; those only keep it fresh ([`super::static_files`]). A handler parses, reads
//! view structs through `App`, turns them into what its template prints, and renders. Templates decide nothing, and
//! untrusted text is encoded by them; what is put together outside a template is made by [`show`].
//!
//! In reading order: [`shell`] is what all pages have; [`overview`]; [`change`], [`buildset`], [`build`] and [`log`]
//! follow a push down to a line; [`request`] says why something waits; [`lists`], [`schedulers`], [`act`] and [`find`]
//! are the rest.

mod act;
mod build;
mod buildset;
mod change;
mod find;
mod lists;
mod log;
mod overview;
mod request;
mod schedulers;
mod shell;
mod show;

use axum::Router;
use axum::routing::{get, post};

pub use find::missing_page;

use super::App;

/// Gives the routes of all pages. What no route has is answered by [`missing_page`].
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(overview::overview))
        .route("/changes", get(lists::changes))
        .route("/changes/{change}", get(change::change))
        .route("/buildsets", get(lists::buildsets))
        .route("/buildsets/{id}", get(buildset::buildset))
        .route("/buildsets/{id}/cancel", post(act::cancel_buildset))
        .route("/builds", get(lists::builds))
        .route("/builds/{id}", get(build::build))
        .route("/builds/{id}/cancel", post(act::cancel_build))
        .route("/builds/{id}/steps/{step}/log", get(log::plain_pages))
        .route("/builds/{id}/steps/{step}/lines", get(log::lines))
        .route("/builds/{id}/steps/{step}/lines/search", get(log::search))
        .route("/requests/{id}", get(request::request))
        .route("/requests/{id}/cancel", post(act::cancel_request))
        .route("/queue", get(request::queue))
        .route("/schedulers", get(schedulers::schedulers))
        .route("/schedulers/{name}/force", get(schedulers::force_form).post(act::force))
        .route("/workers", get(lists::workers))
        .route("/workers/{name}/pause", post(act::pause_worker))
        .route("/workers/{name}/resume", post(act::resume_worker))
        .route("/messages", get(lists::messages))
        .route("/search", get(find::search))
        .route("/b/{id}", get(find::short_build))
        .route("/bs/{id}", get(find::short_buildset))
        .route("/c/{id}", get(find::short_change))
        .route("/r/{id}", get(find::short_request))
        .merge(super::static_files::routes())
}
