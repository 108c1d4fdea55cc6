//! `gristmill graph`: a buildset's graph with its states, or a scheduler's as configured.

mod picture;

use gristmill_model::{Catalog, Condition, Scheduler, SchedulerKind};
use serde_json::Value;

use self::picture::{Edge, Node, Picture};
use super::args::{GraphArgs, GraphFormat};
use super::exit::{Exit, Failure};
use super::run::Context;
use super::terminal::{Look, clean, sign_of};
use super::view::Buildset;
use super::{check, view};

pub(crate) async fn run(context: &Context, args: &GraphArgs) -> Result<Exit, Failure> {
    let number = args.what.as_deref().filter(|what| what.bytes().all(|byte| byte.is_ascii_digit()));
    let picture = match number {
        Some(number) => {
            let answer: Value = context.client()?.read(&["buildsets", number], &[]).await?;
            let buildset: Buildset = serde_json::from_value(answer).map_err(Failure::broken)?;
            of_buildset(&buildset)
        }
        None => {
            if !args.file.exists() {
                return Err(Failure::new(Exit::Invalid, format!("there is no {}", args.file.display())).hint(
                    "--file names the configuration; a running service is asked for a buildset's graph by its number: \
                     `gristmill graph 3`",
                ));
            }
            let catalog = check::load(context, &args.file)?.catalog;
            match &args.what {
                Some(name) => of_scheduler(name, find(&catalog, name)?),
                None => of_catalog(&catalog),
            }
        }
    };
    let format = if context.global.json { GraphFormat::Json } else { args.format };
    let text = match format {
        GraphFormat::Text => picture.text(context.look),
        GraphFormat::Dot => picture.dot(),
        GraphFormat::Mermaid => picture.mermaid(),
        GraphFormat::Json => format!("{:#}", picture.json()),
    };
    context.result(text.trim_end())?;
    Ok(Exit::Done)
}

fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Scheduler, Failure> {
    catalog.schedulers.get(name).ok_or_else(|| {
        let nearest = catalog
            .schedulers
            .keys()
            .map(|known| (strsim::jaro_winkler(known.as_str(), name), known))
            .filter(|(likeness, _)| *likeness > 0.7)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let hint = match nearest {
            Some((_, known)) => format!("did you mean `{known}`?"),
            None => "`gristmill graph` alone shows all schedulers".to_owned(),
        };
        Failure::new(Exit::NotFound, format!("there is no scheduler `{}`", clean(name))).hint(hint)
    })
}

/// Draws a buildset for the terminal.
pub(crate) fn render_buildset(look: Look, buildset: &Buildset) -> String {
    of_buildset(buildset).text(look)
}

fn of_buildset(buildset: &Buildset) -> Picture {
    let view::Buildset { id, scheduler, branch, state, outcome, requests, edges } = buildset;
    let title = format!("buildset {id}  {scheduler} on {branch}  {}", outcome.as_deref().unwrap_or(state));
    let position = |request: i64| requests.iter().position(|candidate| candidate.id == request);
    let nodes = requests
        .iter()
        .map(|request| {
            let build = request.build.map_or(String::new(), |build| format!("build {build}"));
            let label = if request.node.is_empty() { &request.builder } else { &request.node };
            Node {
                name: label.clone(),
                note: build,
                state: request.outcome.clone().unwrap_or_else(|| shown_state(&request.state).to_owned()),
            }
        })
        .collect();
    let edges = edges
        .iter()
        .filter_map(|edge| Some(Edge { from: position(edge.needs)?, to: position(edge.request)?, on: edge.on.clone() }))
        .collect();
    Picture { title, nodes, edges }
}

/// A leased request is what people call running.
fn shown_state(state: &str) -> &str {
    if state == "leased" { "running" } else { state }
}

fn of_scheduler(name: &str, scheduler: &Scheduler) -> Picture {
    let graph = &scheduler.graph;
    let position = |name: &gristmill_model::NodeName| graph.keys().position(|candidate| candidate == name);
    let nodes = graph
        .iter()
        .map(|(name, node)| {
            let note = if node.builder.as_str() == name.as_str() {
                String::new()
            } else {
                format!("builder {}", node.builder)
            };
            Node { name: name.to_string(), note, state: String::new() }
        })
        .collect();
    let edges = graph
        .iter()
        .flat_map(|(name, node)| node.needs.iter().map(move |need| (name, need)))
        .filter_map(|(name, need)| {
            Some(Edge { from: position(&need.node)?, to: position(name)?, on: need.on.as_str().to_owned() })
        })
        .collect();
    Picture { title: format!("scheduler {name}  {}", scheduler.kind.as_str()), nodes, edges }
}

fn of_catalog(catalog: &Catalog) -> Picture {
    let names: Vec<&str> = catalog.schedulers.keys().map(|name| name.as_str()).collect();
    let nodes = catalog
        .schedulers
        .iter()
        .map(|(name, scheduler)| {
            let mut builders: Vec<&str> = scheduler.graph.values().map(|node| node.builder.as_str()).collect();
            builders.dedup();
            let note = format!("{}, builds {}", scheduler.kind.as_str(), builders.join(", "));
            Node { name: name.to_string(), note, state: String::new() }
        })
        .collect();
    let mut edges = Vec::new();
    for (to, scheduler) in catalog.schedulers.values().enumerate() {
        let SchedulerKind::Dependent { upstream, on } = &scheduler.kind else { continue };
        let on: Condition = *on;
        let from = upstream.iter().filter_map(|name| names.iter().position(|known| *known == name.as_str()));
        edges.extend(from.map(|from| Edge { from, to, on: on.as_str().to_owned() }));
    }
    Picture { title: format!("catalog {}", catalog.hash.short()), nodes, edges }
}

/// Gives the sign before a node's name; nodes that are only configured have none.
fn sign(look: Look, state: &str) -> String {
    if state.is_empty() { look.dot().to_owned() } else { sign_of(look, Some(state), state) }
}
