//! `kill -9` of the real program at random moments, also while it starts, with users, builds and mails under way.
//! [`super::masters`] does it with two masters on one database.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::facts::Facts;
use super::load::Users;
use super::served::{Served, compare_logs, free_port};
use super::sink::Sink;
use super::stored::Stored;
use super::wish;
use super::yard::Yard;
use crate::support::postgres::Postgres;
use crate::support::set_up_process;

/// One start of so many is killed before it can be asked anything.
pub(super) const KILLED_STARTING_ONE_IN: u64 = 5;
/// The longest life of such a start, in milliseconds: about as long as a start takes on a busy machine.
pub(super) const START_MAX: u64 = 150;
/// One kill of so many comes while the service stops because it was asked to.
pub(super) const KILLED_STOPPING_ONE_IN: u64 = 6;
/// The longest time between the two, in milliseconds.
pub(super) const STOP_MAX: u64 = 40;
/// The longest life of the others, in milliseconds after the first answer.
pub(super) const LIFE_MAX: u64 = 450;
/// How long everything may take to come to rest after the last kill: mails that were refused twice wait a minute.
const REST_MAX: Duration = Duration::from_secs(180);
/// The pause between two looks at whether all is at rest.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a lane did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    kills: usize,
    kills_at_start: usize,
    kills_at_stop: usize,
    pushes: usize,
    hooks: usize,
    forces: usize,
    builds: usize,
    lost_builds: usize,
    mails: usize,
    repeated_mails: usize,
    refused_mails: usize,
    log_bytes: usize,
    events: i64,
    /// How often another master led than before.
    pub(super) changes_of_lead: usize,
}

/// Where the service keeps its state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// One service with its users, killed again and again.
pub(super) struct Lane {
    pub(super) yard: Yard,
    pub(super) users: Users,
    pub(super) sink: Sink,
    pub(super) dice: Dice,
    pub(super) port: u16,
    pub(super) done: Done,
}

impl Lane {
    pub(super) async fn make(kind: Kind, seed: u64, cycles: usize) -> Self {
        let mut dice = Dice::new(seed);
        let sink = Sink::start(Some(dice.split())).await;
        let mut yard = Yard::make(sink.port, 2 * cycles + 50);
        if let Kind::Postgres = kind {
            // The server starts with the first who asks, and makes others wait for it.
            yard = yard.on_server(tokio::task::block_in_place(|| Postgres::shared().database()));
        }
        let users = Users::new(dice.split());
        let port = free_port(u64::from(std::process::id()) * 7 + dice.below(9_000));
        Self { yard, users, sink, dice, port, done: Done::default() }
    }

    fn start(&self) -> Served {
        Served::start(&self.yard, &self.yard.data(), self.port, &[])
    }

    /// Lets the service see the repositories as they are before anything moves.
    pub(super) async fn first_sight(&self) {
        let mut served = self.start();
        served.has_looked(&self.yard).await;
        assert!(served.terminate().await.success());
    }

    /// One life of the service, up to its kill.
    async fn cycle(&mut self) {
        let mut served = self.start();
        let (url, starts) = (served.url.clone(), !self.dice.one_in(KILLED_STARTING_ONE_IN));
        if starts {
            assert!(served.answers().await, "the service does not start: {}", self.said());
        }
        // Time is what this test is about: the moment of the kill.
        let life = Duration::from_millis(1 + self.dice.below(if starts { LIFE_MAX } else { START_MAX }));
        let end = Instant::now() + life;
        let stopping = self.dice.one_in(KILLED_STOPPING_ONE_IN).then(|| self.dice.below(STOP_MAX));
        let kill = tokio::spawn(async move {
            tokio::time::sleep(life).await;
            if let Some(moment) = stopping {
                served.ask_to_stop();
                tokio::time::sleep(Duration::from_millis(moment)).await;
            }
            served.kill().await;
        });
        while starts && Instant::now() < end {
            tokio::task::block_in_place(|| self.users.push(&self.yard));
            self.users.act(&url).await;
            self.users.act(&url).await;
        }
        kill.await.expect("it is killed");
        self.done.killed(!starts, stopping.is_some());
        self.sink.turn_page().await;
        if self.dice.one_in(3) {
            self.users.push(&self.yard);
        }
    }

    /// Lets everything come to rest, and gives what is wrong then.
    async fn settle(&mut self) -> Vec<String> {
        let mut served = self.start();
        assert!(served.answers().await, "the service does not start: {}", self.said());
        self.settle_with(vec![served]).await
    }

    /// Lets everything come to rest by the services that run, and gives what is wrong then.
    pub(super) async fn settle_with(&mut self, all: Vec<Served>) -> Vec<String> {
        let until = Instant::now() + REST_MAX;
        loop {
            for served in &all {
                self.users.insist(&served.url).await;
            }
            if self.users.complaints(&self.yard, &self.sink).await.is_empty() || Instant::now() > until {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let mut complaints = Vec::new();
        for served in &all {
            let (bytes, wrong) = compare_logs(&self.yard, &served.url).await;
            self.done.log_bytes = bytes;
            complaints.extend(wrong);
        }
        for served in all {
            let status = served.terminate().await;
            if !status.success() {
                complaints.push(format!("the last stop: {status}"));
            }
        }
        // Once more when nothing can happen any more: what came too often shows only now.
        complaints.extend(self.audit().await);
        complaints.extend(self.yard.database(&self.yard.data()).check_itself().await);
        complaints.extend(self.said().lines().filter(|line| line.contains("panicked")).map(str::to_owned));
        complaints
    }

    /// Gives what the runs of the service complained of.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(self.yard.path().join("said")).unwrap_or_default()
    }

    /// Gives what was done if there is nothing to complain of; keeps everything and fails otherwise.
    pub(super) fn end(self, complaints: &[String], seed: u64, cycles: usize) -> Done {
        if !complaints.is_empty() {
            let kept = self.yard.folder.keep();
            let shown: Vec<&String> = complaints.iter().take(20).collect();
            panic!(
                "{} complaints, seed {seed}, {cycles} cycles, all kept in {}:\n{shown:#?}",
                complaints.len(),
                kept.display()
            );
        }
        self.done
    }

    async fn audit(&mut self) -> Vec<String> {
        let stored = self.users.look(&self.yard, &self.sink).await;
        self.done.count(&stored, &self.users.facts);
        self.done.pushes = self.users.pushes;
        self.done.refused_mails = self.sink.refused();
        self.users.complaints(&self.yard, &self.sink).await
    }
}

impl Done {
    pub(super) fn killed(&mut self, is_starting: bool, is_stopping: bool) {
        self.kills += 1;
        self.kills_at_start += usize::from(is_starting);
        self.kills_at_stop += usize::from(is_stopping);
    }

    fn count(&mut self, stored: &Stored, facts: &Facts) {
        self.hooks = facts.hooks.len();
        self.forces = facts.forces.len();
        self.builds = stored.builds.len();
        self.lost_builds = stored.builds.iter().filter(|build| build.outcome.as_deref() == Some("retry")).count();
        let mut mails: BTreeMap<&str, usize> = BTreeMap::new();
        for mail in &facts.mails {
            *mails.entry(&mail.id).or_default() += 1;
        }
        self.mails = mails.len();
        self.repeated_mails = mails.values().filter(|count| **count > 1).count();
        self.events = stored.head;
    }
}

async fn run_lane(kind: Kind, seed: u64, cycles: usize) -> Done {
    let mut lane = Lane::make(kind, seed, cycles).await;
    lane.first_sight().await;
    lane.sink.turn_page().await;
    for cycle in 0..cycles {
        lane.cycle().await;
        if cycle % 100 == 99 {
            println!("seed {seed}: {} kills", cycle + 1);
        }
    }
    let complaints = lane.settle().await;
    lane.end(&complaints, seed, cycles)
}

/// Runs lanes beside each other, and looks that they did enough to prove something.
pub(super) async fn run_lanes<F: Future<Output = Done> + Send + 'static>(cycles: u64, run: impl Fn(u64, usize) -> F) {
    set_up_process();
    let (lanes, seed) = (wish("LANES", 2).max(1), wish("SEED", 1));
    let start = Instant::now();
    let lanes: Vec<_> = (0..lanes)
        .map(|lane| tokio::spawn(run(seed + lane, usize::try_from(cycles.div_ceil(lanes)).unwrap())))
        .collect();
    let mut all = Vec::new();
    for lane in lanes {
        match lane.await {
            Ok(done) => all.push(done),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
        println!("{:?}", all.last());
    }
    prove(&all, cycles, start.elapsed());
}

/// A run that did next to nothing proves nothing.
fn prove(all: &[Done], cycles: u64, took: Duration) {
    let sum = |what: fn(&Done) -> usize| all.iter().map(what).sum::<usize>();
    let kills = sum(|done| done.kills);
    for (what, count) in [
        ("kills while starting", 4 * sum(|done| done.kills_at_start)),
        ("pushes", sum(|done| done.pushes)),
        ("acknowledged webhooks", sum(|done| done.hooks)),
        ("acknowledged forces", sum(|done| done.forces)),
        ("builds", sum(|done| done.builds)),
        ("mails", sum(|done| done.mails)),
        ("kilobytes of logs", sum(|done| done.log_bytes) / 1000),
    ] {
        assert!(4 * count >= kills, "there were only {count} {what} in {kills} kills");
    }
    let seconds = took.as_secs_f64();
    println!(
        "{kills} kills in {seconds:.1} s, {:.0} a minute",
        60.0 * f64::from(u32::try_from(kills).unwrap()) / seconds
    );
    assert!(kills as u64 >= cycles);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_service_that_is_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    run_lanes(wish("CYCLES", 12), |seed, cycles| run_lane(Kind::Sqlite, seed, cycles)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_service_that_is_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    run_lanes(wish("CYCLES", 8), |seed, cycles| run_lane(Kind::Postgres, seed, cycles)).await;
}
