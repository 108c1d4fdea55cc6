//! What the steps of a build come to. Pure.

use gristmill_model::protocol::limit::SUMMARY_BYTES_MAX;
use gristmill_model::{Cause, Outcome, StepRules};

use crate::executor::StepEnd;

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepResult {
    /// What it came to.
    pub(crate) outcome: Outcome,
    /// Whose fault a bad end was.
    pub(crate) cause: Option<Cause>,
    /// One line on it.
    pub(crate) summary: String,
    /// Whether another attempt may well end otherwise.
    pub(crate) again: bool,
    /// Lines of its output that are warnings.
    pub(crate) warnings: u64,
}

impl StepResult {
    /// Makes the result of a step that went well.
    pub(crate) fn success(summary: impl Into<String>) -> Self {
        Self { outcome: Outcome::Success, cause: None, summary: cut(summary.into()), again: false, warnings: 0 }
    }

    /// Makes the result of a step whose condition does not hold.
    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::success(why) }
    }

    /// Makes the result of a step that something around the code kept from its work; another attempt may do better.
    pub(crate) fn broken(summary: impl Into<String>) -> Self {
        let (outcome, cause) = (Outcome::Exception, Some(Cause::Infrastructure));
        Self { outcome, cause, summary: cut(summary.into()), again: true, warnings: 0 }
    }

    /// Makes the result of a step whose order cannot be carried out, however often it is tried.
    pub(crate) fn refused(summary: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Exception,
            cause: Some(Cause::Policy),
            summary: cut(summary.into()),
            again: false,
            warnings: 0,
        }
    }

    /// Makes the result of a step that a person ended.
    pub(crate) fn cancelled(by: &str) -> Self {
        let summary = cut(format!("cancelled by {}", one_line(by)));
        Self { outcome: Outcome::Cancelled, cause: Some(Cause::Person), summary, again: false, warnings: 0 }
    }

    /// Says what the end of a `run` step's process means.
    pub(crate) fn of_run(name: &str, rules: &StepRules, end: &StepEnd) -> Self {
        let outcome = match end {
            StepEnd::Exited { code } => rules.outcome_of_exit(*code),
            StepEnd::Signalled { .. } | StepEnd::Idle { .. } | StepEnd::Overtime { .. } => Outcome::Failure,
            StepEnd::Stopped => Outcome::Cancelled,
        };
        let cause = match (outcome, end) {
            (Outcome::Success | Outcome::Skipped | Outcome::Warnings, _) => None,
            (_, StepEnd::Idle { .. } | StepEnd::Overtime { .. }) => Some(Cause::Limit),
            (Outcome::Exception | Outcome::Retry, _) => Some(Cause::Infrastructure),
            (Outcome::Cancelled, _) => Some(Cause::Person),
            (Outcome::Failure, _) if name.to_ascii_lowercase().contains("test") => Some(Cause::Test),
            (Outcome::Failure, _) => Some(Cause::Code),
        };
        Self { outcome, cause, summary: cut(end.to_string()), again: false, warnings: 0 }
    }

    /// Says what the end of a triggered buildset means to the step that waited for it.
    pub(crate) fn of_trigger(outcome: Outcome, summary: &str) -> Self {
        let cause = match outcome {
            Outcome::Success | Outcome::Skipped | Outcome::Warnings => None,
            _ => Some(Cause::Dependency),
        };
        Self { outcome, cause, summary: cut(one_line(summary)), again: false, warnings: 0 }
    }
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conclusion {
    /// What it came to.
    pub(crate) outcome: Outcome,
    /// Whose fault a bad end was.
    pub(crate) cause: Option<Cause>,
    /// One line on it.
    pub(crate) summary: String,
}

/// Combines the steps that ran, in their order, into what the build comes to.
///
/// The outcome does not depend on the order. Cause and summary are those of the first step that made the outcome what
/// it is.
pub(crate) fn conclude<'a>(steps: impl IntoIterator<Item = (&'a str, &'a StepRules, &'a StepResult)>) -> Conclusion {
    let mut worst: Option<(Outcome, &str, &StepResult)> = None;
    let mut count = 0;
    for (name, rules, result) in steps {
        count += 1;
        let effect = effect_of(rules, result);
        if worst.is_none_or(|(so_far, ..)| effect > so_far) {
            worst = Some((effect, name, result));
        }
    }
    match worst {
        None => Conclusion { outcome: Outcome::Success, cause: None, summary: "no step to run".to_owned() },
        Some((outcome @ (Outcome::Success | Outcome::Skipped), ..)) => {
            let summary = if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
            Conclusion { outcome, cause: None, summary }
        }
        Some((outcome, name, result)) => {
            // A warning is nobody's fault, even where a step failed and its rules made a warning of it.
            let cause = result.cause.or(Some(Cause::Code)).filter(|_| outcome != Outcome::Warnings);
            Conclusion { outcome, cause, summary: cut(format!("step {name}: {}", result.summary)) }
        }
    }
}

/// Says what one step adds to its build.
fn effect_of(rules: &StepRules, result: &StepResult) -> Outcome {
    let (effect, _) = rules.effect_of(result.outcome);
    if result.again && effect == Outcome::Exception { Outcome::Retry } else { effect }
}

/// Cuts a summary to the protocol's limit, at a character's border.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SUMMARY_BYTES_MAX));
    text
}

/// Says an error with what caused it, in one line.
pub(crate) fn say(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    one_line(&text)
}

/// Makes one line of a text that somebody else wrote.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gristmill_model::{OnFailure, OnWarnings};
    use proptest::prelude::*;

    use super::*;

    fn rules(on_failure: OnFailure) -> StepRules {
        StepRules { on_failure, ..StepRules::default() }
    }

    fn exit(name: &'static str, on_failure: OnFailure, code: i32) -> (&'static str, StepRules, StepResult) {
        let rules = rules(on_failure);
        let result = StepResult::of_run(name, &rules, &StepEnd::Exited { code });
        (name, rules, result)
    }

    fn check(steps: &[(&'static str, StepRules, StepResult)], outcome: Outcome, cause: Option<Cause>, summary: &str) {
        let conclusion = conclude(steps.iter().map(|(name, rules, result)| (*name, rules, result)));
        assert_eq!(conclusion, Conclusion { outcome, cause, summary: summary.to_owned() });
    }

    #[test]
    fn a_failing_step_fails_the_build_and_names_itself() {
        let (build, test) = (exit("build", OnFailure::Halt, 0), exit("test", OnFailure::Halt, 2));
        check(&[build.clone(), test], Outcome::Failure, Some(Cause::Test), "step test: exit code 2");
        check(std::slice::from_ref(&build), Outcome::Success, None, "1 step");
        check(&[build.clone(), build], Outcome::Success, None, "2 steps");
        check(&[], Outcome::Success, None, "no step to run");
    }

    #[test]
    fn the_first_step_that_is_worst_is_blamed() {
        let steps = [
            exit("lint", OnFailure::Warn, 1),
            exit("compile", OnFailure::Continue, 2),
            exit("test", OnFailure::Halt, 3),
        ];
        check(&steps, Outcome::Failure, Some(Cause::Code), "step compile: exit code 2");
        check(&steps[..1], Outcome::Warnings, None, "step lint: exit code 1");
    }

    #[test]
    fn a_failure_that_is_ignored_is_no_failure() {
        check(&[exit("docs", OnFailure::Ignore, 1)], Outcome::Success, None, "1 step");
    }

    #[test]
    fn trouble_around_the_code_asks_for_another_attempt_only_where_that_may_help() {
        let step = |result| [("checkout", StepRules::default(), result)];
        let cause = Some(Cause::Infrastructure);
        check(&step(StepResult::broken("no answer")), Outcome::Retry, cause, "step checkout: no answer");
        let refused = step(StepResult::refused("`..` is not inside"));
        check(&refused, Outcome::Exception, Some(Cause::Policy), "step checkout: `..` is not inside");
    }

    #[test]
    fn a_limit_is_a_failure_with_a_cause_of_its_own() {
        let rules = StepRules::default();
        let end = StepEnd::Idle { span: std::time::Duration::from_secs(1200) };
        let result = StepResult::of_run("compile", &rules, &end);
        let step = [("compile", rules, result)];
        check(&step, Outcome::Failure, Some(Cause::Limit), "step compile: no output for 20 m");
    }

    #[test]
    fn exit_codes_may_have_meanings_of_their_own() {
        let rules = StepRules {
            exit: BTreeMap::from([(77, Outcome::Skipped), (3, Outcome::Warnings), (75, Outcome::Retry)]),
            ..StepRules::default()
        };
        let outcome = |code| StepResult::of_run("test", &rules, &StepEnd::Exited { code }).outcome;
        assert_eq!(
            [77, 3, 75, 0, 1].map(outcome),
            [Outcome::Skipped, Outcome::Warnings, Outcome::Retry, Outcome::Success, Outcome::Failure]
        );
    }

    #[test]
    fn summaries_are_cut_between_characters() {
        let result = StepResult::broken("ä".repeat(SUMMARY_BYTES_MAX));
        assert_eq!(result.summary.len(), SUMMARY_BYTES_MAX);
        assert_eq!(cut(format!("x{}", "ä".repeat(SUMMARY_BYTES_MAX))).len(), SUMMARY_BYTES_MAX - 1);
    }

    fn any_step() -> impl Strategy<Value = (StepRules, StepResult)> {
        let failures = [OnFailure::Halt, OnFailure::Continue, OnFailure::Warn, OnFailure::Ignore];
        let warnings = [OnWarnings::Warn, OnWarnings::Fail, OnWarnings::Ignore];
        (
            proptest::sample::select(failures.to_vec()),
            proptest::sample::select(warnings.to_vec()),
            proptest::sample::select(Outcome::ALL.to_vec()),
            any::<bool>(),
        )
            .prop_map(|(on_failure, on_warnings, outcome, again)| {
                let result = StepResult { outcome, cause: None, summary: String::new(), again, warnings: 0 };
                (StepRules { on_failure, on_warnings, ..StepRules::default() }, result)
            })
    }

    proptest! {
        #[test]
        fn the_outcome_is_the_same_in_all_orders(
            (steps, shuffled) in proptest::collection::vec(any_step(), 1..8)
                .prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle()))
        ) {
            let outcome = |steps: &[(StepRules, StepResult)]| {
                conclude(steps.iter().map(|(rules, result)| ("step", rules, result))).outcome
            };
            prop_assert_eq!(outcome(&steps), outcome(&shuffled));
            let effects = steps.iter().map(|(rules, result)| effect_of(rules, result));
            prop_assert_eq!(outcome(&steps), Outcome::combine(effects));
        }
    }
}
