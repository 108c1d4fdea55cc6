//! `gristmill replay`: read a stored webhook delivery again.

use serde_json::{Value, json};

use super::args::ReplayArgs;
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::run::Context;

pub(crate) async fn run(context: &Context, args: &ReplayArgs) -> Result<Exit, Failure> {
    let delivery = args.delivery.to_string();
    let answer: Value =
        context.client()?.act(&["deliveries", &delivery, "replay"], &idempotency_key(), &json!({})).await?;
    if context.global.json {
        context.json(&answer)?;
    } else {
        context.say(&format!("  delivery {} is read again", args.delivery))?;
    }
    Ok(Exit::Done)
}
