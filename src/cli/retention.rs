//! `gristmill retention`: where the room goes, when the disk is full, and what the rules would delete now.

use std::path::Path;

use serde_json::json;

use super::args::RetentionArgs;
use super::backup::failure;
use super::check;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::serve::DATA_FOLDER;
use crate::chain::chain;
use crate::clock::{Clock as _, SystemClock};
use crate::keeping::files::size;
use crate::keeping::forecast::{self, Forecast, Rehearsal, Subject};

pub(crate) async fn run(context: &Context, args: RetentionArgs) -> Result<Exit, Failure> {
    let rules = check::load(context, &args.file)?.catalog.settings.retention;
    let data = args.data.unwrap_or_else(|| args.file.parent().unwrap_or(Path::new("")).join(DATA_FOLDER));
    let subject = Subject { data, logs: args.logs };
    let now = SystemClock.now();
    let seen = forecast::look(&subject, &rules, now).await.map_err(|error| failure(&error))?;
    let rehearsal = if args.dry_run {
        Some(forecast::rehearse(&subject, &rules, now).await.map_err(|error| Failure::broken(chain(&error)))?)
    } else {
        None
    };
    if context.global.json {
        context.json(&json!({"forecast": seen, "would_delete": rehearsal}))?;
        return Ok(Exit::Done);
    }
    context.result(&table(&seen))?;
    context.result(&format!("  {}", outlook(&seen)))?;
    if let Some(rehearsal) = rehearsal {
        context.result(&format!("  {}", would_delete(&rehearsal)))?;
    }
    Ok(Exit::Done)
}

fn table(seen: &Forecast) -> String {
    let mut text =
        format!("  {:<14} {:>9} {:>9} {:>9} {:>7} {:>12}", "", "number", "now", "a day", "kept", "levels off");
    for part in &seen.parts {
        let days = part.days_kept.map_or_else(|| "-".to_owned(), |days| format!("{days} d"));
        let line = format!(
            "\n  {:<14} {:>9} {:>9} {:>9} {:>7} {:>12}",
            part.what,
            part.count,
            size(part.bytes),
            size(part.bytes_per_day),
            days,
            size(part.level_bytes())
        );
        text.push_str(&line);
    }
    text
}

fn outlook(seen: &Forecast) -> String {
    let (free, level, day) = (size(seen.free_bytes), size(seen.level_bytes), size(seen.bytes_per_day));
    match seen.full_in_days {
        None => format!("{free} are free; at {day} a day all of it levels off at {level}, and the disk is never full"),
        Some(days) => format!(
            "{free} are free; at {day} a day the disk is full in {days} days, before all of it levels off at {level}: \
             keep less, under `gristmill: {{retention: …}}`, or give it more room"
        ),
    }
}

fn would_delete(rehearsal: &Rehearsal) -> String {
    let what: Vec<String> = rehearsal.deleted.iter().map(|(noun, number)| format!("{number} {noun}")).collect();
    if what.is_empty() {
        return "the rules would delete nothing now".to_owned();
    }
    format!("the rules would delete now: {}; {} of logs", what.join(", "), size(rehearsal.log_bytes))
}
