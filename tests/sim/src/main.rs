//! The command: runs seeds, says how much was done, and repeats one that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gristmill_sim::{Failure, Fault, Options, Stats, report, run, shrink};

const HELP: &str = "gristmill-sim: the deterministic simulator

  --seeds A..B     run these seeds (default 1..200)
  --threads N      on so many threads (default 2)
  --seed N         run one; with --trace what happens is printed
  --hours H        so long a first phase, instead of what the seed draws
  --without A,B    without these kinds of fault
  --suppress 1,2   without these single faults
  --whole          do not make failing seeds smaller
  mutants          switch deliberate bugs on, one after the other, and see each of them found
  --seeds-max N    within so many seeds (default 200)
  --only N         only this one

A seed that fails is made smaller and told, and the exit status is 1.";

/// What the command line asks for.
struct Arguments {
    seeds: std::ops::Range<u64>,
    threads: usize,
    options: Options,
    single: bool,
    mutants: bool,
    seeds_max: u64,
    only: Option<u32>,
    whole: bool,
}

fn parse() -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 1..200,
        threads: 2,
        options: Options::default(),
        single: false,
        mutants: false,
        seeds_max: 200,
        only: None,
        whole: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--seeds" => arguments.seeds = range(&value()?)?,
            "--threads" => arguments.threads = number(&value()?)?,
            "--seed" => (arguments.options.seed, arguments.single) = (number(&value()?)?, true),
            "--trace" => arguments.options.trace = true,
            "--hours" => arguments.options.hours = Some(number(&value()?)?),
            "--without" => arguments.options.disabled = faults(&value()?)?,
            "--suppress" => {
                let numbers = value()?;
                arguments.options.suppressed = numbers.split(',').map(number).collect::<Result<_, _>>()?;
            }
            "--whole" => arguments.whole = true,
            "mutants" => arguments.mutants = true,
            "--seeds-max" => arguments.seeds_max = number(&value()?)?,
            "--only" => arguments.only = Some(number(&value()?)?),
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(arguments)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or(format!("`{text}` is no range like 1..200"))?;
    Ok(number(first)?..number(end)?)
}

fn faults(text: &str) -> Result<BTreeSet<Fault>, String> {
    text.split(',').map(|word| Fault::parse(word).ok_or(format!("there is no fault `{word}`"))).collect()
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if arguments.mutants {
        return hunt(&arguments);
    }
    if arguments.single {
        return one(&arguments.options);
    }
    many(&arguments)
}

fn one(options: &Options) -> ExitCode {
    let traced = Options { trace: true, ..options.clone() };
    match run(&traced) {
        Ok(stats) => {
            println!("seed {}: {}", options.seed, say(&stats));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if options.trace {
                println!("{}\n{}", failure.timeline.join("\n"), failure.violation);
            } else {
                println!("{}", report::tell(options, &failure));
            }
            ExitCode::FAILURE
        }
    }
}

fn say(stats: &Stats) -> String {
    format!(
        "{:.1} cluster-hours, {} builds, {} events, {} turns, {} faults, {} messages, history {:016x}",
        stats.virtual_seconds / 3600.0,
        stats.builds,
        stats.events,
        stats.commits,
        stats.faults,
        stats.messages,
        stats.hash
    )
}

/// What many seeds came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    stats: Stats,
    failures: BTreeMap<u64, Box<Failure>>,
}

impl Sum {
    fn add(&mut self, stats: &Stats) {
        self.seeds += 1;
        self.stats.virtual_seconds += stats.virtual_seconds;
        self.stats.builds += stats.builds;
        self.stats.events += stats.events;
        self.stats.events_in_safety += stats.events_in_safety;
        self.stats.commits += stats.commits;
        self.stats.faults += stats.faults;
        self.stats.messages += stats.messages;
        for (rule, count) in &stats.checks {
            *self.stats.checks.entry(rule).or_default() += count;
        }
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(arguments.seeds.start);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| work(arguments, &next, &sum));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    print(&sum, begun.elapsed().as_secs_f64());
    for (seed, failure) in sum.failures.iter().take(if arguments.whole { 0 } else { 3 }) {
        let options = Options { seed: *seed, ..arguments.options.clone() };
        let shrunk = shrink(&options, failure.clone());
        println!(
            "\nseed {seed}, made smaller in {} runs: {}",
            shrunk.attempts,
            report::tell(&shrunk.options, &shrunk.failure)
        );
    }
    let asked = arguments.seeds.end.saturating_sub(arguments.seeds.start);
    let is_whole = sum.seeds + sum.failures.len() as u64 == asked && (asked == 0 || sum.stats.builds > 0);
    if !is_whole {
        println!("less was done than asked for: {} of {asked} seeds", sum.seeds);
    }
    if sum.failures.is_empty() && is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(arguments: &Arguments, next: &AtomicU64, sum: &Mutex<Sum>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= arguments.seeds.end {
            return;
        }
        let result = run(&Options { seed, ..arguments.options.clone() });
        let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match result {
            Ok(stats) => sum.add(&stats),
            Err(failure) => {
                eprintln!("seed {seed}: {}", failure.violation);
                sum.failures.insert(seed, failure);
            }
        }
    }
}

fn print(sum: &Sum, wall: f64) {
    let stats = &sum.stats;
    let hours = stats.virtual_seconds / 3600.0;
    println!("seeds that hold       {}", sum.seeds);
    println!("seeds that fail       {}", sum.failures.len());
    println!("cluster-hours         {hours:.0}");
    println!("wall seconds          {wall:.1}");
    println!("cluster-hours/minute  {:.0}", hours / wall * 60.0);
    println!("builds                {} ({:.0} an hour)", stats.builds, stats.builds as f64 / hours);
    println!(
        "events                {} ({:.0} % while anything may fail)",
        stats.events,
        stats.events_in_safety as f64 / stats.events.max(1) as f64 * 100.0
    );
    println!("turns committed       {}", stats.commits);
    println!("faults injected       {}", stats.faults);
    println!("messages accepted     {}", stats.messages);
    let checks: Vec<String> = stats.checks.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    println!("checks                {}", checks.join(", "));
}

#[cfg(not(feature = "mutants"))]
fn hunt(_: &Arguments) -> ExitCode {
    eprintln!("deliberate bugs are not in this build: add --features mutants");
    ExitCode::from(2)
}

#[cfg(feature = "mutants")]
fn hunt(arguments: &Arguments) -> ExitCode {
    let is_wanted = |mutant: &&gristmill_sim::Mutant| arguments.only.is_none_or(|only| only == mutant.number);
    let wanted: Vec<_> = gristmill_sim::MUTANTS.iter().filter(is_wanted).collect();
    let (next, missed) = (AtomicU64::new(0), AtomicU64::new(0));
    let search = || {
        // Each thread has its own bug switched on.
        while let Some(mutant) = wanted.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX))
        {
            match gristmill_sim::hunt(mutant, arguments.seeds_max) {
                Some((seeds, violation)) => {
                    println!("{:>4}  {:<58} {:<7} after {seeds} seeds", mutant.number, mutant.name, violation.rule);
                }
                None => {
                    missed.fetch_add(1, Ordering::Relaxed);
                    println!("{:>4}  {:<58} not found in {} seeds", mutant.number, mutant.name, arguments.seeds_max);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(search);
        }
    });
    let missed = missed.into_inner();
    println!("{} of {} deliberate bugs found", wanted.len() as u64 - missed, wanted.len());
    if missed == 0 && !wanted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
