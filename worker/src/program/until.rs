//! Moments and spans as people write them.

use std::time::Duration;

use chrono::{DateTime, Days, Local, NaiveDateTime, NaiveTime, TimeZone};
use gristmill_model::Timestamp;

/// The longest span.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Gives the moment by this machine's clock, in microseconds since 1970.
pub(super) fn now_us() -> i64 {
    Local::now().timestamp_micros()
}

/// Reads `18:00` (the next time that it is), `2026-03-31T18:00`, or a full moment with its zone.
pub(super) fn moment(text: &str, now_us: i64) -> Result<Timestamp, String> {
    moment_in(&Local, text, now_us)
}

fn moment_in<Z: TimeZone>(zone: &Z, text: &str, now_us: i64) -> Result<Timestamp, String> {
    let bad = || format!("`{text}` is no moment: it looks like 18:00 or 2026-03-31T18:00");
    let now = zone.timestamp_micros(now_us).single().ok_or_else(bad)?;
    let found = if let Ok(time) = NaiveTime::parse_from_str(text, "%H:%M") {
        let today = now.date_naive();
        let tomorrow = today.checked_add_days(Days::new(1)).ok_or_else(bad)?;
        [today, tomorrow]
            .into_iter()
            // A time that the clocks pass over on that day is none; of one that comes twice the first counts.
            .filter_map(|day| zone.from_local_datetime(&day.and_time(time)).earliest())
            .find(|moment| moment.timestamp_micros() > now_us)
            .map(|moment| moment.timestamp_micros())
    } else if let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M") {
        zone.from_local_datetime(&local).earliest().map(|moment| moment.timestamp_micros())
    } else {
        DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_micros())
    };
    let found = found.ok_or_else(bad)?;
    if found > now_us { Ok(Timestamp(found)) } else { Err(format!("`{text}` is over")) }
}

/// Reads a span such as `2h`, `30m`, `1d` or `1h 30m`, and gives its end.
pub(super) fn after(text: &str, now_us: i64) -> Result<Timestamp, String> {
    let span = span(text).ok_or_else(|| format!("`{text}` is no span: it looks like 2h or 30m, at most a year"))?;
    Ok(Timestamp(now_us).after(span))
}

fn span(text: &str) -> Option<Duration> {
    let mut whole = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return None,
        };
        whole += Duration::from_secs(u64::from(number) * seconds);
        rest = rest[end + 1..].trim_start();
    }
    (whole > Duration::ZERO && whole <= SPAN_MAX).then_some(whole)
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    /// 2026-03-31 12:00 in a zone two hours ahead.
    const NOW: i64 = 1_774_951_200_000_000;

    fn hours(text: &str) -> Result<f64, String> {
        let zone = FixedOffset::east_opt(2 * 3600).unwrap();
        moment_in(&zone, text, NOW).map(|moment| (moment.0 - NOW) as f64 / 3_600_000_000.0)
    }

    #[test]
    fn a_time_is_the_next_one() {
        assert_eq!(hours("18:00"), Ok(6.0));
        assert_eq!(hours("11:30"), Ok(23.5));
        assert_eq!(hours("2026-04-01T12:00"), Ok(24.0));
        assert_eq!(hours("2026-03-31T18:00:00Z"), Ok(8.0));
        assert!(hours("2026-03-31T11:00").unwrap_err().contains("is over"));
        assert!(hours("tomorrow").unwrap_err().contains("18:00"));
    }

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        let seconds = |text| span(text).map(|span| span.as_secs());
        assert_eq!(seconds("2h"), Some(7200));
        assert_eq!(seconds("1h 30m"), Some(5400));
        for bad in ["", "2", "h", "2w", "0s", "-1h", "999d", "2h30", "99999999999h"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
