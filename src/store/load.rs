//! Loading the state from the tables: exactly what folding every event would give.

use gristmill_model::InstanceEpoch;
use gristmill_schedulers::State;

use super::StoreError;
use super::database::{BEGIN_READ, Connection, failed, sql};
use super::record::Record;
use super::rows;
use super::tx::Tx;

/// A number counts as given out if a row has it, or if a restore says so.
const HEAD_AND_LAST_IDS: &str = "SELECT journal_head.seq AS head, instance.epoch AS instance,
    COALESCE((SELECT at FROM event ORDER BY seq DESC LIMIT 1), 0) AS at,
    (SELECT COALESCE(MAX(id), 0) FROM change) AS change_last,
    (SELECT COALESCE(MAX(id), 0) FROM delivery) AS delivery_last,
    (SELECT COALESCE(MAX(id), 0) FROM buildset) AS buildset_last,
    (SELECT COALESCE(MAX(id), 0) FROM request) AS request_last,
    (SELECT COALESCE(MAX(id), 0) FROM build) AS build_last,
    (SELECT COALESCE(MAX(id), 0) FROM incident) AS incident_last,
    (SELECT COALESCE(MAX(id), 0) FROM outbox) AS message_last
    FROM journal_head CROSS JOIN instance WHERE journal_head.one = 1";
const FLOORS: &str = "SELECT noun, last FROM number_floor LIMIT 100";

/// Loads the state on the connection that writes, so that no turn comes between two reads.
pub(super) async fn run(connection: &mut Connection) -> Result<State, StoreError> {
    connection.control(BEGIN_READ).await.map_err(failed("begin to load the state"))?;
    let loaded = read(&mut Tx::on(connection)).await;
    connection.control("ROLLBACK").await.map_err(failed("end loading the state"))?;
    loaded
}

/// Reads the state inside a transaction.
pub(super) async fn read(tx: &mut Tx<'_>) -> Result<State, StoreError> {
    let mut state = State::default();
    read_head(tx, &mut state).await?;
    rows::repository::load(tx, &mut state).await?;
    rows::verdict::load_held(tx, &mut state).await?;
    rows::timer::load(tx, &mut state).await?;
    rows::recipe::load(tx, &mut state).await?;
    rows::buildset::load_open(tx, &mut state).await?;
    rows::request::load_open(tx, &mut state).await?;
    rows::build::load_open(tx, &mut state).await?;
    rows::step::load_open(tx, &mut state).await?;
    rows::worker::load(tx, &mut state).await?;
    rows::pace::load(tx, &mut state).await?;
    rows::rating::load(tx, &mut state).await?;
    rows::token::load(tx, &mut state).await?;
    rows::standing::load(tx, &mut state).await?;
    rows::incident::load_open(tx, &mut state).await?;
    rows::upstream::load_unused(tx, &mut state).await?;
    rows::finding::load(tx, &mut state).await?;
    Ok(state)
}

async fn read_head(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load the journal's head", sql(HEAD_AND_LAST_IDS)).await? {
        let row = Record::of("journal_head", row);
        state.head = row.id("head")?;
        state.instance = InstanceEpoch(row.int("instance")?);
        state.at = row.time("at")?;
        state.last.change = row.id("change_last")?;
        state.last.delivery = row.id("delivery_last")?;
        state.last.buildset = row.id("buildset_last")?;
        state.last.request = row.id("request_last")?;
        state.last.build = row.id("build_last")?;
        state.last.incident = row.id("incident_last")?;
        state.last.message = row.id("message_last")?;
    }
    for row in &tx.rows("load the numbers given out", sql(FLOORS)).await? {
        let row = Record::of("number_floor", row);
        rows::instance::raise(&mut state.last, &row.text("noun")?, row.int("last")?);
    }
    Ok(())
}

/// Compares a state in memory with one of the tables, part by part, so that a difference is small enough to read.
pub(super) fn compare(memory: &State, tables: &State) -> Result<(), String> {
    macro_rules! same {
        ($($part:ident),* $(,)?) => {
            // Taken apart, so that a part that is added to the state cannot be forgotten here.
            let State { $($part: _),* } = memory;
            $(if memory.$part != tables.$part {
                return Err(format!(
                    "`{}` differs\n in memory: {:?}\nin tables: {:?}",
                    stringify!($part), memory.$part, tables.$part
                ));
            })*
        };
    }
    same!(
        head,
        instance,
        at,
        last,
        repositories,
        tips,
        held,
        timers,
        recipes,
        buildsets,
        requests,
        ready,
        first_request,
        needs,
        needed_by,
        builds,
        workers,
        paces,
        ratings,
        tokens,
        standings,
        incidents,
        upstreams,
        findings,
    );
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![FLOORS, HEAD_AND_LAST_IDS];
