//! `gristmill explain`: what a diagnostic code means, at length.

use super::args::ExplainArgs;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::{Ink, clean};
use crate::config;

/// Columns of the text.
const WIDTH: usize = 96;

pub(crate) fn run(context: &Context, args: &ExplainArgs) -> Result<Exit, Failure> {
    let code = args.code.trim().to_ascii_uppercase();
    let Some(text) = config::explain(&code) else {
        return Err(Failure::new(Exit::NotFound, format!("there is no code `{}`", clean(&args.code)))
            .hint("`gristmill check` prints the codes behind each mistake, such as [G2103]"));
    };
    if context.global.json {
        context.json(&serde_json::json!({"code": code, "text": text}))?;
        return Ok(Exit::Done);
    }
    context.result(&context.look.paint(Ink::Bold, &code))?;
    wrap(text, WIDTH).iter().try_for_each(|line| context.result(&format!("  {line}")))?;
    Ok(Exit::Done)
}

/// Breaks a text into lines of at most `width` characters, between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two  three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("", 9), Vec::<String>::new());
        assert_eq!(wrap("incomprehensible", 3), ["incomprehensible"]);
    }
}
