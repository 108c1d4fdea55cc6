//! When a worker may be given builds: its windows, as spans of instants.
//!
//! A window begins on certain days at a local time and ends some minutes later on the same or the next day; windows that
//! touch are one. A local time that does not exist on a day (summer time begins) is the first instant after the gap; one
//! that comes twice is the first.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, TimeDelta, TimeZone, Utc};
use gristmill_model::{Timestamp, Window};

use crate::cron;

/// How many days are looked ahead: a window comes every week, or never.
const DAYS_AHEAD: u64 = 9;

/// Where a worker's windows are at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It has none: always open.
    Always,
    /// It is open.
    Open {
        /// Until when.
        until: Timestamp,
        /// When it opens again after that.
        again: Option<Timestamp>,
    },
    /// It is closed.
    Closed {
        /// When it opens; `None` if no window ever does.
        opens: Option<Timestamp>,
    },
}

impl Opening {
    /// Gives the next moment at which a build may begin that cannot begin now.
    pub fn next(self) -> Option<Timestamp> {
        match self {
            Self::Always => None,
            Self::Open { again, .. } => again,
            Self::Closed { opens } => opens,
        }
    }
}

/// Looks where `windows` are at `now`. Linear in the windows.
pub fn look(windows: &[Window], now: Timestamp) -> Opening {
    if windows.is_empty() {
        return Opening::Always;
    }
    let mut spans: Vec<(Timestamp, Timestamp)> = windows.iter().flat_map(|window| spans(window, now)).collect();
    spans.sort_unstable();
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let opens = merged.iter().map(|(from, _)| *from).find(|from| *from > now);
    match merged.iter().find(|(from, to)| *from <= now && now < *to) {
        Some((_, until)) => Opening::Open { until: *until, again: opens },
        None => Opening::Closed { opens },
    }
}

/// Lists a window's spans from yesterday on.
fn spans(window: &Window, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let Some(zone) = cron::zone(&window.timezone) else { return Vec::new() };
    let Some(utc) = DateTime::<Utc>::from_timestamp_micros(now.0) else { return Vec::new() };
    let today = utc.with_timezone(&zone).date_naive();
    let Some(first) = today.checked_sub_days(Days::new(1)) else { return Vec::new() };
    let days = (0..=DAYS_AHEAD).filter_map(|day| first.checked_add_days(Days::new(day)));
    let begins = |day: &NaiveDate| window.days[day.weekday().num_days_from_monday() as usize];
    let span = |day: NaiveDate| Some((instant(day, window.from, zone)?, instant(day, window.to, zone)?));
    days.filter(begins).filter_map(span).filter(|(from, to)| from < to).collect()
}

/// Gives the instant of so many minutes after a local midnight, by the clock on the wall.
fn instant(day: NaiveDate, minutes: u16, zone: chrono_tz::Tz) -> Option<Timestamp> {
    let naive = day.and_hms_opt(0, 0, 0)? + TimeDelta::minutes(i64::from(minutes));
    // Gaps are hours at the most.
    let found = (0..=180).step_by(15).find_map(|later| {
        match zone.from_local_datetime(&(naive + TimeDelta::minutes(later))) {
            LocalResult::Single(at) => Some(at),
            LocalResult::Ambiguous(first, _) => Some(first),
            LocalResult::None => None,
        }
    })?;
    Some(Timestamp(found.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(DateTime::parse_from_rfc3339(text).expect("a moment").timestamp_micros())
    }

    fn nights() -> Vec<Window> {
        let days = [true, true, true, true, true, false, false];
        let night = Window { days, from: 20 * 60, to: 30 * 60, timezone: "Europe/Berlin".to_owned() };
        let days = [false, false, false, false, false, true, true];
        let weekend = Window { days, from: 0, to: 24 * 60, timezone: "Europe/Berlin".to_owned() };
        vec![night, weekend]
    }

    #[test]
    fn nights_and_weekends_are_open_and_touch() {
        // 2026-11-24 is a Tuesday; Berlin is an hour ahead.
        let noon = look(&nights(), at("2026-11-24T12:00:00Z"));
        assert_eq!(noon, Opening::Closed { opens: Some(at("2026-11-24T19:00:00Z")) });
        let night = look(&nights(), at("2026-11-25T01:00:00Z"));
        let again = Some(at("2026-11-25T19:00:00Z"));
        assert_eq!(night, Opening::Open { until: at("2026-11-25T05:00:00Z"), again });
        // Friday's night, both days of the weekend, and no further.
        let friday = look(&nights(), at("2026-11-27T20:00:00Z"));
        let again = Some(at("2026-11-30T19:00:00Z"));
        assert_eq!(friday, Opening::Open { until: at("2026-11-29T23:00:00Z"), again });
        assert_eq!(look(&[], at("2026-11-27T20:00:00Z")), Opening::Always);
    }

    #[test]
    fn the_edges_are_exact_and_a_gap_is_passed_over() {
        let edge = at("2026-11-24T19:00:00Z");
        assert!(matches!(look(&nights(), edge), Opening::Open { .. }));
        assert!(matches!(look(&nights(), Timestamp(edge.0 - 1)), Opening::Closed { .. }));
        let gap = Window { days: [true; 7], from: 150, to: 300, timezone: "Europe/Berlin".to_owned() };
        // On 2026-03-29 there is no 02:30 in Berlin: it opens at 03:00, which is 01:00 UTC.
        let before = look(std::slice::from_ref(&gap), at("2026-03-29T00:59:00Z"));
        assert_eq!(before.next(), Some(at("2026-03-29T01:00:00Z")));
        let never = Window { days: [false; 7], ..gap };
        assert_eq!(look(&[never], edge), Opening::Closed { opens: None });
    }
}
