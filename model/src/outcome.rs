//! What a settled thing came to, and whose fault a bad end was.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a step, a build, a request or a buildset came to.
///
/// The order is the order of combination: the combined outcome is the greatest one ([`Outcome::combine`]). `Skipped`
/// is the neutral element. `Retry` ends an attempt, never a request, and so never combines. The seven names are
/// Buildbot's result codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was done, and nothing had to be.
    Skipped,
    /// All is well.
    Success,
    /// All is well, with remarks.
    Warnings,
    /// The code, or its tests, are at fault.
    Failure,
    /// Something around the code broke.
    Exception,
    /// The attempt is to be repeated; only attempts end so.
    Retry,
    /// A person or a rule ended it.
    Cancelled,
}

impl Outcome {
    /// All outcomes, mildest first.
    pub const ALL: [Self; 7] =
        [Self::Skipped, Self::Success, Self::Warnings, Self::Failure, Self::Exception, Self::Retry, Self::Cancelled];

    /// Combines the outcomes of parts into the whole's: commutative, associative, idempotent, monotone (S7).
    ///
    /// An empty set is `Skipped`.
    pub fn combine(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().max().unwrap_or(Self::Skipped)
    }

    /// Says whether what depends on this may go on.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Warnings)
    }

    /// Says whether somebody should look at it: failure or exception.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failure | Self::Exception)
    }

    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Success => "success",
            Self::Warnings => "warnings",
            Self::Failure => "failure",
            Self::Exception => "exception",
            Self::Retry => "retry",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose fault a bad outcome is. What may be retried, who is told, and what counts as *broke* hang on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The code under build.
    Code,
    /// A test of it.
    Test,
    /// A worker, a disk, a network, the service.
    Infrastructure,
    /// A time or size limit was reached.
    Limit,
    /// Something that it needs did not succeed.
    Dependency,
    /// A rule of the configuration.
    Policy,
    /// A person.
    Person,
    /// Something newer took its place.
    Superseded,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 8] = [
        Self::Code,
        Self::Test,
        Self::Infrastructure,
        Self::Limit,
        Self::Dependency,
        Self::Policy,
        Self::Person,
        Self::Superseded,
    ];

    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Test => "test",
            Self::Infrastructure => "infrastructure",
            Self::Limit => "limit",
            Self::Dependency => "dependency",
            Self::Policy => "policy",
            Self::Person => "person",
            Self::Superseded => "superseded",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the outcome of a builder on a branch compares with the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transition {
    /// Good (or unknown) before, bad now.
    Broke,
    /// Bad before, bad now.
    StillFailing,
    /// Bad before, good now.
    Fixed,
    /// Good before (or unknown), good now.
    Passing,
}

impl Transition {
    /// All transitions.
    pub const ALL: [Self; 4] = [Self::Broke, Self::StillFailing, Self::Fixed, Self::Passing];

    /// Compares two outcomes; `None` if `after` says nothing about the code (skipped, retry, cancelled).
    pub fn between(before: Option<Outcome>, after: Outcome) -> Option<Self> {
        let was_bad = before.is_some_and(Outcome::is_bad);
        match (was_bad, after.is_bad(), after.is_good()) {
            (false, true, _) => Some(Self::Broke),
            (true, true, _) => Some(Self::StillFailing),
            (true, _, true) => Some(Self::Fixed),
            (false, _, true) => Some(Self::Passing),
            _ => None,
        }
    }

    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broke => "broke",
            Self::StillFailing => "still-failing",
            Self::Fixed => "fixed",
            Self::Passing => "passing",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transition| transition.as_str() == word)
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(Outcome::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn combination_does_not_depend_on_order_or_grouping(
            outcomes in prop::collection::vec(any_outcome(), 0..6), seed in any::<u64>(), cut in 0usize..6,
        ) {
            let whole = Outcome::combine(outcomes.iter().copied());
            let mut shuffled = outcomes.clone();
            let mut state = seed;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let other = usize::try_from(state >> 33).unwrap_or(0) % (index + 1);
                shuffled.swap(index, other);
            }
            prop_assert_eq!(whole, Outcome::combine(shuffled.iter().copied()));
            let cut = cut.min(outcomes.len());
            let parts = [Outcome::combine(outcomes[..cut].iter().copied()), Outcome::combine(outcomes[cut..].iter().copied())];
            prop_assert_eq!(whole, Outcome::combine(parts));
            prop_assert_eq!(whole, Outcome::combine([whole, whole]));
            for outcome in outcomes {
                prop_assert!(whole >= outcome);
            }
        }
    }

    #[test]
    fn words_read_back() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
        }
        for transition in Transition::ALL {
            assert_eq!(Transition::parse(transition.as_str()), Some(transition));
        }
    }

    #[test]
    fn a_cancelled_build_changes_nothing_about_a_branch() {
        assert_eq!(Transition::between(Some(Outcome::Success), Outcome::Cancelled), None);
        assert_eq!(Transition::between(None, Outcome::Failure), Some(Transition::Broke));
        assert_eq!(Transition::between(Some(Outcome::Failure), Outcome::Warnings), Some(Transition::Fixed));
    }
}
