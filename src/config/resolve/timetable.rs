//! Cron expressions and time zones.

use super::Resolver;
use super::names::short;
use crate::config::code;
use crate::config::nearest::nearest;
use crate::config::scalar::Text;
use crate::config::span::Span;

/// What may stand in place of fields.
const SHORTHANDS: [&str; 7] = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One of the fields of an expression.
struct Unit {
    name: &'static str,
    low: u32,
    high: u32,
    words: &'static [&'static str],
}

const UNITS: [Unit; 6] = [
    Unit { name: "second", low: 0, high: 59, words: &[] },
    Unit { name: "minute", low: 0, high: 59, words: &[] },
    Unit { name: "hour", low: 0, high: 23, words: &[] },
    Unit { name: "day of month", low: 1, high: 31, words: &[] },
    Unit { name: "month", low: 1, high: 12, words: &MONTHS },
    Unit { name: "day of week", low: 0, high: 7, words: &DAYS },
];

impl Resolver<'_> {
    /// Takes a cron expression.
    pub(super) fn cron(&mut self, text: &Text) -> Option<String> {
        let Err((piece, problem)) = check_cron(text) else { return Some(text.trim().to_owned()) };
        let span = if piece.is_empty() { text.span } else { self.last_piece(text.span, &piece) };
        let message = format!("`{}` is not a cron expression: {problem}", short(text));
        let help =
            "write minute, hour, day of month, month, day of week, such as `0 3 * * *`; or `@daily` and its like";
        self.report.say(code::BAD_CRON, span, message, "this part", help);
        None
    }

    fn last_piece(&self, whole: Span, piece: &str) -> Span {
        let source = self.origin.text.get(whole.start..whole.end).unwrap_or("");
        source.rfind(piece).map_or(whole, |at| Span::new(whole.start + at, whole.start + at + piece.len()))
    }

    /// Takes the name of a time zone.
    pub(super) fn timezone(&mut self, text: &Text) -> Option<String> {
        if text.parse::<chrono_tz::Tz>().is_ok() {
            return Some(text.value.clone());
        }
        let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let city = |name: &&str| {
            let wanted = text.rsplit('/').next().unwrap_or("").replace(' ', "_").to_lowercase();
            name.rsplit('/').next().is_some_and(|last| last.to_lowercase() == wanted)
        };
        let help = match names().find(city).or_else(|| nearest(text, names())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "use a name such as `Europe/Berlin`, `America/New_York` or `UTC`".to_owned(),
        };
        let message = format!("`{}` is not a time zone", short(text));
        self.report.say(code::BAD_TIMEZONE, text.span, message, "this name", help);
        None
    }
}

/// Checks an expression; gives the part that is wrong, and why.
fn check_cron(text: &str) -> Result<(), (String, String)> {
    let text = text.trim();
    if text.starts_with('@') {
        let is_known = SHORTHANDS.contains(&text);
        return if is_known { Ok(()) } else { Err((text.to_owned(), format!("there is {}", SHORTHANDS.join(", ")))) };
    }
    let fields: Vec<_> = text.split_whitespace().collect();
    let units = match fields.len() {
        5 => &UNITS[1..],
        6 => &UNITS[..],
        count => return Err((String::new(), format!("it has {count} fields, and needs 5 or 6"))),
    };
    for (field, unit) in fields.iter().zip(units) {
        for item in field.split(',') {
            check_item(item, unit).map_err(|problem| ((*field).to_owned(), problem))?;
        }
    }
    Ok(())
}

fn check_item(item: &str, unit: &Unit) -> Result<(), String> {
    let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step {
        let is_good = step.parse::<u32>().is_ok_and(|step| (1..=unit.high).contains(&step));
        if !is_good {
            return Err(format!("`{step}` is not a step of the {}", unit.name));
        }
    }
    if range == "*" || (range == "?" && unit.name.starts_with("day")) {
        return Ok(());
    }
    let (low, high) = range.split_once('-').map_or((range, None), |(low, high)| (low, Some(high)));
    let low = unit_value(low, unit)?;
    let high = high.map(|high| unit_value(high, unit)).transpose()?.unwrap_or(low);
    if high < low {
        return Err(format!("`{range}` of the {} runs backwards", unit.name));
    }
    Ok(())
}

fn unit_value(text: &str, unit: &Unit) -> Result<u32, String> {
    let word = unit.words.iter().position(|word| text.eq_ignore_ascii_case(word));
    if let Some(at) = word {
        return Ok(unit.low + u32::try_from(at).unwrap_or(0));
    }
    let number =
        Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    number
        .filter(|number| (unit.low..=unit.high).contains(number))
        .ok_or_else(|| format!("the {} cannot be `{}` ({} to {})", unit.name, short(text), unit.low, unit.high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_checked_field_by_field() {
        for good in ["0 3 * * *", "*/15 0-6,22 1,15 jan-mar mon-fri", "30 0 3 * * 7", "@daily", " 0 0 ? * SUN "] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("0 25 * * *", "the hour cannot be `25` (0 to 23)"),
            ("0 3 * *", "it has 4 fields, and needs 5 or 6"),
            ("*/0 * * * *", "`0` is not a step of the minute"),
            ("0 3 * * mond", "the day of week cannot be `mond` (0 to 7)"),
            ("0 6-3 * * *", "`6-3` of the hour runs backwards"),
            ("", "it has 0 fields, and needs 5 or 6"),
        ] {
            assert_eq!(check_cron(bad).map_err(|(_, said)| said), Err(said.to_owned()), "{bad}");
        }
        assert!(
            check_cron("@dayly").is_err() && check_cron("0 3 -1 * *").is_err() && check_cron("+5 3 1 * *").is_err()
        );
    }
}
