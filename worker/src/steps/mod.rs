//! What a step may do besides running its command: conditions, followed files, warnings, outputs, test reports.
//!
//! `build` calls in here at three places: before a step ([`considers`], [`unmet`]), when its command is about to run
//! ([`Work::begin`]), and when it has ended ([`Work::collect`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use gristmill_model::protocol::{BuildOrder, ReportBody};
use gristmill_model::step::limit;
use gristmill_model::{Cause, Circumstances, Outcome, Recipe, SecretForm, StepRecipe, TestCase, TestOutcome};

use crate::artifacts::beneath::open_file;
use crate::artifacts::gather::gather;
use crate::conclude::{StepResult, cut};
use crate::secrets::Masker;

pub(crate) mod follow;
pub(crate) mod junit;
pub(crate) mod lens;
pub(crate) mod outputs;
mod xml;

/// Files of reports of one step.
const REPORTS_MAX: usize = 1_000;

/// Where the folders of running steps are, in the worker's own folder.
const SCRATCH: &str = "steps";

/// Says whether a step has its turn although the build was halted, or cancelled.
pub(crate) fn considers(step: &StepRecipe, is_halted: bool, is_cancelled: bool) -> bool {
    let outlives = match &step.condition {
        Some(condition) if is_cancelled => condition.outlives_cancel(),
        Some(condition) => condition.outlives_halt(),
        None => false,
    };
    !is_halted || step.rules.always || outlives
}

/// Says why a step does not run, if its condition does not hold.
pub(crate) fn unmet(
    step: &StepRecipe,
    order: &BuildOrder,
    outputs: &BTreeMap<String, String>,
    so_far: Outcome,
) -> Option<String> {
    let at = Circumstances { outcome: so_far, branch: &order.branch, properties: &order.properties, outputs };
    step.condition.as_ref()?.holds(&at).err()
}

/// Deletes the folders of steps that an earlier run of the worker left.
pub(crate) fn clear(data: &Path) {
    match fs::remove_dir_all(data.join(SCRATCH)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot delete the folders of earlier steps");
        }
        _ => {}
    }
}

/// A folder of one step's own, outside the workspace; deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it in the worker's own folder; only this user gets in.
    pub(crate) fn make(data: &Path, lease: &str, step: u32) -> io::Result<Self> {
        let above = data.join(SCRATCH);
        fs::create_dir_all(&above)?;
        let folder = above.join(format!("{lease}-{step}"));
        // An attempt that was killed may have left it.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "cannot delete {}", self.0.display());
        }
    }
}

/// What belongs to a command that runs.
#[derive(Debug)]
pub(crate) struct Work {
    step: StepRecipe,
    number: u32,
    folder: PathBuf,
    scratch: Option<Scratch>,
    masker: Masker,
}

/// What came out of a step.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// What is reported before the step's end.
    pub(crate) reports: Vec<ReportBody>,
    /// The values that later steps see.
    pub(crate) outputs: BTreeMap<String, String>,
    /// What people should read in the log.
    pub(crate) remarks: Vec<String>,
    tests: Vec<TestCase>,
}

impl Work {
    /// Makes what the step needs. `scratch` is there if it has secrets in files.
    pub(crate) fn begin(
        step: StepRecipe,
        number: u32,
        folder: PathBuf,
        scratch: Option<Scratch>,
        masker: Masker,
    ) -> Self {
        Self { step, number, folder, scratch, masker }
    }

    /// Says whether a step needs a folder of its own.
    pub(crate) fn needs_scratch(step: &StepRecipe, recipe: &Recipe) -> bool {
        let has_files = recipe.secrets.values().any(|secret| secret.form == SecretForm::File);
        !step.outputs.is_empty() || has_files || !recipe.isolation.is_none()
    }

    /// Gives the variables that say where things are.
    pub(crate) fn environment(&self) -> io::Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::new();
        if let Some(file) = self.output_file() {
            fs::write(&file, "")?;
            environment.insert("GRISTMILL_OUTPUT".to_owned(), file.display().to_string());
        }
        Ok(environment)
    }

    /// Makes a lens for one of its logs.
    pub(crate) fn lens(&self, warnings: &[String]) -> lens::Lens {
        lens::Lens::new(self.masker.anew(), warnings)
    }

    /// Gives the folder that the command runs in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder that the command may write to besides the workspace.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        self.scratch.as_ref().map(Scratch::path)
    }

    fn output_file(&self) -> Option<PathBuf> {
        let scratch = self.scratch.as_ref().filter(|_| !self.step.outputs.is_empty())?;
        Some(scratch.path().join("output"))
    }

    /// Collects what the command left. Blocks for as long as it takes to read reports.
    pub(crate) fn collect(self) -> Collected {
        let mut collected = Collected::default();
        self.collect_outputs(&mut collected);
        self.collect_tests(&mut collected);
        collected
    }

    fn collect_outputs(&self, collected: &mut Collected) {
        let Some(file) = self.output_file() else { return };
        let text = match read_bounded(
            self.scratch().unwrap_or(&self.folder),
            Path::new("output"),
            limit::OUTPUT_FILE_BYTES_MAX,
        ) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => return collected.remarks.push(format!("cannot read {}: {error}", file.display())),
        };
        let outputs::Outputs { values, remarks } = outputs::read(&text, &self.step.outputs);
        collected.remarks.extend(remarks);
        // Who hands a secret on as an output does it by mistake.
        let values: BTreeMap<String, String> =
            values.into_iter().map(|(name, value)| (name, self.masker.text(&value))).collect();
        if !values.is_empty() {
            collected.reports.push(ReportBody::StepOutputs { step: self.number, outputs: values.clone() });
            collected.outputs = values;
        }
    }

    fn collect_tests(&self, collected: &mut Collected) {
        if self.step.junit.is_empty() {
            return;
        }
        let found = gather(&self.folder, &self.step.junit, REPORTS_MAX);
        collected.remarks.extend(found.remarks);
        if found.files.is_empty() {
            collected.remarks.push(format!("no test report matches {}", self.step.junit.join(", ")));
        }
        let mut tests = Vec::new();
        for file in found.files {
            let read = read_bounded(&self.folder, Path::new(&file), junit::REPORT_BYTES_MAX);
            match read.map_err(|error| error.to_string()).and_then(|bytes| junit::read(&bytes)) {
                Ok(more) => tests.extend(more),
                Err(problem) => collected.remarks.push(format!("the test report {file} is left out: {problem}")),
            }
            if tests.len() > 10 * limit::TESTS_MAX {
                break;
            }
        }
        let gone = junit::choose(&mut tests);
        if gone > 0 {
            collected.remarks.push(format!("{gone} tests are left out: {} are kept of a step", limit::TESTS_MAX));
        }
        if !self.masker.is_idle() {
            for test in &mut tests {
                test.message = self.masker.text(&test.message);
            }
        }
        collected.tests.clone_from(&tests);
        let step = self.number;
        let batches = junit::batches(tests).into_iter();
        collected.reports.extend(batches.map(|(first, tests)| ReportBody::StepTests { step, first, tests }));
    }
}

impl Collected {
    /// Says what warnings and tests make of a step's result.
    pub(crate) fn amend(&self, result: StepResult, warnings: u64) -> StepResult {
        let mut result = result;
        let mut words: Vec<String> = Vec::new();
        if warnings > 0 {
            words.push(if warnings == 1 { "1 warning".to_owned() } else { format!("{warnings} warnings") });
            if result.outcome == Outcome::Success {
                result.outcome = Outcome::Warnings;
            }
        }
        words.extend(junit::say(&self.tests));
        let has_bad = self.tests.iter().any(|test| matches!(test.outcome, TestOutcome::Failed | TestOutcome::Error));
        if has_bad && result.outcome == Outcome::Failure && result.cause == Some(Cause::Code) {
            result.cause = Some(Cause::Test);
        }
        if !words.is_empty() {
            result.summary = cut(format!("{}; {}", result.summary, words.join(", ")));
        }
        result.warnings = warnings;
        result
    }
}

fn read_bounded(root: &Path, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(root, path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}
