//! A graph in four ways of writing. Names are untrusted and are encoded for each.

use std::fmt::Write;

use serde_json::{Value, json};

use super::sign;
use crate::cli::terminal::{Ink, Look, clip};

/// Characters of a name that are shown.
const NAME_WIDTH: usize = 60;

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) title: String,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) note: String,
    /// An outcome or a state; empty for what is only configured.
    pub(super) state: String,
}

/// `to` needs `from`; both are positions among the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) on: String,
}

impl Edge {
    /// The usual condition needs no words.
    fn condition(&self) -> Option<&str> {
        (!matches!(self.on.as_str(), "" | "success")).then_some(self.on.as_str())
    }
}

impl Picture {
    /// Gives the nodes' positions so that what is needed stands above what needs it.
    fn order(&self) -> Vec<usize> {
        let mut depth = vec![0_usize; self.nodes.len()];
        // As many rounds as there are nodes suffice for any graph without a cycle, and end for one with a cycle, too.
        for _ in 0..self.nodes.len() {
            let mut moved = false;
            for edge in &self.edges {
                if depth[edge.to] <= depth[edge.from] && depth[edge.from] < self.nodes.len() {
                    depth[edge.to] = depth[edge.from] + 1;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|index| depth[*index]);
        order
    }

    pub(super) fn text(&self, look: Look) -> String {
        let mut text = format!("{}\n", look.paint(Ink::Bold, &clip(&self.title, 2 * NAME_WIDTH)));
        let width = self.nodes.iter().map(|node| clip(&node.name, NAME_WIDTH).chars().count()).max().unwrap_or(0);
        for index in self.order() {
            let node = &self.nodes[index];
            let name = clip(&node.name, NAME_WIDTH);
            let gap = " ".repeat(width - name.chars().count());
            let needs: Vec<String> =
                self.edges.iter().filter(|edge| edge.to == index).map(|edge| self.need(edge)).collect();
            let needs = if needs.is_empty() { String::new() } else { format!("after {}", needs.join(", ")) };
            let notes = [clip(&node.note, 2 * NAME_WIDTH), needs];
            let notes = notes.iter().filter(|note| !note.is_empty()).map(String::as_str).collect::<Vec<_>>().join("  ");
            let row = format!("  {} {name}{gap}  {}", sign(look, &node.state), look.paint(Ink::Dim, &notes));
            text.push_str(if notes.is_empty() { row.trim_end_matches(char::is_whitespace) } else { &row });
            text.push('\n');
        }
        text
    }

    fn need(&self, edge: &Edge) -> String {
        let name = clip(&self.nodes[edge.from].name, NAME_WIDTH);
        edge.condition().map_or(name.clone(), |on| format!("{name} (on {on})"))
    }

    pub(super) fn dot(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", clip(text, 2 * NAME_WIDTH).replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", quoted(&self.title));
        for (index, node) in self.nodes.iter().enumerate() {
            let label = if node.state.is_empty() { node.name.clone() } else { format!("{} {}", node.name, node.state) };
            writeln!(text, "  n{index} [label={}];", quoted(&label)).expect("a string takes everything");
        }
        for edge in &self.edges {
            let label = edge.condition().map_or(String::new(), |on| format!(" [label={}]", quoted(on)));
            writeln!(text, "  n{} -> n{}{label};", edge.from, edge.to).expect("a string takes everything");
        }
        text.push_str("}\n");
        text
    }

    pub(super) fn mermaid(&self) -> String {
        let quoted = |text: &str| {
            let text = clip(text, 2 * NAME_WIDTH);
            let encoded = text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;");
            format!("\"{encoded}\"")
        };
        let mut text = "flowchart LR\n".to_owned();
        for (index, node) in self.nodes.iter().enumerate() {
            let label = if node.state.is_empty() { node.name.clone() } else { format!("{} {}", node.name, node.state) };
            writeln!(text, "  n{index}[{}]", quoted(&label)).expect("a string takes everything");
        }
        for edge in &self.edges {
            let label = edge.condition().map_or(String::new(), |on| format!("|{}|", quoted(on)));
            writeln!(text, "  n{} -->{label} n{}", edge.from, edge.to).expect("a string takes everything");
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let nodes: Vec<Value> =
            self.nodes.iter().map(|node| json!({"name": node.name, "note": node.note, "state": node.state})).collect();
        let name = |index: usize| self.nodes[index].name.as_str();
        let edges: Vec<Value> = self
            .edges
            .iter()
            .map(|edge| json!({"needs": name(edge.from), "node": name(edge.to), "on": edge.on}))
            .collect();
        json!({"title": self.title, "nodes": nodes, "edges": edges})
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn picture() -> Picture {
        let node =
            |name: &str, state: &str| Node { name: name.to_owned(), note: String::new(), state: state.to_owned() };
        let edge = |from, to, on: &str| Edge { from, to, on: on.to_owned() };
        Picture {
            title: "buildset 88  all on main  running".to_owned(),
            nodes: vec![
                node("package", "waiting"),
                node("test[stable]", "success"),
                node("bisect \"<b>\x1b[2J", "waiting"),
            ],
            edges: vec![edge(1, 0, "success"), edge(1, 2, "failure"), edge(0, 2, "finished")],
        }
    }

    #[test]
    fn what_is_needed_stands_above_what_needs_it() {
        expect![[r#"
            buildset 88  all on main  running
              ✓ test[stable]
              ⧗ package       after test[stable]
              ⧗ bisect "<b>   after test[stable] (on failure), package (on finished)
        "#]]
        .assert_eq(&picture().text(Look::PLAIN));
    }

    #[test]
    fn names_are_encoded_for_each_way_of_writing() {
        expect![[r#"
            digraph "buildset 88  all on main  running" {
              rankdir=LR;
              node [shape=box];
              n0 [label="package waiting"];
              n1 [label="test[stable] success"];
              n2 [label="bisect \"<b> waiting"];
              n1 -> n0;
              n1 -> n2 [label="failure"];
              n0 -> n2 [label="finished"];
            }
        "#]]
        .assert_eq(&picture().dot());
        expect![[r#"
            flowchart LR
              n0["package waiting"]
              n1["test[stable] success"]
              n2["bisect #quot;#lt;b#gt; waiting"]
              n1 --> n0
              n1 -->|"failure"| n2
              n0 -->|"finished"| n2
        "#]]
        .assert_eq(&picture().mermaid());
    }

    #[test]
    fn a_cycle_does_not_hang_the_drawing() {
        let mut picture = picture();
        picture.edges.push(Edge { from: 2, to: 1, on: "success".to_owned() });
        assert_eq!(picture.text(Look::PLAIN).lines().count(), 4);
    }
}
