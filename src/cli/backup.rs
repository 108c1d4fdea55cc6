//! `gristmill backup`: a copy of an installation, taken while it runs, and checked.

use std::path::Path;

use serde_json::json;

use super::args::BackupArgs;
use super::exit::{Exit, Failure};
use super::narrate::count;
use super::run::Context;
use super::serve::DATA_FOLDER;
use super::terminal::complain;
use crate::chain::chain;
use crate::clock::{Clock as _, SystemClock};
use crate::keeping::backup::Source;
use crate::keeping::files::size;
use crate::keeping::{self, KeepingError, Manifest, Progress};
use crate::store::StoreError;

pub(crate) async fn run(context: &Context, args: BackupArgs) -> Result<Exit, Failure> {
    if let Some(folder) = &args.check {
        let manifest = keeping::check(folder, &mut tell(context)).await.map_err(|error| failure(&error))?;
        return show(context, "checked", folder, &manifest);
    }
    let data = args.data.unwrap_or_else(|| args.file.parent().unwrap_or(Path::new("")).join(DATA_FOLDER));
    let source = Source { data, database: args.database, logs: args.logs, configuration: args.file };
    let place = args.place.expect("the command line demands it where nothing is checked");
    let taken = keeping::take(&source, &place, SystemClock.now(), &mut tell(context)).await;
    show(context, "written", &place, &taken.map_err(|error| failure(&error))?)
}

/// Says how far it is, on standard error, to whoever sits before a terminal.
pub(super) fn tell(context: &Context) -> impl FnMut(Progress) + Send + use<> {
    let speaks = context.look.terminal && !context.global.quiet && !context.global.json;
    move |progress| {
        if !speaks {
            return;
        }
        complain(&match progress {
            Progress::Database => "  copying the database".to_owned(),
            Progress::Logs { done, all } => format!("  copying files: {done} of {all}"),
            Progress::Checking { done, all } => format!("  reading and comparing: {done} of {all}"),
        });
    }
}

/// Says what went wrong, and with which exit code.
pub(super) fn failure(error: &KeepingError) -> Failure {
    let exit = match error {
        KeepingError::Taken { .. }
        | KeepingError::Inside { .. }
        | KeepingError::MountPoint { .. }
        | KeepingError::OtherKind { .. }
        | KeepingError::Store(StoreError::NotEmpty { .. }) => Exit::Usage,
        KeepingError::NoDatabase { .. } | KeepingError::NoLogs { .. } | KeepingError::NoBackup { .. } => Exit::NotFound,
        _ => Exit::Broken,
    };
    Failure::new(exit, chain(error))
}

fn show(context: &Context, done: &str, folder: &Path, manifest: &Manifest) -> Result<Exit, Failure> {
    if context.global.json {
        let mut shown = json!({
            "folder": folder, "done": done, "files": manifest.files.len(), "bytes": manifest.bytes(),
        });
        for field in ["gristmill", "taken", "schema", "instance", "epoch", "head", "open_builds", "left_out"] {
            shown[field] = serde_json::to_value(manifest).expect("a manifest is plain data")[field].take();
        }
        context.json(&shown)?;
        return Ok(Exit::Done);
    }
    let (files, bytes) = (count(manifest.files.len(), "file"), size(manifest.bytes()));
    context.result(&format!("{} {}  {done}: {files}, {bytes}", context.look.sign("success"), folder.display()))?;
    let running = match manifest.open_builds.len() {
        0 => String::new(),
        builds => format!(", {} open", count(builds, "build")),
    };
    context.say(&format!(
        "  taken {}, at event {}, schema {}{running}",
        manifest.taken_us.to_minute(),
        manifest.head,
        manifest.schema
    ))?;
    if manifest.configuration.is_none() {
        context.result("  without the configuration: `--file FILE` names it")?;
    }
    for what in &manifest.left_out {
        context.say(&format!("  left out {what}"))?;
    }
    let database = if manifest.is_dump() { " --database URL" } else { "" };
    let folder = folder.display();
    context.say(&format!("  `gristmill restore {folder} --data DIR{database}` makes an installation of it"))?;
    Ok(Exit::Done)
}
