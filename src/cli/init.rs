//! `gristmill init`: a commented configuration for the repository found, and a look at whether it is good.

use std::path::{Path, PathBuf};

use super::args::InitArgs;
use super::check;
use super::exit::{Exit, Failure};
use super::narrate::count;
use super::run::Context;
use super::terminal::clean;
use crate::chain::chain;
use crate::config::{self, InitError, InitReport};

pub(crate) fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    let report = config::init_text(&args.dir).map_err(|error| refused(&error))?;
    report.write().map_err(|error| refused(&error))?;
    let loaded = check::load(context, &report.path)?;
    if context.global.json {
        context
            .json(&serde_json::json!({"file": report.path, "catalog": loaded.catalog.hash, "found": report.found()}))?;
        return Ok(Exit::Done);
    }
    let file = from_here(&report.path);
    context.say(&format!("  found        {}", clean(&report.found())))?;
    context.say(&format!("  wrote        {}   {}", file.display(), parts(&loaded.catalog)))?;
    let doubts = loaded.warnings.warnings();
    let checked = if doubts == 0 { "ok, 0 mistakes".to_owned() } else { format!("ok, {}", count(doubts, "warning")) };
    context.say(&format!("  checked      {checked}"))?;
    context.say(&format!("\n  next         {}          then open http://127.0.0.1:8020", next(&report, &file)))?;
    Ok(Exit::Done)
}

fn refused(error: &InitError) -> Failure {
    let exit = match error {
        InitError::NoRepository { .. } => Exit::NotFound,
        InitError::Bare(_) | InitError::Exists(_) => Exit::Usage,
        InitError::Write { .. } => Exit::Broken,
    };
    match error {
        // What libgit2 says adds nothing that a person could use.
        InitError::NoRepository { .. } => Failure::new(exit, error.to_string()),
        _ => Failure::new(exit, chain(error)),
    }
}

fn parts(catalog: &gristmill_model::Catalog) -> String {
    let parts = [
        (catalog.repositories.len(), "source"),
        (catalog.schedulers.len(), "scheduler"),
        (catalog.builders.len(), "builder"),
        (catalog.routes.len(), "route"),
    ];
    let there = parts.into_iter().filter(|(number, _)| *number > 0);
    there.map(|(number, noun)| count(number, noun)).collect::<Vec<_>>().join(", ")
}

/// What to type next: without a name where the file is the one that is looked for.
fn next(report: &InitReport, file: &Path) -> String {
    let serve = if file == Path::new(super::args::DEFAULT_FILE) {
        "gristmill serve".to_owned()
    } else {
        format!("gristmill serve {}", file.display())
    };
    if report.detected.is_empty() { format!("put the real commands into the step, then: {serve}") } else { serve }
}

/// Gives a path as it would be typed here.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.strip_prefix(&here).map_or_else(|_| path.clone(), Path::to_owned)
}
