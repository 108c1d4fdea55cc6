//! `gristmill worker token`: the tokens by which workers join.

use serde_json::{Value, json};

use super::args::{TokenCommand, TokenNewArgs};
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::force::person;
use super::run::Context;
use super::terminal::clean;
use super::view::List;

pub(crate) async fn run(context: &Context, command: TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::New(args) => new(context, args).await,
        TokenCommand::List => list(context).await,
        TokenCommand::Revoke { id } => revoke(context, &id).await,
    }
}

async fn new(context: &Context, args: TokenNewArgs) -> Result<Exit, Failure> {
    let TokenNewArgs { worker, pool, max, owner, expires } = args;
    let asked = json!({
        "worker": worker,
        "pool": pool,
        "max": max,
        "owner": owner,
        "expires_in_seconds": expires.map(|span| span.as_secs()),
        "by": person(),
    });
    let answer: Value = context.client()?.act(&["tokens"], &idempotency_key(), &asked).await?;
    if context.global.json {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    let Some(token) = answer["token"].as_str() else {
        return Err(Failure::broken("the service made a token and did not say it"));
    };
    context.result(&clean(token))?;
    context.say(&format!("  {}", told(&answer)))?;
    context.say("  it is shown this once and kept nowhere: put it into a file that only the worker reads")?;
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let client = context.client()?;
    if context.global.json {
        context.json(&client.read::<Value>(&["tokens"], &[]).await?)?;
        return Ok(Exit::Done);
    }
    let tokens: List<Value> = client.read(&["tokens"], &[]).await?;
    for token in &tokens.items {
        context.result(&format!("  {}", told(token)))?;
    }
    if tokens.items.is_empty() {
        context.say("  there are none; `gristmill worker token new --worker NAME` makes one")?;
    }
    Ok(Exit::Done)
}

async fn revoke(context: &Context, id: &str) -> Result<Exit, Failure> {
    let path = ["tokens", id, "revoke"];
    let answer: Value = context.client()?.act(&path, &idempotency_key(), &json!({"by": person()})).await?;
    if context.global.json {
        context.json(&answer)?;
    } else {
        context.say(&format!("  token {} lets nobody in any more", clean(id)))?;
    }
    Ok(Exit::Done)
}

/// Says what a token is, in a line.
fn told(token: &Value) -> String {
    let text = |value: &Value| clean(value.as_str().unwrap_or_default()).into_owned();
    let date = |value: &Value| text(value).chars().take(10).collect::<String>();
    let admits = &token["admits"];
    let mut line = match admits["kind"].as_str() {
        Some("pool") => format!("pool {} of at most {}", text(&admits["pool"]), admits["max"]),
        _ => format!("worker {}", text(&admits["worker"])),
    };
    line = format!("{}  {line}, made {} by {}", text(&token["id"]), date(&token["made_at"]), text(&token["made_by"]));
    if token["owner"].is_string() {
        line += &format!(", owned by {}", text(&token["owner"]));
    }
    if token["revoked_at"].is_string() {
        return line + &format!(", revoked {} by {}", date(&token["revoked_at"]), text(&token["revoked_by"]));
    }
    if token["expires_at"].is_string() {
        line += &format!(", until {}", date(&token["expires_at"]));
    }
    line
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_token_is_told_in_a_line() {
        let worker = json!({
            "id": "abcdefgh", "admits": {"kind": "worker", "worker": "arm"}, "made_at": "2026-11-24T14:02:11Z",
            "made_by": "ada\u{1b}[31m", "owner": "bob", "expires_at": "2027-02-22T14:02:11Z", "revoked_at": null,
        });
        expect!["abcdefgh  worker arm, made 2026-11-24 by ada, owned by bob, until 2027-02-22"]
            .assert_eq(&told(&worker));
        let pool = json!({
            "id": "ijklmnop", "admits": {"kind": "pool", "pool": "big", "max": 40}, "made_at": "2026-11-24T14:02:11Z",
            "made_by": "ada", "expires_at": null, "revoked_at": "2026-11-25T14:02:11Z", "revoked_by": "bob",
        });
        expect!["ijklmnop  pool big of at most 40, made 2026-11-24 by ada, revoked 2026-11-25 by bob"]
            .assert_eq(&told(&pool));
    }
}
