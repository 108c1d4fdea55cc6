//! A worker that says just what a story tells it to say.

use base64::Engine as _;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::{World, soon};

/// What came of a request: the status, and the answer's JSON.
pub(crate) type Answer = (u16, Value);

/// A worker, played by hand.
pub(crate) struct Agent {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) run: String,
    pub(crate) session: String,
    pub(crate) ack: u64,
    pub(crate) labels: Value,
    key: Option<Ed25519KeyPair>,
    nonces: u64,
    http: reqwest::Client,
}

/// A lease that a worker got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) build: i64,
    pub(crate) epoch: i64,
}

impl Agent {
    /// Makes one that has not said hello yet.
    pub(crate) fn new(url: &str, token: &str, run: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            run: run.to_owned(),
            session: String::new(),
            ack: 0,
            labels: json!({"os": "linux"}),
            key: None,
            nonces: 0,
            http: reqwest::Client::new(),
        }
    }

    /// Gives it a key, as members of pools have.
    pub(crate) fn with_key(self, seed: u8) -> Self {
        Self { key: Some(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()), ..self }
    }

    pub(crate) fn key(&self) -> String {
        self.key.as_ref().map(|key| hexadecimal(key.public_key().as_ref())).unwrap_or_default()
    }

    /// Says hello with the builds that it has.
    pub(crate) async fn hello(&mut self, builds: &[Order]) -> Answer {
        let (request, clock) = (self.greeting(builds), -5);
        self.nonces += 1;
        self.say_hello(request, &format!("{}-{}", self.run, self.nonces), clock).await
    }

    pub(crate) fn greeting(&self, builds: &[Order]) -> Value {
        let builds: Vec<Value> =
            builds.iter().map(|order| json!({"build": order.build, "epoch": order.epoch})).collect();
        let about = json!({"version": "0.0.1", "host": "story"});
        json!({
            "versions": {"oldest": 1, "newest": 1},
            "run": self.run,
            "hello": {"labels": self.labels, "slots": 2, "builds": builds, "about": about},
        })
    }

    /// Says this very hello.
    pub(crate) async fn say_hello(&mut self, mut greeting: Value, nonce: &str, clock: i64) -> Answer {
        let mut request = self.http.post(format!("{}/worker/v1/hello", self.url)).bearer_auth(&self.token);
        if let Some(key) = &self.key {
            let id = self.token.get(4..12).unwrap_or_default();
            let proof = key.sign(format!("gristmill hello\n{id}\n{nonce}\n{clock}").as_bytes());
            request =
                request.header("Gristmill-Key", self.key()).header("Gristmill-Proof", hexadecimal(proof.as_ref()));
        }
        greeting["nonce"] = nonce.into();
        greeting["clock"] = clock.into();
        let (status, answer) = answer_of(request.json(&greeting)).await;
        if status == 200 {
            self.session = answer["session"].as_str().unwrap().to_owned();
            self.ack = 0;
        }
        (status, answer)
    }

    /// Says hello, and insists on being welcome.
    pub(crate) async fn join(&mut self) {
        let (status, answer) = self.hello(&[]).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}/worker/v1/{path}", self.url)).bearer_auth(&self.session)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer_of(self.request(path).json(body)).await
    }

    pub(crate) async fn beat(&self) -> Answer {
        answer_of(self.request("beat")).await
    }

    /// Asks for commands and takes them. Gives what it is told.
    pub(crate) async fn poll(&mut self) -> Answer {
        let (status, answer) = self.post("poll", &json!({"ack": self.ack})).await;
        if status == 200 {
            self.ack = answer["ack"].as_u64().unwrap();
        }
        (status, answer)
    }

    /// Waits for the next order; other commands are passed over. Says hello again if it is told to.
    pub(crate) async fn order(&mut self) -> Order {
        let order = async {
            loop {
                let (status, answer) = self.poll().await;
                if answer["error"] == "hello" {
                    self.join().await;
                    continue;
                }
                assert_eq!(status, 200, "{answer}");
                if let Some(order) = orders_of(&answer).first() {
                    return *order;
                }
            }
        };
        soon("an order", order).await
    }

    pub(crate) async fn report(&self, order: Order, seq: u64, body: Value) -> Answer {
        let report = json!({"build": order.build, "epoch": order.epoch, "seq": seq, "body": body});
        self.post("reports", &json!({"reports": [report]})).await
    }

    /// Reports, and insists that it is taken.
    pub(crate) async fn tell(&self, order: Order, seq: u64, body: Value) {
        let (status, answer) = self.report(order, seq, body).await;
        assert_eq!(status, 204, "{answer}");
    }

    /// Sends a piece of log that holds `text`.
    pub(crate) async fn append(&self, order: Order, step: u32, offset: usize, text: &[u8]) -> Answer {
        let frame = zstd::bulk::compress(text, 1).unwrap();
        self.append_frame(order, step, (offset, text.len()), frame).await
    }

    /// Sends any bytes as a piece of log of `length` bytes.
    pub(crate) async fn append_frame(
        &self,
        order: Order,
        step: u32,
        (offset, length): (usize, usize),
        frame: Vec<u8>,
    ) -> Answer {
        let path = format!("logs/{}/{}/{step}?offset={offset}&length={length}", order.build, order.epoch);
        answer_of(self.request(&path).body(frame)).await
    }

    /// Runs an order of one step that prints `text`.
    pub(crate) async fn run(&self, order: Order, text: &[u8]) {
        self.tell(order, 1, json!({"report": "started"})).await;
        self.tell(order, 2, json!({"report": "step-started", "step": 0})).await;
        assert_eq!(self.append(order, 0, 0, text).await, (200, json!({"length": text.len()})));
        self.finish(order, 3).await;
    }

    /// Ends an order of one step, from report `seq` on.
    pub(crate) async fn finish(&self, order: Order, seq: u64) {
        let end = json!({"outcome": "success", "cause": null, "summary": "fine"});
        let step = merged(&end, json!({"report": "step-finished", "step": 0}));
        self.tell(order, seq, step).await;
        self.tell(order, seq + 1, merged(&end, json!({"report": "finished"}))).await;
    }
}

/// Lists the orders among the commands of a poll's answer.
pub(crate) fn orders_of(answer: &Value) -> Vec<Order> {
    let commands = answer["commands"].as_array().unwrap();
    let starts = commands.iter().filter(|command| command["command"] == "start").map(|command| &command["order"]);
    starts
        .map(|order| Order { build: order["build"].as_i64().unwrap(), epoch: order["epoch"].as_i64().unwrap() })
        .collect()
}

fn merged(left: &Value, mut right: Value) -> Value {
    right.as_object_mut().unwrap().extend(left.as_object().unwrap().clone());
    right
}

async fn answer_of(request: reqwest::RequestBuilder) -> Answer {
    let answer = soon("an answer", request.send()).await.unwrap();
    let status = answer.status().as_u16();
    let text = soon("all of an answer", answer.text()).await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a token that nobody has.
pub(crate) fn unknown_token() -> String {
    use sha2::Digest as _;
    let text = format!("gmw_aaaaaaaa_{}", "A".repeat(43));
    let sum = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text.as_bytes()));
    format!("{text}_{}", &sum[..6])
}

impl World {
    /// Gives the service's address.
    pub(crate) fn address(&self) -> String {
        self.url("")
    }

    /// Makes a token; gives it with its secret.
    pub(crate) async fn token(&self, asked: Value) -> String {
        let (status, answer) = self.ask(self.http().post(self.url("/api/v1/tokens")).json(&asked)).await;
        assert_eq!(status.as_u16(), 201, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Takes a token back.
    pub(crate) async fn revoke(&self, token: &str) {
        let path = format!("/api/v1/tokens/{}/revoke", &token[4..12]);
        let (status, answer) = self.ask(self.http().post(self.url(&path)).json(&json!({"by": "ada"}))).await;
        assert_eq!(status.as_u16(), 200, "{answer}");
    }

    /// Lets a worker of its own token join.
    pub(crate) async fn worker(&self, name: &str) -> Agent {
        let token = self.token(json!({"worker": name})).await;
        let mut agent = Agent::new(&self.address(), &token, name);
        agent.join().await;
        agent
    }

    /// Starts `again`.
    pub(crate) async fn force(&self) {
        let request = self.http().post(self.url("/api/v1/schedulers/again/force")).json(&json!({}));
        let (status, answer) = self.ask(request).await;
        assert_eq!(status.as_u16(), 201, "{answer}");
    }
}
