//! The graph of a scheduler's `build:`: which builders, and which need which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BuilderName, NodeName, Outcome};

/// Nodes by name; acyclic by construction of the catalog.
pub type Graph = BTreeMap<NodeName, Node>;

/// One node: a builder, and what must have happened before it may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The builder that runs.
    pub builder: BuilderName,
    /// The node as written, before a matrix was expanded.
    pub group: String,
    /// What it needs.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Whether all needs must be met, or one is enough.
    #[serde(default)]
    pub mode: NeedMode,
}

/// One edge as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The node that must have ended.
    pub node: NodeName,
    /// How it must have ended.
    pub on: Condition,
}

/// How what is needed must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// With success or warnings.
    #[default]
    Success,
    /// With failure or exception.
    Failure,
    /// In any way.
    Finished,
}

impl Condition {
    /// Says whether `outcome` meets the condition.
    pub fn is_met_by(self, outcome: Outcome) -> bool {
        match self {
            Self::Success => outcome.is_good(),
            Self::Failure => outcome.is_bad(),
            Self::Finished => true,
        }
    }

    /// Gives the word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Finished => "finished",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::Failure, Self::Finished].into_iter().find(|condition| condition.as_str() == word)
    }
}

/// Whether all needs must be met, or one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum NeedMode {
    /// All of them.
    #[default]
    All,
    /// At least one of them.
    Any,
}
