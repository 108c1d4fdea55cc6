//! `gristmill status`: what is broken, what runs, what waits.

use gristmill_model::Timestamp;
use gristmill_model::time::say_span;
use serde_json::Value;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::narrate::count;
use super::run::Context;
use super::terminal::{Ink, Look, clip};
use super::view::{Build, Incident, Request, Source, Status, Worker};
use crate::clock::{Clock, SystemClock};

/// Lines of each kind that are shown; the rest is counted.
const ROWS_MAX: usize = 5;

/// Characters of a sentence that are shown.
const SENTENCE_WIDTH: usize = 100;

pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let client = context.client()?;
    let answer: Value = client.read(&["status"], &[]).await?;
    if context.global.json {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    let status = understood(&client, answer)?;
    context.result(render(context.look, &status, SystemClock.now()).trim_end())?;
    Ok(Exit::Done)
}

fn understood(client: &Client, answer: Value) -> Result<Status, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::broken(format!("{} tells its status in a form that is not known here: {error}", client.page("")))
            .hint("is it of another version?")
    })
}

fn render(look: Look, status: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    let heading = |title: &str| look.paint(Ink::Bold, &format!("{title:<9}"));
    let mut section = |title: &str, rows: Vec<String>, total: usize, none: &str| {
        let total = total.max(rows.len());
        if rows.is_empty() {
            text.push_str(&format!("{}{}\n", heading(title), look.paint(Ink::Dim, none)));
            return;
        }
        for (index, row) in rows.iter().take(ROWS_MAX).enumerate() {
            let title = if index == 0 { heading(title) } else { " ".repeat(9) };
            text.push_str(&format!("{title}{row}\n"));
        }
        if total > ROWS_MAX {
            text.push_str(&format!("{}… {} more\n", " ".repeat(9), total - ROWS_MAX.min(rows.len())));
        }
    };
    let counts = &status.counts;
    let of = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    section("broken", status.incidents.iter().map(|it| incident(look, it)).collect(), of(counts.incidents), "nothing");
    section("running", status.running.iter().map(|it| build(look, it, now)).collect(), of(counts.running), "nothing");
    section("waiting", status.waiting.iter().map(|it| request(look, it)).collect(), of(counts.waiting), "nothing");
    let failing: Vec<String> = status.sources.iter().filter_map(|it| source(look, it)).collect();
    let all_well = format!("{} seen", count(status.sources.len(), "repository").replace("repositorys", "repositories"));
    section("sources", failing, 0, &all_well);
    section("service", troubles(look, status), 0, "well");
    section("workers", workers(look, &status.workers), 0, "none has joined");
    text
}

fn incident(look: Look, incident: &Incident) -> String {
    let builders = clip(&incident.builder_names().join(", "), SENTENCE_WIDTH);
    let branch = clip(&incident.branch, 40);
    format!(
        "{} incident {}  {builders} on {branch} (build {})",
        look.sign("failure"),
        incident.id,
        incident.first_build
    )
}

fn build(look: Look, build: &Build, now: Timestamp) -> String {
    let since = build.started_at.as_deref().and_then(instant);
    let took = since.map_or(String::new(), |since| format!(" for {}", say_span(now.since(since))));
    let branch = if build.branch.is_empty() { String::new() } else { format!("  {}", clip(&build.branch, 40)) };
    format!(
        "{} build {}  {}{branch} on {}{took}",
        look.sign("running"),
        build.id,
        clip(&build.builder, 60),
        clip(&build.worker, 40)
    )
}

fn request(look: Look, request: &Request) -> String {
    let why = request.reasons.first().map_or("", |reason| reason.text.as_str());
    let why = if why.is_empty() { String::new() } else { format!(": {}", clip(why, SENTENCE_WIDTH)) };
    format!("{} request {}  {}{why}", look.sign("waiting"), request.id, clip(&request.builder, 60))
}

fn source(look: Look, source: &Source) -> Option<String> {
    if source.failures == 0 {
        return None;
    }
    let error = source.error.as_deref().unwrap_or("it cannot be read");
    Some(format!("{} {}  {}", look.sign("warnings"), clip(&source.repository, 40), clip(error, SENTENCE_WIDTH)))
}

/// What the service itself suffers from.
fn troubles(look: Look, status: &Status) -> Vec<String> {
    let sign = look.sign("warnings");
    let refused = status.catalog_problem.iter().map(|problem| {
        let first = problem.problems.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
        format!("{sign} the configuration's file has mistakes: {}", clip(first.trim(), SENTENCE_WIDTH))
    });
    let silent = status.silent_notifiers.iter().map(|silent| {
        let messages = if silent.waiting == 1 { "message waits" } else { "messages wait" };
        let (name, error) = (clip(&silent.notifier, 40), clip(&silent.error, SENTENCE_WIDTH));
        format!("{sign} {} {messages} for {name}: {error}", silent.waiting)
    });
    let found = status.findings.iter().map(|finding| {
        let (check, detail) = (clip(&finding.check, 40), clip(&finding.detail, SENTENCE_WIDTH));
        format!("{sign} doctor: {check}: {detail}")
    });
    refused.chain(silent).chain(found).collect()
}

fn workers(look: Look, workers: &[Worker]) -> Vec<String> {
    workers
        .iter()
        .map(|worker| {
            let sign = look.sign(if worker.connected { "success" } else { "warnings" });
            let away = if worker.connected { "" } else { ", away" };
            format!("{sign} {}  {}{away}", clip(&worker.name, 40), count(worker.slots as usize, "slot"))
        })
        .collect()
}

/// Reads a time as the API writes it.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_is_broken_stands_first() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "version": "0.1.0", "catalog": "7c1e9a", "head": 40,
            "counts": {"incidents": 1, "running": 1, "waiting": 7},
            "incidents": [{"id": 3, "branch": "main", "builders": {"app-test": 12}, "first_build": 12}],
            "running": [{"id": 14, "builder": "docs", "branch": "main", "worker": "local", "started_at": "2026-11-24T14:02:11Z"}],
            "waiting": [
                {"id": 9, "builder": "train", "reasons": [{"code": "no-worker-can", "text": "no worker can ever run this: needs gpu=yes"}]},
                {"id": 10, "builder": "a\u{1b}[2Jb"}, {"id": 11, "builder": "c"}, {"id": 12, "builder": "c"}, {"id": 13, "builder": "c"},
            ],
            "sources": [{"repository": "app", "seen": true, "failures": 0}, {"repository": "lib", "failures": 2, "error": "no such host"}],
            "workers": [{"name": "local", "connected": true, "slots": 2}],
            "findings": [{"check": "buildset-remaining", "detail": "buildset 3 counts 2 open requests and has 1"}],
        }))
        .unwrap();
        let now = instant("2026-11-24T14:02:30Z").unwrap();
        expect![[r#"
            broken   ✕ incident 3  app-test on main (build 12)
            running  ◔ build 14  docs  main on local for 19 s
            waiting  ⧗ request 9  train: no worker can ever run this: needs gpu=yes
                     ⧗ request 10  ab
                     ⧗ request 11  c
                     ⧗ request 12  c
                     ⧗ request 13  c
                     … 2 more
            sources  ! lib  no such host
            service  ! doctor: buildset-remaining: buildset 3 counts 2 open requests and has 1
            workers  ✓ local  2 slots
        "#]]
        .assert_eq(&render(Look::PLAIN, &status, now));
    }

    #[test]
    fn an_idle_service_says_so() {
        expect![[r#"
            broken   nothing
            running  nothing
            waiting  nothing
            sources  0 repositories seen
            service  well
            workers  none has joined
        "#]]
        .assert_eq(&render(Look::PLAIN, &Status::default(), Timestamp(0)));
    }
}
