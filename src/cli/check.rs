//! `gristmill check`: every mistake of a configuration at once, or what it defines.

use std::path::Path;

use super::args::{CheckArgs, CheckFormat};
use super::exit::{Exit, Failure};
use super::narrate::count;
use super::run::Context;
use super::terminal::{Ink, Look, complain};
use crate::config::{self, Diagnostics, Loaded};

pub(crate) fn run(context: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    let format = if context.global.json { CheckFormat::Json } else { args.format };
    match config::load(&args.file) {
        Ok(loaded) => {
            show(context, format, &loaded.warnings)?;
            if format == CheckFormat::Text {
                context.say(summary(context.look, &args.file, &loaded).trim_end())?;
            }
            Ok(Exit::Done)
        }
        Err(mistakes) => {
            show(context, format, &mistakes)?;
            Ok(Exit::Invalid)
        }
    }
}

fn show(context: &Context, format: CheckFormat, found: &Diagnostics) -> Result<(), Failure> {
    match format {
        CheckFormat::Text if found.is_empty() => Ok(()),
        CheckFormat::Text => context.result(found.render(context.look.color).trim_end()),
        CheckFormat::Json => context.json(&found.to_json()),
        CheckFormat::Github => context.result(found.to_github().trim_end()),
    }
}

/// Reads a configuration for another command; its mistakes go to standard error.
pub(crate) fn load(context: &Context, file: &Path) -> Result<Loaded, Failure> {
    config::load(file).map_err(|mistakes| {
        complain(mistakes.render(context.look.color).trim_end());
        Failure::new(Exit::Invalid, format!("{} cannot be used", file.display()))
            .hint(format!("`gristmill check {}` shows this again", file.display()))
    })
}

/// Says what a good file defines.
fn summary(look: Look, file: &Path, loaded: &Loaded) -> String {
    let warnings = loaded.warnings.warnings();
    let verdict = if warnings == 0 { "ok".to_owned() } else { format!("ok, with {}", count(warnings, "warning")) };
    let name = look.paint(Ink::Bold, &file.display().to_string());
    format!("{name}  {verdict}, catalog {}\n\n{}", loaded.catalog.hash.short(), loaded.summary())
}
