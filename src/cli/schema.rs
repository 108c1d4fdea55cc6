//! `gristmill schema`: the JSON Schema of the configuration, for editors.

use super::exit::{Exit, Failure};
use super::run::Context;
use crate::config;

pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    context.json(&config::schema())?;
    Ok(Exit::Done)
}
