//! What concerns steps, and what their commands are given and kept in, as it is written.

use gristmill_model::{CheckoutMethod, Engine, OnFailure, OnWarnings, Outcome, SecretForm, SoFar};

use super::scalar::{Scalar, Script, Size, Text, Time};
use super::shape::{Entries, Named, OneOrMany, Word, either, shape, words};
use super::span::Located;

words!(CheckoutMethod as "a method of checkout" {
    "incremental" => Self::Incremental, "clean" => Self::Clean, "fresh" => Self::Fresh,
});
words!(OnFailure as "a choice for `on-failure`" {
    "halt" => Self::Halt, "continue" => Self::Continue, "warn" => Self::Warn, "ignore" => Self::Ignore,
});
words!(OnWarnings as "a choice for `on-warnings`" { "warn" => Self::Warn, "fail" => Self::Fail, "ignore" => Self::Ignore });
words!(Outcome as "an outcome that an exit code can have" {
    "success" => Self::Success, "warnings" => Self::Warnings, "failure" => Self::Failure,
    "skipped" => Self::Skipped, "exception" => Self::Exception, "retry" => Self::Retry,
});
words!(SoFar as "a state of the build" {
    "success" => Self::Success, "failure" => Self::Failure, "always" => Self::Always,
});
words!(SecretForm as "a form of a secret" { "env" => Self::Env, "file" => Self::File });
words!(Engine as "a program that runs containers" { "docker" => Self::Docker, "podman" => Self::Podman });
words!(IsolationWord as "an isolation" { "none" => Self::None, "bubblewrap" => Self::Bubblewrap });

/// By what commands are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsolationWord {
    None,
    Bubblewrap,
}

either! {
    /// One step: `checkout`, or a map with `checkout`, `run` or `trigger`.
    RawStepItem as "a step: `checkout`, `run: …` or `trigger: …`" {
        Text => Word(Text),
        Map => Step(Box<RawStep>),
    }
}

shape! {
    /// One step.
    RawStep as "a step" {
        /// Brings the sources to their revisions; says what is kept of an earlier build's files.
        may "checkout" => checkout: RawCheckout,
        /// Runs a script (`sh -e`), or a program with arguments if it is a list.
        may "run" => run: RawRun,
        /// Starts a triggerable scheduler with this build's revisions.
        may "trigger" => trigger: Text,
        /// Its name. Default: from what it does.
        may "name" => name: Text,
        /// The folder it runs in, from the build's own folder.
        may "folder" => folder: Text,
        /// Environment variables over the builder's.
        may "environment" => environment: Entries<Located<Scalar>>,
        /// How long it may take: altogether, or `{idle, total, grace}`.
        may "timeout" => timeout: RawTimeout,
        /// What a failure means for the build. Default: halt.
        may "on-failure" => on_failure: Word<OnFailure>,
        /// What warnings mean for the build. Default: warn.
        may "on-warnings" => on_warnings: Word<OnWarnings>,
        /// Whether it runs even after the build has been halted; the same as `if: always`. Default: false.
        may "always" => always: Located<bool>,
        /// When it runs: `success`, `failure`, `always`, or `{outcome, branch, properties, outputs}`.
        may "if" => condition: RawCondition,
        /// Exit codes with a meaning of their own.
        may "exit" => exit: Entries<Word<Outcome>>,
        /// Whether a trigger step lasts until what it started is complete. Default: false.
        may "wait" => wait: Located<bool>,
        /// Properties that a trigger step hands over.
        may "properties" => properties: Entries<Located<Scalar>>,
        /// Files that are followed while it runs, as further logs of it: name → path from its folder.
        may "logs" => logs: Named<Text>,
        /// Regular expressions; a line of its output that one of them matches is a warning.
        may "warnings" => warnings: OneOrMany<Text>,
        /// Values that it writes to `$GRISTMILL_OUTPUT` as `name=value`; later steps see `$GRISTMILL_OUTPUT_NAME`.
        may "outputs" => outputs: OneOrMany<Text>,
        /// Patterns of the JUnit reports that it writes, from its folder.
        may "junit" => junit: OneOrMany<Text>,
        /// Patterns of the files that are kept of it, from its folder.
        may "artifacts" => artifacts: OneOrMany<Text>,
        /// What it may use up.
        may "limits" => limits: RawLimits,
    }
}

either! {
    /// When a step runs.
    RawCondition as "`success`, `failure`, `always`, or `{outcome, branch, properties, outputs}`" {
        Text => Outcome(Word<SoFar>),
        Map => Full(RawConditionMap),
    }
}

shape! {
    /// When a step runs: all that is named must hold.
    RawConditionMap as "a step's condition" {
        /// How the build must have fared so far. Default: not halted.
        may "outcome" => outcome: Word<SoFar>,
        /// Patterns for the branch.
        may "branch" => branch: OneOrMany<Text>,
        /// Patterns for properties, by name.
        may "properties" => properties: Entries<OneOrMany<Text>>,
        /// Patterns for outputs of earlier steps, by name.
        may "outputs" => outputs: Entries<OneOrMany<Text>>,
    }
}

shape! {
    /// What a step may use up.
    RawLimits as "limits" {
        /// Memory of each process, and of all together where the system keeps count of groups.
        may "memory" => memory: Located<Size>,
        /// Processes and threads of the worker's user.
        may "processes" => processes: Located<i64>,
        /// The size of a file that is written.
        may "file-size" => file_size: Located<Size>,
        /// Time on a processor, of each process.
        may "cpu-time" => cpu_time: Located<Time>,
        /// How much it stands back behind others: 0 to 19.
        may "nice" => nice: Located<i64>,
    }
}

either! {
    /// A secret that a builder's commands are given.
    RawSecretUse as "a secret's name, or `{from, as}`" {
        Text => From(Text),
        Map => Full(RawSecretUseMap),
    }
}

shape! {
    /// A secret that a builder's commands are given.
    RawSecretUseMap as "a use of a secret" {
        /// The secret.
        must "from" => from: Text,
        /// Whether the variable has its value, or the path of a file with it. Default: env.
        may "as" => form: Word<SecretForm>,
    }
}

either! {
    /// What commands are kept in.
    RawIsolation as "`bubblewrap`, or `{with, network}`" {
        Text => With(Word<IsolationWord>),
        Map => Full(RawIsolationMap),
    }
}

shape! {
    /// What commands are kept in.
    RawIsolationMap as "an isolation" {
        /// By what.
        must "with" => with: Word<IsolationWord>,
        /// Whether they see the network. Default: false.
        may "network" => network: Located<bool>,
    }
}

either! {
    /// The container that commands run in.
    RawContainer as "an image, or `{image, engine, network}`" {
        Text => Image(Text),
        Map => Full(RawContainerMap),
    }
}

shape! {
    /// The container that commands run in.
    RawContainerMap as "a container" {
        /// The image.
        must "image" => image: Text,
        /// What runs it. Default: docker.
        may "engine" => engine: Word<Engine>,
        /// Whether commands see the network. Default: true.
        may "network" => network: Located<bool>,
    }
}

shape! {
    /// What is kept of an earlier build's files.
    RawCheckoutMap as "a checkout" {
        /// The method: incremental keeps all, clean keeps ignored files, fresh keeps nothing.
        may "method" => method: Word<CheckoutMethod>,
    }
}

either! {
    /// A method, or a map with it.
    RawCheckout as "`incremental`, `clean` or `fresh`" {
        Text => Method(Word<CheckoutMethod>),
        Map => Map(RawCheckoutMap),
    }
}

either! {
    /// A script, or a program with its arguments.
    RawRun as "a command as a text or a list" {
        Text => Script(Located<Script>),
        List => Arguments(Vec<Located<Scalar>>),
    }
}

either! {
    /// How long a step may take.
    RawTimeout as "a duration such as `10m`, or `{idle, total, grace}`" {
        Text => Total(Located<Time>),
        Map => Full(RawTimeouts),
    }
}

shape! {
    /// How long a step may take.
    RawTimeouts as "a timeout" {
        /// Without any output. Default: 20m.
        may "idle" => idle: Located<Time>,
        /// Altogether. Default: 4h.
        may "total" => total: Located<Time>,
        /// Between TERM and KILL. Default: 10s.
        may "grace" => grace: Located<Time>,
    }
}
