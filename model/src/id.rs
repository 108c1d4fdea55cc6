//! Identities: small integers that people can say, and checked names from the configuration.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl $name {
            /// Gives the identity after this one.
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    )*};
}

ids! {
    /// One movement of one ref, as it was accepted.
    ChangeId;
    /// One webhook request as received.
    DeliveryId;
    /// Requests made together for one stamp set.
    BuildsetId;
    /// The wish for one builder to be run on one buildset's stamps.
    RequestId;
    /// One attempt to fulfil a request.
    BuildId;
    /// What one culprit range broke.
    IncidentId;
    /// One message in the outbox.
    MessageId;
    /// A position in the journal: in commit order, starting at 1, without gaps but for the one that each restore of a
    /// backup leaves.
    Seq;
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Gives the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// A repository's name in the configuration.
    RepositoryName;
    /// A codebase's name: what a builder calls one of its sources. Usually the repository's name.
    CodebaseName;
    /// A project's name.
    ProjectName;
    /// A concrete builder's name; the rows of a matrix are `family[value]`.
    BuilderName;
    /// A scheduler's name.
    SchedulerName;
    /// A node's name in a buildset's graph.
    NodeName;
    /// A notifier's name.
    NotifierName;
    /// A worker's name, which comes from its credential alone.
    WorkerName;
    /// A pool of workers that are not named one by one.
    PoolName;
    /// The public part of a token, 8 characters.
    TokenId;
    /// The name under which a secret is configured; never its value.
    SecretName;
    /// A revision as its version control system names it (a full git object id).
    Revision;
    /// A full ref name, such as `refs/heads/main`.
    RefName;
    /// The SHA-256 (lower-case hexadecimal) of a configuration's text.
    CatalogHash;
    /// The SHA-256 (lower-case hexadecimal) of a recipe's canonical JSON, or of a request's inputs.
    Digest;
}

impl Revision {
    /// Gives the first 8 characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl CatalogHash {
    /// Gives the first 6 characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..6).unwrap_or(&self.0)
    }
}

impl RefName {
    /// Makes the full name of a branch.
    pub fn of_branch(branch: &str) -> Self {
        Self(format!("refs/heads/{branch}"))
    }

    /// Gives the branch's name, if this is one.
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// Gives the tag's name, if this is one.
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// Gives the branch's or tag's name, or the whole ref for others.
    pub fn short(&self) -> &str {
        self.branch().or_else(|| self.tag()).unwrap_or(&self.0)
    }
}

impl Digest {
    /// Takes the SHA-256 of a byte string.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest(bytes);
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
