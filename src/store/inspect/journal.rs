//! Reading the journal page by page, and saying what of it cannot be read or is out of order.

use gristmill_model::{Event, EventBody, Seq, Timestamp};

use super::check::Looked;
use super::rules::nothing_retired;
use crate::store::StoreError;
use crate::store::database::{Connection, failed, sql};
use crate::store::record::Record;

/// Events read at once.
const PAGE: i64 = 1_000;
/// The newest events that are read where not all are.
const RECENT: i64 = 2_000;

const HEAD: &str = concat!(
    "SELECT journal_head.seq AS head, (SELECT MIN(seq) FROM event) AS oldest, CASE WHEN journal_head.seq = 0 OR ",
    nothing_retired!(),
    " THEN 1 ELSE 0 END AS complete FROM journal_head"
);
const EVENTS: &str = "SELECT seq, at, kind, body FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";

/// What a page that cannot be used means.
const MEANS: &str = "what happened then cannot be told or folded";

/// How far the journal goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) oldest: Option<Seq>,
    pub(super) head: Seq,
    /// Whether no row was ever deleted on purpose.
    pub(super) nothing_retired: bool,
}

impl Extent {
    /// Says whether the journal has its beginning.
    pub(super) fn is_whole(self) -> bool {
        self.oldest.map_or(self.head == Seq(0), |oldest| oldest == Seq(1))
    }
}

pub(super) async fn extent(connection: &mut Connection) -> Result<Extent, StoreError> {
    let row = sql(HEAD).fetch_one(connection).await.map_err(failed("find the journal's ends"))?;
    let row = Record::of("journal_head", &row);
    Ok(Extent { head: row.id("head")?, oldest: row.id_maybe("oldest")?, nothing_retired: row.flag("complete")? })
}

/// Where a reader is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bookmark {
    after: Seq,
    at: Timestamp,
    is_begun: bool,
}

impl Bookmark {
    /// Begins after an event; whether the next one follows it is looked at from the second on if `begins_anywhere`.
    pub(super) fn after(seq: Seq, begins_anywhere: bool) -> Self {
        Self { after: seq, at: Timestamp(i64::MIN), is_begun: !begins_anywhere }
    }

    /// Gives the next events in order, none at the end; or a sentence on the first one that cannot be used.
    pub(super) async fn next(&mut self, connection: &mut Connection) -> Result<Result<Vec<Event>, String>, StoreError> {
        let rows = sql(EVENTS).bind(self.after.0).bind(PAGE).fetch_all(connection).await;
        let rows = rows.map_err(failed("read the journal"))?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let row = Record::of("event", row);
            let (seq, at, kind) = (row.id("seq")?, row.time("at")?, row.text("kind")?);
            let body = match row.json("body") {
                Ok(body) => body,
                Err(error) => return Ok(Err(format!("event {seq} ({kind}) cannot be read: {error}"))),
            };
            let event = Event { seq, at, body };
            if let Err(problem) = self.turn_to(&event, &kind) {
                return Ok(Err(problem));
            }
            events.push(event);
        }
        Ok(Ok(events))
    }

    fn turn_to(&mut self, event: &Event, kind: &str) -> Result<(), String> {
        // A restored installation passes over the numbers that were given out after its backup.
        let is_restored = matches!(event.body, EventBody::InstanceRestored { head, .. } if head == self.after);
        if self.is_begun && event.seq != self.after.next() && !is_restored {
            return Err(format!("event {} comes after event {}", event.seq, self.after));
        }
        if event.at < self.at {
            return Err(format!("event {} is older than the one before it", event.seq));
        }
        if event.body.kind() != kind {
            return Err(format!("event {} is kept as {kind}, and is {}", event.seq, EventBody::kind(&event.body)));
        }
        *self = Self { after: event.seq, at: event.at, is_begun: true };
        Ok(())
    }
}

/// Reads the newest events.
pub(super) async fn look_at_recent(connection: &mut Connection) -> Result<Looked, StoreError> {
    let extent = extent(connection).await?;
    let mut bookmark = Bookmark::after(Seq((extent.head.0 - RECENT).max(0)), true);
    loop {
        match bookmark.next(connection).await? {
            Ok(events) if events.is_empty() => return Ok(Looked::SOUND),
            Ok(_) => {}
            Err(problem) => return Ok(unusable(problem)),
        }
    }
}

/// Makes a finding of an event that cannot be used.
pub(super) fn unusable(problem: String) -> Looked {
    Looked::of_rows(vec![problem], 1, MEANS)
}

/// Says from where on could be looked, if that is not the beginning.
pub(super) fn retired_note(extent: Extent, compared: &str) -> Option<String> {
    if extent.is_whole() {
        return None;
    }
    let begins = extent.oldest.map_or("is empty".to_owned(), |oldest| format!("begins at {oldest}"));
    Some(format!("older events were retired, the journal {begins}: {compared}"))
}

#[cfg(test)]
crate::store::database::statements![HEAD, EVENTS];
