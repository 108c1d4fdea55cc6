//! `GET /healthz`: whether the service does its work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gristmill_model::Seq;
use serde_json::json;

use crate::web::App;

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Says that the database can be read and how far the engine is. 503 if not.
pub async fn healthz(State(app): State<App>) -> Response {
    let stored = tokio::time::timeout(DATABASE_TIMEOUT, app.reader.journal_head()).await;
    let engine = *app.engine.head().borrow();
    let (status, body) = match stored {
        Ok(Ok(stored)) if engine_is_alive(&app) => {
            (StatusCode::OK, json!({"status": "ok", "version": app.info.version, "head": stored, "engine": engine}))
        }
        Ok(Ok(stored)) => (StatusCode::SERVICE_UNAVAILABLE, failing("the engine has stopped", stored.max(engine))),
        Ok(Err(error)) => {
            tracing::error!(%error, "the health check cannot read the database");
            (StatusCode::SERVICE_UNAVAILABLE, failing("the database cannot be read", engine))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, failing("the database does not answer", engine)),
    };
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn failing(why: &str, head: Seq) -> serde_json::Value {
    json!({"status": "failing", "why": why, "head": head})
}

/// The engine publishes the head for as long as it lives; the channel closes when its task has ended.
fn engine_is_alive(app: &App) -> bool {
    app.engine.head().has_changed().is_ok()
}
