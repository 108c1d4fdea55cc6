//! Builders: sources, requirements and steps become one recipe per row.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use gristmill_model::requirement::Requirement;
use gristmill_model::{Builder, BuilderName, CodebaseName, ProjectName, Recipe, RepositoryName, SourceUse};

use super::extras::{self, with_label};
use super::names::Noun;
use super::{Resolver, steps};
use crate::config::code;
use crate::config::matrix::{self, Family, Row, substitute};
use crate::config::raw::{RawBuilder, RawSource, RawSourceUse};
use crate::config::scalar::{Scalar, Text};
use crate::config::shape::{Entries, Placed};
use crate::config::span::{Located, Span};

/// Repetitions after infrastructure trouble.
const RETRIES: RangeInclusive<i64> = 0..=10;
/// Unless configured.
const RETRIES_DEFAULT: u32 = 2;
/// Codebases of one builder.
const SOURCES_MAX: usize = 50;
/// Concrete builders of a whole file.
const BUILDERS_MAX: usize = 5_000;
/// Bytes of all recipes of a file, rows expanded.
pub(super) const RECIPE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Texts by name, checked but not yet substituted.
pub(super) type Templates = Vec<(String, String)>;

impl Resolver<'_> {
    /// Expands the matrices of all builders, also of those that cannot be used otherwise.
    pub(super) fn families(&mut self) -> BTreeMap<String, Family> {
        let raw = self.raw;
        let mut families = BTreeMap::new();
        let mut count = 0;
        for (name, builder) in raw.builders.iter().flat_map(|builders| builders.iter()) {
            let mut family = matrix::expand(name, builder.and_then(|builder| builder.matrix.as_ref()), self.report);
            family.is_known &= builder.is_some();
            count += family.rows.len();
            if count > BUILDERS_MAX {
                let message = format!("the file has more than {BUILDERS_MAX} builders, rows counted");
                self.report.say(code::TOO_BIG, name.span, message, "from here on", "split it over several services");
                break;
            }
            families.insert(name.value.clone(), family);
        }
        families
    }

    pub(super) fn builders(&mut self) -> BTreeMap<BuilderName, Builder> {
        let raw = self.raw;
        let mut builders = BTreeMap::new();
        for (name, builder) in raw.builders.iter().flat_map(|builders| builders.iter()) {
            let Some(builder) = builder else { continue };
            for (concrete, builder) in self.builder(name, builder) {
                builders.insert(concrete, builder);
            }
        }
        builders
    }

    fn builder(&mut self, name: &Text, raw: &RawBuilder) -> Vec<(BuilderName, Builder)> {
        let RawBuilder { project, source, requires, environment, matrix: _, steps, retries, .. } = raw;
        let exclusive = raw.exclusive.as_ref().is_some_and(|exclusive| exclusive.value);
        let Some(family) = self.families.get(name.as_str()).cloned() else { return Vec::new() };
        let axes: Vec<String> = family.axes().into_iter().map(str::to_owned).collect();
        let axes = Axes { known: &axes, is_known: family.is_known };
        let project: Option<ProjectName> = project.as_ref().and_then(|project| self.look_up(Noun::Project, project));
        let sources = self.sources(name, source.as_ref());
        let requires = self.templates(requires.as_ref(), axes);
        self.check_requirements(raw, &requires, &family.rows);
        let environment = self.environment(environment.as_ref(), axes);
        let retries = match retries {
            Some(retries) => self.whole(retries, &RETRIES),
            None => Some(if exclusive { 0 } else { RETRIES_DEFAULT }),
        };
        let orphan_window = self.orphan_window(raw, exclusive);
        let secrets = self.secret_uses(raw);
        let isolation = self.isolation(raw, axes);
        let steps = steps.as_ref().and_then(|steps| self.steps(name, steps, axes));
        let (Some(sources), Some(steps), Some(retries_max)) = (sources, steps, retries) else { return Vec::new() };
        let place = self.place(name.span);
        let bytes: usize = steps.iter().map(|step| step.bytes).sum();
        self.recipe_bytes = self.recipe_bytes.saturating_add(bytes.saturating_mul(family.rows.len()));
        if self.recipe_bytes > RECIPE_BYTES_MAX {
            let help = "keep long scripts in the repository that is built";
            self.report.say(code::TOO_BIG, name.span, "the steps of all rows are too long", "up to this builder", help);
            return Vec::new();
        }
        let expand = |row: &Row| {
            let recipe = Recipe {
                sources: sources.clone(),
                requires: with_label(fill(&requires, row), &isolation),
                environment: fill(&environment, row),
                matrix: row.to_map(),
                steps: steps::fill(&steps, row),
                retries_max,
                orphan_window,
                secrets: secrets.clone(),
                isolation: extras::fill_isolation(&isolation, row),
            };
            let builder = Builder {
                family: family.name.clone(),
                project: project.clone(),
                digest: recipe.digest(),
                recipe,
                place: place.clone(),
            };
            (BuilderName(row.name_of(&family.name)), builder)
        };
        family.rows.iter().map(expand).collect()
    }

    /// Reports what cannot be read as a requirement, in any row, once each.
    fn check_requirements(&mut self, raw: &RawBuilder, templates: &Templates, rows: &[Row]) {
        let mut said = BTreeSet::new();
        for row in rows {
            for (label, wanted) in fill(templates, row) {
                let Err(bad) = Requirement::parse(&wanted) else { continue };
                if !said.insert((label.clone(), wanted.clone())) {
                    continue;
                }
                let message = format!("`{}` cannot be asked of a worker: {bad}", super::names::short(&wanted));
                let help =
                    "write a value, alternatives (`linux|freebsd`), a comparison (`\">=12\"`), a glob, or `!` in front";
                self.report.say(code::BAD_REQUIREMENT, raw.place_of_requirement(&label), message, "this label", help);
            }
        }
    }

    /// Reads what a builder builds from.
    fn sources(&mut self, builder: &Text, raw: Option<&RawSource>) -> Option<BTreeMap<CodebaseName, SourceUse>> {
        let sources = match raw {
            None => vec![self.only_repository(builder)?],
            Some(RawSource::One(name)) => vec![self.plain_source(name, true)?],
            Some(RawSource::Many(names)) => {
                let read: Vec<_> = names.iter().filter_map(|name| self.plain_source(name, names.len() == 1)).collect();
                (read.len() == names.len()).then_some(read)?
            }
            Some(RawSource::Codebases(codebases)) => {
                let count = codebases.0.0.len();
                let read: Vec<_> =
                    codebases.iter().filter_map(|(name, raw)| self.codebase(name, raw?, count == 1)).collect();
                (read.len() == count).then_some(read)?
            }
        };
        if sources.is_empty() {
            let help = "name the repository that it builds from: `source: NAME`";
            let message = format!("builder `{}` has no source", builder.value);
            self.report.say(code::EMPTY, builder.span, message, "this builder", help);
            return None;
        }
        if sources.len() > SOURCES_MAX {
            let message =
                format!("builder `{}` has {} sources, and {SOURCES_MAX} are possible", builder.value, sources.len());
            let help = "let several builders share them, in one graph";
            self.report.say(code::TOO_BIG, builder.span, message, "this builder", help);
            return None;
        }
        self.refuse_nested(&sources);
        Some(sources.into_iter().map(|source| (source.codebase, source.usage)).collect())
    }

    fn only_repository(&mut self, builder: &Text) -> Option<Source> {
        let names = self.names(Noun::Repository);
        if let [(name, _)] = names.as_slice() {
            let name = Text { value: (*name).to_owned(), span: builder.span };
            return self.plain_source(&name, true);
        }
        let help = match names.len() {
            0 => "name a repository under `repositories`, and here as `source`".to_owned(),
            _ => format!(
                "add `source: NAME`; there is {}",
                crate::config::shape::list(&names.iter().map(|&(name, _)| name).take(8).collect::<Vec<_>>())
            ),
        };
        let message = format!("builder `{}` does not say what it builds from", builder.value);
        self.report.say(code::MISSING_KEY, builder.span, message, "this builder", help);
        None
    }

    fn plain_source(&mut self, name: &Text, is_alone: bool) -> Option<Source> {
        let repository: RepositoryName = self.look_up(Noun::Repository, name)?;
        let into = if is_alone { String::new() } else { name.value.clone() };
        let usage = SourceUse { repository, into, branch: None };
        Some(Source { codebase: CodebaseName(name.value.clone()), usage, span: name.span })
    }

    fn codebase(&mut self, name: &Text, raw: &RawSourceUse, is_alone: bool) -> Option<Source> {
        let RawSourceUse { repository, into, branch, .. } = raw;
        let repository = self.look_up(Noun::Repository, repository.as_ref().unwrap_or(name));
        let span = into.as_ref().map_or(name.span, |into| into.span);
        let into = match into {
            Some(into) => self.folder(into),
            None if is_alone => Some(String::new()),
            None => Some(name.value.clone()),
        };
        let branch = match branch {
            Some(branch) => Some(self.branch_name(branch)?),
            None => None,
        };
        let usage = SourceUse { repository: repository?, into: into?, branch };
        Some(Source { codebase: CodebaseName(name.value.clone()), usage, span })
    }

    /// Reports codebases that would be checked out into one another, and names that are there twice.
    fn refuse_nested(&mut self, sources: &[Source]) {
        for (index, source) in sources.iter().enumerate() {
            for other in &sources[..index] {
                let (a, b) = (&source.usage.into, &other.usage.into);
                if !(is_within(a, b) || is_within(b, a)) {
                    continue;
                }
                let message =
                    format!("codebases `{}` and `{}` would be in each other's way", other.codebase, source.codebase);
                let help = "give each a folder of its own: `source: {a: {into: a}, b: {into: b}}`";
                self.report.say(code::BAD_FOLDER, source.span, message, "checked out here", help);
            }
        }
    }

    /// Takes a relative path that stays below the build's own folder; `.` is that folder.
    pub(super) fn folder(&mut self, text: &Text) -> Option<String> {
        let path = text.trim_end_matches('/');
        let path = path.strip_prefix("./").unwrap_or(path);
        let is_good = !text.starts_with('/')
            && !text.chars().any(|c| c.is_control() || c == '\\')
            && path.len() <= 500
            && path.split('/').all(|part| part != ".." && part != ".git" && (!part.is_empty() || path.is_empty()));
        if is_good {
            return Some(if path == "." { String::new() } else { path.to_owned() });
        }
        let message = format!("`{}` is not a folder of the build", super::names::short(text));
        let help = "write a relative path without `..`, such as `app`";
        self.report.say(code::BAD_FOLDER, text.span, message, "this folder", help);
        None
    }

    /// Takes texts by name, in which the matrix may be named.
    pub(super) fn templates(&mut self, raw: Option<&Entries<Located<Scalar>>>, axes: Axes<'_>) -> Templates {
        let mut templates = Vec::new();
        for (name, value) in raw.iter().flat_map(|raw| raw.iter()) {
            let Some(value) = value else { continue };
            self.check_template_text(&value.0, value.span, axes);
            templates.push((name.value.clone(), value.0.clone()));
        }
        templates
    }

    /// Takes environment variables.
    pub(super) fn environment(&mut self, raw: Option<&Entries<Located<Scalar>>>, axes: Axes<'_>) -> Templates {
        for (name, _) in raw.iter().flat_map(|raw| raw.iter()) {
            self.variable_name(name, "GRISTMILL_");
        }
        self.templates(raw, axes)
    }

    /// Reports placeholders that stand for nothing, and characters that no process can be given.
    pub(super) fn check_template_text(&mut self, text: &str, span: Span, axes: Axes<'_>) {
        if text.contains('\0') {
            let help = "remove the escape `\\0`";
            self.report.say(
                code::CONTROL_CHARACTER,
                span,
                "a text with U+0000 cannot be given to a process",
                "this text",
                help,
            );
        }
        for found in matrix::placeholders(text) {
            let piece = &text[found.range.clone()];
            let at = self.piece_of(span, piece);
            if found.scope != "matrix" {
                let message = format!("`{}` is never replaced", super::names::short(piece));
                self.report.say(
                    code::BAD_SUBSTITUTION,
                    at,
                    message,
                    "only ${matrix.…} is",
                    variable_help(&found.scope, &found.name),
                );
            } else if axes.is_known && !axes.known.contains(&found.name) {
                let known: Vec<_> = axes.known.iter().map(String::as_str).collect();
                let message = format!("the matrix has no axis `{}`", super::names::short(&found.name));
                self.report.say(code::UNKNOWN_ROW, at, message, "named here", matrix::axes_help(&found.name, &known));
            }
        }
    }
}

/// The axes that a text may name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes<'a> {
    pub(super) known: &'a [String],
    pub(super) is_known: bool,
}

/// One source of a builder, with the place of its folder.
struct Source {
    codebase: CodebaseName,
    usage: SourceUse,
    span: Span,
}

/// Puts a row's values in.
pub(super) fn fill(templates: &Templates, row: &Row) -> BTreeMap<String, String> {
    templates.iter().map(|(name, text)| (name.clone(), substitute(text, row))).collect()
}

fn is_within(inner: &str, outer: &str) -> bool {
    outer.is_empty() || inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

/// Says which variable has what somebody wanted to have pasted in.
fn variable_help(scope: &str, name: &str) -> String {
    let wanted = format!("{scope}.{name}");
    let variable = [
        ("branch", "GRISTMILL_BRANCH"),
        ("rev", "GRISTMILL_REVISION"),
        ("commit", "GRISTMILL_REVISION"),
        ("sha", "GRISTMILL_REVISION"),
        ("builder", "GRISTMILL_BUILDER"),
        ("scheduler", "GRISTMILL_SCHEDULER"),
        ("project", "GRISTMILL_PROJECT"),
        ("build", "GRISTMILL_BUILD"),
    ];
    let found = variable.iter().find(|(word, _)| wanted.contains(word)).map_or("GRISTMILL_BRANCH", |&(_, found)| found);
    format!("what the build knows comes in environment variables: use \"${found}\", with the quotes")
}

impl RawBuilder {
    /// Gives the place of a requirement, for warnings.
    pub(in crate::config) fn place_of_requirement(&self, label: &str) -> Span {
        let found = self.requires.iter().flat_map(|requires| requires.iter()).find(|(name, _)| name.as_str() == label);
        found.map_or_else(
            || self.span(),
            |(name, value)| value.map_or(name.span, |value| Span::new(name.span.start, value.span.end)),
        )
    }
}
