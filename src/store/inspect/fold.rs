//! The state again: folded from the journal, from the engine's memory onwards, and as the tables have it.

use gristmill_schedulers::State;

use super::Inspector;
use super::check::Looked;
use super::journal::{Bookmark, extent, retired_note, unusable};
use crate::store::database::{BEGIN_READ, Connection, failed, sql};
use crate::store::tx::Tx;
use crate::store::{StoreError, load};

/// Characters of a difference that are shown: a part of the state may be large.
const DIFFERENCE_MAX: usize = 2_000;

/// Folds every event, and compares with what is loaded from the tables.
pub(super) async fn look(connection: &mut Connection) -> Result<Looked, StoreError> {
    begin(connection).await?;
    let looked = fold_all(connection).await;
    end(connection).await?;
    looked
}

async fn fold_all(connection: &mut Connection) -> Result<Looked, StoreError> {
    let extent = extent(connection).await?;
    if !extent.is_whole() {
        let note = retired_note(extent, "the state was not folded");
        return Ok(Looked::Sound { note });
    }
    let means = "the service would decide otherwise after a restart than its journal says";
    go_on_from(connection, State::default(), means).await
}

impl Inspector {
    /// Compares the engine's memory with the tables. Turns that came after the memory was taken are folded into it.
    ///
    /// # Errors
    /// If it could not look.
    pub async fn compare_memory(&mut self, memory: State) -> Result<Looked, StoreError> {
        begin(&mut self.connection).await?;
        let means = "the running service decides on something else than what is kept; restart it";
        let looked = go_on_from(&mut self.connection, memory, means).await;
        end(&mut self.connection).await?;
        looked
    }
}

async fn go_on_from(connection: &mut Connection, mut state: State, means: &str) -> Result<Looked, StoreError> {
    let mut bookmark = Bookmark::after(state.head, false);
    loop {
        match bookmark.next(connection).await? {
            Ok(events) if events.is_empty() => break,
            Ok(events) => events.iter().for_each(|event| state.apply(event)),
            Err(problem) => return Ok(unusable(problem)),
        }
    }
    let tables = load::read(&mut Tx::on(connection)).await?;
    Ok(match load::compare(&state, &tables) {
        Ok(()) => Looked::SOUND,
        Err(difference) => {
            let difference: String = difference.chars().take(DIFFERENCE_MAX).collect();
            Looked::of_rows(vec![difference], 1, means)
        }
    })
}

/// Holds one moment.
pub(super) async fn begin(connection: &mut Connection) -> Result<(), StoreError> {
    sql(BEGIN_READ).execute(connection).await.map(drop).map_err(failed("begin to look"))
}

/// Lets go of it.
pub(super) async fn end(connection: &mut Connection) -> Result<(), StoreError> {
    sql("ROLLBACK").execute(connection).await.map(drop).map_err(failed("end looking"))
}
