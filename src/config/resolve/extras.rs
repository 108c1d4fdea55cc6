//! What steps and builders may have besides what they do: conditions, followed files, patterns, outputs, limits, secrets,
//! isolation, the orphan window.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use gristmill_model::matching::Field;
use gristmill_model::step::{is_output_name, limit};
use gristmill_model::{
    Engine, Isolation, Limits, Recipe, SecretForm, SecretName, SecretUse, SoFar, StepCondition, StepRecipe,
};
use regex::RegexBuilder;

use super::Resolver;
use super::builders::Axes;
use super::names::{Noun, short};
use crate::config::code;
use crate::config::matrix::{Row, substitute};
use crate::config::raw::{
    IsolationWord, RawBuilder, RawCondition, RawContainer, RawIsolation, RawLimits, RawSecretUse, RawStep,
};
use crate::config::scalar::Text;
use crate::config::shape::{Entries, OneOrMany, Placed as _};

/// Processes that a limit may be.
const PROCESSES: RangeInclusive<i64> = 1..=1_000_000;
/// How far a step may stand back.
const NICE: RangeInclusive<i64> = 0..=19;
/// Bytes of memory, and of a file, that a limit must leave.
const BYTES_MIN: u64 = 1024 * 1024;
/// Patterns of files of one step.
const GLOBS_MAX: usize = 50;

/// Puts a row's values into what a step names.
pub(super) fn fill_step(step: &StepRecipe, row: &Row) -> StepRecipe {
    let all = |texts: &[String]| texts.iter().map(|text| substitute(text, row)).collect();
    StepRecipe {
        logs: step.logs.iter().map(|(name, path)| (name.clone(), substitute(path, row))).collect(),
        junit: all(&step.junit),
        artifacts: all(&step.artifacts),
        ..step.clone()
    }
}

/// Puts a row's values into the name of an image.
pub(super) fn fill_isolation(isolation: &Isolation, row: &Row) -> Isolation {
    match isolation {
        Isolation::Container { image, engine, network } => {
            Isolation::Container { image: substitute(image, row), engine: *engine, network: *network }
        }
        other => other.clone(),
    }
}

/// Requires a worker that can isolate: others must not be given such builds.
pub(super) fn with_label(mut requires: BTreeMap<String, String>, isolation: &Isolation) -> BTreeMap<String, String> {
    if let Some(label) = isolation.label() {
        requires.entry(label.to_owned()).or_insert_with(|| "true".to_owned());
    }
    requires
}

impl Resolver<'_> {
    /// Reads what a step has besides its command; all mistakes are reported, and then it does not matter what is given.
    pub(super) fn step_extras(&mut self, raw: &RawStep, axes: Axes<'_>) -> StepRecipe {
        let action = gristmill_model::StepAction::Checkout { method: Default::default() };
        StepRecipe {
            condition: self.step_condition(raw),
            logs: self.followed(raw, axes),
            warnings: self.warnings(raw.warnings.as_ref()),
            outputs: self.output_names(raw.outputs.as_ref()),
            junit: self.globs(raw.junit.as_ref(), axes),
            artifacts: self.globs(raw.artifacts.as_ref(), axes),
            limits: raw.limits.as_ref().map(|limits| self.limits(limits)).unwrap_or_default(),
            ..StepRecipe::new("", action)
        }
    }

    fn step_condition(&mut self, raw: &RawStep) -> Option<StepCondition> {
        let always = raw.always.as_ref().is_some_and(|always| always.value);
        let mut condition = match raw.condition.as_ref()? {
            RawCondition::Outcome(word) => StepCondition { outcome: word.0, ..StepCondition::default() },
            RawCondition::Full(map) => {
                let branch: &[Text] = map.branch.as_ref().map_or(&[], |OneOrMany(texts)| texts);
                self.patterns(Field::Branch, branch);
                StepCondition {
                    outcome: map.outcome.map(|word| word.0).unwrap_or_default(),
                    branch: branch.iter().map(|text| text.value.clone()).collect(),
                    properties: self.values(map.properties.as_ref()),
                    outputs: self.values(map.outputs.as_ref()),
                }
            }
        };
        if always && condition.outcome != SoFar::Going && condition.outcome != SoFar::Always {
            let message = "`always` and `if` say different things";
            self.report.say(
                code::EXCLUDING_KEYS,
                raw.span(),
                message,
                "in this step",
                "remove `always`, or the outcome under `if`",
            );
        }
        if always {
            condition.outcome = SoFar::Always;
        }
        Some(condition)
    }

    /// Reads patterns for values by name.
    fn values(&mut self, raw: Option<&Entries<OneOrMany<Text>>>) -> BTreeMap<String, Vec<String>> {
        let mut values = BTreeMap::new();
        for (name, texts) in raw.iter().flat_map(|raw| raw.iter()) {
            let Some(OneOrMany(texts)) = texts else { continue };
            self.patterns(Field::Message, texts);
            values.insert(name.value.clone(), texts.iter().map(|text| text.value.clone()).collect());
        }
        values
    }

    fn followed(&mut self, raw: &RawStep, axes: Axes<'_>) -> BTreeMap<String, String> {
        let mut logs = BTreeMap::new();
        for (name, path) in raw.logs.iter().flat_map(|logs| logs.iter()) {
            let Some(path) = path else { continue };
            self.check_template_text(path, path.span, axes);
            if let Some(path) = self.folder(path).filter(|path| !path.is_empty()) {
                logs.insert(name.value.clone(), path);
            }
        }
        if logs.len() > limit::LOGS_MAX {
            let message = format!("a step that follows {} files, and {} are possible", logs.len(), limit::LOGS_MAX);
            self.report.say(code::TOO_BIG, raw.span(), message, "in this step", "follow the files that people look at");
        }
        logs
    }

    fn warnings(&mut self, raw: Option<&OneOrMany<Text>>) -> Vec<String> {
        let Some(OneOrMany(texts)) = raw else { return Vec::new() };
        self.not_too_many(texts, limit::WARNINGS_MAX, "patterns of warnings");
        for text in texts {
            let built = RegexBuilder::new(text).size_limit(limit::PATTERN_PROGRAM_BYTES_MAX).build();
            let problem = match built {
                _ if text.len() > limit::PATTERN_BYTES_MAX => format!("more than {} bytes", limit::PATTERN_BYTES_MAX),
                Err(error) => error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or("")
                    .trim_start_matches("error: ")
                    .trim_end_matches('.')
                    .to_owned(),
                Ok(_) => continue,
            };
            let message = format!("`{}` is not a regular expression: {problem}", short(text));
            let help = "write one such as `warning: ` or `^.*: deprecated`";
            self.report.say(code::BAD_PATTERN, text.span, message, "this pattern", help);
        }
        texts.iter().map(|text| text.value.clone()).collect()
    }

    fn output_names(&mut self, raw: Option<&OneOrMany<Text>>) -> Vec<String> {
        let Some(OneOrMany(texts)) = raw else { return Vec::new() };
        self.not_too_many(texts, limit::OUTPUTS_MAX, "outputs");
        for text in texts.iter().filter(|text| !is_output_name(text)) {
            let message = format!("`{}` cannot be an output", short(text));
            let help = "use letters, digits, `_` and `-`, with a letter first";
            self.report.say(code::BAD_VARIABLE, text.span, message, "this name", help);
        }
        texts.iter().map(|text| text.value.clone()).collect()
    }

    fn globs(&mut self, raw: Option<&OneOrMany<Text>>, axes: Axes<'_>) -> Vec<String> {
        let Some(OneOrMany(texts)) = raw else { return Vec::new() };
        self.not_too_many(texts, GLOBS_MAX, "patterns of files");
        for text in texts {
            self.check_template_text(text, text.span, axes);
            let leads_out = text.starts_with(['/', '!']) || text.split('/').any(|part| part == "..");
            if leads_out || text.trim().is_empty() {
                let message = format!("`{}` is not a pattern of files below the step's folder", short(text));
                let help = "write a relative one without `..`, such as `reports/*.xml` or `dist/**`";
                self.report.say(code::BAD_PATTERN, text.span, message, "this pattern", help);
            }
        }
        self.patterns(Field::Files, texts);
        texts.iter().map(|text| text.value.clone()).collect()
    }

    fn not_too_many(&mut self, texts: &[Text], max: usize, what: &str) {
        if let Some(text) = texts.get(max) {
            let message = format!("{} {what}, and {max} are possible", texts.len());
            self.report.say(code::TOO_BIG, text.span, message, "from here on", "say it with fewer");
        }
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        let RawLimits { memory, processes, file_size, cpu_time, nice, .. } = raw;
        let mut bytes = |size: &Option<crate::config::span::Located<crate::config::scalar::Size>>| {
            let size = size.as_ref()?;
            if size.value.0 < BYTES_MIN {
                self.report.say(
                    code::BAD_NUMBER,
                    size.span,
                    "the limit is too small",
                    "this size",
                    "give at least `1MiB`",
                );
            }
            Some(size.value.0)
        };
        let (memory, file_size) = (bytes(memory), bytes(file_size));
        Limits {
            memory,
            processes: processes.as_ref().and_then(|processes| self.whole(processes, &PROCESSES)),
            file_size,
            cpu_time: cpu_time.as_ref().and_then(|time| self.at_least(time, Duration::from_secs(1), "1s")),
            nice: nice.as_ref().and_then(|nice| self.whole(nice, &NICE)),
        }
    }

    /// Reads how long a silent worker may go on.
    pub(super) fn orphan_window(&mut self, raw: &RawBuilder, exclusive: bool) -> Option<Duration> {
        let Some(window) = &raw.orphan_window else { return exclusive.then_some(Recipe::ORPHAN_WINDOW_EXCLUSIVE) };
        if window.value.0 > Recipe::ORPHAN_WINDOW_MAX {
            self.report.say(
                code::BAD_DURATION,
                window.span,
                "the duration is too long",
                "this duration",
                "give at most `24h`",
            );
        }
        self.at_least(window, Recipe::ORPHAN_WINDOW_MIN, "1m")
    }

    /// Reads which secrets a builder's commands are given.
    pub(super) fn secret_uses(&mut self, raw: &RawBuilder) -> BTreeMap<String, SecretUse> {
        let mut uses = BTreeMap::new();
        for (variable, used) in raw.secrets.iter().flat_map(|secrets| secrets.iter()) {
            self.variable_name(variable, "GRISTMILL_");
            let Some(used) = used else { continue };
            let (from, form) = match used {
                RawSecretUse::From(from) => (Some(from), SecretForm::default()),
                RawSecretUse::Full(map) => (map.from.as_ref(), map.form.map(|form| form.0).unwrap_or_default()),
            };
            let Some(from) = from else { continue };
            let Some(SecretName(name)) = self.look_up(Noun::Secret, from) else { continue };
            self.refuse_unscoped(from);
            uses.insert(variable.value.clone(), SecretUse { from: name, form });
        }
        if uses.len() > limit::SECRETS_MAX {
            let message = format!("a builder with {} secrets, and {} are possible", uses.len(), limit::SECRETS_MAX);
            self.report.say(code::TOO_BIG, raw.span(), message, "this builder", "give it fewer, or split it");
        }
        uses
    }

    /// Reports a secret that no build may have: the token of the service, say.
    fn refuse_unscoped(&mut self, from: &Text) {
        let secrets = self.raw.secrets.iter().flat_map(|secrets| secrets.iter());
        let found =
            secrets.filter_map(|(name, secret)| Some((name, secret?))).find(|(name, _)| name.as_str() == from.as_str());
        if let Some((name, secret)) = found
            && secret.projects.is_none()
            && secret.branches.is_none()
        {
            let line = self.lines.line_of(name.span.start);
            let message = format!("no build may have secret `{}`", short(from));
            let help =
                format!("say which may where it is defined (line {line}): `projects: [NAME]`, `branches: [main]`");
            self.report.say(code::SECRET_NOT_FOR_BUILDS, from.span, message, "named here", help);
        }
    }

    /// Reads what a builder's commands are kept in.
    pub(super) fn isolation(&mut self, raw: &RawBuilder, axes: Axes<'_>) -> Isolation {
        let isolation = match &raw.isolation {
            None => Isolation::None,
            Some(RawIsolation::With(word)) => isolation_of(word.0, false),
            Some(RawIsolation::Full(map)) => {
                let network = map.network.as_ref().is_some_and(|network| network.value);
                map.with.map_or(Isolation::None, |word| isolation_of(word.0, network))
            }
        };
        let Some(container) = &raw.container else { return isolation };
        if !isolation.is_none() {
            let message = "a builder has `isolation` or a `container`, not both";
            self.report.say(code::EXCLUDING_KEYS, raw.span(), message, "this builder", "remove one of them");
        }
        let (image, engine, network) = match container {
            RawContainer::Image(image) => (Some(image), Engine::default(), true),
            RawContainer::Full(map) => (
                map.image.as_ref(),
                map.engine.map(|engine| engine.0).unwrap_or_default(),
                map.network.as_ref().is_none_or(|network| network.value),
            ),
        };
        let Some(image) = image else { return Isolation::None };
        self.check_template_text(image, image.span, axes);
        // It stands among the arguments of the engine.
        if image.starts_with('-') || image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let message = format!("`{}` is not an image", short(image));
            let help = "write it as `name:tag`, or `registry.example.org/name@sha256:…`";
            self.report.say(code::BAD_NAME, image.span, message, "this image", help);
        }
        Isolation::Container { image: image.value.clone(), engine, network }
    }
}

fn isolation_of(word: IsolationWord, network: bool) -> Isolation {
    match word {
        IsolationWord::None => Isolation::None,
        IsolationWord::Bubblewrap => Isolation::Bubblewrap { network },
    }
}
