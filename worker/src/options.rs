//! What a worker is told when it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gristmill_model::protocol::limit;
use gristmill_model::{About, WorkerName};

use crate::Backoff;
use crate::environment;
use crate::spool::SpoolLimits;

/// A disk with less free bytes than this is full, unless it is said otherwise.
const DISK_BYTES_MIN: u64 = 1024 * 1024;

/// A token that was revoked may be replaced, a service be upgraded: it is asked again, but not often.
const REJECTED_PAUSE: Duration = Duration::from_secs(60);

/// What a worker is told when it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name.
    pub name: WorkerName,
    /// Labels besides those that are found out ([`crate::labels::detect`]); these win.
    pub labels: BTreeMap<String, String>,
    /// How many builds it runs at once. The service counts them.
    pub slots: u32,
    /// Its own folder: workspaces, caches. No other worker may use it.
    pub data: PathBuf,
    /// The environment that steps start from, before the builder's own.
    pub environment: BTreeMap<String, String>,
    /// Bytes of one step's log; of what is more than that only the end is kept.
    pub log_bytes_max: u64,
    /// A disk of workspaces with less free bytes than this is full: what fails there says nothing about the code.
    pub disk_bytes_min: u64,
    /// The waits before something is said again to a service that cannot take it.
    pub backoff: Backoff,
    /// The wait before a service that does not take this worker at all is asked again.
    pub rejected_pause: Duration,
    /// Whether what builds say outlives the worker's process. A worker in the service's own process needs it not: what it
    /// says is taken at once.
    pub spool: Option<SpoolLimits>,
    /// Bytes of the worker's own mirrors of origins that are far away; `None` keeps none.
    pub mirror_bytes_max: Option<u64>,
    /// Whether it looks for tools and free disk when it starts, and says so in labels.
    pub finds_tools: bool,
    /// What it says of its own program.
    pub about: About,
}

impl Options {
    /// Makes the options of a worker with nothing special about it. The steps' environment is a few variables of this
    /// process (`PATH`, `HOME`, …).
    pub fn new(name: WorkerName, slots: u32, data: PathBuf) -> Self {
        Self {
            name,
            labels: BTreeMap::new(),
            slots,
            data,
            environment: environment::base(std::env::vars_os()),
            log_bytes_max: limit::LOG_BYTES_MAX,
            disk_bytes_min: DISK_BYTES_MIN,
            backoff: Backoff::default(),
            rejected_pause: REJECTED_PAUSE,
            spool: None,
            mirror_bytes_max: None,
            finds_tools: false,
            about: About::default(),
        }
    }
}
