//! The search: changes inputs until they are used up, and keeps those that reach something new.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::coverage::{self, Reached};
use crate::mutate::mutate;
use crate::random::{Random, seed_of};
use crate::trial::{self, Failure};
use crate::{Target, corpus, shrink};

/// Failures at different places after which a target is left alone.
const FAILURES_MAX: usize = 20;
/// Executions between two looks at the clock.
const LOOK_EVERY: u64 = 64;

/// How long to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Changed inputs to try; the kept ones come on top.
    pub executions: u64,
    /// When to stop all the same.
    pub time: Duration,
    /// What chance starts from.
    pub seed: u64,
    /// Whether inputs that reach something new are written to [`corpus::found_folder`].
    pub keeps: bool,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Catch {
    /// Inputs tried.
    pub executions: u64,
    /// How long it took.
    pub time: Duration,
    /// The longest that one input took.
    pub slowest: Duration,
    /// Edges reached; 0 in a build that does not count them.
    pub edges: usize,
    /// Inputs in the pool at the end.
    pub pool: usize,
    /// What failed, with the smallest input.
    pub failures: Vec<(Failure, Vec<u8>, Option<PathBuf>)>,
}

impl Catch {
    /// Gives one line for people.
    pub fn line(&self, target: &Target) -> String {
        let seconds = self.time.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "it is shown without fractions")]
        let rate = self.executions as f64 / seconds;
        format!(
            "{:<18} {:>10} executions {:>8.1} s {:>9.0}/s  slowest {:>5} ms  edges {:>6}  pool {:>5}  failures {}",
            target.name,
            self.executions,
            seconds,
            rate,
            self.slowest.as_millis(),
            self.edges,
            self.pool,
            self.failures.len()
        )
    }

    /// Tells every failure with the command that repeats it.
    pub fn report(&self, target: &Target) -> String {
        let mut text = String::new();
        for (failure, input, path) in &self.failures {
            let path = path.as_ref().map_or_else(|| "(not written)".to_owned(), |path| path.display().to_string());
            text.push_str(&format!(
                "{}: {}\n  at {}\n  input: {:?}\n  repeat: cargo run -p gristmill-fuzz -- repeat {} {path}\n",
                target.name,
                failure.what,
                failure.place,
                String::from_utf8_lossy(&input[..input.len().min(200)]),
                target.name,
            ));
        }
        text
    }
}

/// Searches.
pub fn hunt(target: &Target, effort: Effort) -> Catch {
    let mut hunter = Hunter::new(target, effort);
    for seed in corpus::seeds(target) {
        hunter.attempt(seed, true);
    }
    if effort.keeps {
        for (_, input) in corpus::read_all(&corpus::found_folder(target)) {
            hunter.attempt(input, false);
        }
    }
    for round in 0..effort.executions {
        let is_over = round % LOOK_EVERY == 0 && hunter.start.elapsed() > effort.time;
        if is_over || hunter.caught.failures.len() >= FAILURES_MAX {
            break;
        }
        let input = hunter.next_input();
        hunter.attempt(input, false);
    }
    hunter.end()
}

struct Hunter<'a> {
    target: &'a Target,
    effort: Effort,
    random: Random,
    pool: Vec<Vec<u8>>,
    reached: Reached,
    caught: Catch,
    start: Instant,
    on_trial: Option<(File, PathBuf)>,
}

impl<'a> Hunter<'a> {
    fn new(target: &'a Target, effort: Effort) -> Self {
        let path = corpus::trial_folder().join(format!("{}-{}", target.name, std::process::id()));
        let on_trial = std::fs::create_dir_all(corpus::trial_folder()).and_then(|()| File::create(&path));
        Self {
            target,
            effort,
            random: Random::new(seed_of(effort.seed, target.name)),
            pool: Vec::new(),
            reached: Reached::default(),
            caught: Catch::default(),
            start: Instant::now(),
            on_trial: on_trial.ok().map(|file| (file, path)),
        }
    }

    /// Changes one of the pool: any, or one of the newest.
    fn next_input(&mut self) -> Vec<u8> {
        let newest = self.pool.len() / 8 + 1;
        let chosen = match self.random.below(2) {
            0 => self.random.below(self.pool.len()),
            _ => self.pool.len() - 1 - self.random.below(newest),
        };
        mutate(&mut self.random, &self.pool, chosen, self.target.words, self.target.size_max)
    }

    fn attempt(&mut self, input: Vec<u8>, is_seed: bool) {
        self.write_down(&input);
        Reached::begin();
        let start = Instant::now();
        let result = trial::run(self.target, &input);
        self.caught.slowest = self.caught.slowest.max(start.elapsed());
        self.caught.executions += 1;
        let is_new = coverage::is_there() && self.reached.take_in();
        match result {
            Err(failure) => self.fail(failure, &input),
            Ok(()) => {
                if is_new && !is_seed && self.effort.keeps {
                    // What cannot be written is only lost for the next run.
                    let _written = corpus::keep(&corpus::found_folder(self.target), "", &input);
                }
                if is_new || is_seed {
                    self.pool.push(input);
                }
            }
        }
        if self.pool.is_empty() {
            self.pool.push(Vec::new());
        }
    }

    fn fail(&mut self, failure: Failure, input: &[u8]) {
        if self.caught.failures.iter().any(|(known, _, _)| known.place == failure.place) {
            return;
        }
        let smallest = shrink::shrink(self.target, input, &failure);
        let path = corpus::keep(&corpus::failure_folder(), &format!("{}-", self.target.name), &smallest).ok();
        self.caught.failures.push((failure, smallest, path));
    }

    /// Writes the input where it is found if it kills the process.
    fn write_down(&self, input: &[u8]) {
        if let Some((file, _)) = &self.on_trial {
            // Without it, only a killed process is harder to explain.
            let _written = file.write_all_at(input, 0).and_then(|()| file.set_len(input.len() as u64));
        }
    }

    fn end(mut self) -> Catch {
        if let Some((_, path)) = &self.on_trial {
            let _gone = std::fs::remove_file(path);
        }
        self.caught.time = self.start.elapsed();
        self.caught.edges = self.reached.edges();
        self.caught.pool = self.pool.len();
        self.caught
    }
}
