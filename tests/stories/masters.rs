//! Two masters on one PostgreSQL database: one decides, both serve, and the other takes over.

use std::path::Path;

use gristmill::service::{Options, Service, ServiceError};
use gristmill::store::Database;
use gristmill_model::Seq;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::support::postgres::Postgres;
use crate::support::process::Served;
use crate::support::{Repository, set_up_process, soon};

const CONFIG: &str = "
repositories: {app: {git: FOLDER/app.git, poll: 1h}}
builders:
  check: {source: app, steps: [checkout, {run: 'echo $GRISTMILL_BUILD >> FOLDER/effects', name: act}]}
schedulers:
  push: {kind: any-branch, when: {repository: app}, build: [check]}
  again: {kind: force, build: [check]}
";

/// Repositories, and a database that several masters share.
struct Site {
    folder: tempfile::TempDir,
    app: Repository,
    database: String,
    http: reqwest::Client,
}

impl Site {
    fn make() -> Self {
        set_up_process();
        let folder = tempfile::tempdir().unwrap();
        let app = Repository::make(folder.path(), "app");
        let text = CONFIG.replace("FOLDER", folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("gristmill.yaml"), text).unwrap();
        Self { folder, app, database: Postgres::shared().database(), http: reqwest::Client::new() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn master(&self, name: &str) -> Service {
        self.start(name, "logs").await.unwrap_or_else(|problem| panic!("{}", gristmill::chain::chain(&problem)))
    }

    async fn start(&self, name: &str, logs: &str) -> Result<Service, ServiceError> {
        let (file, data) = (self.path().join("gristmill.yaml"), self.path().join(name));
        let options = Options {
            database: Database::Server(self.database.clone()),
            logs: Some(self.path().join(logs)),
            ..Options::new(file, data, ([127, 0, 0, 1], 0).into())
        };
        soon("the start", Service::start(options)).await
    }

    async fn get(&self, master: &Service, path: &str) -> Value {
        let request = self.http.get(format!("http://{}{path}", master.address()));
        soon("an answer", request.send()).await.unwrap().json().await.unwrap()
    }

    /// Starts `again` by the API of a master, as a client does: while nobody leads it comes again. Gives the answer.
    async fn force(&self, master: &Service, key: &str) -> (reqwest::StatusCode, Value) {
        let forced = async {
            loop {
                let (status, answer) = self.force_once(master, key).await;
                if status != reqwest::StatusCode::SERVICE_UNAVAILABLE {
                    return (status, answer);
                }
            }
        };
        soon("a decision", forced).await
    }

    async fn force_once(&self, master: &Service, key: &str) -> (reqwest::StatusCode, Value) {
        let request = self
            .http
            .post(format!("http://{}/api/v1/schedulers/again/force", master.address()))
            .header("Idempotency-Key", key)
            .json(&json!({"parameters": {}, "reason": "because"}));
        let answer = soon("an answer", request.send()).await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap())
    }

    fn effects(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join("effects")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

async fn leads(master: &Service) {
    soon("the lead", master.engine().leads().wait_for(|leads| *leads)).await.unwrap();
}

async fn reaches(master: &Service, head: Seq) {
    soon("what the leader wrote", master.head().wait_for(|here| *here >= head)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_follows_shows_passes_on_and_takes_over() {
    let site = Site::make();
    let first = site.master("first").await;
    leads(&first).await;
    soon("a look", first.sweep(&"app".into())).await.unwrap();
    let second = site.master("second").await;
    assert!(!*second.engine().leads().borrow(), "one leads already");

    // It shows what the other one decides, and why.
    site.app.push("main", "one", &[("a", "1")]);
    soon("a look", first.sweep(&"app".into())).await.unwrap();
    soon("rest", first.settle()).await;
    let head = *first.head().borrow();
    reaches(&second, head).await;
    second.verify().await.unwrap();
    assert_eq!(site.get(&second, "/api/v1/builds/1").await, site.get(&first, "/api/v1/builds/1").await);
    assert_eq!(site.get(&second, "/api/v1/builds/1").await["outcome"], "success");
    assert_eq!(second.engine().catalog().hash, first.engine().catalog().hash);

    // What must be decided it passes on; a repeat by the other way is the same request.
    let (status, forced) = site.force(&second, "k-1").await;
    assert_eq!((status.as_u16(), &forced["buildset"]), (201, &json!(2)), "{forced}");
    assert_eq!(site.force(&first, "k-1").await.1["buildset"], json!(2));
    soon("rest", first.settle()).await;

    // It takes over as soon as the other one goes, and repeats nothing.
    soon("the stop", first.stop()).await;
    leads(&second).await;
    soon("rest", second.settle()).await;
    second.verify().await.unwrap();
    let (_, forced) = site.force(&second, "k-1").await;
    assert_eq!(forced["buildset"], json!(2), "the answer outlives the master that gave it");
    site.app.push("main", "two", &[("a", "2")]);
    soon("a look", second.sweep(&"app".into())).await.unwrap();
    soon("rest", second.settle()).await;
    assert_eq!(site.effects(), ["1", "2", "3"]);
    soon("the stop", second.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_overtaken_decides_nothing_more() {
    let site = Site::make();
    let first = site.master("first").await;
    leads(&first).await;
    soon("a look", first.sweep(&"app".into())).await.unwrap();
    let second = site.master("second").await;
    // As if it had been frozen for longer than a lease, and the other one had taken over.
    let name = std::fs::read_to_string(site.path().join("second/master")).unwrap();
    let overtake = format!(
        "UPDATE leader SET epoch = epoch + 1, master = '{}', address = 'http://{}' RETURNING master",
        name.trim(),
        second.address()
    );
    Postgres::shared().ask(site.database.rsplit('/').next().unwrap(), &overtake);
    leads(&second).await;
    soon("stepping down", first.engine().leads().wait_for(|leads| !leads)).await.unwrap();
    let (status, forced) = site.force(&first, "k-1").await;
    assert_eq!((status.as_u16(), &forced["buildset"]), (201, &json!(1)), "it was passed on: {forced}");
    soon("rest", second.settle()).await;
    let head = *second.head().borrow();
    reaches(&first, head).await;
    first.verify().await.unwrap();
    // Both go; whoever has not the lead has nothing to give up.
    soon("the stop", first.stop()).await;
    assert!(*second.engine().leads().borrow());
    soon("the stop", second.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_with_other_logs_than_the_others_does_not_start() {
    let site = Site::make();
    let first = site.master("first").await;
    let refusal = site.start("second", "other-logs").await.unwrap_err().to_string();
    assert!(refusal.contains("other-logs is not the folder of logs that the other masters"), "{refusal}");
    soon("the stop", first.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_leads_what_must_be_decided_is_refused_for_now() {
    let site = Site::make();
    let first = site.master("first").await;
    let second = site.master("second").await;
    let database = site.database.rsplit('/').next().unwrap();
    soon("the stop", first.stop()).await;
    leads(&second).await;
    // A leader that nobody can reach, and that still beats as far as anybody can see.
    Postgres::shared()
        .ask(database, "UPDATE leader SET epoch = epoch + 1, master = 'far', address = '' RETURNING master");
    soon("stepping down", second.engine().leads().wait_for(|leads| !leads)).await.unwrap();
    let request = site.http.post(format!("http://{}/api/v1/schedulers/again/force", second.address())).json(&json!({}));
    let answer = soon("an answer", request.send()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let page = soon("a page", site.http.get(format!("http://{}/", second.address())).send()).await.unwrap();
    assert_eq!(page.status().as_u16(), 200, "reading goes on");
    soon("the stop", second.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_the_other_one_goes_on_with_its_builds() {
    let site = Site::make();
    let logs = site.path().join("logs");
    let environment = [("GRISTMILL_DATABASE", site.database.as_str()), ("GRISTMILL_LOGS", logs.to_str().unwrap())];
    let file = site.path().join("gristmill.yaml");
    let first = Served::start_with(&environment, &file, &site.path().join("first")).await;
    first.until("first sight", |event| event["kind"] == "repository.seen").await;
    let second = Served::start_with(&environment, &file, &site.path().join("second")).await;
    site.app.push("main", "one", &[("a", "1")]);
    first.until("a build", |event| event["kind"] == "build.leased").await;
    first.kill().await;
    // The lease of a master that says nothing any more ends after 20 s; its build is tried again.
    second.until("the end", |event| event["kind"] == "buildset.completed").await;
    let builds = second.get("/api/v1/builds").await;
    let outcomes: Vec<&str> =
        builds["items"].as_array().unwrap().iter().filter_map(|one| one["outcome"].as_str()).collect();
    assert_eq!(outcomes.first(), Some(&"success"), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| ["success", "retry"].contains(outcome)), "{outcomes:?}");
    assert!(second.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_predecessors_last_turn_is_committed_while_it_starts_leads_all_the_same() {
    let site = Site::make();
    let first = site.master("first").await;
    leads(&first).await;
    soon("the stop", first.stop()).await;
    // Another configuration, so that whoever leads next has something to write.
    let file = site.path().join("gristmill.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("again:", "later:");
    std::fs::write(&file, text).unwrap();
    // As if a master had sent this right before it was killed, and the server took its time.
    let mut late = PgConnection::connect(&site.database).await.unwrap();
    let turn = "BEGIN; UPDATE journal_head SET seq = seq + 1;
        INSERT INTO event (seq, at, kind, body) SELECT seq, (SELECT max(at) FROM event), 'catalog.refused',
        '{\"kind\": \"catalog.refused\", \"problems\": \"line 3\"}' FROM journal_head";
    sqlx::raw_sql(turn).execute(&mut late).await.unwrap();
    let waiting = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // On a connection of its own: within one transaction the server shows what it showed first.
    let mut watch = PgConnection::connect(&site.database).await.unwrap();
    let committed = async {
        while sqlx::query(waiting).fetch_all(&mut watch).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut late).await.unwrap();
    };
    let (second, ()) = tokio::join!(site.master("first"), soon("a turn that waits", committed));
    leads(&second).await;
    soon("rest", second.settle()).await;
    second.verify().await.unwrap();
    assert!(second.engine().catalog().schedulers.contains_key("later"), "its configuration is in force");
    soon("the stop", second.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_masters_with_one_name_the_deposed_one_takes_another() {
    let site = Site::make();
    let first = site.master("first").await;
    leads(&first).await;
    // Somebody copied the data folder, in order to have a second master.
    let name = |folder: &str| std::fs::read_to_string(site.path().join(folder).join("master")).unwrap();
    let copied = name("first");
    std::fs::create_dir(site.path().join("second")).unwrap();
    std::fs::write(site.path().join("second/master"), &copied).unwrap();
    // It cannot tell that this is not its own lead, from before it was killed.
    let second = site.master("second").await;
    leads(&second).await;
    soon("stepping down", first.engine().leads().wait_for(|leads| !leads)).await.unwrap();
    let renamed = async {
        while name("first") == copied {
            tokio::task::yield_now().await;
        }
    };
    soon("another name", renamed).await;
    // From then on they are two: what the one is asked, the other decides.
    let (status, forced) = site.force(&first, "k-1").await;
    assert_eq!((status.as_u16(), &forced["buildset"]), (201, &json!(1)), "it was passed on: {forced}");
    assert!(*second.engine().leads().borrow());
    assert_eq!(name("second"), copied);
    soon("the stop", second.stop()).await;
    leads(&first).await;
    soon("the stop", first.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_cannot_read_the_configuration_in_force_decides_nothing_before_its_own_is() {
    let site = Site::make();
    let logs = site.path().join("logs");
    let environment = [("GRISTMILL_DATABASE", site.database.as_str()), ("GRISTMILL_LOGS", logs.to_str().unwrap())];
    let first = Served::start_with(&environment, &site.path().join("gristmill.yaml"), &site.path().join("first")).await;
    first.until("the built-in worker", |event| event["kind"] == "worker.joined").await;
    first.kill().await;
    // As if a newer version had written it, which was then taken back.
    let mut database = PgConnection::connect(&site.database).await.unwrap();
    sqlx::query("UPDATE catalog_text SET text = 'repositories: [from the future'")
        .execute(&mut database)
        .await
        .unwrap();
    let (head,): (i64,) = sqlx::query_as("SELECT seq FROM journal_head").fetch_one(&mut database).await.unwrap();

    let again = site.master("first").await;
    leads(&again).await;
    let first_turn = "SELECT kind FROM event WHERE at = (SELECT at FROM event WHERE seq = $1) ORDER BY seq";
    let kinds: Vec<(String,)> = sqlx::query_as(first_turn).bind(head + 1).fetch_all(&mut database).await.unwrap();
    let kinds: Vec<&str> = kinds.iter().map(|(kind,)| &**kind).collect();
    assert_eq!(kinds, ["worker.left", "catalog.activated"]);
    soon("the stop", again.stop()).await;
}
