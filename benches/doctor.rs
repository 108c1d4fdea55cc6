//! How long it takes to look at everything: `cargo bench --bench doctor`, with `PUSHES=…` for another size.
//!
//! The history is made through the store, turn by turn, as the engine would write it: each push is a delivery, a change,
//! three verdicts, and a buildset of three builds one after the other.

use std::time::Instant;

use gristmill::store::inspect::{CHECKS, Looked};
use gristmill::store::{Blob, Store, Turn};
use gristmill_model::*;

/// Pushes, unless said otherwise: a quarter of a million events.
const PUSHES: i64 = 7_200;
/// Pushes that share a turn, so that making them does not take longer than looking at them.
const PUSHES_PER_TURN: i64 = 20;
/// Builds of a buildset.
const BUILDS: i64 = 3;
/// Microseconds.
const SECOND: i64 = 1_000_000;

fn main() {
    let pushes = std::env::var("PUSHES").ok().and_then(|pushes| pushes.parse().ok()).unwrap_or(PUSHES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(run(pushes)).expect("the bench runs");
}

async fn run(pushes: i64) -> anyhow::Result<()> {
    // Beside the build's output, not in /tmp, which is often no disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::open(folder.path()).await?;
    let making = Instant::now();
    let head = make(&store, pushes).await?;
    let bytes = std::fs::metadata(folder.path().join("gristmill.db"))?.len();
    println!("{pushes} pushes, {head} events, {} MiB, made in {:.1?}", bytes >> 20, making.elapsed());
    let mut inspector = store.inspector().await?;
    let mut usual = 0.0;
    for check in CHECKS.iter() {
        let begun = Instant::now();
        let looked = inspector.look(check).await?;
        let took = begun.elapsed().as_secs_f64();
        usual += if check.is_deep { 0.0 } else { took };
        anyhow::ensure!(looked == Looked::SOUND, "{}: {looked:?}", check.id);
        println!("{:<20} {:>9.1} ms{}", check.id, took * 1e3, if check.is_deep { "  (deep)" } else { "" });
    }
    println!("{:<20} {:>9.1} ms", "all but the deep", usual * 1e3);
    inspector.close().await;
    store.close().await;
    Ok(())
}

async fn make(store: &Store, pushes: i64) -> anyhow::Result<Seq> {
    let recipe = Recipe {
        sources: Default::default(),
        requires: Default::default(),
        environment: Default::default(),
        matrix: Default::default(),
        steps: vec![],
        retries_max: 0,
        ..Recipe::default()
    };
    let begin = vec![
        EventBody::CatalogActivated { hash: "c0ffee".into() },
        EventBody::RecipeRecorded { digest: recipe.digest(), recipe: recipe.clone() },
    ];
    let text = Blob::Catalog { hash: "c0ffee".into(), text: "builders: {}".to_owned() };
    let mut head = store.commit(Turn { events: begin, blobs: vec![text], ..Turn::default() }).await?;
    let mut number = 0;
    while number < pushes {
        let at = Timestamp((number + 1) * SECOND);
        let mut turn = Turn { expected_head: head, at, ..Turn::default() };
        for _ in 0..PUSHES_PER_TURN.min(pushes - number) {
            number += 1;
            push(&mut turn, number, &recipe);
        }
        head = store.commit(turn).await?;
    }
    Ok(head)
}

/// One push from its delivery to the end of its buildset.
fn push(turn: &mut Turn, number: i64, recipe: &Recipe) {
    let (delivery, change) = (delivery(number, turn.at), change(number, turn.at));
    let blob = Blob::Delivery { id: delivery.id, headers: "{}".to_owned(), body: vec![b'x'; 600] };
    turn.blobs.push(blob);
    turn.events.push(EventBody::DeliveryAccepted { delivery });
    turn.events.push(EventBody::ChangeSeen { change });
    turn.events.push(buildset(number, recipe, turn.at));
    let built = VerdictKind::Built { buildset: BuildsetId(number) };
    for (scheduler, kind) in [("ci", built), ("docs", VerdictKind::Nothing), ("nightly", VerdictKind::Nothing)] {
        let verdict = Verdict {
            change: ChangeId(number),
            scheduler: scheduler.into(),
            kind,
            reasons: vec![Reason::Matches],
            place: Place { file: "gristmill.yaml".to_owned(), line: 12 },
            at: turn.at,
        };
        turn.events.push(EventBody::VerdictGiven { verdict });
    }
    let result = format!("change {number}");
    turn.events.push(EventBody::DeliveryRead { delivery: DeliveryId(number), result });
    for offset in 0..BUILDS {
        build(turn, number, offset);
    }
    turn.events.push(EventBody::BuildsetCompleted { buildset: BuildsetId(number), outcome: Outcome::Success });
}

fn request_id(number: i64, offset: i64) -> RequestId {
    RequestId((number - 1) * BUILDS + offset + 1)
}

/// One build from its lease to its end, and what that means for its builder.
fn build(turn: &mut Turn, number: i64, offset: i64) {
    let request = request_id(number, offset);
    let id = BuildId(request.0);
    if offset > 0 {
        turn.events.push(EventBody::RequestReleased { request });
    }
    let leased = Build {
        id,
        request,
        buildset: BuildsetId(number),
        builder: format!("builder-{offset}").into(),
        attempt: 1,
        epoch: 1,
        worker: "water".into(),
        state: BuildState::Leased,
        cancel: None,
        suspended_step: None,
        outcome: None,
        cause: None,
        summary: None,
        leased_at: turn.at,
        started_at: None,
        finished_at: None,
    };
    turn.events.push(EventBody::BuildLeased { build: leased });
    turn.events.push(EventBody::BuildStarted { build: id });
    for (step, name) in (0..).zip(["checkout", "make"]) {
        turn.events.push(EventBody::StepStarted { build: id, step, name: name.to_owned() });
        let (outcome, summary) = (Outcome::Success, "exit code 0".to_owned());
        turn.events.push(EventBody::StepFinished { build: id, step, outcome, cause: None, summary, warnings: 0 });
    }
    let (outcome, summary) = (Outcome::Success, "2 steps".to_owned());
    turn.events.push(EventBody::BuildFinished { build: id, outcome, cause: None, summary, retry: false });
    turn.events.push(EventBody::BuilderTurned {
        builder: format!("builder-{offset}").into(),
        branch: "main".to_owned(),
        transition: Transition::Passing,
        outcome,
        cause: None,
        build: id,
        contains: [("lib".into(), ChangeId(number))].into(),
    });
}

fn revision(number: i64) -> Revision {
    Revision(format!("{number:040x}"))
}

fn delivery(number: i64, at: Timestamp) -> Delivery {
    let (key, sha256) = (format!("guid-{number}"), "00".repeat(32));
    Delivery { id: DeliveryId(number), repository: "lib".into(), key, event: "push".to_owned(), sha256, at }
}

fn change(number: i64, at: Timestamp) -> Change {
    let commit = Commit {
        revision: revision(number),
        author: Person { name: "Ada".to_owned(), email: "ada@example.org".to_owned() },
        message: "wheel: turn faster".to_owned(),
        files: (0..5).map(|file| format!("src/wheel/part_{file}.rs")).collect(),
        at,
    };
    Change {
        id: ChangeId(number),
        repository: "lib".into(),
        reference: RefName::of_branch("main"),
        seq: number,
        old: (number > 1).then(|| revision(number - 1)),
        new: Some(revision(number)),
        movement: Movement::Moved,
        commits: vec![commit],
        incomplete: false,
        via: Via::Webhook,
        at,
    }
}

/// A buildset whose requests need each other in a row.
fn buildset(number: i64, recipe: &Recipe, at: Timestamp) -> EventBody {
    let stamp = SourceStamp {
        repository: "lib".into(),
        branch: "main".to_owned(),
        revision: revision(number),
        change: Some(ChangeId(number)),
    };
    let buildset = Buildset {
        id: BuildsetId(number),
        scheduler: "ci".into(),
        project: None,
        trigger: Trigger::Changes { changes: vec![ChangeId(number)] },
        stamps: [("lib".into(), stamp)].into(),
        branch: "main".to_owned(),
        properties: Default::default(),
        priority: 0,
        depth: 0,
        catalog: "c0ffee".into(),
        created_at: at,
        outcome: None,
        completed_at: None,
    };
    let request = |offset: i64| Request {
        id: request_id(number, offset),
        buildset: buildset.id,
        node: format!("node-{offset}").into(),
        builder: format!("builder-{offset}").into(),
        recipe: recipe.digest(),
        digest: Digest("00".repeat(32)),
        mode: NeedMode::All,
        state: if offset == 0 { RequestState::Ready } else { RequestState::Waiting },
        attempts: 0,
        epoch: 0,
        outcome: None,
        cause: None,
        created_at: at,
        settled_at: None,
    };
    let requests: Vec<Request> = (0..BUILDS).map(request).collect();
    let edge = |pair: &[Request]| Edge { request: pair[1].id, needs: pair[0].id, on: Condition::Success };
    let edges = requests.windows(2).map(edge).collect();
    EventBody::BuildsetCreated { buildset, requests, edges }
}
