//! Findings: what changed between the last look of the service at itself and this one.

use std::collections::BTreeSet;

use gristmill_model::EventBody;

use crate::input::{Examination, Examined};
use crate::turn::Turn;

/// Tells what is newly found and what is no longer. A finding that stays is not told again, whatever its words are now;
/// one whose check could not look stays; one whose check is gone is cleared.
pub fn examined(turn: &mut Turn<'_>, examined: Vec<Examined>) {
    let known: BTreeSet<&str> = examined.iter().map(|one| one.check.as_str()).collect();
    let orphans: Vec<String> =
        turn.state.findings.keys().filter(|check| !known.contains(check.as_str())).cloned().collect();
    for check in orphans {
        turn.emit(EventBody::DoctorCleared { check });
    }
    for Examined { check, result } in examined {
        match (result, turn.state.findings.contains_key(&check)) {
            (Examination::Found(detail), false) => turn.emit(EventBody::DoctorFound { check, detail }),
            (Examination::Sound, true) => turn.emit(EventBody::DoctorCleared { check }),
            (Examination::Found(_), true) | (Examination::Sound, false) | (Examination::NotLooked, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use gristmill_model::{Catalog, Timestamp};

    use super::*;
    use crate::State;

    /// Looks several times, a line each: `check`, `check!` what it found, `check?` where it could not look.
    fn check(looks: &str, wanted: Expect) {
        let (catalog, mut state, mut said) = (Catalog::default(), State::default(), String::new());
        for look in looks.lines().map(str::trim).filter(|look| !look.is_empty()) {
            let mut turn = Turn::new(&catalog, &mut state, Timestamp::default());
            let words = look.split_whitespace().map(|word| match word.split_once(['!', '?']) {
                Some((check, "")) => Examined { check: check.to_owned(), result: Examination::NotLooked },
                Some((check, detail)) => {
                    Examined { check: check.to_owned(), result: Examination::Found(detail.to_owned()) }
                }
                None => Examined { check: word.to_owned(), result: Examination::Sound },
            });
            examined(&mut turn, words.collect());
            let told: Vec<String> = turn
                .events
                .iter()
                .map(|body| match body {
                    EventBody::DoctorFound { check, detail } => format!("found {check}: {detail}"),
                    EventBody::DoctorCleared { check } => format!("cleared {check}"),
                    other => format!("{other:?}"),
                })
                .collect();
            said += &format!("{look} -> {}\n", if told.is_empty() { "nothing".to_owned() } else { told.join(", ") });
        }
        wanted.assert_eq(&said);
    }

    #[test]
    fn a_finding_that_stays_is_told_once() {
        check(
            "outbox tips
             outbox!gap tips
             outbox!wider tips
             outbox tips
             outbox!again tips!gone
             outbox tips",
            expect![[r#"
                outbox tips -> nothing
                outbox!gap tips -> found outbox: gap
                outbox!wider tips -> nothing
                outbox tips -> cleared outbox
                outbox!again tips!gone -> found outbox: again, found tips: gone
                outbox tips -> cleared outbox, cleared tips
            "#]],
        );
    }

    #[test]
    fn what_could_not_be_looked_at_stays_and_what_is_no_check_any_more_goes() {
        check(
            "outbox!gap old!x
             outbox? old
             outbox!gap
             outbox?
             outbox",
            expect![[r#"
                outbox!gap old!x -> found outbox: gap, found old: x
                outbox? old -> cleared old
                outbox!gap -> nothing
                outbox? -> nothing
                outbox -> cleared outbox
            "#]],
        );
    }

    #[test]
    fn a_check_that_was_removed_takes_its_finding_along() {
        check(
            "outbox!gap old!x
             outbox!gap",
            expect![[r#"
                outbox!gap old!x -> found outbox: gap, found old: x
                outbox!gap -> cleared old
            "#]],
        );
    }
}
