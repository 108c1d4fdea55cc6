//! Schedulers: what wakes them, what concerns them, what they build.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use gristmill_model::matching::{Field, Matcher, Patterns};
use gristmill_model::{
    Builder, BuilderName, Graph, Parameter, ParameterKind, ProjectName, Quiet, Repository, RepositoryName, Scheduler,
    SchedulerKind, SchedulerName, Target,
};

use super::matches::escape_glob;
use super::names::{Noun, short};
use super::{Resolver, Spark};
use crate::config::code;
use crate::config::raw::{
    ParameterType, RawBuild, RawDependent, RawMatch, RawParameter, RawQuiet, RawScheduler, RawUnknownScheduler,
};
use crate::config::scalar::{Scalar, Text};
use crate::config::shape::{Named, Placed};
use crate::config::span::Located;

/// Priorities.
const PRIORITY: RangeInclusive<i64> = -1_000..=1_000;
/// How much longer than `for` a branch is kept waiting at the most, unless configured.
const QUIET_FACTOR: u32 = 10;
/// Between two firings.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// What the parts of one scheduler need to know.
struct Context<'a> {
    name: &'a Text,
    repositories: &'a BTreeMap<RepositoryName, Repository>,
    /// The repositories that its builders build from.
    sources: BTreeSet<RepositoryName>,
    /// Whether all its builders are known, so that `sources` is all there is.
    is_complete: bool,
}

impl Resolver<'_> {
    pub(super) fn schedulers(
        &mut self,
        repositories: &BTreeMap<RepositoryName, Repository>,
        builders: &BTreeMap<BuilderName, Builder>,
    ) -> BTreeMap<SchedulerName, Scheduler> {
        let raw = self.raw;
        let mut schedulers = BTreeMap::new();
        for (name, scheduler) in raw.schedulers.iter().flat_map(|schedulers| schedulers.iter()) {
            let Some(scheduler) = scheduler else { continue };
            if let Some(resolved) = self.scheduler(name, scheduler, repositories, builders) {
                schedulers.insert(SchedulerName(name.value.clone()), resolved);
            }
        }
        schedulers
    }

    fn scheduler(
        &mut self,
        name: &Text,
        raw: &RawScheduler,
        repositories: &BTreeMap<RepositoryName, Repository>,
        builders: &BTreeMap<BuilderName, Builder>,
    ) -> Option<Scheduler> {
        let graph = raw.build().and_then(|build| self.graph(name, build, builders));
        let built: Vec<_> = graph.iter().flat_map(Graph::values).map(|node| &node.builder).collect();
        let is_complete = !built.is_empty() && built.iter().all(|name| builders.contains_key(*name));
        let families =
            built.iter().filter_map(|name| builders.get(*name)).map(|builder| builder.family.clone()).collect();
        let used =
            built.iter().filter_map(|name| builders.get(*name)).flat_map(|builder| builder.recipe.sources.values());
        let sources = used.map(|source| source.repository.clone()).collect();
        self.note_triggers(name, &families);
        let context = Context { name, repositories, sources, is_complete };
        let priority = raw.priority().map_or(Some(0), |priority| self.whole(priority, &PRIORITY));
        let (kind, when) = self.kind(raw, &context)?;
        let project = graph.as_ref().and_then(|graph| common_project(graph, builders));
        Some(Scheduler { kind, when, graph: graph?, project, priority: priority?, place: self.place(name.span) })
    }

    fn kind(&mut self, raw: &RawScheduler, context: &Context<'_>) -> Option<(SchedulerKind, Matcher)> {
        match raw {
            RawScheduler::Branch(raw) => {
                let when = raw.when.as_ref()?;
                if when.branch.is_none() && when.tag.is_none() {
                    let message = format!("scheduler `{}` does not say which branches", context.name.value);
                    let help = "add `branch: main`, say; or use `kind: any-branch`";
                    self.report.say(code::MISSING_KEY, when.span(), message, "in this match", help);
                }
                let quiet = self.quiet(raw.quiet.as_ref());
                let when = self.judging_match(Some(when), context);
                Some((SchedulerKind::Branch { quiet: quiet? }, when))
            }
            RawScheduler::AnyBranch(raw) => {
                let quiet = self.quiet(raw.quiet.as_ref());
                let when = self.judging_match(raw.when.as_ref(), context);
                Some((SchedulerKind::AnyBranch { quiet: quiet? }, when))
            }
            RawScheduler::Dependent(raw) => Some((self.dependent(raw, context)?, Matcher::any())),
            RawScheduler::Triggerable(_) => Some((SchedulerKind::Triggerable, Matcher::any())),
            RawScheduler::Periodic(raw) => {
                let every = raw.every.as_ref().and_then(|every| self.at_least(every, EVERY_MIN, "1s"));
                let only = raw.only_if_changed.as_ref().is_some_and(|only| only.value);
                let target = self.target(raw.repository.as_ref(), raw.branch.as_ref(), only, context);
                let when = self.timed_match(raw.when.as_ref(), target.as_ref());
                Some((SchedulerKind::Periodic { every: every?, target: target? }, when))
            }
            RawScheduler::Nightly(raw) => {
                let cron = raw.cron.as_ref().and_then(|cron| self.cron(cron));
                let timezone = raw.timezone.as_ref().map_or(Some("UTC".to_owned()), |zone| self.timezone(zone));
                let only = raw.only_if_changed.as_ref().is_some_and(|only| only.value);
                let target = self.target(raw.repository.as_ref(), raw.branch.as_ref(), only, context);
                let when = self.timed_match(raw.when.as_ref(), target.as_ref());
                Some((SchedulerKind::Nightly { cron: cron?, timezone: timezone?, target: target? }, when))
            }
            RawScheduler::Force(raw) => Some((self.force(raw.parameters.as_ref()), Matcher::any())),
            RawScheduler::Unknown(raw) => {
                self.check_unknown(raw);
                None
            }
        }
    }

    /// Checks what is written in a scheduler of no known kind as far as it means the same in every kind.
    fn check_unknown(&mut self, raw: &RawUnknownScheduler) {
        if let Some(when) = &raw.when {
            self.change_match(when);
        }
        self.quiet(raw.quiet.as_ref());
        for name in raw.upstream.iter().flat_map(|names| &names.0) {
            self.look_up::<SchedulerName>(Noun::Scheduler, name);
        }
        self.condition(raw.condition, raw.on, raw.span());
        if let Some(every) = &raw.every {
            self.at_least(every, EVERY_MIN, "1s");
        }
        if let Some(cron) = &raw.cron {
            self.cron(cron);
        }
        if let Some(timezone) = &raw.timezone {
            self.timezone(timezone);
        }
        if let Some(repository) = &raw.repository {
            self.look_up::<RepositoryName>(Noun::Repository, repository);
        }
        if let Some(branch) = &raw.branch {
            self.branch_name(branch);
        }
        self.force(raw.parameters.as_ref());
    }

    /// Makes the match of a scheduler that changes wake. Without `repository`, only those that its builders use concern
    /// it: a change elsewhere could not change what they build.
    fn judging_match(&mut self, raw: Option<&RawMatch>, context: &Context<'_>) -> Matcher {
        let mut matcher = raw.map_or_else(Matcher::any, |raw| self.change_match(raw));
        if matcher.patterns(Field::Repository).is_none() && context.is_complete {
            insert_exact(&mut matcher, Field::Repository, context.sources.iter().map(|name| name.0.as_str()));
        }
        if let Some(raw) = raw {
            self.doubt_refs(raw, &matcher, context);
        }
        matcher
    }

    /// Warns of branches and tags that no repository of the scheduler looks at.
    fn doubt_refs(&mut self, raw: &RawMatch, matcher: &Matcher, context: &Context<'_>) {
        let Some(wanted) = matcher.patterns(Field::Repository) else { return };
        let concerned: Vec<_> =
            context.repositories.iter().filter(|(name, _)| wanted.accepts(name.as_str())).map(|(_, it)| it).collect();
        if concerned.is_empty() {
            return;
        }
        for branch in raw.branch.iter().flat_map(|branches| &branches.0) {
            let is_exact = !branch.contains(['*', '?', '[', '{', '!', '\\']) && !branch.starts_with("re:");
            let is_seen =
                |repository: &&Repository| repository.branches.as_ref().is_none_or(|seen| seen.accepts(branch));
            if is_exact && !concerned.iter().any(is_seen) {
                let message = format!("nobody looks at branch `{}`", short(branch));
                let help = "add it to `branches` of the repository, or remove it here";
                self.report.say(code::NEVER_MATCHES, branch.span, message, "not among its `branches`", help);
            }
        }
        if let Some(tag) = raw.tag.as_ref().and_then(|tags| tags.0.first())
            && concerned.iter().all(|repository| !repository.tags)
        {
            let help = "add `tags: true` to the repository";
            self.report.say(code::NEVER_MATCHES, tag.span, "nobody looks at tags", "asked for here", help);
        }
    }

    /// Makes the match of a timed scheduler: which changes count as "changed".
    fn timed_match(&mut self, raw: Option<&RawMatch>, target: Option<&Target>) -> Matcher {
        let mut matcher = raw.map_or_else(Matcher::any, |raw| self.change_match(raw));
        if let Some(target) = target {
            if matcher.patterns(Field::Repository).is_none() {
                insert_exact(&mut matcher, Field::Repository, [target.repository.as_str()].into_iter());
            }
            if matcher.patterns(Field::Branch).is_none() && matcher.patterns(Field::Tag).is_none() {
                insert_exact(&mut matcher, Field::Branch, [target.branch.as_str()].into_iter());
            }
        }
        matcher
    }

    /// Reads a quiet period: outside `None` if it cannot be used, inside `None` if there is none.
    fn quiet(&mut self, raw: Option<&RawQuiet>) -> Option<Option<Quiet>> {
        let (span, at_most) = match raw {
            None => return Some(None),
            Some(RawQuiet::For(span)) => (span.value.0, span.value.0.saturating_mul(QUIET_FACTOR)),
            Some(RawQuiet::Full(raw)) => {
                let span = raw.length.as_ref()?.value.0;
                let at_most = raw.at_most.as_ref().map_or(span.saturating_mul(QUIET_FACTOR), |at_most| at_most.value.0);
                if let Some(place) = raw.at_most.as_ref().filter(|_| at_most < span) {
                    let message = "`at-most` is shorter than `for`";
                    let help = "give at least as long as `for`, or leave it out for ten times that";
                    self.report.say(code::BAD_DURATION, place.span, message, "this duration", help);
                    return None;
                }
                (span, at_most)
            }
        };
        Some((!span.is_zero()).then_some(Quiet { span, at_most }))
    }

    fn dependent(&mut self, raw: &RawDependent, context: &Context<'_>) -> Option<SchedulerKind> {
        let names = &raw.upstream.as_ref()?.0;
        if names.is_empty() {
            let message = format!("scheduler `{}` waits for nothing", context.name.value);
            let help = "name the schedulers that it waits for: `upstream: [NAME]`";
            self.report.say(code::EMPTY, context.name.span, message, "this scheduler", help);
            return None;
        }
        let mut upstream: Vec<SchedulerName> = Vec::new();
        for name in names {
            let found: Option<SchedulerName> = self.look_up(Noun::Scheduler, name);
            self.sparks.push(Spark { from: name.value.clone(), to: context.name.value.clone(), span: name.span });
            upstream.extend(found.filter(|found| !upstream.contains(found)));
        }
        let on = self.condition(raw.condition, raw.on, raw.span());
        (!upstream.is_empty()).then_some(SchedulerKind::Dependent { upstream, on })
    }

    fn target(
        &mut self,
        repository: Option<&Text>,
        branch: Option<&Text>,
        only_if_changed: bool,
        context: &Context<'_>,
    ) -> Option<Target> {
        let branch = branch.map(|branch| self.branch_name(branch));
        let repository: RepositoryName = match repository {
            Some(name) => self.look_up(Noun::Repository, name)?,
            None => self.only_source(context)?,
        };
        let branch = match branch {
            Some(branch) => branch?,
            None => context.repositories.get(&repository).map(|repository| repository.default_branch.clone())?,
        };
        Some(Target { repository, branch, only_if_changed })
    }

    fn only_source(&mut self, context: &Context<'_>) -> Option<RepositoryName> {
        let names: Vec<_> = context.sources.iter().map(RepositoryName::as_str).collect();
        if let [only] = names.as_slice() {
            return Some(RepositoryName::from(*only));
        }
        if context.is_complete {
            let message =
                format!("scheduler `{}` does not say which repository's branch it builds", context.name.value);
            let help = format!("add `repository: NAME`; its builders use {}", crate::config::shape::list(&names));
            self.report.say(code::MISSING_KEY, context.name.span, message, "this scheduler", help);
        }
        None
    }

    fn force(&mut self, raw: Option<&Named<RawParameter>>) -> SchedulerKind {
        let mut parameters = BTreeMap::new();
        for (name, parameter) in raw.iter().flat_map(|parameters| parameters.iter()) {
            if let Some(parameter) = parameter.and_then(|parameter| self.parameter(name, parameter)) {
                parameters.insert(name.value.clone(), parameter);
            }
        }
        SchedulerKind::Force { parameters }
    }

    fn parameter(&mut self, name: &Text, raw: &RawParameter) -> Option<Parameter> {
        let RawParameter { kind, choices, default, required, label, .. } = raw;
        let kind = match (kind.map(|word| word.0), choices) {
            (Some(ParameterType::Choice) | None, Some(choices)) => ParameterKind::Choice(self.choices(name, choices)?),
            (Some(ParameterType::Choice), None) => {
                let message = format!("parameter `{}` has no `choices`", name.value);
                self.report.say(code::MISSING_KEY, raw.span(), message, "in this map", "add `choices: [one, another]`");
                return None;
            }
            (kind, Some(choices)) if kind.is_some() => {
                let span = choices.first().map_or_else(|| raw.span(), |choice| choice.span);
                let help = "write `type: choice`, or remove `choices`";
                self.report.say(code::EXCLUDING_KEYS, span, "`choices` means nothing for this type", "said here", help);
                return None;
            }
            (Some(ParameterType::Integer), _) => ParameterKind::Integer,
            (Some(ParameterType::Boolean), _) => ParameterKind::Boolean,
            _ => ParameterKind::String,
        };
        let default = match default {
            Some(default) => Some(self.default_value(default, &kind)?),
            None => None,
        };
        let required = required.as_ref().is_some_and(|required| required.value);
        let label = label.as_ref().and_then(|label| self.line(label));
        Some(Parameter { kind, default, required, label })
    }

    fn choices(&mut self, name: &Text, choices: &[Located<Scalar>]) -> Option<Vec<String>> {
        if choices.is_empty() {
            let message = format!("parameter `{}` has nothing to choose from", name.value);
            self.report.say(code::EMPTY, name.span, message, "this parameter", "give `choices` at least one value");
            return None;
        }
        Some(choices.iter().map(|choice| choice.0.clone()).collect())
    }

    fn default_value(&mut self, default: &Located<Scalar>, kind: &ParameterKind) -> Option<String> {
        let value = &default.0;
        let problem = match kind {
            ParameterKind::String if value.len() > Parameter::TEXT_BYTES_MAX => Some("it is too long".to_owned()),
            ParameterKind::Integer if value.parse::<i64>().is_err() => Some("it is not a whole number".to_owned()),
            ParameterKind::Boolean if value != "true" && value != "false" => {
                Some("it is neither true nor false".to_owned())
            }
            ParameterKind::Choice(choices) if !choices.contains(value) => {
                let choices: Vec<_> = choices.iter().map(String::as_str).take(20).collect();
                Some(format!("it is none of {}", crate::config::shape::list(&choices)))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            let message = format!("`{}` cannot be the default of this parameter", short(value));
            let help = format!("{problem}; give one that fits its type");
            self.report.say(code::WRONG_TYPE, default.span, message, "this value", help);
            return None;
        }
        Some(value.clone())
    }
}

fn insert_exact<'a>(matcher: &mut Matcher, field: Field, values: impl Iterator<Item = &'a str>) {
    let escaped: Vec<_> = values.map(escape_glob).collect();
    if let Ok(patterns) = Patterns::parse(field, escaped.iter().map(String::as_str)) {
        matcher.insert(field, patterns);
    }
}

/// Gives the project that all builders of a graph belong to.
fn common_project(graph: &Graph, builders: &BTreeMap<BuilderName, Builder>) -> Option<ProjectName> {
    let mut projects = graph.values().map(|node| builders.get(&node.builder)?.project.as_ref());
    let first = projects.next()??;
    projects.all(|project| project == Some(first)).then(|| first.clone())
}

impl RawScheduler {
    /// Gives what is written under `build`.
    pub(in crate::config) fn build(&self) -> Option<&RawBuild> {
        match self {
            Self::Branch(raw) => raw.build.as_ref(),
            Self::AnyBranch(raw) => raw.build.as_ref(),
            Self::Dependent(raw) => raw.build.as_ref(),
            Self::Triggerable(raw) => raw.build.as_ref(),
            Self::Periodic(raw) => raw.build.as_ref(),
            Self::Nightly(raw) => raw.build.as_ref(),
            Self::Force(raw) => raw.build.as_ref(),
            Self::Unknown(raw) => raw.build.as_ref(),
        }
    }

    fn priority(&self) -> Option<&Located<i64>> {
        match self {
            Self::Branch(raw) => raw.priority.as_ref(),
            Self::AnyBranch(raw) => raw.priority.as_ref(),
            Self::Dependent(raw) => raw.priority.as_ref(),
            Self::Triggerable(raw) => raw.priority.as_ref(),
            Self::Periodic(raw) => raw.priority.as_ref(),
            Self::Nightly(raw) => raw.priority.as_ref(),
            Self::Force(raw) => raw.priority.as_ref(),
            Self::Unknown(raw) => raw.priority.as_ref(),
        }
    }
}
