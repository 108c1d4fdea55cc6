//! Timed schedulers' moments: each fires once at the most (S19).

use gristmill_model::{SchedulerName, Timestamp};
use gristmill_schedulers::State;
use gristmill_schedulers::state::Timer;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

/// A moment that is not after the last one hits no row.
const FIRE: &str = "INSERT INTO timer (scheduler, nominal, next, why_nothing, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (scheduler) DO UPDATE SET nominal = COALESCE(excluded.nominal, timer.nominal),
        next = excluded.next, why_nothing = excluded.why_nothing, at = excluded.at
    WHERE excluded.nominal IS NULL OR timer.nominal IS NULL OR excluded.nominal > timer.nominal";
pub(super) const LOAD: &str = "SELECT scheduler, nominal, next FROM timer";

pub(super) fn fired(
    writes: &mut Writes,
    scheduler: &SchedulerName,
    nominal: Option<Timestamp>,
    next: Option<Timestamp>,
    nothing: Option<&str>,
    at: Timestamp,
) {
    let fire = sql(FIRE)
        .bind(scheduler.as_str())
        .bind(nominal.map(|time| time.0))
        .bind(next.map(|time| time.0))
        .bind(nothing)
        .bind(at.0);
    writes.one("timer", scheduler, fire);
}

/// Loads all timers.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load timers", sql(LOAD)).await? {
        let row = Record::of("timer", row);
        let timer = Timer { nominal: row.time_maybe("nominal")?, next: row.time_maybe("next")? };
        state.timers.insert(row.text("scheduler")?.into(), timer);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![FIRE, LOAD];
