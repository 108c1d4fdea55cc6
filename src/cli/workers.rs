//! `gristmill worker`: see workers and care for them.

use std::ffi::OsString;

use chrono::{Local, NaiveTime, TimeDelta, TimeZone as _};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::TokenCommand;
use super::client::idempotency_key;
use super::exit::{Exit, Failure};
use super::force::person;
use super::narrate::count;
use super::run::Context;
use super::terminal::clean;
use super::tokens;

/// What `worker` takes.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// What to do
    #[command(subcommand)]
    pub command: WorkerCommand,
}

/// What is done with workers.
#[derive(Debug, Clone, Subcommand)]
pub enum WorkerCommand {
    /// All workers: what they do, and what keeps builds from them
    List,
    /// One worker with its labels, builds, holds, token and owner
    Show(Named),
    /// Give it no new builds; running ones go on
    Pause(PauseArgs),
    /// End whatever keeps builds from it, a quarantine too
    Resume(Named),
    /// Give it no new builds, and have running ones tried again elsewhere at the deadline
    Drain(DrainArgs),
    /// Forget one that is away and has no builds
    Forget(Named),
    /// The tokens by which workers join
    Token {
        /// What to do
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Be a worker of a service on another machine: the program `gristmill-worker`
    #[command(disable_help_flag = true)]
    Run {
        /// What `gristmill-worker` takes; `--help` lists it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
}

/// A worker.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// Its name
    pub name: String,
}

/// What `worker pause` takes.
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// Its name
    pub name: String,
    /// Until this time of this machine's clock, today or tomorrow
    #[arg(long, value_name = "HH:MM", conflicts_with = "span")]
    pub until: Option<NaiveTimeArg>,
    /// For so long, such as 90m or 2h
    #[arg(long = "for", value_name = "TIME")]
    pub span: Option<Seconds>,
    /// Why, for those who see it
    #[arg(long)]
    pub reason: Option<String>,
}

/// What `worker drain` takes.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Its name
    pub name: String,
    /// When its running builds are handed over, such as 30m or 1h [default: never, they end by themselves]
    #[arg(long, value_name = "TIME")]
    pub deadline: Option<Seconds>,
    /// Why, for those who see it
    #[arg(long)]
    pub reason: Option<String>,
}

/// A time of the day.
#[derive(Debug, Clone, Copy)]
pub struct NaiveTimeArg(NaiveTime);

impl std::str::FromStr for NaiveTimeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NaiveTime::parse_from_str(text, "%H:%M")
            .map(Self)
            .map_err(|_| "write a time of the day, such as 18:00".to_owned())
    }
}

/// A span of time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(u64);

impl std::str::FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number with s, m, h or d, such as 90m".to_owned();
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        number.checked_mul(factor).filter(|seconds| *seconds > 0).map(Self).ok_or_else(wrong)
    }
}

pub(crate) async fn run(context: &Context, args: WorkerArgs) -> Result<Exit, Failure> {
    match args.command {
        WorkerCommand::List => list(context).await,
        WorkerCommand::Show(Named { name }) => show(context, &name).await,
        WorkerCommand::Pause(args) => {
            let until = args.until.map(|NaiveTimeArg(time)| next(time, Local::now().naive_local()));
            let until = until.and_then(|at| Local.from_local_datetime(&at).earliest()).map(|at| at.to_rfc3339());
            let seconds = args.span.map(|Seconds(seconds)| seconds);
            let body = json!({"by": person(), "reason": args.reason, "until": until, "seconds": seconds});
            act(context, &args.name, "pause", &body, "is paused").await
        }
        WorkerCommand::Resume(Named { name }) => {
            act(context, &name, "resume", &json!({"by": person()}), "takes builds again").await
        }
        WorkerCommand::Drain(args) => {
            let seconds = args.deadline.map(|Seconds(seconds)| seconds);
            let body = json!({"by": person(), "reason": args.reason, "seconds": seconds});
            act(context, &args.name, "drain", &body, "is being drained").await
        }
        WorkerCommand::Token { command } => tokens::run(context, command).await,
        WorkerCommand::Run { .. } => Err(Failure::new(Exit::Usage, "`worker run` comes first, and its flags after it")),
        WorkerCommand::Forget(Named { name }) => {
            act(context, &name, "forget", &json!({"by": person()}), "is forgotten").await
        }
    }
}

/// Gives what the worker's own program is to be told, if that is what was typed: its flags are no business of ours, and
/// some are called as ours are.
pub fn program(typed: &[OsString]) -> Option<Vec<OsString>> {
    match typed {
        [_, worker, run, rest @ ..] if worker == "worker" && run == "run" => {
            Some([OsString::from("gristmill worker run")].into_iter().chain(rest.iter().cloned()).collect())
        }
        _ => None,
    }
}

/// Gives the next moment at which a clock shows a time.
fn next(time: NaiveTime, now: chrono::NaiveDateTime) -> chrono::NaiveDateTime {
    let today = now.date().and_time(time);
    if today > now { today } else { today + TimeDelta::days(1) }
}

async fn act(context: &Context, name: &str, verb: &str, body: &Value, said: &str) -> Result<Exit, Failure> {
    let answer: Value = context.client()?.act(&["workers", name, verb], &idempotency_key(), body).await?;
    if context.global.json {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    context.say(&format!("  {} {said}", clean(name)))?;
    for line in holds(&answer["now"]) {
        context.say(&format!("    {line}"))?;
    }
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let answer: Value = context.client()?.read(&["workers"], &[]).await?;
    if context.global.json {
        context.json(&answer)?;
        return Ok(Exit::Done);
    }
    let workers = answer["items"].as_array().cloned().unwrap_or_default();
    if workers.is_empty() {
        context.say("  no worker has joined yet")?;
    }
    for worker in &workers {
        context.result(&format!("  {:<24} {}", text(worker, "name"), doing(worker)))?;
        for line in holds(worker) {
            context.result(&format!("    {line}"))?;
        }
    }
    Ok(Exit::Done)
}

async fn show(context: &Context, name: &str) -> Result<Exit, Failure> {
    let worker: Value = context.client()?.read(&["workers", name], &[]).await?;
    if context.global.json {
        context.json(&worker)?;
        return Ok(Exit::Done);
    }
    context.result(&format!("  {}: {} since {}", text(&worker, "name"), doing(&worker), text(&worker, "since")))?;
    for line in holds(&worker).into_iter().chain(facts(&worker)) {
        context.result(&format!("    {line}"))?;
    }
    Ok(Exit::Done)
}

/// Says what a worker does.
fn doing(worker: &Value) -> String {
    let builds = worker["builds"].as_array().map_or(0, Vec::len);
    let slots = worker["slots"].as_u64().unwrap_or_default();
    let running = if builds == 0 { "idle".to_owned() } else { count(builds, "build") };
    match worker["connected"].as_bool() {
        Some(true) => format!("{running}, {slots} slots"),
        _ if builds > 0 => format!("away, with {running}"),
        _ => "away".to_owned(),
    }
}

/// Says what keeps builds from a worker, a line each.
fn holds(worker: &Value) -> Vec<String> {
    let say = |hold: &Value| {
        let mut line = format!("{} by {} since {}", text(hold, "kind"), text(hold, "by"), text(hold, "at"));
        if hold["until"].is_string() {
            line += &format!(", until {}", text(hold, "until"));
        }
        if hold["reason"].is_string() {
            line += &format!(": {}", text(hold, "reason"));
        }
        line
    };
    worker["holds"].as_array().map(|holds| holds.iter().map(say).collect()).unwrap_or_default()
}

fn facts(worker: &Value) -> Vec<String> {
    let pairs = |value: &Value| match value {
        Value::Object(map) => map.iter().map(|(key, value)| format!("{}={}", clean(key), plain(value))).collect(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>(),
        value => vec![plain(value)],
    };
    let known = ["labels", "builds", "about", "token", "owner"].iter().filter(|key| !worker[**key].is_null());
    known.map(|key| format!("{key}: {}", pairs(&worker[*key]).join(" "))).collect()
}

fn text(value: &Value, key: &str) -> String {
    plain(&value[key])
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text).into_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_read() {
        assert_eq!("90m".parse::<Seconds>(), Ok(Seconds(5_400)));
        assert_eq!("1d".parse::<Seconds>(), Ok(Seconds(86_400)));
        for bad in ["", "90", "0s", "-1h", "1y", "é"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
        let now =
            chrono::NaiveDate::from_ymd_opt(2026, 11, 24).and_then(|day| day.and_hms_opt(17, 0, 0)).expect("a time");
        let at = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("a time");
        assert_eq!(next(at(18), now) - now, TimeDelta::hours(1));
        assert_eq!(next(at(17), now) - now, TimeDelta::hours(24));
        assert!("25:00".parse::<NaiveTimeArg>().is_err());
    }

    #[test]
    fn a_worker_is_said_in_lines() {
        let worker = json!({"name": "w\u{1b}[2J1", "connected": true, "slots": 4, "builds": [7], "holds": [
            {"kind": "pause", "by": "ada", "at": "2026-11-24T17:00:00Z", "until": null, "reason": "noise"}]});
        assert_eq!(doing(&worker), "1 build, 4 slots");
        assert_eq!(holds(&worker), ["pause by ada since 2026-11-24T17:00:00Z: noise"]);
        assert!(!text(&worker, "name").contains('\u{1b}'));
    }

    #[test]
    fn what_follows_worker_run_is_the_workers_own() {
        let typed = |text: &str| program(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        let told = ["gristmill worker run", "--server", "x"].map(OsString::from);
        assert_eq!(typed("gristmill worker run --server x"), Some(told.to_vec()));
        for other in ["gristmill", "gristmill worker", "gristmill worker token list", "gristmill run worker"] {
            assert_eq!(typed(other), None, "{other}");
        }
    }
}
