//! Timed schedulers: S19, with a calendar of its own.

use gristmill_model::{SchedulerKind, SchedulerName, Timestamp};

use super::{Checked, Checker, must};
use crate::config::Config;
use crate::store::Store;

impl Checker {
    /// S19: a moment fires once, when it has come, and the next one is the right one.
    pub(super) fn s19_timer(
        &mut self,
        store: &Store,
        now: Timestamp,
        name: &SchedulerName,
        nominal: Option<Timestamp>,
        next: Option<Timestamp>,
    ) -> Checked {
        self.count("S19");
        let config = self.in_force()?;
        let (last, set) = store.rows.timers.get(name).copied().unwrap_or_default();
        if let Some(nominal) = nominal {
            must(Some(nominal) == set && nominal <= now, "S19", || {
                format!("{name} fires {nominal}, and {set:?} was set")
            })?;
            must(last.is_none_or(|last| last < nominal), "S19", || format!("{name} fires {nominal} after {last:?}"))?;
        }
        let Some(scheduler) = config.catalog.schedulers.get(name) else { return Ok(()) };
        let from = nominal.or(last).map_or(now, |nominal| nominal.max(now));
        let wanted = match &scheduler.kind {
            SchedulerKind::Periodic { every, .. } => {
                let after = nominal.unwrap_or(from).after(*every);
                Some(if after > now { after } else { now.after(*every) })
            }
            SchedulerKind::Nightly { cron, timezone, .. } => calendar(cron, timezone == "Europe/Berlin", from),
            _ => None,
        };
        must(next == wanted, "S19", || format!("{name} is set to {next:?} after {from}, and {wanted:?} is right"))
    }

    /// S19: no moment has passed without being fired or recorded.
    pub(super) fn s19_nothing_due(&mut self, store: &Store, config: &Config, now: Timestamp) -> Checked {
        self.count("S19");
        for (name, (_, next)) in &store.rows.timers {
            let kind = config.catalog.schedulers.get(name).map(|scheduler| &scheduler.kind);
            let is_timed = matches!(kind, Some(SchedulerKind::Periodic { .. } | SchedulerKind::Nightly { .. }));
            must(!is_timed || next.is_none_or(|next| next > now), "S19", || {
                format!("{name} was due at {next:?} and did not fire by {now}")
            })?;
        }
        Ok(())
    }
}

/// Gives the first moment after `from` that a line means, by walking through the minutes.
fn calendar(cron: &str, is_berlin: bool, from: Timestamp) -> Option<Timestamp> {
    const DAYS: i64 = 3;
    let mut fields = cron.split(' ');
    let (minute, hour) = (fields.next()?, fields.next()?);
    let matches = |local: i64| {
        let (this_minute, this_hour) = (local.rem_euclid(60), local.div_euclid(60).rem_euclid(24));
        let is_minute = match minute.strip_prefix("*/") {
            Some(every) => every.parse().is_ok_and(|every: i64| this_minute % every == 0),
            None => minute.parse() == Ok(this_minute),
        };
        is_minute && (hour == "*" || hour.split(',').any(|one| one.parse() == Ok(this_hour)))
    };
    let local = |minute: i64| minute + if is_berlin { berlin_offset(minute) } else { 0 };
    let first = from.seconds().div_euclid(60) + 1;
    (first..first + DAYS * 24 * 60).find_map(|now| {
        let (here, before) = (local(now), local(now - 1));
        let is_meant = if hour == "*" {
            matches(here)
        } else {
            // What the clocks jump over fires when they have; what comes twice fires the first time.
            (before + 1..=here).any(&matches) && !(1..=120).any(|back| local(now - back) == here)
        };
        is_meant.then(|| Timestamp::from_seconds(now * 60))
    })
}

/// Minutes by which Berlin is ahead of UTC: summer time from the last Sunday of March to that of October, at 01:00 UTC.
fn berlin_offset(minute: i64) -> i64 {
    let (month, date) = month_and_date(minute.div_euclid(24 * 60));
    // 1970-01-01 was a Thursday.
    let weekday = (minute.div_euclid(24 * 60) + 4).rem_euclid(7);
    let is_at_one = weekday != 0 || minute.rem_euclid(24 * 60) >= 60;
    let is_past_last_sunday = date - weekday > 24 && is_at_one;
    let is_summer = match month {
        4..=9 => true,
        3 => is_past_last_sunday,
        10 => !is_past_last_sunday,
        _ => false,
    };
    if is_summer { 120 } else { 60 }
}

/// Gives month and date of a day since 1970, by counting.
fn month_and_date(day: i64) -> (u32, i64) {
    let (mut year, mut left) = (1970, day);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |year: i64| if is_leap(year) { 366 } else { 365 };
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn berlin_changes_its_clocks_when_it_does() {
        // 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC.
        for (change, before, after) in [(1_774_746_000, 60, 120), (1_792_890_000, 120, 60)] {
            let minute = change / 60;
            assert_eq!((berlin_offset(minute - 1), berlin_offset(minute)), (before, after));
        }
    }

    #[test]
    fn what_is_jumped_over_fires_once_and_what_comes_twice_too() {
        let spring = Timestamp::from_seconds(1_774_746_000 - 7_200);
        assert_eq!(calendar("30 2 * * *", true, spring), Some(Timestamp::from_seconds(1_774_746_000)));
        let autumn = Timestamp::from_seconds(1_792_890_000 - 7_200);
        let first = calendar("30 2 * * *", true, autumn);
        assert_eq!(first, Some(Timestamp::from_seconds(1_792_890_000 - 1_800)));
        let second = calendar("30 2 * * *", true, first.expect("it fires"));
        assert_eq!(second, Some(Timestamp::from_seconds(1_792_890_000 + 1_800 + 24 * 3600)));
    }
}
