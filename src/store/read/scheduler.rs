//! Schedulers: what they decided lately, what they hold, when they fire next.

use gristmill_model::{SchedulerName, Timestamp};
use serde::Serialize;

use super::Reader;
use super::change::{ChangeRow, VerdictRow, change_row, verdict_row};
use super::row::{Cells, ReadError, opt_rfc3339, read_all, rfc3339};
#[cfg(test)]
use crate::store::database::Text;
use crate::store::database::sql;

/// A timed scheduler's moments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimerRow {
    /// The scheduler.
    pub scheduler: SchedulerName,
    /// The last moment that was meant.
    #[serde(serialize_with = "opt_rfc3339")]
    pub nominal: Option<Timestamp>,
    /// The next one.
    #[serde(serialize_with = "opt_rfc3339")]
    pub next: Option<Timestamp>,
    /// Why nothing was built the last time, if nothing was.
    pub nothing: Option<String>,
    /// When it fired last, or was set.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// A change that a scheduler keeps for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldRow {
    /// The scheduler.
    pub scheduler: SchedulerName,
    /// The change.
    pub change: ChangeRow,
    /// Until when; `None` if it waits for something else.
    #[serde(serialize_with = "opt_rfc3339")]
    pub until: Option<Timestamp>,
}

/// What one scheduler did lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchedulerState {
    /// The scheduler.
    pub scheduler: SchedulerName,
    /// Its moments, if it is a timed one.
    pub timer: Option<TimerRow>,
    /// What it holds, oldest first.
    pub held: Vec<HeldRow>,
    /// Its last verdicts, newest first.
    pub verdicts: Vec<VerdictRow>,
}

const LAST_VERDICTS: &str = "SELECT change, scheduler, kind, buildset, until, reasons, place, at FROM verdict \
                             WHERE scheduler = $1 ORDER BY change DESC LIMIT $2";
const TIMERS: &str = "SELECT scheduler, nominal, next, why_nothing, at FROM timer ORDER BY scheduler LIMIT $1";
const HELD: &str = "SELECT v.scheduler, v.until, c.id, c.repository, c.reference, c.branch, c.old, c.new, c.movement, c.title, \
     c.author, c.at FROM verdict v JOIN change c ON c.id = v.change WHERE v.kind = 'held' ORDER BY c.id LIMIT $1";

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 2] =
    [("last verdicts", Text::Same(LAST_VERDICTS)), ("held", Text::Same(HELD))];

/// Schedulers that are shown.
const SCHEDULERS_MAX: i64 = 10_000;
/// Held changes that are shown, over all schedulers.
pub const HELD_MAX: i64 = 1_000;

impl Reader {
    /// Lists the last verdicts of a scheduler, newest change first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn last_verdicts(&self, scheduler: &SchedulerName, limit: i64) -> Result<Vec<VerdictRow>, ReadError> {
        let rows = sql(LAST_VERDICTS).bind(scheduler.as_str()).bind(limit).fetch_all(self.pool()).await?;
        read_all(&rows, verdict_row)
    }

    /// Lists the moments of timed schedulers.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn timers(&self) -> Result<Vec<TimerRow>, ReadError> {
        let rows = sql(TIMERS).bind(SCHEDULERS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(TimerRow {
                scheduler: cells.text("scheduler")?,
                nominal: cells.opt_time("nominal")?,
                next: cells.opt_time("next")?,
                nothing: cells.opt_text("why_nothing")?,
                at: cells.time("at")?,
            })
        })
    }

    /// Lists the changes that schedulers keep for later, oldest first, at most [`HELD_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn held_changes(&self) -> Result<Vec<HeldRow>, ReadError> {
        let rows = sql(HELD).bind(HELD_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, held_row)
    }

    /// Gives what these schedulers did lately, each with at most `verdicts` verdicts.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn scheduler_states(
        &self,
        schedulers: &[SchedulerName],
        verdicts: i64,
    ) -> Result<Vec<SchedulerState>, ReadError> {
        let timers = self.timers().await?;
        let held = self.held_changes().await?;
        let mut states = Vec::with_capacity(schedulers.len());
        for scheduler in schedulers {
            states.push(SchedulerState {
                timer: timers.iter().find(|timer| timer.scheduler == *scheduler).cloned(),
                held: held.iter().filter(|held| held.scheduler == *scheduler).cloned().collect(),
                verdicts: self.last_verdicts(scheduler, verdicts).await?,
                scheduler: scheduler.clone(),
            });
        }
        Ok(states)
    }
}

fn held_row(cells: &Cells<'_>) -> Result<HeldRow, ReadError> {
    Ok(HeldRow { scheduler: cells.text("scheduler")?, change: change_row(cells)?, until: cells.opt_time("until")? })
}

#[cfg(test)]
crate::store::database::statements![LAST_VERDICTS, TIMERS, HELD];
