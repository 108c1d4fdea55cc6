//! The language, as it is written. What it means is said in `resolve`.
//!
//! This is the one description of the keys: the reader and the JSON Schema are both made of it.

use gristmill_model::{Condition, Forge, NeedMode};

use super::scalar::{Scalar, Text, Time};
use super::shape::{Entries, Named, OneOrMany, Word, either, kinds, shape, words};
use super::span::Located;

pub(super) use super::raw_steps::*;

words!(Forge as "a kind of forge" { "github" => Self::Github, "generic" => Self::Generic });
words!(FirstSight as "a choice for `first-sight`" { "record" => Self::Record, "build" => Self::Build });
words!(Condition as "a condition" {
    "success" => Self::Success, "failure" => Self::Failure, "finished" => Self::Finished,
});
words!(NeedMode as "a mode of needing" { "all" => Self::All, "any" => Self::Any });
words!(ParameterType as "a type of parameter" {
    "string" => Self::String, "integer" => Self::Integer, "boolean" => Self::Boolean, "choice" => Self::Choice,
});

/// What becomes of the refs that are seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstSight {
    Record,
    Build,
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterType {
    String,
    Integer,
    Boolean,
    Choice,
}

shape! {
    /// A whole configuration. Keys that start with `x-` are left alone: a place for anchors.
    #[schemars(title = "Gristmill configuration", extend("patternProperties" = {"^x-": true}))]
    RawFile as "the configuration" {
        /// What concerns the service itself.
        may "gristmill" => settings: RawSettings,
        /// Repositories to watch, by name.
        must "repositories" => repositories: Named<RawRepository>,
        /// Where passwords, tokens and keys are found, by name.
        may "secrets" => secrets: Named<RawSecret>,
        /// Sets of repositories with the builders that belong to them, by name.
        may "projects" => projects: Named<RawProject>,
        /// Recipes: which steps, for which sources, by name.
        must "builders" => builders: Named<RawBuilder>,
        /// Rules that turn what happens into builds, by name.
        may "schedulers" => schedulers: Named<RawScheduler>,
        /// How workers are cared for, by name or glob; the first that names a worker counts.
        may "workers" => workers: Entries<RawCare>,
        /// Ways to tell people, by name.
        may "notifiers" => notifiers: Named<RawNotifier>,
        /// Which happenings are told, to whom.
        may "routes" => routes: Vec<RawRoute>,
        /// Where workers come from that exist only while they are needed, by the name of their pool.
        may "providers" => providers: Named<RawProvider>,
    }
}

shape! {
    /// Workers that are started when builds wait for them, and stopped when they are idle. With neither `exec` nor `image`
    /// they are processes on the service's own machine.
    RawProvider as "a provider" {
        /// Program and arguments that start, list and stop workers: asked in JSON, and answering in it.
        may "exec" => exec: OneOrMany<Text>,
        /// The image of a container, whose entry point is `gristmill-worker`.
        may "image" => image: Text,
        /// The program that runs containers, `docker` or `podman`. Default: `docker`.
        may "engine" => engine: Text,
        /// The labels of the workers, by which builds find them before there is any.
        may "labels" => labels: Entries<Scalar>,
        /// How many builds each runs at once. Default: 1.
        may "slots" => slots: Located<i64>,
        /// How many stay even when nothing waits. Default: 0.
        may "min" => min: Located<i64>,
        /// How many there are at most.
        must "max" => max: Located<i64>,
        /// How long one may be idle before it is stopped. Default: 10m.
        may "idle" => idle: Located<Time>,
        /// How long one may take until it joins. Default: 5m.
        may "start-timeout" => start: Located<Time>,
        /// Worker hours that may be spent within 24 hours. Default: no limit.
        may "hours-per-day" => hours: Located<i64>,
    }
}

shape! {
    /// What concerns the service itself.
    RawSettings as "the service's settings" {
        /// The address by which people reach the pages, for links in messages.
        may "url" => url: Text,
        /// The address to listen on, `host:port`. Default 127.0.0.1:8020.
        may "listen" => listen: Text,
        /// How many builds the built-in worker runs at once. Default: the number of cores.
        may "slots" => slots: Located<i64>,
        /// Labels of the built-in worker besides those that are found out.
        may "labels" => labels: Entries<Scalar>,
        /// The secret that must be sent by whoever changes anything, if not from this machine.
        may "token" => token: Text,
        /// The time between two looks of the service at its own data. Default: 1h.
        may "doctor" => doctor: Located<Time>,
        /// How long what is over is kept.
        may "retention" => retention: RawRetention,
    }
}

shape! {
    /// How the workers of a name or glob are cared for.
    RawCare as "how workers are cared for" {
        /// Who is told of what becomes of them.
        may "owner" => owner: Text,
        /// Workers with a higher one are chosen first. Default: 0.
        may "priority" => priority: Located<i64>,
        /// When builds may begin on them, such as `mon-fri 20:00-06:00` or `sat,sun`. Default: always.
        may "windows" => windows: OneOrMany<Text>,
        /// The time zone of the windows. Default: UTC.
        may "timezone" => timezone: Text,
        /// When they are taken out of service by themselves.
        may "quarantine" => quarantine: RawQuarantine,
    }
}

shape! {
    /// When a worker is taken out of service by itself.
    RawQuarantine as "a rule of quarantine" {
        /// After so many builds in a row that ended for infrastructure's sake; 0 is never. Default: 3.
        may "in-a-row" => in_a_row: Located<i64>,
        /// After so many of its last 20; 0 is never. Default: 8.
        may "of-last-20" => of_recent: Located<i64>,
        /// For how long, the first time; it doubles up to a day. Default: 1h.
        may "time" => time: Located<Time>,
    }
}

shape! {
    /// How long what is over is kept.
    RawRetention as "what is kept for how long" {
        /// Completed buildsets with their builds and steps, and closed incidents. Default: 90d.
        may "builds" => builds: Located<Time>,
        /// Logs of finished builds. Default: 30d.
        may "logs" => logs: Located<Time>,
        /// Changes and what schedulers made of them. Default: 180d.
        may "changes" => changes: Located<Time>,
        /// Bodies of webhook requests. Default: 7d.
        may "deliveries" => deliveries: Located<Time>,
        /// Messages that were delivered or given up. Default: 30d.
        may "messages" => messages: Located<Time>,
        /// The journal. Default: 30d.
        may "events" => events: Located<Time>,
        /// Mirrors of repositories that are no longer in the file. Default: 30d.
        may "leftovers" => leftovers: Located<Time>,
        /// The last builds of each builder on each branch that still exists, kept however old they are. Default: 10.
        may "last" => last: Located<i64>,
        /// Builds that are kept for ever.
        may "keep" => keep: Vec<RawMatch>,
    }
}

shape! {
    /// A repository to watch.
    RawRepository as "a repository" {
        /// Where it is: `https://`, `ssh://`, `git@host:path`, `git://`, `file://` or a path.
        must "git" => git: Text,
        /// Patterns of the branches to look at. Default: all.
        may "branches" => branches: OneOrMany<Text>,
        /// Whether to look at tags. Default: false.
        may "tags" => tags: Located<bool>,
        /// The branch that stands for the repository. Default: main.
        may "default-branch" => default_branch: Text,
        /// The time between two looks at the repository. Default: 1m.
        may "poll" => poll: Located<Time>,
        /// The webhook that may announce pushes at /hooks/NAME.
        may "webhook" => webhook: RawWebhook,
        /// How to log in.
        may "credentials" => credentials: RawCredentials,
        /// Whether the refs found at the first look are built, or only recorded. Default: record.
        may "first-sight" => first_sight: Word<FirstSight>,
    }
}

shape! {
    /// How a webhook is read and trusted.
    RawWebhook as "a webhook" {
        /// Who sends it.
        must "forge" => forge: Word<Forge>,
        /// The secret that signs it.
        must "secret" => secret: Text,
    }
}

shape! {
    /// How to log in: a user name with a password, or a key.
    RawCredentials as "credentials" {
        /// The user name, for https.
        may "username" => username: Text,
        /// The secret that holds the password or token, for https.
        may "password" => password: Text,
        /// The secret that holds the private key, for ssh.
        may "ssh-key" => ssh_key: Text,
    }
}

shape! {
    /// Where a secret's value is found when it is needed (`env` or `file`), and which builds may have it.
    RawSecret as "a secret" {
        /// An environment variable of the service.
        may "env" => env: Text,
        /// A file; a newline at its end is dropped.
        may "file" => file: Text,
        /// The projects whose builds may have it. Without `projects` and `branches` no build may.
        may "projects" => projects: OneOrMany<Text>,
        /// Patterns of the branches whose builds may have it. Without `projects` and `branches` no build may.
        may "branches" => branches: OneOrMany<Text>,
    }
}

shape! {
    /// A set of repositories with the builders that belong to it.
    RawProject as "a project" {
        /// Its repositories.
        may "repositories" => repositories: OneOrMany<Text>,
        /// What people call it, if not its name.
        may "title" => title: Text,
        /// Mail addresses of its owners.
        may "owners" => owners: OneOrMany<Text>,
    }
}

shape! {
    /// A recipe: which steps, for which sources, on which workers.
    RawBuilder as "a builder" {
        /// The project it belongs to.
        may "project" => project: Text,
        /// The repository it builds from, several of them, or a map of codebases. Default: the only repository.
        may "source" => source: RawSource,
        /// Labels that a worker must have, with their values: `linux`, `linux|freebsd`, `">=12"`, `clang-*`, `"!windows"`.
        may "requires" => requires: Entries<Located<Scalar>>,
        /// Environment variables of every step.
        may "environment" => environment: Entries<Located<Scalar>>,
        /// Axes whose every combination of values makes a builder of its own.
        may "matrix" => matrix: Named<RawAxis>,
        /// What it does, in order.
        must "steps" => steps: Vec<RawStepItem>,
        /// How often an attempt that ended for infrastructure reasons is repeated. Default: 2.
        may "retries" => retries: Located<i64>,
        /// How long a worker that is not heard of may go on with a build before another one starts it. Default: 5m.
        may "orphan-window" => orphan_window: Located<Time>,
        /// Whether its work must never be done twice, as in a deployment: no retries, a window of 2m. Default: false.
        may "exclusive" => exclusive: Located<bool>,
        /// The secrets that its commands are given: variable → secret, or `{from, as}`.
        may "secrets" => secrets: Entries<RawSecretUse>,
        /// What its commands are kept in. Default: none.
        may "isolation" => isolation: RawIsolation,
        /// The container that its commands run in: an image, or `{image, engine, network}`.
        may "container" => container: RawContainer,
    }
}

either! {
    /// What a builder builds from.
    RawSource as "a repository's name, several, or a map of codebases" {
        Text => One(Text),
        List => Many(Vec<Text>),
        Map => Codebases(Named<RawSourceUse>),
    }
}

shape! {
    /// How a builder uses one codebase.
    RawSourceUse as "a codebase" {
        /// The repository. Default: the one of the same name.
        may "repository" => repository: Text,
        /// The folder to check out to. Default: the build's own folder for one codebase, else the codebase's name.
        may "into" => into: Text,
        /// The branch to take when nothing else says which. Default: the repository's default branch.
        may "branch" => branch: Text,
    }
}

either! {
    /// The values of an axis; or, under `include` and `exclude`, rows.
    RawAxis as "a list of values" {
        List => Values(Vec<RawAxisValue>),
    }
}

either! {
    /// One value of an axis, or one row of several.
    RawAxisValue as "a text" {
        Text => Value(Located<Scalar>),
        Map => Row(Entries<Located<Scalar>>),
    }
}

kinds! {
    /// A rule that turns what happens into builds.
    RawScheduler as "a scheduler" {
        /// Each change of the branches that `when` names, after a quiet period per branch.
        "branch" => Branch(RawBranch),
        /// Each change of any branch, after a quiet period per branch.
        "any-branch" => AnyBranch(RawAnyBranch),
        /// The end of other schedulers' buildsets, with the revisions they were made from.
        "dependent" => Dependent(RawDependent),
        /// A trigger step.
        "triggerable" => Triggerable(RawTriggerable),
        /// The passing of time.
        "periodic" => Periodic(RawPeriodic),
        /// The clock on the wall.
        "nightly" => Nightly(RawNightly),
        /// A person or program that asks.
        "force" => Force(RawForce),
        _ => Unknown(RawUnknownScheduler),
    }
}

shape! {
    /// A scheduler of no known kind: the keys of all kinds, none of them needed.
    #[expect(dead_code, reason = "some values are only read to see whether they are of the right type")]
    RawUnknownScheduler as "a scheduler" {
        /// Which changes concern it.
        may "when" => when: RawMatch,
        /// How long a branch must be quiet before it is built.
        may "quiet" => quiet: RawQuiet,
        /// The schedulers whose buildsets it waits for.
        may "upstream" => upstream: OneOrMany<Text>,
        /// How they must have ended.
        may "if" => condition: Word<Condition>,
        /// The same as `if`.
        may "on" => on: Word<Condition>,
        /// From one firing to the next.
        may "every" => every: Located<Time>,
        /// When, by the clock on the wall.
        may "cron" => cron: Text,
        /// The time zone in which that is meant.
        may "timezone" => timezone: Text,
        /// The repository whose branch is built.
        may "repository" => repository: Text,
        /// The branch.
        may "branch" => branch: Text,
        /// Whether nothing is built unless a change came since the last time.
        may "only-if-changed" => only_if_changed: Located<bool>,
        /// What may be said when it is started, by name.
        may "parameters" => parameters: Named<RawParameter>,
        /// What it builds.
        may "build" => build: RawBuild,
        /// Requests with a higher one go first.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind branch.
    RawBranch as "a scheduler of kind branch" {
        /// Which changes concern it; names the branches.
        must "when" => when: RawMatch,
        /// How long a branch must be quiet before it is built.
        may "quiet" => quiet: RawQuiet,
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind any-branch.
    RawAnyBranch as "a scheduler of kind any-branch" {
        /// Which changes concern it. Default: all of the repositories that its builders build from.
        may "when" => when: RawMatch,
        /// How long a branch must be quiet before it is built.
        may "quiet" => quiet: RawQuiet,
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind dependent.
    RawDependent as "a scheduler of kind dependent" {
        /// The schedulers whose buildsets it waits for, of any project.
        must "upstream" => upstream: OneOrMany<Text>,
        /// How they must have ended: success, failure or finished (either). Default: success.
        may "if" => condition: Word<Condition>,
        /// The same as `if`, in a word that some editors take for `true`; write one of the two.
        may "on" => on: Word<Condition>,
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind triggerable.
    RawTriggerable as "a scheduler of kind triggerable" {
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind periodic.
    RawPeriodic as "a scheduler of kind periodic" {
        /// From one firing to the next.
        must "every" => every: Located<Time>,
        /// The repository whose branch is built. Default: the only one of its builders.
        may "repository" => repository: Text,
        /// The branch. Default: the repository's default branch.
        may "branch" => branch: Text,
        /// Whether nothing is built unless a change came since the last time. Default: false.
        may "only-if-changed" => only_if_changed: Located<bool>,
        /// Which changes count for `only-if-changed`.
        may "when" => when: RawMatch,
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind nightly.
    RawNightly as "a scheduler of kind nightly" {
        /// When: minute, hour, day of month, month, day of week; or `@daily` and its like.
        must "cron" => cron: Text,
        /// The IANA time zone in which that is meant. Default: UTC.
        may "timezone" => timezone: Text,
        /// The repository whose branch is built. Default: the only one of its builders.
        may "repository" => repository: Text,
        /// The branch. Default: the repository's default branch.
        may "branch" => branch: Text,
        /// Whether nothing is built unless a change came since the last time. Default: false.
        may "only-if-changed" => only_if_changed: Located<bool>,
        /// Which changes count for `only-if-changed`.
        may "when" => when: RawMatch,
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// A scheduler of kind force.
    RawForce as "a scheduler of kind force" {
        /// What may be said when it is started, by name.
        may "parameters" => parameters: Named<RawParameter>,
        /// What it builds.
        must "build" => build: RawBuild,
        /// Requests with a higher one go first. Default: 0.
        may "priority" => priority: Located<i64>,
    }
}

shape! {
    /// One thing that may be said when starting a force scheduler.
    RawParameter as "a parameter" {
        /// What values it takes. Default: string.
        may "type" => kind: Word<ParameterType>,
        /// The values to choose from, for type choice.
        may "choices" => choices: Vec<Located<Scalar>>,
        /// The value if none is said.
        may "default" => default: Located<Scalar>,
        /// Whether a value must be said. Default: false.
        may "required" => required: Located<bool>,
        /// What it is for.
        may "label" => label: Text,
    }
}

either! {
    /// How long a branch must be quiet.
    RawQuiet as "a duration such as `30s`, or `{for, at-most}`" {
        Text => For(Located<Time>),
        Map => Full(RawQuietMap),
    }
}

shape! {
    /// How long a branch must be quiet before it is built.
    RawQuietMap as "a quiet period" {
        /// Since the last change.
        must "for" => length: Located<Time>,
        /// Since the first change that waits, at the latest. Default: ten times `for`.
        may "at-most" => at_most: Located<Time>,
    }
}

shape! {
    /// A match: maps are *and*, lists are *or*, `!` takes away, globs by default, `re:` for a regular expression.
    RawMatch as "a match" {
        /// The repository's name.
        may "repository" => repository: OneOrMany<Text>,
        /// The project's name.
        may "project" => project: OneOrMany<Text>,
        /// The branch's name.
        may "branch" => branch: OneOrMany<Text>,
        /// The tag's name.
        may "tag" => tag: OneOrMany<Text>,
        /// Any author, as `Name <address>`.
        may "author" => author: OneOrMany<Text>,
        /// Any touched file's path.
        may "files" => files: OneOrMany<Text>,
        /// Any commit's message.
        may "message" => message: OneOrMany<Text>,
        /// The kind of event, such as `source.failing`.
        may "event" => event: OneOrMany<Text>,
        /// How a ref moved: created, moved, forced, deleted.
        may "movement" => movement: OneOrMany<Text>,
        /// The builder's name; a builder with a matrix stands for all its rows.
        may "builder" => builder: OneOrMany<Text>,
        /// The scheduler's name.
        may "scheduler" => scheduler: OneOrMany<Text>,
        /// An outcome.
        may "outcome" => outcome: OneOrMany<Text>,
        /// A cause.
        may "cause" => cause: OneOrMany<Text>,
        /// How the outcome compares with the one before: broke, still-failing, fixed, passing.
        may "transition" => transition: OneOrMany<Text>,
    }
}

either! {
    /// What a scheduler builds.
    RawBuild as "a list of builders, or a map of nodes" {
        Text => One(Text),
        List => Many(Vec<Text>),
        Map => Graph(Named<RawNode>),
    }
}

either! {
    /// A node of a graph.
    RawNode as "a builder's name, or `{builder, needs}`" {
        Text => Builder(Text),
        Map => Full(RawNodeMap),
    }
}

shape! {
    /// A node of a graph.
    RawNodeMap as "a node" {
        /// The builder that runs; all its rows, if it has a matrix. Default: the one of the node's name.
        may "builder" => builder: Text,
        /// The nodes that must have ended before.
        may "needs" => needs: OneOrMany<RawNeed>,
        /// Whether all needs must be met, or any one of them. Default: all.
        may "mode" => mode: Word<NeedMode>,
        /// Which rows of the builder's matrix: axis → values. Default: all.
        may "matrix" => matrix: Entries<OneOrMany<Located<Scalar>>>,
    }
}

either! {
    /// A node that is needed.
    RawNeed as "a node's name, or `{node, if}`" {
        Text => Node(Text),
        Map => Full(RawNeedMap),
    }
}

shape! {
    /// A node that is needed, and how it must have ended.
    RawNeedMap as "a need" {
        /// The node.
        must "node" => node: Text,
        /// How it must have ended: success, failure or finished (either). Default: success.
        may "if" => condition: Word<Condition>,
        /// The same as `if`, in a word that some editors take for `true`; write one of the two.
        may "on" => on: Word<Condition>,
    }
}

kinds! {
    /// A way to tell people.
    RawNotifier as "a notifier" {
        /// By mail.
        "mail" => Mail(RawMail),
        /// On IRC.
        "irc" => Irc(RawIrc),
        _ => Unknown(RawUnknownNotifier),
    }
}

shape! {
    /// A notifier of no known kind: the keys of all kinds, none of them needed.
    #[expect(dead_code, reason = "some values are only read to see whether they are of the right type")]
    RawUnknownNotifier as "a notifier" {
        /// The mail server.
        may "smtp" => smtp: Text,
        /// The user name to log in with.
        may "username" => username: Text,
        /// The secret that holds the password.
        may "password" => password: Text,
        /// The sender.
        may "from" => from: Text,
        /// The IRC server.
        may "server" => server: Text,
        /// Whether TLS is spoken.
        may "tls" => tls: Located<bool>,
        /// The nick.
        may "nick" => nick: Text,
        /// The channels to join.
        may "channels" => channels: OneOrMany<Text>,
        /// The account to log in with.
        may "sasl" => sasl: RawSasl,
    }
}

shape! {
    /// How mail is sent.
    RawMail as "a notifier of kind mail" {
        /// The server: `smtp://host:587` (STARTTLS) or `smtps://host:465`.
        must "smtp" => smtp: Text,
        /// The user name to log in with.
        may "username" => username: Text,
        /// The secret that holds the password.
        may "password" => password: Text,
        /// The sender, as `Name <address>`.
        must "from" => from: Text,
    }
}

shape! {
    /// How to be on IRC.
    RawIrc as "a notifier of kind irc" {
        /// The server, as `host:port`.
        must "server" => server: Text,
        /// Whether TLS is spoken. Default: true.
        may "tls" => tls: Located<bool>,
        /// The nick. Default: gristmill.
        may "nick" => nick: Text,
        /// The channels to join.
        must "channels" => channels: OneOrMany<Text>,
        /// The account to log in with.
        may "sasl" => sasl: RawSasl,
    }
}

shape! {
    /// An account on IRC.
    RawSasl as "an account" {
        /// The account's name.
        must "user" => user: Text,
        /// The secret that holds the password.
        must "password" => password: Text,
    }
}

shape! {
    /// Which happenings are told, to whom.
    RawRoute as "a route" {
        /// Which happenings. Default: what broke, and what is fixed.
        may "when" => when: RawMatch,
        /// Who is told: notifiers, each perhaps with its recipients.
        must "to" => to: OneOrMany<RawTarget>,
        /// A template of one's own for the subject, or the line.
        may "subject" => subject: Text,
        /// A template of one's own for the text.
        may "body" => body: Text,
    }
}

either! {
    /// A notifier, perhaps with its recipients.
    RawTarget as "a notifier's name, or a map from it to its recipients" {
        Text => Notifier(Text),
        Map => Recipients(Entries<OneOrMany<Text>>),
    }
}
