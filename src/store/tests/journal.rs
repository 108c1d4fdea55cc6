//! The fence, the numbers, cursors, answers.

use gristmill_model::*;

use super::fixture::*;
use super::{Kind, on_both};
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::{CommitError, StoreError, Turn};

fn failing(failures: u32) -> EventBody {
    EventBody::SourceFailing { repository: "lib".into(), error: "gone".into(), failures }
}

async fn numbers_are_without_gaps_in_commit_order_and_refused_turns_use_none(kind: Kind) {
    let mut world = World::new(kind).await;
    world.happen(vec![failing(1), failing(2)]).await;
    assert_eq!(world.refused(vec![failing(3), verdict(99, "ci", VerdictKind::Nothing)]).await, "verdict");
    world.happen(vec![failing(3)]).await;

    let events = world.store.reader().events_after(Seq(0), 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(events[2].body, failing(3));
    assert_eq!(events[2].at, world.now);
    assert_eq!(world.store.reader().events_after(Seq(1), 1).await.unwrap(), events[1..2]);
    assert_eq!(world.store.reader().head().await.unwrap(), Seq(3));
}

async fn a_turn_that_was_decided_elsewhere_is_refused_and_says_where_the_head_is(kind: Kind) {
    let mut world = World::new(kind).await;
    world.happen(vec![failing(1)]).await;
    for stale in [0, 2] {
        let turn = Turn { expected_head: Seq(stale), at: world.now, events: vec![failing(9)], ..Turn::default() };
        match world.store.commit(turn).await {
            Err(CommitError::HeadMoved { expected, found }) => assert_eq!((expected, found), (Seq(stale), Seq(1))),
            other => panic!("{other:?}"),
        }
    }
    world.store.verify(&world.state).await.unwrap();
}

async fn a_cursor_moves_with_its_turn_and_never_back_or_ahead(kind: Kind) {
    let mut world = World::new(kind).await;
    assert_eq!(world.store.reader().cursor("announcer").await.unwrap(), Seq(0));
    world.happen(vec![failing(1), failing(2)]).await;
    let mut turn = world.turn(vec![]);
    turn.cursors = vec![("announcer".into(), Seq(2))];
    assert_eq!(world.commit(turn).await.unwrap(), Seq(2));
    assert_eq!(world.store.reader().cursor("announcer").await.unwrap(), Seq(2));
    for wrong in [1, 3] {
        let mut turn = world.turn(vec![]);
        turn.cursors = vec![("announcer".into(), Seq(wrong))];
        let refused = world.store.commit(turn).await;
        assert!(
            matches!(refused, Err(CommitError::Store(StoreError::Inconsistent { table: "cursor", .. }))),
            "{refused:?}"
        );
    }
    assert_eq!(world.store.reader().cursor("announcer").await.unwrap(), Seq(2));
}

async fn an_answer_is_kept_with_its_turn_once(kind: Kind) {
    let mut world = World::new(kind).await;
    let mut turn = world.turn(vec![failing(1)]);
    turn.answers = vec![answer("ada/1")];
    world.commit(turn.clone()).await.unwrap();
    let recalled = world.store.reader().recall_answer("ada/1").await.unwrap().unwrap();
    assert_eq!((recalled.request_sha256, recalled.body), (answer("ada/1").request_sha256, answer("ada/1").body));
    assert_eq!(world.store.reader().recall_answer("ada/2").await.unwrap(), None);

    turn.expected_head = world.state.head;
    let refused = world.store.commit(turn).await;
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Inconsistent { table: "answer", .. }))));
    world.store.verify(&world.state).await.unwrap();
}

async fn a_turn_larger_than_any_may_be_is_refused_before_the_database_is_asked(kind: Kind) {
    let mut world = World::new(kind).await;
    let turn = world.turn(vec![failing(1); crate::store::turn::limit::EVENTS_MAX + 1]);
    let refused = world.store.commit(turn).await;
    assert!(matches!(refused, Err(CommitError::Store(StoreError::TooLarge { .. }))), "{refused:?}");
}

async fn any_text_comes_back_as_it_went(kind: Kind) {
    let mut world = World::new(kind).await;
    for text in [
        "",
        "\0",
        "a\0b",
        "\\u0000 \\\" \" ' ; -- $1",
        "\u{7f}\r\n\t",
        "ß → 水車 🜄",
        "{\"kind\":1}",
        "\u{2028}\u{fffe}",
    ] {
        // Names have no zero characters: neither a configuration nor git lets one in.
        let name = text.replace('\0', "0");
        let failing = EventBody::SourceFailing { repository: name.as_str().into(), error: text.into(), failures: 1 };
        world.happen(vec![failing]).await;
        let change = change(world.state.last.change.0 + 1, 1, None, Some(1));
        // A webhook's words have any.
        let author = Person { name: text.into(), email: text.into() };
        let commit = Commit { author, message: text.into(), files: vec![text.into()], ..commit() };
        let change = Change { repository: name.as_str().into(), commits: vec![commit], ..change };
        let id = change.id.0;
        let kind = VerdictKind::Held {
            until: None,
            repository: name.as_str().into(),
            branch: "main".into(),
            revision: revision(1),
        };
        world.happen(vec![EventBody::ChangeSeen { change }, verdict(id, &name, kind)]).await;
        let row = sql("SELECT author FROM change WHERE id = $1").bind(id).fetch_one(world.store.reader().pool()).await;
        assert_eq!(Record::of("change", &row.unwrap()).text("author").unwrap(), text);
    }
    let events = world.store.reader().events_after(Seq(0), 100).await.unwrap();
    let mut folded = gristmill_schedulers::State::default();
    events.iter().for_each(|event| folded.apply(event));
    world.store.verify(&folded).await.unwrap();
    world.restart().await;
}

fn commit() -> Commit {
    Commit {
        revision: revision(1),
        author: Person { name: String::new(), email: String::new() },
        message: String::new(),
        files: Vec::new(),
        at: Timestamp(1),
    }
}

on_both! {
    numbers_are_without_gaps_in_commit_order_and_refused_turns_use_none,
    a_turn_that_was_decided_elsewhere_is_refused_and_says_where_the_head_is,
    a_cursor_moves_with_its_turn_and_never_back_or_ahead,
    an_answer_is_kept_with_its_turn_once,
    a_turn_larger_than_any_may_be_is_refused_before_the_database_is_asked,
    any_text_comes_back_as_it_went,
}
