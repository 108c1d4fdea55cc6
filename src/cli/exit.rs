//! What a command comes to: exit codes that scripts may rely on, and failures that say how to mend them.

use std::fmt;

use gristmill_model::Outcome;

/// An exit code. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; an outcome was success, warnings or skipped.
    Done,
    /// An outcome was failure, or something that was looked at is not as it should be.
    Failed,
    /// What was typed cannot be understood, or a value was refused.
    Usage,
    /// The configuration is invalid.
    Invalid,
    /// No service answered.
    NotReached,
    /// The service did not permit it.
    NotPermitted,
    /// An outcome was exception or cancelled, or what the command needs is broken or taken: a file, the port, the data
    /// folder.
    Broken,
    /// There is no such thing, or more than one.
    NotFound,
    /// Ctrl-C ended the looking; what was looked at goes on.
    Detached,
}

impl Exit {
    /// Gives the number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::NotReached => 4,
            Self::NotPermitted => 5,
            Self::Broken => 7,
            Self::NotFound => 8,
            Self::Detached => 130,
        }
    }

    /// Says what an outcome makes of a command that was asked for it.
    pub fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Skipped | Outcome::Success | Outcome::Warnings => Self::Done,
            Outcome::Failure => Self::Failed,
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => Self::Broken,
        }
    }
}

/// Why a command could not do what it was asked for: what is wrong, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Makes one.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes one of something that broke around the command.
    pub fn broken(error: impl fmt::Display) -> Self {
        Self::new(Exit::Broken, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  help: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // A reader that went away (`gristmill logs 12 | head`) is not worth a message.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, String::new());
        }
        Self::broken(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // The whole chain on one line: each layer knows a part of what is wrong.
        Self::broken(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let all = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Invalid, 3),
            (Exit::NotReached, 4),
            (Exit::NotPermitted, 5),
            (Exit::Broken, 7),
            (Exit::NotFound, 8),
            (Exit::Detached, 130),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn an_outcome_decides_the_exit_code() {
        for (outcome, exit) in [
            (Outcome::Success, Exit::Done),
            (Outcome::Skipped, Exit::Done),
            (Outcome::Warnings, Exit::Done),
            (Outcome::Failure, Exit::Failed),
            (Outcome::Exception, Exit::Broken),
            (Outcome::Cancelled, Exit::Broken),
        ] {
            assert_eq!(Exit::of_outcome(outcome), exit);
        }
    }
}
