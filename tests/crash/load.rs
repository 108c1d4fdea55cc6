//! What is done to a running service: pushes, webhooks (twice, or without waiting for the answer), forced builds.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::dice::Dice;
use super::facts::{Facts, Force, Hook, effects};
use super::ledger::audit;
use super::sink::Sink;
use super::stored::Stored;
use super::yard::{REFS, SECRET, Yard};

/// How long an answer may take. A service that was killed ends the connection long before.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Those who use the service, with what they remember.
pub(crate) struct Users {
    pub(crate) facts: Facts,
    pub(crate) pushes: usize,
    http: reqwest::Client,
    dice: Dice,
    /// Where each ref is in its history.
    positions: Vec<usize>,
    /// Told, and not acknowledged yet: repository, delivery, body.
    owed_hooks: Vec<(String, String, Vec<u8>)>,
    /// Asked for, and not acknowledged yet.
    owed_forces: Vec<String>,
    keys: usize,
    turn: usize,
}

impl Users {
    pub(crate) fn new(dice: Dice) -> Self {
        // No connection outlives its request, since the service does not.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(ANSWER_MAX).no_proxy().build().unwrap();
        let positions = vec![0; REFS.len()];
        let (owed_hooks, owed_forces) = (Vec::new(), Vec::new());
        Self { facts: Facts::default(), pushes: 0, http, dice, positions, owed_hooks, owed_forces, keys: 0, turn: 0 }
    }

    /// Says whether every request was acknowledged.
    pub(crate) fn are_content(&self) -> bool {
        self.owed_hooks.is_empty() && self.owed_forces.is_empty()
    }

    /// Brings what is known up to date, and gives it with what the database says.
    pub(crate) async fn look(&mut self, yard: &Yard, sink: &Sink) -> Stored {
        let stored = Stored::load(&yard.database(&yard.data())).await;
        self.facts.mails = sink.taken();
        self.facts.effects = effects(&std::fs::read_to_string(yard.path().join("effects")).unwrap());
        self.facts.tips = yard.tips();
        self.facts.histories = yard.forward();
        stored
    }

    /// What is wrong, or not at rest yet, by the ledger.
    pub(crate) async fn complaints(&mut self, yard: &Yard, sink: &Sink) -> Vec<String> {
        if !self.are_content() {
            return vec!["somebody waits for an answer".to_owned()];
        }
        let stored = self.look(yard, sink).await;
        audit(&Yard::terms(), &self.facts, &stored)
    }

    /// Moves a ref, and mostly owes a webhook then.
    pub(crate) fn push(&mut self, yard: &Yard) {
        let index = usize::try_from(self.dice.below(REFS.len() as u64)).unwrap();
        let (position, last) = (self.positions[index], yard.histories[index].len() - 1);
        let steps = 1 + usize::try_from(self.dice.below(2)).unwrap();
        let is_forced = index + 1 == REFS.len() && position > 2 && self.dice.one_in(5);
        let next = if is_forced { position - 1 } else { (position + steps).min(last) };
        if next == position {
            return;
        }
        yard.push(index, next);
        self.pushes += 1;
        self.positions[index] = next;
        if !self.dice.one_in(4) {
            self.keys += 1;
            let body = told(yard, index, (position, next));
            self.owed_hooks.push((REFS[index].0.to_owned(), format!("delivery-{}", self.keys), body));
        }
    }

    /// Does one thing to a running service; what it is goes round, so that a slow machine does some of everything.
    pub(crate) async fn act(&mut self, url: &str) {
        self.turn += 1;
        match self.turn % 4 {
            0 => self.force_anew(url).await,
            2 => self.force_again(url).await,
            _ => self.deliver(url).await,
        }
    }

    /// Asks for everything that was not acknowledged yet, once more.
    pub(crate) async fn insist(&mut self, url: &str) {
        for _ in 0..self.owed_forces.len() {
            self.force(url).await;
        }
        for _ in 0..self.owed_hooks.len() {
            self.deliver(url).await;
        }
    }

    /// Asks for a build that nobody asked for before.
    pub(crate) async fn force_anew(&mut self, url: &str) {
        self.keys += 1;
        self.owed_forces.push(format!("key-{}", self.keys));
        self.force(url).await;
    }

    async fn force(&mut self, url: &str) {
        let Some(key) = self.owed_forces.pop() else { return };
        match self.ask_to_force(url, &key).await {
            Some(buildset) => self.facts.forces.push(Force { key, buildset }),
            None => self.owed_forces.insert(0, key),
        }
    }

    /// Repeats what was acknowledged before: the answer must be the same.
    async fn force_again(&mut self, url: &str) {
        if self.facts.forces.is_empty() {
            return;
        }
        let index = usize::try_from(self.dice.below(self.facts.forces.len() as u64)).unwrap();
        let key = self.facts.forces[index].key.clone();
        if let Some(buildset) = self.ask_to_force(url, &key).await {
            self.facts.forces.push(Force { key, buildset });
        }
    }

    async fn ask_to_force(&mut self, url: &str, key: &str) -> Option<i64> {
        let request = self.http.post(format!("{url}/api/v1/schedulers/hand/force"));
        let request = request.header("Content-Type", "application/json").header("Idempotency-Key", key).body("{}");
        let body = self.answer(request, "a force").await?;
        body["buildset"].as_i64()
    }

    /// Tells of a push: sometimes twice at once, sometimes without waiting for the answer.
    async fn deliver(&mut self, url: &str) {
        let Some((repository, key, body)) = self.owed_hooks.pop() else { return };
        if self.dice.one_in(5) {
            // The answer never arrives, so nothing was promised; a cut connection is no failure of this test.
            let _cut = send_and_leave(url, &repository, &key, &body).await.is_err();
        }
        let requests = std::array::from_fn::<_, 2, _>(|_| {
            let request = self.http.post(format!("{url}/hooks/{repository}")).body(body.clone());
            headers(&key, &body).into_iter().fold(request, |request, (name, value)| request.header(name, value))
        });
        let [first, second] = requests;
        let mut answers = vec![self.answer(first, "a webhook request").await];
        if self.dice.one_in(3) {
            answers.push(self.answer(second, "a doubled webhook request").await);
        }
        let deliveries: Vec<i64> = answers.iter().flatten().filter_map(|answer| answer["delivery"].as_i64()).collect();
        if deliveries.is_empty() {
            self.owed_hooks.insert(0, (repository.clone(), key.clone(), body));
        }
        let hooks =
            deliveries.into_iter().map(|delivery| Hook { repository: repository.clone(), key: key.clone(), delivery });
        self.facts.hooks.extend(hooks);
    }

    /// Gives the body of an answer with 2xx. No answer at all is what a kill does, 503 what an overload or a failing disk
    /// does; every other answer is wrong.
    async fn answer(&mut self, request: reqwest::RequestBuilder, what: &str) -> Option<Value> {
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        if status.is_success() {
            return serde_json::from_str(&text).ok();
        }
        if status != reqwest::StatusCode::SERVICE_UNAVAILABLE {
            self.facts.wrong_answers.push(format!("{what} was answered with {status}: {text}"));
        }
        None
    }
}

/// Says what GitHub says of a movement forward or back along a history.
fn told(yard: &Yard, index: usize, (from, to): (usize, usize)) -> Vec<u8> {
    let (history, branch) = (&yard.histories[index], REFS[index].1);
    let commit = |position: usize| {
        json!({
            "id": history[position], "message": format!("{branch} {position}"), "timestamp": "2026-11-24T12:00:00Z",
            "distinct": true, "author": {"name": "Ada", "email": "ada@example.org"},
            "added": [], "removed": [], "modified": ["file"],
        })
    };
    let commits: Vec<Value> = (from + 1..=to).map(commit).collect();
    json!({
        "ref": format!("refs/heads/{branch}"), "before": history[from], "after": history[to], "forced": to < from,
        "created": false, "deleted": false, "size": commits.len(), "distinct_size": commits.len(), "commits": commits,
    })
    .to_string()
    .into_bytes()
}

fn headers(key: &str, body: &[u8]) -> [(&'static str, String); 4] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    [
        ("Content-Type", "application/json".to_owned()),
        ("X-GitHub-Event", "push".to_owned()),
        ("X-GitHub-Delivery", key.to_owned()),
        ("X-Hub-Signature-256", format!("sha256={hex}")),
    ]
}

async fn send_and_leave(url: &str, repository: &str, key: &str, body: &[u8]) -> std::io::Result<()> {
    let address = url.strip_prefix("http://").expect("an address of this machine");
    let mut stream = TcpStream::connect(address).await?;
    let mut head =
        format!("POST /hooks/{repository} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers(key, body) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    stream.write_all(body).await
}
