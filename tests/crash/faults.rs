//! A disk that fails: the N-th call of a kind on the data folder's files says EIO or ENOSPC, once or from then on, while
//! something is accepted, built and told. What could not be stored is not acknowledged; what is said is readable; and
//! once the disk works again, everything comes to its end as if nothing had been, without a restart and after one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::database::Database;
use super::dice::Dice;
use super::load::Users;
use super::served::{Served, compare_logs, free_port};
use super::sink::Sink;
use super::tape::must_be_able_to_record;
use super::wish;
use super::yard::Yard;
use crate::support::set_up_process;

/// Which call fails with what, and how many of them a thread usually makes: from these the short form takes one.
const KINDS: [(&str, &str, u64); 8] = [
    ("fsync", "EIO", 14),
    ("fdatasync", "EIO", 6),
    ("pwrite64", "ENOSPC", 30),
    ("pwrite64", "EIO", 30),
    ("openat", "EIO", 10),
    ("openat", "ENOSPC", 10),
    ("ftruncate", "EIO", 1),
    ("mkdir", "ENOSPC", 3),
];
/// The calls of a kind that are made to fail one after the other in the long form, at the most.
const CALLS_MAX: u64 = 60;
/// Builds whose logs' files may fail.
const BUILDS: usize = 14;
/// How long a service with a failing disk is watched.
const WATCHED: Duration = Duration::from_millis(1000);
/// How long everything may take to come to rest when the disk works again.
const REST_MAX: Duration = Duration::from_secs(45);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One way for a disk to fail.
#[derive(Debug, Clone, Copy)]
struct Fault {
    call: &'static str,
    error: &'static str,
    /// Which call of each thread, so that a database that is opened again by another thread meets it again.
    number: u64,
    /// Whether all later ones fail as well.
    lasts: bool,
    /// Whether it fails while the data folder is new.
    is_first_start: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, error, number, .. } = self;
        let (lasts, first) =
            (if self.lasts { "+" } else { "" }, if self.is_first_start { ", first start" } else { "" });
        write!(f, "{call} {number}{lasts} {error}{first}")
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Course {
    /// How many calls failed.
    injected: usize,
    /// It did not start, and said why.
    refused_to_start: bool,
    complaints: Vec<String>,
}

impl Fault {
    /// The command under which the program meets this fault, on the files of the data folder and nowhere else.
    fn command(&self, yard: &Yard) -> Vec<String> {
        let data = yard.data();
        let mut files: Vec<_> =
            ["", "gristmill.db", "gristmill.db-wal", "gristmill.lock", "worker", "worker/token", "logs"]
                .map(|name| data.join(name))
                .into();
        files[0] = data.clone();
        files.extend([data.join("logs/0"), data.join("git"), yard.path().to_owned()]);
        for build in 1..=BUILDS {
            let folder = data.join(format!("logs/0/{build}"));
            let logs = (0..2).flat_map(|step| ["log", "idx"].map(|kind| folder.join(format!("1-{step}.{kind}"))));
            files.extend(logs);
            files.push(folder);
        }
        let Self { call, error, number, lasts, .. } = self;
        let when = if *lasts { "+" } else { "" };
        let mut words = ["strace", "-f", "-e", "signal=none", "-o"].map(str::to_owned).to_vec();
        words.push(yard.path().join("injected").to_str().unwrap().to_owned());
        words.extend(["-e".to_owned(), format!("trace={call}")]);
        words.extend(["-e".to_owned(), format!("inject={call}:error={error}:when={number}{when}")]);
        for file in files {
            words.extend(["-P".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        words
    }

    /// Lets a service meet it, and then lets the disk work again.
    async fn meet(self, seed: u64) -> Course {
        let mut dice = Dice::new(seed);
        let sink = Sink::start(None).await;
        let yard = Yard::make(sink.port, 40);
        let mut users = Users::new(dice.split());
        let port = free_port(u64::from(std::process::id()) * 11 + dice.below(9_000));
        let mut course = Course::default();
        let plain = || Served::start(&yard, &yard.data(), port, &[]);
        if !self.is_first_start {
            first_sight(plain(), &yard).await;
        }
        let mut served = Served::start(&yard, &yard.data(), port, &self.command(&yard));
        if !served.answers().await {
            course.refused_to_start = true;
            let status = served.child.wait().await.unwrap();
            let said = said(&yard);
            let is_said = said.lines().any(|line| line.starts_with("gristmill: ") && line.contains("cannot "));
            if status.success() || !is_said {
                course.complaints.push(format!("it did not start, with {status}, and said: {said}"));
            }
        } else if self.is_first_start {
            tokio::time::sleep(WATCHED).await;
            served.end_inner(Signal::SIGKILL).await;
        } else {
            let end = Instant::now() + WATCHED;
            let url = served.url.clone();
            while Instant::now() < end && users.pushes < 4 {
                tokio::task::block_in_place(|| users.push(&yard));
                users.act(&url).await;
                users.act(&url).await;
            }
            tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
            // The disk works again: so must the service, by itself.
            served.go_on_alone().await;
            let rest = rest(&mut users, &yard, &sink, &url).await;
            course.complaints.extend(rest.into_iter().map(|complaint| format!("without a restart: {complaint}")));
            served.kill_alone().await;
        }
        sink.turn_page().await;
        let injected = std::fs::read_to_string(yard.path().join("injected")).unwrap();
        course.injected = injected.lines().filter(|line| line.ends_with("(INJECTED)")).count();
        if self.is_first_start {
            first_sight(plain(), &yard).await;
        }
        let mut served = plain();
        assert!(served.answers().await, "{self}: the service does not start: {}", said(&yard));
        let url = served.url.clone();
        course.complaints.extend(rest(&mut users, &yard, &sink, &url).await);
        course.complaints.extend(compare_logs(&yard, &url).await.1);
        if !served.terminate().await.success() {
            course.complaints.push("it did not stop in order".to_owned());
        }
        course.complaints.extend(Database::in_folder(&yard.data()).check_itself().await);
        course.complaints.extend(said(&yard).lines().filter(|line| line.contains("panicked")).map(str::to_owned));
        if !course.complaints.is_empty() {
            course.complaints.push(format!("all kept in {}", yard.folder.keep().display()));
        }
        course
    }
}

async fn first_sight(mut served: Served, yard: &Yard) {
    served.has_looked(yard).await;
    assert!(served.terminate().await.success());
}

fn said(yard: &Yard) -> String {
    std::fs::read_to_string(yard.path().join("said")).unwrap_or_default()
}

/// Waits until all is at rest, and gives what is wrong if it does not come to that.
async fn rest(users: &mut Users, yard: &Yard, sink: &Sink, url: &str) -> Vec<String> {
    let until = Instant::now() + REST_MAX;
    loop {
        users.insist(url).await;
        let complaints = users.complaints(yard, sink).await;
        if complaints.is_empty() || Instant::now() > until {
            return complaints;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Meets a fault and notes what came of it; gives whether anything failed at all.
async fn note(fault: Fault, dice: &mut Dice, courses: &mut Vec<(Fault, Course)>) -> bool {
    let seed = dice.number();
    let course = fault.meet(seed).await;
    if !course.complaints.is_empty() {
        println!("{fault}, seed {seed}: {:#?}", course.complaints);
    }
    let has_failed = course.injected > 0;
    courses.push((fault, course));
    has_failed
}

/// Some faults of each kind, or, if so many calls are asked for, every call of each kind.
async fn meet_all(lane: u64, seed: u64) -> Vec<(Fault, Course)> {
    let (calls, mut dice) = (wish("CALLS", 0), Dice::new(seed + lane));
    let mut courses = Vec::new();
    for ((call, error, usual), index) in KINDS.into_iter().zip(0..).filter(|(_, index)| index % 2 == lane) {
        let fault = |number, lasts, is_first_start| Fault { call, error, number, lasts, is_first_start };
        if calls == 0 {
            let (number, lasts) = (1 + dice.below(usual), (index / 2) % 2 == 0);
            note(fault(number, lasts, false), &mut dice, &mut courses).await;
            continue;
        }
        for (lasts, first) in [(false, false), (true, false), (false, true), (true, true)] {
            for number in 1..=calls.min(CALLS_MAX) {
                if !note(fault(number, lasts, first), &mut dice, &mut courses).await {
                    break;
                }
            }
        }
    }
    courses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_loses_nothing_that_was_acknowledged_and_is_recovered_from() {
    set_up_process();
    must_be_able_to_record();
    let (seed, start) = (wish("SEED", 1), Instant::now());
    let lanes: Vec<_> = (0..2).map(|lane| tokio::spawn(meet_all(lane, seed))).collect();
    let mut courses = Vec::new();
    for lane in lanes {
        courses.extend(lane.await.expect("a lane comes to its end"));
    }
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for (fault, course) in &courses {
        *met.entry(fault.call).or_default() += course.injected;
    }
    let refused = courses.iter().filter(|(_, course)| course.refused_to_start).count();
    println!("{} runs, failed calls {met:?}, {refused} refused to start, {:?}", courses.len(), start.elapsed());
    let wrong: Vec<String> = courses
        .iter()
        .filter(|(_, course)| !course.complaints.is_empty())
        .map(|(fault, course)| format!("{fault}: {}", course.complaints.join("; ")))
        .collect();
    assert!(wrong.is_empty(), "seed {seed}, {} of {} runs:\n{}", wrong.len(), courses.len(), wrong.join("\n"));
    let with_failures = courses.iter().filter(|(_, course)| course.injected > 0).count();
    assert!(2 * with_failures >= courses.len().min(KINDS.len()), "only {with_failures} runs met a failing call");
}
