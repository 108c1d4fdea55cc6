//! The rows again: every event is written into an empty database by the very function that wrote it, and all tables are
//! compared row by row.
//!
//! Memory is bounded: events come in pages, rows as streams. A journal whose beginning was retired is written as far as
//! that goes: an event about something older hits no row and is passed over, and rows that no event made are not
//! compared.

use gristmill_model::{Event, EventBody, Seq, Timestamp};

use super::check::Looked;
use super::fold::{begin, end};
use super::journal::{Bookmark, Extent, extent, retired_note, unusable};
use super::tables::{self, Differences};
use crate::store::database::sqlite::open_scratch;
use crate::store::database::{BEGIN_WRITE, Connection, failed, sql};
use crate::store::tx::Tx;
use crate::store::writes::Writes;
use crate::store::{StoreError, migrate, rows};

/// Events that are written into memory; more go into a file.
const EVENTS_IN_MEMORY_MAX: i64 = 20_000;

const MEANS: &str = "the rows are not what the events say: something else than a turn has written them, or they are \
                     damaged";
/// What a change says of the tip before it is taken on trust when the event that set it was retired.
const TRUST_TIP: &str =
    "INSERT INTO ref_tip (repository, reference, revision, seq, change) VALUES ($1, $2, $3, $4, NULL)
    ON CONFLICT (repository, reference) DO NOTHING";

/// Writes every event again and compares.
pub(super) async fn look(connection: &mut Connection) -> Result<Looked, StoreError> {
    begin(connection).await?;
    let looked = write_and_compare(connection).await;
    end(connection).await?;
    looked
}

async fn write_and_compare(connection: &mut Connection) -> Result<Looked, StoreError> {
    let extent = extent(connection).await?;
    let is_large = extent.head.0 - extent.oldest.map_or(0, |oldest| oldest.0) > EVENTS_IN_MEMORY_MAX;
    let folder = if is_large { Some(tempfile::tempdir().map_err(no_room)?) } else { None };
    let file = folder.as_ref().map(|folder| folder.path().join("fold.db"));
    let mut scratch = Connection::Sqlite(Box::new(open_scratch(file.as_deref()).await?));
    migrate::bring_up_to_date(&mut scratch, "for comparing").await?;
    let looked = match write_all(connection, &mut scratch, extent).await? {
        Ok(()) => compare_all(connection, &mut scratch, extent).await?,
        Err(problem) => unusable(problem),
    };
    scratch.close().await.map_err(failed("close a database for comparing"))?;
    Ok(looked)
}

fn no_room(source: std::io::Error) -> StoreError {
    StoreError::Folder { folder: std::env::temp_dir(), source }
}

/// Writes the rows of every event; or gives a sentence on the first one that cannot be written.
async fn write_all(
    connection: &mut Connection,
    scratch: &mut Connection,
    extent: Extent,
) -> Result<Result<(), String>, StoreError> {
    let mut bookmark = Bookmark::after(Seq(0), !extent.is_whole());
    loop {
        let events = match bookmark.next(connection).await? {
            Ok(events) if events.is_empty() => return Ok(Ok(())),
            Ok(events) => events,
            Err(problem) => return Ok(Err(problem)),
        };
        run(scratch, BEGIN_WRITE).await?;
        let written = if extent.is_whole() {
            write_page(scratch, events).await
        } else {
            write_what_goes(scratch, events).await.map(Ok)
        };
        run(scratch, "COMMIT").await?;
        if let Err(problem) = written? {
            return Ok(Err(problem));
        }
    }
}

async fn run(scratch: &mut Connection, text: impl Into<crate::store::database::Text>) -> Result<(), StoreError> {
    sql(text).execute(scratch).await.map(drop).map_err(failed("write events again"))
}

/// Writes a page in turns: events of one time belong together.
async fn write_page(scratch: &mut Connection, events: Vec<Event>) -> Result<Result<(), String>, StoreError> {
    let mut events = events.into_iter().peekable();
    while let Some(first) = events.next() {
        let (before, at) = (Seq(first.seq.0 - 1), first.at);
        let mut last = first.seq;
        let mut bodies = vec![first.body];
        while let Some(event) = events.next_if(|event| event.at == at) {
            last = event.seq;
            bodies.push(event.body);
        }
        match write_rows(scratch, before, at, &bodies).await {
            Ok(()) => {}
            Err(problem @ StoreError::Inconsistent { .. }) => {
                return Ok(Err(format!("events {} to {last} cannot be written again: {problem}", before.next())));
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(Ok(()))
}

async fn write_rows(
    scratch: &mut Connection,
    before: Seq,
    at: Timestamp,
    events: &[EventBody],
) -> Result<(), StoreError> {
    let mut writes = Writes::default();
    rows::write(&mut writes, before, at, events);
    Tx::on(scratch).write(writes).await
}

/// Writes what does not need anything older than the journal.
async fn write_what_goes(scratch: &mut Connection, events: Vec<Event>) -> Result<(), StoreError> {
    for Event { seq, at, body } in events {
        trust_tip(scratch, &body).await?;
        run(scratch, "SAVEPOINT one").await?;
        let before = Seq(seq.0 - 1);
        match write_rows(scratch, before, at, std::slice::from_ref(&body)).await {
            Ok(()) => {}
            Err(StoreError::Inconsistent { .. }) => run(scratch, "ROLLBACK TO one").await?,
            Err(problem) => return Err(problem),
        }
        run(scratch, "RELEASE one").await?;
    }
    Ok(())
}

async fn trust_tip(scratch: &mut Connection, body: &EventBody) -> Result<(), StoreError> {
    let EventBody::ChangeSeen { change } = body else { return Ok(()) };
    if change.seq == 1 && change.old.is_none() {
        return Ok(());
    }
    let trust = sql(TRUST_TIP)
        .bind(change.repository.as_str())
        .bind(change.reference.as_str())
        .bind(change.old.as_ref().map(|revision| revision.0.as_str()))
        .bind(change.seq - 1);
    trust.execute(scratch).await.map(drop).map_err(failed("write events again"))
}

async fn compare_all(
    connection: &mut Connection,
    scratch: &mut Connection,
    extent: Extent,
) -> Result<Looked, StoreError> {
    let mut differences = Differences::default();
    for table in tables::COMPARED.iter().filter(|table| extent.is_whole() || !table.needs_all) {
        tables::compare(table, connection, scratch, extent, &mut differences).await?;
    }
    Ok(match differences.count {
        0 => Looked::Sound { note: retired_note(extent, "older rows were not compared") },
        count => Looked::of_rows(differences.named, count, MEANS),
    })
}

#[cfg(test)]
crate::store::database::statements![TRUST_TIP];
