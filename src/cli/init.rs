//! `gristmill init`: a commented configuration for the repository found, and a look at whether it is good.

use std::io::Write;

use super::args::{DEFAULT_FILE, InitArgs};
use super::check;
use super::exit::{Exit, Failure};
use super::narrate::count;
use super::run::Context;
use super::terminal::clean;
use crate::config;

pub(crate) fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    let report = config::init_text(&args.dir)
        .map_err(|error| Failure::new(Exit::NotFound, format!("{error:#}")).hint("name the folder of a git repository: gristmill init DIR"))?;
    let file = args.dir.join(DEFAULT_FILE);
    let shown = file.display();
    // `create_new`: a file that is there is somebody's work.
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&file);
    let mut out = created.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(Exit::Usage, format!("{shown} exists already"))
            .hint(format!("`gristmill check {shown}` looks at it; nothing was changed")),
        _ => Failure::broken(format!("cannot write {shown}: {error}")),
    })?;
    out.write_all(report.text.as_bytes())?;
    let loaded = check::load(context, &file)?;
    if context.global.json {
        context.json(&serde_json::json!({"file": file, "catalog": loaded.catalog.hash}))?;
        return Ok(Exit::Done);
    }
    let catalog = &loaded.catalog;
    let parts = [
        (catalog.repositories.len(), "source"),
        (catalog.schedulers.len(), "scheduler"),
        (catalog.builders.len(), "builder"),
        (catalog.routes.len(), "route"),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(number, noun)).collect();
    context.say(&format!("  found        {}", clean(&report.found)))?;
    context.say(&format!("  wrote        {shown}   {}", parts.join(", ")))?;
    let doubts = loaded.warnings.warnings();
    let checked = if doubts == 0 { "ok, 0 mistakes".to_owned() } else { format!("ok, {}", count(doubts, "warning")) };
    context.say(&format!("  checked      {checked}"))?;
    let command = if file == std::path::Path::new("./gristmill.yaml") { String::new() } else { format!(" {shown}") };
    context.say(&format!("\n  next         gristmill serve{command}          then open http://127.0.0.1:8020"))?;
    Ok(Exit::Done)
}
