//! The things that people name: `build 12`, `build:12`, `12`, a revision.

use super::exit::{Exit, Failure};
use super::terminal::clean;

/// Something with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Build,
    Request,
    Buildset,
    Change,
}

impl Noun {
    const ALL: [Self; 4] = [Self::Build, Self::Request, Self::Buildset, Self::Change];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Request => "request",
            Self::Buildset => "buildset",
            Self::Change => "change",
        }
    }
}

/// What was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) noun: Noun,
    /// A number, or for a change also a revision.
    pub(crate) id: String,
}

impl Thing {
    /// Reads one or two words. A number alone is a `default`; a word of at least six hexadecimal digits with a letter
    /// is a revision, and so a change.
    pub(crate) fn read(words: &[String], default: Noun) -> Result<Self, Failure> {
        let (noun, id) = match words {
            [noun, id] => (Some(noun.as_str()), id.as_str()),
            [word] => word.split_once(':').map_or((None, word.as_str()), |(noun, id)| (Some(noun), id)),
            _ => return Err(unclear(&words.join(" "))),
        };
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && id.len() <= 18;
        let is_revision = id.len() >= 6 && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let noun = match noun {
            Some(word) => Noun::ALL.into_iter().find(|noun| noun.as_str() == word.trim_end_matches('s')),
            None if is_number => Some(default),
            None if is_revision => Some(Noun::Change),
            None => None,
        };
        match noun {
            Some(noun) if is_number || (noun == Noun::Change && is_revision) => Ok(Self { noun, id: id.to_owned() }),
            _ => Err(unclear(&words.join(" "))),
        }
    }
}

fn unclear(words: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{}` names nothing", clean(words)))
        .hint("say build 12, request 9, buildset 3 or change 5; a change may also be a revision of at least six digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Option<String> {
        let words: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
        Thing::read(&words, Noun::Build).ok().map(|thing| format!("{} {}", thing.noun.as_str(), thing.id))
    }

    #[test]
    fn things_are_named_in_several_ways() {
        for (words, thing) in [
            ("12", Some("build 12")),
            ("build 12", Some("build 12")),
            ("builds:12", Some("build 12")),
            ("request:9", Some("request 9")),
            ("a1b2c3d", Some("change a1b2c3d")),
            ("change 123456", Some("change 123456")),
            ("change a1b2", None),
            ("build a1b2c3d", None),
            ("biuld 12", None),
            ("", None),
            ("build -1", None),
        ] {
            assert_eq!(read(words).as_deref(), thing, "{words}");
        }
    }
}
