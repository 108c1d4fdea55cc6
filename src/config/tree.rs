//! From text to nodes with exact places, in bounded time and memory.
//!
//! Duplicate keys are refused, merge keys are applied, and scalars stay as they were written, so that `1.10`, `no` and
//! `010` are not bent into numbers and booleans on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_yaml::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, options};

use super::code;
use super::diagnostic::Report;
use super::span::{Lines, Located, Span, floor};

/// Bytes of a configuration.
pub(super) const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lists and maps within each other.
const DEPTH_MAX: usize = 48;
/// Values, each use of an alias counted anew.
const VALUES_MAX: usize = 200_000;
/// Bytes of texts, each use of an alias counted anew.
const EXPANDED_BYTES_MAX: usize = 3 * TEXT_BYTES_MAX;

/// A value and where it stands. Cheap to clone: aliases share.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) content: Arc<Content>,
    size: Size,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    /// `key:`, `~` or `null`.
    Nothing,
    /// A scalar as written; `is_plain` if without quotes.
    Text { text: String, is_plain: bool },
    /// Items.
    List(Vec<Node>),
    /// Entries in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Located<String>,
    pub(super) value: Node,
}

impl Node {
    /// Gives the same node with other content, which must not be more than it had.
    pub(super) fn with(&self, content: Content) -> Self {
        Self { content: Arc::new(content), ..self.clone() }
    }

    /// Says what it is, for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match &*self.content {
            Content::Nothing => "nothing",
            Content::Text { .. } => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

/// How much a node stands for when all its aliases are followed.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: usize,
    bytes: usize,
    height: usize,
}

impl Size {
    fn holding(self, part: Self) -> Self {
        Self {
            values: self.values.saturating_add(part.values),
            bytes: self.bytes.saturating_add(part.bytes),
            height: self.height.max(part.height + 1),
        }
    }
}

/// Reads one document. `None` after a mistake that leaves nothing to go on with.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    check_text(text, report)?;
    let options = options! { emit_comments: false, flow_nesting_limit: 256, block_nesting_limit: 256 };
    let mut builder = Builder { text, report, open: Vec::new(), anchors: BTreeMap::new(), total: Size::default() };
    let mut root = None;
    let mut documents = 0_usize;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok((event, span)) => (event, builder.span(&span)),
            Err(error) => {
                let open = builder.open_bracket();
                return refuse(&error, text, open, builder.report);
            }
        };
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
            if documents > 1 {
                builder.report.say(
                    code::SEVERAL_DOCUMENTS,
                    span,
                    "the file has a second document",
                    "it starts here",
                    "remove this line, or what follows it",
                );
                return None;
            }
        }
        if let Some(node) = builder.take(event, span)? {
            root = Some(node);
        }
    }
    let root = root.filter(|node| !matches!(*node.content, Content::Nothing));
    if root.is_none() {
        let help = "`gristmill init` writes a first configuration for the repository it stands in";
        report.say(code::NOTHING, Span::default(), "the file has nothing in it", "nothing here", help);
    }
    root
}

/// Refuses what no parser should see.
fn check_text(text: &str, report: &mut Report) -> Option<()> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the file has {} bytes, and {TEXT_BYTES_MAX} are possible", text.len());
        let help = "use a matrix for rows that are alike, and keep long scripts in the repository that is built";
        report.say(code::TOO_LARGE, Span::default(), message, "it starts here", help);
        return None;
    }
    let bad = |&(_, character): &(usize, char)| {
        (character.is_control() && !matches!(character, '\n' | '\r' | '\t' | '\u{85}')) || character == '\u{fffe}'
    };
    if let Some((at, character)) = text.char_indices().find(bad) {
        let message = format!("a character that cannot be meant: U+{:04X}", u32::from(character));
        let help = "remove it, or write it as an escape in double quotes, such as \"\\u0007\"";
        report.say(code::CONTROL_CHARACTER, Span::new(at, at + character.len_utf8()), message, "this one", help);
        return None;
    }
    Some(())
}

/// What is open while events come in.
struct Builder<'a> {
    text: &'a str,
    report: &'a mut Report,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    total: Size,
}

struct Open {
    start: Span,
    anchor: usize,
    size: Size,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Node> },
}

impl Builder<'_> {
    /// Takes one event; gives the root when it is complete, and `None` outside when reading must stop.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<Option<Node>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let node = self.scalar(text.into_owned(), style, span);
                self.complete(node, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    let help = "an alias can only stand for something that is complete before it";
                    self.report.say(code::YAML_FEATURE, span, "an alias within what it stands for", "this one", help);
                    return None;
                };
                let node = Node { span, ..node.clone() };
                self.complete(node, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.enter(span, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.enter(span, anchor, Items::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(span),
            _ => Some(None),
        }
    }

    /// Makes our span of the parser's; what it cannot say in bytes stands at the start.
    fn span(&self, span: &serde_yaml::granit_parser::Span) -> Span {
        let at = |marker: &serde_yaml::granit_parser::Marker| floor(self.text, marker.byte_offset().unwrap_or(0));
        Span::new(at(&span.start), at(&span.end))
    }

    /// Gives the bracket that is still open, if the innermost list or map has one.
    fn open_bracket(&self) -> Option<Span> {
        let start = self.open.last()?.start;
        self.text[start.start..].starts_with(['[', '{']).then_some(start)
    }

    fn refuse_tag(&mut self, is_tagged: bool, span: Span) {
        if is_tagged {
            let help = "remove the `!…` in front; quote the value if a text is meant";
            self.report.say(code::YAML_FEATURE, span, "a value with a tag", "this value", help);
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: Span) -> Node {
        let is_plain = style == ScalarStyle::Plain;
        let size = Size { values: 1, bytes: text.len(), height: 0 };
        let content = match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" if is_plain => Content::Nothing,
            _ => Content::Text { text, is_plain },
        };
        Node { span, content: Arc::new(content), size }
    }

    fn enter(&mut self, start: Span, anchor: usize, items: Items) -> Option<Option<Node>> {
        if self.open.len() >= DEPTH_MAX {
            self.too_deep(start);
            return None;
        }
        self.open.push(Open { start, anchor, size: Size { values: 1, ..Size::default() }, items });
        Some(None)
    }

    fn too_deep(&mut self, span: Span) {
        let message = format!("lists and maps are nested more than {DEPTH_MAX} deep");
        self.report.say(code::TOO_DEEP, span, message, "the deepest one", "close what is open before this place");
    }

    fn leave(&mut self, end: Span) -> Option<Option<Node>> {
        let Open { start, anchor, size, items } = self.open.pop()?;
        // The end of a block stands where the next thing starts; what is between belongs to neither.
        let end = self.text[..end.end.max(start.end)].trim_end().len().max(start.end);
        let content = match items {
            Items::List(items) => Content::List(items),
            Items::Map { entries, .. } => Content::Map(self.merge(entries)),
        };
        let node = Node { span: Span::new(start.start, end), content: Arc::new(content), size };
        self.complete(node, anchor)
    }

    /// Puts a complete node where it belongs.
    fn complete(&mut self, mut node: Node, anchor: usize) -> Option<Option<Node>> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let is_scalar_or_alias = node.size.height == 0 || anchor == 0;
        self.total.values = self.total.values.saturating_add(if is_scalar_or_alias { node.size.values } else { 1 });
        self.total.bytes = self.total.bytes.saturating_add(node.size.bytes);
        if self.open.len() + node.size.height > DEPTH_MAX {
            self.too_deep(node.span);
            return None;
        }
        let Some(open) = self.open.last_mut() else { return self.weigh(node).map(Some) };
        open.size = open.size.holding(node.size);
        let (size, span) = (open.size, node.span);
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map { key: key @ None, .. } => *key = Some(node),
            Items::Map { entries, key } => {
                let Some(key_node) = key.take() else { return Some(None) };
                if matches!(*node.content, Content::Nothing) {
                    node.span = key_node.span;
                }
                match &*key_node.content {
                    Content::Text { text, .. } => {
                        let key = Located { value: text.clone(), span: key_node.span };
                        entries.push(Entry { key, value: node });
                    }
                    _ => {
                        let help = "a key is a text; quote the whole line if it is one text";
                        let message = format!("a key is needed here, found {}", key_node.kind());
                        self.report.say(code::YAML_FEATURE, key_node.span, message, "not a key", help);
                    }
                }
            }
        }
        self.check_size(size, span)?;
        Some(None)
    }

    fn weigh(&mut self, node: Node) -> Option<Node> {
        self.check_size(node.size, node.span)?;
        Some(node)
    }

    fn check_size(&mut self, size: Size, span: Span) -> Option<()> {
        if size.values <= VALUES_MAX && size.bytes <= EXPANDED_BYTES_MAX {
            return Some(());
        }
        let message = "more than 200,000 values, counting each use of an alias";
        let help = "use fewer aliases; a configuration that large is more likely an attack or an accident";
        self.report.say(code::TOO_MANY, span, message, "up to here", help);
        None
    }

    /// Refuses keys that are there twice, and applies `<<`: what is said here holds over what is merged.
    fn merge(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        let mut own = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            if let Some(&first) = places.get(entry.key.as_str()) {
                self.duplicate(&entry, first);
                continue;
            }
            places.insert(entry.key.value.clone(), entry.key.span);
            if entry.key.as_str() == "<<" { merged.push(entry.value) } else { own.push(entry) }
        }
        let mut known: BTreeSet<String> = places.into_keys().collect();
        for node in merged {
            for entry in self.merged_entries(&node) {
                if known.insert(entry.key.value.clone()) {
                    own.push(entry);
                }
            }
        }
        own
    }

    fn merged_entries(&mut self, node: &Node) -> Vec<Entry> {
        match &*node.content {
            Content::Map(entries) => entries.clone(),
            Content::List(nodes) if nodes.iter().all(|node| matches!(*node.content, Content::Map(_))) => {
                nodes.iter().flat_map(|node| self.merged_entries(node)).collect()
            }
            _ => {
                let message = format!("expected a map after `<<`, found {}", node.kind());
                self.report.say(code::WRONG_TYPE, node.span, message, "this", "name the anchor of a map: `<<: *name`");
                Vec::new()
            }
        }
    }

    fn duplicate(&mut self, entry: &Entry, first: Span) {
        let line = if self.report.is_full() { 0 } else { Lines::of(self.text).line_of(first.start) };
        let message = format!("`{}` is there twice", entry.key.value);
        let label = format!("the first one is in line {line}");
        self.report.say(code::DUPLICATE_KEY, entry.key.span, message, label, "rename or remove one of the two");
    }
}

/// Says what the parser could not read, in words of this project.
fn refuse(error: &ScanError, text: &str, open: Option<Span>, report: &mut Report) -> Option<Node> {
    let at = floor(text, error.marker().byte_offset().unwrap_or(0));
    // At the very end there is nothing to point at: point at the last thing there is.
    let at = if at >= text.trim_end().len() { floor(text, text.trim_end().len().saturating_sub(1)) } else { at };
    let width = text[at..].chars().next().map_or(0, char::len_utf8);
    let line = &text[text[..at].rfind('\n').map_or(0, |before| before + 1)..];
    let is_tab = line.trim_start_matches([' ', '-']).starts_with('\t');
    let (code, message, help) = match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => (code::TAB, TAB.to_owned(), TAB_HELP.to_owned()),
        _ if is_tab => (code::TAB, TAB.to_owned(), TAB_HELP.to_owned()),
        ErrorKind::UnknownAnchor => (
            code::YAML_FEATURE,
            "this alias stands for nothing".to_owned(),
            "quote the text if it only starts with `*`; or define the anchor before it: `key: &name …`".to_owned(),
        ),
        ErrorKind::RecursionLimitExceeded => (
            code::TOO_DEEP,
            "lists and maps are nested too deep".to_owned(),
            "close what is open before this place".to_owned(),
        ),
        kind => {
            let said = kind.to_string().chars().take(200).collect::<String>();
            (code::SYNTAX, format!("this is not YAML: {said}"), syntax_help(line, &said, open, text))
        }
    };
    let label = "up to here the text was understood";
    report.say(code, Span::new(at, at + width), message, label, help);
    None
}

const TAB: &str = "a tab where only spaces may stand";
const TAB_HELP: &str = "indent with spaces, by custom two a level";

fn syntax_help(line: &str, said: &str, open: Option<Span>, text: &str) -> String {
    let line = line.lines().next().unwrap_or("");
    if line.contains("${") && line.contains(['[', '{']) {
        return "put texts with `${…}` in quotes: without them, `{` starts a map".to_owned();
    }
    if let Some(open) = open {
        let (lines, bracket) = (Lines::of(text), &text[open.start..=open.start]);
        let (line, column) = (lines.line_of(open.start), lines.column_of(open.start));
        return format!(
            "the `{bracket}` in line {line}, column {column} is still open here: close it, or quote texts with signs in them"
        );
    }
    if said.contains("unclosed quote") {
        return "write the closing quote; the text starts here".to_owned();
    }
    if said.contains("mapping values are not allowed") {
        return "put the text in quotes: `: ` in the middle of a text starts a map".to_owned();
    }
    "close what is open before this place, quote texts with signs in them, and start the lines of one map in one column"
        .to_owned()
}
