//! `gristmill cancel`: end a build, a request or all of a buildset.

use serde_json::{Value, json};

use super::args::CancelArgs;
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::force::person;
use super::run::Context;
use super::thing::{Noun, Thing};

pub(crate) async fn run(context: &Context, args: &CancelArgs) -> Result<Exit, Failure> {
    let Thing { noun, id } = Thing::read(&args.thing, Noun::Build)?;
    if noun == Noun::Change {
        return Err(Failure::new(Exit::Usage, "a change has happened and cannot be cancelled")
            .hint(format!("`gristmill why change {id}` names the buildsets that were made of it")));
    }
    let client = context.client()?;
    let nouns = format!("{}s", noun.as_str());
    let answer: Value = client.act(&[&nouns, &id, "cancel"], &idempotency_key(), &json!({"by": person()})).await?;
    if context.global.json {
        context.json(&answer)?;
    } else {
        context.say(&format!("  {} {id} is being ended", noun.as_str()))?;
    }
    Ok(Exit::Done)
}
