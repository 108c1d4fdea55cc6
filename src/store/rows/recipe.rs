//! Recipes, each once under its digest.

use std::sync::Arc;

use gristmill_model::{Digest, Recipe};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const RECORD: &str = "INSERT INTO recipe (digest, body) VALUES ($1, $2)";
pub(super) const LOAD: &str = "SELECT digest, body FROM recipe";

pub(super) fn recorded(writes: &mut Writes, digest: &Digest, recipe: &Recipe) {
    writes.one("recipe", digest, sql(RECORD).bind(digest.as_str()).bind(to_json(recipe)));
}

/// Loads all recipes.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load recipes", sql(LOAD)).await? {
        let row = Record::of("recipe", row);
        let recipe: Recipe = row.json("body")?;
        state.recipes.insert(row.text("digest")?.into(), Arc::new(recipe));
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![RECORD, LOAD];
