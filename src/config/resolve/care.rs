//! How workers are cared for: owners, priorities, windows, quarantine.

use std::ops::RangeInclusive;
use std::time::Duration;

use gristmill_model::{Care, Quarantine, Window};

use super::Resolver;
use super::names::short;
use crate::config::code;
use crate::config::raw::{RawCare, RawQuarantine};
use crate::config::scalar::Text;
use crate::config::shape::OneOrMany;

/// Priorities of workers.
const PRIORITY: RangeInclusive<i64> = -1_000..=1_000;
/// Builds in a row, or of the last ones.
const FAILURES: RangeInclusive<i64> = 0..=20;
/// Entries of the section.
const CARES_MAX: usize = 1_000;
/// Windows of one entry.
const WINDOWS_MAX: usize = 50;
/// The minutes of a day.
const DAY: u16 = 24 * 60;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Resolver<'_> {
    /// Makes what is said of workers.
    pub(super) fn care(&mut self) -> Vec<Care> {
        let raw = self.raw;
        let mut cares = Vec::new();
        for (name, care) in raw.workers.iter().flat_map(|workers| workers.iter()) {
            if cares.len() >= CARES_MAX {
                let help = "say it of several workers at once, by a glob such as `build-*`";
                let message = format!("more than {CARES_MAX} kinds of workers are cared for");
                self.report.say(code::TOO_BIG, name.span, message, "from here on", help);
                break;
            }
            let Some(care) = care else { continue };
            cares.extend(self.care_of(name.value.clone(), care));
        }
        cares
    }

    fn care_of(&mut self, workers: String, raw: &RawCare) -> Option<Care> {
        let RawCare { owner, priority, windows, timezone, quarantine, .. } = raw;
        let owner = match owner {
            Some(owner) => Some(self.line(owner)?),
            None => None,
        };
        let priority = priority.as_ref().map_or(Some(0), |priority| self.whole(priority, &PRIORITY))?;
        let timezone = timezone.as_ref().map_or(Some("UTC".to_owned()), |zone| self.timezone(zone))?;
        let windows = self.windows(windows.as_ref(), &timezone)?;
        let quarantine = quarantine.as_ref().map_or(Some(Quarantine::default()), |raw| self.quarantine(raw))?;
        Some(Care { workers, owner, priority, windows, quarantine })
    }

    fn windows(&mut self, raw: Option<&OneOrMany<Text>>, timezone: &str) -> Option<Vec<Window>> {
        let texts = raw.map_or(&[][..], |OneOrMany(texts)| texts.as_slice());
        let mut windows = Vec::new();
        for text in texts {
            let read =
                if texts.len() > WINDOWS_MAX { Err("there are too many windows") } else { window(text, timezone) };
            match read {
                Ok(window) => windows.push(window),
                Err(problem) => {
                    let message = format!("`{}` is not a window: {problem}", short(text));
                    let help = "write days and times, such as `mon-fri 20:00-06:00`, `sat,sun` or `22:00-05:00`";
                    self.report.say(code::BAD_WINDOW, text.span, message, "this window", help);
                    return None;
                }
            }
        }
        Some(windows)
    }

    fn quarantine(&mut self, raw: &RawQuarantine) -> Option<Quarantine> {
        let default = Quarantine::default();
        let RawQuarantine { in_a_row, of_recent, time, .. } = raw;
        Some(Quarantine {
            in_a_row: in_a_row.as_ref().map_or(Some(default.in_a_row), |it| self.whole(it, &FAILURES))?,
            of_recent: of_recent.as_ref().map_or(Some(default.of_recent), |it| self.whole(it, &FAILURES))?,
            first: match time {
                Some(time) => self.at_least(time, Duration::from_secs(60), "1m")?,
                None => default.first,
            },
        })
    }
}

/// Reads a window.
fn window(text: &str, timezone: &str) -> Result<Window, &'static str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, times) = match words.as_slice() {
        [days, times] => (*days, Some(*times)),
        [one] if one.contains(':') => ("mon-sun", Some(*one)),
        [days] => (*days, None),
        _ => return Err("it has days, times or both"),
    };
    let (from, to) = times.map_or(Ok((0, DAY)), span)?;
    Ok(Window { days: read_days(days)?, from, to, timezone: timezone.to_owned() })
}

fn read_days(text: &str) -> Result<[bool; 7], &'static str> {
    let day = |word: &str| {
        let word = word.to_lowercase();
        DAYS.iter().position(|day| *day == word).ok_or("days are mon, tue, wed, thu, fri, sat, sun")
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // From Friday to Monday goes over the end of the week.
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|step| days[(first + step) % 7] = true);
    }
    Ok(days)
}

/// Reads `20:00-06:00` as minutes after one midnight.
fn span(text: &str) -> Result<(u16, u16), &'static str> {
    let (from, to) = text.split_once('-').ok_or("times are a span such as 20:00-06:00")?;
    let (from, to) = (clock(from)?, clock(to)?);
    match to {
        _ if from == to || from == DAY => Err("it lasts no time at all"),
        to if to > from => Ok((from, to)),
        to => Ok((from, to + DAY)),
    }
}

fn clock(text: &str) -> Result<u16, &'static str> {
    const WRONG: &str = "a time is written 00:00 to 24:00";
    let (hours, minutes) = text.split_once(':').ok_or(WRONG)?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten().ok_or(WRONG);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * 60 + minutes;
    if minutes < 60 && total <= DAY { Ok(total) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_mistakes_are_named() {
        let read = |text: &str| window(text, "UTC").map(|it| (it.days.map(u8::from), it.from, it.to));
        assert_eq!(read("mon-fri 20:00-06:00"), Ok(([1, 1, 1, 1, 1, 0, 0], 1_200, 1_800)));
        assert_eq!(read("sat,sun"), Ok(([0, 0, 0, 0, 0, 1, 1], 0, 1_440)));
        assert_eq!(read("fri-mon 00:00-24:00"), Ok(([1, 0, 0, 0, 1, 1, 1], 0, 1_440)));
        assert_eq!(read("22:00-05:00"), Ok(([1; 7], 1_320, 1_740)));
        for bad in
            ["", "mon 20:00", "someday", "mon 25:00-26:00", "mon 8:00-09:00", "08:00-08:00", "a b c", "24:00-25:00"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
