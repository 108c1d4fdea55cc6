//! Names and texts that mean harm, and repositories that go away.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{World, git};

const CONFIG: &str = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check: {source: app, steps: [checkout, {run: 'printf \"%s\\n\" \"$GRISTMILL_BRANCH\"'}]}
schedulers: {push: {kind: any-branch, when: {repository: app}, build: [check]}}
";

#[tokio::test(flavor = "multi_thread")]
async fn branch_names_are_only_names() {
    let (world, repositories) = World::start(CONFIG, &["app"]).await;
    let marker = world.folder.path().join("pwned");
    let branches = [
        format!("--upload-pack=touch${{IFS}}{}", marker.display()).replace('/', "%"),
        "$(touch%pwned)".to_owned(),
        "`id`".to_owned(),
        ";id".to_owned(),
        "<script>alert(1)<%script>".to_owned(),
        "-x".to_owned(),
    ]
    .map(|name| name.replace('%', "_"));
    for branch in &branches {
        let revision = repositories[0].push("spare", branch, &[("a", branch.as_str())]);
        let bare = world.folder.path().join("app.git");
        git(&bare, &["update-ref", &format!("refs/heads/{branch}"), &revision]);
    }
    world.notice("app").await;
    let list = world.get("/api/v1/builds?limit=200").await;
    let builds = list["items"].as_array().unwrap();
    assert!(builds.len() >= branches.len(), "{}", builds.len());
    for build in builds {
        assert_eq!(build["outcome"], "success", "{build}");
        let id = gristmill_model::BuildId(build["id"].as_i64().unwrap());
        let log = world.log(id, 1).await;
        assert!(log.ends_with(&format!("{}\n", build["branch"].as_str().unwrap())), "{log}");
        let page = world.http().get(world.url(&format!("/builds/{id}"))).send().await.unwrap().text().await.unwrap();
        assert!(!page.contains("<script>alert"), "{page}");
    }
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_vanishes_is_told_and_comes_back() {
    let (world, repositories) = World::start(CONFIG, &["app"]).await;
    let bare = world.folder.path().join("app.git");
    let away = world.folder.path().join("away.git");
    std::fs::rename(&bare, &away).unwrap();
    let problem = world.service().sweep(&"app".into()).await.expect_err("it is gone");
    assert!(problem.contains("app.git"), "{problem}");
    world.settle().await;
    let repositories_now = world.get("/api/v1/repositories").await;
    assert!(repositories_now["items"][0]["error"].as_str().is_some_and(|error| error.contains("app.git")));
    std::fs::rename(&away, &bare).unwrap();
    repositories[0].push("main", "back again", &[("a", "1")]);
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"]);
    assert!(world.get("/api/v1/repositories").await["items"][0]["error"].is_null());
}

/// Serves mail to nobody: every recipient is refused for good. Gives the port.
async fn mail_server_that_refuses() -> u16 {
    async fn talk(stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 here\r\n").await?;
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            let answer = if line.starts_with("RCPT") { "550 no such person\r\n" } else { "250 fine\r\n" };
            stream.write_all(answer.as_bytes()).await?;
            line.clear();
        }
        Ok(())
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn notifiers_that_all_fail_do_not_tell_of_each_other_without_end() {
    let port = mail_server_that_refuses().await;
    let mail = format!("{{kind: mail, smtp: 'smtp://127.0.0.1:{port}', from: 'CI <ci@example.org>'}}");
    let config = CONFIG.replace("run: '", "run: 'exit 1; ")
        + &format!(
            "
notifiers: {{one: {mail}, two: {mail}}}
routes:
  - {{when: {{transition: broke}}, to: [{{one: [shop@example.org]}}]}}
  - {{when: {{event: message.dead}}, to: [{{one: [ops@example.org]}}, {{two: [ops@example.org]}}]}}
"
        );
    let (world, repositories) = World::start(&config, &["app"]).await;
    repositories[0].push("main", "break it", &[("a", "1")]);
    world.notice("app").await;
    let list = world.get("/api/v1/messages").await;
    let mut told: Vec<String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| format!("{} {} {}", message["notifier"], message["target"], message["state"]).replace('"', ""))
        .collect();
    told.reverse();
    assert_eq!(told, ["one shop@example.org dead", "two ops@example.org dead"]);
}
