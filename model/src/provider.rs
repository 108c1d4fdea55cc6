//! Providers: where workers come from that exist only while they are needed.

use std::collections::BTreeMap;
use std::time::Duration;

/// A source of workers that are started when builds wait for them and stopped when they are idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// How one is started.
    pub kind: ProviderKind,
    /// The labels of its workers, by which builds find them before there is any.
    pub labels: BTreeMap<String, String>,
    /// How many builds each runs at once.
    pub slots: u32,
    /// How many stay even when nothing waits.
    pub min: u32,
    /// How many there are at most.
    pub max: u32,
    /// How long one may be idle before it is stopped.
    pub idle: Duration,
    /// How long one may take from its start until it says hello; then it is stopped, and counts as a failure.
    pub start: Duration,
    /// Worker hours that may be spent within a day, over all of its workers; `None` for no limit.
    pub hours_max: Option<u32>,
}

/// How a worker of a provider is started, listed and stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderKind {
    /// As a process on the service's machine.
    Process,
    /// By a program that gets a request as JSON on its standard input and answers with JSON: for clouds and hypervisors.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// In a container on the service's machine.
    Container {
        /// The program that runs containers: `docker` or `podman`.
        engine: String,
        /// The image; its entry point is `gristmill-worker`, or a program that takes its environment.
        image: String,
    },
}
