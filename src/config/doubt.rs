//! Doubts: what can be used, but will not do what was probably meant.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::requirement::{self, Said};
use gristmill_model::{Catalog, Provider};

use super::code;
use super::raw::{RawBuilder, RawScheduler};
use super::resolve::{Noun, Resolver};

/// Labels whose values are known only to the worker itself, and which are not compared here.
const FOUND_OUT: [&str; 6] =
    ["cores", "memory", "kernel", "isolation.bubblewrap", "isolation.docker", "isolation.podman"];

/// Warns of builders that cannot run or are never built, of schedulers that nobody starts, and of what nothing uses.
pub(super) fn warn(resolver: &mut Resolver<'_>, catalog: &Catalog) {
    requirements(resolver, catalog);
    // What is not used may be meant where something unknown is named; the mistake says enough.
    if resolver.report.has_mistakes() {
        return;
    }
    never_built(resolver);
    never_started(resolver);
    unused(resolver);
}

/// Gives the labels of the built-in worker that a file can know: its own, and what the service is built for.
fn local_labels(catalog: &Catalog) -> BTreeMap<String, String> {
    let known = [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
    let mut labels: BTreeMap<String, String> = known.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    labels.extend(catalog.settings.local_labels.clone());
    labels
}

fn requirements(resolver: &mut Resolver<'_>, catalog: &Catalog) {
    let labels = local_labels(catalog);
    let mut said = BTreeSet::new();
    for (name, builder) in &catalog.builders {
        // A provider's workers have its labels before there is any.
        let has_all = |provider: &Provider| {
            let meets = |(label, wanted): (&String, &String)| {
                requirement::meets(wanted, provider.labels.get(label).map(String::as_str))
            };
            builder.recipe.requires.iter().all(meets)
        };
        if catalog.providers.values().any(has_all) {
            continue;
        }
        for (label, wanted) in &builder.recipe.requires {
            let has = labels.get(label);
            let is_open = (has.is_none() && FOUND_OUT.contains(&label.as_str())) || wanted.contains("${matrix.");
            if requirement::meets(wanted, has.map(String::as_str))
                || is_open
                || !said.insert((&builder.family, label, wanted))
            {
                continue;
            }
            let Some(raw) = raw_builder(resolver, &builder.family) else { continue };
            let span = raw.place_of_requirement(label);
            let label_text = match has {
                Some(value) => format!("the built-in worker has {label}={value}"),
                None => format!("the built-in worker has no label `{label}`"),
            };
            let message = format!("no worker that this file knows of can run `{name}`");
            let mut help = format!("builds wait until a worker with {} joins", Said(label, wanted));
            if !wanted.contains(['|', '!', '*', '?', '<', '>', '=']) {
                help += &format!("; for the built-in one: `gristmill: {{labels: {{{label}: {wanted}}}}}`");
            }
            resolver.report.say(code::CANNOT_RUN, span, message, label_text, help);
        }
    }
}

fn raw_builder<'a>(resolver: &Resolver<'a>, family: &str) -> Option<&'a RawBuilder> {
    let raw = resolver.raw;
    raw.builders.as_ref()?.iter().find(|(name, _)| name.as_str() == family).and_then(|(_, builder)| builder)
}

fn never_built(resolver: &mut Resolver<'_>) {
    let raw = resolver.raw;
    let mut built = BTreeSet::new();
    for build in raw.schedulers.iter().flat_map(|all| all.iter()).filter_map(|(_, scheduler)| scheduler?.build()) {
        built.extend(build.builders());
    }
    for (name, _) in raw.builders.iter().flat_map(|all| all.iter()) {
        if !built.contains(name.as_str()) {
            let message = format!("no scheduler builds `{}`", name.value);
            let help = "name it under `build` of a scheduler, or remove it";
            resolver.report.say(code::NEVER_BUILT, name.span, message, "never runs", help);
        }
    }
}

fn never_started(resolver: &mut Resolver<'_>) {
    let raw = resolver.raw;
    for (name, scheduler) in raw.schedulers.iter().flat_map(|all| all.iter()) {
        let is_triggerable = matches!(scheduler, Some(RawScheduler::Triggerable(_)));
        if is_triggerable && !resolver.used.contains(&(Noun::Scheduler, name.value.clone())) {
            let message = format!("nothing triggers `{}`", name.value);
            let help = format!("add a step `{{trigger: {}}}` to a builder, or use `kind: force`", name.value);
            resolver.report.say(code::NEVER_STARTED, name.span, message, "never starts", help);
        }
    }
}

fn unused(resolver: &mut Resolver<'_>) {
    for (noun, help) in [
        (Noun::Repository, "name it as `source` of a builder, or remove it"),
        (Noun::Project, "name it as `project` of a builder, or remove it"),
        (Noun::Secret, "use it where a password, token or key is needed, or remove it"),
        (Noun::Notifier, "name it under `to` of a route, or remove it"),
    ] {
        let names: Vec<_> = resolver.names(noun).into_iter().map(|(name, span)| (name.to_owned(), span)).collect();
        for (name, span) in names {
            if !resolver.used.contains(&(noun, name.clone())) {
                let message = format!("nothing uses {} `{name}`", noun.as_str());
                resolver.report.say(code::UNUSED, span, message, "named here", help);
            }
        }
    }
}
