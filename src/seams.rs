//! Ways in for `tests/fuzz` to what reads foreign bytes and is nobody else's business. Not part of what this crate offers.

use gristmill_model::catalog::Repository;

use crate::cli::watch::sse;
use crate::sources::git::SweepError;
use crate::sources::git::listing::Listing;
use crate::sources::git::transport::advertisement;

/// Reads the ref list that a git server begins with. Also gives the server's capabilities.
///
/// # Errors
/// Why it cannot be taken.
pub fn ref_list(
    mut bytes: &[u8],
    is_http: bool,
    config: &Repository,
    refs_max: usize,
) -> Result<(Listing, String), SweepError> {
    advertisement::read(&mut bytes, is_http, config, refs_max)
}

/// Reads server-sent events as `gristmill watch` does: each one's kind and what it carries. `None` if one is too long.
pub fn event_stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<(String, String)>> {
    let mut reader = sse::Reader::default();
    let mut records = Vec::new();
    for piece in pieces {
        records.extend(reader.push(piece).ok()?.into_iter().map(|record| (record.event, record.data)));
    }
    Some(records)
}
