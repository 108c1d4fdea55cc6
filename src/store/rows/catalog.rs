//! Configurations that were in force.

use gristmill_model::{CatalogHash, Timestamp};

use crate::store::database::sql;
use crate::store::writes::Writes;

/// The same hash is the same text.
const KEEP_TEXT: &str = "INSERT INTO catalog_text (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
const RETIRE: &str = "UPDATE catalog SET active = 0 WHERE active = 1";
const ACTIVATE: &str = "INSERT INTO catalog (hash, active, at) VALUES ($1, 1, $2)
    ON CONFLICT (hash) DO UPDATE SET active = 1, at = excluded.at";

/// Keeps a configuration's text.
pub(in crate::store) fn keep_text(writes: &mut Writes, hash: &CatalogHash, text: &str) {
    writes.any("catalog_text", hash, sql(KEEP_TEXT).bind(hash.as_str()).bind(text));
}

pub(super) fn activated(writes: &mut Writes, hash: &CatalogHash, at: Timestamp) {
    writes.any("catalog", hash, sql(RETIRE));
    writes.one("catalog", hash, sql(ACTIVATE).bind(hash.as_str()).bind(at.0));
}

#[cfg(test)]
crate::store::database::statements![KEEP_TEXT, RETIRE, ACTIVATE];
