//! Changes, and the compare-and-set on the tip that makes each of them one (S2).

use gristmill_model::{Change, ChangeId, Movement, RefName, RepositoryName, Revision, Timestamp};
use serde::Serialize;

use crate::store::database::bulk::Sort;
use crate::store::writes::Writes;

#[derive(Serialize)]
struct Tip<'a> {
    repository: &'a RepositoryName,
    reference: &'a RefName,
    /// Where it was.
    old: &'a Option<Revision>,
    revision: &'a Option<Revision>,
    seq: i64,
    change: ChangeId,
}

#[derive(Serialize)]
struct Row<'a> {
    id: ChangeId,
    repository: &'a RepositoryName,
    reference: &'a RefName,
    branch: &'a str,
    seq: i64,
    old: &'a Option<Revision>,
    new: &'a Option<Revision>,
    movement: Movement,
    title: &'a str,
    author: &'a str,
    body: &'a Change,
    at: Timestamp,
}

pub(super) fn seen(writes: &mut Writes, change: &Change) {
    let tip = Tip {
        repository: &change.repository,
        reference: &change.reference,
        old: &change.old,
        revision: &change.new,
        seq: change.seq,
        change: change.id,
    };
    let is_first = change.seq == 1 && change.old.is_none();
    let sort = if is_first { Sort::FirstTip } else { Sort::MovedTip };
    writes.row(sort, format!("{} {}", change.repository, change.reference), &tip);

    let row = Row {
        id: change.id,
        repository: &change.repository,
        reference: &change.reference,
        branch: change.reference.short(),
        seq: change.seq,
        old: &change.old,
        new: &change.new,
        movement: change.movement,
        title: &change.title(),
        author: change.authors().last().map(|person| &*person.name).unwrap_or_default(),
        body: change,
        at: change.at,
    };
    writes.row(Sort::Change, change.id, &row);
}
