//! Retention against an oracle that knows only what happened, never the tables: whatever happens and whatever the rules
//! are, what must stay stays, all else goes, and the state is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::matching::{Field, Matcher};
use gristmill_model::*;
use proptest::prelude::*;

use super::fixture::*;
use super::walk::history;
use super::{Kind, on_both};
use crate::engine::retain;
use crate::store::database::{Text, sql};
use crate::store::retire::{self, limit};
use crate::store::{Noun, Order, Retired};

/// Passes over all nouns: a buildset that others were built on goes in the one after theirs.
const PASSES_MAX: usize = 60;

async fn pass(world: &World, rules: &Retention) -> u64 {
    let in_use = Arc::new(world.store.reader().in_use(world.now.before(rules.changes)).await.unwrap());
    let mut deleted = 0;
    for noun in Noun::ALL {
        let mut order = Order { noun, after: 0, rules: rules.clone(), now: world.now, in_use: in_use.clone() };
        loop {
            let Retired { deleted: counts, next } = world.store.retire(order.clone()).await.unwrap();
            deleted += counts.values().sum::<u64>();
            world.store.verify(&world.state).await.unwrap();
            let Some(next) = next else { break };
            assert!(next > order.after || noun == Noun::Answers, "{noun:?} does not come forward");
            order.after = next;
        }
    }
    deleted
}

async fn retire_all(world: &World, rules: &Retention) {
    for _ in 0..PASSES_MAX {
        if pass(world, rules).await == 0 {
            return;
        }
    }
    panic!("it does not come to an end");
}

async fn ids(world: &World, text: &'static str) -> BTreeSet<i64> {
    let rows = sql(text).fetch_all(world.store.reader().pool()).await.unwrap();
    rows.iter().map(|row| row.value("id").unwrap()).collect()
}

/// What happened, as the oracle keeps it.
#[derive(Default)]
struct Oracle {
    completed: BTreeMap<BuildsetId, Timestamp>,
    buildsets: BTreeMap<BuildsetId, Buildset>,
    builds: BTreeMap<BuildId, (Build, Option<Timestamp>)>,
    /// Both ways.
    kin: Vec<(BuildsetId, BuildsetId)>,
    noted: Vec<(SchedulerName, SchedulerName, BuildsetId, Option<BuildsetId>)>,
}

impl Oracle {
    fn hear(&mut self, at: Timestamp, body: &EventBody) {
        match body {
            EventBody::BuildsetCreated { buildset, .. } => {
                self.buildsets.insert(buildset.id, buildset.clone());
                if matches!(buildset.trigger, Trigger::Upstream { .. }) {
                    for (scheduler, _, _, used_by) in &mut self.noted {
                        if *scheduler == buildset.scheduler && used_by.is_none() {
                            *used_by = Some(buildset.id);
                        }
                    }
                }
            }
            EventBody::BuildsetCompleted { buildset, .. } => {
                self.completed.insert(*buildset, at);
            }
            EventBody::BuildLeased { build } => {
                self.builds.insert(build.id, (build.clone(), None));
            }
            EventBody::BuildFinished { build, .. } => self.builds.get_mut(build).unwrap().1 = Some(at),
            EventBody::StepTriggered { build, buildset, .. } if self.buildsets.contains_key(buildset) => {
                let parent = self.builds[build].0.buildset;
                self.kin.extend([(parent, *buildset), (*buildset, parent)]);
            }
            EventBody::UpstreamNoted { scheduler, upstream, buildset, .. } => {
                self.noted.push((scheduler.clone(), upstream.clone(), *buildset, None));
            }
            _ => {}
        }
    }

    /// Gives what must stay by itself.
    fn kept_by_itself(&self, world: &World, rules: &Retention) -> BTreeSet<BuildsetId> {
        let is_alive = world.state.tips.get("lib").and_then(|tips| tips.get("refs/heads/main"));
        let is_alive = is_alive.is_none_or(|tip| tip.revision.is_some());
        let mut pointed: BTreeSet<BuildId> = world.state.standings.values().map(|standing| standing.build).collect();
        for incident in world.state.incidents.values() {
            pointed.insert(incident.first_build);
            pointed.extend(incident.builders.values().chain(incident.fixed.values()));
        }
        let mut kept: BTreeSet<BuildsetId> = BTreeSet::new();
        for (id, buildset) in &self.buildsets {
            let young = self.completed.get(id).is_none_or(|at| at.after(rules.builds) >= world.now);
            let ruled = rules.keep.iter().any(|rule| {
                rule.patterns(Field::Scheduler).is_some_and(|patterns| patterns.accepts(buildset.scheduler.as_str()))
            });
            if young || ruled {
                kept.insert(*id);
            }
        }
        for (id, (build, _)) in &self.builds {
            let alike = |other: &&(Build, Option<Timestamp>)| other.0.builder == build.builder && other.1.is_some();
            let newer = self.builds.values().filter(alike).filter(|other| other.0.id > *id).count();
            if pointed.contains(id) || (is_alive && newer < rules.last as usize) {
                kept.insert(build.buildset);
            }
        }
        let mut newest: BTreeMap<(&SchedulerName, &SchedulerName), BuildsetId> = BTreeMap::new();
        for (scheduler, upstream, buildset, used_by) in &self.noted {
            if used_by.is_none() {
                newest.insert((scheduler, upstream), *buildset);
            }
        }
        kept.extend(newest.into_values());
        kept
    }

    /// Gives all that must stay: with their kin, and with what they were built on.
    fn kept(&self, world: &World, rules: &Retention) -> BTreeSet<BuildsetId> {
        let mut kept = self.kept_by_itself(world, rules);
        loop {
            let mut more = BTreeSet::new();
            more.extend(self.kin.iter().filter(|(one, _)| kept.contains(one)).map(|(_, other)| *other));
            let users = self.noted.iter().filter_map(|(_, _, on, used_by)| Some((on, (*used_by)?)));
            more.extend(users.filter(|(_, user)| kept.contains(user)).map(|(on, _)| *on));
            let before = kept.len();
            kept.extend(more);
            if kept.len() == before {
                return kept;
            }
        }
    }

    fn kept_changes(world: &World, any_buildset: bool) -> BTreeSet<i64> {
        let tips = world.state.tips.values().flat_map(|tips| tips.values()).filter_map(|tip| tip.change);
        let held = world.state.held.values().flat_map(|it| it.values()).flatten().map(|held| held.change);
        let good = world.state.standings.values().flat_map(|standing| standing.good.values().copied());
        let mut kept: BTreeSet<i64> = tips.chain(held).chain(good).map(|id| id.0).collect();
        for incident in world.state.incidents.values() {
            kept.extend(incident.suspects.values().flat_map(|range| range.after.0..=range.upto.0));
        }
        // Every stamp of the fixture names change 1.
        kept.extend(any_buildset.then_some(1));
        kept.retain(|id| *id >= 1 && *id <= world.state.last.change.0);
        kept
    }
}

/// Two builders instead of one per request, so that some have newer builds than others.
fn with_few_builders(mut body: EventBody) -> EventBody {
    match &mut body {
        EventBody::BuildsetCreated { requests, .. } => {
            requests.iter_mut().for_each(|request| request.builder = few(request.id));
        }
        EventBody::BuildLeased { build } => build.builder = few(build.request),
        _ => {}
    }
    body
}

fn few(request: RequestId) -> BuilderName {
    format!("builder-{}", request.0 % 2).into()
}

async fn holds(kind: Kind, choices: Vec<(u16, bool)>, ages: (u64, u64, u32), keeps: bool) {
    let (builds, logs, last) = ages;
    let seconds = Duration::from_secs;
    let keep = vec![Matcher::any().with(Field::Scheduler, ["empty"]).unwrap()];
    let rules = Retention {
        builds: seconds(builds),
        logs: seconds(logs),
        changes: seconds(0),
        deliveries: seconds(0),
        messages: seconds(0),
        events: seconds(builds),
        leftovers: seconds(0),
        last,
        keep: if keeps { keep } else { vec![] },
    };
    let (mut world, mut oracle) = (World::new(kind).await, Oracle::default());
    for events in history(choices) {
        let events: Vec<EventBody> = events.into_iter().map(with_few_builders).collect();
        world.happen(events.clone()).await;
        events.iter().for_each(|body| oracle.hear(world.now, body));
    }
    let mut turn = world.turn(vec![]);
    let read = Seq(world.state.head.0 / 2);
    turn.cursors = vec![("announcer".into(), read)];
    world.commit(turn).await.unwrap();

    retire_all(&world, &rules).await;

    let kept = oracle.kept(&world, &rules);
    let there = ids(&world, "SELECT id FROM buildset").await;
    assert_eq!(there, kept.iter().map(|id| id.0).collect(), "buildsets, under {rules:?}");
    let builds: BTreeSet<i64> =
        oracle.builds.iter().filter(|(_, (build, _))| kept.contains(&build.buildset)).map(|(id, _)| id.0).collect();
    assert_eq!(ids(&world, "SELECT id FROM build").await, builds);
    let changes = Oracle::kept_changes(&world, !kept.is_empty());
    assert_eq!(ids(&world, "SELECT id FROM change").await, changes, "changes");
    let oldest = world.store.reader().oldest_event().await.unwrap();
    assert!(oldest.is_some_and(|oldest| oldest <= read.next()), "an event that nobody has read is gone");
    if kind == Kind::Sqlite {
        let dangling = sql("PRAGMA foreign_key_check").fetch_all(world.store.reader().pool()).await.unwrap();
        assert!(dangling.is_empty());
    }

    // Numbers go on where they were, also when the row with the last one is gone, and also after a restart.
    let mut world = world.restart().await;
    let next = (world.state.last.buildset.0 + 1, world.state.last.request.0 + 1);
    world.happen(vec![buildset(next.0, "ci", by_person(), next.1..next.1 + 1)]).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_must_stay_stays_and_all_else_goes(
        choices in prop::collection::vec(any::<(u16, bool)>(), 1..220),
        ages in (0_u64..60, 0_u64..60, 0_u32..4),
        keeps in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            holds(Kind::Sqlite, choices.clone(), ages, keeps).await;
            holds(Kind::Postgres, choices, ages, keeps).await;
        });
    }
}

async fn deliveries_messages_answers_and_configurations_go_when_they_are_old_and_done(kind: Kind) {
    let mut world = World::new(kind).await;
    let (accepted, body) = delivery(1);
    let (unread, unread_body) = delivery(2);
    let queued = |id| EventBody::MessageQueued { message: message(id) };
    let mut turn = world.turn(vec![accepted, unread, queued(1), queued(2)]);
    turn.blobs = vec![body, unread_body];
    turn.answers = vec![answer("ada 1")];
    world.commit(turn).await.unwrap();
    let read = EventBody::DeliveryRead { delivery: DeliveryId(1), result: "nothing".into() };
    let delivered = EventBody::MessageDelivered { message: MessageId(1), receipt: "250".into() };
    world.happen(vec![read, delivered]).await;
    world.now = world.now.after(Duration::from_secs(200 * 86_400));
    let moment = world.turn(vec![]);
    world.commit(moment).await.unwrap();

    retire_all(&world, &Retention::default()).await;
    assert_eq!(ids(&world, "SELECT id FROM delivery").await, [2].into());
    assert_eq!(ids(&world, "SELECT delivery AS id FROM delivery_body").await, [2].into());
    assert_eq!(ids(&world, "SELECT id FROM outbox").await, [2].into());
    assert_eq!(ids(&world, "SELECT COUNT(*) AS id FROM answer").await, [0].into());
}

async fn a_recipe_goes_with_an_event_and_only_if_no_request_refers_to_it(kind: Kind) {
    let mut world = World::new(kind).await;
    world.happen(vec![recipe_recorded()]).await;
    assert_eq!(world.store.reader().idle_recipes(10).await.unwrap(), [recipe().digest()]);
    let ran =
        || EventBody::RetentionRan { deleted: BTreeMap::new(), recipes: vec![recipe().digest()], standings: vec![] };
    world.happen(vec![ran()]).await;
    assert!(world.state.recipes.is_empty());
    world.happen(vec![recipe_recorded(), buildset(1, "ci", by_person(), 1..2)]).await;
    assert!(world.store.reader().idle_recipes(10).await.unwrap().is_empty());
    assert_eq!(world.refused(vec![ran()]).await, "recipe");
}

/// More rows than one call looks at.
const MANY: i64 = limit::ROWS + 100;

async fn a_call_looks_at_a_bounded_piece_however_much_of_it_stays(kind: Kind) {
    let mut world = World::new(kind).await;
    // All of them are due, and unread: they stay.
    let mut turn = world.turn((1..=MANY).map(|id| EventBody::MessageQueued { message: message(id) }).collect());
    for id in 1..=MANY {
        let (accepted, body) = delivery(id);
        turn.events.push(accepted);
        turn.blobs.push(body);
    }
    world.commit(turn).await.unwrap();
    let rules = Retention::default();
    for noun in [Noun::Messages, Noun::DeliveryBodies, Noun::Deliveries] {
        let mut order = Order { noun, after: 0, rules: rules.clone(), now: world.now, in_use: Arc::default() };
        let mut ends = Vec::new();
        while let Retired { next: Some(next), deleted } = world.store.retire(order.clone()).await.unwrap() {
            assert!(deleted.is_empty(), "{deleted:?}");
            ends.push(next);
            order.after = next;
        }
        assert_eq!(ends, [limit::ROWS, MANY], "{noun:?}");
        // Nothing after the first that is young is looked at.
        order = Order { after: 0, now: Timestamp(0), ..order };
        assert_eq!(world.store.retire(order).await.unwrap(), Retired::default());
    }
}

/// Two buildsets of the same builder, each with a build that succeeded.
async fn two_built(world: &mut World) {
    let lease = |build, request| match self::build(build, request, request, 1) {
        EventBody::BuildLeased { mut build } => {
            build.builder = "builder-1".into();
            EventBody::BuildLeased { build }
        }
        other => other,
    };
    let created = |id| match buildset(id, "ci", by_person(), id..id + 1) {
        EventBody::BuildsetCreated { buildset, mut requests, edges } => {
            requests[0].builder = "builder-1".into();
            EventBody::BuildsetCreated { buildset, requests, edges }
        }
        other => other,
    };
    world.happen(vec![recipe_recorded(), EventBody::WorkerJoined { worker: worker(4) }]).await;
    for id in 1..=2 {
        let ended = [finished(id, Outcome::Success, false), completed(id, Outcome::Success)];
        world.happen([vec![created(id), lease(id, id)], ended.to_vec()].concat()).await;
    }
}

async fn what_was_found_beside_the_turns_is_judged_again_inside(kind: Kind) {
    let mut world = World::new(kind).await;
    two_built(&mut world).await;
    world.now = world.now.after(Duration::from_secs(200 * 86_400));
    let rules = Retention { last: 0, ..Retention::default() };
    for noun in [Noun::Logs, Noun::Buildsets] {
        let order = Order { noun, after: 0, rules: rules.clone(), now: world.now, in_use: Arc::default() };
        let found = retire::find(world.store.reader().pool(), &order).await.unwrap().unwrap();
        let free = found.batches.concat();
        assert!(free.contains(&1), "{noun:?}: {free:?}");
        // Between looking and deleting a builder's state comes to be told by build 1.
        world.happen(vec![turned("builder-1", Outcome::Success, 1)]).await;
        let retired = world.store.writer.retire(order, vec![1]).await.unwrap();
        assert_eq!(retired, Retired::default(), "{noun:?}");
        world.happen(vec![turned("builder-1", Outcome::Success, 2)]).await;
    }
}

async fn a_noun_that_cannot_be_deleted_keeps_none_of_the_others(kind: Kind) {
    let mut world = World::new(kind).await;
    let (accepted, body) = delivery(1);
    let mut turn = world.turn(vec![accepted, EventBody::MessageQueued { message: message(1) }]);
    turn.blobs = vec![body];
    turn.answers = vec![answer("ada 1")];
    world.commit(turn).await.unwrap();
    let read = EventBody::DeliveryRead { delivery: DeliveryId(1), result: "nothing".into() };
    world.happen(vec![read]).await;
    let mut connection = world.connect().await;
    connection.script(Text::Same("ALTER TABLE outbox RENAME TO elsewhere")).await.unwrap();
    connection.close().await.unwrap();
    let now = world.now.after(Duration::from_secs(200 * 86_400));
    let ran = retain::rows(&world.store, &Retention::default(), now, Duration::ZERO).await;
    assert!(ran.problems.iter().any(|problem| problem.starts_with("Messages: ")), "{:?}", ran.problems);
    let deleted: Vec<&str> = ran.deleted.keys().map(String::as_str).collect();
    assert_eq!(deleted, ["answers", "deliveries", "delivery bodies"], "{:?}", ran.problems);
    assert!(ran.result().is_err());
}

async fn a_standing_goes_with_its_branch_once_that_was_gone_for_long(kind: Kind) {
    let mut world = World::new(kind).await;
    let seen = |seq, new: Option<u32>, reference: RefName| {
        let mut change = change(seq, 1, None, new);
        change.reference = reference;
        EventBody::ChangeSeen { change }
    };
    let gone = |world: &World, before: i64| {
        let reader = world.store.reader().clone();
        async move { reader.standings_of_gone(Timestamp(before), 10).await.unwrap() }
    };
    let day = 86_400_000_000;
    world.happen(vec![seen(1, Some(1), RefName::of_branch("main")), turned("check", Outcome::Failure, 1)]).await;
    assert_eq!(gone(&world, world.now.0 + day).await, []);
    let EventBody::ChangeSeen { change: mut deleted } = seen(2, None, RefName::of_branch("main")) else { return };
    (deleted.seq, deleted.old, deleted.at) = (2, Some(revision(1)), world.now);
    world.happen(vec![EventBody::ChangeSeen { change: deleted }]).await;
    assert_eq!(gone(&world, world.now.0 - day).await, [], "not long ago");
    let found = gone(&world, world.now.0 + day).await;
    assert_eq!(found, [BuilderOnBranch { builder: "check".into(), branch: "main".into() }]);
    // A tag of the same name is there still.
    world.happen(vec![seen(3, Some(2), RefName("refs/tags/main".into()))]).await;
    assert_eq!(gone(&world, world.now.0 + day).await, []);
    let ran = EventBody::RetentionRan { deleted: BTreeMap::new(), recipes: vec![], standings: found };
    world.happen(vec![ran]).await;
    assert!(world.state.standings.is_empty());
    world.restart().await;
}

on_both! {
    a_call_looks_at_a_bounded_piece_however_much_of_it_stays,
    what_was_found_beside_the_turns_is_judged_again_inside,
    a_noun_that_cannot_be_deleted_keeps_none_of_the_others,
    a_standing_goes_with_its_branch_once_that_was_gone_for_long,
    deliveries_messages_answers_and_configurations_go_when_they_are_old_and_done,
    a_recipe_goes_with_an_event_and_only_if_no_request_refers_to_it,
}
