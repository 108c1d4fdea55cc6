//! `gristmill restore`: an installation made of a backup.

use serde_json::json;

use super::args::RestoreArgs;
use super::backup::{failure, tell};
use super::exit::{Exit, Failure};
use super::run::Context;
use crate::clock::{Clock as _, SystemClock};
use crate::keeping;
use crate::keeping::restore::RESTORED_CONFIGURATION;

pub(crate) async fn run(context: &Context, args: RestoreArgs) -> Result<Exit, Failure> {
    let RestoreArgs { source, data, database } = &args;
    let restored = keeping::restore(source, data, database, SystemClock.now(), &mut tell(context)).await;
    let (manifest, restored) = restored.map_err(|error| failure(&error))?;
    let data = args.data.display();
    if context.global.json {
        context.json(&json!({
            "data": args.data, "taken": manifest.taken, "instance": manifest.instance, "epoch": restored.epoch,
            "from_event": manifest.head, "head": restored.head, "numbers_after": restored.last,
        }))?;
        return Ok(Exit::Done);
    }
    let sign = context.look.sign("success");
    context.result(&format!(
        "{sign} {data}  restored from the backup of {}, event {}",
        manifest.taken_us.to_minute(),
        manifest.head
    ))?;
    context.say(&format!(
        "  numbers go on after build {}, change {}, event {}: none names two things",
        restored.last.build, restored.last.change, restored.head
    ))?;
    if !manifest.open_builds.is_empty() {
        context.say("  builds that were open are tried again; workers that still run them are told to stop")?;
    }
    if manifest.configuration.is_some() {
        context.say(&format!("  the configuration of then is {data}/{RESTORED_CONFIGURATION}"))?;
    }
    let database = if manifest.is_dump() { " --database URL" } else { "" };
    context.say(&format!(
        "  `gristmill serve FILE --data {data}{database}` starts it; make sure that the old one does not run"
    ))?;
    Ok(Exit::Done)
}
