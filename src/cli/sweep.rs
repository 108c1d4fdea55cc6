//! `gristmill sweep`: look at a repository now.

use serde_json::{Value, json};

use super::args::SweepArgs;
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::clean;

pub(crate) async fn run(context: &Context, args: &SweepArgs) -> Result<Exit, Failure> {
    let path = ["repositories", &args.repository, "sweep"];
    let answer: Value = context.client()?.act(&path, &idempotency_key(), &json!({})).await?;
    if context.global.json {
        context.json(&answer)?;
    } else {
        context.say(&format!("  {} was looked at", clean(&args.repository)))?;
    }
    Ok(Exit::Done)
}
