//! What moved: refs, changes, deliveries, and the frozen stamps that builds are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ChangeId, CodebaseName, DeliveryId, RefName, RepositoryName, Revision, Timestamp};

/// Limits on what one change may carry; more is counted, marked `incomplete`, and matched conservatively.
pub mod limit {
    /// Commits listed in one change.
    pub const COMMITS_MAX: usize = 500;
    /// Files listed in one change, over all its commits.
    pub const FILES_MAX: usize = 5_000;
    /// Bytes of one commit message; the rest is cut.
    pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;
    /// Bytes of one author's name or address.
    pub const PERSON_BYTES_MAX: usize = 256;
    /// Bytes of one ref or file name.
    pub const NAME_BYTES_MAX: usize = 1024;
}

/// Somebody who made a commit. Untrusted text: encode it wherever it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Person {
    /// The name as committed.
    pub name: String,
    /// The mail address as committed; not verified.
    pub email: String,
}

/// One commit of a change. Untrusted text throughout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its object id.
    pub revision: Revision,
    /// Who wrote it.
    pub author: Person,
    /// The message, at most [`limit::MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// The files it touched, as paths from the root, against its first parent.
    #[serde(default)]
    pub files: Vec<String>,
    /// When it was committed.
    pub at: Timestamp,
}

impl Commit {
    /// Gives the first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or("").trim()
    }
}

/// How a ref moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Movement {
    /// The ref is new.
    Created,
    /// The new revision descends from the old one.
    Moved,
    /// It does not: history was rewritten, or a tag was moved.
    Forced,
    /// The ref is gone.
    Deleted,
}

/// By which of the equal ways a movement was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// The interval sweep.
    Poll,
    /// A local repository's files changed.
    Watch,
    /// A webhook.
    Webhook,
    /// A person or program asked.
    Api,
}

/// One ref's movement as a source noticed it, before it is accepted.
///
/// It becomes a change only if `old` is still the accepted tip (compare-and-set, S2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefUpdate {
    /// Which ref.
    pub reference: RefName,
    /// The tip that the source started from; `None` if the ref was unknown.
    pub old: Option<Revision>,
    /// The tip now; `None` if the ref is gone.
    pub new: Option<Revision>,
    /// How it moved.
    pub movement: Movement,
    /// The commits it brought, oldest first, at most [`limit::COMMITS_MAX`].
    pub commits: Vec<Commit>,
    /// Whether commits or files were left out.
    pub incomplete: bool,
}

/// What one look at a repository brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Which repository.
    pub repository: RepositoryName,
    /// How it was noticed.
    pub via: Via,
    /// Whether this is the first look ever: tips are recorded, and nothing is built unless the repository asks for it.
    pub first_sight: bool,
    /// The refs that moved.
    pub updates: Vec<RefUpdate>,
}

/// A ref update that was accepted: the unit that schedulers judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub id: ChangeId,
    /// Where it happened.
    pub repository: RepositoryName,
    /// Which ref moved.
    pub reference: RefName,
    /// The how-manieth movement of that ref this is, from 1, without gaps (S2).
    pub seq: i64,
    /// Where it was.
    pub old: Option<Revision>,
    /// Where it is.
    pub new: Option<Revision>,
    /// How it moved.
    pub movement: Movement,
    /// The commits it brought, oldest first.
    pub commits: Vec<Commit>,
    /// Whether commits or files were left out.
    pub incomplete: bool,
    /// How it was noticed.
    pub via: Via,
    /// When it was accepted.
    pub at: Timestamp,
}

impl Change {
    /// Gives the distinct authors, in order of first appearance.
    pub fn authors(&self) -> Vec<&Person> {
        let mut authors: Vec<&Person> = Vec::new();
        for commit in &self.commits {
            if !authors.contains(&&commit.author) {
                authors.push(&commit.author);
            }
        }
        authors
    }

    /// Gives the subject of the newest commit, or what happened to the ref.
    pub fn title(&self) -> String {
        match (self.commits.last(), self.movement) {
            (_, Movement::Deleted) => format!("{} deleted", self.reference.short()),
            (Some(commit), _) => commit.subject().to_owned(),
            (None, Movement::Created) => format!("{} created", self.reference.short()),
            (None, _) => format!("{} moved", self.reference.short()),
        }
    }
}

/// A webhook request as received: stored before it is answered, and replayable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// The repository whose hook was called.
    pub repository: RepositoryName,
    /// The sender's own delivery id; a repeat of it is answered as the first was.
    pub key: String,
    /// The event's name as the sender gives it, such as `push`.
    pub event: String,
    /// SHA-256 of the body, hexadecimal.
    pub sha256: String,
    /// When it came.
    pub at: Timestamp,
}

/// One codebase at one exact revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceStamp {
    /// Where it comes from.
    pub repository: RepositoryName,
    /// The branch or tag it was on when it was frozen.
    pub branch: String,
    /// The revision.
    pub revision: Revision,
    /// The newest change of that repository and branch that it contains, if one was accepted: what blame is counted from.
    pub change: Option<ChangeId>,
}

/// One stamp per codebase: the complete, frozen input of a buildset.
pub type StampSet = BTreeMap<CodebaseName, SourceStamp>;
