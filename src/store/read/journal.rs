//! The journal as followers and the API read it, and the answers kept for callers who repeat themselves.

use gristmill_model::{BuildId, BuildsetId, RequestId, Seq};

use super::Reader;
use super::row::{Cells, ReadError, id_list};
use crate::store::database::{Text, postgres_ids, sql};

const INSTALLATION: &str = "SELECT id, epoch FROM instance WHERE one = 1";
const OLDEST: &str = "SELECT MIN(seq) AS seq FROM event";
const BUILDSETS_OF_BUILDS: Text = Text::Each {
    sqlite: "SELECT id, buildset FROM build WHERE id IN (SELECT value FROM json_each($1)) LIMIT $2",
    postgres: concat!("SELECT id, buildset FROM build WHERE id IN ", postgres_ids!("$1"), " LIMIT $2"),
};
const BUILDSETS_OF_REQUESTS: Text = Text::Each {
    sqlite: "SELECT id, buildset FROM request WHERE id IN (SELECT value FROM json_each($1)) LIMIT $2",
    postgres: concat!("SELECT id, buildset FROM request WHERE id IN ", postgres_ids!("$1"), " LIMIT $2"),
};

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 2] =
    [("buildsets of builds", BUILDSETS_OF_BUILDS), ("buildsets of requests", BUILDSETS_OF_REQUESTS)];

impl Reader {
    /// Gives the number of the oldest event that is kept.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn oldest_event(&self) -> Result<Option<Seq>, ReadError> {
        let row = sql(OLDEST).fetch_one(self.pool()).await?;
        Cells(&row).opt_id("seq", Seq)
    }

    /// Gives the buildsets of builds; unknown builds are passed over.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn buildsets_of_builds(&self, builds: &[BuildId]) -> Result<Vec<(BuildId, BuildsetId)>, ReadError> {
        let pairs = self.pairs(BUILDSETS_OF_BUILDS, builds.iter().map(|id| id.0).collect()).await?;
        Ok(pairs.into_iter().map(|(id, buildset)| (BuildId(id), buildset)).collect())
    }

    /// Gives the buildsets of requests; unknown requests are passed over.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn buildsets_of_requests(
        &self,
        requests: &[RequestId],
    ) -> Result<Vec<(RequestId, BuildsetId)>, ReadError> {
        let pairs = self.pairs(BUILDSETS_OF_REQUESTS, requests.iter().map(|id| id.0).collect()).await?;
        Ok(pairs.into_iter().map(|(id, buildset)| (RequestId(id), buildset)).collect())
    }

    /// Names the installation: by the database's identity, which a restored one has, too, and by how often it was
    /// restored.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn installation(&self) -> Result<String, ReadError> {
        let row = sql(INSTALLATION).fetch_one(self.pool()).await?;
        Ok(format!("{}-{}", row.value::<String>("id")?, row.value::<i64>("epoch")?))
    }

    async fn pairs(&self, text: Text, ids: Vec<i64>) -> Result<Vec<(i64, BuildsetId)>, ReadError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        let rows = sql(text).bind(id_list(ids)).bind(count).fetch_all(self.pool()).await?;
        super::row::read_all(&rows, |cells| Ok((cells.int("id")?, cells.id("buildset", BuildsetId)?)))
    }
}

#[cfg(test)]
crate::store::database::statements![INSTALLATION, OLDEST, BUILDSETS_OF_BUILDS, BUILDSETS_OF_REQUESTS];
