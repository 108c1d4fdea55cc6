//! `gristmill why`: why something was built, was not built, or waits. Answered from what is stored.

use serde_json::Value;

use super::args::WhyArgs;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::{Ink, Look, clean};
use super::thing::{Noun, Thing};
use super::view::Why;

pub(crate) async fn run(context: &Context, args: &WhyArgs) -> Result<Exit, Failure> {
    let about = about(args)?;
    let answer: Value = context.client()?.read(&["why"], &[("about", &about)]).await?;
    if context.global.json {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    let why: Why = serde_json::from_value(answer)
        .map_err(|error| Failure::broken(format!("the answer has a form that is not known here: {error}")))?;
    context.result(render(context.look, &why).trim_end())?;
    Ok(Exit::Done)
}

fn about(args: &WhyArgs) -> Result<String, Failure> {
    let Some(not) = &args.not else {
        let Thing { noun, id } = Thing::read(&args.thing, Noun::Build)?;
        return Ok(format!("{}:{id}", noun.as_str()));
    };
    match not.rsplit_once('@') {
        Some((builder, change)) if !builder.is_empty() && !change.is_empty() => Ok(format!("not:{builder}@{change}")),
        _ => Err(Failure::new(Exit::Usage, format!("`{}` names no builder and change", clean(not)))
            .hint("write --not BUILDER@CHANGE, such as --not docs@12 or --not docs@a1b2c3d")),
    }
}

/// The first sentence is the answer; the others say more.
fn render(look: Look, why: &Why) -> String {
    let mut text = String::new();
    for (index, sentence) in why.answer.iter().enumerate() {
        for (row, line) in sentence.lines().enumerate() {
            // A sentence may come with an indentation of its own.
            let indent = if index == 0 && row == 0 { "" } else { "  " };
            let spaces = " ".repeat(line.len() - line.trim_start().len());
            let line = clean(line.trim());
            let line = if index == 0 { look.paint(Ink::Bold, &line) } else { line.into_owned() };
            text.push_str(&format!("  {indent}{spaces}{line}\n"));
        }
    }
    if text.is_empty() {
        text.push_str("  nothing is recorded about it\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn args(thing: &str, not: Option<&str>) -> WhyArgs {
        WhyArgs { thing: thing.split_whitespace().map(ToOwned::to_owned).collect(), not: not.map(ToOwned::to_owned) }
    }

    #[test]
    fn things_become_questions() {
        for (thing, not, question) in [
            ("request 9", None, Some("request:9")),
            ("12", None, Some("build:12")),
            ("a1b2c3d", None, Some("change:a1b2c3d")),
            ("", Some("docs/site@a1b2c3d"), Some("not:docs/site@a1b2c3d")),
            ("", Some("docs"), None),
        ] {
            assert_eq!(about(&args(thing, not)).ok().as_deref(), question);
        }
    }

    #[test]
    fn the_answer_comes_first_and_is_clean() {
        let why = Why {
            about: "request:9".to_owned(),
            answer: vec![
                "Request 9 (train) waits since 14:02.".to_owned(),
                "no worker can ever run this: needs gpu=yes\n  local has \u{1b}[2Jnothing".to_owned(),
            ],
        };
        expect![[r#"
              Request 9 (train) waits since 14:02.
            |    no worker can ever run this: needs gpu=yes
            |      local has nothing
        "#]]
        .assert_eq(&render(Look::PLAIN, &why).replace("\n  ", "\n|  "));
    }
}
