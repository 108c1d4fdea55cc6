//! Cron lines, evaluated in naive local time and mapped to instants by our own rule for summer time.
//!
//! Five fields (minute, hour, day of month, month, day of week), six with seconds first, or `@hourly` and its like. Days
//! of the week are 0 to 7, Sunday is both. If both days are restricted, one that matches is enough (Vixie cron).
//!
//! Summer time, after Vixie cron: a line with a fixed hour fires once a day that it names. If its local time does not
//! exist that day, it fires at the first instant that does; if the local time comes twice, it fires the first time. A
//! line whose hour is `*` follows real time: each hour that passes counts.

use std::str::FromStr;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use cron::Schedule;
use gristmill_model::{Timestamp, mutant};

/// A cron line, ready to be asked.
#[derive(Debug, Clone)]
pub struct Crontab {
    schedules: Vec<Schedule>,
    hour_is_star: bool,
}

/// A cron line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It has the wrong number of fields.
    #[error(
        "a cron line has five fields (minute, hour, day of month, month, day of week), or six with seconds first; this has {found}"
    )]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// A field cannot be read.
    #[error("`{text}` is not a {field} ({wanted})")]
    Field {
        /// The field's text.
        text: String,
        /// The field's name.
        field: &'static str,
        /// What it may be.
        wanted: &'static str,
    },
    /// An `@` word that does not exist.
    #[error("`{word}` is not one of @yearly, @monthly, @weekly, @daily, @hourly")]
    Word {
        /// The word.
        word: String,
    },
    /// It names no day that ever comes.
    #[error("this never comes")]
    Never,
}

/// Names and ranges of the fields, seconds first.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31"),
    ("month", "1 to 12, or jan to dec"),
    ("day of week", "0 to 7, Sunday is 0 and 7, or sun to sat"),
];

/// How far local clocks are ever put back or forward in one go, with room: where overlaps are looked for.
const OVERLAP_MAX: TimeDelta = TimeDelta::hours(3);
/// The longest gap that local time ever had is a day (Samoa, 2011); in minutes, with room.
const GAP_MINUTES_MAX: i64 = 25 * 60;

impl Crontab {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, by field.
    pub fn parse(line: &str) -> Result<Self, CronError> {
        let line = expand_word(line.trim())?;
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        match fields.len() {
            5 => fields.insert(0, "0"),
            6 => {}
            found => return Err(CronError::Fields { found }),
        }
        let day_of_week = rewrite_day_of_week(fields[5]).ok_or_else(|| bad_field(5, fields[5]))?;
        for (index, text) in fields.iter().enumerate().take(5) {
            let mut alone = ["*"; 6];
            alone[index] = text;
            if text.contains('?') || Schedule::from_str(&alone.join(" ")).is_err() {
                return Err(bad_field(index, text));
            }
        }
        let line_with = |day_of_month: &str, day_of_week: &str| {
            let text = [fields[0], fields[1], fields[2], day_of_month, fields[4], day_of_week].join(" ");
            Schedule::from_str(&text).map_err(|_| bad_field(5, fields[5]))
        };
        let both_restricted = !fields[3].starts_with('*') && !fields[5].starts_with('*');
        let schedules = if both_restricted {
            vec![line_with(fields[3], "*")?, line_with("*", &day_of_week)?]
        } else {
            vec![line_with(fields[3], &day_of_week)?]
        };
        let crontab = Self { schedules, hour_is_star: fields[2].starts_with('*') };
        let some_day = Timestamp::from_seconds(1_600_000_000);
        crontab.next(some_day, Tz::UTC).map(|_| crontab).ok_or(CronError::Never)
    }

    /// Gives the first instant after `after` at which the line fires in `zone`; `None` if there is none in a lifetime.
    pub fn next(&self, after: Timestamp, zone: Tz) -> Option<Timestamp> {
        let after = DateTime::<Utc>::from_timestamp(after.seconds(), 0)?;
        let local = after.with_timezone(&zone).naive_local();
        let start = local.checked_sub_signed(OVERLAP_MAX)?;
        self.schedules
            .iter()
            .filter_map(|schedule| self.next_of(schedule, start, after, zone))
            .min()
            .map(|instant| Timestamp::from_seconds(instant.timestamp()))
    }

    /// Looks through naive candidates until none can map to an earlier instant than the best one.
    fn next_of(
        &self,
        schedule: &Schedule,
        start: NaiveDateTime,
        after: DateTime<Utc>,
        zone: Tz,
    ) -> Option<DateTime<Utc>> {
        let mut best: Option<(DateTime<Utc>, NaiveDateTime)> = None;
        for candidate in schedule.after_owned(start.and_utc()) {
            let naive = candidate.naive_utc();
            if let Some((_, found_at)) = best
                && naive - found_at > OVERLAP_MAX
            {
                break;
            }
            let earliest = self.instants(naive, zone).into_iter().flatten().filter(|instant| *instant > after).min();
            if let Some(instant) = earliest
                && best.is_none_or(|(known, _)| instant < known)
            {
                best = Some((instant, naive));
            }
        }
        best.map(|(instant, _)| instant)
    }

    fn instants(&self, naive: NaiveDateTime, zone: Tz) -> [Option<DateTime<Utc>>; 2] {
        match zone.from_local_datetime(&naive) {
            LocalResult::Single(instant) => [Some(instant.to_utc()), None],
            LocalResult::Ambiguous(first, second) if self.hour_is_star || mutant::is_on(36) => {
                [Some(first.to_utc()), Some(second.to_utc())]
            }
            LocalResult::Ambiguous(first, second) => [Some(first.min(second).to_utc()), None],
            LocalResult::None if self.hour_is_star => [None, None],
            LocalResult::None => [first_after_gap(naive, zone), None],
        }
    }
}

fn first_after_gap(naive: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let minute = naive - TimeDelta::seconds(naive.and_utc().timestamp().rem_euclid(60));
    (1..GAP_MINUTES_MAX).find_map(|minutes| {
        zone.from_local_datetime(&(minute + TimeDelta::minutes(minutes))).earliest().map(|instant| instant.to_utc())
    })
}

fn expand_word(line: &str) -> Result<&str, CronError> {
    match line {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        word if word.starts_with('@') => Err(CronError::Word { word: word.to_owned() }),
        line => Ok(line),
    }
}

fn bad_field(index: usize, text: &str) -> CronError {
    let (field, wanted) = FIELDS[index];
    CronError::Field { text: text.to_owned(), field, wanted }
}

/// Rewrites 0–7 with Sunday as 0 and 7 to the crate's 1–7 with Sunday as 1. `None` if it cannot be read.
fn rewrite_day_of_week(text: &str) -> Option<String> {
    let mut days = [false; 7];
    if text.starts_with('*') && !text.contains('/') {
        return (text == "*").then(|| text.to_owned());
    }
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((first, last)) => (day_number(first)?, day_number(last)?),
            None if item.contains('/') => (day_number(range)?, 6),
            None => (day_number(range)?, day_number(range)?),
        };
        let last = if last < first && last == 0 { 7 } else { last };
        if last < first {
            return None;
        }
        (first..=last).step_by(step).for_each(|day| days[day % 7] = true);
    }
    let named: Vec<String> = (0..7).filter(|day| days[*day]).map(|day| (day + 1).to_string()).collect();
    Some(named.join(","))
}

fn day_number(text: &str) -> Option<usize> {
    const NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let lower = text.to_ascii_lowercase();
    NAMES.iter().position(|name| *name == lower).or_else(|| text.parse().ok().filter(|day| *day <= 7))
}

/// Reads an IANA zone's name.
pub fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

/// Gives the local date of an instant, for texts.
pub fn local_date(at: Timestamp, zone: Tz) -> Option<(i32, u32, u32)> {
    let local = DateTime::<Utc>::from_timestamp(at.seconds(), 0)?.with_timezone(&zone);
    Some((local.year(), local.month(), local.day()))
}

#[cfg(test)]
mod tests {
    use chrono::Timelike;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_seconds(DateTime::parse_from_rfc3339(text).expect("a date").timestamp())
    }

    fn check(line: &str, zone_name: &str, after: &str, wanted: &[&str]) {
        let crontab = Crontab::parse(line).expect("a cron line");
        let zone = zone(zone_name).expect("a zone");
        let mut now = at(after);
        for want in wanted {
            now = crontab.next(now, zone).expect("a next firing");
            assert_eq!(now, at(want), "{line} in {zone_name}: got {now}, wanted {want}");
        }
    }

    #[test]
    fn a_fixed_hour_that_does_not_exist_fires_right_after_the_gap() {
        check(
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
        );
        check("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2011-12-30T10:00:00Z"]);
    }

    #[test]
    fn a_fixed_hour_that_comes_twice_fires_once() {
        check(
            "30 1 * * *",
            "America/New_York",
            "2026-11-01T00:00:00Z",
            &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
        );
    }

    #[test]
    fn every_hour_follows_real_time() {
        check(
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"],
        );
        check(
            "*/30 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:00:00Z",
            &["2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"],
        );
    }

    #[test]
    fn days_of_the_week_count_as_people_count_them() {
        check("0 0 * * 0", "UTC", "2026-11-24T00:00:00Z", &["2026-11-29T00:00:00Z"]);
        check("0 0 * * 7", "UTC", "2026-11-24T00:00:00Z", &["2026-11-29T00:00:00Z"]);
        check("0 0 * * mon-fri", "UTC", "2026-11-27T12:00:00Z", &["2026-11-30T00:00:00Z"]);
        check("0 0 13 * 5", "UTC", "2026-11-10T00:00:00Z", &["2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]);
        check(
            "0 0 * * 5-7",
            "UTC",
            "2026-11-24T00:00:00Z",
            &["2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"],
        );
    }

    #[test]
    fn mistakes_name_the_field() {
        for (line, wanted) in [
            (
                "0 3 * *",
                "a cron line has five fields (minute, hour, day of month, month, day of week), or six with seconds first; this has 4",
            ),
            ("61 3 * * *", "`61` is not a minute (0 to 59)"),
            ("0 3 * * MON#1", "`MON#1` is not a day of week (0 to 7, Sunday is 0 and 7, or sun to sat)"),
            ("0 0 31 2 *", "this never comes"),
            ("@nightly", "`@nightly` is not one of @yearly, @monthly, @weekly, @daily, @hourly"),
        ] {
            assert_eq!(Crontab::parse(line).expect_err(line).to_string(), wanted);
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "[0-9*/,@a-z -]{0,24}") {
            drop(Crontab::parse(&line));
        }

        /// Brute force over real minutes, for lines with a fixed or a free hour, in zones with every kind of shift.
        #[test]
        fn the_next_firing_is_the_one_that_walking_every_minute_finds(
            minute in 0u32..60, hour in prop::option::of(0u32..24),
            zone_name in prop::sample::select(vec!["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "UTC"]),
            start in 1_767_225_600i64..1_798_761_600,
        ) {
            let hour_text = hour.map_or("*".to_owned(), |hour| hour.to_string());
            let crontab = Crontab::parse(&format!("{minute} {hour_text} * * *")).expect("a cron line");
            let zone = zone(zone_name).expect("a zone");
            let after = Timestamp::from_seconds(start - start % 60);
            let found = crontab.next(after, zone).expect("a firing").seconds();
            prop_assert!(found > after.seconds());
            let matches = |second: i64| {
                let local = DateTime::<Utc>::from_timestamp(second, 0).expect("in range").with_timezone(&zone);
                let earlier = DateTime::<Utc>::from_timestamp(second - 60, 0).expect("in range").with_timezone(&zone).naive_local();
                let naive = local.naive_local();
                let Some(hour) = hour else { return naive.minute() == minute };
                let wanted = naive.date().and_hms_opt(hour, minute, 0).expect("a time");
                let is_second_time = zone.from_local_datetime(&naive).latest().is_some_and(|late| late == local)
                    && zone.from_local_datetime(&naive).earliest().is_some_and(|early| early != local);
                (naive == wanted && !is_second_time) || (earlier < wanted && wanted < naive && naive - earlier > TimeDelta::minutes(1))
            };
            let first = (1..3 * 1440).map(|minutes| after.seconds() + minutes * 60).find(|second| matches(*second));
            prop_assert_eq!(Some(found), first);
        }
    }
}
