//! `gristmill cancel`: end a build, a request or all of a buildset.

use serde_json::{Value, json};

use super::args::CancelArgs;
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::force::person;
use super::narrate::count;
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
        context.say(&format!("  {} {id} {}", noun.as_str(), told(&answer)))?;
    }
    Ok(Exit::Done)
}

/// Says what came of it: how many builds are told to end, how many requests ended at once.
fn told(answer: &Value) -> String {
    let number = |name: &str| answer[name].as_u64().and_then(|number| usize::try_from(number).ok());
    match (number("builds"), number("requests")) {
        (Some(0), Some(0)) => "had ended already".to_owned(),
        (Some(builds), Some(0)) => format!("is being ended: {}", count(builds, "build")),
        (Some(0), Some(requests)) => format!("has ended: {}", count(requests, "request")),
        (Some(builds), Some(requests)) => {
            format!("is being ended: {}, {}", count(builds, "build"), count(requests, "request"))
        }
        _ => "is being ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_ended_is_not_said_to_be_ended() {
        let answer = |builds: u64, requests: u64| told(&json!({"builds": builds, "requests": requests}));
        assert_eq!(answer(0, 0), "had ended already");
        assert_eq!(answer(1, 0), "is being ended: 1 build");
        assert_eq!(answer(1, 2), "is being ended: 1 build, 2 requests");
        assert_eq!(told(&json!({})), "is being ended");
    }
}
