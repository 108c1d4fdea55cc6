//! `kill -9` of the real program, a second one, and a full disk: nothing is lost and nothing happens twice.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use crate::support::postgres::{self, Postgres};
use crate::support::process::Served;
use crate::support::{Repository, set_up_process};

pub(super) const CONFIG: &str = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check: {source: app, steps: [checkout, {run: 'echo $$ > FOLDER/pid-$GRISTMILL_ATTEMPT; read go < FOLDER/gate', name: wait}]}
schedulers: {push: {kind: any-branch, when: {repository: app}, build: [check]}}
";

pub(super) struct Yard {
    pub(super) folder: tempfile::TempDir,
    pub(super) app: Repository,
    gate: File,
}

impl Yard {
    pub(super) fn make(config: &str) -> Self {
        set_up_process();
        let folder = tempfile::tempdir().unwrap();
        let app = Repository::make(folder.path(), "app");
        let text = config.replace("FOLDER", folder.path().to_str().unwrap());
        std::fs::write(folder.path().join("gristmill.yaml"), text).unwrap();
        let gate = folder.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Open for both, so that neither side ever waits for the other to open it.
        let gate = File::options().read(true).write(true).open(gate).unwrap();
        Self { folder, app, gate }
    }

    /// Serves it with a database that only the environment names.
    async fn serve_on(&self, url: &str) -> Served {
        let (file, data) = (self.folder.path().join("gristmill.yaml"), self.folder.path().join("data"));
        Served::start_under(&["env", &format!("GRISTMILL_DATABASE={url}")], &file, &data).await
    }

    pub(super) async fn serve(&self) -> Served {
        Served::start(&self.folder.path().join("gristmill.yaml"), &self.folder.path().join("data")).await
    }

    /// Lets one step that waits, now or later, go on.
    pub(super) fn let_one_pass(&self) {
        (&self.gate).write_all(b"go\n").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_a_server_keeps_everything_there() {
    let yard = Yard::make(CONFIG);
    let url = Postgres::shared().database();
    let served = yard.serve_on(&url).await;
    served.until("first sight", |event| event["kind"] == "repository.seen").await;
    let first = served.get("/api/v1/events?since=0&limit=1").await["items"][0].clone();
    served.kill().await;
    assert!(!yard.folder.path().join("data/gristmill.db").exists());
    let count = "SELECT CAST(COUNT(*) AS TEXT) FROM event WHERE kind = 'repository.seen'";
    assert_eq!(postgres::ask(&url, count).unwrap(), ["1"]);

    let served = yard.serve_on(&url).await;
    assert_eq!(served.get("/api/v1/events?since=0&limit=1").await["items"][0], first);
    assert!(first.is_object());
    assert!(served.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_goes_on_where_it_was() {
    let yard = Yard::make(CONFIG);
    let served = yard.serve().await;
    served.until("first sight", |event| event["kind"] == "repository.seen").await;
    yard.app.push("main", "go", &[("a", "1")]);
    let is_waiting = |event: &serde_json::Value| event["kind"] == "step.started" && event["body"]["name"] == "wait";
    served.until("the waiting step", is_waiting).await;
    let second = Command::new(env!("CARGO_BIN_EXE_gristmill"))
        .args(["serve", "gristmill.yaml", "--data", "data", "--listen", "127.0.0.1:0"])
        .current_dir(yard.folder.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("already serves"), "{second:?}");

    served.kill().await;
    yard.app.push("main", "while it was away", &[("a", "2")]);
    let served = yard.serve().await;
    let is_retry = |event: &serde_json::Value| event["kind"] == "build.finished" && event["body"]["retry"] == true;
    served.until("the lost attempt", is_retry).await;
    for _ in 0..2 {
        yard.let_one_pass();
    }
    // Whichever ends first.
    for buildset in [1, 2] {
        let is_done =
            |event: &serde_json::Value| event["kind"] == "buildset.completed" && event["body"]["buildset"] == buildset;
        served.until("the end of a buildset", is_done).await;
    }
    let builds = served.get("/api/v1/builds").await;
    let mut outcomes: Vec<&str> =
        builds["items"].as_array().unwrap().iter().map(|build| build["outcome"].as_str().unwrap_or("-")).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["retry", "success", "success"], "{builds}");
    let changes = served.get("/api/v1/changes").await;
    assert_eq!(changes["items"].as_array().unwrap().len(), 2, "both pushes, each once");
    let lost: i32 = std::fs::read_to_string(yard.folder.path().join("pid-1")).unwrap().trim().parse().unwrap();
    let is_gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(lost), None).is_err();
    assert!(is_gone || lost == 0, "the lost attempt's process does not live on");
    assert!(served.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_depends_on_a_build_that_a_crash_ended_for_good_is_built() {
    let once = CONFIG.replace("{source: app, steps", "{source: app, retries: 0, steps").replace(
        "schedulers: {",
        "  mourn: {source: app, steps: [checkout]}\nschedulers: {after: {kind: dependent, upstream: push, if: finished, build: [mourn]}, ",
    );
    let yard = Yard::make(&once);
    let served = yard.serve().await;
    served.until("first sight", |event| event["kind"] == "repository.seen").await;
    yard.app.push("main", "go", &[("a", "1")]);
    served.until("a step", |event| event["kind"] == "step.started" && event["body"]["name"] == "wait").await;
    served.kill().await;
    let served = yard.serve().await;
    let is_mourned = |event: &serde_json::Value| {
        event["kind"] == "buildset.completed" && event["body"]["buildset"] == 2 && event["body"]["outcome"] == "success"
    };
    served.until("what depends on it", is_mourned).await;
    let builds = served.get("/api/v1/builds").await;
    let outcome = |build: usize| builds["items"][build]["outcome"].clone();
    assert_eq!((outcome(1), outcome(0)), ("exception".into(), "success".into()), "{builds}");
    assert!(served.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_afterwards_all_is_there() {
    let yard = Yard::make(&CONFIG.replace("read go < FOLDER/gate", "head -c 3000000 /dev/urandom | base64"));
    let (file, data) = (yard.folder.path().join("gristmill.yaml"), yard.folder.path().join("data"));
    // No file may grow past one mebibyte: the logs and the database meet that as they meet a full disk.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "limited"];
    let served = Served::start_under(&limited, &file, &data).await;
    served.until("first sight", |event| event["kind"] == "repository.seen").await;
    yard.app.push("main", "too much", &[("a", "1")]);
    served.until("a lease", |event| event["kind"] == "build.leased").await;
    served.kill().await;
    let served = yard.serve().await;
    served.until("the end", |event| event["kind"] == "buildset.completed").await;
    let builds = served.get("/api/v1/builds").await;
    assert_eq!(builds["items"][0]["outcome"], "success", "{builds}");
    let log = served.get("/api/v1/builds").await["items"][0]["id"].as_i64().unwrap();
    let steps = served.get(&format!("/api/v1/builds/{log}")).await;
    assert!(steps["steps"][1]["log"]["bytes"].as_u64().unwrap() > 4_000_000, "{steps}");
}
