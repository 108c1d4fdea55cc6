//! Tokens by which workers join. Their secrets are kept nowhere.

use gristmill_model::{Revoked, Timestamp, Token, TokenId};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const MAKE: &str = "INSERT INTO token (id, admits, sha256, owner, made_at, made_by, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const REVOKE: &str = "UPDATE token SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL";
const DROP: &str = "DELETE FROM token WHERE id = $1";
pub(super) const LOAD: &str =
    "SELECT id, admits, sha256, owner, made_at, made_by, expires_at, revoked_at, revoked_by FROM token";

pub(super) fn made(writes: &mut Writes, token: &Token) {
    let make = sql(MAKE)
        .bind(token.id.as_str())
        .bind(to_json(&token.admits))
        .bind(token.sha256.as_str())
        .bind(token.owner.clone())
        .bind(token.made_at.0)
        .bind(token.made_by.as_str())
        .bind(token.expires_at.map(|at| at.0));
    writes.one("token", &token.id, make);
}

pub(super) fn revoked(writes: &mut Writes, token: &TokenId, by: &str, at: Timestamp) {
    writes.one("token", token, sql(REVOKE).bind(token.as_str()).bind(at.0).bind(by));
}

pub(super) fn dropped(writes: &mut Writes, token: &TokenId) {
    writes.one("token", token, sql(DROP).bind(token.as_str()));
}

/// Loads all tokens.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load tokens", sql(LOAD)).await? {
        let row = Record::of("token", row);
        let revoked_by = row.text_maybe("revoked_by")?;
        let revoked = row.time_maybe("revoked_at")?.zip(revoked_by).map(|(at, by)| Revoked { at, by });
        let token = Token {
            id: TokenId(row.text("id")?),
            admits: row.json("admits")?,
            sha256: row.text("sha256")?,
            owner: row.text_maybe("owner")?,
            made_at: row.time("made_at")?,
            made_by: row.text("made_by")?,
            expires_at: row.time_maybe("expires_at")?,
            revoked,
        };
        state.tokens.insert(token.id.clone(), token);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![MAKE, REVOKE, DROP, LOAD];
