//! `GET /why`: reads what is recorded about a thing, and has it put into sentences.

use axum::Json;
use axum::extract::State;
use gristmill_model::{BuildId, BuilderName, BuildsetId, RequestId, Trigger};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Asked, number};
use super::error::{ApiError, cut};
use super::read::{explain_open, find_change};
use super::shape::{buildset_json, request_json};
use crate::store::read::{BuildsetDetail, BuildsetRow, ChangeDetail};
use crate::web::why::Origin;
use crate::web::{App, why};

/// Buildsets that set one off of which more than the number is read.
const UPSTREAM_MAX: usize = 16;

/// What is asked about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyQuery {
    about: String,
}

/// The sentences, and what they were made from.
type Said = Result<(Vec<String>, Value), ApiError>;

/// `GET /why`.
pub(super) async fn answer(State(app): State<App>, Asked(query): Asked<WhyQuery>) -> Result<Json<Value>, ApiError> {
    let about = query.about.as_str();
    let (noun, which) = about.split_once(':').ok_or_else(|| no_question(about))?;
    let (answer, beside) = match noun {
        "build" => about_build(&app, BuildId(number(noun, which)?)).await?,
        "request" => about_request(&app, RequestId(number(noun, which)?)).await?,
        "change" => about_change(&app, which).await?,
        "buildset" => about_buildset(&app, BuildsetId(number(noun, which)?)).await?,
        "not" => {
            let (builder, change) = which.rsplit_once('@').ok_or_else(|| no_question(about))?;
            about_not(&app, BuilderName(builder.to_owned()), change).await?
        }
        _ => return Err(no_question(about)),
    };
    let mut value = json!({"about": about, "answer": answer});
    if let (Some(fields), Value::Object(beside)) = (value.as_object_mut(), beside) {
        fields.extend(beside);
    }
    Ok(Json(value))
}

fn no_question(about: &str) -> ApiError {
    ApiError::invalid("about", format!("`{}` names nothing that can be asked about", cut(about)))
        .hint("ask about build:N, request:N, change:N, buildset:N or not:BUILDER@CHANGE")
}

async fn about_build(app: &App, id: BuildId) -> Said {
    let detail = app.reader.find_build_detail(id).await?;
    let detail = detail.ok_or_else(|| ApiError::not_found(format!("build {id}")))?;
    let verdicts = app.reader.verdicts_for_buildset(detail.build.buildset).await?;
    let upstream = upstream(app, &detail.trigger).await?;
    let answer = why::build(&detail, &verdicts, &upstream, app.clock.now());
    Ok((answer, json!({"build": detail.build, "changes": detail.changes, "verdicts": verdicts})))
}

async fn about_request(app: &App, id: RequestId) -> Said {
    let unknown = || ApiError::not_found(format!("request {id}"));
    let detail = app.reader.find_request_detail(id).await?.ok_or_else(unknown)?;
    let buildset = app.reader.find_buildset(detail.request.buildset).await?.ok_or_else(unknown)?;
    let changes = app.reader.changes_of_buildset(buildset.id).await?;
    let reasons = explain_open(app, std::slice::from_ref(&detail.request)).await.remove(&id).unwrap_or_default();
    let upstream = upstream(app, &buildset.trigger).await?;
    let BuildsetRow { scheduler, trigger, .. } = &buildset;
    let origin = Origin { scheduler, trigger, changes: &changes, upstream: &upstream };
    let answer = why::request(&detail, origin, &reasons, app.clock.now());
    let request = request_json(detail.request, &reasons);
    Ok((answer, json!({"request": request, "needs": detail.needs, "buildset": buildset, "changes": changes})))
}

async fn about_change(app: &App, which: &str) -> Said {
    let detail = change_detail(app, which).await?;
    let answer = why::change(&detail, &app.engine.catalog());
    Ok((answer, json!({"change": detail.change.id, "verdicts": detail.verdicts, "buildsets": detail.buildsets})))
}

async fn about_buildset(app: &App, id: BuildsetId) -> Said {
    let detail: Option<BuildsetDetail> = app.reader.find_buildset_detail(id).await?;
    let detail = detail.ok_or_else(|| ApiError::not_found(format!("buildset {id}")))?;
    let reasons = explain_open(app, &detail.requests).await;
    let upstream = upstream(app, &detail.buildset.trigger).await?;
    let answer = why::buildset(&detail, &reasons, &upstream, app.clock.now());
    Ok((answer, json!({"buildset": buildset_json(detail, reasons)})))
}

/// Finds the buildsets whose end set one off.
async fn upstream(app: &App, trigger: &Trigger) -> Result<Vec<BuildsetRow>, ApiError> {
    let Trigger::Upstream { buildsets } = trigger else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for id in buildsets.iter().take(UPSTREAM_MAX) {
        rows.extend(app.reader.find_buildset(*id).await?);
    }
    Ok(rows)
}

async fn about_not(app: &App, builder: BuilderName, which: &str) -> Said {
    let catalog = app.engine.catalog();
    if why::builders_meant(&catalog, &builder).next().is_none() {
        let unknown = ApiError::not_found(format!("builder `{}`", cut(builder.as_str())));
        return Err(unknown.hint(why::similar_builders(&catalog, &builder)));
    }
    let detail = change_detail(app, which).await?;
    let built = app.reader.builds_of_change(detail.change.id, &builder).await?;
    let answer = why::not_built(&builder, &detail, &built, &catalog);
    let beside = json!({"change": detail.change.id, "builder": builder, "builds": built, "verdicts": detail.verdicts});
    Ok((answer, beside))
}

async fn change_detail(app: &App, which: &str) -> Result<ChangeDetail, ApiError> {
    let id = find_change(app, which).await?;
    app.reader.find_change_detail(id).await?.ok_or_else(|| ApiError::not_found(format!("change {id}")))
}
