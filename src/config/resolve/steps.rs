//! Steps: what they do, what they are called, what their end means.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gristmill_model::{
    CheckoutMethod, Command, SchedulerName, StepAction, StepCondition, StepRecipe, StepRules, Timeouts,
};

use super::Resolver;
use super::Spark;
use super::builders::{self, Axes, Templates};
use super::extras;
use super::names::{Noun, short};
use crate::config::code;
use crate::config::matrix::{Row, substitute};
use crate::config::nearest::nearest;
use crate::config::raw::{RawCheckout, RawRun, RawScheduler, RawStep, RawStepItem, RawTimeout};
use crate::config::scalar::{Text, Time};
use crate::config::shape::Placed;
use crate::config::span::{Located, Span};

/// Steps of one builder.
const STEPS_MAX: usize = 200;
/// Bytes of one command.
const COMMAND_BYTES_MAX: usize = 128 * 1024;
/// Characters of a step's name.
const STEP_NAME_LENGTH_MAX: usize = 50;

/// A step in which a row's values are still to be put.
#[derive(Debug, Clone)]
pub(super) struct StepTemplate {
    recipe: StepRecipe,
    environment: Templates,
    properties: Templates,
    /// Bytes of its texts.
    pub(super) bytes: usize,
}

impl StepTemplate {
    /// Puts a row's values in.
    fn fill(&self, row: &Row) -> StepRecipe {
        let action = match &self.recipe.action {
            StepAction::Run { command: Command::Script(script) } => {
                StepAction::Run { command: Command::Script(substitute(script, row)) }
            }
            StepAction::Run { command: Command::Arguments(arguments) } => {
                let arguments = arguments.iter().map(|argument| substitute(argument, row)).collect();
                StepAction::Run { command: Command::Arguments(arguments) }
            }
            StepAction::Trigger { scheduler, wait, .. } => StepAction::Trigger {
                scheduler: scheduler.clone(),
                wait: *wait,
                properties: builders::fill(&self.properties, row),
            },
            StepAction::Checkout { method } => StepAction::Checkout { method: *method },
        };
        StepRecipe {
            name: substitute(&self.recipe.name, row),
            action,
            environment: builders::fill(&self.environment, row),
            folder: substitute(&self.recipe.folder, row),
            ..extras::fill_step(&self.recipe, row)
        }
    }
}

/// Puts a row's values in all steps. Names that become the same by that are numbered.
pub(super) fn fill(steps: &[StepTemplate], row: &Row) -> Vec<StepRecipe> {
    let mut taken = BTreeSet::new();
    let filled = steps.iter().map(|step| {
        let recipe = step.fill(row);
        StepRecipe { name: free_name(&recipe.name, &mut taken), ..recipe }
    });
    filled.collect()
}

impl Resolver<'_> {
    /// Reads all steps of a builder; `None` if one cannot be used.
    pub(super) fn steps(&mut self, builder: &Text, items: &[RawStepItem], axes: Axes<'_>) -> Option<Vec<StepTemplate>> {
        if items.is_empty() || items.len() > STEPS_MAX {
            let (code, what) =
                if items.is_empty() { (code::EMPTY, "no steps") } else { (code::TOO_BIG, "too many steps") };
            let message = format!("builder `{}` has {what}", builder.value);
            let help = format!("give it 1 to {STEPS_MAX} steps, such as `steps: [checkout, {{run: make}}]`");
            self.report.say(code, builder.span, message, "this builder", help);
            return None;
        }
        let mut taken = self.explicit_names(items);
        let steps: Vec<_> = items.iter().filter_map(|item| self.step(item, axes, &mut taken)).collect();
        (steps.len() == items.len()).then_some(steps)
    }

    /// Collects the names that are written, and reports those that are there twice.
    fn explicit_names(&mut self, items: &[RawStepItem]) -> BTreeSet<String> {
        let mut taken = BTreeSet::new();
        for item in items {
            let RawStepItem::Step(step) = item else { continue };
            let Some(name) = &step.name else { continue };
            if !taken.insert(name.value.clone()) {
                let message = format!("two steps are named `{}`", short(name));
                self.report.say(
                    code::NAME_TAKEN,
                    name.span,
                    message,
                    "this one again",
                    "give one of them another name",
                );
            }
        }
        taken
    }

    fn step(&mut self, item: &RawStepItem, axes: Axes<'_>, taken: &mut BTreeSet<String>) -> Option<StepTemplate> {
        match item {
            RawStepItem::Word(word) if word.as_str() == "checkout" => {
                let action = StepAction::Checkout { method: CheckoutMethod::default() };
                Some(plain(free_name("checkout", taken), action))
            }
            RawStepItem::Word(word) => self.bare_step(word),
            RawStepItem::Step(step) => self.full_step(step, axes, taken),
        }
    }

    fn bare_step(&mut self, word: &Text) -> Option<StepTemplate> {
        let help = match nearest(word, ["checkout"]) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("to run it as a command, write `run: {}`", short(word.lines().next().unwrap_or(""))),
        };
        let message = format!("`{}` is not a step", short(word.lines().next().unwrap_or("")));
        self.report.say(code::BARE_STEP, word.span, message, "a text alone", help);
        None
    }

    fn full_step(&mut self, raw: &RawStep, axes: Axes<'_>, taken: &mut BTreeSet<String>) -> Option<StepTemplate> {
        let action = self.action(raw, axes);
        self.refuse_foreign_keys(raw);
        let folder = match &raw.folder {
            Some(folder) => {
                self.check_template_text(folder, folder.span, axes);
                self.folder(folder)?
            }
            None => String::new(),
        };
        let environment = self.environment(raw.environment.as_ref(), axes);
        let properties = self.templates(raw.properties.as_ref(), axes);
        let timeouts = raw.timeout.as_ref().map_or(Some(Timeouts::default()), |timeout| self.timeouts(timeout));
        let mut rules = self.rules(raw);
        let extras = self.step_extras(raw, axes);
        rules.always |= extras.condition.as_ref().is_some_and(StepCondition::outlives_cancel);
        let name = match &raw.name {
            Some(name) => self.step_name(name, axes),
            None => action.as_ref().map(|action| free_name(&default_name(action), taken)),
        };
        let (action, name) = (action?, name?);
        let bytes = weigh(&action, &environment, &properties);
        let recipe = StepRecipe { name, action, rules, timeouts: timeouts?, folder, ..extras };
        Some(StepTemplate { recipe, environment, properties, bytes })
    }

    fn action(&mut self, raw: &RawStep, axes: Axes<'_>) -> Option<StepAction> {
        match (&raw.checkout, &raw.run, &raw.trigger) {
            (Some(checkout), None, None) => {
                let method = match checkout {
                    RawCheckout::Method(method) => Some(method.0),
                    RawCheckout::Map(map) => map.method.map(|method| method.0),
                };
                Some(StepAction::Checkout { method: method.unwrap_or_default() })
            }
            (None, Some(run), None) => self.command(run, raw.span(), axes).map(|command| StepAction::Run { command }),
            (None, None, Some(scheduler)) => {
                let scheduler = self.triggered(scheduler);
                let wait = raw.wait.as_ref().is_some_and(|wait| wait.value);
                Some(StepAction::Trigger { scheduler: scheduler?, wait, properties: BTreeMap::new() })
            }
            _ if self.report.has_within(raw.span()) => None,
            _ => {
                let message = "a step does exactly one of `checkout`, `run` and `trigger`";
                let help = "write a step of its own for each";
                self.report.say(code::EXCLUDING_KEYS, raw.span(), message, "in this step", help);
                None
            }
        }
    }

    fn command(&mut self, run: &RawRun, step: Span, axes: Axes<'_>) -> Option<Command> {
        let (bytes, span, is_empty) = match run {
            RawRun::Script(script) => (script.len(), script.span, script.trim().is_empty()),
            RawRun::Arguments(arguments) => {
                let whole = arguments.first().zip(arguments.last());
                let span = whole.map_or(step, |(first, last)| Span::new(first.span.start, last.span.end));
                (
                    arguments.iter().map(|argument| argument.0.len()).sum(),
                    span,
                    arguments.first().is_none_or(|first| first.0.is_empty()),
                )
            }
        };
        if is_empty || bytes > COMMAND_BYTES_MAX {
            let (code, message) = if is_empty {
                (code::EMPTY, "the command is empty".to_owned())
            } else {
                (code::TOO_BIG, format!("a command of {bytes} bytes, and {COMMAND_BYTES_MAX} are possible"))
            };
            let help = "write what to run, such as `run: make check`; keep long scripts in the repository";
            self.report.say(code, span, message, "this command", help);
            return None;
        }
        Some(match run {
            RawRun::Script(script) => {
                self.check_template_text(script, script.span, axes);
                Command::Script(script.value.0.clone())
            }
            RawRun::Arguments(arguments) => {
                for argument in arguments {
                    self.check_template_text(&argument.0, argument.span, axes);
                }
                Command::Arguments(arguments.iter().map(|argument| argument.0.clone()).collect())
            }
        })
    }

    /// Looks up the scheduler that a step starts.
    fn triggered(&mut self, name: &Text) -> Option<SchedulerName> {
        let found: SchedulerName = self.look_up(Noun::Scheduler, name)?;
        let raw =
            self.raw.schedulers.as_ref().and_then(|all| all.iter().find(|(known, _)| known.as_str() == name.as_str()));
        if let Some((known, Some(scheduler))) = raw
            && !matches!(scheduler, RawScheduler::Triggerable(_) | RawScheduler::Unknown(_))
        {
            let line = self.lines.line_of(known.span.start);
            let message = format!("scheduler `{}` cannot be triggered", name.value);
            let help = format!("give it `kind: triggerable` (line {line}), or make another one of that kind");
            self.report.say(code::NOT_TRIGGERABLE, name.span, message, "named here", help);
            return None;
        }
        Some(found)
    }

    /// Reports keys that mean nothing for this kind of step.
    fn refuse_foreign_keys(&mut self, raw: &RawStep) {
        let is_run = raw.run.is_some();
        let is_trigger = raw.trigger.is_some();
        let keys = [
            ("folder", raw.folder.is_some() && !is_run, "run"),
            ("environment", raw.environment.is_some() && !is_run, "run"),
            ("exit", raw.exit.is_some() && !is_run, "run"),
            ("logs", raw.logs.is_some() && !is_run, "run"),
            ("warnings", raw.warnings.is_some() && !is_run, "run"),
            ("outputs", raw.outputs.is_some() && !is_run, "run"),
            ("junit", raw.junit.is_some() && !is_run, "run"),
            ("artifacts", raw.artifacts.is_some() && !is_run, "run"),
            ("limits", raw.limits.is_some() && !is_run, "run"),
            ("timeout", raw.timeout.is_some() && is_trigger, "run` or `checkout"),
            ("wait", raw.wait.is_some() && !is_trigger, "trigger"),
            ("properties", raw.properties.is_some() && !is_trigger, "trigger"),
        ];
        for (key, _, wanted) in keys.into_iter().filter(|&(_, is_foreign, _)| is_foreign) {
            let message = format!("`{key}` means nothing for this step");
            let help = format!("it belongs to a step with `{wanted}`; remove it here");
            self.report.say(code::EXCLUDING_KEYS, raw.span(), message, "in this step", help);
        }
    }

    fn step_name(&mut self, name: &Text, axes: Axes<'_>) -> Option<String> {
        self.check_template_text(name, name.span, axes);
        let value = self.line(name)?;
        if value.chars().count() > STEP_NAME_LENGTH_MAX {
            let message = format!("a step's name of more than {STEP_NAME_LENGTH_MAX} characters");
            self.report.say(code::BAD_NAME, name.span, message, "this name", "shorten it");
            return None;
        }
        Some(value)
    }

    fn rules(&mut self, raw: &RawStep) -> StepRules {
        let mut rules = StepRules {
            on_failure: raw.on_failure.map(|word| word.0).unwrap_or_default(),
            on_warnings: raw.on_warnings.map(|word| word.0).unwrap_or_default(),
            always: raw.always.as_ref().is_some_and(|always| always.value),
            exit: BTreeMap::new(),
        };
        for (code, outcome) in raw.exit.iter().flat_map(|exit| exit.iter()) {
            match code.parse::<i32>() {
                Ok(number) if (0..=255).contains(&number) => {
                    rules.exit.extend(outcome.map(|outcome| (number, outcome.0)));
                }
                _ => {
                    let message = format!("`{}` is not an exit code", short(code));
                    self.report.say(code::BAD_NUMBER, code.span, message, "this key", "give a number from 0 to 255");
                }
            }
        }
        rules
    }

    fn timeouts(&mut self, raw: &RawTimeout) -> Option<Timeouts> {
        let default = Timeouts::default();
        let mut read = |time: Option<&Located<Time>>, default: Duration| match time {
            Some(time) => self.at_least(time, Duration::from_secs(1), "1s"),
            None => Some(default),
        };
        match raw {
            RawTimeout::Total(total) => {
                let total = read(Some(total), default.total)?;
                Some(Timeouts { total, idle: default.idle.min(total), ..default })
            }
            RawTimeout::Full(raw) => {
                let (total, idle) = (read(raw.total.as_ref(), default.total), read(raw.idle.as_ref(), default.idle));
                let grace = read(raw.grace.as_ref(), default.grace);
                let total = total?;
                Some(Timeouts { total, idle: idle?.min(total), grace: grace? })
            }
        }
    }
}

fn plain(name: String, action: StepAction) -> StepTemplate {
    StepTemplate { recipe: StepRecipe::new(name, action), environment: Vec::new(), properties: Vec::new(), bytes: 64 }
}

fn weigh(action: &StepAction, environment: &Templates, properties: &Templates) -> usize {
    let command = match action {
        StepAction::Run { command: Command::Script(script) } => script.len(),
        StepAction::Run { command: Command::Arguments(arguments) } => arguments.iter().map(|text| text.len() + 8).sum(),
        StepAction::Checkout { .. } | StepAction::Trigger { .. } => 0,
    };
    let pairs = environment.iter().chain(properties).map(|(name, value)| name.len() + value.len()).sum::<usize>();
    command + pairs + 256
}

/// Names a step after what it does: the first words of its command.
fn default_name(action: &StepAction) -> String {
    let text = match action {
        StepAction::Checkout { .. } => return "checkout".to_owned(),
        StepAction::Trigger { scheduler, .. } => format!("trigger {scheduler}"),
        StepAction::Run { command: Command::Arguments(arguments) } => arguments.join(" "),
        StepAction::Run { command: Command::Script(script) } => {
            let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.next().unwrap_or("run").to_owned()
        }
    };
    let mut name = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let longer = name.chars().count() + 1 + word.chars().count();
        if !name.is_empty() && longer > STEP_NAME_LENGTH_MAX {
            break;
        }
        if !name.is_empty() {
            name.push(' ');
        }
        name.extend(word.chars().take(STEP_NAME_LENGTH_MAX));
    }
    if name.is_empty() { "run".to_owned() } else { name }
}

/// Makes a name unique with a number.
fn free_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name} {number}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name));
    let free = free.expect("numbers do not end");
    taken.insert(free.clone());
    free
}

impl Resolver<'_> {
    /// Remembers which schedulers the steps of a scheduler's builders set off.
    pub(super) fn note_triggers(&mut self, scheduler: &str, builders: &BTreeSet<String>) {
        let raw = self.raw;
        for (name, builder) in raw.builders.iter().flat_map(|builders| builders.iter()) {
            if !builders.contains(name.as_str()) {
                continue;
            }
            for item in builder.iter().flat_map(|builder| builder.steps.iter().flatten()) {
                if let RawStepItem::Step(step) = item
                    && let Some(to) = &step.trigger
                {
                    self.sparks.push(Spark { from: scheduler.to_owned(), to: to.value.clone(), span: to.span });
                }
            }
        }
    }
}
