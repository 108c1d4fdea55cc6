//! How workers are cared for: what the configuration says of them by name.

use std::time::Duration;

use crate::{WorkerName, requirement};

/// What is said of the workers that a pattern names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Care {
    /// Which: a name, or a glob with `*` and `?`.
    pub workers: String,
    /// Who is told of what becomes of them, and may control just these.
    pub owner: Option<String>,
    /// Workers with a higher one are chosen first.
    pub priority: i32,
    /// When builds may run on them; empty is always.
    pub windows: Vec<Window>,
    /// When they are taken out of service.
    pub quarantine: Quarantine,
}

impl Care {
    /// Finds what is said of a worker: the first that names it.
    pub fn of<'a>(all: &'a [Self], worker: &WorkerName) -> Option<&'a Self> {
        all.iter().find(|care| requirement::matches_glob(&care.workers, worker.as_str()))
    }
}

/// A span of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// On which days it begins, Monday first.
    pub days: [bool; 7],
    /// When it begins, in minutes after local midnight.
    pub from: u16,
    /// When it ends, in minutes after the same midnight; more than a day's if it ends on the next day.
    pub to: u16,
    /// The time zone's name.
    pub timezone: String,
}

/// When a worker is taken out of service by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// After how many builds in a row that ended for infrastructure's sake; 0 is never.
    pub in_a_row: u32,
    /// After how many of the last [`Quarantine::RECENT`]; 0 is never.
    pub of_recent: u32,
    /// For how long, the first time. Each time without a good build in between doubles it, up to
    /// [`Quarantine::LONGEST`].
    pub first: Duration,
}

impl Quarantine {
    /// Builds that are remembered.
    pub const RECENT: usize = 20;
    /// The longest quarantine.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

    /// Gives how long the next one lasts, after `before` in a row.
    pub fn lasts(&self, before: u32) -> Duration {
        self.first.saturating_mul(1 << before.min(16)).min(Self::LONGEST)
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { in_a_row: 3, of_recent: 8, first: Duration::from_secs(3600) }
    }
}
