//! `kill -9` of two masters on one PostgreSQL database, one at a time or both, with users who ask either of them.
//!
//! Mostly whoever was killed starts again at once: it takes its own lead over. The lead changes when a master stops in
//! order, which is cheap, and when a killed one stays away for a lease, which takes that long.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::dice::Dice;
use super::kill::{
    Done, KILLED_STARTING_ONE_IN, KILLED_STOPPING_ONE_IN, Kind, LIFE_MAX, Lane, START_MAX, STOP_MAX, run_lanes,
};
use super::served::{Served, free_port};
use super::wish;
use crate::support::soon;

/// How many masters there are.
const MASTERS: usize = 2;
/// One kill of so many is of both.
const BOTH_ONE_IN: u64 = 6;
/// Of a kill of one, so many in [`LEADER_OF`] are of the one that leads.
const LEADER_IN: u64 = 3;
const LEADER_OF: u64 = 4;
/// In one cycle of so many the leader stops in order and stays away until the other one leads.
const HANDED_OVER_ONE_IN: usize = 8;
/// In one cycle of so many the leader is killed, or by turns frozen, until the other one leads: that takes a lease of 20 s.
const STAYS_AWAY_ONE_IN: usize = 50;
/// What the new leader is asked before the old one goes on.
const REQUESTS_BEFORE_THAW: usize = 6;
/// The pause between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How a leader goes.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// By `kill -9`.
    Killed,
    /// Because it was asked to.
    Stopped,
    /// Not at all: it stands still, and goes on when the other one leads, without knowing of it.
    Frozen,
}

/// Two masters with their users.
struct Pair {
    lane: Lane,
    ports: [u16; MASTERS],
    /// Both run between two cycles.
    running: [Option<Served>; MASTERS],
    /// Who led last, and whether that is known.
    led: Option<usize>,
    /// Chooses which master a user asks.
    choice: Dice,
}

impl Pair {
    async fn make(seed: u64, cycles: usize) -> Self {
        let mut lane = Lane::make(Kind::Postgres, seed, cycles).await;
        lane.first_sight().await;
        lane.sink.turn_page().await;
        let choice = lane.dice.split();
        let ports = [lane.port, free_port(u64::from(lane.port) - 20_000)];
        let mut pair = Self { lane, ports, running: [None, None], led: None, choice };
        for master in 0..MASTERS {
            pair.start(master);
            pair.answers(master).await;
        }
        pair
    }

    /// The first master goes on with the data folder of the first sight.
    fn data(&self, master: usize) -> PathBuf {
        if master == 0 { self.lane.yard.data() } else { self.lane.yard.path().join("other-data") }
    }

    fn start(&mut self, master: usize) {
        assert!(self.running[master].is_none(), "it runs");
        let served = Served::start(&self.lane.yard, &self.data(master), self.ports[master], &[]);
        self.running[master] = Some(served);
    }

    async fn answers(&mut self, master: usize) {
        let answers = self.running[master].as_mut().expect("it was started").answers().await;
        assert!(answers, "master {master} does not start: {}", self.lane.said());
    }

    /// Gives who leads, by the row that the masters agree by; nobody if the last one gave the lead up.
    async fn leader(&mut self) -> Option<usize> {
        let [rows] = self.lane.yard.database(&self.data(0)).ask(["SELECT master FROM leader"]).await;
        let name_of = |master| std::fs::read_to_string(self.data(master).join("master")).unwrap_or_default();
        let leader = (0..MASTERS).find(|master| name_of(*master).trim() == rows[0].text(0));
        if leader.is_some() && self.led != leader {
            self.lane.done.changes_of_lead += usize::from(self.led.is_some());
            self.led = leader;
        }
        leader
    }

    /// Users ask whichever master they come to, whether it runs or not.
    async fn use_it(&mut self) {
        tokio::task::block_in_place(|| self.lane.users.push(&self.lane.yard));
        for _ in 0..2 {
            let port = self.ports[usize::from(self.choice.one_in(2))];
            self.lane.users.act(&format!("http://127.0.0.1:{port}")).await;
        }
    }

    /// One kill, and a start of whoever was killed.
    async fn cycle(&mut self) {
        let victims = self.victims().await;
        let is_starting = self.lane.dice.one_in(KILLED_STARTING_ONE_IN);
        let life = Duration::from_millis(1 + self.lane.dice.below(LIFE_MAX));
        self.live(life).await;
        let stopping = self.lane.dice.one_in(KILLED_STOPPING_ONE_IN).then(|| self.lane.dice.below(STOP_MAX));
        self.kill(&victims, stopping).await;
        self.lane.done.killed(false, stopping.is_some());
        for master in &victims {
            self.start(*master);
        }
        if is_starting {
            // Time is what this test is about: the moment of the kill.
            tokio::time::sleep(Duration::from_millis(1 + self.lane.dice.below(START_MAX))).await;
            self.kill(&victims, None).await;
            self.lane.done.killed(true, false);
            for master in &victims {
                self.start(*master);
            }
        }
        for master in victims {
            self.answers(master).await;
        }
    }

    async fn live(&mut self, life: Duration) {
        let end = Instant::now() + life;
        while Instant::now() < end {
            self.use_it().await;
        }
    }

    async fn victims(&mut self) -> Vec<usize> {
        let (is_both, is_leader) = (self.lane.dice.one_in(BOTH_ONE_IN), self.lane.dice.below(LEADER_OF) < LEADER_IN);
        let chosen = usize::from(self.lane.dice.one_in(2));
        if is_both {
            return (0..MASTERS).collect();
        }
        let leader = self.leader().await;
        vec![leader.map_or(chosen, |leader| if is_leader { leader } else { MASTERS - 1 - leader })]
    }

    /// Kills them in the middle of what users do, perhaps a moment after they were asked to stop.
    async fn kill(&mut self, victims: &[usize], stopping: Option<u64>) {
        let before = self.leader().await;
        if let Some(moment) = stopping {
            for master in victims {
                self.running[*master].as_ref().expect("it runs").ask_to_stop();
            }
            tokio::time::sleep(Duration::from_millis(moment)).await;
        }
        for master in victims {
            self.running[*master].take().expect("it runs").kill().await;
        }
        // Only who leads sends mails; the death of another one excuses no second mail.
        let after = self.leader().await;
        if [before, after].iter().any(|leader| leader.is_none_or(|leader| victims.contains(&leader))) {
            self.lane.sink.turn_page().await;
        }
    }

    /// The leader goes, and stays away until the other one leads.
    async fn hand_over(&mut self, leaving: Leaving) {
        let leader = self.leads().await;
        match leaving {
            Leaving::Killed => {
                self.kill(&[leader], None).await;
                self.lane.done.killed(false, false);
            }
            Leaving::Stopped => {
                let served = self.running[leader].take().expect("it runs");
                let status = served.terminate().await;
                assert!(status.success(), "master {leader} stops with {status}: {}", self.lane.said());
                self.lane.sink.turn_page().await;
            }
            Leaving::Frozen => {
                self.live(Duration::from_millis(LIFE_MAX)).await;
                self.signal(leader, Signal::SIGSTOP);
                // What it had said by then is heard; what it was just saying it may say again, and so may the other one.
                tokio::time::sleep(LOOK_EVERY).await;
                self.lane.sink.mark();
            }
        }
        let taken = async {
            while self.leader().await != Some(MASTERS - 1 - leader) {
                match leaving {
                    // Whoever asks it waits for long; that would take longer than the lease.
                    Leaving::Frozen => tokio::task::block_in_place(|| self.lane.users.push(&self.lane.yard)),
                    Leaving::Killed | Leaving::Stopped => self.use_it().await,
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        soon("the other one's lead", taken).await;
        if let Leaving::Frozen = leaving {
            for _ in 0..REQUESTS_BEFORE_THAW {
                self.lane.users.act(&format!("http://127.0.0.1:{}", self.ports[MASTERS - 1 - leader])).await;
            }
            self.lane.sink.mark();
            self.signal(leader, Signal::SIGCONT);
            self.live(Duration::from_millis(LIFE_MAX)).await;
        } else {
            self.start(leader);
            self.answers(leader).await;
        }
    }

    fn signal(&self, master: usize, signal: Signal) {
        self.running[master].as_ref().expect("it runs").signal(signal);
    }

    /// Waits until somebody leads.
    async fn leads(&mut self) -> usize {
        let leads = async {
            loop {
                if let Some(leader) = self.leader().await {
                    return leader;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        soon("a lead", leads).await
    }
}

async fn run(seed: u64, cycles: usize) -> Done {
    let mut pair = Pair::make(seed, cycles).await;
    for cycle in 1..=cycles {
        if cycle % STAYS_AWAY_ONE_IN == 0 {
            let is_odd = cycle / STAYS_AWAY_ONE_IN % 2 == 1;
            pair.hand_over(if is_odd { Leaving::Frozen } else { Leaving::Killed }).await;
        } else if cycle % HANDED_OVER_ONE_IN == 0 {
            pair.hand_over(Leaving::Stopped).await;
        }
        pair.cycle().await;
        if cycle % 100 == 0 {
            println!("seed {seed}: {cycle} cycles");
        }
    }
    let all = pair.running.iter_mut().filter_map(Option::take).collect();
    let complaints = pair.lane.settle_with(all).await;
    let changes = pair.lane.done.changes_of_lead;
    assert!(changes >= cycles / HANDED_OVER_ONE_IN, "the lead changed only {changes} times in {cycles} cycles");
    pair.lane.end(&complaints, seed, cycles)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_masters_either_may_be_killed_at_any_moment_and_nothing_is_lost_or_repeated() {
    run_lanes(wish("CYCLES", 16), run).await;
}
