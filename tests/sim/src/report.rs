//! What happened, in words: one line per event, and the last ones of a run that went wrong.

use gristmill_model::{EventBody, VerdictKind};

use crate::world::{Failure, Options};

/// Lines of a timeline that are shown.
const LINES_MAX: usize = 45;

/// Says what an event is about.
pub fn sentence(body: &EventBody) -> String {
    use EventBody as E;
    match body {
        E::CatalogActivated { hash } => format!("{hash} is in force"),
        E::ChangeSeen { change } => {
            let to = change.new.as_ref().map_or("gone", |revision| revision.as_str());
            format!("change {}: {} {} is now {to}", change.id, change.repository, change.reference.short())
        }
        E::VerdictGiven { verdict } => {
            let what = match &verdict.kind {
                VerdictKind::Built { buildset } => format!("buildset {buildset}"),
                VerdictKind::Held { until, .. } => {
                    format!("held until {}", until.map_or("a tip is known".to_owned(), |at| at.to_clock()))
                }
                VerdictKind::Nothing => "nothing".to_owned(),
            };
            format!("{} makes of change {}: {what}", verdict.scheduler, verdict.change)
        }
        E::BuildsetCreated { buildset, requests, .. } => {
            let nodes: Vec<String> =
                requests.iter().map(|request| format!("{}={}", request.id, request.node)).collect();
            format!("buildset {} of {} by {:?}: {}", buildset.id, buildset.scheduler, buildset.trigger, nodes.join(" "))
        }
        E::BuildLeased { build } => {
            format!("build {} of request {} on {} epoch {}", build.id, build.request, build.worker, build.epoch)
        }
        E::RecipeRecorded { digest, .. } => format!("recipe {}", digest.as_str().get(..8).unwrap_or_default()),
        E::MessageQueued { message } => format!("message {}: {}", message.id, message.key),
        E::WorkerJoined { worker } => format!("{} joined with {} slots", worker.name, worker.slots),
        other => {
            let text = format!("{other:?}");
            text.chars().take(150).collect()
        }
    }
}

/// Tells of a failure: what, how to repeat it, and the last that happened.
pub fn tell(options: &Options, failure: &Failure) -> String {
    let lines = &failure.timeline;
    let words = concerned(&failure.violation.text);
    // The last lines, and of those before them the ones that speak of the same things.
    let (early, late) = lines.split_at(lines.len().saturating_sub(LINES_MAX / 2));
    let mut shown: Vec<&String> =
        early.iter().filter(|line| words.iter().any(|word| line.contains(word.as_str()))).collect();
    shown.drain(..shown.len().saturating_sub(LINES_MAX - late.len()));
    shown.extend(late);
    let shown: Vec<String> = shown.iter().map(|line| line.chars().take(180).collect()).collect();
    format!("{}\nrepeat it: {}\n{}\n", failure.violation, command(options), shown.join("\n"))
}

/// Gives the command that repeats a run.
pub fn command(options: &Options) -> String {
    let mut command = format!("cargo run -p gristmill-sim --profile sim -- --seed {}", options.seed);
    if let Some(hours) = options.hours {
        command += &format!(" --hours {hours}");
    }
    if !options.disabled.is_empty() {
        let words: Vec<&str> = options.disabled.iter().map(|fault| fault.as_str()).collect();
        command += &format!(" --without {}", words.join(","));
    }
    if !options.suppressed.is_empty() {
        let numbers: Vec<String> = options.suppressed.iter().map(ToString::to_string).collect();
        command += &format!(" --suppress {}", numbers.join(","));
    }
    command
}

/// Picks what a violation speaks of: `build 12`, `message 3`.
fn concerned(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(|character: char| !character.is_alphanumeric()).collect();
    let pairs = words.windows(2).filter(|pair| pair[1].parse::<u64>().is_ok());
    pairs.filter(|pair| !pair[0].is_empty()).map(|pair| format!("{} {}", pair[0], pair[1])).collect()
}
