//! Where each builder's newest checkout is, and how long its builds take.

use std::time::Duration;

use gristmill_model::{BuilderName, Pace};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const PACED: &str = "INSERT INTO pace (builder, worker, runs, mean) VALUES ($1, $2, $3, $4)
    ON CONFLICT (builder) DO UPDATE SET worker = excluded.worker, runs = excluded.runs, mean = excluded.mean";
pub(super) const LOAD: &str = "SELECT builder, worker, runs, mean FROM pace";

pub(super) fn paced(writes: &mut Writes, builder: &BuilderName, pace: &Pace) {
    let mean = i64::try_from(pace.mean.as_millis()).unwrap_or(i64::MAX);
    let paced = sql(PACED).bind(builder.as_str()).bind(pace.worker.as_str()).bind(pace.runs).bind(mean);
    writes.one("pace", builder, paced);
}

/// Loads all.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load paces", sql(LOAD)).await? {
        let row = Record::of("pace", row);
        let mean = Duration::from_millis(u64::try_from(row.int("mean")?).unwrap_or_default());
        let pace = Pace { worker: row.text("worker")?.into(), runs: row.count("runs")?, mean };
        state.paces.insert(row.text("builder")?.into(), pace);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![PACED, LOAD];
