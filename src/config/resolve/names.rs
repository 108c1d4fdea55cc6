//! Looking names up, and saying what was probably meant.

use std::collections::BTreeMap;

use super::Resolver;
use crate::config::code::{self, Code};
use crate::config::nearest::nearest;
use crate::config::scalar::Text;
use crate::config::shape::{Named, is_name};
use crate::config::span::Span;

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) enum Noun {
    Repository,
    Project,
    Builder,
    Scheduler,
    Secret,
    Notifier,
}

impl Noun {
    /// Gives the word for one.
    pub(in crate::config) fn as_str(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Project => "project",
            Self::Builder => "builder",
            Self::Scheduler => "scheduler",
            Self::Secret => "secret",
            Self::Notifier => "notifier",
        }
    }

    /// Gives the key under which they are named.
    fn key(self) -> &'static str {
        match self {
            Self::Repository => "repositories",
            Self::Project => "projects",
            Self::Builder => "builders",
            Self::Scheduler => "schedulers",
            Self::Secret => "secrets",
            Self::Notifier => "notifiers",
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Repository => code::UNKNOWN_REPOSITORY,
            Self::Project => code::UNKNOWN_PROJECT,
            Self::Builder => code::UNKNOWN_BUILDER,
            Self::Scheduler => code::UNKNOWN_SCHEDULER,
            Self::Secret => code::UNKNOWN_SECRET,
            Self::Notifier => code::UNKNOWN_NOTIFIER,
        }
    }
}

/// Names of one noun.
const NAMES_MAX: usize = 5_000;

impl<'a> Resolver<'a> {
    /// Collects all names; says whether they are few enough to go on.
    pub(super) fn index_names(&mut self) -> bool {
        fn all<T>(named: Option<&Named<T>>) -> BTreeMap<&str, Span> {
            named.map(|named| named.iter().map(|(name, _)| (name.as_str(), name.span)).collect()).unwrap_or_default()
        }
        let raw = self.raw;
        self.index = [
            (Noun::Repository, all(raw.repositories.as_ref())),
            (Noun::Project, all(raw.projects.as_ref())),
            (Noun::Builder, all(raw.builders.as_ref())),
            (Noun::Scheduler, all(raw.schedulers.as_ref())),
            (Noun::Secret, all(raw.secrets.as_ref())),
            (Noun::Notifier, all(raw.notifiers.as_ref())),
        ]
        .into();
        for (noun, names) in &self.index {
            if let Some(span) = names.values().nth(NAMES_MAX) {
                let message = format!("more than {NAMES_MAX} names under `{}`", noun.key());
                self.report.say(code::TOO_BIG, *span, message, "one of them", "split it over several services");
                return false;
            }
        }
        true
    }

    /// Gives all names of a noun with their places, as they are written.
    pub(in crate::config) fn names(&self, noun: Noun) -> Vec<(&'a str, Span)> {
        let mut names: Vec<_> =
            self.index.get(&noun).into_iter().flatten().map(|(&name, &span)| (name, span)).collect();
        names.sort_by_key(|&(_, span)| span);
        names
    }

    /// Looks a name up and remembers that it is used; reports one that does not exist.
    pub(in crate::config) fn look_up<N: From<String>>(&mut self, noun: Noun, name: &Text) -> Option<N> {
        if self.index.get(&noun).is_some_and(|names| names.contains_key(name.as_str())) {
            self.used.insert((noun, name.value.clone()));
            return Some(N::from(name.value.clone()));
        }
        if noun == Noun::Secret && !is_name(name) {
            let message = "a value stands where the name of a secret belongs";
            let help = "name it under `secrets`, as `{env: VARIABLE}` or `{file: path}`, and use that name here";
            self.report.say(code::SECRET_VALUE, name.span, message, "not a name", help);
        } else {
            self.unknown(noun, name);
        }
        None
    }

    /// Reports a name that does not exist.
    pub(in crate::config) fn unknown(&mut self, noun: Noun, name: &Text) {
        let help = if self.report.is_full() { String::new() } else { self.suggestion(noun, name) };
        let message = format!("{} `{}` does not exist", noun.as_str(), short(name));
        self.report.say(noun.code(), name.span, message, "named here", help);
    }

    fn suggestion(&self, noun: Noun, name: &str) -> String {
        let known = self.names(noun);
        let near = nearest(name, known.iter().map(|&(known, _)| known));
        if let Some(&(near, span)) = known.iter().find(|&&(known, _)| Some(known) == near) {
            return format!("did you mean `{near}` (line {})?", self.lines.line_of(span.start));
        }
        let key = noun.key();
        match (noun, known.len()) {
            (Noun::Secret, 0) => "name it under `secrets`, as `{env: VARIABLE}` or `{file: path}`".to_owned(),
            (_, 0) => format!("there are none; name it under `{key}`"),
            (_, 1..=8) => {
                let names: Vec<_> = known.iter().map(|&(name, _)| name).collect();
                format!("under `{key}` there is {}", crate::config::shape::list(&names))
            }
            (_, count) => format!("it is none of the {count} names under `{key}`"),
        }
    }
}

/// Cuts a text to what fits into a message.
pub(in crate::config) fn short(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARACTERS_MAX).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
