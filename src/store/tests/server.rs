//! What only a server can do: end under us, be cut off, stand under somebody else's lock, promise less than it must.

use std::sync::Arc;

use gristmill_model::*;
use gristmill_schedulers::State;

use super::Kind;
use super::fixture::*;
use super::proxy::{At, Cut, Proxy};
use crate::postgres::{Postgres, ask};
use crate::store::{CommitError, Database, Store, StoreError, Turn};

/// One turn writes four rows or none: a change, its tip, and two events.
fn turn(head: Seq) -> Turn {
    let number = head.0 / 2 + 1;
    let change = change(number, number, (number > 1).then_some(number as u32 - 1), Some(number as u32));
    let failing = EventBody::SourceFailing { repository: "lib".into(), error: "x".into(), failures: number as u32 };
    Turn { expected_head: head, events: vec![EventBody::ChangeSeen { change }, failing], ..Turn::default() }
}

async fn open(url: &str) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Store::open_database(folder.path(), &Database::Server(url.to_owned())).await.unwrap(), folder)
}

async fn refusal(url: &str) -> StoreError {
    let folder = tempfile::tempdir().unwrap();
    Store::open_database(folder.path(), &Database::Server(url.to_owned())).await.unwrap_err()
}

/// Holds the tables against the fold of the journal, which is what was acknowledged up to `head`.
async fn check(store: &Store, head: Seq) {
    let mut folded = State::default();
    loop {
        let events = store.reader().events_after(folded.head, 1_000).await.unwrap();
        if events.is_empty() {
            break;
        }
        for event in events {
            assert_eq!(event.seq, folded.head.next());
            folded.apply(&event);
        }
    }
    assert_eq!(folded.head, head);
    store.verify(&folded).await.unwrap();
}

fn assert_passing(error: &CommitError) {
    match error {
        CommitError::Store(error) => assert!(error.is_transient(), "{}", crate::chain::chain(error)),
        CommitError::HeadMoved { .. } => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_under_load_has_every_turn_that_was_acknowledged() {
    let server = Arc::new(tokio::task::spawn_blocking(Postgres::start).await.unwrap());
    let (store, _folder) = open(&server.database()).await;
    let mut head = Seq(0);
    let mut failures = 0;
    for _ in 0..3 {
        let before = head;
        while head.0 < before.0 + 20 {
            head = store.commit(turn(head)).await.unwrap();
        }
        let crashing = Arc::clone(&server);
        let crash = tokio::task::spawn_blocking(move || {
            crashing.crash();
            crashing.resurrect();
        });
        while !crash.is_finished() {
            match store.commit(turn(head)).await {
                Ok(new) => head = new,
                Err(error) => {
                    failures += 1;
                    assert_passing(&error);
                    // What was refused was not written, and what was acknowledged is there.
                    match store.load().await {
                        Ok(state) => assert_eq!(state.head, head),
                        Err(error) => assert!(error.is_transient(), "{}", crate::chain::chain(&error)),
                    }
                }
            }
        }
        crash.await.unwrap();
        // Nobody has to do anything for it to go on.
        head = store.commit(turn(head)).await.unwrap();
        check(&store, head).await;
    }
    assert!(failures > 0, "the crashes were noticed");
    store.close().await;
}

#[tokio::test]
async fn a_turn_whose_commit_was_carried_out_is_acknowledged_though_the_answer_was_lost() {
    let (proxy, url) = Proxy::before(&Postgres::shared().database()).await;
    let (store, _folder) = open(&url).await;
    let head = store.commit(turn(Seq(0))).await.unwrap();
    proxy.cut(Cut { at: At::Commit, passes: true });
    let head = store.commit(turn(head)).await.unwrap();
    assert!(!proxy.is_whole());
    check(&store, head).await;
    let head = store.commit(turn(head)).await.unwrap();
    check(&store, head).await;
}

#[tokio::test]
async fn a_turn_whose_commit_never_came_is_refused_and_may_be_said_again() {
    let (proxy, url) = Proxy::before(&Postgres::shared().database()).await;
    let (store, _folder) = open(&url).await;
    let head = store.commit(turn(Seq(0))).await.unwrap();
    proxy.cut(Cut { at: At::Commit, passes: false });
    let error = store.commit(turn(head)).await.unwrap_err();
    assert!(!proxy.is_whole());
    assert_passing(&error);
    check(&store, head).await;
    let head = store.commit(turn(head)).await.unwrap();
    check(&store, head).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_anywhere_leaves_a_turn_whole_or_nothing_of_it() {
    let (proxy, url) = Proxy::before(&Postgres::shared().database()).await;
    let (store, _folder) = open(&url).await;
    let mut head = store.commit(turn(Seq(0))).await.unwrap();
    for passes in [false, true] {
        for packet in 0.. {
            proxy.cut(Cut { at: At::Packet(packet), passes });
            match store.commit(turn(head)).await {
                Ok(new) => head = new,
                Err(error) => assert_passing(&error),
            }
            let is_whole = proxy.is_whole();
            check(&store, head).await;
            if is_whole {
                // The fence, the rows, the commit; on a new connection two more that prepare.
                assert!((3..=5).contains(&packet), "a turn is {packet} packets");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_ended_while_nobody_used_it_is_no_trouble() {
    let server = Postgres::shared();
    let url = server.database();
    let (store, _folder) = open(&url).await;
    let head = store.commit(turn(Seq(0))).await.unwrap();
    let end_all = "SELECT CAST(COUNT(pg_terminate_backend(pid)) AS TEXT) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(ask(&url, end_all).unwrap(), ["1"]);
    let head = store.commit(turn(head)).await.unwrap();
    assert_eq!(ask(&url, end_all).unwrap(), ["1"]);
    assert_eq!(store.load().await.unwrap().head, head);
    check(&store, head).await;
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_no_transaction_open() {
    let url = Postgres::shared().database();
    let (store, _folder) = open(&url).await;
    let head = store.commit(turn(Seq(0))).await.unwrap();
    // More than there are connections, each dropped at another moment.
    for polls in 0..20 {
        let mut read = Box::pin(store.reader().events_after(Seq(0), 10));
        for _ in 0..polls {
            if futures_util::poll!(read.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..20 {
        assert_eq!(store.reader().head().await.unwrap(), head);
    }
    let open = "SELECT CAST(COUNT(*) AS TEXT) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    assert_eq!(ask(&url, open).unwrap(), ["0"]);
    check(&store, head).await;
}

#[tokio::test]
async fn of_two_stores_on_one_database_the_later_is_told_where_the_head_is() {
    let url = Postgres::shared().database();
    let ((one, _one), (other, _other)) = (open(&url).await, open(&url).await);
    let head = one.commit(turn(Seq(0))).await.unwrap();
    match other.commit(turn(Seq(0))).await {
        Err(CommitError::HeadMoved { expected, found }) => assert_eq!((expected, found), (Seq(0), head)),
        unexpected => panic!("{unexpected:?}"),
    }
    // At the same moment exactly one of them is first, and the other loses nothing but time.
    let (mut first, mut head) = ([0, 0], head);
    for _ in 0..20 {
        let (by_one, by_other) = tokio::join!(one.commit(turn(head)), other.commit(turn(head)));
        let by_whom = match (by_one, by_other) {
            (Ok(new), Err(CommitError::HeadMoved { found, .. })) if new == found => 0,
            (Err(CommitError::HeadMoved { found, .. }), Ok(new)) if new == found => 1,
            unexpected => panic!("{unexpected:?}"),
        };
        first[by_whom] += 1;
        head = Seq(head.0 + 2);
    }
    assert_eq!(first[0] + first[1], 20);
    check(&one, head).await;
}

#[tokio::test]
async fn masters_that_start_together_make_the_schema_once() {
    let url = Postgres::shared().database();
    let stores = futures_util::future::join_all((0..4).map(|_| open(&url))).await;
    for (store, _) in &stores {
        check(store, Seq(0)).await;
    }
    let head = stores[3].0.commit(turn(Seq(0))).await.unwrap();
    check(&stores[0].0, head).await;
}

#[tokio::test]
async fn somebody_elses_lock_is_waited_for_and_not_for_ever() {
    let world = World::new(Kind::Postgres).await;
    let mut other = world.connect().await;
    let lock = "BEGIN; UPDATE journal_head SET seq = seq";
    other.script(crate::store::database::Text::Same(lock)).await.unwrap();
    let refused = world.store.commit(turn(Seq(0))).await.unwrap_err();
    assert_passing(&refused);
    other.close().await.unwrap();
    assert_eq!(world.store.commit(turn(Seq(0))).await.unwrap(), Seq(2));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refusal(&format!("postgres://ada:s3cret@127.0.0.1:{port}/mill")).await;
    assert!(error.is_transient());
    let text = format!("{} {error:?}", crate::chain::chain(&error));
    assert!(text.contains(&format!("cannot reach the database `mill` at 127.0.0.1:{port}")), "{text}");
    assert!(text.contains("is PostgreSQL running there") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_somebodys_mistake() {
    let error = refusal(&Postgres::shared().url("nowhere")).await;
    assert!(!error.is_transient());
    let text = crate::chain::chain(&error);
    assert!(text.contains("`nowhere` at 127.0.0.1") && text.contains("does not exist"), "{text}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused() {
    let url = Postgres::shared().database();
    let name = url.rsplit_once('/').unwrap().1;
    ask(&url, &format!("ALTER DATABASE {name} SET synchronous_commit = off")).unwrap();
    let error = refusal(&url).await;
    assert!(error.to_string().contains("`synchronous_commit = on` (it says `off`)"), "{error}");

    let server = tokio::task::spawn_blocking(|| Postgres::start_with(&["fsync=off"])).await.unwrap();
    let error = refusal(&server.database()).await;
    assert!(error.to_string().contains("`fsync = on` (it says `off`)"), "{error}");
}

#[tokio::test]
async fn a_server_that_stands_still_goes_on_where_it_was() {
    let server = Arc::new(tokio::task::spawn_blocking(Postgres::start).await.unwrap());
    let (store, _folder) = open(&server.database()).await;
    let head = store.commit(turn(Seq(0))).await.unwrap();
    server.pause();
    let mut commit = Box::pin(store.commit(turn(head)));
    for _ in 0..100 {
        assert!(futures_util::poll!(commit.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    server.unpause();
    let head = commit.await.unwrap();
    server.stop();
    assert_passing(&store.commit(turn(head)).await.unwrap_err());
    server.resurrect();
    let head = store.commit(turn(head)).await.unwrap();
    check(&store, head).await;
}
