//! From what is written to what it means: names are looked up, defaults filled in, everything checked.
//!
//! A resolver reports and goes on: what cannot be used becomes `None`, and what hangs on it is checked as far as it can
//! be, so that one reading shows all mistakes.

mod branches;
mod builders;
mod care;
mod extras;
mod graphs;
mod matches;
mod names;
mod notifiers;
mod providers;
mod repositories;
mod routes;
mod schedulers;
mod settings;
mod steps;
mod timetable;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gristmill_model::{Catalog, CatalogHash, Digest, Place};

use super::cycle;
use super::diagnostic::Report;
use super::doubt;
use super::matrix::Family;
use super::raw::RawFile;
use super::scalar::Text;
use super::span::{Lines, Span};

pub(super) use names::Noun;

/// Where the raw values come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The file's name as it was said.
    pub(super) file: &'a str,
    /// The folder that relative paths start from.
    pub(super) folder: &'a Path,
    /// The text.
    pub(super) text: &'a str,
}

/// What the resolvers share.
pub(super) struct Resolver<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) lines: Lines<'a>,
    pub(super) raw: &'a RawFile,
    pub(super) report: &'a mut Report,
    /// The names of every noun, with their places.
    pub(super) index: BTreeMap<Noun, BTreeMap<&'a str, Span>>,
    /// Patterns read so far.
    pub(super) patterns: usize,
    /// The rows of every builder that is named, also of those that cannot be used.
    pub(super) families: BTreeMap<String, Family>,
    /// What is used by something, so that what is not can be named.
    pub(super) used: BTreeSet<(Noun, String)>,
    /// Which scheduler sets off which, and where that is said.
    pub(super) sparks: Vec<Spark>,
    /// Bytes of all recipes, rows expanded.
    pub(super) recipe_bytes: usize,
}

/// That one scheduler sets off another one.
#[derive(Debug, Clone)]
pub(super) struct Spark {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) span: Span,
}

/// Makes the catalog; `None` if there was any mistake.
pub(super) fn resolve(raw: &RawFile, origin: Origin<'_>, report: &mut Report) -> Option<Catalog> {
    let mut resolver = Resolver {
        origin,
        lines: Lines::of(origin.text),
        raw,
        report,
        index: BTreeMap::new(),
        patterns: 0,
        families: BTreeMap::new(),
        used: BTreeSet::new(),
        sparks: Vec::new(),
        recipe_bytes: 0,
    };
    if !resolver.index_names() {
        return None;
    }
    let catalog = resolver.catalog();
    cycle::refuse_scheduler_cycles(&mut resolver);
    doubt::warn(&mut resolver, &catalog);
    (!report.has_mistakes()).then_some(catalog)
}

impl Resolver<'_> {
    fn catalog(&mut self) -> Catalog {
        let mut settings = self.settings();
        let secrets = self.secrets();
        let secret_scopes = self.secret_scopes();
        let repositories = self.repositories();
        let projects = self.projects();
        self.families = self.families();
        let builders = self.builders();
        let schedulers = self.schedulers(&repositories, &builders);
        let notifiers = self.notifiers();
        let routes = self.routes(&notifiers);
        settings.retention = self.retention();
        let care = self.care();
        let hash = CatalogHash(Digest::of(self.origin.text.as_bytes()).0);
        let providers = self.providers();
        Catalog {
            hash,
            repositories,
            projects,
            builders,
            schedulers,
            notifiers,
            routes,
            secrets,
            secret_scopes,
            providers,
            care,
            settings,
        }
    }

    /// Gives the place of a span as it is kept in the catalog.
    pub(super) fn place(&self, span: Span) -> Place {
        let line = u32::try_from(self.lines.line_of(span.start)).unwrap_or(u32::MAX);
        Place { file: self.origin.file.to_owned(), line }
    }

    /// Finds a piece of a text in the source, to point at it; the whole text if it is written otherwise there.
    pub(super) fn piece(&self, text: &Text, piece: &str) -> Span {
        self.piece_of(text.span, piece)
    }

    /// Finds a piece of what stands at a place.
    pub(super) fn piece_of(&self, whole: Span, piece: &str) -> Span {
        let source = self.origin.text.get(whole.start..whole.end).unwrap_or("");
        source.find(piece).map_or(whole, |at| Span::new(whole.start + at, whole.start + at + piece.len()))
    }
}
