//! Rules that the rows must keep, each asked by one statement that gives the rows that break it.
//!
//! A statement has one column, `what`: a sentence on one row, in words that both databases put together alike. What can
//! be a constraint of the schema is one, and is asked here only if a damaged file could break it.

/// The condition under which no row and no event was ever deleted on purpose: the journal has its beginning.
macro_rules! nothing_retired {
    () => {
        "(SELECT MIN(seq) FROM event) = 1 AND NOT EXISTS (SELECT 1 FROM number_floor)"
    };
}
pub(in crate::store) use nothing_retired;

mod builds;
mod graph;
mod journal;
mod sources;
mod telling;

use crate::store::database::Text;

/// A rule, and how to find the rows that break it.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Rule {
    /// Its name, which is also the finding's.
    pub(in crate::store) id: &'static str,
    /// What holds if no row is found.
    pub(in crate::store) proves: &'static str,
    /// The safety properties that it belongs to.
    pub(in crate::store) safety: &'static [&'static str],
    /// What a row that is found means.
    pub(in crate::store) means: &'static str,
    /// Gives `what` for each row that breaks it; `$1` is how many at the most.
    pub(in crate::store) text: Text,
}

/// All rules, in the order in which they are shown.
pub(in crate::store) fn all() -> impl Iterator<Item = &'static Rule> {
    [journal::RULES, sources::RULES, graph::RULES, builds::RULES, telling::RULES].into_iter().flatten()
}
