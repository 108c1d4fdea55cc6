//! What it means when a service does not take a request. Pure.

use gristmill_model::protocol::wire::ErrorBody;
use gristmill_model::protocol::{Held, Refusal};

use crate::conclude::one_line;

/// The longest that a service may ask to be left alone.
pub(super) const RETRY_AFTER_SECONDS_MAX: u64 = 300;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be taken as a worker.
    Hello,
    /// Something under the session.
    InSession,
    /// Something about a build.
    About(Held),
}

/// Says whether the session is over: the worker must introduce itself again.
pub(super) fn ends_session(asked: Asked, status: u16) -> bool {
    status == 401 && asked != Asked::Hello
}

/// Puts an answer that is no success into a refusal.
pub(super) fn refusal(asked: Asked, status: u16, body: &ErrorBody) -> Refusal {
    let why = || say(status, body);
    let later = || Refusal::Unavailable { why: why() };
    let rejected = || Refusal::Rejected { why: why() };
    match (status, asked) {
        (410, Asked::About(held)) => {
            let fenced = body.fenced;
            let build = fenced.map_or(held.build, |lease| lease.build);
            Refusal::Fenced { build, epoch: fenced.map_or(held.epoch, |lease| lease.epoch) }
        }
        (409, Asked::About(_)) => match body.length {
            Some(length) => Refusal::Offset { length },
            None => later(),
        },
        // The earlier run of this worker counts as there for a little while.
        (409, Asked::Hello) => later(),
        // The session is over, or somebody else has it: whoever introduces itself again is told more.
        (401, Asked::InSession | Asked::About(_)) => later(),
        (408 | 425 | 429 | 500.., _) => later(),
        _ => rejected(),
    }
}

/// Says in one line what is wrong, and what to do.
fn say(status: u16, body: &ErrorBody) -> String {
    let said = one_line(body.message.trim());
    let mend = match status {
        300..=399 => "the service's address leads elsewhere: give --server the address itself",
        401 => "its token is unknown, revoked or expired: give it a new one",
        403 => "its token does not admit it",
        404 => "there is no service for workers at this address: look at --server",
        409 => "another worker with the same identity is there: give each one a data folder and a token of its own",
        413 => "what it says is larger than the service takes",
        426 => "service and worker have no version of the protocol in common: upgrade the older one",
        _ => "",
    };
    match (said.is_empty(), mend.is_empty()) {
        (false, _) => format!("{said} ({status})"),
        (true, false) => format!("{mend} ({status})"),
        (true, true) => format!("the service answered with {status}"),
    }
}

/// Reads how many seconds a service wants to be left alone. A date is not read: services of ours send seconds.
pub(super) fn retry_after(header: Option<&str>) -> Option<u64> {
    header?.trim().parse().ok().map(|seconds: u64| seconds.min(RETRY_AFTER_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use gristmill_model::BuildId;
    use gristmill_model::protocol::wire::FencedLease;

    use super::*;

    const ABOUT: Asked = Asked::About(Held { build: BuildId(7), epoch: 2 });

    fn check(asked: Asked, status: u16, body: &ErrorBody, expected: &str) {
        let kind = match refusal(asked, status, body) {
            Refusal::Fenced { build, epoch } => format!("fenced {build}/{epoch}"),
            Refusal::Offset { length } => format!("offset {length}"),
            Refusal::Unavailable { why } => format!("later: {why}"),
            Refusal::Rejected { why } => format!("rejected: {why}"),
        };
        assert_eq!(kind, expected, "{asked:?} {status}");
    }

    #[test]
    fn each_answer_has_one_meaning() {
        let empty = ErrorBody::default();
        let told = ErrorBody { message: "the token\nis revoked".to_owned(), ..ErrorBody::default() };
        let length = ErrorBody { length: Some(12), ..ErrorBody::default() };
        let other = FencedLease { build: BuildId(9), epoch: 4 };
        let fenced = ErrorBody { fenced: Some(other), ..ErrorBody::default() };
        check(ABOUT, 410, &empty, "fenced 7/2");
        check(ABOUT, 410, &fenced, "fenced 9/4");
        check(ABOUT, 409, &length, "offset 12");
        check(ABOUT, 503, &empty, "later: the service answered with 503");
        check(ABOUT, 401, &told, "later: the token is revoked (401)");
        check(Asked::Hello, 401, &told, "rejected: the token is revoked (401)");
        check(Asked::Hello, 403, &empty, "rejected: its token does not admit it (403)");
        check(
            Asked::Hello,
            426,
            &empty,
            "rejected: service and worker have no version of the protocol in common: upgrade the older one (426)",
        );
        check(
            Asked::Hello,
            302,
            &empty,
            "rejected: the service's address leads elsewhere: give --server the address itself (302)",
        );
        check(Asked::InSession, 429, &empty, "later: the service answered with 429");
        assert!(ends_session(Asked::InSession, 401) && !ends_session(Asked::Hello, 401));
    }

    #[test]
    fn a_service_may_ask_for_patience_but_not_for_ever() {
        assert_eq!(retry_after(Some(" 7 ")), Some(7));
        assert_eq!(retry_after(Some("99999999")), Some(RETRY_AFTER_SECONDS_MAX));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(retry_after(None), None);
    }
}
