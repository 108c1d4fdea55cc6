//! What came out of a build: values, tests, files, followed logs.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use gristmill_model::{BuildId, Recipe};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Asked, NoQuery, number};
use super::error::ApiError;
use crate::artifacts::{Keep as _, read_at};
use crate::web::App;

/// Tests that are given when nothing else is said, and at the most.
const TESTS_DEFAULT: i64 = 200;
const TESTS_MAX: i64 = 1_000;
/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// `GET /builds/{id}/results`.
pub(super) async fn results(
    State(app): State<App>,
    Path(id): Path<String>,
    _: Asked<NoQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = BuildId(number("build", &id)?);
    let detail = app.reader.find_build_detail(id).await?;
    let detail = detail.ok_or_else(|| ApiError::not_found(format!("build {id}")))?;
    let outputs = app.reader.outputs_of_build(id).await?;
    let tests = app.reader.count_tests(id).await?;
    let artifacts: Vec<Value> = app
        .reader
        .artifacts_of_build(id)
        .await?
        .into_iter()
        .map(|row| {
            let href = artifact_href(id, row.step, &row.path);
            json!({"step": row.step, "path": row.path, "bytes": row.bytes, "sha256": row.sha256,
                "at": row.at.to_rfc3339(), "href": href})
        })
        .collect();
    let logs = followed(&detail.recipe, detail.steps.iter().map(|step| step.number));
    let logs: Vec<Value> =
        logs.into_iter().map(|(step, log, name)| json!({"step": step, "log": log, "name": name})).collect();
    Ok(Json(json!({"outputs": outputs, "tests": tests, "artifacts": artifacts, "logs": logs})))
}

/// Lists the followed files of steps: step, the log's number, its name.
pub(crate) fn followed(recipe: &Recipe, steps: impl Iterator<Item = u32>) -> Vec<(u32, u32, String)> {
    let of = |number: u32| {
        let step = usize::try_from(number).ok().and_then(|number| recipe.steps.get(number));
        step.into_iter().flat_map(|step| step.logs.keys()).zip(1..).map(move |(name, log)| (number, log, name.clone()))
    };
    steps.flat_map(of).collect()
}

/// Gives the address of a kept file.
pub(crate) fn artifact_href(build: BuildId, step: u32, path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path: String = path
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("/api/v1/builds/{build}/artifacts/{step}/{path}")
}

/// Which tests are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TestsQuery {
    after: Option<i64>,
    limit: Option<i64>,
}

/// `GET /builds/{id}/tests`: those that failed first.
pub(super) async fn tests(
    State(app): State<App>,
    Path(id): Path<String>,
    Asked(query): Asked<TestsQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = BuildId(number("build", &id)?);
    let (after, limit) = (query.after.unwrap_or(0).max(0), query.limit.unwrap_or(TESTS_DEFAULT).clamp(1, TESTS_MAX));
    let rows = app.reader.tests_of_build(id, after, limit).await?;
    let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < limit);
    let next = (!is_last).then_some(after + limit);
    Ok(Json(json!({"items": rows, "next": next})))
}

/// `GET /builds/{id}/artifacts/{step}/{path}`: a kept file's bytes, to be saved and never to be shown.
pub(super) async fn artifact(
    State(app): State<App>,
    Path((id, step, path)): Path<(String, String, String)>,
    _: Asked<NoQuery>,
) -> Result<Response, ApiError> {
    let id = BuildId(number("build", &id)?);
    let missing = || ApiError::not_found(format!("such a file of build {id}"));
    let step = step.parse::<u32>().map_err(|_| missing())?;
    let row = app.reader.find_artifact(id, step, &path).await?.ok_or_else(missing)?;
    let (store, digest) = (app.logs.artifacts(), row.sha256.clone());
    let file = tokio::task::spawn_blocking(move || store.open(&digest)).await.ok().and_then(Result::ok).flatten();
    let Some(file) = file else {
        tracing::error!(build.id = %id, path, "a kept file is not there");
        return Err(missing().hint("its row is there and its bytes are not; `gristmill doctor` says more"));
    };
    let pieces = stream::unfold((file, 0_u64), |(file, offset)| async move {
        let read = tokio::task::spawn_blocking(move || (read_at(&file, offset, PIECE_BYTES), file)).await;
        match read {
            Ok((Ok(bytes), _)) if bytes.is_empty() => None,
            Ok((Ok(bytes), file)) => {
                let next = offset + bytes.len() as u64;
                Some((Ok(Bytes::from(bytes)), (file, next)))
            }
            Ok((Err(error), file)) => Some((Err(error), (file, u64::MAX))),
            Err(_) => None,
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    // What a build made is saved, and never shown as a page of this service, whatever it says that it is.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, disposition(&row.path));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(row.bytes));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", row.sha256)) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    Ok(response)
}

/// Names the file that is saved, in letters that no header can be broken by.
fn disposition(path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_a_header_or_an_address() {
        let shown = |path: &str| disposition(path).to_str().map(str::to_owned).unwrap();
        assert_eq!(shown("dist/app-1.2.tar.gz"), "attachment; filename=\"app-1.2.tar.gz\"");
        assert_eq!(shown("a/\"; x=\r\nü"), "attachment; filename=\"___x____\"");
        assert_eq!(artifact_href(BuildId(7), 1, "a b/ü?.txt"), "/api/v1/builds/7/artifacts/1/a%20b/%C3%BC%3F.txt");
    }
}
