//! What a scheduler builds: nodes, their rows, and what each needs.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::{
    Builder, BuilderName, CodebaseName, Condition, Graph, Need, NeedMode, Node, NodeName, RepositoryName,
};

use super::Resolver;
use super::names::{Noun, short};
use crate::config::code;
use crate::config::cycle::{self, Edge};
use crate::config::matrix::{Family, Row, axes_help};
use crate::config::nearest::nearest;
use crate::config::raw::{RawBuild, RawNeed, RawNode, RawNodeMap};
use crate::config::scalar::{Scalar, Text};
use crate::config::shape::{Entries, Named, OneOrMany, Placed, Word, list};
use crate::config::span::{Located, Span};

/// Nodes of one graph, rows counted.
const NODES_MAX: usize = 500;
/// Needs of one graph, rows counted.
const NEEDS_MAX: usize = 10_000;

/// A node as written, with the rows it stands for.
struct Group<'a> {
    name: &'a Text,
    /// The place that names the builder.
    span: Span,
    rows: Vec<(NodeName, BuilderName)>,
    raw: Option<&'a RawNodeMap>,
}

impl Resolver<'_> {
    /// Makes the graph of a scheduler.
    pub(super) fn graph(
        &mut self,
        scheduler: &Text,
        raw: &RawBuild,
        builders: &BTreeMap<BuilderName, Builder>,
    ) -> Option<Graph> {
        let written = match raw {
            RawBuild::One(_) => 1,
            RawBuild::Many(names) => names.len(),
            RawBuild::Graph(nodes) => nodes.0.0.len(),
        };
        if written == 0 {
            let message = format!("scheduler `{}` builds nothing", scheduler.value);
            let help = "name a builder: `build: [NAME]`";
            self.report.say(code::EMPTY, scheduler.span, message, "this scheduler", help);
        }
        if written > NODES_MAX {
            return self.too_many_nodes(scheduler, written);
        }
        let groups = match raw {
            RawBuild::One(name) => self.listed(std::slice::from_ref(name)),
            RawBuild::Many(names) => self.listed(names),
            RawBuild::Graph(nodes) => self.written(nodes),
        };
        self.refuse_mixed(&groups, builders);
        let count: usize = groups.iter().map(|group| group.rows.len()).sum();
        if count > NODES_MAX {
            return self.too_many_nodes(scheduler, count);
        }
        let (graph, edges) = self.connected(scheduler, &groups)?;
        cycle::refuse_build_cycles(self, &edges);
        (!graph.is_empty()).then_some(graph)
    }

    fn too_many_nodes(&mut self, scheduler: &Text, count: usize) -> Option<Graph> {
        let message = format!("scheduler `{}` has {count} nodes, and {NODES_MAX} are possible", scheduler.value);
        let help = "split it over several schedulers; `dependent` ones keep the order";
        self.report.say(code::TOO_BIG, scheduler.span, message, "this scheduler", help);
        None
    }

    /// Makes nodes of a plain list: each builder is a node of its own name.
    fn listed<'b>(&mut self, names: &'b [Text]) -> Vec<Group<'b>> {
        let mut groups: Vec<Group<'b>> = Vec::new();
        for name in names {
            if groups.iter().any(|group| group.name.value == name.value) {
                let message = format!("builder `{}` is named twice", short(name));
                self.report.say(code::NAME_TAKEN, name.span, message, "this one again", "remove one of the two");
                continue;
            }
            let rows = self.rows_of(name, name, None);
            groups.push(Group { name, span: name.span, rows, raw: None });
        }
        groups
    }

    fn written<'b>(&mut self, nodes: &'b Named<RawNode>) -> Vec<Group<'b>> {
        let mut groups = Vec::new();
        for (name, node) in nodes.iter() {
            let builder = builder_of(name, node);
            let raw = match node {
                None => continue,
                Some(RawNode::Builder(_)) => None,
                Some(RawNode::Full(raw)) => Some(raw),
            };
            let rows = self.rows_of(name, builder, raw.and_then(|raw| raw.matrix.as_ref()));
            groups.push(Group { name, span: builder.span, rows, raw });
        }
        groups
    }

    /// Expands a node to the rows of its builder that it wants.
    fn rows_of(
        &mut self,
        node: &Text,
        builder: &Text,
        wanted: Option<&Entries<OneOrMany<Located<Scalar>>>>,
    ) -> Vec<(NodeName, BuilderName)> {
        let Some(family) = self.families.get(builder.as_str()).cloned() else { return self.single_row(node, builder) };
        self.used.insert((Noun::Builder, family.name.clone()));
        let chosen: Vec<Row> = match wanted {
            None => family.rows.clone(),
            Some(wanted) => self.chosen_rows(node, &family, wanted),
        };
        let name = |row: &Row| (NodeName(row.name_of(node)), BuilderName(row.name_of(&family.name)));
        chosen.iter().map(name).collect()
    }

    /// Takes one row of a builder, as `name[value]`.
    fn single_row(&mut self, node: &Text, builder: &Text) -> Vec<(NodeName, BuilderName)> {
        let base = without_row(builder);
        let Some(family) = self.families.get(base) else {
            self.unknown(Noun::Builder, builder);
            return Vec::new();
        };
        self.used.insert((Noun::Builder, base.to_owned()));
        if family.names().any(|name| name.as_str() == builder.as_str()) {
            return vec![(NodeName(node.value.clone()), BuilderName(builder.value.clone()))];
        }
        if family.is_known {
            let names: Vec<_> = family.names().map(|name| name.0).take(8).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let help = match nearest(builder, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there is {}", list(&names)),
            };
            let message = format!("builder `{base}` has no row `{}`", short(builder));
            self.report.say(code::UNKNOWN_ROW, builder.span, message, "named here", help);
        }
        Vec::new()
    }

    fn chosen_rows(&mut self, node: &Text, family: &Family, wanted: &Entries<OneOrMany<Located<Scalar>>>) -> Vec<Row> {
        let axes = family.axes();
        for (axis, values) in wanted.iter().filter(|_| family.is_known) {
            if !axes.contains(&axis.as_str()) {
                let message = format!("builder `{}` has no axis `{}`", family.name, axis.value);
                self.report.say(code::UNKNOWN_ROW, axis.span, message, "named here", axes_help(axis, &axes));
                continue;
            }
            let known: BTreeSet<&str> = family.rows.iter().filter_map(|row| row.value(axis)).collect();
            for value in values.iter().flat_map(|values| &values.0).filter(|value| !known.contains(value.0.as_str())) {
                let known: Vec<_> = known.iter().copied().take(20).collect();
                let message = format!("axis `{}` has no value `{}`", axis.value, short(&value.0));
                self.report.say(
                    code::UNKNOWN_ROW,
                    value.span,
                    message,
                    "named here",
                    format!("there is {}", list(&known)),
                );
            }
        }
        let is_wanted = |row: &&Row| {
            wanted.iter().all(|(axis, values)| {
                values.is_none_or(|values| values.0.iter().any(|value| row.value(axis) == Some(value.0.as_str())))
            })
        };
        let rows: Vec<_> = family.rows.iter().filter(is_wanted).cloned().collect();
        if rows.is_empty() && family.is_known && !self.report.has_mistakes() {
            let message = format!("node `{}` has no rows", node.value);
            let help = "no row of the builder has these values together";
            self.report.say(code::EMPTY, node.span, message, "this node", help);
        }
        rows
    }

    /// Reports a codebase that means different repositories in builders that are built together.
    fn refuse_mixed(&mut self, groups: &[Group<'_>], builders: &BTreeMap<BuilderName, Builder>) {
        let mut known: BTreeMap<&CodebaseName, (&RepositoryName, &str)> = BTreeMap::new();
        for group in groups {
            let Some(builder) = group.rows.first().and_then(|(_, name)| builders.get(name)) else { continue };
            for (codebase, usage) in &builder.recipe.sources {
                match known.get(codebase) {
                    Some(&(repository, other)) if *repository != usage.repository => {
                        let message = format!(
                            "codebase `{codebase}` is repository `{repository}` in `{other}` and `{}` in `{}`",
                            usage.repository, builder.family
                        );
                        let help = "name the codebases differently, or build them by schedulers of their own";
                        self.report.say(code::MIXED_CODEBASE, group.span, message, "built together with it", help);
                    }
                    Some(_) => {}
                    None => {
                        known.insert(codebase, (&usage.repository, &builder.family));
                    }
                }
            }
        }
    }

    /// Connects nodes by their needs; gives the edges with their places as well.
    fn connected(&mut self, scheduler: &Text, groups: &[Group<'_>]) -> Option<(Graph, Vec<Edge>)> {
        let mut graph = Graph::new();
        let mut edges = Vec::new();
        for group in groups {
            let needs: Vec<(&Text, Condition)> = group
                .raw
                .iter()
                .flat_map(|raw| raw.needs.iter())
                .flat_map(|needs| &needs.0)
                .filter_map(|need| self.need(need))
                .collect();
            let mut resolved = Vec::new();
            for (name, on) in needs {
                for node in self.needed(name, groups) {
                    if !resolved.iter().any(|need: &Need| need.node == node) {
                        resolved.push(Need { node, on });
                    }
                }
                let to = without_row(name);
                let to = if groups.iter().any(|group| group.name.value == name.value) { name.as_str() } else { to };
                edges.push(Edge { from: group.name.value.clone(), to: to.to_owned(), span: name.span });
            }
            let mode = group.raw.and_then(|raw| raw.mode).map_or(NeedMode::All, |mode| mode.0);
            if mode == NeedMode::Any && resolved.is_empty() {
                let span = group.raw.map_or(group.span, Placed::span);
                let help = "add `needs`, or remove `mode`";
                self.report.say(
                    code::EXCLUDING_KEYS,
                    span,
                    "`mode: any` without needs can never be met",
                    "this node",
                    help,
                );
            }
            for (name, builder) in &group.rows {
                let node =
                    Node { builder: builder.clone(), group: group.name.value.clone(), needs: resolved.clone(), mode };
                graph.insert(name.clone(), node);
            }
            let count: usize = graph.values().map(|node| node.needs.len()).sum();
            if count > NEEDS_MAX {
                let message = format!("scheduler `{}` has more than {NEEDS_MAX} needs, rows counted", scheduler.value);
                let help = "let one node without a matrix stand between two with many rows";
                self.report.say(code::TOO_BIG, scheduler.span, message, "this scheduler", help);
                return None;
            }
        }
        Some((graph, edges))
    }

    /// Gives the node that is needed, and the condition.
    fn need<'b>(&mut self, raw: &'b RawNeed) -> Option<(&'b Text, Condition)> {
        match raw {
            RawNeed::Node(node) => Some((node, Condition::default())),
            RawNeed::Full(raw) => {
                let condition = self.condition(raw.condition, raw.on, raw.span());
                Some((raw.node.as_ref()?, condition))
            }
        }
    }

    /// Takes the condition under `if`, or under its other spelling `on`.
    pub(super) fn condition(
        &mut self,
        by_if: Option<Word<Condition>>,
        by_on: Option<Word<Condition>>,
        span: Span,
    ) -> Condition {
        if by_if.is_some() && by_on.is_some() {
            let help = "remove `on`";
            self.report.say(code::EXCLUDING_KEYS, span, "`if` and `on` mean the same", "both are here", help);
        }
        by_if.or(by_on).map(|word| word.0).unwrap_or_default()
    }

    /// Finds the nodes that a need names: all rows of a node, or one.
    fn needed(&mut self, name: &Text, groups: &[Group<'_>]) -> Vec<NodeName> {
        if let Some(group) = groups.iter().find(|group| group.name.value == name.value) {
            return group.rows.iter().map(|(node, _)| node.clone()).collect();
        }
        let rows = || groups.iter().flat_map(|group| &group.rows).map(|(node, _)| node.as_str());
        if rows().any(|node| node == name.as_str()) {
            return vec![NodeName(name.value.clone())];
        }
        let known: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.name.span)).collect();
        let near = nearest(name, known.iter().map(|&(known, _)| known));
        let help = match known.iter().find(|&&(known, _)| Some(known) == near) {
            Some(&(near, span)) => format!("did you mean `{near}` (line {})?", self.lines.line_of(span.start)),
            None => {
                let known: Vec<_> = known.iter().map(|&(known, _)| known).take(12).collect();
                format!("nodes of this `build` are {}", list(&known))
            }
        };
        let message = format!("node `{}` does not exist", short(name));
        self.report.say(code::UNKNOWN_NODE, name.span, message, "needed here", help);
        Vec::new()
    }
}

impl RawBuild {
    /// Gives the builders that are named, without their rows.
    pub(in crate::config) fn builders(&self) -> BTreeSet<&str> {
        match self {
            Self::One(name) => std::iter::once(without_row(name)).collect(),
            Self::Many(names) => names.iter().map(without_row).collect(),
            Self::Graph(nodes) => nodes.iter().map(|(name, node)| without_row(builder_of(name, node))).collect(),
        }
    }
}

fn builder_of<'a>(name: &'a Text, node: Option<&'a RawNode>) -> &'a Text {
    match node {
        Some(RawNode::Builder(builder)) => builder,
        Some(RawNode::Full(raw)) => raw.builder.as_ref().unwrap_or(name),
        None => name,
    }
}

/// Gives `test` for `test[stable]`.
fn without_row(name: &Text) -> &str {
    name.split_once('[').map_or(name.as_str(), |(family, _)| family)
}
