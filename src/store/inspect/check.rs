//! What can be asked of the database, by name, and what it comes to.

use std::fmt;
use std::sync::LazyLock;

use super::ROWS_COUNTED;
use super::rules::{self, Rule};

/// One thing that can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name. Part of the interface: routes and scripts may name it.
    pub id: &'static str,
    /// What holds if nothing is found, in a sentence.
    pub proves: &'static str,
    /// The safety properties that it belongs to.
    pub safety: &'static [&'static str],
    /// Whether it reads everything that ever was, so that it takes long on a large database.
    pub is_deep: bool,
    pub(super) kind: Kind,
}

/// How it is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Rule(&'static Rule),
    Circles,
    Recent,
    State,
    Rows,
    File(Depth),
    ForeignKeys,
}

/// How closely the database looks at its own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Quick,
    Whole,
}

/// All of them, in the order in which they are shown.
pub static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
    let own = |id, proves, safety, is_deep, kind| Check { id, proves, safety, is_deep, kind };
    let rules = rules::all().map(|rule| own(rule.id, rule.proves, rule.safety, false, Kind::Rule(rule)));
    let mut all: Vec<Check> = rules.collect();
    all.push(own("circles", "no request needs itself, however indirectly", &["S13"], false, Kind::Circles));
    all.push(own("events", "the newest events can be read, and are in order", &["S1"], false, Kind::Recent));
    // They read everything: a look that has little time begins with what costs little.
    all.push(own("foreign-keys", "every row that another one refers to is there", &["S28"], false, Kind::ForeignKeys));
    all.push(own("file", "the database's pages are whole", &["S1"], false, Kind::File(Depth::Quick)));
    all.push(own(
        "file-whole",
        "the database's pages and indexes say the same",
        &["S1"],
        true,
        Kind::File(Depth::Whole),
    ));
    all.push(own(
        "fold-state",
        "folding every event gives the state that is loaded from the tables",
        &["S28"],
        true,
        Kind::State,
    ));
    all.push(own("fold-rows", "writing every event again gives the same rows", &["S9", "S28"], true, Kind::Rows));
    all
});

/// What a check came to when it could look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// All is as it should be; there may be something to say about how far it looked.
    Sound {
        /// Such as that older events were retired.
        note: Option<String>,
    },
    /// Something is not.
    Found(Found),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The first few rows, each a sentence.
    pub rows: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// What that means.
    pub means: String,
    /// What to do.
    pub mend: String,
}

/// What to do about rows that are not as they should be: nobody mends them by hand without knowing how they came to be.
pub const MEND_ROWS: &str = "restore the last backup that `gristmill doctor` finds nothing in, or report this with the \
                             output of `gristmill doctor --deep --json`";

impl Looked {
    /// Nothing was found.
    pub const SOUND: Self = Self::Sound { note: None };

    /// Makes a finding of rows that break a rule; sound if there are none.
    pub(in crate::store) fn of_rows(named: Vec<String>, count: usize, means: &str) -> Self {
        if count == 0 {
            return Self::SOUND;
        }
        let counted_max = usize::try_from(ROWS_COUNTED).unwrap_or(usize::MAX);
        Self::Found(Found {
            rows: named,
            count: u64::try_from(count.min(counted_max)).unwrap_or(u64::MAX),
            is_more: count > counted_max,
            means: means.to_owned(),
            mend: MEND_ROWS.to_owned(),
        })
    }
}

impl fmt::Display for Found {
    /// Writes it on one line: what, how many more, and what it means.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rows.join("; "))?;
        let named = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        if self.count > named || self.is_more {
            let least = if self.is_more { "at least " } else { "" };
            write!(f, "; and {least}{} more", self.count.saturating_sub(named))?;
        }
        write!(f, ": {}", self.means)
    }
}
