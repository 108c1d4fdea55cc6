//! What may be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::store::Database;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// The address that a service listens on unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8020";

/// The file that is looked for when none is named.
pub const DEFAULT_FILE: &str = "gristmill.yaml";

/// An event-driven continuous-integration scheduler.
///
/// Without a subcommand: `status` where a gristmill.yaml is near, `serve --demo` where none is.
#[derive(Debug, Parser)]
#[command(name = "gristmill", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 done, outcome success    1 outcome failure, or `doctor` found something
  2 usage                    3 configuration invalid
  4 server not reached       5 not permitted        8 not found or ambiguous
  7 outcome exception or cancelled, or what is needed is broken or taken, such as the port or the data folder
  130 detached by Ctrl-C";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print JSON: one object, or one per line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// The service to speak with
    #[arg(long, global = true, value_name = "URL", env = "GRISTMILL_SERVER", default_value = "http://127.0.0.1:8020")]
    pub server: String,
    /// The token that allows changing things on a service beyond this machine
    #[arg(long, global = true, value_name = "TOKEN", env = "GRISTMILL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Say less: results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// When to use colour. NO_COLOR wins over `auto`
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// The form of the program's own log on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// When standard output is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of the program's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service, with a local worker
    Serve(ServeArgs),
    /// Write a commented gristmill.yaml for the repository found here
    Init(InitArgs),
    /// Check a configuration: every mistake with its file, line and hint
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Explain a diagnostic code, such as G2103
    Explain(ExplainArgs),
    /// What is broken, what runs, what waits
    Status,
    /// Look whether everything that is kept is as it should be, beside a service that runs or without one
    Doctor(DoctorArgs),
    /// Start a force scheduler
    Force(ForceArgs),
    /// End a build, a request or all of a buildset
    Cancel(CancelArgs),
    /// Why something was built, was not built, or waits
    Why(WhyArgs),
    /// See it live: a buildset, a build, or everything that matches
    Watch(WatchArgs),
    /// Print the log of a build's step
    Logs(LogsArgs),
    /// Show a buildset's or a scheduler's graph
    Graph(GraphArgs),
    /// Look at a repository now
    Sweep(SweepArgs),
    /// Read a stored webhook delivery again
    Replay(ReplayArgs),
    /// Copy an installation, running or not, to a folder; or check such a copy
    Backup(BackupArgs),
    /// Make an installation of a backup
    Restore(RestoreArgs),
    /// Where the room goes, when the disk is full, and what the rules delete
    Retention(RetentionArgs),
    /// See workers and care for them, let them in, or be one
    Worker(super::workers::WorkerArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// What `serve` takes.
#[derive(Debug, Clone, Args, Default)]
pub struct ServeArgs {
    /// The configuration [default: gristmill.yaml]
    pub file: Option<PathBuf>,
    /// The address to listen on [default: the file's, else 127.0.0.1:8020]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// The folder for the database, logs and mirrors [default: gristmill-data beside the file]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The database: `sqlite:` for a file in the data folder, or `postgres://USER@HOST/NAME`
    #[arg(long, value_name = "URL", env = "GRISTMILL_DATABASE", hide_env_values = true, default_value = "sqlite:")]
    pub database: Database,
    /// Where other masters on the same database reach this one [default: the address it listens on]
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub advertise: Option<String>,
    /// The folder of logs, which masters on the same database share [default: logs in the data folder]
    #[arg(long, value_name = "DIR", env = "GRISTMILL_LOGS")]
    pub logs: Option<PathBuf>,
    /// Start although the logs of before are in another folder: they are not shown then
    #[arg(long)]
    pub forget_logs: bool,
    /// Show it on three little repositories made on the spot
    #[arg(long, conflicts_with_all = ["file", "data", "no_worker"])]
    pub demo: bool,
    /// Keep the demo's folder at exit
    #[arg(long, requires = "demo")]
    pub keep: bool,
    /// Do not start the local worker
    #[arg(long)]
    pub no_worker: bool,
    /// End the demo when its story is told
    #[arg(long, requires = "demo", hide = true)]
    pub exit_when_done: bool,
}

/// What `init` takes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder of the repository
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// What `check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(default_value = DEFAULT_FILE)]
    pub file: PathBuf,
    /// How mistakes are written
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
}

/// How mistakes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people, with the lines they stand on.
    Text,
    /// As one JSON object, with byte offsets.
    Json,
    /// As GitHub workflow commands, which annotate a pull request.
    Github,
}

/// What `explain` takes.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code, such as G2103
    pub code: String,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArgs {
    /// The service's data folder [default: gristmill-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The database, if it is on a server: postgres://user@host/name
    #[arg(long, value_name = "URL", env = "GRISTMILL_DATABASE", hide_env_values = true, default_value = "sqlite:")]
    pub database: String,
    /// The folder of logs, if it is not in the data folder
    #[arg(long, value_name = "DIR", env = "GRISTMILL_LOGS")]
    pub logs: Option<PathBuf>,
    /// Read everything that ever was: fold the journal, write its rows again and compare, unpack every log
    #[arg(long)]
    pub deep: bool,
}

const DOCTOR_HELP: &str = "\
It only reads. Exit codes:
  0 everything is as it should be    1 something is not
  7 something could not be looked at 8 there is no such data folder or database";

/// What `force` takes.
#[derive(Debug, Args)]
pub struct ForceArgs {
    /// The force scheduler
    pub scheduler: String,
    /// Its parameters
    #[arg(value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Stay and watch; end with the outcome's exit code
    #[arg(long)]
    pub watch: bool,
}

/// What `cancel` takes.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// build 12, request 9, buildset 3; a number alone is a build
    #[arg(required = true, num_args = 1..=2, value_name = "THING")]
    pub thing: Vec<String>,
}

/// What `why` takes.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// build 12, request 9, change 5, buildset 3; a number alone is a build, a revision is its change
    #[arg(num_args = 0..=2, value_name = "THING", required_unless_present = "not")]
    pub thing: Vec<String>,
    /// Why a change did not start a builder
    #[arg(long, value_name = "BUILDER@CHANGE", conflicts_with = "thing")]
    pub not: Option<String>,
}

/// What `watch` takes.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// buildset 3, build 12, or filters: builder=app-*, branch=main, scheduler=…, repository=…; a number alone is a
    /// buildset. Nothing: everything
    #[arg(value_name = "ID|FILTER")]
    pub what: Vec<String>,
    /// End with the exit code of the outcome of what was named
    #[arg(long)]
    pub exit_status: bool,
}

/// What `logs` takes.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The build's number
    pub build: i64,
    /// The step's number or name [default: the failing one, else the last one]
    pub step: Option<String>,
    /// Go on as the log grows, until the build ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only the lines that look like errors
    #[arg(long, conflicts_with_all = ["follow", "lines"])]
    pub errors: bool,
    /// Only these lines, such as 800-830
    #[arg(long, value_name = "A-B", conflicts_with = "follow")]
    pub lines: Option<String>,
    /// Every byte as the step wrote it, escape codes included
    #[arg(long)]
    pub raw: bool,
}

/// What `graph` takes.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// A buildset's number or a scheduler's name [default: all schedulers of the configuration]
    #[arg(value_name = "ID|SCHEDULER")]
    pub what: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
    /// The configuration that schedulers are read from
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
    /// For programs.
    Json,
}

/// What `sweep` takes.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The repository
    pub repository: String,
}

/// What `replay` takes.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The delivery's number
    pub delivery: i64,
}

/// What to do about tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make one, and print it: it is shown this once and kept nowhere
    New(TokenNewArgs),
    /// List them, without their secrets
    List,
    /// Take one back: its workers are refused from now on
    Revoke {
        /// The first 8 characters after `gmw_`
        id: String,
    },
}

/// What `worker token new` takes.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("admits").required(true).args(["worker", "pool"]))]
pub struct TokenNewArgs {
    /// For this one worker
    #[arg(long, value_name = "NAME")]
    pub worker: Option<String>,
    /// For any number of workers up to --max, which need no names
    #[arg(long, value_name = "NAME", requires = "max")]
    pub pool: Option<String>,
    /// How many workers the pool may have at once
    #[arg(long, value_name = "N", conflicts_with = "worker")]
    pub max: Option<u32>,
    /// Who is told of what becomes of its workers
    #[arg(long, value_name = "WHO")]
    pub owner: Option<String>,
    /// From when on it lets nobody in any more, such as 90d [default: never]
    #[arg(long, value_name = "SPAN", value_parser = crate::config::parse_span)]
    pub expires: Option<std::time::Duration>,
}

/// What `backup` takes.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The folder to write, which must not be there yet
    #[arg(value_name = "FOLDER", required_unless_present = "check")]
    pub place: Option<PathBuf>,
    /// Check the backup in this folder instead of taking one
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["place", "file", "data"])]
    pub check: Option<PathBuf>,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
    /// The data folder [default: gristmill-data beside the file]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The database: `sqlite:` for a file in the data folder, or `postgres://USER@HOST/NAME`
    #[arg(long, value_name = "URL", env = "GRISTMILL_DATABASE", hide_env_values = true, default_value = "sqlite:")]
    pub database: Database,
    /// The folder of logs, if it is not in the data folder
    #[arg(long, value_name = "DIR", env = "GRISTMILL_LOGS")]
    pub logs: Option<PathBuf>,
}

/// What `restore` takes.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup's folder
    #[arg(value_name = "FOLDER")]
    pub source: PathBuf,
    /// The data folder to make, which must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The database: `sqlite:` for a file in the data folder, or `postgres://USER@HOST/NAME`, which must be empty
    #[arg(long, value_name = "URL", env = "GRISTMILL_DATABASE", hide_env_values = true, default_value = "sqlite:")]
    pub database: Database,
}

/// What `retention` takes.
#[derive(Debug, Args)]
pub struct RetentionArgs {
    /// Say also what would be deleted now, by a run over a copy of the database
    #[arg(long)]
    pub dry_run: bool,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
    /// The data folder [default: gristmill-data beside the file]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The folder of logs [default: logs in the data folder]
    #[arg(long, value_name = "DIR", env = "GRISTMILL_LOGS")]
    pub logs: Option<PathBuf>,
}

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Reads an address that begins with `http://` or `https://`.
fn http_url(text: &str) -> Result<String, String> {
    let is_http =
        ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if is_http { Ok(text.to_owned()) } else { Err("it must begin with http:// or https://".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_subcommand_gets_a_suggestion() {
        let error = Cli::try_parse_from(["gristmill", "stats"]).expect_err("there is no `stats`");
        assert!(error.to_string().contains("status"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
