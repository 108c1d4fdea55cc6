//! A small reader from nodes to typed values that collects every mistake instead of stopping at the first.
//!
//! One description per map, list and word (`shape!`, `either!`, `kinds!`, `words!`) makes three things: the Rust type,
//! its reader, and its JSON Schema. So what is accepted and what the schema says cannot come apart.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::code;
use super::diagnostic::Report;
use super::nearest::nearest;
use super::span::{Located, Span};
use super::tree::{Content, Entry, Node};

/// Something that can be read from a node.
pub(super) trait Shape: Sized {
    /// Says what is expected, with an article and an example: "a duration such as `10m`".
    fn what() -> &'static str;

    /// Says how it is written, for the help line.
    fn example() -> String {
        format!("write {}", Self::what())
    }

    /// Reads it; reports what is wrong, and gives what can be used in spite of it.
    fn read(node: &Node, report: &mut Report) -> Option<Self>;

    /// Reads a map that has one key more than its own, which says what kind of map it is.
    fn read_tagged(node: &Node, report: &mut Report, _tag: &str) -> Option<Self> {
        Self::read(node, report)
    }
}

/// Something that knows where it stands.
pub(super) trait Placed {
    /// Gives the place of the whole.
    fn span(&self) -> Span;
}

/// Reports that a node is of another kind than expected.
pub(super) fn wrong_type<T: Shape>(node: &Node, report: &mut Report) -> Option<T> {
    let (what, found) = (T::what(), node.kind());
    let help = match (&*node.content, what) {
        (Content::Nothing, _) => format!("{}; or remove the key", T::example()),
        (Content::List(_), "a text") => "remove the brackets or the `-`, and say one text".to_owned(),
        _ => T::example(),
    };
    report.say(
        code::WRONG_TYPE,
        node.span,
        format!("expected {what}, found {found}"),
        format!("this is {found}"),
        help,
    );
    None
}

/// Reads the value of one key, if it is there.
pub(super) fn field<T: Shape>(entries: &[Entry], key: &str, report: &mut Report) -> Option<T> {
    entries.iter().find(|entry| entry.key.as_str() == key).and_then(|entry| T::read(&entry.value, report))
}

/// Reports keys that a map does not have.
pub(super) fn check_keys(entries: &[Entry], known: &[&str], tag: &str, what: &str, report: &mut Report) {
    for entry in entries {
        let key = entry.key.as_str();
        if known.contains(&key) || key == tag {
            continue;
        }
        let near = if report.is_full() { None } else { nearest(key, known.iter().copied()) };
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it".to_owned(),
            None => format!("known keys are {}", list(known)),
        };
        report.say(code::UNKNOWN_KEY, entry.key.span, format!("unknown key `{key}` in {what}"), "this key", help);
    }
}

/// Reports a key that is not there.
pub(super) fn missing(node: &Node, key: &str, what: &str, description: &str, report: &mut Report) {
    let about = description.trim().split_inclusive('.').next().unwrap_or("").trim_end_matches('.').to_lowercase();
    let help = if about.is_empty() { format!("add `{key}: …`") } else { format!("add `{key}: …`: {about}") };
    report.say(code::MISSING_KEY, node.span, format!("`{key}` is missing in {what}"), "in this map", help);
}

/// Joins words for a help line.
pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

impl<T: Shape> Shape for Located<T> {
    fn what() -> &'static str {
        T::what()
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        T::read(node, report).map(|value| Self { value, span: node.span })
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn what() -> &'static str {
        "a list"
    }

    fn example() -> String {
        "write a list, as `[one, another]` or in lines that start with `- `".to_owned()
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &*node.content {
            Content::List(nodes) => Some(nodes.iter().filter_map(|node| T::read(node, report)).collect()),
            _ => wrong_type(node, report),
        }
    }
}

impl<T: Shape> Shape for Box<T> {
    fn what() -> &'static str {
        T::what()
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        T::read(node, report).map(Self::new)
    }

    fn read_tagged(node: &Node, report: &mut Report, tag: &str) -> Option<Self> {
        T::read_tagged(node, report, tag).map(Self::new)
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T: Shape> Shape for OneOrMany<T> {
    fn what() -> &'static str {
        T::what()
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &*node.content {
            Content::List(nodes) => Some(Self(nodes.iter().filter_map(|node| T::read(node, report)).collect())),
            _ => T::read(node, report).map(|one| Self(vec![one])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

/// A map from any text to values, in the order written. A value that could not be read is `None`, so that its name is
/// known all the same.
#[derive(Debug, Clone)]
pub(super) struct Entries<T>(pub(super) Vec<(Located<String>, Option<T>)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entries<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Located<String>, Option<&T>)> {
        self.0.iter().map(|(name, value)| (name, value.as_ref()))
    }
}

impl<T: Shape> Shape for Entries<T> {
    fn what() -> &'static str {
        "a map"
    }

    fn example() -> String {
        "write a map, as `{name: value}` or in lines `name: value`".to_owned()
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &*node.content {
            Content::Map(entries) => {
                Some(Self(entries.iter().map(|entry| (entry.key.clone(), T::read(&entry.value, report))).collect()))
            }
            _ => wrong_type(node, report),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Entries{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({"type": "object", "additionalProperties": value})
    }
}

/// A map from names to values; names are checked.
#[derive(Debug, Clone)]
pub(super) struct Named<T>(pub(super) Entries<T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Entries::default())
    }
}

impl<T> Named<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Located<String>, Option<&T>)> {
        self.0.iter()
    }
}

/// Characters of a name.
pub(super) const NAME_LENGTH_MAX: usize = 70;
/// What a name looks like, for the schema.
const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,69}$";

/// Says whether a text is a name: it may stand in addresses, files, mails and patterns as it is.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_LENGTH_MAX
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Reports a text that is not a name.
pub(super) fn check_name(name: &Located<String>, report: &mut Report) {
    if !is_name(name) {
        let help =
            format!("use 1 to {NAME_LENGTH_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`, with a letter or digit first");
        let shown: String = name.chars().take(NAME_LENGTH_MAX).collect();
        report.say(code::BAD_NAME, name.span, format!("`{shown}` cannot be a name"), "this name", help);
    }
}

impl<T: Shape> Shape for Named<T> {
    fn what() -> &'static str {
        "a map of names"
    }

    fn example() -> String {
        "write a map, as `{name: value}` or in lines `name: value`".to_owned()
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        if !matches!(*node.content, Content::Map(_)) {
            return wrong_type(node, report);
        }
        let entries = Entries::<T>::read(node, report)?;
        entries.iter().for_each(|(name, _)| check_name(name, report));
        Some(Self(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({"type": "object", "propertyNames": {"pattern": NAME_PATTERN}, "additionalProperties": value})
    }
}

/// Words of the model that the configuration uses.
pub(super) trait Words: Sized + Copy + 'static {
    /// What they are, with an article.
    const WHAT: &'static str;
    /// The words and their meanings.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<E>(pub(super) E);

/// Reports a word that is none of `words`.
pub(super) fn unknown_word(found: &str, span: Span, what: &str, words: &[&str], report: &mut Report) {
    let help = match nearest(found, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? possible are {}", list(words)),
        None => format!("possible are {}", list(words)),
    };
    let found: String = found.chars().take(60).collect();
    report.say(code::UNKNOWN_WORD, span, format!("`{found}` is not {what}"), "this word", help);
}

impl<E: Words> Shape for Word<E> {
    fn what() -> &'static str {
        E::WHAT
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Content::Text { text, .. } = &*node.content else { return wrong_type(node, report) };
        let found = E::WORDS.iter().find(|(word, _)| word == text).map(|&(_, meaning)| Self(meaning));
        if found.is_none() {
            let words: Vec<_> = E::WORDS.iter().map(|&(word, _)| word).collect();
            unknown_word(text, node.span, E::WHAT, &words, report);
        }
        found
    }
}

impl<E: Words> JsonSchema for Word<E> {
    fn schema_name() -> Cow<'static, str> {
        E::WHAT.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = E::WORDS.iter().map(|&(word, _)| word).collect();
        json_schema!({"type": "string", "enum": words})
    }
}

/// Gives words a meaning: `words! { Forge as "a forge" { "github" => Forge::Github } }`.
macro_rules! words {
    ($name:ty as $what:literal { $($word:literal => $meaning:expr),* $(,)? }) => {
        impl $crate::config::shape::Words for $name {
            const WHAT: &'static str = $what;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $meaning)),*];
        }
    };
}

/// Describes a map with known keys. Every field is an `Option`, so that one mistake hides no other; `must` keys are
/// reported when they are missing.
macro_rules! shape {
    ($(#[$meta:meta])* $name:ident as $what:literal {
        $( #[doc = $description:literal] $need:ident $key:tt => $field:ident : $type:ty, )*
    }) => {
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields, transform = Self::require)]
        $(#[$meta])*
        pub(super) struct $name {
            $(
                #[doc = $description]
                #[schemars(rename = $key)]
                pub(super) $field: Option<$type>,
            )*
            #[schemars(skip)]
            span: $crate::config::span::Span,
        }

        impl $name {
            /// All its keys.
            pub(super) const KEYS: &'static [&'static str] = &[$($key),*];

            /// Says in the schema which keys must be there.
            fn require(schema: &mut schemars::Schema) {
                let needs: &[(&str, &str)] = &[$((stringify!($need), $key)),*];
                let keys: Vec<_> = needs.iter().filter(|(need, _)| *need == "must").map(|&(_, key)| key).collect();
                if !keys.is_empty() {
                    schema.insert("required".to_owned(), keys.into());
                }
            }
        }

        impl $crate::config::shape::Placed for $name {
            fn span(&self) -> $crate::config::span::Span {
                self.span
            }
        }

        impl $crate::config::shape::Shape for $name {
            fn what() -> &'static str {
                $what
            }

            fn example() -> String {
                $crate::config::shape::map_example(Self::KEYS)
            }

            fn read(node: &$crate::config::tree::Node, report: &mut $crate::config::diagnostic::Report) -> Option<Self> {
                Self::read_tagged(node, report, "")
            }

            fn read_tagged(
                node: &$crate::config::tree::Node,
                report: &mut $crate::config::diagnostic::Report,
                tag: &str,
            ) -> Option<Self> {
                let $crate::config::tree::Content::Map(entries) = &*node.content else {
                    return $crate::config::shape::wrong_type(node, report);
                };
                $crate::config::shape::check_keys(entries, Self::KEYS, tag, $what, report);
                $(
                    if stringify!($need) == "must" && !entries.iter().any(|entry| entry.key.as_str() == $key) {
                        $crate::config::shape::missing(node, $key, $what, $description, report);
                    }
                )*
                Some(Self {
                    $($field: $crate::config::shape::field(entries, $key, report),)*
                    span: node.span,
                })
            }
        }
    };
}

/// Describes what may be written in several ways, told apart by the kind of node.
macro_rules! either {
    ($(#[$meta:meta])* $name:ident as $what:literal { $($kind:ident => $variant:ident($type:ty),)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(untagged)]
        pub(super) enum $name {
            $(
                $variant($type),
            )*
        }

        impl $crate::config::shape::Shape for $name {
            fn what() -> &'static str {
                $what
            }

            fn read(node: &$crate::config::tree::Node, report: &mut $crate::config::diagnostic::Report) -> Option<Self> {
                match &*node.content {
                    $($crate::config::tree::Content::$kind { .. } => {
                        <$type as $crate::config::shape::Shape>::read(node, report).map(Self::$variant)
                    })*
                    _ => $crate::config::shape::wrong_type(node, report),
                }
            }
        }
    };
}

/// Describes a map whose key `kind` says which other keys it has. One whose kind is missing or unknown is a mistake;
/// what else is written there is read with the keys of all kinds, so that it hides no other mistakes.
macro_rules! kinds {
    ($(#[$meta:meta])* $name:ident as $what:literal {
        $( #[doc = $description:literal] $word:tt => $variant:ident($type:ty), )*
        _ => $unknown:ident($any:ty),
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(tag = "kind")]
        pub(super) enum $name {
            $(
                #[doc = $description]
                #[schemars(rename = $word)]
                $variant($type),
            )*
            /// Of no known kind; reported where it is read.
            #[schemars(skip)]
            $unknown($any),
        }

        impl $crate::config::shape::Shape for $name {
            fn what() -> &'static str {
                $what
            }

            fn example() -> String {
                $crate::config::shape::map_example(&["kind"])
            }

            fn read(node: &$crate::config::tree::Node, report: &mut $crate::config::diagnostic::Report) -> Option<Self> {
                if !matches!(*node.content, $crate::config::tree::Content::Map(_)) {
                    return $crate::config::shape::wrong_type(node, report);
                }
                match $crate::config::shape::kind_of(node, $what, &[$($word),*], report).as_deref() {
                    $(Some($word) => <$type as $crate::config::shape::Shape>::read_tagged(node, report, "kind").map(Self::$variant),)*
                    _ => {
                        let node = $crate::config::shape::without_foreign(node, <$any>::KEYS);
                        <$any as $crate::config::shape::Shape>::read(&node, report).map(Self::$unknown)
                    }
                }
            }
        }
    };
}

/// Says how a map with known keys is written.
pub(super) fn map_example(keys: &[&str]) -> String {
    const SHOWN_MAX: usize = 5;
    let shown: Vec<_> = keys.iter().take(SHOWN_MAX).copied().collect();
    let more = if keys.len() > SHOWN_MAX { " and others" } else { "" };
    format!("write a map, as `{{key: value}}` or in lines, with keys such as {}{more}", list(&shown))
}

/// Leaves of a map of no known kind what is known, or mistyped: other keys may belong to the kind that was meant.
pub(super) fn without_foreign(node: &Node, known: &[&str]) -> Node {
    let Content::Map(entries) = &*node.content else { return node.clone() };
    let is_own = |entry: &&Entry| {
        let key = entry.key.as_str();
        key != "kind" && (known.contains(&key) || nearest(key, known.iter().copied()).is_some())
    };
    node.with(Content::Map(entries.iter().filter(is_own).cloned().collect()))
}

/// Finds the word under `kind`; reports one that is missing, or none of `words`.
pub(super) fn kind_of(node: &Node, what: &str, words: &[&str], report: &mut Report) -> Option<String> {
    let Content::Map(entries) = &*node.content else { return None };
    let Some(kind) = entries.iter().find(|entry| entry.key.as_str() == "kind") else {
        let help = format!("add `kind: …`; possible are {}", list(words));
        report.say(code::MISSING_KEY, node.span, format!("`kind` is missing in {what}"), "in this map", help);
        return None;
    };
    let word = String::read(&kind.value, report)?;
    if !words.contains(&word.as_str()) {
        let what = format!("a kind of {}", what.trim_start_matches("a "));
        unknown_word(&word, kind.value.span, &what, words, report);
    }
    Some(word)
}

pub(super) use {either, kinds, shape, words};
