//! What is outside of the service: those who push, the hooks and looks by which it is noticed, and people.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::{
    BuildId, BuildsetId, RefUpdate, RepositoryName, RequestId, Scheduler, SchedulerKind, Sighting, Via,
};
use gristmill_schedulers::input::{Cancel, NewDelivery, Tips};
use gristmill_schedulers::{Input, Once, Reply};

use crate::check::Violation;
use crate::profile::Fault;
use crate::world::{Asker, Due, NoAnswer, Wish, World};

/// The time between two looks at a repository.
const POLL: Duration = Duration::from_secs(60);
/// How often a look is repeated because what was accepted had moved meanwhile.
const LOOK_AGAIN_MAX: u32 = 5;

/// The targets of messages, and what they have accepted.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// How often each key was accepted, with the message's number.
    pub(crate) keys: BTreeMap<String, u64>,
    /// All that was accepted, repeats included.
    pub(crate) accepted: u64,
}

impl World {
    pub(crate) fn push(&mut self) {
        if self.healed.is_some() {
            return;
        }
        let wait = self.chances.git.wait(self.size.push_every);
        self.after(wait, Due::Push);
        let names: Vec<RepositoryName> = self.git.0.keys().cloned().collect();
        let name = self.chances.git.pick(&names).clone();
        let now = self.now;
        let Some(repository) = self.git.0.get_mut(&name) else { return };
        let update = repository.push(&mut self.chances.git, name.as_str(), now);
        self.note(|| {
            let to = update.new.as_ref().map_or("gone", |revision| revision.as_str());
            format!("git: {name} {} is now {to}", update.reference)
        });
        if self.hooked.contains(&name) {
            self.send_hook(&name, update);
        }
    }

    /// Sends a webhook request, once, twice, late or never.
    fn send_hook(&mut self, name: &RepositoryName, update: RefUpdate) {
        self.deliveries += 1;
        let number = self.deliveries;
        let is_complete = self.chances.git.chance(0.8);
        let sighting =
            Sighting { repository: name.clone(), via: Via::Webhook, first_sight: false, updates: vec![update] };
        let delivery = NewDelivery {
            repository: name.clone(),
            key: format!("d{number}"),
            event: "push".to_owned(),
            sha256: format!("sha-{number}"),
            headers: "{}".to_owned(),
            body: number.to_le_bytes().to_vec(),
            sighting: is_complete.then_some(sighting),
        };
        if self.faults.come(Fault::HookLost) {
            self.note(|| format!("hook: d{number} is lost"));
            return;
        }
        let asker = || Asker::Hook { repository: name.clone() };
        if self.faults.come(Fault::HookMutated) {
            let mut other = delivery.clone();
            if self.faults.chances(Fault::HookMutated).chance(0.5) {
                other.body.push(0);
                other.sha256.push('x');
                other.sighting = None;
            } else {
                // Another repository's sender counts as it likes: the same id there is another delivery.
                let names: Vec<RepositoryName> = self.git.0.keys().cloned().collect();
                other.repository = self.faults.chances(Fault::HookMutated).pick(&names).clone();
                other.sighting = None;
            }
            self.ask(Asker::Hook { repository: other.repository.clone() }, vec![Input::Deliver(other)], None);
        }
        if self.faults.come(Fault::HookDoubled) {
            self.ask(asker(), vec![Input::Deliver(delivery.clone())], None);
        }
        if self.faults.come(Fault::HookLate) {
            let wait = self.faults.chances(Fault::HookLate).span(Duration::from_secs(1), Duration::from_secs(300));
            let (master, life) = (self.front, self.masters[self.front].life);
            let letter = crate::world::Letter { inputs: vec![Input::Deliver(delivery)], once: None, asker: asker() };
            self.after(wait, Due::Arrive(master, life, Box::new(letter)));
            return;
        }
        self.ask(asker(), vec![Input::Deliver(delivery)], None);
    }

    pub(crate) fn hooked(&mut self, repository: RepositoryName, answer: Option<Reply>) {
        if let Some(Reply::Delivered { sweep: true, delivery, .. }) = answer {
            self.after(Duration::from_millis(5), Due::Look(repository, 1));
            let result = "the repository was looked at".to_owned();
            self.ask(Asker::Nobody, vec![Input::DeliveryRead { delivery, result }], None);
        }
    }

    /// A look begins; what it sees is what is there at its end.
    pub(crate) fn look(&mut self, repository: RepositoryName, again: u32) {
        if again == 0 {
            let wait = POLL.mul_f64(0.9 + 0.2 * self.chances.source.unit());
            self.after(wait, Due::Look(repository.clone(), 0));
        }
        if self.faults.come(Fault::LookFails) {
            let error = "the repository does not answer".to_owned();
            self.ask(Asker::Nobody, vec![Input::SightFailed { repository, error }], None);
            return;
        }
        let takes = self.chances.source.millis(5, 2_000);
        self.after(takes, Due::Seen(repository, again));
    }

    pub(crate) fn seen(&mut self, repository: &RepositoryName, again: u32) {
        let rows = &self.store.rows;
        let is_seen = rows.repositories.get(repository).is_some_and(|(seen, _)| *seen);
        let of_it = rows.tips.iter().filter(|((name, _), _)| name == repository);
        let tips: Tips = of_it.map(|((_, name), (revision, _, _))| (name.clone(), revision.clone())).collect();
        let updates = self.git.0[repository].sweep(is_seen.then_some(&tips));
        let sighting = Sighting { repository: repository.clone(), via: Via::Poll, first_sight: !is_seen, updates };
        let fails = self.store.rows.repositories.get(repository).is_some_and(|(_, failures)| *failures > 0);
        // What brought nothing is handed over all the same; the state knows best whether it is news.
        if is_seen && sighting.updates.is_empty() && !fails {
            return;
        }
        self.note(|| format!("source: {repository} has {} refs that moved", sighting.updates.len()));
        let wait = self.chances.source.millis(1, 3_000);
        let asker = Asker::Look { repository: repository.clone(), again };
        let (master, life) = (self.front, self.masters[self.front].life);
        if self.masters[master].answers() {
            let letter = crate::world::Letter { inputs: vec![Input::Sight(sighting)], once: None, asker };
            self.after(wait, Due::Arrive(master, life, Box::new(letter)));
        }
    }

    pub(crate) fn looked(&mut self, repository: RepositoryName, again: u32, answer: Option<Reply>) {
        if let Some(Reply::Sighted { look_again, .. }) = answer
            && !look_again.is_empty()
            && again < LOOK_AGAIN_MAX
        {
            self.after(Duration::from_millis(1), Due::Look(repository, again + 1));
        }
    }

    pub(crate) fn person(&mut self) {
        if self.healed.is_some() {
            return;
        }
        let wait = self.chances.people.wait(self.size.person_every);
        self.after(wait, Due::Person);
        let Some(input) = self.whim() else { return };
        let number = self.wishes.len();
        let once = Once { key: format!("api key-{number}"), request_sha256: format!("request-{number}") };
        let once = self.chances.people.chance(0.8).then_some(once);
        self.note(|| format!("person: wants {input:?}"));
        self.wishes.push(Wish { input, once, is_over: false });
        self.after(Duration::ZERO, Due::Wish(number));
    }

    /// What somebody wants just now.
    fn whim(&mut self) -> Option<Input> {
        if self.chances.people.chance(0.35) {
            return self.care();
        }
        let by = "ada".to_owned();
        let rows = &self.store.rows;
        let rng = &mut self.chances.people;
        let builds: Vec<BuildId> = rows.open_builds.iter().copied().collect();
        let buildsets: Vec<BuildsetId> = rows.open_buildsets.iter().copied().collect();
        let what = match rng.below(6) {
            0 if !builds.is_empty() => Cancel::Build(*rng.pick(&builds)),
            1 if !buildsets.is_empty() => Cancel::Buildset(*rng.pick(&buildsets)),
            2 => {
                // Over, open or not there at all.
                let last = rows.requests.keys().next_back().map_or(0, |last| last.0);
                Cancel::Request(RequestId(i64::try_from(rng.below(usize::try_from(last + 2).ok()?)).ok()?))
            }
            _ => {
                let catalog = &self.configs[self.config].catalog;
                let is_force = |scheduler: &Scheduler| matches!(scheduler.kind, SchedulerKind::Force { .. });
                let forced: Vec<_> = catalog.schedulers.iter().filter(|(_, one)| is_force(one)).collect();
                if forced.is_empty() {
                    return None;
                }
                let scheduler = rng.pick(&forced).0.clone();
                let mut parameters: BTreeMap<String, String> = BTreeMap::new();
                match rng.below(5) {
                    0 => drop(parameters.insert("branch".to_owned(), "main".to_owned())),
                    1 => drop(parameters.insert("level".to_owned(), "high".to_owned())),
                    2 => drop(parameters.insert("branch".to_owned(), "nowhere".to_owned())),
                    _ => {}
                }
                return Some(Input::Force { scheduler, parameters, by, reason: None });
            }
        };
        Some(Input::Cancel { what, by })
    }

    pub(crate) fn wish(&mut self, number: usize) {
        let wish = &self.wishes[number];
        if wish.is_over {
            return;
        }
        let (input, once) = (wish.input.clone(), wish.once.clone());
        if let Some(once) = once.as_ref().filter(|once| self.store.answers.contains_key(&once.key))
            && self.chances.people.chance(0.3)
        {
            // Another request under the same key.
            let other = Once { request_sha256: "another".to_owned(), ..once.clone() };
            self.ask(Asker::Nobody, vec![Input::Tick], Some(other));
        }
        self.ask(Asker::Person { wish: number }, vec![input], once);
    }

    pub(crate) fn person_answered(&mut self, number: usize, answer: &Result<Reply, NoAnswer>) -> Result<(), Violation> {
        let Some(wish) = self.wishes.get_mut(number) else { return Ok(()) };
        match answer {
            Ok(_) => wish.is_over = true,
            Err(NoAnswer::KeyReused) => {
                let why = format!("the key of wish {number} was never used for anything else");
                return Err(Violation::new("S1", why));
            }
            // Without a key nobody dares to say it again: it might be done twice.
            Err(NoAnswer::Lost) if wish.once.is_none() => wish.is_over = true,
            Err(NoAnswer::Lost) => {
                let wait = self.chances.people.millis(500, 10_000);
                self.after(wait, Due::Wish(number));
            }
        }
        Ok(())
    }

    /// Another configuration is put in force, or a broken one is refused.
    pub(crate) fn configure(&mut self) {
        if self.healed.is_some() {
            return;
        }
        let wait = self.chances.people.wait(self.size.reload_every);
        self.after(wait, Due::Configure);
        if self.chances.people.chance(0.2) {
            let problems = "gristmill.yaml:3: what is `foo`?".to_owned();
            self.ask(Asker::Nobody, vec![Input::Refuse { problems }], None);
            return;
        }
        self.config = self.chances.people.below(self.configs.len() / 2);
        let catalog = std::sync::Arc::clone(&self.configs[self.config].catalog);
        self.note(|| format!("person: puts {} in force", catalog.hash));
        self.ask(Asker::Nobody, vec![Input::Activate { catalog, text: String::new() }], None);
    }
}
