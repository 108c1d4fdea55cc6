//! One buildset: its graph, how far it is, and what is in the way.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use gristmill_model::{BuildsetId, Condition, Outcome, Reason, Timestamp, Trigger};
use serde::Deserialize;

use super::find::{Missing, number};
use super::overview::{ErrorView, error_view, first_error};
use super::shell::{Shell, Shown, Trouble, answer, blocking, page};
use super::show::{self, Markup, Sign};
use crate::store::read::{BuildRow, BuildsetDetail, EdgeRow, RequestRow};
use crate::web::graph::{BOX_HEIGHT, BOX_WIDTH, lay_out};
use crate::web::{App, ansi};

/// From so many nodes on, the rows of a matrix are drawn as one.
const FOLD_FROM: usize = 60;
/// Nodes that are drawn; a larger graph is a list.
const DRAWN_MAX: usize = 500;
/// Failures whose first error is looked up.
const ERRORS_SHOWN: usize = 12;
/// Waiting nodes whose reason is asked for.
const REASONS_SHOWN: usize = 40;
/// Characters of a name that fit into a box.
const NAME_CHARS: usize = 20;
/// Characters of the line under it.
const SUB_CHARS: usize = 23;

#[derive(Template)]
#[template(path = "buildset.html")]
struct BuildsetPage {
    shell: Shell,
    id: i64,
    scheduler: String,
    project: String,
    branch: String,
    sign: Sign,
    lead: String,
    trigger: TriggerView,
    stamps: Vec<StampView>,
    properties: Vec<(String, String)>,
    created: Markup,
    lasted: Markup,
    is_open: bool,
    counts: Vec<(Sign, u32)>,
    failures: Vec<FailureView>,
    picture: Option<Picture>,
    nodes: Vec<NodeView>,
    changes: Vec<super::lists::ChangeLine>,
    downstream: Vec<(String, String, Markup)>,
}

/// What set a buildset off, in words and links.
#[derive(Default)]
pub(crate) struct TriggerView {
    pub(crate) words: String,
    pub(crate) links: Vec<(String, String)>,
    pub(crate) rest: String,
}

/// One codebase at its revision.
pub(crate) struct StampView {
    pub(crate) codebase: String,
    pub(crate) branch: String,
    pub(crate) short: String,
    pub(crate) revision: String,
    pub(crate) change: Option<i64>,
}

struct FailureView {
    build: i64,
    node: String,
    summary: String,
    sign: Sign,
    error: Option<ErrorView>,
}

struct NodeView {
    request: i64,
    href: String,
    name: String,
    builder: String,
    sign: Sign,
    lasted: Markup,
    needs: Vec<String>,
    reason: String,
    is_open: bool,
    /// Why it waits, in a few words for its box.
    short: String,
    worker: String,
}

/// The drawn graph.
struct Picture {
    width: i32,
    height: i32,
    folded: bool,
    edges: Vec<(String, String)>,
    boxes: Vec<BoxView>,
}

struct BoxView {
    x: i32,
    y: i32,
    href: String,
    label: String,
    name: String,
    sub: String,
    sign: Sign,
    /// Small signs and where they stand.
    strip: Vec<(i32, Sign)>,
}

#[derive(Deserialize)]
pub(crate) struct BuildsetQuery {
    /// `all` draws a graph however large it is.
    draw: Option<String>,
}

/// Shows `/buildsets/{id}`.
pub(crate) async fn buildset(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<BuildsetQuery>,
) -> Response {
    answer(&app, buildset_page(&app, &id, query.draw.as_deref() == Some("all")).await).await
}

async fn buildset_page(app: &App, which: &str, draw_all: bool) -> Shown {
    let id = number(which).ok_or_else(|| Missing::numbered("buildset", which))?;
    let shell = Shell::read(app, "/builds", format!("buildset={id} request build step")).await?;
    let now = shell.now;
    let detail = app.reader.find_buildset_detail(BuildsetId(id)).await?;
    let detail = detail.ok_or_else(|| Missing::numbered("buildset", which))?;
    let builds = app.reader.builds_of_buildset(BuildsetId(id)).await?;
    let latest: BTreeMap<i64, BuildRow> = builds.into_iter().map(|build| (build.request.0, build)).collect();
    let failures = failures(app, &detail, &latest).await?;
    let mut nodes = nodes(app, &detail, &latest, now).await;
    let row = &detail.buildset;
    let counts = counts(&detail.requests);
    let drawn = detail.requests.len() <= DRAWN_MAX || draw_all;
    let picture =
        drawn.then(|| picture(&detail, &nodes)).filter(|picture| picture.boxes.len() <= DRAWN_MAX || draw_all);
    in_order(&mut nodes, &detail);
    page(&BuildsetPage {
        id,
        scheduler: row.scheduler.0.clone(),
        project: row.project.as_ref().map_or_else(String::new, |project| project.0.clone()),
        branch: ansi::one_line(&row.branch),
        sign: Sign::of_buildset(row),
        lead: lead(&detail),
        trigger: trigger_view(&row.trigger),
        stamps: stamp_views(row.stamps.iter().map(|(codebase, stamp)| {
            (codebase.as_str(), stamp.branch.as_str(), &stamp.revision, stamp.change.map(|change| change.0))
        })),
        properties: detail.properties.iter().map(|(name, value)| (name.clone(), ansi::one_line(value))).collect(),
        created: show::at(row.created_at, now),
        lasted: show::lasted(row.created_at, row.completed_at, now),
        is_open: row.outcome.is_none(),
        counts,
        failures,
        picture,
        nodes,
        changes: detail.changes.iter().map(|change| super::lists::change_line(change, now)).collect(),
        downstream: detail
            .downstream
            .iter()
            .map(|after| (after.scheduler.0.clone(), ansi::one_line(&after.result), show::at(after.at, now)))
            .collect(),
        shell: shell.titled(format!("Buildset {id}")),
    })
}

fn lead(detail: &BuildsetDetail) -> String {
    let counts = detail.buildset.counts;
    let total = show::many(counts.total as usize, "build");
    match detail.buildset.outcome {
        Some(_) if counts.bad == 0 => format!("all of {total} ended well"),
        Some(_) => format!("{} of {total} did not end well", counts.bad),
        None => format!(
            "{} of {total} over, {} running, {} waiting",
            counts.good + counts.bad,
            counts.running,
            counts.waiting
        ),
    }
}

fn counts(requests: &[RequestRow]) -> Vec<(Sign, u32)> {
    let order = [
        Sign::Success,
        Sign::Warnings,
        Sign::Failure,
        Sign::Exception,
        Sign::Cancelled,
        Sign::Skipped,
        Sign::Running,
        Sign::Ready,
        Sign::Waiting,
    ];
    let count =
        |sign| u32::try_from(requests.iter().filter(|request| Sign::of_request(request) == sign).count()).unwrap_or(0);
    order.into_iter().map(|sign| (sign, count(sign))).filter(|(_, count)| *count > 0).collect()
}

/// Says what set a buildset off.
pub(crate) fn trigger_view(trigger: &Trigger) -> TriggerView {
    let links = |ids: Vec<i64>, path: &str, noun: &str| {
        ids.into_iter().take(8).map(|id| (format!("/{path}/{id}"), format!("{noun} {id}"))).collect()
    };
    match trigger {
        Trigger::Changes { changes } => TriggerView {
            links: links(changes.iter().rev().map(|change| change.0).collect(), "changes", "change"),
            ..TriggerView::default()
        },
        Trigger::Time { nominal, changes } => TriggerView {
            words: format!("the clock, {} UTC", &nominal.to_rfc3339()[..16].replace('T', " ")),
            links: links(changes.iter().rev().map(|change| change.0).collect(), "changes", "change"),
            rest: String::new(),
        },
        Trigger::Upstream { buildsets } => TriggerView {
            words: "the end of".to_owned(),
            links: links(buildsets.iter().map(|buildset| buildset.0).collect(), "buildsets", "buildset"),
            rest: String::new(),
        },
        Trigger::Step { build, step, wait } => TriggerView {
            words: "a trigger step of".to_owned(),
            links: vec![(format!("/builds/{build}?step={step}"), format!("build {build}"))],
            rest: if *wait { "which waits for it".to_owned() } else { String::new() },
        },
        Trigger::Person { by, reason } => {
            let reason = reason.as_deref().map_or_else(String::new, |reason| format!(": {}", ansi::one_line(reason)));
            TriggerView { words: format!("{}{reason}", ansi::one_line(by)), ..TriggerView::default() }
        }
    }
}

/// Shows frozen stamps.
pub(crate) fn stamp_views<'a>(
    stamps: impl Iterator<Item = (&'a str, &'a str, &'a gristmill_model::Revision, Option<i64>)>,
) -> Vec<StampView> {
    stamps
        .map(|(codebase, branch, revision, change)| StampView {
            codebase: codebase.to_owned(),
            branch: ansi::one_line(branch),
            short: revision.short().to_owned(),
            revision: revision.0.clone(),
            change,
        })
        .collect()
}

/// Puts the list into the graph's order: what is needed comes before what needs it.
fn in_order(nodes: &mut [NodeView], detail: &BuildsetDetail) {
    if nodes.len() > DRAWN_MAX {
        return;
    }
    let place: BTreeMap<i64, usize> = nodes.iter().enumerate().map(|(at, node)| (node.request, at)).collect();
    let pairs: Vec<(usize, usize)> = group_edges(&detail.edges, &place).into_keys().collect();
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let order = lay_out(&names, &pairs).order;
    let rank: BTreeMap<i64, usize> = order.iter().enumerate().map(|(rank, at)| (nodes[*at].request, rank)).collect();
    nodes.sort_by_key(|node| rank.get(&node.request).copied());
}

async fn failures(
    app: &App,
    detail: &BuildsetDetail,
    latest: &BTreeMap<i64, BuildRow>,
) -> Result<Vec<FailureView>, Trouble> {
    let mut failures = Vec::new();
    for request in detail.requests.iter().filter(|request| request.outcome.is_some_and(Outcome::is_bad)) {
        let Some(build) = latest.get(&request.id.0) else { continue };
        let mut error = None;
        if let (Some(step), true) = (&build.step, failures.len() < ERRORS_SHOWN) {
            let (logs, address) = (app.logs.clone(), build.log(step.number));
            error = blocking(move || first_error(&logs, address).map(|mark| error_view(address, &mark))).await?;
        }
        failures.push(FailureView {
            build: build.id.0,
            node: request.node.0.clone(),
            summary: ansi::one_line(build.summary.as_deref().unwrap_or("")),
            sign: Sign::of_request(request),
            error,
        });
    }
    Ok(failures)
}

async fn nodes(app: &App, detail: &BuildsetDetail, latest: &BTreeMap<i64, BuildRow>, now: Timestamp) -> Vec<NodeView> {
    let names: BTreeMap<i64, &str> =
        detail.requests.iter().map(|request| (request.id.0, request.node.as_str())).collect();
    let mut views = Vec::new();
    let mut asked = 0;
    for request in &detail.requests {
        let sign = Sign::of_request(request);
        let mut short = String::new();
        let mut reason = match request.outcome {
            Some(outcome) if !outcome.is_good() => request.reason.clone().unwrap_or_default(),
            _ => String::new(),
        };
        if matches!(sign, Sign::Waiting | Sign::Ready) && asked < REASONS_SHOWN {
            asked += 1;
            let reasons = app.engine.explain(request.id).await;
            short = reasons.first().map(in_short).unwrap_or_default();
            reason = reasons.first().map(ToString::to_string).unwrap_or_default();
        }
        let build = latest.get(&request.id.0);
        let needs = detail.edges.iter().filter(|edge| edge.request == request.id).map(|edge| {
            let name = names.get(&edge.needs.0).copied().unwrap_or("?");
            if edge.on == Condition::Success { name.to_owned() } else { format!("{name} (on {})", edge.on.as_str()) }
        });
        views.push(NodeView {
            request: request.id.0,
            href: request.build.map_or_else(|| format!("/requests/{}", request.id), |build| format!("/builds/{build}")),
            name: request.node.0.clone(),
            builder: request.builder.0.clone(),
            sign,
            lasted: build.map_or_else(Markup::default, |build| show::build_lasted(build, now)),
            needs: needs.collect(),
            reason: ansi::one_line(&reason),
            is_open: request.outcome.is_none(),
            short,
            worker: build.map_or_else(String::new, |build| build.worker.0.clone()),
        });
    }
    views
}

/// Says a reason to wait in a few words.
fn in_short(reason: &Reason) -> String {
    match reason {
        Reason::Needs { needs } if needs.len() == 1 => format!("needs {}", needs[0].node),
        Reason::Needs { needs } => format!("needs {} more", needs.len()),
        Reason::NoWorkerCan { .. } => "no worker can run it".to_owned(),
        Reason::NoWorkers => "no worker has joined".to_owned(),
        Reason::WorkersAway { .. } => "workers are away".to_owned(),
        Reason::WorkersHeld { .. } => "workers are held".to_owned(),
        Reason::WorkersClosed { .. } => "workers' windows are closed".to_owned(),
        Reason::WorkersBusy { position, .. } => format!("{position}. in line"),
        Reason::TriggerWaits { buildset } => format!("waits for buildset {buildset}"),
        _ => "waiting".to_owned(),
    }
}

/// What is drawn as one box: a node, or all rows of a matrix.
struct Group<'a> {
    name: String,
    members: Vec<(&'a RequestRow, &'a NodeView)>,
}

fn picture(detail: &BuildsetDetail, nodes: &[NodeView]) -> Picture {
    let folded = detail.requests.len() >= FOLD_FROM;
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut place: BTreeMap<i64, usize> = BTreeMap::new();
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    for (request, node) in detail.requests.iter().zip(nodes) {
        let name = if folded { family(request.node.as_str()) } else { request.node.as_str() }.to_owned();
        let at = *by_name.entry(name.clone()).or_insert_with(|| {
            groups.push(Group { name, members: Vec::new() });
            groups.len() - 1
        });
        groups[at].members.push((request, node));
        place.insert(request.id.0, at);
    }
    let edges = group_edges(&detail.edges, &place);
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let pairs: Vec<(usize, usize)> = edges.keys().copied().collect();
    let layout = lay_out(&names, &pairs);
    let signs: Vec<Sign> = groups.iter().map(Group::sign).collect();
    let edge_views = edges.iter().zip(layout.paths).map(|(((from, _), on), path)| {
        let done = *on == Condition::Success && signs[*from] == Sign::Success;
        (path, format!("edge on-{}{}", on.as_str(), if done { " done" } else { "" }))
    });
    let boxes = layout.order.iter().map(|at| groups[*at].draw(layout.boxes[*at], detail.buildset.id.0));
    Picture { width: layout.width, height: layout.height, folded, edges: edge_views.collect(), boxes: boxes.collect() }
}

fn group_edges(edges: &[EdgeRow], place: &BTreeMap<i64, usize>) -> BTreeMap<(usize, usize), Condition> {
    edges
        .iter()
        .filter_map(|edge| {
            let (from, to) = (*place.get(&edge.needs.0)?, *place.get(&edge.request.0)?);
            (from != to).then_some(((from, to), edge.on))
        })
        .collect()
}

/// Gives a node's name without the row of its matrix.
fn family(node: &str) -> &str {
    node.split('[').next().unwrap_or(node)
}

impl Group<'_> {
    /// Gives the sign of the worst that is known, and running before waiting.
    fn sign(&self) -> Sign {
        let outcomes: Vec<Option<Outcome>> = self.members.iter().map(|(request, _)| request.outcome).collect();
        if let Some(bad) = outcomes.iter().flatten().copied().filter(|outcome| outcome.is_bad()).max() {
            return bad.into();
        }
        if let Some(all) = outcomes.iter().copied().collect::<Option<Vec<_>>>() {
            return Outcome::combine(all).into();
        }
        let signs: Vec<Sign> = self.members.iter().map(|(request, _)| Sign::of_request(request)).collect();
        [Sign::Running, Sign::Ready].into_iter().find(|sign| signs.contains(sign)).unwrap_or(Sign::Waiting)
    }

    fn draw(&self, (x, y): (i32, i32), buildset: i64) -> BoxView {
        let sign = self.sign();
        let (sub, href, strip) = match self.members.as_slice() {
            [(_, node)] => (node.under(), node.href.clone(), Vec::new()),
            members => {
                let signs = members.iter().map(|(request, _)| Sign::of_request(request));
                let strip = signs.take(8).zip(0..).map(|(sign, at)| (x + 66 + 13 * at, sign)).collect();
                (format!("× {}", members.len()), format!("/buildsets/{buildset}#list"), strip)
            }
        };
        let needs: Vec<&str> = self.members.iter().flat_map(|(_, node)| &node.needs).map(String::as_str).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(", needs {}", needs.join(", ")) };
        BoxView {
            x,
            y,
            href,
            label: format!("{}, {}, {sub}{needs}", self.name, sign.word()),
            name: fitted(&self.name, NAME_CHARS),
            sub: fitted(&sub, SUB_CHARS),
            sign,
            strip,
        }
    }
}

impl NodeView {
    /// Gives the line under its name.
    fn under(&self) -> String {
        let lasted = plain_text(&self.lasted.to_string());
        match self.sign {
            Sign::Waiting | Sign::Ready if !self.short.is_empty() => self.short.clone(),
            Sign::Waiting | Sign::Ready | Sign::Skipped => self.sign.word().to_owned(),
            Sign::Running => format!("{lasted} on {}", self.worker),
            sign if lasted.is_empty() => sign.word().to_owned(),
            Sign::Success => lasted,
            sign => format!("{}, {lasted}", sign.word()),
        }
    }
}

/// Takes the tags out of a span's markup, for text in a picture.
fn plain_text(markup: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for glyph in markup.chars() {
        match glyph {
            '<' => in_tag = true,
            '>' => in_tag = false,
            _ if !in_tag => text.push(glyph),
            _ => {}
        }
    }
    text
}

fn fitted(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars - 1).collect();
    short.push('…');
    short
}

impl BoxView {
    fn width(&self) -> i32 {
        BOX_WIDTH
    }

    fn height(&self) -> i32 {
        BOX_HEIGHT
    }
}
