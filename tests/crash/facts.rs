//! What the harness knows by itself: what it did, what it was answered, and what came out of the service.

use std::collections::BTreeMap;

/// Everything that one lane knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Webhook requests that were answered with 2xx.
    pub(crate) hooks: Vec<Hook>,
    /// Forced builds that were asked for until they were answered with 2xx.
    pub(crate) forces: Vec<Force>,
    /// Answers that no rule allows, as they came.
    pub(crate) wrong_answers: Vec<String>,
    /// Mails that the mail server took.
    pub(crate) mails: Vec<Mail>,
    /// What steps wrote down, in order.
    pub(crate) effects: Vec<Effect>,
    /// Where git's refs are: (repository, ref) to revision.
    pub(crate) tips: BTreeMap<(String, String), String>,
    /// Per ref that only ever went forward, its revisions after the first, oldest first.
    pub(crate) histories: BTreeMap<(String, String), Vec<String>>,
}

/// A webhook request that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) repository: String,
    /// Its name among the deliveries.
    pub(crate) key: String,
    /// The delivery's number in the answer.
    pub(crate) delivery: i64,
}

/// A forced build that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Force {
    /// The idempotency key.
    pub(crate) key: String,
    /// The buildset's number in the answer.
    pub(crate) buildset: i64,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) id: String,
    /// Which run of the service sent it: between two runs there is a kill.
    pub(crate) run: usize,
}

/// One line that a step wrote: `start`, `tick` or `end`, and which build and attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) what: String,
    pub(crate) build: i64,
    pub(crate) attempt: i64,
}

/// Reads what steps wrote. A line that is cut off at the end was never written as a whole.
pub(crate) fn effects(text: &str) -> Vec<Effect> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let effect = |line: &str| {
        let mut words = line.split(' ');
        let what = words.next()?.to_owned();
        Some(Effect { what, build: words.next()?.parse().ok()?, attempt: words.next()?.parse().ok()? })
    };
    whole
        .lines()
        .map(|line| effect(line).unwrap_or_else(|| panic!("an effect that no step writes: {line:?}")))
        .collect()
}
