//! The catalog: the validated configuration, under the hash of its text.
//!
//! Everything in it is resolved: matrices are expanded, names point to things that exist, graphs have no cycle. What
//! reads a catalog never needs to check it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::matching::{Matcher, Patterns};
use crate::{
    BuilderName, Care, CatalogHash, Digest, Graph, NotifierName, PoolName, ProjectName, Provider, Recipe,
    RepositoryName, SchedulerName, SecretName,
};

/// A validated configuration.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// SHA-256 of the text it was read from.
    pub hash: CatalogHash,
    /// Repositories by name.
    pub repositories: BTreeMap<RepositoryName, Repository>,
    /// Projects by name.
    pub projects: BTreeMap<ProjectName, Project>,
    /// Concrete builders by name, matrix rows expanded.
    pub builders: BTreeMap<BuilderName, Builder>,
    /// Schedulers by name.
    pub schedulers: BTreeMap<SchedulerName, Scheduler>,
    /// Notifiers by name.
    pub notifiers: BTreeMap<NotifierName, NotifierKind>,
    /// Routes, in the order written.
    pub routes: Vec<Route>,
    /// Where secrets are found; never their values.
    pub secrets: BTreeMap<SecretName, SecretSource>,
    /// Which builds may have which secret; those that are not here, none may.
    pub secret_scopes: BTreeMap<SecretName, SecretScope>,
    /// Where workers come from that exist only while they are needed; each is a pool of its name.
    pub providers: BTreeMap<PoolName, Provider>,
    /// How workers are cared for; the first that names a worker counts.
    pub care: Vec<Care>,
    /// What concerns the service itself.
    pub settings: Settings,
}

impl Catalog {
    /// Gives the projects that a repository belongs to.
    pub fn projects_of(&self, repository: &RepositoryName) -> Vec<ProjectName> {
        self.projects
            .iter()
            .filter(|(_, project)| project.repositories.contains(repository))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// Where something stands in the configuration, for messages: `gristmill.yaml:41`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it was given.
    pub file: String,
    /// The line, from 1; 0 if unknown.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A repository to watch.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Where it is: `https://`, `ssh://`, `git@host:path`, `git://`, `file://`, or a path.
    pub url: String,
    /// The branches that are looked at; `None` for all.
    pub branches: Option<Patterns>,
    /// Whether tags are looked at.
    pub tags: bool,
    /// The branch that stands for the repository; `main` unless configured.
    pub default_branch: String,
    /// The time between two sweeps.
    pub poll: Duration,
    /// The webhook that may announce movements.
    pub webhook: Option<Webhook>,
    /// How to log in.
    pub credentials: Option<Credentials>,
    /// Whether the refs found at the first look are built, or only recorded.
    pub build_first_sight: bool,
    /// Where it is configured.
    pub place: Place,
}

/// How a repository's webhook is read and trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The sender's dialect.
    pub forge: Forge,
    /// The shared secret that signs deliveries.
    pub secret: SecretName,
}

/// A webhook dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forge {
    /// GitHub's `push` events, signed by `X-Hub-Signature-256`.
    Github,
    /// Our own documented signed JSON.
    Generic,
}

/// How to log in to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password or token, for https.
    Password {
        /// The user name.
        username: String,
        /// The secret that holds the password.
        password: SecretName,
    },
    /// A private key, for ssh.
    SshKey {
        /// The secret that holds the key.
        key: SecretName,
    },
}

/// A named set of repositories with the builders and schedulers that belong to it.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its repositories.
    pub repositories: BTreeSet<RepositoryName>,
    /// What people call it, if not its name.
    pub title: Option<String>,
    /// Mail addresses of its owners.
    pub owners: Vec<String>,
}

/// A concrete builder.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The name as written, before a matrix was expanded.
    pub family: String,
    /// The project it belongs to.
    pub project: Option<ProjectName>,
    /// What it does.
    pub recipe: Recipe,
    /// The recipe's digest.
    pub digest: Digest,
    /// Where it is configured.
    pub place: Place,
}

/// A scheduler: a rule that turns what happens into buildsets.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// What wakes it.
    pub kind: SchedulerKind,
    /// Which changes concern it.
    pub when: Matcher,
    /// What it builds.
    pub graph: Graph,
    /// The project it belongs to, if all its builders do.
    pub project: Option<ProjectName>,
    /// Requests with a higher one go first. Default 0.
    pub priority: i32,
    /// Where it is configured.
    pub place: Place,
}

/// What wakes a scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum SchedulerKind {
    /// Each change that matches, after a quiet period per branch. The match names the branches.
    Branch {
        /// The quiet period.
        quiet: Option<Quiet>,
    },
    /// Each change of any branch that matches, after a quiet period per branch.
    AnyBranch {
        /// The quiet period.
        quiet: Option<Quiet>,
    },
    /// The end of other schedulers' buildsets, with the revisions they were made from.
    Dependent {
        /// The schedulers whose buildsets it waits for.
        upstream: Vec<SchedulerName>,
        /// How they must have ended.
        on: crate::Condition,
    },
    /// A trigger step.
    Triggerable,
    /// The passing of time.
    Periodic {
        /// From one firing to the next.
        every: Duration,
        /// What is built.
        target: Target,
    },
    /// The clock on the wall.
    Nightly {
        /// Five or six fields, or `@daily` and its like.
        cron: String,
        /// An IANA time zone.
        timezone: String,
        /// What is built.
        target: Target,
    },
    /// A person or program that asks.
    Force {
        /// What may be said, by name.
        parameters: BTreeMap<String, Parameter>,
    },
}

impl SchedulerKind {
    /// Gives the word used in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Branch { .. } => "branch",
            Self::AnyBranch { .. } => "any-branch",
            Self::Dependent { .. } => "dependent",
            Self::Triggerable => "triggerable",
            Self::Periodic { .. } => "periodic",
            Self::Nightly { .. } => "nightly",
            Self::Force { .. } => "force",
        }
    }

    /// Says whether changes wake it, so that each change gets a verdict from it.
    pub fn judges_changes(&self) -> bool {
        matches!(self, Self::Branch { .. } | Self::AnyBranch { .. })
    }
}

/// How long a branch must be quiet before it is built: S20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// Since the last change.
    pub span: Duration,
    /// Since the first change that waits, at the latest.
    pub at_most: Duration,
}

/// What a scheduler that no change wakes builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The repository whose branch is meant.
    pub repository: RepositoryName,
    /// The branch.
    pub branch: String,
    /// Whether nothing is built unless a change that matches came since the last time.
    pub only_if_changed: bool,
}

/// One thing that may be said when starting a force scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// What values it takes.
    pub kind: ParameterKind,
    /// The value if none is said.
    pub default: Option<String>,
    /// Whether a value must be said.
    pub required: bool,
    /// What it is for.
    pub label: Option<String>,
}

/// What values a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterKind {
    /// Text, at most [`Parameter::TEXT_BYTES_MAX`] bytes.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of these.
    Choice(Vec<String>),
}

impl Parameter {
    /// Bytes that a text parameter may have.
    pub const TEXT_BYTES_MAX: usize = 4096;
}

/// How a notifier reaches people.
#[derive(Debug, Clone)]
pub enum NotifierKind {
    /// By mail.
    Mail(MailConfig),
    /// On IRC.
    Irc(IrcConfig),
}

impl NotifierKind {
    /// Gives the word used in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Mail(_) => "mail",
            Self::Irc(_) => "irc",
        }
    }
}

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// `smtp://` (STARTTLS when offered; required when a password is sent), `smtps://`.
    pub smtp: String,
    /// The user name to log in with.
    pub username: Option<String>,
    /// The secret that holds the password.
    pub password: Option<SecretName>,
    /// The sender, as `Name <address>`.
    pub from: String,
}

/// How to be on IRC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IrcConfig {
    /// `host:port`.
    pub server: String,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The nick; `_` is appended while it is taken.
    pub nick: String,
    /// The channels that are joined.
    pub channels: Vec<String>,
    /// The account for SASL PLAIN.
    pub sasl_user: Option<String>,
    /// The secret that holds the SASL password.
    pub sasl_password: Option<SecretName>,
}

/// Which happenings are told, to whom.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which happenings. Without a `transition` or an `event`: broke and fixed.
    pub when: Matcher,
    /// Who is told.
    pub to: Vec<RouteTarget>,
    /// A template of one's own for the subject or line.
    pub subject: Option<String>,
    /// A template of one's own for the text.
    pub body: Option<String>,
    /// Where it is configured.
    pub place: Place,
}

/// A notifier and the people it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTarget {
    /// Which notifier.
    pub notifier: NotifierName,
    /// Who; for IRC empty means all its channels.
    pub recipients: Vec<Recipient>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipient {
    /// The authors since the last good build of that builder on that branch.
    Culprits,
    /// The owners of the project.
    Owners,
    /// A mail address or a channel.
    Address(String),
}

/// Which builds may have a secret.
#[derive(Debug, Clone, Default)]
pub struct SecretScope {
    /// Those of these projects; `None` for all.
    pub projects: Option<Vec<ProjectName>>,
    /// Those for branches that these patterns accept; `None` for all.
    pub branches: Option<Patterns>,
}

impl SecretScope {
    /// Says whether a build may have the secret.
    ///
    /// # Errors
    /// What keeps it from having it.
    pub fn admits(&self, project: Option<&ProjectName>, branch: &str) -> Result<(), String> {
        match (&self.projects, project) {
            (Some(projects), Some(project)) if !projects.contains(project) => {
                return Err(format!("builds of project {project} may not have it"));
            }
            (Some(_), None) => return Err("builds of no project may not have it".to_owned()),
            _ => {}
        }
        match &self.branches {
            Some(branches) if !branches.accepts(branch) => Err(format!("builds for `{branch}` may not have it")),
            _ => Ok(()),
        }
    }
}

/// Namespaces of refs that anybody who can propose a change can write to.
const PROPOSALS: [&str; 5] =
    ["refs/pull/", "refs/pull-requests/", "refs/merge-requests/", "refs/changes/", "refs/for/"];

/// Says whether what is built was accepted into a repository by somebody who may. What is only proposed (a pull request, a
/// merge request) may hold any command, and must not be given secrets.
pub fn is_trusted(buildset: &crate::Buildset) -> bool {
    let is_proposal = |branch: &str| PROPOSALS.iter().any(|prefix| branch.starts_with(prefix));
    !is_proposal(&buildset.branch) && !buildset.stamps.values().any(|stamp| is_proposal(&stamp.branch))
}

/// Where a secret's value is found when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the service.
    Env(String),
    /// A file; one trailing newline is dropped.
    File(String),
}

/// What concerns the service itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The address that people reach the pages by, for links in messages; without a trailing slash.
    pub url: Option<String>,
    /// The address that is listened on.
    pub listen: Option<String>,
    /// How many builds the local worker runs at once; `None` for the number of cores.
    pub local_slots: Option<u32>,
    /// Labels of the local worker besides those found out.
    pub local_labels: BTreeMap<String, String>,
    /// The secret whose value must be sent by whoever changes anything when the service listens beyond loopback.
    pub token: Option<SecretName>,
    /// The time between two looks of the service at its own data; `None` for an hour.
    pub doctor: Option<Duration>,
    /// How long what is over is kept.
    pub retention: Retention,
}

/// How long what is over is kept. What is open, and what it refers to, is kept in any case.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Completed buildsets with their requests, builds and steps; closed incidents; configurations.
    pub builds: Duration,
    /// The logs of finished builds.
    pub logs: Duration,
    /// Changes and their verdicts.
    pub changes: Duration,
    /// The bodies of webhook requests that were read.
    pub deliveries: Duration,
    /// Messages that were delivered or given up.
    pub messages: Duration,
    /// The journal.
    pub events: Duration,
    /// Mirrors of repositories and workspaces of builders that are not in the configuration any more.
    pub leftovers: Duration,
    /// The last builds of each builder on each branch that still exists, which are kept however old they are.
    pub last: u32,
    /// Builds that are kept for ever.
    pub keep: Vec<Matcher>,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            builds: days(90),
            logs: days(30),
            changes: days(180),
            deliveries: days(7),
            messages: days(30),
            events: days(30),
            leftovers: days(30),
            last: 10,
            keep: Vec::new(),
        }
    }
}
