//! Every kind of event: its rows are written, and the state that is loaded from them is the fold's.

use gristmill_model::*;

use super::fixture::*;
use super::{Kind, on_both};
use crate::store::{Blob, Turn};

async fn with_buildset(kind: Kind, trigger: Trigger, requests: std::ops::Range<i64>) -> World {
    let mut world = World::new(kind).await;
    world.happen(vec![recipe_recorded(), buildset(1, "ci", trigger, requests)]).await;
    world
}

async fn a_push_is_one_turn_from_delivery_to_lease(kind: Kind) {
    let mut world = World::new(kind).await;
    let (accepted, blob) = delivery(1);
    let mut turn = world.turn(vec![
        accepted,
        EventBody::ChangeSeen { change: change(1, 1, None, Some(2)) },
        recipe_recorded(),
        buildset(1, "ci", Trigger::Changes { changes: vec![ChangeId(1)] }, 1..4),
        verdict(1, "ci", VerdictKind::Built { buildset: BuildsetId(1) }),
        verdict(1, "nightly", VerdictKind::Nothing),
        build(1, 1, 1, 1),
    ]);
    turn.blobs = vec![blob];
    world.commit(turn).await.unwrap();

    let body = world.store.reader().delivery_body(DeliveryId(1)).await.unwrap().unwrap();
    assert_eq!((body.headers.as_str(), body.body.as_slice()), ("{\"x\":1}", [0, 159, 146, 150].as_slice()));
    world.happen(vec![EventBody::DeliveryRead { delivery: DeliveryId(1), result: "change 1".into() }]).await;
    world.restart().await;
}

async fn a_delivery_without_its_body_is_refused(kind: Kind) {
    let mut world = World::new(kind).await;
    assert_eq!(world.refused(vec![delivery(1).0]).await, "delivery");
    assert_eq!(world.store.reader().delivery_body(DeliveryId(1)).await.unwrap(), None);
}

async fn a_delivery_that_came_before_is_refused(kind: Kind) {
    let mut world = World::new(kind).await;
    let (accepted, blob) = delivery(1);
    let mut turn = world.turn(vec![accepted.clone()]);
    turn.blobs = vec![blob];
    world.commit(turn.clone()).await.unwrap();
    let EventBody::DeliveryAccepted { mut delivery } = accepted else { unreachable!() };
    delivery.id = DeliveryId(2);
    let again = Turn {
        expected_head: world.state.head,
        events: vec![EventBody::DeliveryAccepted { delivery }],
        blobs: vec![Blob::Delivery { id: DeliveryId(2), headers: "{}".into(), body: vec![] }],
        ..turn
    };
    assert!(world.store.commit(again).await.is_err());
    world.store.verify(&world.state).await.unwrap();
}

async fn one_configuration_is_in_force_and_old_texts_stay(kind: Kind) {
    let mut world = World::new(kind).await;
    for (hash, text) in [("aa", "first"), ("bb", "second"), ("aa", "first")] {
        let mut turn = world.turn(vec![EventBody::CatalogActivated { hash: hash.into() }]);
        turn.blobs = vec![Blob::Catalog { hash: hash.into(), text: text.into() }];
        world.commit(turn).await.unwrap();
    }
    world.happen(vec![EventBody::CatalogRefused { problems: "line 3".into() }]).await;
    assert_eq!(world.store.reader().active_catalog().await.unwrap(), Some("aa".into()));
    assert_eq!(world.store.reader().catalog_text(&"bb".into()).await.unwrap().as_deref(), Some("second"));
    assert_eq!(world.refused(vec![EventBody::CatalogActivated { hash: "cc".into() }]).await, "catalog");
}

async fn repositories_fail_recover_and_are_seen(kind: Kind) {
    let mut world = World::new(kind).await;
    let failing = |failures| EventBody::SourceFailing { repository: "lib".into(), error: "refused".into(), failures };
    world.happen(vec![failing(1)]).await;
    world.happen(vec![failing(2)]).await;
    world.happen(vec![EventBody::RepositorySeen { repository: "lib".into() }]).await;
    world.happen(vec![EventBody::SourceRecovered { repository: "lib".into(), failures: 2 }]).await;
    world.happen(vec![EventBody::RepositorySeen { repository: "app".into() }]).await;
    world.restart().await;
}

async fn a_tip_moves_only_from_where_it_is(kind: Kind) {
    let mut world = World::new(kind).await;
    let recorded = |number| EventBody::TipRecorded {
        repository: "lib".into(),
        reference: RefName::of_branch("main"),
        revision: revision(number),
    };
    let seen = |change| vec![EventBody::ChangeSeen { change }];
    world.happen(vec![recorded(1)]).await;
    assert_eq!(world.refused(vec![recorded(2)]).await, "ref_tip");
    assert_eq!(world.refused(seen(change(1, 1, None, Some(2)))).await, "ref_tip");
    assert_eq!(world.refused(seen(change(1, 1, Some(7), Some(2)))).await, "ref_tip");
    assert_eq!(world.refused(seen(change(1, 2, Some(1), Some(2)))).await, "ref_tip");
    world.happen(seen(change(1, 1, Some(1), Some(2)))).await;
    world.happen(seen(change(2, 2, Some(2), None))).await;
    assert_eq!(world.refused(seen(change(3, 3, Some(2), Some(3)))).await, "ref_tip");
    world.happen(seen(change(3, 3, None, Some(3)))).await;
    world.restart().await;
}

async fn a_verdict_may_replace_a_held_one_and_no_other(kind: Kind) {
    let mut world = World::new(kind).await;
    world.happen(vec![EventBody::ChangeSeen { change: change(1, 1, None, Some(2)) }]).await;
    world.happen(vec![EventBody::ChangeSeen { change: change(2, 2, Some(2), Some(3)) }]).await;
    world.happen(vec![verdict(2, "ci", held(3, Some(50)))]).await;
    world.happen(vec![verdict(1, "ci", held(2, None)), verdict(1, "slow", held(2, Some(90)))]).await;
    world.happen(vec![verdict(1, "ci", held(2, Some(60)))]).await;
    world = world.restart().await;
    world.happen(vec![verdict(1, "ci", VerdictKind::Built { buildset: BuildsetId(1) })]).await;
    for kind in [held(2, None), VerdictKind::Nothing, VerdictKind::Built { buildset: BuildsetId(2) }] {
        assert_eq!(world.refused(vec![verdict(1, "ci", kind)]).await, "verdict");
    }
    world.happen(vec![verdict(2, "ci", VerdictKind::Nothing), verdict(1, "slow", VerdictKind::Nothing)]).await;
    assert!(world.state.held.is_empty());
}

async fn a_held_verdict_may_be_replaced_in_the_turn_that_gives_it(kind: Kind) {
    let mut world = World::new(kind).await;
    let seen = EventBody::ChangeSeen { change: change(1, 1, None, Some(1)) };
    world
        .happen(vec![
            seen,
            verdict(1, "ci", held(1, Some(7))),
            verdict(1, "docs", VerdictKind::Nothing),
            verdict(1, "ci", held(1, None)),
            verdict(1, "nightly", VerdictKind::Nothing),
        ])
        .await;
    let replaced = vec![verdict(1, "ci", VerdictKind::Nothing), verdict(1, "ci", VerdictKind::Nothing)];
    assert_eq!(world.refused(replaced).await, "verdict");
}

async fn a_moment_fires_once(kind: Kind) {
    let mut world = World::new(kind).await;
    let fired = |nominal: Option<i64>, next: Option<i64>| EventBody::TimerFired {
        scheduler: "nightly".into(),
        nominal: nominal.map(Timestamp),
        next: next.map(Timestamp),
        nothing: None,
    };
    world.happen(vec![fired(None, Some(100))]).await;
    world.happen(vec![fired(Some(100), Some(200))]).await;
    assert_eq!(world.refused(vec![fired(Some(100), Some(200))]).await, "timer");
    world.happen(vec![fired(None, Some(250))]).await;
    world.happen(vec![fired(Some(250), None)]).await;
    world.restart().await;
}

async fn a_build_runs_through_steps_and_settles_its_request(kind: Kind) {
    let mut world = with_buildset(kind, by_person(), 1..3).await;
    world.happen(vec![build(1, 1, 1, 1)]).await;
    world.happen(vec![EventBody::BuildStarted { build: BuildId(1) }]).await;
    world.happen(vec![EventBody::StepStarted { build: BuildId(1), step: 0, name: "compile".into() }]).await;
    world
        .happen(vec![
            EventBody::StepFinished {
                build: BuildId(1),
                step: 0,
                outcome: Outcome::Success,
                cause: None,
                summary: "exit code 0".into(),
                warnings: 3,
            },
            EventBody::StepStarted { build: BuildId(1), step: 1, name: "test".into() },
        ])
        .await;
    world = world.restart().await;
    world.happen(vec![EventBody::BuildCancelAsked { build: BuildId(1), by: "ada".into() }]).await;
    world.happen(vec![finished(1, Outcome::Cancelled, false)]).await;
    let skipped = EventBody::RequestSettled {
        request: RequestId(2),
        outcome: Outcome::Skipped,
        cause: Cause::Dependency,
        reason: "node-1 was cancelled".into(),
    };
    assert_eq!(world.refused(vec![completed(1, Outcome::Cancelled)]).await, "buildset");
    world.happen(vec![skipped.clone()]).await;
    assert_eq!(world.refused(vec![skipped]).await, "request");
    world.happen(vec![completed(1, Outcome::Cancelled)]).await;
    assert_eq!(world.refused(vec![completed(1, Outcome::Cancelled)]).await, "buildset");
    assert!(world.state.requests.is_empty() && world.state.needs.is_empty());
    world.restart().await;
}

async fn what_comes_out_of_a_step_is_kept_once_and_shown_in_order(kind: Kind) {
    let mut world = with_buildset(kind, by_person(), 1..2).await;
    let id = BuildId(1);
    world.happen(vec![build(1, 1, 1, 1), EventBody::BuildStarted { build: id }]).await;
    world.happen(vec![EventBody::StepStarted { build: id, step: 0, name: "test".into() }]).await;
    let test = |name: &str, outcome| TestCase {
        suite: "core".into(),
        name: name.into(),
        outcome,
        micros: 1_500,
        message: "1 \u{2260} 2 \"quoted\"\n".into(),
    };
    let tests = vec![test("passes", TestOutcome::Passed), test("fails", TestOutcome::Failed)];
    let outputs = [("version".to_owned(), "1.2".to_owned()), ("empty".to_owned(), String::new())].into();
    let digest = Digest::of(b"hello");
    let artifact = Artifact {
        build: id,
        step: 0,
        path: "dist/a b.txt".into(),
        bytes: 5,
        digest: digest.clone(),
        at: Timestamp(7),
    };
    let said = vec![
        EventBody::StepOutputs { build: id, step: 0, outputs },
        EventBody::StepTested { build: id, step: 0, first: 0, tests },
        EventBody::ArtifactStored { artifact },
    ];
    world.happen(said.clone()).await;
    // A worker says again what it does not know was heard.
    world.happen(said).await;
    world = world.restart().await;
    let reader = world.store.reader();
    let outputs: Vec<(String, String)> =
        reader.outputs_of_build(id).await.unwrap().into_iter().map(|row| (row.name, row.value)).collect();
    assert_eq!(outputs, [("empty".to_owned(), String::new()), ("version".to_owned(), "1.2".to_owned())]);
    let tests = reader.tests_of_build(id, 0, 10).await.unwrap();
    let names: Vec<(u32, &str, &str)> =
        tests.iter().map(|row| (row.number, row.name.as_str(), row.outcome.as_str())).collect();
    assert_eq!(names, [(1, "fails", "failed"), (0, "passes", "passed")], "what failed comes first");
    assert_eq!(tests[0].message, "1 \u{2260} 2 \"quoted\"\n");
    assert_eq!(reader.count_tests(id).await.unwrap().total(), 2);
    let artifacts = reader.artifacts_of_build(id).await.unwrap();
    assert_eq!((artifacts.len(), artifacts[0].bytes, artifacts[0].at), (1, 5, Timestamp(7)));
    let known = reader.known_artifacts(&[digest.clone(), Digest::of(b"other")]).await.unwrap();
    assert_eq!(known, [digest]);
    let unknown = EventBody::StepOutputs { build: id, step: 9, outputs: [("a".to_owned(), "b".to_owned())].into() };
    assert_eq!(world.refused(vec![unknown]).await, "output");
}

async fn a_request_has_one_live_lease_and_ever_newer_epochs(kind: Kind) {
    let mut world = with_buildset(kind, by_person(), 1..3).await;
    assert_eq!(world.refused(vec![build(1, 2, 1, 1)]).await, "request");
    world.happen(vec![build(1, 1, 1, 1)]).await;
    assert_eq!(world.refused(vec![build(2, 1, 1, 2)]).await, "request");
    world.happen(vec![finished(1, Outcome::Retry, true)]).await;
    assert_eq!(world.refused(vec![build(2, 1, 1, 1)]).await, "request");
    world.happen(vec![build(2, 1, 1, 2)]).await;
    world.happen(vec![finished(2, Outcome::Success, false)]).await;
    for late in [build(3, 1, 1, 3), EventBody::RequestReleased { request: RequestId(1) }] {
        assert_eq!(world.refused(vec![late]).await, "request");
    }
    for late in [
        finished(2, Outcome::Failure, false),
        EventBody::BuildStarted { build: BuildId(2) },
        EventBody::BuildCancelAsked { build: BuildId(2), by: "ada".into() },
        resumed(2),
    ] {
        assert_eq!(world.refused(vec![late]).await, "build");
    }
    world.happen(vec![EventBody::RequestReleased { request: RequestId(2) }]).await;
    world.happen(vec![build(3, 2, 1, 1)]).await;
    world.restart().await;
}

async fn the_tables_themselves_refuse_a_second_live_lease(kind: Kind) {
    let world = with_buildset(kind, by_person(), 1..2).await;
    let mut connection = world.connect().await;
    let insert = |id: i64, attempt: i64| {
        crate::store::database::sql(
            "INSERT INTO build (id, request, buildset, builder, branch, attempt, epoch, worker, state, leased_at)
             VALUES ($1, 1, 1, 'b', 'main', $2, $2, 'w', 'running', 0)",
        )
        .bind(id)
        .bind(attempt)
    };
    insert(1, 1).execute(&mut connection).await.unwrap();
    let error = insert(2, 2).execute(&mut connection).await.unwrap_err();
    let rule = crate::store::database::broken_rule(&error).unwrap();
    match kind {
        Kind::Sqlite => assert_eq!(rule, "UNIQUE constraint failed: build.request"),
        Kind::Postgres => assert!(rule.contains("build_one_lease"), "{rule}"),
    }
}

async fn a_trigger_step_suspends_its_build_until_its_buildset_completes(kind: Kind) {
    let mut world = with_buildset(kind, by_person(), 1..2).await;
    let step = |step| EventBody::StepStarted { build: BuildId(1), step, name: format!("step {step}") };
    let by_step = Trigger::Step { build: BuildId(1), step: 1, wait: true };
    let triggered = |step, buildset, wait| EventBody::StepTriggered {
        build: BuildId(1),
        step,
        buildset: BuildsetId(buildset),
        wait,
    };
    world.happen(vec![build(1, 1, 1, 1), EventBody::BuildStarted { build: BuildId(1) }, step(0), step(1)]).await;
    world.happen(vec![buildset(2, "sub", by_person(), 2..3), triggered(0, 2, false)]).await;
    world.happen(vec![buildset(3, "sub", by_step.clone(), 3..4), triggered(1, 3, true)]).await;
    world = world.restart().await;
    assert_eq!(world.refused(vec![buildset(4, "sub", by_step, 4..5)]).await, "buildset");
    world.happen(vec![build(2, 3, 3, 1), finished(2, Outcome::Success, false)]).await;
    world.happen(vec![completed(3, Outcome::Success), EventBody::BuildResumable { build: BuildId(1) }]).await;
    world = world.restart().await;
    world.happen(vec![resumed(1)]).await;
    world.happen(vec![finished(1, Outcome::Success, false)]).await;
    world.restart().await;
}

async fn upstreams_are_noted_the_newest_counts_and_all_are_used_up(kind: Kind) {
    let mut world = with_buildset(kind, by_person(), 1..2).await;
    world.happen(vec![buildset(2, "ci", by_person(), 2..3), buildset(3, "docs", by_person(), 3..4)]).await;
    let noted = |upstream: &str, buildset, meets| EventBody::UpstreamNoted {
        scheduler: "deploy".into(),
        upstream: upstream.into(),
        buildset: BuildsetId(buildset),
        outcome: if meets { Outcome::Success } else { Outcome::Failure },
        meets,
        branch: "main".into(),
        stamps: stamps(),
        depth: 2,
        result: "waits for docs".into(),
    };
    world.happen(vec![noted("ci", 2, true)]).await;
    world.happen(vec![noted("ci", 1, false)]).await;
    assert_eq!(world.refused(vec![noted("ci", 1, true)]).await, "upstream");
    world.happen(vec![noted("docs", 3, true)]).await;
    world = world.restart().await;
    let trigger = Trigger::Upstream { buildsets: vec![BuildsetId(1), BuildsetId(3)] };
    world.happen(vec![buildset(4, "deploy", trigger.clone(), 4..5)]).await;
    assert_eq!(world.refused(vec![buildset(5, "deploy", trigger, 5..6)]).await, "buildset");
    assert!(world.state.upstreams.is_empty());
}

async fn an_incident_grows_eases_and_closes(kind: Kind) {
    let mut world = World::new(kind).await;
    let opened = EventBody::IncidentOpened {
        incident: IncidentId(1),
        branch: "main".into(),
        builder: "linux".into(),
        build: BuildId(2),
        suspects: suspects(1, 3),
    };
    let joined = |builder: &str, build| EventBody::IncidentJoined {
        incident: IncidentId(1),
        builder: builder.into(),
        build: BuildId(build),
        suspects: suspects(2, 3),
    };
    let eased = |builder: &str, build| EventBody::IncidentEased {
        incident: IncidentId(1),
        builder: builder.into(),
        build: BuildId(build),
    };
    world.happen(vec![turned("linux", Outcome::Success, 1)]).await;
    world.happen(vec![turned("linux", Outcome::Failure, 2), opened]).await;
    world.happen(vec![turned("mac", Outcome::Failure, 3), joined("mac", 3)]).await;
    world.happen(vec![turned("mac", Outcome::Success, 4), eased("mac", 4)]).await;
    world.happen(vec![turned("mac", Outcome::Failure, 5), joined("mac", 5)]).await;
    world = world.restart().await;
    world.happen(vec![turned("mac", Outcome::Success, 6), eased("mac", 6)]).await;
    let closed = EventBody::IncidentClosed { incident: IncidentId(1), build: BuildId(7) };
    world.happen(vec![turned("linux", Outcome::Warnings, 7), eased("linux", 7), closed.clone()]).await;
    assert_eq!(world.refused(vec![closed]).await, "incident");
    assert!(world.state.incidents.is_empty());
    world.restart().await;
}

async fn a_message_is_due_until_it_is_delivered_or_dead(kind: Kind) {
    let mut world = World::new(kind).await;
    let queued = |id| EventBody::MessageQueued { message: message(id) };
    world.happen(vec![queued(1), queued(2)]).await;
    assert_eq!(world.refused(vec![queued(2)]).await, "outbox");
    let deferred = EventBody::MessageDeferred {
        message: MessageId(1),
        attempts: 1,
        error: "451 greylisted".into(),
        due: Timestamp(500),
    };
    world.happen(vec![deferred.clone()]).await;
    let mail = "mail".into();
    let reader = world.store.reader().clone();
    let due = async |now| -> Vec<(i64, u32)> {
        let due = reader.due_messages(&mail, Timestamp(now), 10).await.unwrap();
        due.iter().map(|due| (due.message.id.0, due.attempts)).collect()
    };
    assert_eq!(due(19).await, []);
    assert_eq!(due(20).await, [(2, 0)]);
    assert_eq!(due(500).await, [(2, 0), (1, 1)]);
    // Of each target only the oldest is given, so that a target with many hides no other.
    let another = Message { target: message(1).target, ..message(3) };
    world.happen(vec![EventBody::MessageQueued { message: another }]).await;
    assert_eq!(due(20).await, [(2, 0), (3, 0)]);
    assert_eq!(due(500).await, [(2, 0), (1, 1)]);
    world.happen(vec![EventBody::MessageDead { message: MessageId(3), error: "550 unknown".into() }]).await;
    assert_eq!(reader.due_messages(&"irc".into(), Timestamp(500), 10).await.unwrap(), []);
    assert_eq!(reader.next_due(&mail).await.unwrap(), Some(Timestamp(20)));
    let delivered = EventBody::MessageDelivered { message: MessageId(1), receipt: "250 ok".into() };
    world.happen(vec![delivered.clone()]).await;
    world.happen(vec![EventBody::MessageDead { message: MessageId(2), error: "550 unknown".into() }]).await;
    for late in [delivered, deferred] {
        assert_eq!(world.refused(vec![late]).await, "outbox");
    }
    assert_eq!(reader.next_due(&mail).await.unwrap(), None);
    world.restart().await;
}

async fn workers_join_leave_and_join_again(kind: Kind) {
    let mut world = World::new(kind).await;
    let left = |name: &str| EventBody::WorkerLeft { worker: name.into(), why: "silent".into() };
    world.happen(vec![EventBody::WorkerJoined { worker: worker(2) }]).await;
    world.happen(vec![left("water")]).await;
    assert_eq!(world.refused(vec![left("wind")]).await, "worker");
    world = world.restart().await;
    world.happen(vec![EventBody::WorkerJoined { worker: worker(4) }]).await;
    let refused =
        EventBody::ReportRefused { worker: "water".into(), build: BuildId(9), epoch: 1, why: "an older epoch".into() };
    world.happen(vec![refused]).await;
    world.restart().await;
}

async fn workers_are_held_freed_and_forgotten(kind: Kind) {
    let mut world = World::new(kind).await;
    let held = |kind, reason: &str| EventBody::WorkerHeld {
        worker: "water".into(),
        kind,
        hold: Hold { by: "ada".into(), reason: Some(reason.into()), at: Timestamp(4), until: Some(Timestamp(9)) },
    };
    let freed = |kind| EventBody::WorkerFreed { worker: "water".into(), kind, by: "ada".into() };
    let forgotten = EventBody::WorkerForgotten { worker: "water".into(), by: "ada".into() };
    assert_eq!(world.refused(vec![held(HoldKind::Pause, "noise")]).await, "worker");
    let joined = Worker { token: Some("3f2a9c01".into()), key: Some("ab".into()), ..worker(2) };
    world.happen(vec![EventBody::WorkerJoined { worker: joined }]).await;
    world.happen(vec![held(HoldKind::Pause, "noise"), held(HoldKind::Drain, "a new disk")]).await;
    world = world.restart().await;
    world.happen(vec![held(HoldKind::Pause, "more noise"), freed(HoldKind::Drain)]).await;
    world.happen(vec![forgotten.clone()]).await;
    assert_eq!(world.refused(vec![forgotten]).await, "worker");
    world.restart().await;
}

async fn a_token_is_made_once_and_revoked_once(kind: Kind) {
    let mut world = World::new(kind).await;
    let token = Token {
        id: "3f2a9c01".into(),
        admits: Admits::Pool { pool: "linux".into(), max: 50 },
        sha256: Digest::of(b"secret").0,
        owner: Some("ada".into()),
        made_at: Timestamp(3),
        made_by: "ada".into(),
        expires_at: Some(Timestamp(90)),
        revoked: None,
    };
    let made = EventBody::TokenMade { token };
    let revoked = EventBody::TokenRevoked { token: "3f2a9c01".into(), by: "bob".into() };
    assert_eq!(world.refused(vec![revoked.clone()]).await, "token");
    world.happen(vec![made.clone()]).await;
    world = world.restart().await;
    world.happen(vec![revoked.clone()]).await;
    assert_eq!(world.refused(vec![revoked]).await, "token");
    let dropped = EventBody::TokenDropped { token: "3f2a9c01".into() };
    world.happen(vec![dropped.clone()]).await;
    assert_eq!(world.refused(vec![dropped]).await, "token");
    world.restart().await;
}

async fn a_finding_is_a_row_while_it_lasts(kind: Kind) {
    let mut world = World::new(kind).await;
    let found = |detail: &str| EventBody::DoctorFound { check: "disk-space".into(), detail: detail.into() };
    let cleared = EventBody::DoctorCleared { check: "disk-space".into() };
    assert_eq!(world.refused(vec![cleared.clone()]).await, "finding");
    world.happen(vec![found("3 MiB are free")]).await;
    let since = world.now;
    assert_eq!(world.refused(vec![found("2 MiB are free")]).await, "finding");
    let findings = world.store.reader().findings().await.unwrap();
    assert_eq!((findings[0].check.as_str(), findings[0].at), ("disk-space", since));
    world = world.restart().await;
    world.happen(vec![cleared, found("1 MiB is free")]).await;
    world.restart().await;
}

on_both! {
    a_push_is_one_turn_from_delivery_to_lease,
    a_delivery_without_its_body_is_refused,
    a_delivery_that_came_before_is_refused,
    one_configuration_is_in_force_and_old_texts_stay,
    repositories_fail_recover_and_are_seen,
    a_tip_moves_only_from_where_it_is,
    a_verdict_may_replace_a_held_one_and_no_other,
    a_held_verdict_may_be_replaced_in_the_turn_that_gives_it,
    a_moment_fires_once,
    a_build_runs_through_steps_and_settles_its_request,
    what_comes_out_of_a_step_is_kept_once_and_shown_in_order,
    a_request_has_one_live_lease_and_ever_newer_epochs,
    the_tables_themselves_refuse_a_second_live_lease,
    a_trigger_step_suspends_its_build_until_its_buildset_completes,
    upstreams_are_noted_the_newest_counts_and_all_are_used_up,
    an_incident_grows_eases_and_closes,
    a_message_is_due_until_it_is_delivered_or_dead,
    workers_join_leave_and_join_again,
    workers_are_held_freed_and_forgotten,
    a_token_is_made_once_and_revoked_once,
    a_finding_is_a_row_while_it_lasts,
}
