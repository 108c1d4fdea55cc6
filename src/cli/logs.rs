//! `gristmill logs`: the log of a build's step, whole, in part, or as it grows.

use std::io::Write;
use std::time::Duration;

use gristmill_model::Outcome;
use serde_json::Value;

use super::args::LogsArgs;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::{Ink, LogText, clean, clip};
use super::view::{Build, LogLine, LogLines, Step};

/// The wait before a growing log is looked at again.
const FOLLOW_WAIT: Duration = Duration::from_millis(300);

/// Lines asked for in one request.
const LINES_MAX: u64 = 1_000;

pub(crate) async fn run(context: &Context, args: &LogsArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let printer = Printer::new(context, args.raw);
    let id = args.build.to_string();
    let build: Build = client.read(&["builds", &id], &[]).await?;
    if args.errors {
        let step = chosen(&build, args.step.as_deref())?;
        let number = step.number.to_string();
        return show_lines(context, client.read(&["builds", &id, "steps", &number, "errors"], &[]).await?);
    }
    if let Some(range) = &args.lines {
        let step = chosen(&build, args.step.as_deref())?;
        return show_range(context, &client, &id, step, range_of(range)?).await;
    }
    if args.follow {
        let logs = Logs { client, id, printer };
        let first = args.step.as_deref().map(|step| find(&build, step).map(|step| step.number)).transpose()?;
        return tokio::select! {
            exit = logs.follow(context, first) => exit,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("  detached; build {} goes on. To end it: gristmill cancel build {}", args.build, args.build);
                Ok(Exit::Detached)
            }
        };
    }
    let step = chosen(&build, args.step.as_deref())?;
    let mut logs = Logs { client, id, printer };
    logs.copy(step.number, 0).await?;
    logs.printer.finish(context)?;
    Ok(Exit::Done)
}

/// Finds the step that is meant: by number or name, else the first that failed, else the last.
fn chosen<'a>(build: &'a Build, named: Option<&str>) -> Result<&'a Step, Failure> {
    if let Some(named) = named {
        return find(build, named);
    }
    let is_bad = |step: &&Step| step.outcome.as_deref().and_then(Outcome::parse).is_some_and(Outcome::is_bad);
    build.steps.iter().find(is_bad).or(build.steps.last()).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("build {} has begun no step yet", build.id)).hint(format!(
            "`gristmill logs {} -f` waits for them, `gristmill why build {}` says why",
            build.id, build.id
        ))
    })
}

fn find<'a>(build: &'a Build, named: &str) -> Result<&'a Step, Failure> {
    let number: Option<u32> = named.parse().ok();
    let by_number = build.steps.iter().find(|step| Some(step.number) == number);
    by_number.or_else(|| build.steps.iter().find(|step| step.name == named)).ok_or_else(|| {
        let names: Vec<String> =
            build.steps.iter().map(|step| format!("{} {}", step.number, clip(&step.name, 40))).collect();
        Failure::new(Exit::NotFound, format!("build {} has no step `{}`", build.id, clean(named)))
            .hint(format!("its steps so far: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }))
    })
}

/// Reads `800-830`, `800-` or `800`.
fn range_of(text: &str) -> Result<(u64, u64), Failure> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: Option<u64> = first.trim().parse().ok().filter(|first| *first > 0);
    let last = if last.trim().is_empty() { Some(u64::MAX) } else { last.trim().parse().ok() };
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(Failure::new(Exit::Usage, format!("`{}` is no range of lines", clean(text)))
            .hint("lines count from 1; write 800-830, 800- or 800")),
    }
}

async fn show_range(
    context: &Context,
    client: &Client,
    id: &str,
    step: &Step,
    (first, last): (u64, u64),
) -> Result<Exit, Failure> {
    let number = step.number.to_string();
    let mut from = first;
    while from <= last {
        let wanted = (last - from).saturating_add(1).min(LINES_MAX);
        let query = [("from", from.to_string()), ("count", wanted.to_string())];
        let query = [(query[0].0, query[0].1.as_str()), (query[1].0, query[1].1.as_str())];
        let answer: Value = client.read(&["builds", id, "steps", &number, "lines"], &query).await?;
        let got = answer["items"].as_array().map_or(0, Vec::len) as u64;
        show_lines(context, answer)?;
        if got == 0 {
            break;
        }
        from += got;
    }
    Ok(Exit::Done)
}

fn show_lines(context: &Context, answer: Value) -> Result<Exit, Failure> {
    if context.global.json {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    let lines: LogLines = serde_json::from_value(answer)
        .map_err(|error| Failure::broken(format!("the lines have a form that is not known here: {error}")))?;
    for LogLine { n, text } in &lines.items {
        let number = context.look.paint(Ink::Dim, &format!("{n:>7}"));
        context.result(&format!("{number}  {}", clean(text)))?;
    }
    Ok(Exit::Done)
}

struct Logs {
    client: Client,
    id: String,
    printer: Printer,
}

impl Logs {
    /// Prints a step's log from `offset` on and gives where it ended.
    async fn copy(&mut self, step: u32, offset: u64) -> Result<u64, Failure> {
        let (step, from) = (step.to_string(), offset.to_string());
        let query = [("step", step.as_str()), ("offset", from.as_str())];
        let mut response = self.client.stream(&["builds", &self.id, "log"], &query, None).await?;
        let mut offset = offset;
        while let Some(piece) = response.chunk().await.map_err(Failure::broken)? {
            offset += piece.len() as u64;
            self.printer.print(&piece)?;
        }
        Ok(offset)
    }

    /// Prints step after step as they grow, and ends with the build.
    async fn follow(mut self, context: &Context, first: Option<u32>) -> Result<Exit, Failure> {
        let (mut step, mut offset) = (first.unwrap_or(0), 0);
        let mut announced = None;
        loop {
            // The state is read before the log: what the log holds once its step is over is all of it.
            let build: Build = self.client.read(&["builds", &self.id], &[]).await?;
            let current = build.steps.iter().find(|candidate| candidate.number == step);
            if let Some(current) = current {
                if announced != Some(step) && first.is_none() {
                    self.announce(context, current)?;
                    announced = Some(step);
                }
                offset = self.copy(step, offset).await?;
            }
            let step_is_over = current.is_some_and(|current| {
                current.outcome.is_some() && current.log.as_ref().is_none_or(|log| log.complete || offset >= log.bytes)
            });
            let outcome = build.outcome.as_deref().and_then(Outcome::parse);
            let next = build.steps.iter().map(|candidate| candidate.number).filter(|number| *number > step).min();
            match (outcome, next) {
                _ if first.is_some() && step_is_over => return self.end(context, &build, outcome),
                (_, Some(next)) if step_is_over || current.is_none() => (step, offset) = (next, 0),
                (Some(_), None) => return self.end(context, &build, outcome),
                _ => tokio::time::sleep(FOLLOW_WAIT).await,
            }
        }
    }

    fn announce(&mut self, context: &Context, step: &Step) -> Result<(), Failure> {
        self.printer.flush()?;
        if !context.global.quiet {
            let heading = format!("── step {} {}", step.number, clip(&step.name, 60));
            eprintln!("{}", context.look.paint(Ink::Dim, &heading));
        }
        Ok(())
    }

    fn end(mut self, context: &Context, build: &Build, outcome: Option<Outcome>) -> Result<Exit, Failure> {
        self.printer.finish(context)?;
        let Some(outcome) = outcome else { return Ok(Exit::Done) };
        if !context.global.quiet {
            let summary = build.summary.as_deref().map_or(String::new(), |summary| format!(": {}", clip(summary, 100)));
            eprintln!("{} build {}  {outcome}{summary}", context.look.sign(outcome.as_str()), build.id);
        }
        Ok(Exit::of_outcome(outcome))
    }
}

/// Writes log bytes to standard output, cleaned unless asked for raw.
struct Printer {
    raw: bool,
    text: LogText,
}

impl Printer {
    fn new(context: &Context, raw: bool) -> Self {
        Self { raw, text: LogText::new(context.look.color) }
    }

    fn print(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        if self.raw {
            out.write_all(piece)?;
        } else {
            let mut text = Vec::with_capacity(piece.len());
            self.text.push(piece, &mut text);
            out.write_all(&text)?;
        }
        out.flush()?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let mut rest = Vec::new();
        self.text.finish(&mut rest);
        let mut out = std::io::stdout().lock();
        out.write_all(&rest)?;
        out.flush()?;
        Ok(())
    }

    /// Nothing is left out in silence.
    fn finish(&mut self, context: &Context) -> Result<(), Failure> {
        self.flush()?;
        let dropped = self.text.dropped();
        if dropped > 0 && !context.global.quiet {
            eprintln!("  {dropped} escape sequences and control characters were left out; --raw shows them");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(steps: &[(&str, Option<&str>)]) -> Build {
        let steps = (0..)
            .zip(steps)
            .map(|(number, (name, outcome))| Step {
                number,
                name: (*name).to_owned(),
                outcome: outcome.map(ToOwned::to_owned),
                ..Step::default()
            })
            .collect();
        Build { id: 12, steps, ..Build::default() }
    }

    #[test]
    fn the_failing_step_is_the_one_that_is_meant() {
        let build = build(&[("checkout", Some("success")), ("test", Some("failure")), ("clean", Some("success"))]);
        assert_eq!(chosen(&build, None).unwrap().name, "test");
        assert_eq!(chosen(&build, Some("clean")).unwrap().number, 2);
        assert_eq!(chosen(&build, Some("0")).unwrap().name, "checkout");
        let missing = chosen(&build, Some("tset")).unwrap_err();
        assert_eq!(missing.exit, Exit::NotFound);
        assert!(missing.to_string().contains("0 checkout, 1 test, 2 clean"), "{missing}");
    }

    #[test]
    fn without_a_failure_it_is_the_last_step() {
        assert_eq!(chosen(&build(&[("a", Some("success")), ("b", None)]), None).unwrap().name, "b");
        assert_eq!(chosen(&build(&[]), None).unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn ranges_of_lines_count_from_one() {
        assert_eq!(range_of("800-830").unwrap(), (800, 830));
        assert_eq!(range_of("800-").unwrap(), (800, u64::MAX));
        assert_eq!(range_of("7").unwrap(), (7, 7));
        for bad in ["0-3", "9-3", "x", "-5", ""] {
            assert_eq!(range_of(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }
}
