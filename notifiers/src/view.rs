//! What templates see: a happening as clean, short strings.
//!
//! Every name is always there, empty when there is nothing to say, so that a template that was checked once never
//! meets an unknown name. All strings are encoded for one line ([`crate::text`]), only `detail` has several.

use gristmill_model::time::say_span;
use gristmill_model::{Timestamp, Transition};
use serde::Serialize;

use crate::happening::Happening;
use crate::text;

/// Commits that are listed.
const SUSPECTS_MAX: usize = 10;
/// Log lines that are shown, and how many of them stand before the first error.
const EXCERPT_LINES_MAX: usize = 12;
const EXCERPT_LINES_BEFORE: usize = 4;
/// Bytes of one log line that are shown.
const EXCERPT_LINE_BYTES_MAX: usize = 200;
/// Bytes of a name, a branch, an author.
const NAME_BYTES_MAX: usize = 120;
/// Bytes of a commit's subject or a step's summary.
const SENTENCE_BYTES_MAX: usize = 200;
/// Bytes of `detail`.
const DETAIL_BYTES_MAX: usize = 8 * 1024;

/// A happening, as templates see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct View {
    kind: String,
    /// The sign, the word and the whole headline: `✕`, `broke`, `broke: core/lib-test on main`.
    sign: &'static str,
    word: String,
    headline: String,
    color: &'static str,
    is_bad: bool,
    transition: &'static str,
    outcome: &'static str,
    cause: &'static str,
    /// The first builder with its project, and how many more there are.
    builder: String,
    builders: Vec<String>,
    builders_more: usize,
    project: String,
    repository: String,
    branch: String,
    scheduler: String,
    worker: String,
    build: String,
    buildset: String,
    incident: String,
    url: String,
    /// Where to look first: the failing line, the build, or the overview.
    link: Links,
    step: StepView,
    /// The newest suspect, for one line.
    culprit: SuspectView,
    suspects: Vec<SuspectView>,
    suspects_more: usize,
    excerpt: Vec<LineView>,
    stamps: Vec<StampView>,
    at: String,
    since: String,
    /// From `since` to `at`, as people say it; empty if that is less than a second.
    lasted: String,
    detail: String,
    because: String,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Links {
    short: String,
    build: String,
    buildset: String,
    log: String,
}

#[derive(Debug, Clone, Default, Serialize)]
struct StepView {
    name: String,
    summary: String,
}

#[derive(Debug, Clone, Default, Serialize)]
struct SuspectView {
    author: String,
    subject: String,
    revision: String,
    repository: String,
    url: String,
}

#[derive(Debug, Clone, Serialize)]
struct LineView {
    number: u64,
    text: String,
    is_error: bool,
}

#[derive(Debug, Clone, Serialize)]
struct StampView {
    codebase: String,
    branch: String,
    revision: String,
}

impl View {
    /// Makes the view of a happening for one recipient.
    pub(crate) fn of(happening: &Happening, because: &str) -> Self {
        let url = base_url(happening.url.as_deref());
        let builders = builder_names(happening);
        let suspects: Vec<SuspectView> =
            happening.suspects.iter().take(SUSPECTS_MAX).map(|suspect| suspect_view(suspect, &url)).collect();
        let unlisted = happening.suspects.len() - suspects.len();
        let word = word(happening);
        let at = say_time(happening.at);
        Self {
            kind: name(&happening.kind),
            sign: sign(happening),
            headline: headline(happening, &builders, &word),
            word,
            color: color(happening),
            is_bad: is_bad(happening),
            transition: happening.transition.map_or("", Transition::as_str),
            outcome: happening.outcome.map_or("", gristmill_model::Outcome::as_str),
            cause: happening.cause.map_or("", gristmill_model::Cause::as_str),
            builder: builders.first().cloned().unwrap_or_default(),
            builders_more: builders.len().saturating_sub(1),
            builders,
            project: happening.projects.first().map(|project| name(&project.0)).unwrap_or_default(),
            repository: happening.repository.as_ref().map(|repository| name(&repository.0)).unwrap_or_default(),
            branch: happening.branch.as_deref().map(name).unwrap_or_default(),
            scheduler: happening.scheduler.as_ref().map(|scheduler| name(&scheduler.0)).unwrap_or_default(),
            worker: happening.worker.as_ref().map(|worker| name(&worker.0)).unwrap_or_default(),
            build: number(happening.build),
            buildset: number(happening.buildset),
            incident: number(happening.incident),
            link: links(happening, &url),
            url,
            step: happening.step.as_ref().map_or_else(StepView::default, |step| StepView {
                name: name(&step.name),
                summary: sentence(&step.summary),
            }),
            culprit: suspects.first().cloned().unwrap_or_default(),
            suspects,
            suspects_more: happening.suspects_more + unlisted,
            excerpt: excerpt(happening),
            stamps: stamps(happening),
            since: happening.since.map(say_time).filter(|since| *since != at).unwrap_or_default(),
            lasted: lasted(happening),
            at,
            detail: detail(happening),
            because: sentence(because),
        }
    }

    /// Gives the one line that says what happened.
    pub(crate) fn headline(&self) -> &str {
        &self.headline
    }
}

fn name(text: &str) -> String {
    text::one_line(text, NAME_BYTES_MAX)
}

fn sentence(text: &str) -> String {
    text::one_line(text, SENTENCE_BYTES_MAX)
}

fn number(id: Option<impl std::fmt::Display>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// Gives the address that links start with, or nothing unless it is a plain web address.
fn base_url(url: Option<&str>) -> String {
    let url = url.unwrap_or("").trim_end_matches('/');
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    let is_plain =
        url.chars().all(|character| character.is_ascii_graphic() && !matches!(character, '"' | '<' | '>' | '\''));
    if is_web && is_plain { url.to_owned() } else { String::new() }
}

/// Gives `project/builder` where there is one project, else the builder's name.
fn builder_names(happening: &Happening) -> Vec<String> {
    let prefix = match happening.projects.as_slice() {
        [project] => format!("{project}/"),
        _ => String::new(),
    };
    happening.builders.iter().map(|builder| name(&format!("{prefix}{builder}"))).collect()
}

fn is_bad(happening: &Happening) -> bool {
    match happening.transition {
        Some(Transition::Broke | Transition::StillFailing) => true,
        Some(Transition::Fixed | Transition::Passing) => false,
        None => ![".activated", ".cleared", ".recovered"].iter().any(|end| happening.kind.ends_with(end)),
    }
}

fn sign(happening: &Happening) -> &'static str {
    match (happening.transition, is_bad(happening)) {
        (Some(_), true) => "✕",
        (None, true) => "!",
        (_, false) => "✓",
    }
}

/// Gives the text colour of the outcome on white and on pale grey: at least 5.5 to 1.
fn color(happening: &Happening) -> &'static str {
    match (happening.transition, is_bad(happening), happening.outcome) {
        (_, true, Some(gristmill_model::Outcome::Exception)) => "#651083",
        (Some(_), true, _) => "#b5120a",
        (None, true, _) => "#7d5200",
        (_, false, _) => "#08684c",
    }
}

fn word(happening: &Happening) -> String {
    match happening.transition {
        Some(Transition::Broke) => "broke".to_owned(),
        Some(Transition::StillFailing) => "still failing".to_owned(),
        Some(Transition::Fixed) => "fixed".to_owned(),
        Some(Transition::Passing) => "passing".to_owned(),
        None => name(&happening.kind),
    }
}

fn headline(happening: &Happening, builders: &[String], word: &str) -> String {
    if happening.transition.is_none() {
        return system_headline(happening);
    }
    let more = match builders.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let builder = builders.first().map_or("a builder", String::as_str);
    let on =
        happening.branch.as_deref().map(|branch| format!(" on {}", text::one_line(branch, 60))).unwrap_or_default();
    format!("{word}: {}{more}{on}", text::cut(builder.to_owned(), 80))
}

fn system_headline(happening: &Happening) -> String {
    let repository = happening
        .repository
        .as_ref()
        .map_or_else(|| "a repository".to_owned(), |repository| format!("repository {}", name(&repository.0)));
    match happening.kind.as_str() {
        "source.failing" => format!("{repository} cannot be read"),
        "source.recovered" => format!("{repository} can be read again"),
        "catalog.refused" => "the configuration was refused; the one before stays in force".to_owned(),
        "catalog.activated" => "a configuration came into force".to_owned(),
        "instance.restored" => "the installation was restored from a backup".to_owned(),
        "doctor.found" => "the service found something wrong with its own data".to_owned(),
        "doctor.cleared" => "what the service found wrong with its own data is mended".to_owned(),
        "worker.held" => "a worker is kept from new builds".to_owned(),
        "worker.freed" => "a worker takes new builds again".to_owned(),
        "worker.ailing" => "a worker fails again and again".to_owned(),
        "worker.left" => "a worker is missing".to_owned(),
        "message.dead" => "a message was given up".to_owned(),
        kind => match &happening.repository {
            Some(_) => format!("{}: {repository}", name(kind)),
            None => name(kind),
        },
    }
}

fn links(happening: &Happening, url: &str) -> Links {
    if url.is_empty() {
        return Links::default();
    }
    let build = happening.build.map(|build| format!("{url}/builds/{build}")).unwrap_or_default();
    let step = happening.step.as_ref().map(|step| step.number);
    let line = happening.excerpt.iter().find(|line| line.is_error).map(|line| line.number);
    let log = match (step, line) {
        (Some(step), Some(line)) if !build.is_empty() => format!("{build}?step={step}#L{line}"),
        _ => String::new(),
    };
    Links {
        short: happening.build.map_or_else(|| url.to_owned(), |build| format!("{url}/b/{build}")),
        build,
        buildset: happening.buildset.map(|buildset| format!("{url}/buildsets/{buildset}")).unwrap_or_default(),
        log,
    }
}

fn suspect_view(suspect: &crate::happening::Suspect, url: &str) -> SuspectView {
    let author = match (name(&suspect.author.name), name(&suspect.author.email)) {
        (author, email) if author.is_empty() => email,
        (author, _) => author,
    };
    SuspectView {
        author: if author.is_empty() { "somebody".to_owned() } else { author },
        subject: sentence(&suspect.subject),
        revision: text::one_line(suspect.revision.short(), 16),
        repository: name(&suspect.repository.0),
        url: if url.is_empty() { String::new() } else { format!("{url}/changes/{}", suspect.change) },
    }
}

/// Gives what there is to say beside; not what the failed step says already.
fn detail(happening: &Happening) -> String {
    let detail = happening.detail.as_deref().unwrap_or("").trim();
    let is_said = happening.step.as_ref().is_some_and(|step| {
        !step.summary.is_empty()
            && (detail == step.summary || detail == format!("step {}: {}", step.name, step.summary))
    });
    if is_said { String::new() } else { text::block(detail, DETAIL_BYTES_MAX) }
}

/// Takes the lines round the first error, or the last ones if none is marked.
fn excerpt(happening: &Happening) -> Vec<LineView> {
    let lines = &happening.excerpt;
    let latest = lines.len().saturating_sub(EXCERPT_LINES_MAX);
    let start = match lines.iter().position(|line| line.is_error) {
        Some(error) => error.saturating_sub(EXCERPT_LINES_BEFORE).min(latest),
        None => latest,
    };
    lines
        .iter()
        .skip(start)
        .take(EXCERPT_LINES_MAX)
        .map(|line| LineView {
            number: line.number,
            text: text::log_line(&line.text, EXCERPT_LINE_BYTES_MAX),
            is_error: line.is_error,
        })
        .collect()
}

fn stamps(happening: &Happening) -> Vec<StampView> {
    happening
        .stamps
        .iter()
        .map(|(codebase, stamp)| StampView {
            codebase: name(&codebase.0),
            branch: name(&stamp.branch),
            revision: text::one_line(stamp.revision.short(), 16),
        })
        .collect()
}

fn lasted(happening: &Happening) -> String {
    let span = happening.since.map(|since| happening.at.since(since)).unwrap_or_default();
    if span.as_secs() == 0 { String::new() } else { say_span(span) }
}

/// Writes `2026-11-24 11:02 UTC`.
fn say_time(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", time.get(..5).unwrap_or(time))
}
