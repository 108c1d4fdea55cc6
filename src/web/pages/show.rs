//! How single things are shown: signs, times, spans, names. Everything that becomes HTML outside a template is made
//! here, and encoded here.

use std::fmt;

use askama::filters::HtmlSafe;
use gristmill_model::time::say_span;
use gristmill_model::{BuildState, Outcome, RequestState, Timestamp};

use crate::store::read::{BuildRow, BuildsetRow, RequestRow, StepRow};
use crate::web::static_files;

/// HTML that is safe to put into a page as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Markup(String);

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// HTML of a log line; made by `ansi` alone.
pub(crate) fn log_line(renderer: &mut crate::web::ansi::Renderer, text: &[u8]) -> Markup {
    Markup(renderer.html(text))
}

/// What a thing came to or where it stands: always a sign, a colour and a word together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Success,
    Warnings,
    Failure,
    Skipped,
    Exception,
    Retry,
    Cancelled,
    Running,
    /// Free to be placed.
    Ready,
    /// Held by something.
    Waiting,
}

impl From<Outcome> for Sign {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Warnings => Self::Warnings,
            Outcome::Failure => Self::Failure,
            Outcome::Skipped => Self::Skipped,
            Outcome::Exception => Self::Exception,
            Outcome::Retry => Self::Retry,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

impl Sign {
    pub(crate) fn of_build(build: &BuildRow) -> Self {
        match (build.outcome, build.state) {
            (Some(outcome), _) => outcome.into(),
            (None, BuildState::Suspended | BuildState::Resumable) => Self::Waiting,
            (None, _) => Self::Running,
        }
    }

    pub(crate) fn of_request(request: &RequestRow) -> Self {
        Self::of_state(request.state, request.outcome)
    }

    pub(crate) fn of_state(state: RequestState, outcome: Option<Outcome>) -> Self {
        match (outcome, state) {
            (Some(outcome), _) => outcome.into(),
            (None, RequestState::Leased) => Self::Running,
            (None, RequestState::Ready) => Self::Ready,
            (None, _) => Self::Waiting,
        }
    }

    pub(crate) fn of_step(step: &StepRow) -> Self {
        step.outcome.map_or(Self::Running, Self::from)
    }

    /// Gives the sign of a buildset: one of which nothing runs waits.
    pub(crate) fn of_buildset(buildset: &BuildsetRow) -> Self {
        match buildset.outcome {
            Some(outcome) => outcome.into(),
            None if buildset.counts.running > 0 => Self::Running,
            None => Self::Waiting,
        }
    }

    /// Gives the sign of a thing that is over or else runs.
    pub(crate) fn of_outcome(outcome: Option<Outcome>) -> Self {
        outcome.map_or(Self::Running, Self::from)
    }

    /// Gives the name of its class and its icon.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warnings => "warnings",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Exception => "exception",
            Self::Retry => "retry",
            Self::Cancelled => "cancelled",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Waiting => "waiting",
        }
    }

    /// Gives the word for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Success => "ok",
            Self::Failure => "failed",
            other => other.name(),
        }
    }

    /// Gives the icon for lists: success is pale there, trouble is filled.
    pub(crate) fn icon(self) -> Markup {
        self.drawn("i", self == Self::Success)
    }

    /// Gives the icon for the head of the thing's own page.
    pub(crate) fn big(self) -> Markup {
        self.drawn("i big", false)
    }

    /// Gives icon and word, for lists.
    pub(crate) fn full(self) -> Markup {
        Markup(format!(
            "<span class=\"sign\">{}<span class=\"word o-{}\">{}</span></span>",
            self.icon(),
            self.name(),
            self.word()
        ))
    }

    /// Gives the icon with its word for those who cannot see it.
    pub(crate) fn alone(self) -> Markup {
        Markup(format!("{}<span class=\"cut\">{}</span>", self.icon(), self.word()))
    }

    /// Gives the icon for something that is past: what ran then does not turn.
    pub(crate) fn past(self) -> Markup {
        self.drawn("i past", self == Self::Success)
    }

    fn drawn(self, class: &str, quiet: bool) -> Markup {
        let (name, base) = (self.name(), static_files::base());
        let spin = if self == Self::Running && !class.ends_with("past") { " spin" } else { "" };
        let quiet = if quiet { "-quiet" } else { "" };
        Markup(format!(
            "<svg class=\"{class}{spin} o-{name}\" aria-hidden=\"true\" viewBox=\"0 0 16 16\"><use href=\"{base}/icons.svg#{name}{quiet}\"/></svg>"
        ))
    }
}

/// Gives `14:02 UTC`, or `24 Nov 14:02` when it is another day; scripts make "3 m ago" of it.
pub(crate) fn at(time: Timestamp, now: Timestamp) -> Markup {
    moment(time, now, "")
}

/// Gives a moment to come; scripts make "in 3 m" of it.
pub(crate) fn until(time: Timestamp, now: Timestamp) -> Markup {
    moment(time, now, "until")
}

fn moment(time: Timestamp, now: Timestamp, class: &str) -> Markup {
    let text = time.to_rfc3339();
    let (date, clock) = (&text[..10], &text[11..16]);
    let today = now.to_rfc3339();
    let shown = if date == &today[..10] {
        format!("{clock} UTC")
    } else {
        let month = date[5..7].parse::<usize>().unwrap_or(1).clamp(1, 12);
        let year = if date[..4] == today[..4] { String::new() } else { format!(" {}", &date[..4]) };
        format!("{} {}{year} {clock}", date[8..].trim_start_matches('0'), MONTHS[month - 1])
    };
    Markup(format!(
        "<time class=\"{class}\" datetime=\"{}Z\" title=\"{date} {} UTC\">{shown}</time>",
        &text[..19],
        &text[11..19]
    ))
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Gives how long something took, or has taken so far; scripts keep that current.
pub(crate) fn lasted(from: Timestamp, to: Option<Timestamp>, now: Timestamp) -> Markup {
    match to {
        Some(to) => Markup(say_span(to.since(from))),
        None => {
            let text = from.to_rfc3339();
            let span = say_span(now.since(from));
            Markup(format!(
                "<time class=\"tick\" datetime=\"{}Z\" title=\"since {} UTC\">{span}</time>",
                &text[..23],
                &text[11..19]
            ))
        }
    }
}

/// Gives how long a build ran or runs; nothing if it has not begun.
pub(crate) fn build_lasted(build: &BuildRow, now: Timestamp) -> Markup {
    match (build.started_at, build.finished_at) {
        (Some(start), end) => lasted(start, end, now),
        (None, Some(_)) => Markup(String::new()),
        (None, None) => lasted(build.leased_at, None, now),
    }
}

/// Makes a value fit for a path segment or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Gives where something is configured without the folders, which all places share.
pub(crate) fn place(place: &str) -> String {
    place.rsplit('/').next().unwrap_or(place).to_owned()
}

/// Says a number with its noun: `1 build`, `14 builds`.
pub(crate) fn many(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", thousands(count as u64), if count == 1 { "" } else { "s" })
}

/// Says how many slots are free, of those that are busy and all there are.
pub(crate) fn free((busy, all): (usize, usize)) -> String {
    format!("{} free", many(all.saturating_sub(busy), "slot"))
}

/// Gives `18,204`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_say_the_day_only_when_it_is_another() {
        let now = Timestamp::from_seconds(1_795_518_131);
        assert!(at(now, now).to_string().ends_with(">11:02 UTC</time>"));
        assert!(at(Timestamp::from_seconds(1_795_318_131), now).to_string().ends_with(">22 Nov 03:28</time>"));
        assert!(at(Timestamp::from_seconds(951_782_400), now).to_string().ends_with(">29 Feb 2000 00:00</time>"));
    }

    #[test]
    fn numbers_and_names_are_written_for_people_and_for_paths() {
        assert_eq!(
            (thousands(999), thousands(18_204), thousands(1_000_000)),
            ("999".into(), "18,204".into(), "1,000,000".into())
        );
        assert_eq!((many(1, "build"), many(2, "build")), ("1 build".to_owned(), "2 builds".to_owned()));
        assert_eq!(encoded("test[a/b]?"), "test%5Ba%2Fb%5D%3F");
    }
}
