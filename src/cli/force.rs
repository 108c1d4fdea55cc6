//! `gristmill force`: start a force scheduler.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::{ForceArgs, WatchArgs};
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::clean;
use super::view::Forced;
use super::watch;

pub(crate) async fn run(context: &Context, args: ForceArgs) -> Result<Exit, Failure> {
    let parameters = parameters(&args.parameters)?;
    let client = context.client()?;
    let body = json!({"parameters": parameters, "reason": args.reason, "by": person()});
    let answer: Value = client.act(&["schedulers", &args.scheduler, "force"], &idempotency_key(), &body).await?;
    let forced: Forced = serde_json::from_value(answer.clone())
        .map_err(|error| Failure::broken(format!("the service did not name the buildset: {error}")))?;
    if context.global.json && !args.watch {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    let page = client.page(&format!("/buildsets/{}", forced.buildset));
    if args.watch {
        if context.global.json {
            context.json_line(&answer)?;
        }
        context.say(&format!("  buildset {}  {page}", forced.buildset))?;
        let what = vec!["buildset".to_owned(), forced.buildset.to_string()];
        return watch::run(context, &WatchArgs { what, exit_status: true }).await;
    }
    context.result(&format!("  buildset {}  {page}", forced.buildset))?;
    context.say(&format!("  see it live  gristmill watch {}", forced.buildset))?;
    Ok(Exit::Done)
}

/// Reads `name=value` pairs.
fn parameters(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut parameters = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::new(Exit::Usage, format!("`{}` is no parameter", clean(pair)))
                .hint("write name=value, such as branch=main"));
        };
        if parameters.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::new(Exit::Usage, format!("parameter `{}` is said twice", clean(name))));
        }
    }
    Ok(parameters)
}

/// Names whoever asks, as this machine knows them: for those who look later, not for permission.
pub(crate) fn person() -> String {
    ["GRISTMILL_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| "somebody at the command line".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
        parameters(&pairs.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_value_may_hold_anything_even_an_equals_sign() {
        let parameters = read(&["branch=release/1.0", "flags=-O2 -DX=1", "empty="]).unwrap();
        assert_eq!(parameters["flags"], "-O2 -DX=1");
        assert_eq!(parameters["empty"], "");
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for pairs in [&["branch"][..], &["=x"], &["a=1", "a=2"]] {
            assert_eq!(read(pairs).unwrap_err().exit, Exit::Usage, "{pairs:?}");
        }
    }
}
