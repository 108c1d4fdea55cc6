//! Builds: one attempt each, one live lease per request at the most (S8). A finished build stays as it is (S10).

use gristmill_model::{Build, BuildId, BuildState, Cause, Outcome, Timestamp};
use gristmill_schedulers::State;
use gristmill_schedulers::state::OpenBuild;

use super::{End, request};
use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

/// The branch is the buildset's, kept here so that a builder's history on a branch is one index.
const INSERT: &str = "INSERT INTO build
    (id, request, buildset, builder, branch, attempt, epoch, worker, state, leased_at)
    SELECT $1, $2, buildset.id, $4, buildset.branch, $5, $6, $7, $8, $9 FROM buildset WHERE buildset.id = $3";
const START: &str = "UPDATE build SET state = 'running', started_at = $2 WHERE id = $1 AND state = 'leased'";
const SUSPEND: &str = "UPDATE build SET state = 'suspended', suspended_step = $2 WHERE id = $1 AND state = 'running'";
const RESUMABLE: &str = "UPDATE build SET state = 'resumable' WHERE id = $1 AND state = 'suspended'";
const RESUME: &str = "UPDATE build SET state = 'running', suspended_step = NULL
    WHERE id = $1 AND state IN ('running', 'resumable')";
const ASK_CANCEL: &str = "UPDATE build SET cancel = $2 WHERE id = $1 AND state <> 'finished'";
const FINISH: &str = "UPDATE build
    SET state = 'finished', outcome = $2, cause = $3, summary = $4, finished_at = $5, suspended_step = NULL
    WHERE id = $1 AND state <> 'finished'";

pub(super) const LOAD_OPEN: &str =
    "SELECT build.id, build.request, build.buildset, build.builder, build.attempt, build.epoch,
        build.worker, build.state, build.cancel, build.suspended_step, build.leased_at, build.started_at,
        step.triggered
    FROM build LEFT JOIN step ON step.build = build.id AND step.number = build.suspended_step
    WHERE build.state <> 'finished'";

pub(super) fn leased(writes: &mut Writes, build: &Build) {
    request::leased(writes, build);
    let insert = sql(INSERT)
        .bind(build.id.0)
        .bind(build.request.0)
        .bind(build.buildset.0)
        .bind(build.builder.as_str())
        .bind(build.attempt)
        .bind(build.epoch)
        .bind(build.worker.as_str())
        .bind(build.state.as_str())
        .bind(build.leased_at.0);
    writes.one("build", build.id, insert);
}

pub(super) fn started(writes: &mut Writes, id: BuildId, at: Timestamp) {
    writes.one("build", id, sql(START).bind(id.0).bind(at.0));
}

pub(super) fn suspended(writes: &mut Writes, id: BuildId, step: u32) {
    writes.one("build", id, sql(SUSPEND).bind(id.0).bind(step));
}

pub(super) fn resumable(writes: &mut Writes, id: BuildId) {
    writes.one("build", id, sql(RESUMABLE).bind(id.0));
}

pub(super) fn resumed(writes: &mut Writes, id: BuildId) {
    writes.one("build", id, sql(RESUME).bind(id.0));
}

pub(super) fn cancel_asked(writes: &mut Writes, id: BuildId, by: &str) {
    writes.one("build", id, sql(ASK_CANCEL).bind(id.0).bind(by));
}

pub(super) fn finished(writes: &mut Writes, id: BuildId, end: End<'_>, retry: bool) {
    let finish = sql(FINISH)
        .bind(id.0)
        .bind(end.outcome.as_str())
        .bind(end.cause.map(Cause::as_str))
        .bind(end.summary)
        .bind(end.at.0);
    writes.one("build", id, finish);
    request::attempt_ended(writes, id, end, retry);
}

/// Loads unfinished builds, without their steps.
pub(in crate::store) async fn load_open(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load open builds", sql(LOAD_OPEN)).await? {
        let row = Record::of("build", row);
        let build = Build {
            id: row.id("id")?,
            request: row.id("request")?,
            buildset: row.id("buildset")?,
            builder: row.text("builder")?.into(),
            attempt: row.count("attempt")?,
            epoch: row.int("epoch")?,
            worker: row.text("worker")?.into(),
            state: row.word("state", BuildState::parse)?,
            cancel: row.text_maybe("cancel")?,
            suspended_step: row.count_maybe("suspended_step")?,
            outcome: None::<Outcome>,
            cause: None,
            summary: None,
            leased_at: row.time("leased_at")?,
            started_at: row.time_maybe("started_at")?,
            finished_at: None,
        };
        let open = OpenBuild { build, steps: Default::default(), waits_for: row.id_maybe("triggered")? };
        state.builds.insert(open.build.id, open);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![INSERT, START, SUSPEND, RESUMABLE, RESUME, ASK_CANCEL, FINISH, LOAD_OPEN];
