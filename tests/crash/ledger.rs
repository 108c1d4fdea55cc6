//! The ledger: what was promised, held against what is there. It knows nothing of the product's code; it complains of
//! whatever is lost, doubled, or there without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use sha2::{Digest, Sha256};

use super::facts::Facts;
use super::stored::{Build, Change, Stored};

/// What the configuration promises.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// (scheduler, repository): every change of the repository meets the scheduler.
    pub(crate) meets: Vec<(&'static str, &'static str)>,
    /// The schedulers that people start.
    pub(crate) forced: &'static str,
    /// Whom a route tells of everything that breaks, still fails, and is fixed.
    pub(crate) told: Vec<&'static str>,
    /// Attempts that a request may have.
    pub(crate) attempts_max: i64,
    /// The step that writes effects, in every builder, writes a `start` and an `end`.
    pub(crate) ticks: BTreeMap<&'static str, usize>,
}

/// Lists everything that is not as it must be once all is at rest.
pub(crate) fn audit(terms: &Terms, facts: &Facts, stored: &Stored) -> Vec<String> {
    let mut book = Complaints(Vec::new());
    book.0.extend(facts.wrong_answers.iter().cloned());
    journal(&mut book, stored);
    acknowledged(&mut book, terms, facts, stored);
    changes(&mut book, facts, stored);
    verdicts(&mut book, terms, stored);
    requests(&mut book, terms, stored);
    effects(&mut book, terms, facts, stored);
    messages(&mut book, terms, facts, stored);
    book.0
}

struct Complaints(Vec<String>);

impl Complaints {
    fn unless(&mut self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.0.push(what());
        }
    }

    fn equal<T: PartialEq + Debug>(&mut self, what: &str, found: &T, expected: &T) {
        self.unless(found == expected, || format!("{what}: found {found:?}, expected {expected:?}"));
    }
}

/// The journal's numbers are 1, 2, 3, … up to the head.
fn journal(book: &mut Complaints, stored: &Stored) {
    let gap = stored.events.iter().zip(1..).find(|(event, number)| event.seq != *number);
    book.unless(gap.is_none(), || format!("the journal has a gap: {gap:?}"));
    book.equal("the journal's head", &stored.head, &i64::try_from(stored.events.len()).unwrap());
}

/// What was answered with 2xx is there, once, under the number that was answered.
fn acknowledged(book: &mut Complaints, terms: &Terms, facts: &Facts, stored: &Stored) {
    let mut deliveries: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    for delivery in &stored.deliveries {
        deliveries.entry((&delivery.repository, &delivery.key)).or_default().push(delivery.id);
        book.unless(delivery.result.is_some(), || format!("nobody ever read delivery {}", delivery.id));
    }
    for hook in &facts.hooks {
        let found = deliveries.get(&(hook.repository.as_str(), hook.key.as_str())).cloned().unwrap_or_default();
        book.equal(&format!("the acknowledged delivery {}", hook.key), &found, &vec![hook.delivery]);
    }
    let mut answered: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for force in &facts.forces {
        answered.entry(&force.key).or_default().insert(force.buildset);
    }
    for (key, buildsets) in &answered {
        book.unless(buildsets.len() == 1, || format!("key {key} was answered with several buildsets: {buildsets:?}"));
    }
    let forced = stored.buildsets.iter().filter(|buildset| buildset.scheduler == terms.forced);
    let forced: Vec<i64> = forced.map(|buildset| buildset.id).collect();
    let mut expected: Vec<i64> = answered.into_values().flatten().collect();
    expected.sort_unstable();
    book.equal("the forced buildsets", &sorted(forced), &expected);
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

/// Where git is, the service is, by changes that follow each other without a gap and leave out no commit.
fn changes(book: &mut Complaints, facts: &Facts, stored: &Stored) {
    book.equal("the tips", &stored.tips, &facts.tips);
    let mut chains: BTreeMap<(String, String), Vec<&Change>> = BTreeMap::new();
    for change in &stored.changes {
        chains.entry((change.repository.clone(), change.reference.clone())).or_default().push(change);
    }
    for (name, tip) in &facts.tips {
        let chain = chains.get(name).map_or(&[][..], Vec::as_slice);
        for pair in chain.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            book.equal(&format!("the number of change {}", after.id), &after.seq, &(before.seq + 1));
            book.equal(&format!("what change {} follows", after.id), &after.old, &before.new);
        }
        if let Some(last) = chain.last() {
            book.equal(&format!("the last change of {name:?}"), &last.new.as_ref(), &Some(tip));
        }
    }
    for (name, history) in &facts.histories {
        let chain = chains.get(name).map_or(&[][..], Vec::as_slice);
        let told: Vec<&String> = chain.iter().flat_map(|change| &change.commits).collect();
        let up_to = history.iter().position(|revision| Some(revision) == facts.tips.get(name));
        let expected: Vec<&String> = history.iter().take(up_to.map_or(0, |index| index + 1)).collect();
        book.equal(&format!("the commits of {name:?}"), &told, &expected);
    }
}

/// Every change meets every scheduler once, and comes to an end there; nothing sets a scheduler off twice.
fn verdicts(book: &mut Complaints, terms: &Terms, stored: &Stored) {
    let mut found: BTreeMap<(i64, &str), usize> = BTreeMap::new();
    for verdict in &stored.verdicts {
        *found.entry((verdict.change, &verdict.scheduler)).or_default() += 1;
        let (change, scheduler) = (verdict.change, &verdict.scheduler);
        book.unless(verdict.kind != "held", || format!("{scheduler} holds change {change} back for ever"));
        if let Some(buildset) = verdict.buildset {
            let there = stored.contains.contains(&(buildset, change));
            book.unless(there, || format!("buildset {buildset} of {scheduler} does not contain change {change}"));
        }
    }
    for change in &stored.changes {
        for (scheduler, _) in terms.meets.iter().filter(|(_, repository)| *repository == change.repository) {
            let count = found.get(&(change.id, *scheduler)).copied().unwrap_or(0);
            book.equal(&format!("the verdicts of {scheduler} on change {}", change.id), &count, &1);
        }
    }
    let mut triggers = BTreeSet::new();
    let mut containing: BTreeMap<(&str, i64), Vec<i64>> = BTreeMap::new();
    let scheduler_of: BTreeMap<i64, &str> =
        stored.buildsets.iter().map(|buildset| (buildset.id, buildset.scheduler.as_str())).collect();
    for buildset in &stored.buildsets {
        let is_new = triggers.insert((&buildset.scheduler, &buildset.trigger));
        book.unless(is_new, || format!("{} was set off twice by {}", buildset.scheduler, buildset.trigger));
    }
    for (buildset, change) in &stored.contains {
        let Some(scheduler) = scheduler_of.get(buildset) else { continue };
        if terms.meets.iter().any(|(name, _)| name == scheduler) {
            containing.entry((scheduler, *change)).or_default().push(*buildset);
        }
    }
    for ((scheduler, change), buildsets) in containing {
        book.unless(buildsets.len() == 1, || format!("{scheduler} built change {change} several times: {buildsets:?}"));
    }
}

/// Every buildset and request ended, once, by attempts that are numbered from 1 and not more than allowed.
fn requests(book: &mut Complaints, terms: &Terms, stored: &Stored) {
    for buildset in &stored.buildsets {
        book.unless(buildset.remaining == 0 && buildset.outcome.is_some(), || format!("{buildset:?} never ended"));
        let own = stored.requests.iter().filter(|request| request.buildset == buildset.id).count();
        book.unless(own > 0, || format!("buildset {} has no requests", buildset.id));
    }
    let mut completed: BTreeMap<i64, usize> = BTreeMap::new();
    for event in stored.events.iter().filter(|event| event.kind == "buildset.completed") {
        *completed.entry(event.body["buildset"].as_i64().unwrap_or(0)).or_default() += 1;
    }
    for (buildset, count) in completed.iter().filter(|(_, count)| **count != 1) {
        book.0.push(format!("buildset {buildset} completed {count} times"));
    }
    book.equal("the completed buildsets", &completed.len(), &stored.buildsets.len());
    let mut attempts: BTreeMap<i64, Vec<&Build>> = BTreeMap::new();
    for build in &stored.builds {
        attempts.entry(build.request).or_default().push(build);
        book.unless(build.state == "finished" && build.outcome.is_some(), || format!("{build:?} never ended"));
    }
    for request in &stored.requests {
        let own = attempts.remove(&request.id).unwrap_or_default();
        book.unless(request.state == "settled", || format!("{request:?} never ended"));
        let numbers: Vec<i64> = own.iter().map(|build| build.attempt).collect();
        let expected: Vec<i64> = (1..).take(own.len()).collect();
        book.equal(&format!("the attempts of request {}", request.id), &numbers, &expected);
        book.unless(numbers.len() <= usize::try_from(terms.attempts_max).unwrap(), || {
            format!("request {} had {} attempts", request.id, numbers.len())
        });
        book.unless(own.windows(2).all(|pair| pair[0].epoch < pair[1].epoch), || {
            format!("the epochs of request {} do not grow", request.id)
        });
        let ends = own.iter().filter(|build| build.outcome.as_deref() != Some("retry")).count();
        let is_lost = own.last().is_some_and(|build| build.outcome.as_deref() == Some("retry"));
        book.unless(ends <= 1 && !is_lost, || format!("request {} ended {ends} times: {own:?}", request.id));
    }
    book.unless(attempts.is_empty(), || format!("builds without a request: {attempts:?}"));
}

/// What ran is what the database says ran: each attempt once, one after the other, each that ended by itself to its end.
fn effects(book: &mut Complaints, terms: &Terms, facts: &Facts, stored: &Stored) {
    let known: BTreeMap<i64, &Build> = stored.builds.iter().map(|build| (build.id, build)).collect();
    let mut lines: BTreeMap<i64, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    for effect in &facts.effects {
        *lines.entry(effect.build).or_default().entry(&effect.what).or_default() += 1;
        match known.get(&effect.build) {
            None => book.0.push(format!("build {} ran, and nobody knows of it", effect.build)),
            Some(build) => {
                book.equal(&format!("the attempt that build {} was told", build.id), &effect.attempt, &build.attempt);
                let newest = newest.entry(build.request).or_insert(effect.attempt);
                book.unless(effect.attempt >= *newest, || {
                    format!("attempt {} of request {} ran beside attempt {newest}", effect.attempt, build.request)
                });
                *newest = (*newest).max(effect.attempt);
            }
        }
    }
    for build in &stored.builds {
        let of = |what| lines.get(&build.id).and_then(|lines| lines.get(what)).copied().unwrap_or(0);
        let found = (of("start"), of("tick"), of("end"));
        let ticks = terms.ticks.get(build.builder.as_str()).copied().unwrap_or(0);
        match build.outcome.as_deref() {
            Some("success" | "failure") => {
                book.equal(&format!("what build {} did", build.id), &found, &(1, ticks, 1));
            }
            _ => book.unless(found.0 <= 1 && found.1 <= ticks && found.2 <= 1, || {
                format!("lost build {} did more than one build does: {found:?}", build.id)
            }),
        }
    }
}

/// Everything that is to be told became one message per recipient, and each was taken: once, and if more, then with a kill
/// between.
fn messages(book: &mut Complaints, terms: &Terms, facts: &Facts, stored: &Stored) {
    let mut expected: Vec<(i64, &str)> = Vec::new();
    for event in &stored.events {
        let is_news = match event.kind.as_str() {
            // What joins an incident is no news to those who were told of it: one mail for all that one range broke.
            "incident.opened" | "incident.closed" => true,
            "builder.turned" => event.body["transition"] == "still-failing",
            _ => false,
        };
        expected.extend(terms.told.iter().filter(|_| is_news).map(|target| (event.seq, *target)));
    }
    let found = stored.messages.iter().map(|message| (message.event, message.target.as_str())).collect();
    let (found, expected) = (sorted(found), sorted(expected));
    book.unless(found == expected, || {
        let (left, right): (BTreeSet<_>, BTreeSet<_>) = (expected.iter().collect(), found.iter().collect());
        let (missing, extra): (Vec<_>, Vec<_>) = (left.difference(&right).collect(), right.difference(&left).collect());
        format!("messages: missing {missing:?}, extra {extra:?}, {} of {}", found.len(), expected.len())
    });
    let mut runs: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for mail in &facts.mails {
        let id = mail.id.trim_start_matches('<').split('@').next().unwrap_or("").to_owned();
        runs.entry(id).or_default().push(mail.run);
    }
    for message in &stored.messages {
        let id = mail_id(&message.key);
        let taken = runs.remove(&id).unwrap_or_default();
        book.unless(message.state == "delivered", || format!("message {} is {}", message.id, message.state));
        book.unless(!taken.is_empty(), || format!("message {} was never taken by the mail server", message.id));
        let distinct: BTreeSet<&usize> = taken.iter().collect();
        book.unless(distinct.len() == taken.len(), || {
            format!("message {} came twice without a kill between: in runs {taken:?}", message.id)
        });
    }
    book.unless(runs.is_empty(), || format!("mails that nobody knows of: {runs:?}"));
}

/// What stands before the `@` of a message's Message-ID: the documented beginning of its key's SHA-256.
pub(crate) fn mail_id(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
