//! What may be typed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use gristmill_model::protocol::wire::{HoldRequest, HoldWish};

use super::control::Ask;
use super::until;

const EXIT_CODES: &str = "\
Exit codes:
  0 done                     2 usage
  4 the worker that is to be told something does not run, or the service was not reached
  5 not permitted            7 what is needed is broken or taken, such as the data folder";

/// The most builds at once.
const SLOTS_MAX: i64 = 1024;

/// A worker of Gristmill: takes builds from a service, runs them on this machine, and says what happens.
///
/// It dials out and never listens. Without a subcommand it works until it is told to stop; TERM ends it at once, and a
/// build that ran is reported as such when it starts again.
#[derive(Debug, Parser)]
#[command(name = "gristmill-worker", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub(super) struct Args {
    /// What to tell the worker that runs here
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// The service to work for
    #[arg(long, value_name = "URL", env = "GRISTMILL_SERVER")]
    pub(super) server: Option<String>,
    /// A file with the token that a service's administrator made by `gristmill worker token`; read again when the
    /// service asks for it. The environment may hold the token itself: GRISTMILL_WORKER_TOKEN
    #[arg(long, value_name = "FILE", env = "GRISTMILL_WORKER_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The worker's own folder: its key, workspaces, what is still to be told
    #[arg(
        long,
        value_name = "FOLDER",
        env = "GRISTMILL_WORKER_DATA",
        default_value = "gristmill-worker-data",
        global = true
    )]
    pub(super) data: PathBuf,
    /// How many builds it runs at once; as many as there are cores if not said
    #[arg(long, value_name = "NUMBER", env = "GRISTMILL_WORKER_SLOTS", value_parser = clap::value_parser!(u32).range(1..=SLOTS_MAX))]
    pub(super) slots: Option<u32>,
    /// A label besides those that are found out, which builders may ask for; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", env = "GRISTMILL_WORKER_LABELS", value_delimiter = ',', value_parser = label)]
    pub(super) labels: Vec<(String, String)>,
    /// A file with the certificates (PEM) that the service's must come from, instead of the system's
    #[arg(long, value_name = "FILE", env = "GRISTMILL_WORKER_CA")]
    pub(super) ca: Option<PathBuf>,
    /// The size of the worker's own mirrors of repositories, which builds share; 0 keeps none
    #[arg(long, value_name = "GIB", env = "GRISTMILL_WORKER_MIRRORS", default_value_t = 10)]
    pub(super) mirrors: u64,
    /// At the first TERM take no more builds and end when the last one has ended; the second ends at once
    #[arg(long, env = "GRISTMILL_WORKER_DRAIN_ON_TERM")]
    pub(super) drain_on_term: bool,
}

/// What the worker that runs here is told.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take no new builds for a while; those that run go on
    Pause {
        /// When the pause ends by itself, such as 18:00 or 2026-03-31T18:00
        #[arg(long, value_name = "TIME", conflicts_with = "span")]
        until: Option<String>,
        /// How long it lasts, such as 2h or 30m
        #[arg(long = "for", value_name = "SPAN")]
        span: Option<String>,
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Take builds again
    Resume,
    /// Take no new builds, because this machine goes
    Drain {
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say what the worker does
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Puts a command into what the worker is asked.
pub(super) fn ask_of(command: &Command, now_us: i64) -> Result<Ask, String> {
    let hold =
        |kind, until, reason: &Option<String>| Ask::Hold { wish: HoldRequest { kind, until, reason: reason.clone() } };
    Ok(match command {
        Command::Pause { until, span, reason } => {
            let until = match (until, span) {
                (Some(until), _) => Some(until::moment(until, now_us)?),
                (None, Some(span)) => Some(until::after(span, now_us)?),
                (None, None) => None,
            };
            hold(HoldWish::Pause, until, reason)
        }
        Command::Resume => hold(HoldWish::Resume, None, &None),
        Command::Drain { reason } => hold(HoldWish::Drain, None, reason),
        Command::Status { json } => Ask::Status { json: *json },
    })
}

impl Args {
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label looks like os=linux".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::try_parse_from(std::iter::once("gristmill-worker").chain(words.iter().copied()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_worker_needs_few_words() {
        let words = ["--server", "https://ci", "--token-file", "t", "--label", "gpu=yes", "--label", "os=bsd"];
        let args = parse(&words).unwrap();
        assert_eq!(args.labels()["gpu"], "yes");
        assert!(args.command.is_none());
        assert!(parse(&["--label", "gpu"]).unwrap_err().contains("os=linux"));
        assert!(parse(&["--slots", "0"]).is_err());
    }

    #[test]
    fn what_the_worker_is_told_is_one_wish() {
        const NOW: i64 = 1_700_000_000_000_000;
        let ask = |words: &[&str]| ask_of(&parse(words).unwrap().command.unwrap(), NOW);
        let Ok(Ask::Hold { wish }) = ask(&["pause", "--for", "2h", "--reason", "I need it"]) else { panic!("no wish") };
        assert_eq!(wish.kind, HoldWish::Pause);
        assert_eq!(wish.until.unwrap().0, NOW + 2 * 3600 * 1_000_000);
        assert_eq!(wish.reason.as_deref(), Some("I need it"));
        assert!(matches!(ask(&["resume"]), Ok(Ask::Hold { wish }) if wish.kind == HoldWish::Resume));
        assert!(ask(&["pause", "--for", "soon"]).is_err());
        assert!(parse(&["pause", "--for", "2h", "--until", "18:00"]).is_err());
    }
}
