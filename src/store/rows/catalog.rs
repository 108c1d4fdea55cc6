//! Configurations that were in force.

use gristmill_model::{CatalogHash, Timestamp};

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::tx::Tx;

/// The same hash is the same text.
const KEEP_TEXT: &str = "INSERT INTO catalog_text (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
const RETIRE: &str = "UPDATE catalog SET active = 0 WHERE active = 1";
const ACTIVATE: &str = "INSERT INTO catalog (hash, active, at) VALUES ($1, 1, $2)
    ON CONFLICT (hash) DO UPDATE SET active = 1, at = excluded.at";

/// Keeps a configuration's text.
pub(in crate::store) async fn keep_text(tx: &mut Tx<'_>, hash: &CatalogHash, text: &str) -> Result<(), StoreError> {
    tx.any("catalog_text", hash, sql(KEEP_TEXT).bind(hash.as_str()).bind(text)).await.map(drop)
}

pub(super) async fn activated(tx: &mut Tx<'_>, hash: &CatalogHash, at: Timestamp) -> Result<(), StoreError> {
    tx.any("catalog", hash, sql(RETIRE)).await?;
    tx.one("catalog", hash, sql(ACTIVATE).bind(hash.as_str()).bind(at.0)).await
}

#[cfg(test)]
crate::store::database::statements![KEEP_TEXT, RETIRE, ACTIVATE];
