//! Workers on other machines: let in by tokens, given commands until they have them, held to their leases.

use std::time::Duration;

use gristmill_model::BuildId;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::worker::{Agent, Order, orders_of, unknown_token};
use crate::support::{World, soon};

const CONFIG: &str = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check: {source: app, steps: [{run: 'true', name: act}]}
schedulers: {again: {kind: force, build: [check]}}
";

async fn world() -> World {
    World::start_without_worker(CONFIG, &["app"]).await.0
}

fn started() -> serde_json::Value {
    json!({"report": "started"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_joins_by_its_token_and_runs_a_build() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    let workers = world.get("/api/v1/workers").await;
    assert_eq!((&workers["items"][0]["name"], &workers["items"][0]["connected"]), (&json!("arm"), &json!(true)));
    world.force().await;
    let order = agent.order().await;
    agent.run(order, b"hello\n").await;
    world.settle().await;
    assert_eq!(world.builds().await, ["check success"]);
    assert_eq!(world.log(BuildId(order.build), 0).await, "hello\n");
    assert_eq!(agent.beat().await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_hears_why_and_what_mends_it() {
    let world = world().await;
    let good = world.token(json!({"worker": "arm"})).await;
    let pool = world.token(json!({"pool": "big", "max": 1})).await;
    let short = world.token(json!({"worker": "brief", "expires_in_seconds": 1})).await;
    let mut mistyped = good.clone();
    mistyped.replace_range(20..21, if &good[20..21] == "x" { "y" } else { "x" });
    let mut wrong_secret = unknown_token();
    wrong_secret.replace_range(4..12, &good[4..12]);
    for (token, error) in [
        ("", "no-credential"),
        ("secret", "token-malformed"),
        (mistyped.as_str(), "token-malformed"),
        (wrong_secret.as_str(), "token-malformed"),
        (unknown_token().as_str(), "token-unknown"),
    ] {
        let (status, answer) = Agent::new(&world.address(), token, "r").hello(&[]).await;
        assert_eq!((status, answer["error"].as_str()), (401, Some(error)), "{answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty());
    }
    let (status, answer) = Agent::new(&world.address(), &pool, "r").hello(&[]).await;
    assert_eq!((status, &answer["error"]), (403, &json!("not-proven")));
    let expired = async {
        loop {
            let (status, answer) = Agent::new(&world.address(), &short, "r").hello(&[]).await;
            if status == 401 {
                return answer;
            }
        }
    };
    assert_eq!(soon("the token's end", expired).await["error"], "expired");
    let mut old = Agent::new(&world.address(), &good, "r");
    let mut greeting = old.greeting(&[]);
    greeting["versions"] = json!({"oldest": 7, "newest": 9});
    let (status, answer) = old.say_hello(greeting, "n", 0).await;
    assert_eq!((status, &answer["versions"]), (426, &json!({"oldest": 1, "newest": 1})));
    // A session is no token, a token no session, and nothing is done without either.
    let (status, answer) = old.beat().await;
    assert_eq!((status, &answer["error"]), (401, &json!("no-credential")));
    old.session = good.clone();
    assert_eq!(old.beat().await.1["error"], "hello");
    let workers = world.get("/api/v1/workers").await;
    assert!(workers["items"].as_array().unwrap().iter().all(|worker| worker["name"] == "brief"), "{workers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_locks_out_at_once_also_in_the_middle_of_a_build() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    world.force().await;
    let order = agent.order().await;
    agent.tell(order, 1, started()).await;
    world.revoke(&agent.token).await;
    for (status, answer) in [
        agent.beat().await,
        agent.poll().await,
        agent.report(order, 2, json!({"report": "step-started", "step": 0})).await,
        agent.hello(&[order]).await,
    ] {
        assert_eq!((status, &answer["error"]), (401, &json!("revoked")), "{answer}");
    }
    // Its build is lost once its window is over, and another worker has it.
    let mut other = world.worker("other").await;
    world.silence.advance(Duration::from_secs(301));
    let again = other.order().await;
    assert!(again.epoch > order.epoch || again.build != order.build);
    other.run(again, b"").await;
    world.settle().await;
    assert_eq!(world.builds().await, ["check retry", "check success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_admits_whoever_has_a_key_up_to_its_size() {
    let world = world().await;
    let token = world.token(json!({"pool": "big", "max": 2})).await;
    let mut agents: Vec<Agent> =
        (1..=3).map(|seed| Agent::new(&world.address(), &token, &format!("r{seed}")).with_key(seed)).collect();
    for agent in &mut agents[..2] {
        let (status, answer) = agent.hello(&[]).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["worker"], format!("big-{}", &agent.key()[..8]));
    }
    let (status, answer) = agents[2].hello(&[]).await;
    assert_eq!((status, &answer["error"]), (403, &json!("not-admitted")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("full"), "{answer}");
    // The very same hello is taken once.
    let greeting = agents[0].greeting(&[]);
    let again = agents[0].say_hello(greeting, "r1-1", -5).await;
    assert_eq!((again.0, &again.1["error"]), (403, &json!("not-proven")));
    assert_eq!(agents[0].beat().await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_identity_the_second_waits_until_the_first_is_late() {
    let world = world().await;
    let mut first = world.worker("arm").await;
    let mut second = Agent::new(&world.address(), &first.token, "other-run");
    let (status, answer) = second.hello(&[]).await;
    assert_eq!((status, &answer["error"]), (409, &json!("duplicate")), "{answer}");
    assert_eq!(first.beat().await.0, 204, "the first one is not disturbed");
    first.join().await;
    world.silence.advance(Duration::from_secs(26));
    second.join().await;
    let (status, answer) = first.beat().await;
    assert_eq!((status, &answer["error"]), (401, &json!("superseded")), "{answer}");
    assert_eq!(second.beat().await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_given_until_it_is_acknowledged() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    world.force().await;
    // The answer is lost on its way, twice.
    for _ in 0..2 {
        let (_, answer) = agent.post("poll", &json!({"ack": 0})).await;
        assert_eq!(orders_of(&answer).len(), 1);
    }
    let order = agent.order().await;
    // What it has now is not given again; a cancel is, until it is acknowledged.
    let cancel = world.http().post(world.url(&format!("/api/v1/builds/{}/cancel", order.build))).json(&json!({}));
    assert_eq!(world.ask(cancel).await.0.as_u16(), 200);
    for _ in 0..2 {
        let (_, answer) = agent.post("poll", &json!({"ack": agent.ack})).await;
        assert_eq!(answer["commands"][0]["command"], "cancel", "{answer}");
    }
    // After a hello it is all said again, for whoever forgot it.
    agent.hello(&[order]).await;
    let (_, answer) = agent.poll().await;
    let commands: Vec<_> = answer["commands"].as_array().unwrap().iter().map(|one| one["command"].clone()).collect();
    assert_eq!(commands, ["start", "cancel"]);
    // A number that never was given out acknowledges nothing.
    let (_, answer) = agent.post("poll", &json!({"ack": 1_000_000})).await;
    assert_eq!(answer["commands"].as_array().unwrap().len(), 2);
    let (status, answer) = agent.post("poll", &json!({})).await;
    assert_eq!((status, &answer["error"]), (400, &json!("bad-request")), "{answer}");
    let end = json!({"report": "finished", "outcome": "cancelled", "cause": "person", "summary": "over"});
    agent.tell(order, 1, end).await;
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lies_changes_nothing() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    let mut other = world.worker("other").await;
    world.force().await;
    let order = tokio::select! { order = agent.order() => order, _ = other.order() => panic!("arm comes first") };
    agent.tell(order, 1, started()).await;
    let later = Order { epoch: order.epoch + 1, ..order };
    let nothing = Order { build: 999, epoch: 1 };
    for (liar, lie) in [(&other, order), (&agent, later), (&agent, nothing)] {
        let end = json!({"report": "finished", "outcome": "success", "cause": null, "summary": "all good"});
        let (status, answer) = liar.report(lie, 1, end).await;
        let fenced = json!({"build": lie.build, "epoch": lie.epoch});
        assert_eq!((status, &answer["fenced"]), (410, &fenced), "{answer}");
        assert_eq!(liar.append(lie, 0, 0, b"x").await.0, 410);
    }
    // A step that is not there, numbers that are none, too many reports.
    assert_eq!(agent.append(order, 7, 0, b"x").await.0, 400);
    assert_eq!(agent.post("logs/1/2/../../x", &json!({})).await.0, 404);
    assert_eq!(agent.post(&format!("logs/{}/-1/0?offset=0&length=1", order.build), &json!({})).await.0, 410);
    assert_eq!(agent.post("logs/1/1/4294967296?offset=0&length=1", &json!({})).await.0, 400);
    let report = json!({"build": order.build, "epoch": order.epoch, "seq": 1, "body": started()});
    assert_eq!(agent.post("reports", &json!({"reports": vec![report; 257]})).await.0, 400);
    // Sizes: a bomb, a frame that is another length, more than one frame, one that is none.
    let bomb = zstd::bulk::compress(&vec![0; 100_000_000], 1).unwrap();
    for (length, frame) in [
        (65_536, bomb.clone()),
        (100_000_000, bomb),
        (3, zstd::bulk::compress(b"four", 1).unwrap()),
        (4, [zstd::bulk::compress(b"ab", 1).unwrap(), zstd::bulk::compress(b"cd", 1).unwrap()].concat()),
        (4, b"four".to_vec()),
    ] {
        let (status, answer) = agent.append_frame(order, 0, (0, length), frame).await;
        assert_eq!((status, &answer["error"]), (400, &json!("bad-request")), "{answer}");
    }
    // Offsets: a gap, and other bytes at a place that has some.
    assert_eq!(agent.append(order, 0, 5, b"x").await.1["length"], 0);
    assert_eq!(agent.append(order, 0, 0, b"abc").await, (200, json!({"length": 3})));
    assert_eq!(agent.append(order, 0, 0, b"abc").await, (200, json!({"length": 3})), "said again");
    assert_eq!(agent.append(order, 0, 1, b"bcd").await.0, 409);
    assert_eq!(agent.append(order, 0, 0, b"xyz").await.0, 410, "what is stored never changes");
    // Itself: names and labels beyond all measure.
    let mut greeting = agent.greeting(&[]);
    greeting["hello"]["worker"] = "local".into();
    greeting["hello"]["token"] = "zzzzzzzz".into();
    greeting["hello"]["builds"] = json!([{"build": order.build, "epoch": order.epoch}]);
    let (_, answer) = agent.say_hello(greeting.clone(), "", i64::MAX).await;
    assert_eq!(answer["worker"], "arm", "its name is that of its token");
    greeting["hello"]["labels"] =
        (0..300).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(agent.say_hello(greeting, "", 0).await.0, 400);
    agent.tell(order, 2, json!({"report": "step-started", "step": 0})).await;
    agent.finish(order, 3).await;
    // Nothing is printed by a step that is over.
    assert_eq!(agent.append(order, 0, 3, b"more").await.0, 410);
    world.settle().await;
    assert_eq!(world.log(BuildId(order.build), 0).await, "abc");
    assert_eq!(world.builds().await, ["check success"]);
}

const SECRETIVE: &str = r#"
repositories: {app: {git: FOLDER/app.git}}
projects: {shop: {repositories: app}}
secrets:
  deploy-key: {file: FOLDER/deploy-key, projects: shop}
builders:
  check:
    project: shop
    source: app
    secrets: {DEPLOY_KEY: deploy-key}
    steps: [{run: 'true', name: act, artifacts: dist/**, logs: {config.log: config.log}}]
schedulers: {again: {kind: force, build: [check]}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_elsewhere_is_given_secrets_and_brings_followed_logs_and_files() {
    let (world, _) = World::start_without_worker(SECRETIVE, &["app"]).await;
    std::fs::write(world.file().parent().unwrap().join("deploy-key"), "hunter22-hunter22\n").unwrap();
    let mut agent = world.worker("arm").await;
    let other = world.worker("other").await;
    world.force().await;
    let order = agent.order().await;
    agent.tell(order, 1, started()).await;
    agent.tell(order, 2, json!({"report": "step-started", "step": 0})).await;
    let lease = format!("{}/{}", order.build, order.epoch);
    // Secrets: to whoever has the lease, and kept by nobody on the way.
    let secrets = format!("secrets/{lease}/0");
    let answer = agent.request(&secrets).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let given: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(given, json!({"answer": "given", "values": {"DEPLOY_KEY": "hunter22-hunter22"}}));
    for (who, lease) in [(&other, lease.clone()), (&agent, format!("{}/{}", order.build, order.epoch + 1))] {
        let (status, answer) = who.post(&format!("secrets/{lease}/0"), &json!({})).await;
        assert_eq!((status, &answer["error"]), (410, &json!("fenced")), "{answer}");
    }
    // The log of the file that is followed is one of its own.
    assert_eq!(agent.append(order, 0, 0, b"printed\n").await.0, 200);
    let followed = zstd::bulk::compress(b"configured\n", 1).unwrap();
    let piece = |log| agent.request(&format!("logs/{lease}/0?offset=0&length=11&log={log}")).body(followed.clone());
    assert_eq!(piece(1).send().await.unwrap().text().await.unwrap(), r#"{"length":11}"#);
    assert_eq!(piece(2).send().await.unwrap().status(), 400, "the step follows one file");
    // A file goes on from where it ended, and counts when it is what it was said to be.
    let digest = gristmill_model::Digest::of(b"hello\n");
    let bring = async |offset: usize, bytes: &'static str| {
        let path = format!("artifacts/{lease}?digest={digest}&total=6&offset={offset}");
        let answer = agent.request(&path).body(bytes).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body["length"].as_u64())
    };
    let stored = json!({"report": "artifact-stored", "step": 0, "path": "dist/app.txt", "bytes": 6, "digest": digest});
    agent.tell(order, 3, stored.clone()).await;
    assert_eq!(bring(0, "").await, (200, Some(0)));
    assert_eq!(bring(0, "jel").await, (200, Some(3)));
    assert_eq!(bring(0, "jel").await, (409, Some(3)));
    assert_eq!(bring(3, "lo\n").await, (409, Some(0)), "it is another file");
    assert_eq!(bring(0, "hello\n").await, (200, Some(6)));
    assert_eq!(bring(0, "hello\nand more").await.0, 400);
    let nowhere = format!("artifacts/{lease}?digest=..%2F..%2Fetc&total=1&offset=0");
    assert_eq!(agent.request(&nowhere).body("x").send().await.unwrap().status(), 400);
    let too_long = vec![0; 1024 * 1024 + 1];
    let path = format!("artifacts/{lease}?digest={digest}&total=6&offset=0");
    assert_eq!(agent.request(&path).body(too_long).send().await.unwrap().status(), 413);
    let foreign = other.request(&path).body("hello\n").send().await.unwrap();
    assert_eq!(foreign.status(), 410);
    let none = world.get(&format!("/api/v1/builds/{}/results", order.build)).await;
    assert_eq!(none["artifacts"], json!([]), "a file that was not there when it was reported is none");
    agent.tell(order, 4, stored).await;
    agent.finish(order, 5).await;
    world.settle().await;
    let results = world.get(&format!("/api/v1/builds/{}/results", order.build)).await;
    assert_eq!(results["logs"], json!([{"step": 0, "log": 1, "name": "config.log"}]));
    let href = results["artifacts"][0]["href"].as_str().unwrap();
    assert_eq!(world.http().get(world.url(href)).send().await.unwrap().text().await.unwrap(), "hello\n");
    assert_eq!(world.log(BuildId(order.build), 0).await, "printed\n");
    let path = format!("/api/v1/builds/{}/log?step=0&log=1", order.build);
    assert_eq!(world.http().get(world.url(&path)).send().await.unwrap().text().await.unwrap(), "configured\n");
    assert_eq!(agent.post(&secrets, &json!({})).await.0, 410, "a step that has ended is given nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_measure_is_refused_before_it_comes_and_who_never_reads_harms_nobody() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    let address = world.service().address();
    for path in ["reports", "logs/1/1/0?offset=0&length=1", "poll", "hello"] {
        let secret = if path == "hello" { &agent.token } else { &agent.session };
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /worker/v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\
             Content-Length: 1000000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        soon("an answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413", "{path}");
    }
    // Asks and asks, and never reads what it is told.
    let mut deaf = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = format!(
            "POST /worker/v1/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 9\r\n\r\n{{\"ack\":0}}",
            agent.session
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    let mut other = world.worker("other").await;
    world.force().await;
    world.force().await;
    world.force().await;
    let order = other.order().await;
    other.run(order, b"").await;
    // The newest question is the one that counts, so the worker itself still hears all of it.
    let order = agent.order().await;
    agent.run(order, b"").await;
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_outlives_its_master_and_its_log_has_every_byte_once() {
    let mut world = world().await;
    let mut agent = world.worker("arm").await;
    world.force().await;
    let order = agent.order().await;
    agent.tell(order, 1, started()).await;
    agent.tell(order, 2, json!({"report": "step-started", "step": 0})).await;
    let text: Vec<u8> = (0..20_000_u32).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let (mut at, mut restarts) = (0, 0);
    while at < text.len() {
        let piece = &text[at..text.len().min(at + 40_000)];
        assert_eq!(agent.append(order, 0, at, piece).await.0, 200);
        world.restart_at_once().await;
        restarts += 1;
        agent.url = world.address();
        let (status, answer) = agent.append(order, 0, at, piece).await;
        assert_eq!((status, &answer["error"]), (409, &json!("hello")), "its session was the other master's: {answer}");
        let (status, answer) = agent.hello(&[order]).await;
        assert_eq!((status, &answer["stop"]), (200, &json!([])), "it is still its own");
        // Its answer may have been lost, so it is said again.
        let (status, answer) = agent.append(order, 0, at, piece).await;
        assert_eq!(status, 200, "{answer}");
        at = usize::try_from(answer["length"].as_u64().unwrap()).unwrap();
    }
    agent.finish(order, 3).await;
    world.settle().await;
    assert!(restarts > 3);
    assert_eq!(world.builds().await, ["check success"], "it is the same build");
    assert_eq!(world.log(BuildId(order.build), 0).await.into_bytes(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_falls_silent_is_detached_then_lost_and_another_one_starts_it() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    world.force().await;
    let order = agent.order().await;
    agent.tell(order, 1, started()).await;
    let mut head = world.service().head();
    world.silence.advance(Duration::from_secs(61));
    let is_gone = async {
        while world.get("/api/v1/workers").await["items"][0]["connected"] == json!(true) {
            head.changed().await.unwrap();
        }
    };
    soon("its going", is_gone).await;
    // Within its window it comes back, and the build is still its own.
    let (status, answer) = agent.poll().await;
    assert_eq!((status, &answer["error"]), (409, &json!("hello")), "{answer}");
    assert_eq!(agent.hello(&[order]).await.1["stop"], json!([]));
    assert_eq!(agent.report(order, 2, json!({"report": "step-started", "step": 0})).await.0, 204);
    // After it, it is not.
    let mut other = world.worker("other").await;
    world.silence.advance(Duration::from_secs(301));
    let again = other.order().await;
    assert_ne!(again, order);
    let (status, answer) = agent.hello(&[order]).await;
    assert_eq!((status, &answer["stop"]), (200, &json!([{"build": order.build, "epoch": order.epoch}])), "{answer}");
    assert_eq!(agent.report(order, 3, started()).await.0, 410);
    assert_eq!(agent.append(order, 0, 0, b"late").await.0, 410);
    other.run(again, b"").await;
    world.settle().await;
    assert_eq!(world.builds().await, ["check retry", "check success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_own_machine_may_pause_and_resume_it() {
    let world = world().await;
    let mut agent = world.worker("arm").await;
    assert_eq!(agent.post("hold", &json!({"kind": "pause", "reason": "lunch"})).await.0, 204);
    world.force().await;
    let mut other = world.worker("other").await;
    let order = other.order().await;
    other.run(order, b"").await;
    for (body, status) in [
        (json!({"kind": "quarantine"}), 400),
        (json!({"kind": "pause", "reason": "x".repeat(2000)}), 400),
        (json!({"kind": "pause", "until": 1}), 400),
        (json!({"kind": "resume"}), 204),
        (json!({"kind": "resume"}), 204),
    ] {
        let (is, answer) = agent.post("hold", &body).await;
        assert_eq!(is, status, "{body}: {answer}");
    }
    assert_eq!(other.post("hold", &json!({"kind": "drain"})).await.0, 204);
    world.force().await;
    let order = agent.order().await;
    agent.run(order, b"").await;
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_secret_is_told_once_and_is_nowhere() {
    let world = world().await;
    let make = |key: &'static str, body: serde_json::Value| {
        world.http().post(world.url("/api/v1/tokens")).header("Idempotency-Key", key).json(&body)
    };
    let (status, made) = world.ask(make("k-1", json!({"worker": "arm", "owner": "Ada"}))).await;
    assert_eq!(status.as_u16(), 201, "{made}");
    let token = made["token"].as_str().unwrap();
    let (status, repeat) = world.ask(make("k-1", json!({"worker": "arm", "owner": "Ada"}))).await;
    assert_eq!((status.as_u16(), &repeat["error"]["code"]), (409, &json!("made-before")), "{repeat}");
    let list = world.get("/api/v1/tokens").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["owner"], "Ada");
    let events = world.get("/api/v1/events?since=0&limit=200").await;
    let secret = &token[13..56];
    for text in [list.to_string(), events.to_string(), repeat.to_string()] {
        assert!(!text.contains(secret), "{text}");
    }
    for (body, field) in [
        (json!({}), "worker"),
        (json!({"worker": "a", "pool": "b"}), "worker"),
        (json!({"pool": "b"}), "max"),
        (json!({"pool": "b", "max": 0}), "max"),
        (json!({"worker": "local"}), "worker"),
        (json!({"worker": "../x"}), "worker"),
        (json!({"worker": "a\nb"}), "worker"),
        (json!({"worker": "x".repeat(101)}), "worker"),
        (json!({"worker": "a", "expires_in_seconds": 0}), "expires_in_seconds"),
        (json!({"worker": "a", "owner": "a\nb"}), "owner"),
    ] {
        let (status, answer) = world.ask(world.http().post(world.url("/api/v1/tokens")).json(&body)).await;
        assert_eq!((status.as_u16(), answer["error"]["field"].as_str()), (422, Some(field)), "{answer}");
    }
    for id in ["zzzzzzzz", "x", token] {
        let request = world.http().post(world.url(&format!("/api/v1/tokens/{id}/revoke"))).json(&json!({}));
        let (status, answer) = world.ask(request).await;
        assert_eq!(status.as_u16(), 404, "{answer}");
        assert!(!answer.to_string().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_language_runs_a_build_by_the_protocols_description() {
    const BUILDS: &str = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check: {source: app, steps: [checkout, {run: 'cat README; seq 1 50000', name: act}, {run: 'echo $GRISTMILL_BUILD; exit 3', name: fail}]}
schedulers: {again: {kind: force, build: [check]}}
";
    let (mut world, _) = World::start_without_worker(BUILDS, &["app"]).await;
    let token = world.token(json!({"worker": "snake"})).await;
    world.force().await;
    let mut snake = tokio::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/worker.py"))
        .args([world.address(), world.folder.path().join("snake").to_str().unwrap().to_owned(), "1".to_owned()])
        .env("GRISTMILL_WORKER_TOKEN", &token)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = soon("its end", snake.wait()).await.unwrap();
    assert!(ended.success(), "{ended}");
    world.settle().await;
    assert_eq!(world.builds().await, ["check failure"]);
    let lines: String = (1..=50_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(world.log(BuildId(1), 1).await, format!("hello\n{lines}"));
    assert_eq!(world.log(BuildId(1), 2).await, "1\n");
    // A token that is taken back ends it, with a sentence.
    world.revoke(&token).await;
    let refused = tokio::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/worker.py"))
        .args([world.address(), world.folder.path().join("snake").to_str().unwrap().to_owned()])
        .env("GRISTMILL_WORKER_TOKEN", &token)
        .output();
    let refused = soon("its end", refused).await.unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("worker.py: revoked: token"), "{refused:?}");
    world.stop().await;
}

/// A master of several on one database.
async fn master(folder: &std::path::Path, database: &str, name: &str) -> gristmill::service::Service {
    let options = gristmill::service::Options {
        database: gristmill::store::Database::Server(database.to_owned()),
        logs: Some(folder.join("logs")),
        worker: name == "second",
        ..gristmill::service::Options::new(folder.join("gristmill.yaml"), folder.join(name), ([127, 0, 0, 1], 0).into())
    };
    let started = soon("the start", gristmill::service::Service::start(options)).await;
    started.unwrap_or_else(|problem| panic!("{}", gristmill::chain::chain(&problem)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_speak_with_any_master_and_its_build_outlives_the_one_that_leads() {
    crate::support::set_up_process();
    let folder = tempfile::tempdir().unwrap();
    crate::support::Repository::make(folder.path(), "app");
    // The built-in worker of the other master gets nothing of this.
    let config = CONFIG.replace("FOLDER", folder.path().to_str().unwrap());
    let config = config.replace("{source: app,", "{source: app, requires: {place: far},");
    std::fs::write(folder.path().join("gristmill.yaml"), config).unwrap();
    let database = crate::support::postgres::Postgres::shared().database();
    let first = master(folder.path(), &database, "first").await;
    soon("the lead", first.engine().leads().wait_for(|leads| *leads)).await.unwrap();
    soon("a look", first.sweep(&"app".into())).await.unwrap();
    let second = master(folder.path(), &database, "second").await;
    let http = reqwest::Client::new();
    let post = async |path: &str, body: serde_json::Value| {
        let request = http.post(format!("http://{}/api/v1/{path}", second.address())).json(&body);
        let answer = soon("an answer", request.send()).await.unwrap();
        assert_eq!(answer.status().as_u16(), 201, "{path}");
        soon("all of it", answer.json::<serde_json::Value>()).await.unwrap()
    };
    // All of this goes to the master that only follows.
    let made = post("tokens", json!({"worker": "arm"})).await;
    let mut agent = Agent::new(&format!("http://{}", second.address()), made["token"].as_str().unwrap(), "r");
    agent.labels = json!({"place": "far"});
    agent.join().await;
    post("schedulers/again/force", json!({})).await;
    let order = agent.order().await;
    agent.tell(order, 1, started()).await;
    agent.tell(order, 2, json!({"report": "step-started", "step": 0})).await;
    assert_eq!(agent.append(order, 0, 0, b"before\n").await.0, 200);

    soon("the stop", first.stop()).await;
    // While nobody leads it is told to come again; who leads then wants a hello.
    let comes_back = async {
        loop {
            let (status, answer) = agent.append(order, 0, 7, b"after\n").await;
            match status {
                503 => tokio::task::yield_now().await,
                409 if answer["error"] == "hello" => assert_eq!(agent.hello(&[order]).await.1["stop"], json!([])),
                _ => return (status, answer),
            }
        }
    };
    let (status, answer) = soon("a new master", comes_back).await;
    assert_eq!((status, &answer["length"]), (200, &json!(13)), "{answer}");
    agent.finish(order, 3).await;
    soon("rest", second.settle()).await;
    second.verify().await.unwrap();
    let workers = http.get(format!("http://{}/api/v1/workers", second.address())).send().await.unwrap();
    let workers: serde_json::Value = workers.json().await.unwrap();
    let names: Vec<&str> = workers["items"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"arm") && names.iter().any(|name| name.starts_with("local@")), "{names:?}");
    soon("the stop", second.stop()).await;
}

/// Runs a command of the program to its end; gives what it printed.
async fn gristmill(world: &World, words: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.args(["--server", &world.address()]).args(words).env("NO_COLOR", "1").env("GRISTMILL_USER", "ada");
    let output = soon("its end", command.output()).await.unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_of_the_program_itself_joins_by_a_token_of_the_command_line() {
    let world = world().await;
    let token = gristmill(&world, &["-q", "worker", "token", "new", "--worker", "arm", "--expires", "90d"]).await;
    let (token, file) = (token.trim(), world.folder.path().join("token"));
    std::fs::write(&file, token).unwrap();
    world.force().await;
    let mut head = world.service().head();
    let mut worker = tokio::process::Command::new(env!("CARGO_BIN_EXE_gristmill"))
        .args(["worker", "run", "--server", &world.address(), "--token-file", file.to_str().unwrap(), "--data"])
        .arg(world.folder.path().join("arm"))
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let is_built = async {
        while world.builds().await != ["check success"] {
            head.changed().await.unwrap();
        }
    };
    soon("a build", is_built).await;
    let list = gristmill(&world, &["worker", "token", "list"]).await;
    assert!(list.contains("worker arm, made") && list.contains("by ada, until"), "{list}");
    assert!(!list.contains(&token[13..56]), "{list}");
    gristmill(&world, &["worker", "token", "revoke", &token[4..12]]).await;
    assert!(gristmill(&world, &["worker", "token", "list"]).await.contains("revoked"));
    worker.kill().await.unwrap();
}
