//! From a broken build to the people, by a real mail server and a real IRC server.

use crate::support::World;
use crate::support::irc::IrcServer;
use crate::support::mail::{MailServer, header};

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_is_told_once_and_so_is_the_fix() {
    let mut mail = MailServer::start().await;
    let irc = IrcServer::start().await;
    let mut channel = irc.listen("lin", "#shop").await;
    let config = format!(
        "
repositories: {{app: {{git: FOLDER/app.git}}}}
projects: {{shop: {{repositories: [app]}}}}
builders:
  linux: {{project: shop, source: app, steps: [checkout, {{name: test, run: sh test.sh}}]}}
  mac: {{project: shop, source: app, steps: [checkout, {{name: test, run: sh test.sh}}]}}
schedulers:
  push: {{kind: branch, when: {{repository: app, branch: main}}, build: [linux, mac]}}
notifiers:
  mail: {{kind: mail, smtp: 'smtp://127.0.0.1:{}', from: 'CI <ci@example.org>'}}
  irc: {{kind: irc, server: '127.0.0.1:{}', tls: false, nick: gristmill, channels: ['#shop']}}
  nowhere: {{kind: mail, smtp: 'smtp://127.0.0.1:1', from: 'CI <ci@example.org>'}}
routes:
  - {{when: {{branch: main, transition: [broke, fixed]}}, to: [irc, {{mail: [culprits]}}, {{nowhere: ['x@example.org']}}]}}
",
        mail.port, irc.port
    );
    let (mut world, repositories) = World::start(&config, &["app"]).await;
    channel.until("JOIN").await;
    repositories[0].push("main", "pass", &[("test.sh", "true\n")]);
    world.notice("app").await;
    let broken = "echo compiling\necho 'src/q.c:7: error: no such function' >&2\nexit 1\n";
    repositories[0].push_as("Bob", "main", "Count\u{1b}[31m <b>faster</b>", &[("test.sh", broken)]);
    world.notice("app").await;

    let told = mail.next().await;
    assert_eq!(told["to"], serde_json::json!(["bob@example.org"]));
    assert!(header(&told, "Subject").contains("broke"), "{told}");
    assert!(!header(&told, "Subject").contains('\u{1b}'));
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("no such function") && text.contains("/builds/"), "{text}");
    let html = told["html"].as_str().unwrap();
    assert!(html.contains("&lt;b&gt;") && !html.contains("<b>faster"), "{html}");
    let line = channel.until("broke").await;
    assert!(line.contains("PRIVMSG #shop") && line.contains("Bob") && !line.contains('\u{1b}'), "{line}");

    world.restart().await;
    repositories[0].push_as("Lin", "main", "slow and right", &[("test.sh", "true\n")]);
    world.notice("app").await;
    let fixed = mail.next().await;
    assert!(header(&fixed, "Subject").contains("fixed"), "nothing was told again: {fixed}");
    assert_eq!(header(&fixed, "References"), header(&told, "References"), "one incident is one thread");
    assert!(channel.until("PRIVMSG").await.contains("fixed"));
    let incidents = world.get("/api/v1/incidents").await;
    assert_eq!(incidents["items"].as_array().unwrap().len(), 1, "one culprit range is one incident");
    let waiting = world.get("/api/v1/messages").await;
    let stuck = waiting["items"].as_array().unwrap().iter().filter(|message| message["state"] == "due").count();
    assert!(stuck >= 1, "what cannot be delivered waits, and held up nobody: {waiting}");
}
