//! Tokens by which workers join, without what their secrets are compared with.

use gristmill_model::{Admits, Timestamp, TokenId};
use serde::Serialize;

use super::Reader;
use super::row::{ReadError, opt_rfc3339, read_all, rfc3339};
use crate::store::database::sql;

/// Tokens that are listed: all that may be kept.
const TOKENS_MAX: i64 = 10_000;

const TOKENS: &str = "SELECT id, admits, owner, made_at, made_by, expires_at, revoked_at, revoked_by FROM token \
                      ORDER BY id LIMIT $1";

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Its public part.
    pub id: TokenId,
    /// Whom it admits.
    pub admits: Admits,
    /// Who is told of what becomes of its workers.
    pub owner: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// From when on it admits nobody any more.
    #[serde(serialize_with = "opt_rfc3339")]
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    #[serde(serialize_with = "opt_rfc3339")]
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    pub revoked_by: Option<String>,
}

impl Reader {
    /// Lists all tokens.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, ReadError> {
        let rows = sql(TOKENS).bind(TOKENS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(TokenRow {
                id: cells.text("id")?,
                admits: cells.json("admits")?,
                owner: cells.opt_text("owner")?,
                made_at: cells.time("made_at")?,
                made_by: cells.text("made_by")?,
                expires_at: cells.opt_time("expires_at")?,
                revoked_at: cells.opt_time("revoked_at")?,
                revoked_by: cells.opt_text("revoked_by")?,
            })
        })
    }
}

#[cfg(test)]
crate::store::database::statements![TOKENS];
