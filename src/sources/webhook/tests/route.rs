//! The route over a real connection, with real repositories behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::catalog::{Forge, Repository, Webhook};
use gristmill_model::{DeliveryId, Movement, RefName, RepositoryName, Revision, Via};
use gristmill_schedulers::input::Input;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::super::replay::{Stored, replay};
use super::super::route::{AT_ONCE_MAX, BODY_BYTES_MAX, Hooks, routes};
use super::super::signature::sign;
use super::{SECRET, github_push};
use crate::sources::fixture::{DEADLINE, Git, Inputs, Judge, catalog_of, configured, expect_input, expect_sight};
use crate::sources::git::Limits;
use crate::sources::{Options, Secrets, Sources};

/// A service that receives webhooks for `app`, until dropped.
struct Service {
    git: Git,
    judge: Arc<Judge>,
    inputs: Inputs,
    hooks: Hooks,
    address: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What was answered.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Value,
}

/// A service over a repository behind a git daemon, so that nothing but a webhook makes it look.
async fn start(forge: Forge) -> Service {
    let git = Git::new();
    git.commit("README", "begin");
    git.push(&["main"]);
    let webhook = Some(Webhook { forge, secret: "app-hook".into() });
    let app = Repository {
        webhook,
        poll: Duration::from_secs(3600),
        ..configured(&format!("git://{}/app.git", daemon(&git)))
    };
    let plain = Repository { webhook: None, ..app.clone() };
    let (judge, mut inputs) = Judge::new(catalog_of(&[("app", app), ("plain", plain)]));
    let stop = CancellationToken::new();
    let secrets: Secrets = Arc::new(|name| match name.as_str() {
        "app-hook" => Ok(SECRET.to_owned()),
        other => Err(format!("nothing is called {other}")),
    });
    let sources = Sources::start(Options {
        engine: Arc::<Judge>::clone(&judge),
        mirrors: git.path("data/git"),
        secrets: Arc::clone(&secrets),
        limits: Limits::default(),
        ssh: PathBuf::from("ssh"),
        seed: 1,
        stop: stop.clone(),
    })
    .expect("it starts");
    let hooks = Hooks::new(Arc::<Judge>::clone(&judge), sources, secrets, stop.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (app, ended) = (routes(hooks.clone()), stop.clone());
    tokio::spawn(async move {
        axum::serve(listener, app).with_graceful_shutdown(ended.cancelled_owned()).await.expect("it serves");
    });
    for _ in 0..2 {
        assert!(expect_sight(&mut inputs).await.first_sight);
    }
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
    Service { git, judge, inputs, hooks, address, client, stop }
}

fn daemon(git: &Git) -> std::net::SocketAddr {
    crate::sources::git::tests::servers::git_daemon(git.folder.path())
}

impl Service {
    async fn post(&self, name: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = self.client.post(format!("{}/hooks/{name}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("it answers");
        let status = answer.status().as_u16();
        if status == 503 {
            assert_eq!(answer.headers()["retry-after"], "5");
        }
        Answer { status, body: answer.json().await.expect("it is JSON") }
    }

    async fn github(&self, delivery: &str, body: &[u8]) -> Answer {
        let signature = sign(SECRET, body);
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", delivery),
            ("x-hub-signature-256", &signature),
        ];
        self.post("app", &headers, body.to_vec()).await
    }

    fn tip(&self) -> Revision {
        Revision(self.git.at("work", &["rev-parse", "main"]))
    }

    fn accepted(&self) -> Option<Revision> {
        self.judge.state().tips[&RepositoryName::from("app")][&RefName::of_branch("main")].clone()
    }

    /// Commits and pushes, and gives what GitHub would tell of it.
    fn push(&self, message: &str) -> Vec<u8> {
        let before = self.tip();
        let after = self.git.commit("a", message);
        self.git.push(&["main"]);
        github_push(before.as_str(), after.as_str(), &[after.as_str()]).to_string().into_bytes()
    }

    async fn result(&mut self) -> String {
        expect_input(&mut self.inputs, |input| match input {
            Input::DeliveryRead { result, .. } => Some(result),
            _ => None,
        })
        .await
    }
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["error"]["message"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn a_complete_push_is_stored_and_accepted_in_one_turn() {
    let mut service = start(Forge::Github).await;
    let body = service.push("one");
    let answer = service.github("d-1", &body).await;
    assert_eq!(answer, Answer { status: 202, body: json!({"delivery": 1, "changes": [1], "sweep": false}) });
    let delivery = expect_input(&mut service.inputs, |input| match input {
        Input::Deliver(delivery) => Some(delivery),
        _ => None,
    })
    .await;
    assert_eq!((delivery.key.as_str(), delivery.event.as_str(), &delivery.body), ("d-1", "push", &body));
    assert_eq!(delivery.sha256, gristmill_model::Digest::of(&body).0);
    assert_eq!(
        delivery.headers,
        r#"{"content-type":"application/json","x-github-delivery":"d-1","x-github-event":"push"}"#
    );
    let sighting = delivery.sighting.expect("it is complete");
    assert_eq!((sighting.via, sighting.updates[0].movement), (Via::Webhook, Movement::Moved));
    assert_eq!(service.accepted(), Some(service.tip()));
    let object = format!("{}^{{commit}}", service.tip());
    service.git.at("data/git/app.git", &["cat-file", "-e", &object]);
    let again = service.github("d-1", &body).await;
    assert_eq!(again, Answer { status: 200, body: answer.body });
}

#[tokio::test]
async fn what_cannot_be_fetched_is_stored_but_not_accepted_before_it_can_be_checked_out() {
    let mut service = start(Forge::Github).await;
    let body = service.push("one");
    std::fs::rename(service.git.path("app.git"), service.git.path("away")).expect("it is ours");
    let answer = service.github("d-1", &body).await;
    assert_eq!(answer, Answer { status: 202, body: json!({"delivery": 1, "changes": [], "sweep": false}) });
    let result = service.result().await;
    let begins = "what it tells of could not be fetched; the repository could not be looked at: the server says: ";
    assert!(result.starts_with(begins), "{result}");
    assert_ne!(service.accepted(), Some(service.tip()));
    std::fs::rename(service.git.path("away"), service.git.path("app.git")).expect("it is ours");
    service.hooks.0.sources.sweep_now(&RepositoryName::from("app")).await.expect("it is back");
    assert_eq!(service.accepted(), Some(service.tip()));
}

#[tokio::test]
async fn a_push_that_does_not_follow_makes_us_look() {
    let mut service = start(Forge::Github).await;
    service.push("one, untold");
    let body = service.push("two");
    let answer = service.github("d-2", &body).await;
    assert_eq!(answer.body, json!({"delivery": 1, "changes": [], "sweep": false}));
    assert_eq!(
        service.result().await,
        "it does not follow what was accepted last; looked at the repository and found change 1"
    );
    assert_eq!(service.accepted(), Some(service.tip()));
}

#[tokio::test]
async fn what_is_stored_is_read_even_if_its_sender_hangs_up() {
    let mut service = start(Forge::Github).await;
    let body = service.push("one")[..100].to_vec();
    let request = axum::http::Request::post("/hooks/app")
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", "d-1")
        .header("x-hub-signature-256", sign(SECRET, &body))
        .body(axum::body::Body::from(body))
        .expect("it is a request");
    let judge = Arc::clone(&service.judge);
    let turn = judge.turns.lock().await;
    let call = routes(service.hooks.clone()).oneshot(request);
    // Looked at once, and dropped while it waits for its turn: so it goes with a connection that ends.
    tokio::time::timeout(Duration::ZERO, call).await.expect_err("it has to wait");
    drop(turn);
    let begins = "the JSON ends early (line 1, column 100); looked at the repository and found change 1";
    assert_eq!(service.result().await, begins);
}

#[tokio::test]
async fn what_an_earlier_run_accepted_and_did_not_read_is_read_at_the_next_start() {
    let mut service = start(Forge::Github).await;
    service.push("one, told to a service that was killed then");
    service.hooks.resume(vec![(DeliveryId(7), "app".into()), (DeliveryId(8), "gone".into())]);
    assert_eq!(
        service.result().await,
        "the service ended before it was read; looked at the repository and found change 1"
    );
    assert_eq!(service.accepted(), Some(service.tip()));
    let begins = "the service ended before it was read; the repository could not be looked at: ";
    let result = service.result().await;
    assert!(result.starts_with(begins), "{result}");
}

#[tokio::test]
async fn truncated_json_is_stored_and_makes_us_look() {
    let mut service = start(Forge::Github).await;
    let body = service.push("one");
    let answer = service.github("d-1", &body[..100]).await;
    assert_eq!(answer, Answer { status: 202, body: json!({"delivery": 1, "changes": [], "sweep": true}) });
    assert_eq!(
        service.result().await,
        "the JSON ends early (line 1, column 100); looked at the repository and found change 1"
    );
    let again = service.github("d-1", &body[..100]).await;
    assert_eq!((again.status, &again.body), (200, &answer.body));
}

#[tokio::test]
async fn what_concerns_nobody_is_stored_and_no_look_is_made() {
    let mut service = start(Forge::Github).await;
    let looks = service.hooks.0.sources.status()[&RepositoryName::from("app")].looks;
    let signature = sign(SECRET, b"{}");
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "ping"),
        ("x-github-delivery", "p"),
        ("x-hub-signature-256", &signature),
    ];
    assert_eq!(service.post("app", &headers, b"{}".to_vec()).await.status, 202);
    assert_eq!(service.result().await, "a ping: the webhook works");
    assert_eq!(service.hooks.0.sources.status()[&RepositoryName::from("app")].looks, looks);
}

#[tokio::test]
async fn the_generic_dialect_works_over_the_wire() {
    let mut service = start(Forge::Generic).await;
    service.push("one");
    let body = json!({"event": "push"}).to_string().into_bytes();
    let signature = sign(SECRET, &body);
    let headers =
        [("content-type", "application/json"), ("x-gristmill-delivery", "g-1"), ("x-gristmill-signature", &signature)];
    let answer = service.post("app", &headers, body).await;
    assert_eq!(answer, Answer { status: 202, body: json!({"delivery": 1, "changes": [], "sweep": true}) });
    assert_eq!(service.result().await, "a push; looked at the repository and found change 1");
}

#[tokio::test]
async fn what_is_refused_is_refused_with_what_to_do_and_nothing_is_kept() {
    let service = start(Forge::Github).await;
    let body = service.push("one");
    let signature = sign(SECRET, &body);
    let named = [("x-github-event", "push"), ("x-github-delivery", "d-1"), ("content-type", "application/json")];
    let with = |more: &[(&'static str, &str)]| {
        let all = named.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        all.collect::<Vec<_>>()
    };
    let post = async |name: &str, headers: Vec<(String, String)>, body: Vec<u8>| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        service.post(name, &headers, body).await
    };
    let wrong = with(&[("x-hub-signature-256", &signature.replace(|c: char| c.is_ascii_digit(), "f"))]);
    let answer = post("app", wrong, body.clone()).await;
    assert_eq!(
        said(&answer),
        (401, "the signature is not right; set the same secret here and in the sender's settings")
    );
    let answer = post("app", with(&[]), body.clone()).await;
    assert_eq!(
        said(&answer),
        (401, "one header x-hub-signature-256 is needed; set the secret in the sender's settings")
    );
    for name in ["none", "plain", "..%2f..", "%00"] {
        let answer = post(name, with(&[("x-hub-signature-256", &signature)]), body.clone()).await;
        assert_eq!(said(&answer), (404, "no webhook is configured under this name"), "{name}");
    }
    let text = [
        ("x-github-event", "push"),
        ("x-github-delivery", "d"),
        ("content-type", "text/plain"),
        ("x-hub-signature-256", &signature),
    ];
    let answer = service.post("app", &text, body.clone()).await;
    assert_eq!(answer.status, 415, "{answer:?}");
    let long = vec![b'x'; 30 * 1024 * 1024];
    let answer = post("app", with(&[("x-hub-signature-256", &sign(SECRET, &long))]), long).await;
    assert_eq!(said(&answer), (413, "the body is longer than 5 MiB"));
    assert!(answer.body["error"]["hint"].as_str().is_some_and(|hint| hint.starts_with("nothing is lost")));
    let just = vec![b'x'; BODY_BYTES_MAX];
    let answer = service.github("just", &just).await;
    assert_eq!(answer.status, 202, "a body at the limit is taken");
    assert_eq!(service.judge.state().deliveries.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_answered_so_that_it_comes_again() {
    let service = start(Forge::Github).await;
    let body = service.push("one");
    service.judge.state().refusals = vec!["the disk is full".to_owned()];
    let answer = service.github("d-1", &body).await;
    assert_eq!(said(&answer), (503, "it could not be stored"));
    assert_eq!(service.github("d-1", &body).await.status, 202);
}

#[tokio::test]
async fn more_requests_than_are_worked_on_at_once_are_asked_to_come_again() {
    let service = start(Forge::Github).await;
    let permits = service.hooks.0.at_once.try_acquire_many(u32::try_from(AT_ONCE_MAX).expect("few")).expect("all free");
    let body = service.push("one");
    assert_eq!(said(&service.github("d-1", &body).await), (503, "too many webhook requests at once"));
    drop(permits);
    assert_eq!(service.github("d-1", &body).await.status, 202);
}

#[tokio::test]
async fn many_deliveries_of_the_same_pushes_make_each_change_once() {
    let mut service = start(Forge::Github).await;
    let bodies: Vec<Vec<u8>> = (0..10).map(|number| service.push(&format!("number {number}"))).collect();
    let service_ref = &service;
    let posts = bodies
        .iter()
        .rev()
        .chain(&bodies)
        .enumerate()
        .map(|(number, body)| async move { service_ref.github(&format!("d-{number}"), body).await.status });
    let statuses = tokio::time::timeout(DEADLINE, futures_util::future::join_all(posts)).await.expect("they answer");
    assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
    while service.accepted() != Some(service.tip()) {
        service.inputs.recv().await.expect("the engine lives");
    }
    service.hooks.closed().await;
    let changes = service.judge.state().changes;
    assert!((1..=10).contains(&changes), "{changes} changes of ten pushes");
}

#[tokio::test]
async fn a_stored_delivery_can_be_read_once_more() {
    let mut service = start(Forge::Github).await;
    let body = service.push("one");
    let stored = Stored {
        delivery: gristmill_model::DeliveryId(7),
        repository: &RepositoryName::from("app"),
        headers: r#"{"content-type":"application/json","x-github-event":"push"}"#,
        body: &body,
    };
    let replayed = replay(&service.hooks, stored).await.expect("it is taken");
    assert_eq!((replayed.changes.len(), replayed.result.as_str()), (1, "replayed: change 1"));
    assert_eq!(service.result().await, "replayed: change 1");
    let replayed = replay(&service.hooks, stored).await.expect("it is taken");
    let nothing = "replayed: it does not follow what was accepted last; looked at the repository and found nothing new";
    assert_eq!((replayed.changes.len(), replayed.result.as_str()), (0, nothing));
    let broken = Stored { headers: "{not json", ..stored };
    let replayed = replay(&service.hooks, broken).await.expect("it is taken");
    assert!(replayed.result.contains("x-github-event"), "{}", replayed.result);
    let plain = Stored { repository: &RepositoryName::from("plain"), ..stored };
    let error = replay(&service.hooks, plain).await.expect_err("it has none");
    assert_eq!(error, "`plain` has no webhook any more; configure it again to replay its deliveries");
}
