//! Cron lines, time zones, points in time.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use gristmill_model::Timestamp;
use gristmill_model::time::say_span;
use gristmill_schedulers::cron::{Crontab, local_date, zone};

use super::{blind_seeds, texts};
use crate::Target;
use crate::source::Source;

pub(super) const CRON: Target = Target {
    seeds: || {
        texts(&[
            "AAAAA0 3 * * *",
            "BBBBB30 2 * * *",
            "CCCCC*/15 * * * 1-5",
            "DDDDD0 0 13 * 5",
            "EEEEE15 */6 1,15 * *",
            "FFFFF@hourly",
            "GGGGG0 12 29 2 *",
            "HHHHH30 1 * * sun",
            "IIIII10 0 2 * * *",
            "JJJJJ5-50/7 0-23 * jan-jun 0,7",
        ])
    },
    words: &[
        "*", "*/2", "0", "59", "23", "2", "30", "1", "-", ",", "/", "sun", "mon", "JAN", "dec", "7", "31", "29 2",
        "@daily", "@weekly", " ", "?", "L", "#",
    ],
    size_max: 96,
    short: 1_000,
    ..Target::new(
        "cron",
        "the next firing lies after now, the one after it after that, and both are those that walking every minute of local \
         time finds",
        run_cron,
    )
};

/// How far the slow walk goes.
const WALK_MINUTES: i64 = 4 * 1440;

fn run_cron(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let zone = TZ_VARIANTS[(source.below(256) * 256 + source.below(256)) % TZ_VARIANTS.len()];
    // Half an hour of the years 1970 to 2038, so that every change of every zone is met.
    let half_hours = i64::try_from(source.below(128) * 65_536 + source.below(256) * 256 + source.below(256)).unwrap();
    let now = Timestamp::from_seconds(half_hours % 1_200_000 * 1800);
    let line = String::from_utf8_lossy(source.rest()).into_owned();
    let Ok(crontab) = Crontab::parse(&line) else { return };
    let Some(first) = crontab.next(now, zone) else { return };
    assert!(first > now, "{line:?} in {zone}: {first} is not after {now}");
    let second = crontab.next(first, zone);
    assert!(second.is_none_or(|second| second > first), "{line:?} in {zone}: {second:?} is not after {first}");
    let Some(slow) = Slow::parse(&line) else { return };
    let mut at = now;
    for found in [Some(first), second] {
        let walked = slow.next(at, zone);
        let found_near = found.filter(|found| found.seconds() - at.seconds() <= WALK_MINUTES * 60);
        assert_eq!(found_near, walked, "{line:?} in {zone} after {at}: found {found:?}");
        match found {
            Some(found) => at = found,
            None => return,
        }
    }
}

/// A line of five plain fields, read in another way than the product reads it.
struct Slow {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    months: Vec<u32>,
    weekdays: Vec<u32>,
    is_any_hour: bool,
    is_any_day: bool,
    is_any_weekday: bool,
}

impl Slow {
    /// Reads it, if it has only stars, numbers, ranges, lists and steps.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
        let is_plain = |field: &&&str| field.bytes().all(|byte| byte.is_ascii_digit() || b"*,-/".contains(&byte));
        if !fields.iter().all(|field| is_plain(&field)) {
            return None;
        }
        Some(Self {
            minutes: numbers(minute, 0, 59)?,
            hours: numbers(hour, 0, 23)?,
            days: numbers(day, 1, 31)?,
            months: numbers(month, 1, 12)?,
            weekdays: numbers(weekday, 0, 7)?.into_iter().map(|day| day % 7).collect(),
            is_any_hour: hour.starts_with('*'),
            is_any_day: day.starts_with('*'),
            is_any_weekday: weekday.starts_with('*'),
        })
    }

    fn names_day(&self, naive: NaiveDateTime) -> bool {
        let by_date = self.days.contains(&naive.day());
        let by_week = self.weekdays.contains(&naive.weekday().num_days_from_sunday());
        let is_day = match (self.is_any_day, self.is_any_weekday) {
            (false, false) => by_date || by_week,
            _ => by_date && by_week,
        };
        is_day && self.months.contains(&naive.month())
    }

    fn names(&self, naive: NaiveDateTime) -> bool {
        naive.second() == 0
            && self.minutes.contains(&naive.minute())
            && self.hours.contains(&naive.hour())
            && self.names_day(naive)
    }

    /// Walks real minutes; a fixed hour fires the first time that its local time comes, or when that was skipped.
    fn next(&self, after: Timestamp, zone: Tz) -> Option<Timestamp> {
        let local =
            |second: i64| DateTime::<Utc>::from_timestamp(second, 0).unwrap().with_timezone(&zone).naive_local();
        let mut second = after.seconds() - after.seconds().rem_euclid(60);
        let last = after.seconds() + WALK_MINUTES * 60;
        let mut before = local(second);
        while second + 60 <= last {
            second += 60;
            let now = local(second);
            if second > after.seconds() && self.fires(before, now, second, zone) {
                return Some(Timestamp::from_seconds(second));
            }
            before = now;
        }
        None
    }

    fn fires(&self, before: NaiveDateTime, now: NaiveDateTime, second: i64, zone: Tz) -> bool {
        if self.is_any_hour {
            return self.names(now);
        }
        let first = zone.from_local_datetime(&now).earliest().map(|instant| instant.timestamp());
        if self.names(now) && first == Some(second) {
            return true;
        }
        // The minutes of local time that were skipped on the way here.
        let mut skipped = before + TimeDelta::minutes(1);
        while skipped < now {
            if self.names(skipped) {
                return true;
            }
            skipped += TimeDelta::minutes(1);
        }
        false
    }
}

fn numbers(field: &str, least: u32, most: u32) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None if range == "*" => (least, most),
            None => (range.parse().ok()?, if item.contains('/') { most } else { range.parse().ok()? }),
        };
        if first > last || first < least || last > most {
            return None;
        }
        all.extend((first..=last).step_by(step));
    }
    Some(all)
}

pub(super) const SPANS: Target = Target {
    seeds: blind_seeds,
    size_max: 512,
    short: 10_000,
    ..Target::new(
        "spans",
        "every point in time and every span is written without panic, points read back where the calendar has them, and local \
         dates are those of the zone",
        run_spans,
    )
};

fn run_spans(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (at, span) = (Timestamp(source.number()), Duration::from_micros(source.number().unsigned_abs()));
    for point in [at, at.after(span), at.before(span), Timestamp::from_seconds(at.0)] {
        let text = point.to_rfc3339();
        if let Some(known) = DateTime::<Utc>::from_timestamp_micros(point.0)
            && (0..=9999).contains(&known.year())
        {
            let read = DateTime::parse_from_rfc3339(&text).expect("the calendar has it").timestamp_micros();
            assert_eq!(read, point.0, "{text}");
        }
        assert!(!point.to_minute().is_empty() && point.to_clock().len() == 8);
    }
    assert!(at.before(span) <= at && at <= at.after(span));
    assert!(!say_span(span).is_empty() && !say_span(at.since(at.before(span))).is_empty());
    let name = String::from_utf8_lossy(source.rest()).into_owned();
    let tz = zone(&name).unwrap_or(Tz::Europe__Berlin);
    if let Some((_, month, day)) = local_date(at, tz) {
        assert!((1..=12).contains(&month) && (1..=31).contains(&day));
    }
}
