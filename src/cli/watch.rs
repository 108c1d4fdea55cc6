//! `gristmill watch`: a buildset, a build, or everything that matches, as it happens.
//!
//! Events come by SSE. A connection that ends is made again from the last number that was seen, so nothing is missed
//! and nothing is told twice.

pub(crate) mod sse;

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::{BuildId, BuildsetId, Event, EventBody, Outcome, RequestId, Seq, Timestamp};
use serde_json::Value;

use super::args::WatchArgs;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::narrate::{Detail, Narrator, Subject};
use super::run::Context;
use super::status::instant;
use super::terminal::{Ink, Look, clean, clip, complain, sign_of};
use super::thing::{Noun, Thing};
use super::view::{Build, Buildset, Status};

/// The first wait after a lost connection; it doubles up to [`RECONNECT_WAIT_MAX`].
const RECONNECT_WAIT: Duration = Duration::from_millis(250);

/// The longest wait between two attempts to connect.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Attempts to connect in a row before the service counts as gone.
const RECONNECTS_MAX: u32 = 12;

/// The kind of event that says: the journal no longer has what comes after the last number seen.
const RESET: &str = "reset";

pub(crate) async fn run(context: &Context, args: &WatchArgs) -> Result<Exit, Failure> {
    let client = context.client()?;
    let wanted = Wanted::read(&args.what)?;
    let work = Watcher::start(context, client, wanted, args.exit_status).await?.follow();
    tokio::select! {
        exit = work => exit,
        _ = tokio::signal::ctrl_c() => {
            if !context.global.quiet {
                complain("  detached; the builds go on. To end one: gristmill cancel build ID");
            }
            Ok(Exit::Detached)
        }
    }
}

/// What is watched.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Buildset(BuildsetId),
    Build(BuildId),
    /// Everything in which each named field matches its pattern.
    Matching(BTreeMap<Field, String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Builder,
    Branch,
    Scheduler,
    Repository,
}

impl Field {
    const ALL: [Self; 4] = [Self::Builder, Self::Branch, Self::Scheduler, Self::Repository];

    fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Branch => "branch",
            Self::Scheduler => "scheduler",
            Self::Repository => "repository",
        }
    }

    fn of(self, subject: &Subject) -> Option<&str> {
        match self {
            Self::Builder => subject.builder.as_ref().map(|name| name.as_str()),
            Self::Branch => subject.branch.as_deref(),
            Self::Scheduler => subject.scheduler.as_ref().map(|name| name.as_str()),
            Self::Repository => subject.repository.as_deref(),
        }
    }
}

impl Wanted {
    fn read(words: &[String]) -> Result<Self, Failure> {
        if words.iter().any(|word| word.contains('=')) || words.is_empty() {
            return Self::read_filters(words);
        }
        let Thing { noun, id } = Thing::read(words, Noun::Buildset)?;
        let number = id.parse();
        match (noun, number) {
            (Noun::Buildset, Ok(id)) => Ok(Self::Buildset(BuildsetId(id))),
            (Noun::Build, Ok(id)) => Ok(Self::Build(BuildId(id))),
            _ => Err(Failure::new(Exit::Usage, format!("a {} cannot be watched", noun.as_str()))
                .hint("watch a buildset or a build; `gristmill why` names them")),
        }
    }

    fn read_filters(words: &[String]) -> Result<Self, Failure> {
        let mut filters = BTreeMap::new();
        for word in words {
            let known = word.split_once('=').and_then(|(name, pattern)| {
                Some((Field::ALL.into_iter().find(|field| field.as_str() == name)?, pattern))
            });
            let Some((field, pattern)) = known else {
                let names: Vec<&str> = Field::ALL.into_iter().map(Field::as_str).collect();
                return Err(Failure::new(Exit::Usage, format!("`{}` is no filter", clean(word)))
                    .hint(format!("write NAME=PATTERN with one of {}; `*` stands for anything", names.join(", "))));
            };
            filters.insert(field, pattern.to_owned());
        }
        Ok(Self::Matching(filters))
    }

    fn takes(&self, subject: &Subject) -> bool {
        match self {
            Self::Buildset(id) => subject.buildset == Some(*id),
            Self::Build(id) => subject.build == Some(*id),
            Self::Matching(filters) => filters.iter().all(|(field, pattern)| {
                field.of(subject).is_some_and(|value| wildcard(pattern.as_bytes(), value.as_bytes()))
            }),
        }
    }

    /// Gives the outcome if the event ends what is watched.
    fn ended_by(&self, body: &EventBody) -> Option<Outcome> {
        match (self, body) {
            (Self::Buildset(id), EventBody::BuildsetCompleted { buildset, outcome }) if buildset == id => {
                Some(*outcome)
            }
            (Self::Build(id), EventBody::BuildFinished { build, outcome, .. }) if build == id => Some(*outcome),
            _ => None,
        }
    }
}

/// Says whether `text` matches `pattern`, in which `*` stands for anything. Linear in both but for the stars.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, taken)) = retry else { return false };
                retry = Some((star, taken + 1));
                p = star + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

struct Watcher<'a> {
    context: &'a Context,
    client: Client,
    wanted: Wanted,
    exit_status: bool,
    narrator: Narrator,
    /// The last event seen.
    seen: i64,
    /// The outcome, if what is watched had ended before.
    already: Option<Outcome>,
}

impl<'a> Watcher<'a> {
    /// Learns what is there, so that the first event is understood. The journal's number is taken before: what happens
    /// in between is told again, never missed.
    async fn start(context: &'a Context, client: Client, wanted: Wanted, exit_status: bool) -> Result<Self, Failure> {
        let detail = if context.global.verbose > 0 { Detail::More } else { Detail::Usual };
        let narrator = Narrator::new(context.look, detail);
        let mut watcher = Self { context, client, wanted, exit_status, narrator, seen: 0, already: None };
        watcher.learn().await?;
        Ok(watcher)
    }

    /// Reads where everything stands: at the beginning, and when the journal no longer tells how it came to that.
    async fn learn(&mut self) -> Result<(), Failure> {
        let status: Status = self.client.read(&["status"], &[]).await?;
        self.seen = status.head;
        for build in &status.running {
            self.learn_build(build);
        }
        match self.wanted {
            Wanted::Buildset(id) => self.learn_buildset(id.0).await,
            Wanted::Build(id) => self.learn_wanted_build(id).await,
            Wanted::Matching(_) => Ok(()),
        }
    }

    async fn learn_wanted_build(&mut self, id: BuildId) -> Result<(), Failure> {
        let answer: Value = self.client.read(&["builds", &id.to_string()], &[]).await?;
        let build: Build = serde_json::from_value(answer.clone()).map_err(Failure::broken)?;
        self.learn_build(&build);
        self.context.say(&stands(self.context.look, &build))?;
        self.already = build.outcome.as_deref().and_then(Outcome::parse);
        self.tell_end(&answer)
    }

    /// Prints what had ended before anything could be seen of it: for a program it is the only thing that comes.
    fn tell_end(&self, answer: &Value) -> Result<(), Failure> {
        match self.already {
            Some(_) if self.context.global.json => self.context.json_line(answer),
            _ => Ok(()),
        }
    }

    async fn learn_buildset(&mut self, id: i64) -> Result<(), Failure> {
        let answer: Value = self.client.read(&["buildsets", &id.to_string()], &[]).await?;
        let buildset: Buildset = serde_json::from_value(answer.clone()).map_err(Failure::broken)?;
        let id = BuildsetId(id);
        self.narrator.know_buildset(id, buildset.scheduler.as_str().into(), buildset.branch.clone());
        for request in &buildset.requests {
            let builder = request.builder.as_str();
            self.narrator.know_request(RequestId(request.id), builder.into(), id);
            if let (Some(build), "leased") = (request.build, request.state.as_str()) {
                let build: Build = self.client.read(&["builds", &build.to_string()], &[]).await?;
                self.learn_build(&build);
            }
        }
        self.context.say(super::graph::render_buildset(self.context.look, &buildset).trim_end())?;
        self.already = buildset.outcome.as_deref().and_then(Outcome::parse);
        self.tell_end(&answer)
    }

    fn learn_build(&mut self, build: &Build) {
        let since = build.started_at.as_deref().and_then(instant).unwrap_or(Timestamp(0));
        let buildset = BuildsetId(build.buildset);
        self.narrator.know_build(BuildId(build.id), build.builder.as_str().into(), buildset, since);
        if !build.scheduler.is_empty() {
            self.narrator.know_buildset(buildset, build.scheduler.as_str().into(), build.branch.clone());
        }
    }

    async fn follow(mut self) -> Result<Exit, Failure> {
        if let Some(outcome) = self.already {
            return self.ended(outcome);
        }
        let mut failures = 0;
        loop {
            let before = self.seen;
            match self.listen().await {
                Ok(Some(outcome)) => return self.ended(outcome),
                Ok(None) => {}
                Err(failure) if failure.exit != Exit::NotReached || failures >= RECONNECTS_MAX => return Err(failure),
                Err(_) => {}
            }
            failures = if self.seen > before { 0 } else { failures + 1 };
            if failures > RECONNECTS_MAX {
                return Err(Failure::new(Exit::NotReached, "the service does not keep the connection")
                    .hint("is a proxy between here and there that ends long answers?"));
            }
            self.hint("  the connection ended; connecting again");
            tokio::time::sleep(RECONNECT_WAIT_MAX.min(RECONNECT_WAIT * 2_u32.saturating_pow(failures))).await;
        }
    }

    /// Tells events until what is watched ends (then its outcome is given) or the connection does.
    async fn listen(&mut self) -> Result<Option<Outcome>, Failure> {
        let mut response = self.client.stream(&["events", "stream"], &[], Some(self.seen)).await?;
        let mut reader = sse::Reader::default();
        loop {
            let Ok(Some(piece)) = response.chunk().await else { return Ok(None) };
            for record in reader.push(&piece).map_err(Failure::broken)? {
                if record.event == RESET {
                    // Ended meanwhile, or not: what happened in between is no longer told, so it is read.
                    self.learn().await?;
                    if self.already.is_some() {
                        return Ok(self.already);
                    }
                    continue;
                }
                let Some(value) = record.json() else { continue };
                let Some(event) = event_of(&value) else { continue };
                if event.seq.0 <= self.seen {
                    continue;
                }
                self.seen = event.seq.0;
                let subject = self.narrator.subject(&event.body);
                let lines = self.narrator.tell(&event);
                if self.wanted.takes(&subject) {
                    if self.context.global.json {
                        self.context.result(&value.to_string())?;
                    } else {
                        lines.iter().try_for_each(|line| self.context.result(line))?;
                    }
                }
                if let Some(outcome) = self.wanted.ended_by(&event.body) {
                    return Ok(Some(outcome));
                }
            }
        }
    }

    fn ended(&self, outcome: Outcome) -> Result<Exit, Failure> {
        let exit = Exit::of_outcome(outcome);
        if exit != Exit::Done {
            match self.wanted {
                Wanted::Buildset(id) => self.context.say(&format!("  more  gristmill why buildset {id}"))?,
                Wanted::Build(id) => self.context.say(&format!("  more  gristmill logs {id} --errors"))?,
                Wanted::Matching(_) => {}
            }
        }
        Ok(if self.exit_status { exit } else { Exit::Done })
    }

    fn hint(&self, text: &str) {
        if self.context.global.verbose > 0 {
            complain(&self.context.look.paint(Ink::Dim, text));
        }
    }
}

/// Says on one line where a build stands.
fn stands(look: Look, build: &Build) -> String {
    let sign = sign_of(look, build.outcome.as_deref(), &build.state);
    let (builder, branch) = (clip(&build.builder, 60), clip(&build.branch, 60));
    let stands = clean(build.outcome.as_deref().unwrap_or(&build.state));
    let summary = build.summary.as_deref().filter(|summary| !summary.is_empty());
    let summary = summary.map_or(String::new(), |summary| format!(": {}", clip(summary, 100)));
    format!("{sign} build {}  {builder} on {branch}  {stands}{summary}", build.id)
}

/// Reads an event as the API writes it. A kind that this version does not know is passed over.
fn event_of(value: &Value) -> Option<Event> {
    let seq = value.get("seq").or_else(|| value.get("id"))?.as_i64()?;
    let at = match value.get("at")? {
        Value::Number(micros) => Timestamp(micros.as_i64()?),
        text => instant(text.as_str()?)?,
    };
    let body = value.get("body").unwrap_or(value);
    Some(Event { seq: Seq(seq), at, body: serde_json::from_value(body.clone()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &str) -> Result<Wanted, Failure> {
        Wanted::read(&words.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_watched_is_a_thing_or_a_filter() {
        assert_eq!(wanted("88").unwrap(), Wanted::Buildset(BuildsetId(88)));
        assert_eq!(wanted("build 12").unwrap(), Wanted::Build(BuildId(12)));
        assert_eq!(wanted("").unwrap(), Wanted::Matching(BTreeMap::new()));
        assert_eq!(wanted("change 5").unwrap_err().exit, Exit::Usage);
        assert_eq!(wanted("color=red").unwrap_err().exit, Exit::Usage);
        let filter = wanted("branch=release/* builder=app-*").unwrap();
        let subject = |branch: &str, builder: &str| Subject {
            branch: Some(branch.to_owned()),
            builder: Some(builder.into()),
            ..Subject::default()
        };
        assert!(filter.takes(&subject("release/1.0", "app-test")));
        assert!(!filter.takes(&subject("main", "app-test")));
        assert!(!filter.takes(&Subject::default()));
    }

    #[test]
    fn a_build_that_has_ended_says_what_it_came_to() {
        let build: Build = serde_json::from_value(serde_json::json!({
            "id": 4, "builder": "check", "branch": "main", "state": "finished", "outcome": "failure",
            "summary": "step test: exit code 2",
        }))
        .unwrap();
        expect_test::expect!["✕ build 4  check on main  failure: step test: exit code 2"]
            .assert_eq(&stands(Look::PLAIN, &build));
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("*a*b", "xxaxxaxb", true),
            ("a", "ab", false),
            ("a**", "a", true),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} on {text}");
        }
    }

    #[test]
    fn events_are_read_nested_or_flat_and_unknown_kinds_passed_over() {
        let nested = serde_json::json!({"seq": 7, "at": 5, "body": {"kind": "build.started", "build": 3}});
        let flat =
            serde_json::json!({"seq": 7, "at": "1970-01-01T00:00:00.000005Z", "kind": "build.started", "build": 3});
        assert_eq!(event_of(&nested), event_of(&flat));
        assert!(event_of(&nested).is_some());
        assert!(event_of(&serde_json::json!({"seq": 7, "at": 5, "kind": "moon.rose"})).is_none());
    }
}
