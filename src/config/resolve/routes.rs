//! Routes: which happenings are told, to whom, in which words.

use std::collections::BTreeMap;

use gristmill_model::{NotifierKind, NotifierName, Recipient, Route, RouteTarget};
use gristmill_notifiers::render::check_template;

use super::Resolver;
use super::names::{Noun, short};
use super::notifiers::is_channel;
use super::settings::is_mail_address;
use crate::config::code;
use crate::config::nearest::nearest;
use crate::config::raw::{RawRoute, RawTarget};
use crate::config::scalar::Text;
use crate::config::shape::Placed;
use gristmill_model::matching::Matcher;

impl Resolver<'_> {
    pub(super) fn routes(&mut self, notifiers: &BTreeMap<NotifierName, NotifierKind>) -> Vec<Route> {
        let raw = self.raw;
        raw.routes.iter().flatten().filter_map(|route| self.route(route, notifiers)).collect()
    }

    fn route(&mut self, raw: &RawRoute, notifiers: &BTreeMap<NotifierName, NotifierKind>) -> Option<Route> {
        let when = raw.when.as_ref().map_or_else(Matcher::any, |when| self.happening_match(when));
        let mut to = Vec::new();
        let written = raw.to.as_ref().map(|to| to.0.as_slice()).unwrap_or_default();
        for target in written {
            match target {
                RawTarget::Notifier(name) => to.extend(self.target_of(name, None, notifiers)),
                RawTarget::Recipients(map) => {
                    for (name, recipients) in map.iter() {
                        let recipients = recipients.map(|recipients| recipients.0.as_slice()).unwrap_or_default();
                        to.extend(self.target_of(name, Some(recipients), notifiers));
                    }
                }
            }
        }
        if raw.to.is_some() && written.is_empty() {
            let help = "name a notifier: `to: [NAME]`";
            self.report.say(code::EMPTY, raw.span(), "this route tells nobody", "in this map", help);
        }
        let subject = raw.subject.as_ref().and_then(|subject| self.template(subject));
        let body = raw.body.as_ref().and_then(|body| self.template(body));
        Some(Route { when, to, subject, body, place: self.place(raw.span()) })
    }

    /// Takes a template of a message.
    fn template(&mut self, text: &Text) -> Option<String> {
        let Err(problem) = check_template(text) else { return Some(text.value.clone()) };
        let message = format!("the template cannot be used: {}", short(problem.message.lines().next().unwrap_or("")));
        let label = format!("line {} of it", problem.line);
        let help =
            "a template is a text with `{{ name }}` and `{% if name %}…{% endif %}`, and only the names a message has";
        self.report.say(code::BAD_TEMPLATE, text.span, message, label, help);
        None
    }

    /// Takes a notifier with its recipients; without any, mail goes to the culprits and IRC to all its channels.
    fn target_of(
        &mut self,
        name: &Text,
        recipients: Option<&[Text]>,
        notifiers: &BTreeMap<NotifierName, NotifierKind>,
    ) -> Option<RouteTarget> {
        let notifier: NotifierName = self.look_up(Noun::Notifier, name)?;
        let kind = notifiers.get(&notifier)?;
        let recipients = match (recipients, kind) {
            (None, NotifierKind::Mail(_)) => vec![Recipient::Culprits],
            (None, NotifierKind::Irc(_)) => Vec::new(),
            (Some([]), _) => {
                let message = format!("notifier `{notifier}` has nobody to tell here");
                let help = "name recipients, or write the notifier's name alone";
                self.report.say(code::EMPTY, name.span, message, "this notifier", help);
                return None;
            }
            (Some(recipients), _) => {
                recipients.iter().filter_map(|recipient| self.recipient(recipient, kind)).collect()
            }
        };
        Some(RouteTarget { notifier, recipients })
    }

    fn recipient(&mut self, text: &Text, kind: &NotifierKind) -> Option<Recipient> {
        let help = match (kind, text.as_str()) {
            (NotifierKind::Mail(_), "culprits") => return Some(Recipient::Culprits),
            (NotifierKind::Mail(_), "owners") => return Some(Recipient::Owners),
            (NotifierKind::Mail(_), address) if is_mail_address(address) => {
                return Some(Recipient::Address(address.to_owned()));
            }
            (NotifierKind::Irc(irc), channel) if irc.channels.iter().any(|joined| joined == channel) => {
                return Some(Recipient::Address(channel.to_owned()));
            }
            (NotifierKind::Mail(_), word) => match nearest(word, ["culprits", "owners"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write `culprits`, `owners`, or a mail address".to_owned(),
            },
            (NotifierKind::Irc(irc), "culprits" | "owners") => {
                let joined: Vec<_> = irc.channels.iter().map(String::as_str).collect();
                format!("people are told by mail; on IRC, a channel is: {}", crate::config::shape::list(&joined))
            }
            (NotifierKind::Irc(irc), channel) => {
                let joined: Vec<_> = irc.channels.iter().map(String::as_str).collect();
                match nearest(channel, joined.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if is_channel(channel) => "add it to `channels` of the notifier first".to_owned(),
                    None => format!("it joins {}", crate::config::shape::list(&joined)),
                }
            }
        };
        let message = match kind {
            NotifierKind::Mail(_) => format!("`{}` cannot be told by mail", short(text)),
            NotifierKind::Irc(_) => format!("`{}` cannot be told on IRC", short(text)),
        };
        self.report.say(code::BAD_RECIPIENT, text.span, message, "this recipient", help);
        None
    }
}
