//! Pages in a real browser: live without a reload, and harmless whatever stands on them.

use serde_json::Value;

use crate::support::World;
use crate::support::browser::Browser;

const CONFIG: &str = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check: {source: app, steps: [checkout, {name: test, run: sh test.sh}]}
schedulers: {push: {kind: any-branch, when: {repository: app}, build: [check]}}
";

const SUBJECT: &str = "<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script> & co";

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_follows_and_runs_nothing_that_strangers_wrote() {
    let (world, repositories) = World::start(CONFIG, &["app"]).await;
    let browser = Browser::start().await;
    browser.open(&world.url("/")).await;
    browser.until("the page is live", "document.querySelector('#pill')?.dataset.state === 'live'").await;
    browser.run("window.kept = 'the same document'").await;

    repositories[0].push("<script>window.owned=1<slash-script>", SUBJECT, &[("test.sh", "echo '<b>x</b>'; exit 1\n")]);
    world.notice("app").await;
    browser.until("the incident appears", "document.querySelector('a[href^=\"/builds/1\"]') !== null").await;
    assert_eq!(browser.run("return window.kept").await, "the same document", "it was not loaded again");

    for page in ["/", "/changes/1", "/buildsets/1", "/builds/1", "/requests/1", "/changes", "/builds", "/schedulers"] {
        browser.open(&world.url(page)).await;
        browser.until("the page is live", "document.querySelector('#pill')?.dataset.state === 'live'").await;
        assert_eq!(browser.run("return window.owned ?? null").await, Value::Null, "{page} ran a stranger's script");
        assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length").await, 0, "{page}");
        let too_wide = browser.run("return document.documentElement.scrollWidth > innerWidth").await;
        assert_eq!(too_wide, false, "{page} scrolls sideways");
    }
    browser.open(&world.url("/builds/1")).await;
    browser.until("the log is there", "document.querySelector('main').innerText.includes('<b>x</b>')").await;
    browser.close().await;
}
