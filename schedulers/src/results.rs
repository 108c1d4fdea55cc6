//! What comes out of a step while it runs: values, tests, files. Nothing is decided by it; it is checked and noted.
//!
//! A worker sends all of it before the step's end, so what comes after that end came before, or is a lie.

use std::collections::BTreeMap;

use gristmill_model::step::{is_artifact_path, is_output_name, limit};
use gristmill_model::{Artifact, Digest, EventBody, TestCase};

use crate::state::OpenBuild;
use crate::turn::Turn;

/// Notes the values that a step gave out, as far as they keep to the limits.
pub(crate) fn outputs(turn: &mut Turn<'_>, open: &OpenBuild, step: u32, outputs: BTreeMap<String, String>) {
    let fits = |(name, value): &(String, String)| is_output_name(name) && value.len() <= limit::OUTPUT_BYTES_MAX;
    let outputs: BTreeMap<String, String> = outputs.into_iter().filter(fits).take(limit::OUTPUTS_MAX).collect();
    if runs(open, step) && !outputs.is_empty() {
        turn.emit(EventBody::StepOutputs { build: open.build.id, step, outputs });
    }
}

/// Notes what tests came to.
pub(crate) fn tests(turn: &mut Turn<'_>, open: &OpenBuild, step: u32, first: u32, tests: Vec<TestCase>) {
    let last = usize::try_from(first).unwrap_or(usize::MAX).saturating_add(tests.len());
    let fits = tests.len() <= limit::TESTS_AT_ONCE && last <= limit::TESTS_MAX && tests.iter().all(is_small);
    if runs(open, step) && fits && !tests.is_empty() {
        turn.emit(EventBody::StepTested { build: open.build.id, step, first, tests });
    }
}

fn is_small(test: &TestCase) -> bool {
    test.suite.len() <= limit::TEST_NAME_BYTES_MAX
        && test.name.len() <= limit::TEST_NAME_BYTES_MAX
        && test.message.len() <= limit::TEST_MESSAGE_BYTES_MAX
}

/// Notes a file that the service has.
pub(crate) fn artifact(turn: &mut Turn<'_>, open: &OpenBuild, step: u32, path: String, bytes: u64, digest: Digest) {
    if runs(open, step) && is_artifact_path(&path) && bytes <= limit::ARTIFACT_BYTES_MAX {
        let artifact = Artifact { build: open.build.id, step, path, bytes, digest, at: turn.now };
        turn.emit(EventBody::ArtifactStored { artifact });
    }
}

/// Says whether a step has begun and not ended.
fn runs(open: &OpenBuild, step: u32) -> bool {
    open.steps.get(&step).is_some_and(Option::is_none)
}
