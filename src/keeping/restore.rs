//! Making an installation of a backup.

use std::path::Path;

use gristmill_model::Timestamp;

use super::KeepingError;
use super::backup::{self, CONFIGURATION, DUMP_FILE, Progress};
use super::files::{self, Draft};
use super::manifest::Manifest;
use crate::store::copy::{self, Restored};
use crate::store::{Database, dump};

/// The configuration's name in a restored data folder. It is not put in the place of the present one, which may be newer
/// than the backup, or name other machines.
pub const RESTORED_CONFIGURATION: &str = "restored-gristmill.yaml";

/// Restores the backup in `source` as the data folder `data`, which must be empty or not there; a dump into `database`,
/// which must be empty.
///
/// It is another installation from then on: what was leased when the backup was taken, or since, is fenced; numbers that
/// may have been given out since are passed over; the journal says so.
///
/// # Errors
/// If the backup is damaged, if `data` or `database` is not empty, or if something cannot be written. `data` is as it was
/// then, and so is `database`, unless the error says otherwise.
pub async fn restore(
    source: &Path,
    data: &Path,
    database: &Database,
    now: Timestamp,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Manifest, Restored), KeepingError> {
    let draft = Draft::begin(data)?;
    let manifest = backup::check(source, tell).await?;
    refuse_other_kind(source, &manifest, database)?;
    let kept = manifest.files.iter().filter(|file| file.path != DUMP_FILE);
    for (done, file) in kept.enumerate() {
        if done % 1_000 == 0 {
            tell(Progress::Logs { done, all: manifest.files.len() });
        }
        let copied = files::copy(source, draft.folder(), &file.path)?;
        if copied.as_ref() != Some(file) {
            let why = "it changed while it was read".to_owned();
            return Err(KeepingError::Damaged { path: source.join(&file.path), why });
        }
    }
    if manifest.configuration.is_some() {
        let place = draft.folder().join(RESTORED_CONFIGURATION);
        std::fs::rename(draft.folder().join(CONFIGURATION), &place).map_err(KeepingError::io("write", &place))?;
    }
    let restored = match database {
        Database::Embedded => copy::begin_anew(draft.folder(), manifest.taken_us, now).await?,
        Database::Server(url) => {
            let Manifest { schema, epoch, head, .. } = manifest;
            let wanted = dump::Wanted { schema, instance: manifest.instance.clone(), epoch, head };
            dump::load(url, &source.join(DUMP_FILE), &wanted, manifest.taken_us, now).await?
        }
    };
    draft.publish()?;
    Ok((manifest, restored))
}

fn refuse_other_kind(source: &Path, manifest: &Manifest, database: &Database) -> Result<(), KeepingError> {
    let why = match (manifest.is_dump(), database) {
        (true, Database::Embedded) => {
            "it is of a database on a PostgreSQL server: `--database postgres://…` names an empty one to restore it to"
        }
        (false, Database::Server(_)) => {
            "it is of a database in a file, which is restored into the data folder: leave out `--database`, and unset \
             GRISTMILL_DATABASE"
        }
        _ => return Ok(()),
    };
    Err(KeepingError::OtherKind { folder: source.to_owned(), why })
}
