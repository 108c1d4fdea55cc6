//! Cron expressions and time zones.

use gristmill_schedulers::cron::{CronError, Crontab};

use super::Resolver;
use super::names::short;
use crate::config::code;
use crate::config::nearest::nearest;
use crate::config::scalar::Text;
use crate::config::span::Span;

impl Resolver<'_> {
    /// Takes a cron expression.
    pub(super) fn cron(&mut self, text: &Text) -> Option<String> {
        let Err(error) = Crontab::parse(text) else { return Some(text.trim().to_owned()) };
        let (span, problem) = match &error {
            CronError::Fields { found } => (text.span, format!("it has {found} fields, and needs 5 or 6")),
            CronError::Field { text: piece, field, wanted } => {
                (self.last_piece(text.span, piece), format!("the {field} cannot be `{}` ({wanted})", short(piece)))
            }
            CronError::Word { .. } => (text.span, error.to_string()),
            CronError::Never => (text.span, "no day is ever like that".to_owned()),
        };
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
