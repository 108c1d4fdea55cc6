//! Webhooks: hints from a forge that a repository moved, each signed, and stored before it is answered.
//!
//! A request that tells a movement completely is handed over with it, so that it becomes a change in the turn that
//! stores it; the engine takes it only if it follows what was accepted. Anything else, a broken body included, makes us
//! look at the repository ourselves. An address in a request is never used: only the configured one is looked at.
//!
//! In reading order: [`signature`]; the dialects [`github`] and [`generic`]; [`route`], which receives; [`replay`].

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use gristmill_model::catalog::{Forge, Repository};
use gristmill_model::source::limit;
use gristmill_model::{Commit, Movement, Person, RefName, RefUpdate, Revision, Timestamp};
use serde::Deserialize;

use super::git::commits::cut;
use super::git::listing::is_wanted;

pub mod generic;
pub mod github;
pub mod replay;
pub mod route;
pub mod signature;

/// Bytes of a sender's own name for a delivery or an event.
const NAME_BYTES_MAX: usize = 128;

/// A signed request, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReading {
    /// The sender's own name for the delivery.
    pub key: String,
    /// The event's name.
    pub event: String,
    /// What it says.
    pub meaning: Meaning,
}

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A movement, with all its commits.
    Moved(Box<RefUpdate>),
    /// That something moved, or nothing that could be understood: look, and why.
    Look(String),
    /// Nothing that concerns us, and why.
    Nothing(String),
}

/// Why a request is refused. Nothing of it is kept then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It has no signature, or more than one.
    #[error("one header {header} is needed; set the secret in the sender's settings")]
    SignatureMissing {
        /// Which header.
        header: &'static str,
    },
    /// Its signature is not made with our secret over this body.
    #[error("the signature is not right; set the same secret here and in the sender's settings")]
    SignatureWrong,
    /// It does not say which delivery or event it is.
    #[error("one header {header} of up to {NAME_BYTES_MAX} printable characters is needed")]
    NameMissing {
        /// Which header.
        header: &'static str,
    },
    /// Its body is of another kind.
    #[error("the content type must be {wanted}, without content encoding")]
    ContentType {
        /// Which kinds are read.
        wanted: &'static str,
    },
}

/// Reads a request in the dialect that the repository's webhook speaks. Signature first, then everything else.
///
/// # Errors
/// Why it is refused.
pub fn read(
    forge: Forge,
    config: &Repository,
    secret: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<HookReading, HookError> {
    match forge {
        Forge::Github => github::read(config, secret, headers, body),
        Forge::Generic => generic::read(config, secret, headers, body),
    }
}

/// Reads what a request says whose signature was checked before.
pub fn meaning(forge: Forge, config: &Repository, headers: &HeaderMap, body: &[u8]) -> Meaning {
    match forge {
        Forge::Github => github::meaning(config, headers, body),
        Forge::Generic => generic::meaning(config, body),
    }
}

/// Gives a header that must be there once and be plain.
fn name_in(headers: &HeaderMap, header: &'static str) -> Result<String, HookError> {
    let mut values = headers.get_all(header).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(text), None) if !text.is_empty() && text.len() <= NAME_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(HookError::NameMissing { header }),
    }
}

/// Gives the content type without its parameters, lower case; nothing if there is none, or the body is encoded.
fn kind_of(headers: &HeaderMap) -> String {
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !matches!(said(CONTENT_ENCODING), "" | "identity") {
        return String::new();
    }
    said(CONTENT_TYPE).split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// A revision in a request: all zeros stands for none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Nothing,
    Revision(Revision),
}

impl Told {
    fn parse(text: &str) -> Option<Self> {
        let is_revision = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match (is_revision, text.bytes().all(|byte| byte == b'0')) {
            (false, _) => None,
            (true, true) => Some(Self::Nothing),
            (true, false) => Some(Self::Revision(Revision::from(text))),
        }
    }

    fn into_revision(self) -> Option<Revision> {
        match self {
            Self::Nothing => None,
            Self::Revision(revision) => Some(revision),
        }
    }
}

/// Somebody, as both dialects tell it.
#[derive(Debug, Deserialize)]
struct ToldPerson {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
}

/// A movement of one ref as both dialects tell it, before it is judged.
struct ToldMove {
    reference: String,
    before: String,
    after: String,
    forced: bool,
    commits: Vec<Commit>,
}

/// What a told movement comes to, apart from whether its commits are complete.
enum Judged {
    /// It is a movement of a ref that we look at.
    Move(RefUpdate),
    /// It is not.
    Other(Meaning),
}

impl ToldMove {
    /// Judges all that can be judged without knowing what was accepted.
    fn judge(self, config: &Repository) -> Judged {
        let reference = RefName::from(self.reference.as_str());
        let is_good =
            reference.as_str().len() <= limit::NAME_BYTES_MAX && git2::Reference::is_valid_name(reference.as_str());
        let (Some(before), Some(after), true) = (Told::parse(&self.before), Told::parse(&self.after), is_good) else {
            return Judged::Other(Meaning::Look("its ref or its revisions are not written as git does".to_owned()));
        };
        if !is_wanted(config, &reference) {
            return Judged::Other(Meaning::Nothing(format!("`{}` is not looked at", reference.short())));
        }
        if reference.tag().is_some() {
            // An annotated tag is told by its own id, and we go by its commit's.
            return Judged::Other(Meaning::Look(format!("tag `{}` moved", reference.short())));
        }
        let (old, new) = (before.into_revision(), after.into_revision());
        let movement = match (&old, &new) {
            (_, None) => Movement::Deleted,
            (None, Some(_)) => Movement::Created,
            (Some(_), Some(_)) if self.forced => Movement::Forced,
            (Some(_), Some(_)) => Movement::Moved,
        };
        let commits = if movement == Movement::Deleted { Vec::new() } else { self.commits };
        Judged::Move(RefUpdate { reference, old, new, movement, commits, incomplete: false })
    }
}

/// Makes a commit of what a dialect tells, within the limits. `None` if its id or time is not understood.
fn commit(id: &str, message: &str, author: &ToldPerson, at: &str, mut files: Vec<String>) -> Option<Commit> {
    let Told::Revision(revision) = Told::parse(id)? else { return None };
    let at = chrono::DateTime::parse_from_rfc3339(at).ok()?;
    let person = |text: &Option<String>| cut(text.as_deref().unwrap_or("").as_bytes(), limit::PERSON_BYTES_MAX);
    files.sort();
    files.dedup();
    Some(Commit {
        revision,
        author: Person { name: person(&author.name), email: person(&author.email) },
        message: cut(message.as_bytes(), limit::MESSAGE_BYTES_MAX),
        files,
        at: Timestamp(at.timestamp_micros()),
    })
}

/// Says why the commits cannot be all of the movement; `None` if they may be.
fn gap_in(update: &RefUpdate) -> Option<String> {
    let files: usize = update.commits.iter().map(|commit| commit.files.len()).sum();
    let is_long = |commit: &Commit| commit.files.iter().any(|file| file.len() > limit::NAME_BYTES_MAX);
    let newest = update.commits.last().map(|commit| &commit.revision);
    if update.movement == Movement::Deleted {
        None
    } else if newest != update.new.as_ref() {
        Some("its commits do not end where the ref is".to_owned())
    } else if update.commits.len() > limit::COMMITS_MAX
        || files > limit::FILES_MAX
        || update.commits.iter().any(is_long)
    {
        Some("it is longer than a change may be".to_owned())
    } else {
        None
    }
}

/// Says what is wrong with JSON, for people.
fn unreadable(error: &serde_json::Error) -> Meaning {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends early",
        serde_json::error::Category::Syntax => "the body is not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "the JSON is not what a push looks like",
    };
    Meaning::Look(format!("{what} (line {}, column {})", error.line(), error.column()))
}

#[cfg(test)]
mod tests;
