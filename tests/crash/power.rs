//! Loss of power: the real program is recorded while it works, and every moment of the recording at which something
//! becomes safe is made into crashed disks. On each of them the store must open, be whole, and have everything that the
//! world had been told by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gristmill::store::Store;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::database::Database;
use super::dice::Dice;
use super::images::{Disk, FATES, Fate, Image};
use super::ledger::mail_id;
use super::load::Users;
use super::served::{Served, free_port};
use super::sink::Sink;
use super::stored::Stored;
use super::tape::{self, Happening, Promise};
use super::wish;
use super::yard::Yard;
use crate::support::{DEADLINE, set_up_process};

/// What is done in each of the two recorded lives of the service: the first is killed, the second is stopped in order.
const ROUNDS: usize = 12;
/// Crashed disks of a recording without syncs, of which one in four is looked at.
const SELF_CHECKED: u64 = 60;
/// One crashed disk of so many is also given to the real program, to go on from.
const STARTED_ONE_IN: u64 = 60;
/// The pause between two looks at whether all is at rest.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The work that was recorded.
struct Recording {
    yard: Yard,
    _sink: Sink,
    happened: Vec<Happening>,
    /// The journal as it was in the end.
    journal: Vec<(i64, Value)>,
}

/// Lets the real program work under the recorder.
async fn record(seed: u64) -> Recording {
    let mut dice = Dice::new(seed);
    let sink = Sink::start(None).await;
    let yard = Yard::make(sink.port, 2 * ROUNDS + 50);
    let mut users = Users::new(dice.split());
    let port = free_port(u64::from(std::process::id()) * 5 + dice.below(9_000));
    let tapes: Vec<PathBuf> = (0..2).map(|life| yard.path().join(format!("tape{life}"))).collect();

    let mut served = Served::start(&yard, &yard.data(), port, &tape::recorder(&tapes[0]));
    served.has_looked(&yard).await;
    work(&mut users, &yard, &served.url.clone()).await;
    served.end_inner(Signal::SIGKILL).await;
    sink.turn_page().await;

    let mut served = Served::start(&yard, &yard.data(), port, &tape::recorder(&tapes[1]));
    assert!(served.answers().await, "the service does not start under the recorder");
    let url = served.url.clone();
    work(&mut users, &yard, &url).await;
    let until = Instant::now() + DEADLINE;
    while !users.are_content() || !users.complaints(&yard, &sink).await.is_empty() {
        assert!(Instant::now() < until, "no rest: {:#?}", users.complaints(&yard, &sink).await);
        users.insist(&url).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let status = served.end_inner(Signal::SIGTERM).await;
    assert!(status.success(), "{status}");

    let text: String = tapes.iter().map(|tape| std::fs::read_to_string(tape).unwrap()).collect();
    let happened = tape::read(&text, &yard.data(), &yard.path().join("effects"));
    let journal = journal(&Stored::load(&Database::in_folder(&yard.data())).await);
    Recording { yard, _sink: sink, happened, journal }
}

async fn work(users: &mut Users, yard: &Yard, url: &str) {
    for _ in 0..ROUNDS {
        tokio::task::block_in_place(|| users.push(yard));
        users.act(url).await;
        users.act(url).await;
    }
}

fn journal(stored: &Stored) -> Vec<(i64, Value)> {
    stored.events.iter().map(|event| (event.seq, event.body.clone())).collect()
}

/// A moment of the recording, and what becomes of what is not safe then.
struct Crash {
    image: Image,
    fate: Fate,
    /// How much of the recording had happened.
    at: usize,
    /// What the world had been told by then.
    told: Vec<Promise>,
}

/// Plays a recording, and makes crashed disks of it at moments right before and right after a sync ends.
struct Player<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Happening>>,
    disk: Disk,
    dice: Dice,
    told: Vec<Promise>,
    /// So many of so many possible disks are wanted.
    share: (u64, u64),
    /// Disks of the present moment.
    ready: Vec<Crash>,
}

impl<'a> Player<'a> {
    fn new(recording: &'a Recording, wanted: u64, seed: u64) -> Self {
        let syncs = recording.happened.iter().filter(|event| matches!(event, Happening::SyncEnds(..))).count();
        let possible = 2 * (syncs * FATES.len()) as u64;
        let (disk, dice) = (Disk::new(recording.yard.path()), Dice::new(seed));
        let rest = recording.happened.iter().enumerate();
        Self { rest, disk, dice, told: Vec::new(), share: (wanted, possible), ready: Vec::new() }
    }

    fn crash(&mut self, at: usize) {
        for fate in FATES {
            // Where everything is safe, all fates are one.
            let is_new = self.disk.pending() > 0 || fate == Fate::Dropped;
            if self.dice.below(self.share.1) < self.share.0 && is_new {
                let image = self.disk.crash(fate, &mut self.dice);
                self.ready.push(Crash { image, fate, at, told: self.told.clone() });
            }
        }
    }
}

impl Iterator for Player<'_> {
    type Item = Crash;

    fn next(&mut self) -> Option<Crash> {
        while self.ready.is_empty() {
            let (at, happening) = self.rest.next()?;
            let ends = matches!(happening, Happening::SyncEnds(..));
            if ends {
                self.crash(at);
            }
            self.disk.play(happening);
            if ends {
                self.crash(at);
            }
            if let Happening::Told(promise) = happening {
                self.told.push(promise.clone());
            }
        }
        self.ready.pop()
    }
}

fn put(image: &Image, root: &Path, folder: &Path) {
    for (path, bytes) in image {
        let path = folder.join(path.strip_prefix(root).unwrap());
        match bytes {
            None => std::fs::create_dir_all(path).unwrap(),
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
        }
    }
}

/// Opens a crashed disk with the real store, and says what is wrong with it.
async fn examine(recording: &Recording, crash: &Crash, folder: &Path) -> Vec<String> {
    let store = match Store::open(folder).await {
        Ok(store) => store,
        Err(error) => return vec![format!("the store does not open: {}", gristmill::chain::chain(&error))],
    };
    let loaded = store.load().await;
    store.close().await;
    let mut complaints: Vec<String> = loaded.err().iter().map(|error| format!("it does not load: {error}")).collect();
    let database = Database::in_folder(folder);
    complaints.extend(database.check_itself().await);
    let stored = Stored::load(&database).await;
    let found = journal(&stored);
    if !recording.journal.starts_with(&found) || stored.head != i64::try_from(found.len()).unwrap() {
        complaints.push(format!("{} events, and they are not how the undisturbed journal begins", found.len()));
    }
    complaints.extend(broken(&crash.told, &stored));
    complaints.extend(cut_logs(&recording.yard, &stored, folder));
    complaints
}

/// Lists promises that are not kept.
fn broken(told: &[Promise], stored: &Stored) -> Vec<String> {
    let mails: BTreeSet<String> = stored.messages.iter().map(|message| mail_id(&message.key)).collect();
    let is_kept = |promise: &&Promise| match promise {
        Promise::Delivery(id) => stored.deliveries.iter().any(|delivery| delivery.id == *id),
        Promise::Buildset(id) => stored.buildsets.iter().any(|buildset| buildset.id == *id),
        Promise::Ran(id) => stored.builds.iter().any(|build| build.id == *id),
        Promise::Mail(id) => mails.contains(id),
    };
    told.iter().filter(|promise| !is_kept(promise)).map(|promise| format!("lost: {promise:?}")).collect()
}

/// Lists logs that are not whole although the end of their step is known.
fn cut_logs(yard: &Yard, stored: &Stored, folder: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for event in stored.events.iter().filter(|event| event.kind == "step.finished") {
        let (id, step) = (event.body["build"].as_i64().unwrap(), event.body["step"].as_u64().unwrap());
        let build = stored.builds.iter().find(|build| build.id == id).expect("its build is known");
        let (printing, printed) = yard.printed(&build.builder, id, build.attempt);
        if u64::from(printing) != step || event.body["outcome"] == "retry" {
            continue;
        }
        let file = folder.join(format!("logs/{}/{id}/{}-{step}.log", id / 1000, build.epoch));
        let kept = std::fs::read(&file).map(|frames| zstd::decode_all(&frames[..]).unwrap_or_default());
        if !kept.as_ref().is_ok_and(|kept| kept == printed.as_bytes()) {
            let there = kept.map(|kept| kept.len());
            complaints
                .push(format!("the log of finished step {step} of build {id}: {there:?} of {} bytes", printed.len()));
        }
    }
    complaints
}

/// Lets the real program go on from a crashed disk, until every request is settled.
async fn go_on(recording: &Recording, folder: &Path, port: u16) -> Vec<String> {
    let mut served = Served::start(&recording.yard, folder, port, &[]);
    if !served.answers().await {
        return vec!["the service does not start on it".to_owned()];
    }
    let database = Database::in_folder(folder);
    let until = Instant::now() + DEADLINE;
    loop {
        let stored = Stored::load(&database).await;
        let open: Vec<_> = stored.requests.iter().filter(|request| request.state != "settled").collect();
        if open.is_empty() {
            break;
        }
        if Instant::now() > until {
            return vec![format!("these never end: {open:?}")];
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let status = served.terminate().await;
    let mut complaints = database.check_itself().await;
    complaints.extend((!status.success()).then(|| format!("it ended with {status}")));
    complaints
}

/// Gives a folder in memory, where there is one: crashed disks are many, and none of them has to last.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The recording is true: played to its end it gives the files that are really there.
fn compare_with_the_real_disk(recording: &Recording) {
    let mut disk = Disk::new(recording.yard.path());
    recording.happened.iter().for_each(|happening| disk.play(happening));
    let image = disk.crash(Fate::Kept, &mut Dice::new(0));
    let mut compared = 0;
    for (path, bytes) in image.iter().filter_map(|(path, bytes)| Some((path, bytes.as_ref()?))) {
        let real = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(*bytes == real, "{}: {} bytes recorded, {} there", path.display(), bytes.len(), real.len());
        compared += 1;
    }
    assert!(compared > 10 && image.contains_key(&recording.yard.data().join("gristmill.db")), "{compared} files");
}

/// The check is tested itself: were the database's log never synced, it would be seen that promises are broken.
async fn must_notice_what_is_not_synced(recording: &mut Recording, seed: u64) {
    let is_log = |path: &Path| path.to_string_lossy().ends_with(".db-wal");
    let true_ones = recording.happened.clone();
    recording.happened.retain(|happening| !matches!(happening, Happening::SyncBegins(path, _) if is_log(path)));
    let (mut looked, mut noticed) = (0, 0);
    let crashes = Player::new(recording, SELF_CHECKED, seed);
    for crash in crashes.filter(|crash| !crash.told.is_empty() && crash.fate == Fate::Dropped) {
        let place = place();
        put(&crash.image, recording.yard.path(), place.path());
        let complaints = examine(recording, &crash, &place.path().join("data")).await;
        noticed += usize::from(complaints.iter().any(|complaint| complaint.starts_with("lost: ")));
        looked += 1;
    }
    assert!(noticed > 0, "none of {looked} disks without syncs was complained of");
    recording.happened = true_ones;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lost_its_power_has_everything_that_the_world_was_told() {
    set_up_process();
    tape::must_be_able_to_record();
    let (wanted, seed) = (wish("IMAGES", 120), wish("SEED", 1));
    let start = Instant::now();
    let mut recording = record(seed).await;
    compare_with_the_real_disk(&recording);
    must_notice_what_is_not_synced(&mut recording, seed).await;
    let recorded = start.elapsed().as_secs_f64();
    let mut fates: BTreeMap<Fate, usize> = BTreeMap::new();
    let (mut problems, mut images, mut started, mut promises) = (String::new(), 0, 0, 0);
    let port = free_port(u64::from(std::process::id()) * 3);
    for crash in Player::new(&recording, wanted + wanted / 5, seed) {
        images += 1;
        let place = place();
        let folder = place.path().join("data");
        put(&crash.image, recording.yard.path(), place.path());
        let mut complaints = examine(&recording, &crash, &folder).await;
        if images % STARTED_ONE_IN == 0 && complaints.is_empty() {
            complaints = go_on(&recording, &folder, port).await;
            started += 1;
        }
        for complaint in complaints.iter().take(3) {
            writeln!(problems, "after happening {}, {:?}: {complaint}", crash.at, crash.fate).unwrap();
        }
        *fates.entry(crash.fate).or_default() += 1;
        promises = promises.max(crash.told.len());
    }
    let seconds = start.elapsed().as_secs_f64();
    let happened = recording.happened.len();
    println!(
        "{images} crashed disks of {happened} happenings, {promises} promises, {started} started again: {fates:?}; \
         {recorded:.1} s to record, {seconds:.1} s in all"
    );
    assert!(problems.is_empty(), "seed {seed}, {wanted} images:\n{problems}");
    assert!(images * 10 >= wanted * 8 && fates.len() == FATES.len(), "too few crashed disks: {fates:?}");
    assert!(promises >= 2 * ROUNDS && started >= 1, "{promises} promises prove little");
}
