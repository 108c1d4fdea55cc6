//! How repositories fare, and where their refs are.

use gristmill_model::{RefName, RepositoryName, Revision, Timestamp};
use gristmill_schedulers::State;
use gristmill_schedulers::state::{Sight, Tip};

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const SEEN: &str = "INSERT INTO repository (name, seen, failures, at) VALUES ($1, 1, 0, $2)
    ON CONFLICT (name) DO UPDATE SET seen = 1, at = excluded.at";
const FAILING: &str = "INSERT INTO repository (name, seen, failures, error, at) VALUES ($1, 0, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE SET failures = excluded.failures, error = excluded.error, at = excluded.at";
const RECOVERED: &str = "INSERT INTO repository (name, seen, failures, at) VALUES ($1, 0, 0, $2)
    ON CONFLICT (name) DO UPDATE SET failures = 0, error = NULL, at = excluded.at";
const RECORD_TIP: &str =
    "INSERT INTO ref_tip (repository, reference, revision, seq, change) VALUES ($1, $2, $3, 0, NULL)";

pub(super) const LOAD: &str = "SELECT name, seen, failures FROM repository";
pub(super) const LOAD_TIPS: &str = "SELECT repository, reference, revision, seq, change FROM ref_tip";

pub(super) fn seen(writes: &mut Writes, name: &RepositoryName, at: Timestamp) {
    writes.one("repository", name, sql(SEEN).bind(name.as_str()).bind(at.0));
}

pub(super) fn failing(writes: &mut Writes, name: &RepositoryName, error: &str, failures: u32, at: Timestamp) {
    writes.one("repository", name, sql(FAILING).bind(name.as_str()).bind(failures).bind(error).bind(at.0));
}

pub(super) fn recovered(writes: &mut Writes, name: &RepositoryName, at: Timestamp) {
    writes.one("repository", name, sql(RECOVERED).bind(name.as_str()).bind(at.0));
}

/// Records a tip for the first time; a ref that is known already is an inconsistency.
pub(super) fn tip_recorded(writes: &mut Writes, repository: &RepositoryName, reference: &RefName, revision: &Revision) {
    let record = sql(RECORD_TIP).bind(repository.as_str()).bind(reference.as_str()).bind(revision.as_str());
    writes.one("ref_tip", format!("{repository} {reference}"), record);
}

/// Loads all repositories and tips.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load repositories", sql(LOAD)).await? {
        let row = Record::of("repository", row);
        let sight = Sight { seen: row.flag("seen")?, failures: row.count("failures")? };
        state.repositories.insert(row.text("name")?.into(), sight);
    }
    for row in &tx.rows("load tips", sql(LOAD_TIPS)).await? {
        let row = Record::of("ref_tip", row);
        let tip = Tip {
            revision: row.text_maybe("revision")?.map(Into::into),
            seq: row.int("seq")?,
            change: row.id_maybe("change")?,
        };
        state.tips.entry(row.text("repository")?.into()).or_default().insert(row.text("reference")?.into(), tip);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![SEEN, FAILING, RECOVERED, RECORD_TIP, LOAD, LOAD_TIPS];
