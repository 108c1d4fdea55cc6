//! Why: what is recorded, put into sentences.
//!
//! Pure: views and reasons in, sentences out. The first sentence is the answer, the others say more; one that begins
//! with spaces belongs to the one before. Strangers' words are cleaned, so that a terminal may print them.

use std::collections::BTreeMap;

use gristmill_model::time::say_span;
use gristmill_model::{
    BuilderName, BuildsetId, Catalog, ChangeId, Outcome, Reason, RequestId, RequestState, Scheduler, SchedulerKind,
    SchedulerName, Timestamp, Trigger,
};

use crate::store::read::{
    BuildDetail, BuildRow, BuildsetDetail, BuildsetRow, ChangeDetail, ChangeRow, RequestDetail, RequestRow, StampRow,
    VerdictRow,
};

/// Changes that one answer names; of more, their number is said.
const CHANGES_NAMED: usize = 5;
/// Requests that one answer names.
const REQUESTS_NAMED: usize = 30;
/// Characters of a commit's subject or an author that are repeated.
const WORDS_LENGTH_MAX: usize = 80;
/// Names offered for one that is not known.
const SIMILAR_MAX: usize = 3;

/// Says why a build was made, and what it came to. `upstream` are the buildsets that set its own off, if any did.
pub fn build(detail: &BuildDetail, verdicts: &[VerdictRow], upstream: &[BuildsetRow], now: Timestamp) -> Vec<String> {
    let build = &detail.build;
    let mut answer =
        vec![format!("build {} of {} on {} {}", build.id, build.builder, clean(&build.branch), stands(build, now))];
    answer.push(format!(
        "it is attempt {} of request {} (node {} of buildset {}), on worker {}",
        build.attempt,
        build.request,
        detail.node,
        build.buildset,
        clean(build.worker.as_str())
    ));
    if build.attempt > 1 {
        let before: Vec<String> = detail
            .attempts
            .iter()
            .filter(|(id, _)| *id < build.id)
            .map(|(id, outcome)| attempt(*id, *outcome))
            .collect();
        answer.push(format!("it was tried again after {}", before.join(", ")));
    }
    let what = format!("buildset {}", build.buildset);
    let origin = Origin { scheduler: &build.scheduler, trigger: &detail.trigger, changes: &detail.changes, upstream };
    answer.push(origin.made(&what));
    answer.extend(verdicts.iter().take(CHANGES_NAMED).map(took));
    let stamps = crate::store::read::buildset::stamp_rows(detail.stamps.clone());
    answer.push(format!("it was made from {}", from_stamps(&stamps)));
    answer
}

/// Says what a request waits for, or what it came to. `origin` is that of its buildset.
pub fn request(detail: &RequestDetail, origin: Origin<'_>, reasons: &[Reason], now: Timestamp) -> Vec<String> {
    let request = &detail.request;
    let name =
        format!("request {} ({}, node {} of buildset {})", request.id, request.builder, request.node, request.buildset);
    let mut answer = match (request.state, request.outcome) {
        (RequestState::Settled, Some(outcome)) => vec![format!("{name} {}", came_to(request, outcome))],
        (RequestState::Leased, _) => {
            let build = request.build.map_or_else(|| "a build".to_owned(), |build| format!("build {build}"));
            let since = request.started_at.unwrap_or(request.created_at);
            vec![format!("{name} is being built: {build}, since {}", ago(since, now))]
        }
        _ => vec![format!("{name} waits since {}", ago(request.created_at, now))],
    };
    answer.extend(reasons.iter().map(|reason| format!("  {}", clean_lines(&reason.to_string()))));
    if request.state == RequestState::Waiting && reasons.is_empty() {
        let open: Vec<String> = detail.needs.iter().filter(|need| need.outcome.is_none()).map(need_words).collect();
        if !open.is_empty() {
            answer.push(format!("  waits for {}", open.join(" and ")));
        }
    }
    if let Some(reason) = &request.reason {
        answer.push(format!("  {}", clean_lines(reason)));
    }
    answer.push(origin.made("it"));
    if !detail.needed_by.is_empty() {
        let waiting: Vec<String> = detail.needed_by.iter().map(|need| need.node.to_string()).collect();
        answer.push(format!("it is needed by {}", waiting.join(", ")));
    }
    answer
}

/// Says what every scheduler made of a change.
pub fn change(detail: &ChangeDetail, catalog: &Catalog) -> Vec<String> {
    let change = &detail.change;
    let built = detail.verdicts.iter().filter(|verdict| verdict.buildset.is_some()).count();
    let held = detail.verdicts.iter().filter(|verdict| verdict.verdict == "held").count();
    let asked = detail.verdicts.len();
    let summary = match (asked, built, held) {
        (0, ..) => "met no scheduler that judges changes".to_owned(),
        (_, 0, 0) => format!("met {}, and nothing was built", count(asked, "scheduler")),
        (_, built, 0) => format!("met {}; {built} built it", count(asked, "scheduler")),
        (_, built, held) => {
            let hold = if held == 1 { "holds" } else { "hold" };
            format!("met {}; {built} built it, {held} {hold} it", count(asked, "scheduler"))
        }
    };
    let mut answer = vec![format!("{} {summary}", change_words(detail))];
    answer.extend(detail.verdicts.iter().map(verdict_line));
    let judged = |name: &SchedulerName| detail.verdicts.iter().any(|verdict| verdict.scheduler == *name);
    answer.extend(
        catalog
            .schedulers
            .iter()
            .filter(|(name, _)| !judged(name))
            .map(|(name, scheduler)| format!("  {name}: {}", woken_by(scheduler))),
    );
    for buildset in &detail.buildsets {
        let came = buildset.outcome.map_or("is not complete yet".to_owned(), |outcome| format!("ended with {outcome}"));
        answer.push(format!("buildset {} ({}) {came}", buildset.id, buildset.scheduler));
    }
    if change.incomplete {
        answer.push("its list of commits or files was cut short".to_owned());
    }
    answer
}

/// Says why a buildset was made, how it stands, and what its open requests wait for. `upstream` are the buildsets that
/// set it off, if any did.
pub fn buildset(
    detail: &BuildsetDetail,
    reasons: &BTreeMap<RequestId, Vec<Reason>>,
    upstream: &[BuildsetRow],
    now: Timestamp,
) -> Vec<String> {
    let row = &detail.buildset;
    let counts = row.counts;
    let stands = match row.outcome {
        Some(outcome) => {
            let took =
                row.completed_at.map_or(String::new(), |end| format!(" after {}", say_span(end.since(row.created_at))));
            format!("ended with {outcome}{took}")
        }
        None => format!(
            "is not complete: {} good, {} bad, {} running, {} waiting, since {}",
            counts.good,
            counts.bad,
            counts.running,
            counts.waiting,
            ago(row.created_at, now)
        ),
    };
    let mut answer = vec![format!("buildset {} of {} on {} {stands}", row.id, row.scheduler, clean(&row.branch))];
    let origin = Origin { scheduler: &row.scheduler, trigger: &row.trigger, changes: &detail.changes, upstream };
    answer.push(origin.made("it"));
    answer.extend(detail.verdicts.iter().take(CHANGES_NAMED).map(took));
    answer.push(format!("it was made from {}", from_stamps(&row.stamps)));
    let telling = |request: &&RequestRow| {
        request.state != RequestState::Settled || request.outcome.is_some_and(|outcome| !outcome.is_good())
    };
    let named: Vec<&RequestRow> = detail.requests.iter().filter(telling).collect();
    answer.extend(named.iter().take(REQUESTS_NAMED).map(|request| request_line(request, reasons.get(&request.id))));
    if named.len() > REQUESTS_NAMED {
        answer.push(format!("  … and {} more", named.len() - REQUESTS_NAMED));
    }
    answer.extend(detail.downstream.iter().map(|after| format!("{}: {}", after.scheduler, clean_lines(&after.result))));
    answer
}

/// Says why a change did not start a builder, scheduler by scheduler; or that it did.
pub fn not_built(builder: &BuilderName, detail: &ChangeDetail, built: &[BuildRow], catalog: &Catalog) -> Vec<String> {
    let name = change_words(detail);
    if let Some(build) = built.first() {
        let others = if built.len() > 1 { format!(", and {} more", built.len() - 1) } else { String::new() };
        return vec![format!(
            "{name} did start {builder}: build {} in buildset {} of {}{others}",
            build.id, build.buildset, build.scheduler
        )];
    }
    let mut answer = vec![format!("{name} did not start {builder}:")];
    let mut others = Vec::new();
    let mut would = Vec::new();
    for (scheduler_name, scheduler) in &catalog.schedulers {
        if !builds(scheduler, builder) {
            others.push(scheduler_name.as_str());
            continue;
        }
        let verdict = detail.verdicts.iter().find(|verdict| verdict.scheduler == *scheduler_name);
        answer.push(match verdict {
            Some(verdict) => verdict_line(verdict),
            None if scheduler.kind.judges_changes() => {
                format!("  {scheduler_name}: was not active when the change came   {}", scheduler.place)
            }
            None => format!("  {scheduler_name}: {}   {}", woken_by(scheduler), scheduler.place),
        });
        would.extend(would_start(scheduler_name, scheduler, verdict));
    }
    if !others.is_empty() {
        let verb = if others.len() == 1 { "does" } else { "do" };
        answer.push(format!("  {} {verb} not build {builder}", others.join(", ")));
    }
    answer.push(if would.is_empty() {
        format!("nothing in this configuration starts {builder}")
    } else {
        format!("would have started it: {}", would.join(", or "))
    });
    answer
}

/// Gives the concrete builders that a name means: the one of that name, or all of a matrix.
pub fn builders_meant<'a>(catalog: &'a Catalog, name: &'a BuilderName) -> impl Iterator<Item = &'a BuilderName> {
    catalog.builders.iter().filter(move |(concrete, _)| is_meant(concrete, name)).map(|(concrete, _)| concrete)
}

/// Offers builders whose names are like one that is not known.
pub fn similar_builders(catalog: &Catalog, name: &BuilderName) -> String {
    similar("builder", catalog.builders.keys().map(BuilderName::as_str), name.as_str())
}

/// Offers those of `known` that are most like a `name` that is not among them.
pub fn similar<'a>(noun: &str, known: impl Iterator<Item = &'a str>, name: &str) -> String {
    let mut names: Vec<(usize, &str)> = known.map(|known| (strsim::damerau_levenshtein(known, name), known)).collect();
    names.sort_unstable();
    let names: Vec<&str> = names.iter().take(SIMILAR_MAX).map(|(_, name)| *name).collect();
    if names.is_empty() {
        format!("no {noun} is configured")
    } else {
        format!("{noun}s there are: {}", names.join(", "))
    }
}

fn is_meant(concrete: &BuilderName, name: &BuilderName) -> bool {
    concrete == name || concrete.as_str().strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('['))
}

fn builds(scheduler: &Scheduler, builder: &BuilderName) -> bool {
    scheduler.graph.values().any(|node| is_meant(&node.builder, builder))
}

/// Says what wakes a scheduler that judges no changes.
fn woken_by(scheduler: &Scheduler) -> String {
    match &scheduler.kind {
        SchedulerKind::Branch { .. } | SchedulerKind::AnyBranch { .. } => {
            "was not active when the change came".to_owned()
        }
        SchedulerKind::Dependent { upstream, on } => {
            let names: Vec<&str> = upstream.iter().map(SchedulerName::as_str).collect();
            format!("is not started by changes, but when {} ended with {}", names.join(" and "), on.as_str())
        }
        SchedulerKind::Triggerable => "is not started by changes, but by a trigger step".to_owned(),
        SchedulerKind::Periodic { every, .. } => format!("is not started by changes, but every {}", say_span(*every)),
        SchedulerKind::Nightly { cron, timezone, .. } => {
            format!("is not started by changes, but by the clock ({cron}, {timezone})")
        }
        SchedulerKind::Force { .. } => "is not started by changes, but by a person".to_owned(),
    }
}

/// Says what would have made a scheduler start.
fn would_start(name: &SchedulerName, scheduler: &Scheduler, verdict: Option<&VerdictRow>) -> Option<String> {
    match &scheduler.kind {
        SchedulerKind::Branch { .. } | SchedulerKind::AnyBranch { .. } => {
            let mismatch = verdict?.reasons.iter().find_map(|reason| match reason {
                Reason::Mismatch { mismatch } => Some(mismatch),
                _ => None,
            })?;
            Some(format!("a change with {} {} ({name})", mismatch.field, mismatch.wanted.join(", ")))
        }
        SchedulerKind::Dependent { upstream, on } => {
            let names: Vec<&str> = upstream.iter().map(SchedulerName::as_str).collect();
            Some(format!("the end of {} with {} ({name})", names.join(" and "), on.as_str()))
        }
        SchedulerKind::Triggerable => Some(format!("a step that triggers {name}")),
        SchedulerKind::Periodic { .. } | SchedulerKind::Nightly { .. } => Some(format!("the next moment of {name}")),
        SchedulerKind::Force { .. } => Some(format!("gristmill force {name}")),
    }
}

fn stands(build: &BuildRow, now: Timestamp) -> String {
    let Some(outcome) = build.outcome else {
        let step = build.step.as_ref().map_or(String::new(), |step| {
            format!(" (step {} of {}: {})", step.number + 1, build.steps_total, clean(&step.name))
        });
        return match build.started_at {
            Some(since) => format!("is {}{step}, since {}", build.state.as_str(), ago(since, now)),
            None => format!("is given to its worker, since {}", ago(build.leased_at, now)),
        };
    };
    let cause = build.cause.map_or(String::new(), |cause| format!(" ({cause})"));
    let took = match (build.started_at, build.finished_at) {
        (Some(begin), Some(end)) => format!(" after {}", say_span(end.since(begin))),
        _ => String::new(),
    };
    let summary = build.summary.as_deref().filter(|summary| !summary.is_empty());
    format!("ended with {outcome}{cause}{took}{}", summary.map_or(String::new(), |text| format!(": {}", clean(text))))
}

fn attempt(id: gristmill_model::BuildId, outcome: Option<Outcome>) -> String {
    outcome.map_or_else(|| format!("build {id}"), |outcome| format!("build {id} ({outcome})"))
}

/// What a buildset was made by, and for.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its scheduler.
    pub scheduler: &'a SchedulerName,
    /// What set it off.
    pub trigger: &'a Trigger,
    /// The changes that it was made for, newest first.
    pub changes: &'a [ChangeRow],
    /// The buildsets whose end set it off, as far as they are kept.
    pub upstream: &'a [BuildsetRow],
}

impl Origin<'_> {
    fn made(self, what: &str) -> String {
        let Self { scheduler, trigger, changes, upstream } = self;
        let by = format!("{what} was made by scheduler {scheduler}");
        match trigger {
            Trigger::Changes { .. } => format!("{by} for {}", change_list(changes)),
            Trigger::Time { nominal, changes: since } if since.is_empty() => {
                format!("{by} at its moment {}", moment(*nominal))
            }
            Trigger::Time { nominal, .. } => {
                format!("{by} at its moment {}, after {}", moment(*nominal), change_list(changes))
            }
            Trigger::Upstream { buildsets } => {
                format!("{by} because {}", upstream_words(buildsets, upstream, scheduler))
            }
            Trigger::Step { build, step, wait } => {
                let waits = if *wait { ", which waits for it" } else { "" };
                format!("{by} because step {step} of build {build} asked for it{waits}")
            }
            Trigger::Person { by: person, reason } => {
                let reason = reason.as_deref().map_or(String::new(), |reason| format!(": \"{}\"", clean(reason)));
                format!("{by} because {} asked for it{reason}", clean(person))
            }
        }
    }
}

/// Says that buildsets ended as a dependent scheduler wants it. One that is no longer kept goes by its number.
fn upstream_words(buildsets: &[BuildsetId], upstream: &[BuildsetRow], scheduler: &SchedulerName) -> String {
    let ended: Vec<String> = buildsets
        .iter()
        .map(|id| match upstream.iter().find(|row| row.id == *id) {
            Some(row) => {
                let with = row.outcome.map_or(String::new(), |outcome| format!(" with {outcome}"));
                format!("buildset {id} of {} ended{with}", row.scheduler)
            }
            None => format!("buildset {id} ended"),
        })
        .collect();
    format!("{}, as {scheduler} wants", ended.join(" and "))
}

/// Names changes, newest first, with what a person knows them by.
fn change_list(changes: &[ChangeRow]) -> String {
    match changes {
        [] => "no change".to_owned(),
        [one] => one_change(one),
        many => {
            let named: Vec<String> = many.iter().take(CHANGES_NAMED).map(one_change).collect();
            let rest = many.len().saturating_sub(CHANGES_NAMED);
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            format!("{} changes: {}{more}", many.len(), named.join("; "))
        }
    }
}

fn one_change(change: &ChangeRow) -> String {
    let by = if change.author.is_empty() { String::new() } else { format!(" by {}", clean(&change.author)) };
    format!(
        "change {} ({} {} {} \"{}\"{by})",
        change.id,
        change.repository,
        clean(&change.branch),
        change.short(),
        clean(&change.title)
    )
}

fn change_words(detail: &ChangeDetail) -> String {
    let change = &detail.change;
    let revision = change.new.as_ref().map_or("gone", gristmill_model::Revision::short);
    format!("change {} ({} {} {revision})", change.id, change.repository, clean(change.reference.short()))
}

fn took(verdict: &VerdictRow) -> String {
    format!(
        "  {} took change {}: {}   {}",
        verdict.scheduler,
        verdict.change,
        reason_list(&verdict.reasons),
        verdict.place
    )
}

fn verdict_line(verdict: &VerdictRow) -> String {
    let what = match (verdict.buildset, verdict.verdict.as_str()) {
        (Some(buildset), _) => format!("built buildset {buildset}"),
        (None, word) => word.to_owned(),
    };
    format!("  {}: {what}: {}   {}", verdict.scheduler, reason_list(&verdict.reasons), verdict.place)
}

fn reason_list(reasons: &[Reason]) -> String {
    let texts: Vec<String> = reasons.iter().map(|reason| clean_lines(&reason.to_string())).collect();
    if texts.is_empty() { "no reason is recorded".to_owned() } else { texts.join("; ") }
}

fn request_line(request: &RequestRow, reasons: Option<&Vec<Reason>>) -> String {
    let builder = if request.builder.as_str() == request.node.as_str() {
        String::new()
    } else {
        format!(", {}", request.builder)
    };
    let name = format!("  {} (request {}{builder})", request.node, request.id);
    match (request.outcome, reasons) {
        (Some(outcome), _) => {
            let why = request.reason.as_deref().map_or(String::new(), |reason| format!(": {}", clean_lines(reason)));
            format!("{name} {}{why}", came_to(request, outcome))
        }
        (None, Some(reasons)) if !reasons.is_empty() => format!("{name} {}", reason_list(reasons)),
        (None, _) => format!("{name} is {}", request.state.as_str()),
    }
}

fn came_to(request: &RequestRow, outcome: Outcome) -> String {
    let cause = request.cause.map_or(String::new(), |cause| format!(" ({cause})"));
    match (request.build, request.attempts) {
        (None, _) if outcome == Outcome::Skipped => "was skipped".to_owned(),
        (None, _) => format!("ended with {outcome}{cause}, without a build of its own"),
        (Some(build), 1) => format!("ended with {outcome}{cause} in build {build}"),
        (Some(build), attempts) => format!("ended with {outcome}{cause} in build {build}, attempt {attempts}"),
    }
}

fn need_words(need: &crate::store::read::NeedRow) -> String {
    format!("{} ({})", need.node, need.state.as_str())
}

fn from_stamps(stamps: &BTreeMap<gristmill_model::CodebaseName, StampRow>) -> String {
    let stamps: Vec<String> = stamps
        .iter()
        .map(|(codebase, stamp)| {
            let change = stamp.change.map_or(String::new(), |change: ChangeId| format!(", change {change}"));
            format!("{codebase} {} ({}{change})", stamp.revision.short(), clean(&stamp.branch))
        })
        .collect();
    if stamps.is_empty() { "no sources".to_owned() } else { stamps.join(", ") }
}

/// Gives `2 h 10 m ago`, with the time of day beside it.
fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} UTC ({})", at.to_clock(), say_span(now.since(at)))
}

fn moment(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    format!("{} {} UTC", &text[..10], &text[11..16])
}

fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// Makes a stranger's words fit to stand in a sentence: one line, nothing that a terminal obeys, not too long.
fn clean(text: &str) -> String {
    let line = clean_lines(text);
    if line.chars().count() <= WORDS_LENGTH_MAX {
        return line;
    }
    let cut: String = line.chars().take(WORDS_LENGTH_MAX - 1).collect();
    format!("{}…", cut.trim_end())
}

/// Replaces what a terminal or a reader would obey: control characters, and marks that turn the direction of writing.
fn clean_lines(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c => c,
        })
        .collect()
}
