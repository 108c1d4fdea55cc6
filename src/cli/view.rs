//! What the service answers, as far as the commands show it. Fields that are missing count as empty, so that a client
//! understands an older or newer service; `--json` passes the answer on whole.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A list.
#[derive(Debug, Clone, Deserialize)]
pub struct List<T> {
    /// What is in it.
    pub items: Vec<T>,
}

/// `GET /status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The service's version.
    pub version: String,
    /// The hash of the configuration in force.
    pub catalog: String,
    /// The number of the last event.
    pub head: i64,
    /// How many there are of what.
    pub counts: Counts,
    /// What is broken.
    pub incidents: Vec<Incident>,
    /// Builds that run.
    pub running: Vec<Build>,
    /// Requests that wait.
    pub waiting: Vec<Request>,
    /// Repositories.
    pub sources: Vec<Source>,
    /// Workers.
    pub workers: Vec<Worker>,
    /// The mistakes of the configuration's file, if it was refused.
    pub catalog_problem: Option<CatalogProblem>,
    /// Notifiers whose messages wait after a failure.
    pub silent_notifiers: Vec<SilentNotifier>,
    /// What the service found wrong with its own data.
    pub findings: Vec<Finding>,
}

/// Something that the service found wrong with its own data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Which check found it.
    pub check: String,
    /// What it found.
    pub detail: String,
}

/// A configuration that was refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CatalogProblem {
    /// The mistakes, as `check` shows them.
    pub problems: String,
}

/// A notifier that reaches nobody.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SilentNotifier {
    /// Its name.
    pub notifier: String,
    /// How many messages wait.
    pub waiting: u32,
    /// What the last failure was.
    pub error: String,
}

/// How many there are of what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Open incidents.
    pub incidents: u64,
    /// Running builds.
    pub running: u64,
    /// Waiting requests.
    pub waiting: u64,
}

/// An incident.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// The branch.
    pub branch: String,
    /// The builders that are broken, with or without the build that showed each.
    pub builders: serde_json::Value,
    /// The build that showed it first.
    pub first_build: i64,
    /// When it was opened.
    pub opened_at: Option<String>,
}

impl Incident {
    /// Gives the builders' names, whichever way they are told.
    pub fn builder_names(&self) -> Vec<String> {
        match &self.builders {
            serde_json::Value::Object(map) => map.keys().cloned().collect(),
            serde_json::Value::Array(items) => items
                .iter()
                .filter_map(|item| item.as_str().or_else(|| item["builder"].as_str()).or_else(|| item["name"].as_str()))
                .map(ToOwned::to_owned)
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// A build.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Its number.
    pub id: i64,
    /// Its builder.
    pub builder: String,
    /// Its buildset.
    pub buildset: i64,
    /// Its scheduler.
    pub scheduler: String,
    /// Its branch.
    pub branch: String,
    /// Which attempt it is.
    pub attempt: u32,
    /// Its worker.
    pub worker: String,
    /// Where it stands.
    pub state: String,
    /// What it came to.
    pub outcome: Option<String>,
    /// Whose fault a bad end is.
    pub cause: Option<String>,
    /// One line on the end.
    pub summary: Option<String>,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// A step of a build.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Its number, from 0.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What it came to.
    pub outcome: Option<String>,
    /// One line on the end.
    pub summary: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Its log.
    pub log: Option<Log>,
}

/// A step's log, in numbers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Log {
    /// How long it is.
    pub bytes: u64,
    /// How many lines it has.
    pub lines: u64,
    /// Whether nothing more comes.
    pub complete: bool,
}

/// A line of a log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogLine {
    /// Its number, from 1.
    #[serde(alias = "line")]
    pub n: u64,
    /// What stands there.
    pub text: String,
}

/// `GET …/lines`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogLines {
    /// The lines.
    pub items: Vec<LogLine>,
}

/// A request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Its number.
    pub id: i64,
    /// Its node.
    pub node: String,
    /// Its builder.
    pub builder: String,
    /// Its buildset.
    pub buildset: i64,
    /// Where it stands.
    pub state: String,
    /// What it came to.
    pub outcome: Option<String>,
    /// Its newest build.
    pub build: Option<i64>,
    /// What it waits for.
    pub reasons: Vec<Reason>,
}

/// A reason.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// Its kind.
    pub code: String,
    /// The sentence.
    pub text: String,
}

/// A repository, and how it fares.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Which.
    pub repository: String,
    /// Whether it was seen, or when.
    pub seen: serde_json::Value,
    /// How often in a row it could not be read.
    pub failures: u32,
    /// Why.
    pub error: Option<String>,
}

/// A worker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub connected: bool,
    /// How many builds it runs at once.
    pub slots: u32,
    /// What it is and has.
    pub labels: BTreeMap<String, String>,
}

/// A buildset.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Buildset {
    /// Its number.
    pub id: i64,
    /// Its scheduler.
    pub scheduler: String,
    /// Its branch.
    pub branch: String,
    /// Where it stands.
    pub state: String,
    /// What it came to.
    pub outcome: Option<String>,
    /// Its requests.
    pub requests: Vec<Request>,
    /// What needs what.
    pub edges: Vec<Edge>,
}

/// "This request needs that one."
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Edge {
    /// The request that waits.
    pub request: i64,
    /// The request it needs.
    pub needs: i64,
    /// How that must end.
    pub on: String,
}

/// `GET /why`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Why {
    /// What was asked about.
    pub about: String,
    /// The answer, in sentences.
    pub answer: Vec<String>,
}

/// `POST …/force`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Forced {
    /// The buildset that was made.
    pub buildset: i64,
}
