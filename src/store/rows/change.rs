//! Changes, and the compare-and-set on the tip that makes each of them one (S2).

use gristmill_model::{Change, Movement};

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::to_json;
use crate::store::tx::Tx;

const FIRST_TIP: &str =
    "INSERT INTO ref_tip (repository, reference, revision, seq, change) VALUES ($1, $2, $3, $4, $5)";
/// Moves the tip, if it is where the change says that it was.
const MOVE_TIP: &str = "UPDATE ref_tip SET revision = $3, seq = $4, change = $5
    WHERE repository = $1 AND reference = $2 AND seq = $4 - 1 AND revision IS NOT DISTINCT FROM $6";
const INSERT: &str = "INSERT INTO change
    (id, repository, reference, branch, seq, old, new, movement, title, author, body, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

pub(super) async fn seen(tx: &mut Tx<'_>, change: &Change) -> Result<(), StoreError> {
    let is_first = change.seq == 1 && change.old.is_none();
    let tip = sql(if is_first { FIRST_TIP } else { MOVE_TIP })
        .bind(change.repository.as_str())
        .bind(change.reference.as_str())
        .bind(change.new.as_ref().map(|revision| revision.0.as_str()))
        .bind(change.seq)
        .bind(change.id.0);
    let tip = if is_first { tip } else { tip.bind(change.old.as_ref().map(|revision| revision.0.as_str())) };
    tx.one("ref_tip", format!("{} {}", change.repository, change.reference), tip).await?;

    let author = change.authors().last().map(|person| person.name.clone()).unwrap_or_default();
    let insert = sql(INSERT)
        .bind(change.id.0)
        .bind(change.repository.as_str())
        .bind(change.reference.as_str())
        .bind(change.reference.short())
        .bind(change.seq)
        .bind(change.old.as_ref().map(|revision| revision.0.as_str()))
        .bind(change.new.as_ref().map(|revision| revision.0.as_str()))
        .bind(movement_word(change.movement))
        .bind(change.title())
        .bind(author)
        .bind(to_json(change))
        .bind(change.at.0);
    tx.one("change", change.id, insert).await
}

fn movement_word(movement: Movement) -> &'static str {
    match movement {
        Movement::Created => "created",
        Movement::Moved => "moved",
        Movement::Forced => "forced",
        Movement::Deleted => "deleted",
    }
}

#[cfg(test)]
crate::store::database::statements![FIRST_TIP, MOVE_TIP, INSERT];
