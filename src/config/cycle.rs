//! Circles: nodes that need each other, schedulers that set each other off.

use std::collections::BTreeMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::code;
use super::resolve::{Resolver, Spark};
use super::span::Span;

/// "From needs to", and where that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) span: Span,
}

/// Reports each circle of nodes with its path.
pub(super) fn refuse_build_cycles(resolver: &mut Resolver<'_>, edges: &[Edge]) {
    for circle in circles(edges) {
        let message = if circle.len() == 1 { "this node needs itself" } else { "these nodes need each other" };
        let help = mend(resolver, &circle);
        resolver.report.say(code::CYCLE, circle[0].span, message, path(&circle), help);
    }
}

/// Reports each circle of schedulers, over `upstream` and trigger steps, also of several projects.
pub(super) fn refuse_scheduler_cycles(resolver: &mut Resolver<'_>) {
    let as_edge = |spark: &Spark| Edge { from: spark.from.clone(), to: spark.to.clone(), span: spark.span };
    let edges: Vec<_> = resolver.sparks.iter().map(as_edge).collect();
    for circle in circles(&edges) {
        let message = match circle.len() {
            1 => "this scheduler sets itself off",
            _ => "these schedulers set each other off, for ever",
        };
        let help = mend(resolver, &circle);
        resolver.report.say(code::SCHEDULER_CYCLE, circle[0].span, message, path(&circle), help);
    }
}

fn path(circle: &[Edge]) -> String {
    const SHOWN_MAX: usize = 8;
    let mut names: Vec<_> = circle.iter().map(|edge| edge.from.as_str()).collect();
    if names.len() > SHOWN_MAX {
        names.truncate(SHOWN_MAX);
        names.push("…");
    }
    names.push(&circle[0].from);
    names.join(" → ")
}

fn mend(resolver: &Resolver<'_>, circle: &[Edge]) -> String {
    let line = |edge: &Edge| resolver.lines.line_of(edge.span.start).to_string();
    let others: Vec<_> = circle[1..].iter().take(5).map(line).collect();
    match others.as_slice() {
        [] => "remove it here".to_owned(),
        [other] => format!("remove one of the two; the other one is in line {other}"),
        _ => format!("remove one of the {}; the others are in lines {}", circle.len(), others.join(", ")),
    }
}

/// Finds one shortest circle in every strongly connected part, starting with the edge that is written first.
fn circles(edges: &[Edge]) -> Vec<Vec<Edge>> {
    let mut graph: DiGraph<&str, usize> = DiGraph::new();
    let mut nodes: BTreeMap<&str, NodeIndex> = BTreeMap::new();
    for (index, edge) in edges.iter().enumerate() {
        let mut node = |name| *nodes.entry(name).or_insert_with(|| graph.add_node(name));
        let (from, to) = (node(&edge.from), node(&edge.to));
        graph.add_edge(from, to, index);
    }
    let mut part_of = BTreeMap::new();
    for (part, members) in kosaraju_scc(&graph).into_iter().enumerate() {
        part_of.extend(members.into_iter().map(|member| (graph[member], part)));
    }
    let mut found: BTreeMap<usize, Vec<Edge>> = BTreeMap::new();
    let mut ordered: Vec<_> = edges.iter().collect();
    ordered.sort_by_key(|edge| edge.span);
    for edge in ordered {
        let part = part_of[edge.from.as_str()];
        if part == part_of[edge.to.as_str()] && !found.contains_key(&part) {
            let mut circle = vec![edge.clone()];
            circle.extend(shortest(edges, &edge.to, &edge.from));
            found.insert(part, circle);
        }
    }
    let mut circles: Vec<_> = found.into_values().collect();
    circles.sort_by_key(|circle| circle[0].span);
    circles
}

/// Finds a shortest way by breadth-first search.
fn shortest(edges: &[Edge], from: &str, to: &str) -> Vec<Edge> {
    let mut leaving: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        leaving.entry(&edge.from).or_default().push(edge);
    }
    let mut came_by: BTreeMap<&str, &Edge> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(at) = queue.pop_front().filter(|at| *at != to) {
        for &edge in leaving.get(at).into_iter().flatten() {
            if edge.to != from && !came_by.contains_key(edge.to.as_str()) {
                came_by.insert(&edge.to, edge);
                queue.push_back(&edge.to);
            }
        }
    }
    let mut way = Vec::new();
    let mut at = to;
    while at != from {
        let Some(&edge) = came_by.get(at) else { break };
        way.push(edge.clone());
        at = &edge.from;
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(text: &str) -> Vec<Edge> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('>'));
        let edge = |(at, (from, to)): (usize, (&str, &str))| Edge {
            from: from.to_owned(),
            to: to.to_owned(),
            span: Span::new(at, at + 1),
        };
        pairs.enumerate().map(edge).collect()
    }

    #[test]
    fn each_circle_is_found_once_by_its_shortest_path() {
        for (text, wanted) in [
            ("a>b b>c", vec![]),
            ("a>a", vec!["a → a"]),
            (
                "deploy>package package>sign sign>deploy x>y y>x z>x",
                vec!["deploy → package → sign → deploy", "x → y → x"],
            ),
            ("a>b b>c c>d d>a b>a", vec!["a → b → a"]),
        ] {
            let paths: Vec<_> = circles(&edges(text)).iter().map(|circle| path(circle)).collect();
            assert_eq!(paths, wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_a_circle_and_none_is_left(pairs in prop::collection::vec((0_u8..8, 0_u8..8), 0..20)) {
            let text: Vec<_> = pairs.iter().map(|(from, to)| format!("{from}>{to}")).collect();
            let edges = edges(&text.join(" "));
            let found = circles(&edges);
            for circle in &found {
                for (edge, next) in circle.iter().zip(circle.iter().cycle().skip(1)) {
                    prop_assert_eq!(&edge.to, &next.from);
                }
            }
            // Taking nodes away that nothing leaves must empty the graph, if and only if no circle was found.
            let mut left = edges;
            loop {
                let before = left.len();
                let sources: std::collections::BTreeSet<_> = left.iter().map(|edge| edge.from.clone()).collect();
                left.retain(|edge| sources.contains(&edge.to));
                if left.len() == before { break }
            }
            prop_assert_eq!(left.is_empty(), found.is_empty());
        }
    }
}
