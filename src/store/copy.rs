//! Copies of the database: taken while a service writes, checked, and made the beginning of another installation.
//!
//! A copy is one moment of the database: a backup never sees half a turn. Files are copied here; a server has tools of its
//! own, which [`super::dump`] runs.

use std::path::Path;
use std::time::Duration;

use gristmill_model::{BuildId, EventBody, InstanceEpoch, LastIds, Seq, Timestamp};

use super::commit::{self, Ran};
use super::database::sqlite;
use super::database::{Connection, Place, failed, sql};
use super::record::Record;
use super::{CommitError, DATABASE_FILE, StoreError, Turn, load, lock, migrate};

/// What a copy is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The schema's number.
    pub schema: i64,
    /// Whose database it is; `None` if it is of before databases were told apart.
    pub instance: Option<String>,
    /// Which installation, after how many restores.
    pub epoch: InstanceEpoch,
    /// The journal's head.
    pub head: Seq,
    /// The newest build.
    pub last_build: BuildId,
    /// Builds that were not finished.
    pub open_builds: Vec<BuildId>,
}

/// What a restore made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Which installation it is now.
    pub epoch: InstanceEpoch,
    /// The journal's head, the event that tells of the restore included.
    pub head: Seq,
    /// The numbers that count as given out.
    pub last: LastIds,
}

/// Open builds that a snapshot lists: more than any fleet runs at once.
const OPEN_BUILDS: &str = "SELECT id FROM build WHERE state <> 'finished' ORDER BY id LIMIT 100000";
const NEWEST_BUILD: &str = "SELECT COALESCE(MAX(id), 0) AS id FROM build";
const HEAD: &str = "SELECT seq FROM journal_head WHERE one = 1";
const SCHEMA: &str = "SELECT COALESCE(MAX(number), 0) AS number FROM schema_version";
const INSTANCE: &str = "SELECT id, epoch, created_at FROM instance WHERE one = 1";
const CHECK: &str = "PRAGMA integrity_check(10)";
const CHECK_REFERENCES: &str = "SELECT \"table\" AS problem FROM pragma_foreign_key_check LIMIT 10";
/// Nobody leads a new installation, and it may have its logs where it likes.
const FORGET_LEADER: &str = "UPDATE leader SET master = '', address = '', logs = '' WHERE one = 1";
const JUMP: &str = "UPDATE journal_head SET seq = $2 WHERE one = 1 AND seq = $1";

/// The schema from which on there is a row that says which installation this is.
pub(super) const SCHEMA_WITH_INSTANCE: i64 = 3;

/// Copies the database in the data folder `folder` to `into`, a file that must not be there yet, while a service may be
/// writing. The schema stays as it is.
///
/// # Errors
/// If there is no database, if its schema is newer than this program knows, or if there is no room.
pub async fn copy(folder: &Path, into: &Path) -> Result<Snapshot, StoreError> {
    let mut source = Connection::Sqlite(Box::new(sqlite::open_beside(&folder.join(DATABASE_FILE)).await?));
    let copied = copy_from(&mut source, folder, into).await;
    // What was copied does not depend on how the source is let go of.
    drop(source.close().await);
    copied?;
    inspect(into).await
}

async fn copy_from(source: &mut Connection, folder: &Path, into: &Path) -> Result<(), StoreError> {
    let found = schema_of(source).await?;
    let known = migrate::newest();
    if found > known {
        return Err(StoreError::SchemaNewer { place: format!("in {}", folder.display()), found, known });
    }
    let into = into.to_string_lossy().into_owned();
    sql("VACUUM INTO $1").bind(into).execute(source).await.map(drop).map_err(failed("copy the database"))
}

/// Says what the copy in `file` is a copy of, after looking through all of it. Nothing is written, not even beside it.
///
/// # Errors
/// [`StoreError::Damaged`] if anything in it is not as it must be.
pub async fn inspect(file: &Path) -> Result<Snapshot, StoreError> {
    let damaged = |why: String| StoreError::Damaged { file: file.to_owned(), why };
    let connection = sqlite::open_copy(file).await.map_err(|error| damaged(crate::chain::chain(&error)))?;
    let mut connection = Connection::Sqlite(Box::new(connection));
    let snapshot = look_through(&mut connection).await;
    drop(connection.close().await);
    match snapshot {
        Ok(Ok(snapshot)) => Ok(snapshot),
        Ok(Err(why)) => Err(damaged(why)),
        Err(error) => Err(damaged(crate::chain::chain(&error))),
    }
}

async fn look_through(connection: &mut Connection) -> Result<Result<Snapshot, String>, StoreError> {
    let problems = sql(CHECK).fetch_all(&mut *connection).await.map_err(failed("check the database"))?;
    for row in &problems {
        let problem = Record::of("integrity_check", row).text("integrity_check")?;
        if problem != "ok" {
            return Ok(Err(problem));
        }
    }
    let dangling = sql(CHECK_REFERENCES).fetch_all(&mut *connection).await.map_err(failed("check the database"))?;
    if let Some(row) = dangling.first() {
        let table = Record::of("foreign_key_check", row).text("problem")?;
        return Ok(Err(format!("a row of table {table} refers to one that is not there")));
    }
    snapshot_of(connection).await.map(Ok)
}

pub(super) async fn snapshot_of(connection: &mut Connection) -> Result<Snapshot, StoreError> {
    let schema = schema_of(connection).await?;
    let mut snapshot = Snapshot { schema, ..Snapshot::default() };
    if schema >= SCHEMA_WITH_INSTANCE {
        let row = one(connection, INSTANCE).await?;
        let row = Record::of("instance", &row);
        snapshot.instance = Some(row.text("id")?);
        snapshot.epoch = InstanceEpoch(row.int("epoch")?);
    }
    snapshot.head = Record::of("journal_head", &one(connection, HEAD).await?).id("seq")?;
    snapshot.last_build = Record::of("build", &one(connection, NEWEST_BUILD).await?).id("id")?;
    let open = sql(OPEN_BUILDS).fetch_all(connection).await.map_err(failed("list open builds"))?;
    snapshot.open_builds = open.iter().map(|row| Record::of("build", row).id("id")).collect::<Result<_, _>>()?;
    Ok(snapshot)
}

async fn schema_of(connection: &mut Connection) -> Result<i64, StoreError> {
    Record::of("schema_version", &one(connection, SCHEMA).await?).int("number")
}

async fn one(connection: &mut Connection, text: &'static str) -> Result<super::database::Row, StoreError> {
    sql(text).fetch_one(connection).await.map_err(failed("read what the database is"))
}

/// Makes another installation of the copy in the data folder `folder`, which was taken at `taken`: brings its schema up to
/// date, raises its epoch, passes over the numbers that may have been given out since, and tells so in the journal.
///
/// # Errors
/// As [`super::Store::open`].
pub async fn begin_anew(folder: &Path, taken: Timestamp, now: Timestamp) -> Result<Restored, StoreError> {
    let _lock = lock::take_soon(folder).await?;
    let place = Place::Sqlite(folder.join(DATABASE_FILE));
    let mut connection = place.open_writer().await?;
    let made = restore(&mut connection, &place, taken, now).await;
    connection.close().await.map_err(failed("close the database"))?;
    made
}

/// Makes another installation of the database behind a connection.
pub(super) async fn restore(
    connection: &mut Connection,
    place: &Place,
    taken: Timestamp,
    now: Timestamp,
) -> Result<Restored, StoreError> {
    migrate::bring_up_to_date(connection, &place.to_string()).await?;
    let state = load::run(connection).await?;
    let created_at = Record::of("instance", &one(connection, INSTANCE).await?).time("created_at")?;
    let gap = Gap { lived: taken.since(created_at), lost: now.since(taken) };
    let (epoch, last) = (state.instance.restored(now), gap.after_all(&state.last));
    let before = Seq(gap.after(state.head.0, EVENTS_STEP));
    let moved = sql(JUMP).bind(state.head.0).bind(before.0).execute(&mut *connection).await;
    moved.map_err(failed("pass over the journal's numbers"))?;
    sql(FORGET_LEADER).execute(&mut *connection).await.map_err(failed("forget who led"))?;
    let event = EventBody::InstanceRestored { instance: epoch, head: state.head, taken, last };
    // Time does not run backwards in a journal, whatever this machine's clock says.
    let turn = Turn { expected_head: before, at: now.max(state.at), events: vec![event], ..Turn::default() };
    match commit::run(connection, &turn).await {
        Ran::Known(Ok(head)) => Ok(Restored { epoch, head, last }),
        Ran::Known(Err(CommitError::Store(error)))
        | Ran::Spoilt(CommitError::Store(error))
        | Ran::NotBegun(error)
        | Ran::Unknown(error) => Err(error),
        Ran::Known(Err(error)) | Ran::Spoilt(error) => {
            Err(StoreError::Inconsistent { table: "journal_head", id: before.to_string(), why: error.to_string() })
        }
    }
}

/// The numbers that are passed over at least.
const STEP: i64 = 10_000;
/// The same for events, of which there are many more.
const EVENTS_STEP: i64 = 1_000_000;
/// How many times as fast as ever before numbers may have been given out since the backup.
const HASTE: i64 = 4;

/// How much time went by.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// From the beginning to the backup.
    lived: Duration,
    /// From the backup to the restore: what happened then is lost, but people and their mails remember its numbers.
    lost: Duration,
}

impl Gap {
    /// Gives a number that is higher than all that may have been given out since the backup: `step` more, and four times
    /// what would have come at the usual pace, and one for every ten seconds.
    fn after(self, last: i64, step: i64) -> i64 {
        let lived = i128::from(self.lived.as_secs().max(3600));
        let lost = i128::from(self.lost.as_secs());
        let usual = i128::from(last) * lost / lived * i128::from(HASTE);
        let gap = i128::from(step) + lost / 10 + usual;
        // Far from where a clock that is wrong by decades would lead.
        i64::try_from(gap).unwrap_or(i64::MAX).min(last.saturating_add(1_000_000_000)).saturating_add(last)
    }

    fn after_all(self, last: &LastIds) -> LastIds {
        let LastIds { change, delivery, buildset, request, build, incident, message } = *last;
        let after = |last: i64| self.after(last, STEP);
        LastIds {
            change: after(change.0).into(),
            delivery: after(delivery.0).into(),
            buildset: after(buildset.0).into(),
            request: after(request.0).into(),
            build: after(build.0).into(),
            incident: after(incident.0).into(),
            message: after(message.0).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn numbers_that_were_given_out_after_the_backup_are_passed_over() {
        let after = |lived: u32, lost: u32, last| Gap { lived: DAY * lived, lost: DAY * lost }.after(last, STEP);
        assert_eq!(after(100, 0, 812), 10_812);
        assert_eq!(after(100, 1, 812), 812 + 10_000 + 8_640 + 4 * 8);
        assert!(after(10, 7, 1_000_000) > 1_000_000 + 4 * 699_000, "a busy one loses more numbers in a week");
        assert!(after(0, 0, 0) > 0);
    }

    #[test]
    fn a_second_restore_of_the_same_backup_does_not_repeat_the_numbers_of_the_first() {
        let gap = |lost| Gap { lived: DAY, lost };
        let minute = Duration::from_secs(60);
        assert!(gap(DAY + minute).after(5, STEP) > gap(DAY).after(5, STEP) + 5);
    }

    #[test]
    fn a_clock_that_is_wrong_by_decades_leaves_room_for_numbers() {
        let gap = Gap { lived: Duration::ZERO, lost: DAY * 365 * 100 };
        assert!(gap.after(1_000_000_000, EVENTS_STEP) <= 3_000_000_000);
    }
}

#[cfg(test)]
crate::store::database::statements![OPEN_BUILDS, NEWEST_BUILD, HEAD, SCHEMA, INSTANCE, FORGET_LEADER, JUMP];
