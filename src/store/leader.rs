//! Who leads: one row that masters agree by.
//!
//! It says who should try to decide, and is no lock: whether a turn may be written is decided by the journal's head. A
//! master that takes the lead writes the next turn, and from then on nothing that its predecessor decided is committed.

use serde::Serialize;

use super::StoreError;
use super::database::{Connection, Row, failed, sql};
use super::read::Reader;
use super::record::Record;

const FIND: &str = "SELECT epoch, master, address, beat, logs FROM leader WHERE one = 1";
/// On condition that nothing has changed since it was looked at: of two that try, one succeeds.
const TAKE: &str = "UPDATE leader SET epoch = epoch + 1, master = $3, address = $4, logs = $5, beat = 0
    WHERE one = 1 AND epoch = $1 AND beat = $2";
const BEAT: &str = "UPDATE leader SET beat = beat + 1 WHERE one = 1 AND epoch = $1 AND master = $2";
const GIVE_UP: &str = "UPDATE leader SET master = '', address = '' WHERE one = 1 AND epoch = $1 AND master = $2";

/// The master that leads, as the database says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Leader {
    /// How many took the lead before it, and itself.
    pub epoch: i64,
    /// Its name; empty if the last one gave the lead up.
    pub master: String,
    /// Where other masters reach it, as a URL; empty if they cannot.
    pub address: String,
    /// Grows while it lives.
    pub beat: i64,
    /// The folder of logs that all masters share, by its own name; empty until a master has led.
    pub logs: String,
}

/// A master that would lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub master: String,
    /// Where other masters reach it, as a URL; empty if they cannot.
    pub address: String,
    /// Its folder of logs, by that folder's own name.
    pub logs: String,
}

impl Reader {
    /// Finds who leads.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn leader(&self) -> Result<Leader, StoreError> {
        let row = sql(FIND).fetch_one(self.pool()).await.map_err(failed("find who leads"))?;
        read(&row)
    }
}

fn read(row: &Row) -> Result<Leader, StoreError> {
    let row = Record::of("leader", row);
    Ok(Leader {
        epoch: row.int("epoch")?,
        master: row.text("master")?,
        address: row.text("address")?,
        beat: row.int("beat")?,
        logs: row.text("logs")?,
    })
}

/// Something that is done to the row.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Take the lead from what was seen.
    Take {
        /// The row as it was seen.
        seen: Leader,
        /// Who takes it.
        claim: Claim,
    },
    /// Show that the leader of this epoch lives.
    Beat {
        /// Its epoch.
        epoch: i64,
        /// Its name.
        master: String,
    },
    /// Let others take the lead at once.
    GiveUp {
        /// Of this epoch.
        epoch: i64,
        /// Its name.
        master: String,
    },
}

/// Does it; gives whether the row was still as it had to be.
pub(super) async fn act(connection: &mut Connection, act: Act) -> Result<bool, StoreError> {
    let statement = match act {
        Act::Take { seen, claim } => {
            sql(TAKE).bind(seen.epoch).bind(seen.beat).bind(claim.master).bind(claim.address).bind(claim.logs)
        }
        Act::Beat { epoch, master } => sql(BEAT).bind(epoch).bind(master),
        Act::GiveUp { epoch, master } => sql(GIVE_UP).bind(epoch).bind(master),
    };
    Ok(statement.execute(connection).await.map_err(failed("say who leads"))? == 1)
}

#[cfg(test)]
crate::store::database::statements![FIND, TAKE, BEAT, GIVE_UP];
