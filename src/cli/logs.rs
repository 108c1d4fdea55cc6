//! `gristmill logs`: the log of a build's step, whole, in part, or as it grows.

use std::io::Write;
use std::time::Duration;

use gristmill_model::Outcome;
use serde_json::{Value, json};

use super::args::LogsArgs;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::{Ink, LogText, clean, clip, complain};
use super::view::{Build, LogLine, LogLines, Step};

/// The wait before a growing log is looked at again.
const FOLLOW_WAIT: Duration = Duration::from_millis(300);

/// Lines asked for in one request.
const LINES_MAX: u64 = 1_000;

/// Bytes of one line that `--json` gives; of a longer one the rest is left out.
const LINE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) async fn run(context: &Context, args: &LogsArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let printer = Printer::new(context, args.raw);
    let id = args.build.to_string();
    let build: Build = client.read(&["builds", &id], &[]).await?;
    if args.errors {
        let step = chosen(&build, args.step.as_deref())?;
        let number = step.number.to_string();
        let answer = client.read(&["builds", &id, "steps", &number, "errors"], &[]).await?;
        show_lines(context, step.number, answer)?;
        return Ok(Exit::Done);
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
                let build = args.build;
                complain(&format!("  detached; build {build} goes on. To end it: gristmill cancel build {build}"));
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
        show_lines(context, step.number, answer)?;
        if got == 0 {
            break;
        }
        from += got;
    }
    Ok(Exit::Done)
}

fn show_lines(context: &Context, step: u32, answer: Value) -> Result<(), Failure> {
    let lines: LogLines = serde_json::from_value(answer)
        .map_err(|error| Failure::broken(format!("the lines have a form that is not known here: {error}")))?;
    for LogLine { n, text } in &lines.items {
        if context.global.json {
            context.json_line(&line_json(step, *n, text))?;
            continue;
        }
        let number = context.look.paint(Ink::Dim, &format!("{n:>7}"));
        context.result(&format!("{number}  {}", clean(text)))?;
    }
    Ok(())
}

/// A line of a log as `--json` gives it, whichever way it was asked for.
fn line_json(step: u32, n: u64, text: &str) -> Value {
    json!({"step": step, "n": n, "text": text})
}

struct Logs {
    client: Client,
    id: String,
    printer: Printer,
}

impl Logs {
    /// Prints a step's log from `offset` on and gives where it ended.
    async fn copy(&mut self, step: u32, offset: u64) -> Result<u64, Failure> {
        let number = step;
        let (step, from) = (step.to_string(), offset.to_string());
        let query = [("step", step.as_str()), ("offset", from.as_str())];
        let mut response = self.client.stream(&["builds", &self.id, "log"], &query, None).await?;
        let mut offset = offset;
        while let Some(piece) = response.chunk().await.map_err(Failure::broken)? {
            offset += piece.len() as u64;
            self.printer.print(number, &piece)?;
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
                (_, Some(next)) if step_is_over || current.is_none() => {
                    self.printer.flush()?;
                    (step, offset) = (next, 0);
                }
                (Some(_), None) => return self.end(context, &build, outcome),
                _ => tokio::time::sleep(FOLLOW_WAIT).await,
            }
        }
    }

    fn announce(&self, context: &Context, step: &Step) -> Result<(), Failure> {
        if !context.global.quiet && !context.global.json {
            let heading = format!("── step {} {}", step.number, clip(&step.name, 60));
            complain(&context.look.paint(Ink::Dim, &heading));
        }
        Ok(())
    }

    fn end(mut self, context: &Context, build: &Build, outcome: Option<Outcome>) -> Result<Exit, Failure> {
        self.printer.finish(context)?;
        let Some(outcome) = outcome else { return Ok(Exit::Done) };
        if !context.global.quiet {
            let summary = build.summary.as_deref().map_or(String::new(), |summary| format!(": {}", clip(summary, 100)));
            complain(&format!("{} build {}  {outcome}{summary}", context.look.sign(outcome.as_str()), build.id));
        }
        Ok(Exit::of_outcome(outcome))
    }
}

/// Writes log bytes to standard output, cleaned unless asked for raw; with `--json` as one object per line.
struct Printer {
    raw: bool,
    text: LogText,
    lines: Option<Lines>,
}

impl Printer {
    fn new(context: &Context, raw: bool) -> Self {
        let json = context.global.json;
        Self { raw, text: LogText::new(context.look.color && !json), lines: json.then(Lines::default) }
    }

    fn print(&mut self, step: u32, piece: &[u8]) -> Result<(), Failure> {
        let mut text = Vec::with_capacity(piece.len());
        let mut out = std::io::stdout().lock();
        if let Some(lines) = &mut self.lines {
            lines.step = step;
            lines.push(piece, self.raw, &mut self.text, &mut text);
            out.write_all(&text)?;
        } else if self.raw {
            out.write_all(piece)?;
        } else {
            self.text.push(piece, &mut text);
            out.write_all(&text)?;
        }
        out.flush()?;
        Ok(())
    }

    /// Ends what was printed of a step.
    fn flush(&mut self) -> Result<(), Failure> {
        let mut rest = Vec::new();
        match &mut self.lines {
            Some(lines) => lines.finish(self.raw, &mut self.text, &mut rest),
            None => self.text.finish(&mut rest),
        }
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
            complain(&format!("  {dropped} escape sequences and control characters were left out; --raw shows them"));
        }
        Ok(())
    }
}

/// Cuts a step's bytes into lines, and writes each as an object. A line is written when it is whole.
#[derive(Default)]
struct Lines {
    step: u32,
    /// How many lines were written.
    written: u64,
    /// The line that has not ended yet, as far as it is kept; and whether it has begun at all.
    line: Vec<u8>,
    begun: bool,
}

impl Lines {
    fn push(&mut self, piece: &[u8], raw: bool, text: &mut LogText, out: &mut Vec<u8>) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (bytes, ends) = part.strip_suffix(b"\n").map_or((part, false), |bytes| (bytes, true));
            self.begun = true;
            self.line.extend_from_slice(&bytes[..bytes.len().min(LINE_BYTES_MAX - self.line.len())]);
            if ends {
                self.end(raw, text, out);
            }
        }
    }

    fn end(&mut self, raw: bool, text: &mut LogText, out: &mut Vec<u8>) {
        let mut line = std::mem::take(&mut self.line);
        if !raw {
            let mut cleaned = Vec::with_capacity(line.len());
            text.push(line.strip_suffix(b"\r").unwrap_or(&line), &mut cleaned);
            line = cleaned;
        }
        self.begun = false;
        self.written += 1;
        let object = line_json(self.step, self.written, &String::from_utf8_lossy(&line));
        out.extend_from_slice(format!("{object}\n").as_bytes());
    }

    /// Writes what did not end with a line feed; the next step begins at line 1.
    fn finish(&mut self, raw: bool, text: &mut LogText, out: &mut Vec<u8>) {
        if self.begun {
            self.end(raw, text, out);
        }
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_are_whole_wherever_pieces_are_cut() {
        let (mut text, mut out) = (LogText::new(false), Vec::new());
        let mut lines = Lines { step: 1, ..Lines::default() };
        for piece in ["on", "e\r\n\ntw\x1b[31", "mo\nthr", "ee"] {
            lines.push(piece.as_bytes(), false, &mut text, &mut out);
        }
        lines.finish(false, &mut text, &mut out);
        lines.step = 2;
        lines.push(b"\x1b[1mraw\n", true, &mut text, &mut out);
        lines.finish(true, &mut text, &mut out);
        expect_test::expect![[r#"
            {"n":1,"step":1,"text":"one"}
            {"n":2,"step":1,"text":""}
            {"n":3,"step":1,"text":"two"}
            {"n":4,"step":1,"text":"three"}
            {"n":1,"step":2,"text":"\u001b[1mraw"}
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_line_without_end_is_not_held_whole() {
        let (mut text, mut out, mut lines) = (LogText::new(false), Vec::new(), Lines::default());
        for _ in 0..5 {
            lines.push(&vec![b'x'; LINE_BYTES_MAX / 2], false, &mut text, &mut out);
        }
        assert_eq!(lines.line.len(), LINE_BYTES_MAX);
        lines.push(b"\nnext\n", false, &mut text, &mut out);
        assert!(String::from_utf8(out).unwrap().ends_with("\"n\":2,\"step\":0,\"text\":\"next\"}\n"));
    }

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
