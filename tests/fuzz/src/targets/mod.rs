//! The targets, by the part of the product that they attack.

mod agent;
mod config;
mod git;
mod guard;
mod hooks;
mod logs;
mod matching;
mod rows;
mod screen;
mod sessions;
mod telling;
mod times;
mod web;
mod world;

use std::path::Path;

use gristmill_model::{Catalog, Repository, RepositoryName};

use crate::{Target, corpus};

/// Every target, in the order in which they are run.
///
/// A `static`, so that what it names is compiled once, and not again for whoever uses it.
pub static TARGETS: &[Target] = &[
    config::CONFIG,
    matching::MATCHING,
    times::CRON,
    times::SPANS,
    hooks::GENERIC,
    hooks::GITHUB,
    hooks::SIGNATURE,
    git::LOCATION,
    git::REF_LIST,
    git::REF_NAME,
    git::COMMIT,
    logs::APPEND,
    logs::TORN,
    sessions::SESSION,
    sessions::JSON,
    agent::SPOOL,
    agent::ENVIRONMENT,
    agent::SECRET,
    web::REQUESTS,
    web::EVENTS,
    guard::GUARD,
    rows::ROWS,
    telling::TEMPLATE,
    telling::MESSAGE,
    telling::TEXT,
    telling::MAIL,
    telling::IRC_SAYS,
    telling::IRC_HEARS,
    screen::ANSI,
    screen::TERMINAL,
    screen::NARRATE,
    screen::EVENT_STREAM,
    screen::ENDLESS_EVENT,
    screen::GRAPH,
];

/// Makes seeds of texts.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Bytes that structure can be made of: whatever they say, it is the same in every run.
fn blind_seeds() -> Vec<Vec<u8>> {
    (1..=8_u64)
        .map(|seed| {
            let mut random = crate::random::Random::new(seed);
            (0..seed * 48).map(|_| random.byte()).collect()
        })
        .collect()
}

/// Reads the files below a folder of the repository whose names end so.
fn files_of_repository(folder: &str, end: &str) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    collect(&corpus::repository().join(folder), end, &mut seeds);
    seeds
}

fn collect(folder: &Path, end: &str, seeds: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => collect(&path, end, seeds),
            false if path.to_string_lossy().ends_with(end) => seeds.push(std::fs::read(&path).unwrap()),
            false => {}
        }
    }
}

/// Reads a configuration that is known to be good.
fn catalog(text: &str) -> Catalog {
    gristmill::config::read(text, "/etc/gristmill/gristmill.yaml").unwrap_or_else(|no| panic!("{no}")).catalog
}

/// A repository, looked at as its configuration says.
fn repository(more: &str) -> Repository {
    let text = format!(
        "repositories: {{core: {{git: /srv/core.git{more}}}}}\nprojects: {{core: {{repositories: [core]}}}}\n\
         builders: {{a: {{project: core, source: core, steps: [{{run: \"true\"}}]}}}}\n\
         schedulers: {{all: {{kind: any-branch, when: {{repository: core}}, build: [a]}}}}\n\
         secrets: {{hook: {{env: HOOK_SECRET}}}}\n"
    );
    catalog(&text).repositories.remove(&RepositoryName::from("core")).unwrap()
}
