//! `gristmill doctor`: is everything that is kept as it should be? A line for each check, while it is asked.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gristmill_model::time::say_span;
use serde_json::json;

use super::args::DoctorArgs;
use super::exit::{Exit, Failure};
use super::narrate::count;
use super::run::Context;
use super::serve::DATA_FOLDER;
use super::terminal::{Ink, Look, clip};
use crate::chain::chain;
use crate::service::doctor::{Extent, Line, Outcome, Subject, examine};
use crate::store::inspect::Inspector;
use crate::store::{DATABASE_FILE, Database, StoreError};

/// Characters of a name, so that what follows stands in a column.
const NAME_WIDTH: usize = 18;
/// Characters of a sentence.
const SENTENCE_WIDTH: usize = 400;

pub(crate) async fn run(context: &Context, args: DoctorArgs) -> Result<Exit, Failure> {
    let data = args.data.unwrap_or_else(|| PathBuf::from(DATA_FOLDER));
    let database: Database =
        args.database.parse().map_err(|problem: StoreError| Failure::new(Exit::Usage, chain(&problem)))?;
    let inspector = open(&data, &database).await?;
    let begun = Instant::now();
    let mut lines: Vec<Line> = Vec::new();
    let mut unsaid = Ok(());
    let subject =
        Subject { inspector, logs: args.logs.unwrap_or_else(|| data.join("logs")), data: data.clone(), running: None };
    examine(subject, Extent { is_deep: args.deep, until: None }, |line| {
        if unsaid.is_ok() && !context.global.json {
            unsaid = say(context, &line);
        }
        lines.push(line);
    })
    .await;
    unsaid?;
    let tally = Tally::of(&lines);
    if context.global.json {
        context.json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "data": data,
            "deep": args.deep,
            "found": tally.found,
            "not_looked": tally.not_looked,
            "checks": lines,
        }))?;
    } else {
        context.say(&tally.sentence(&data, begun.elapsed(), args.deep))?;
    }
    Ok(tally.exit())
}

async fn open(data: &Path, database: &Database) -> Result<Inspector, Failure> {
    if !data.is_dir() {
        let message = format!("there is no data folder {}", data.display());
        return Err(Failure::new(Exit::NotFound, message)
            .hint("`--data DIR` names it; it is what `gristmill serve` says after `data`"));
    }
    if *database == Database::Embedded && !data.join(DATABASE_FILE).is_file() {
        let message = format!("there is no {DATABASE_FILE} in {}", data.display());
        return Err(Failure::new(Exit::NotFound, message)
            .hint("is it another folder (`--data DIR`), or is the database on a server (`--database URL`)?"));
    }
    Inspector::open(data, database).await.map_err(|problem| {
        let failure = Failure::new(Exit::Broken, chain(&problem));
        match (&problem, database) {
            (StoreError::Io { .. }, Database::Embedded) => {
                failure.hint("run it as the user that the service runs as; if that does not help, the file is damaged")
            }
            _ => failure,
        }
    })
}

/// How many checks came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    all: usize,
    found: usize,
    not_looked: usize,
}

impl Tally {
    fn of(lines: &[Line]) -> Self {
        let is_found = |line: &&Line| matches!(line.result, Outcome::Found(_));
        let is_not_looked = |line: &&Line| matches!(line.result, Outcome::NotLooked { .. });
        Self {
            all: lines.len(),
            found: lines.iter().filter(is_found).count(),
            not_looked: lines.iter().filter(is_not_looked).count(),
        }
    }

    /// What was found weighs more than what could not be looked at.
    fn exit(self) -> Exit {
        match (self.found, self.not_looked) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Broken,
            _ => Exit::Failed,
        }
    }

    fn sentence(self, data: &Path, took: Duration, is_deep: bool) -> String {
        let found = if self.found == 0 { "nothing found".to_owned() } else { count(self.found, "finding") };
        let not_looked =
            if self.not_looked == 0 { String::new() } else { format!(", {} could not look", self.not_looked) };
        let more = if is_deep { "" } else { "; `--deep` folds the journal, too" };
        let took = format!("{}.{:03} s", took.as_secs(), took.subsec_millis());
        format!("  {} of {}: {found}{not_looked}, in {took}{more}", count(self.all, "check"), data.display())
    }
}

/// Prints a check: what is as it should be only if more than results is wanted.
fn say(context: &Context, line: &Line) -> Result<(), Failure> {
    let text = rendered(context.look, line);
    match line.result {
        Outcome::Sound { .. } => context.say(&text),
        Outcome::Found(_) | Outcome::NotLooked { .. } => context.result(&text),
    }
}

fn rendered(look: Look, line: &Line) -> String {
    let name = format!("{:<NAME_WIDTH$}", line.check);
    let took = match line.took_ms {
        0..100 => String::new(),
        took => look.paint(Ink::Dim, &format!("  {}", tenths(Duration::from_millis(took)))),
    };
    match &line.result {
        Outcome::Sound { note } => {
            let note = note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
            format!("  {} {name} {}{note}{took}", look.sign("success"), line.proves)
        }
        Outcome::NotLooked { why } => {
            format!("  {} {name} could not look: {}{took}", look.sign("warnings"), clip(why, SENTENCE_WIDTH))
        }
        Outcome::Found(found) => {
            let least = if found.is_more { "at least " } else { "" };
            let mut text = format!("  {} {name} {least}{} found{took}", look.sign("failure"), found.count);
            let indent = " ".repeat(NAME_WIDTH + 5);
            for row in &found.rows {
                text.push_str(&format!("\n{indent}{}", clip(row, SENTENCE_WIDTH)));
            }
            let named = u64::try_from(found.rows.len()).unwrap_or(u64::MAX);
            if found.count > named {
                text.push_str(&format!("\n{indent}… {} more", found.count - named));
            }
            text.push_str(&format!("\n{indent}that means: {}", found.means));
            text.push_str(&format!("\n{indent}what to do: {}", found.mend));
            text
        }
    }
}

fn tenths(took: Duration) -> String {
    if took < Duration::from_secs(60) {
        format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100)
    } else {
        say_span(took)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::service::doctor::Finding;

    fn line(check: &'static str, result: Outcome, took_ms: u64) -> Line {
        Line { check, proves: "each buildset counts as many open requests as it has", safety: &["S6"], result, took_ms }
    }

    fn found() -> Outcome {
        Outcome::Found(Finding {
            rows: vec![
                "buildset 3 counts 2 open requests and has 1".to_owned(),
                "buildset 4 \u{1b}[2Jis new".to_owned(),
            ],
            count: 7,
            is_more: false,
            means: "the buildset completes too early, or never".to_owned(),
            mend: "restore the last backup".to_owned(),
            detail: String::new(),
        })
    }

    #[test]
    fn a_check_is_a_line_and_a_finding_says_what_it_means_and_what_to_do() {
        let lines = [
            line("buildset-remaining", Outcome::Sound { note: None }, 12),
            line("fold-rows", Outcome::Sound { note: Some("the journal begins at 7".to_owned()) }, 4_321),
            line("buildset-remaining", found(), 12),
            line("logs", Outcome::NotLooked { why: "cannot read logs: permission denied".to_owned() }, 0),
        ];
        let said: Vec<String> = lines.iter().map(|line| rendered(Look::PLAIN, line)).collect();
        expect![[r#"
            gristmill doctor
              ✓ buildset-remaining each buildset counts as many open requests as it has
              ✓ fold-rows          each buildset counts as many open requests as it has (the journal begins at 7)  4.3 s
              ✕ buildset-remaining 7 found
                                   buildset 3 counts 2 open requests and has 1
                                   buildset 4 is new
                                   … 5 more
                                   that means: the buildset completes too early, or never
                                   what to do: restore the last backup
              ! logs               could not look: cannot read logs: permission denied"#]]
        .assert_eq(&format!("gristmill doctor\n{}", said.join("\n")));
        expect!["  4 checks of data: 1 finding, 1 could not look, in 1.234 s; `--deep` folds the journal, too"]
            .assert_eq(&Tally::of(&lines).sentence(Path::new("data"), Duration::from_millis(1234), false));
    }

    #[test]
    fn what_was_found_weighs_more_than_what_could_not_be_looked_at() {
        let sound = line("a", Outcome::Sound { note: None }, 0);
        let not_looked = line("b", Outcome::NotLooked { why: String::new() }, 0);
        let found = line("c", found(), 0);
        let exit = |lines: &[Line]| Tally::of(lines).exit();
        assert_eq!(exit(std::slice::from_ref(&sound)), Exit::Done);
        assert_eq!(exit(&[sound.clone(), not_looked.clone()]), Exit::Broken);
        assert_eq!(exit(&[sound, not_looked, found]), Exit::Failed);
    }
}
