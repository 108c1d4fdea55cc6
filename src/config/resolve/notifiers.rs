//! Notifiers: how people are reached.

use std::collections::BTreeMap;

use gristmill_model::{IrcConfig, MailConfig, NotifierKind, NotifierName, SecretName};

use super::Resolver;
use super::names::{Noun, short};
use super::settings::{is_host_and_port, is_host_name, is_mail_address};
use crate::config::code;
use crate::config::raw::{RawIrc, RawMail, RawNotifier, RawUnknownNotifier};
use crate::config::scalar::Text;
use crate::config::shape::Placed;

/// The nick, unless configured.
const NICK_DEFAULT: &str = "gristmill";
/// Characters of a nick and of a channel.
const NICK_LENGTH_MAX: usize = 30;
const CHANNEL_LENGTH_MAX: usize = 50;

impl Resolver<'_> {
    pub(super) fn notifiers(&mut self) -> BTreeMap<NotifierName, NotifierKind> {
        let raw = self.raw;
        let notifiers = raw.notifiers.iter().flat_map(|notifiers| notifiers.iter());
        notifiers
            .filter_map(|(name, notifier)| {
                let kind = match notifier? {
                    RawNotifier::Mail(raw) => NotifierKind::Mail(self.mail(raw)?),
                    RawNotifier::Irc(raw) => NotifierKind::Irc(self.irc(raw)?),
                    RawNotifier::Unknown(raw) => {
                        self.check_unknown_notifier(raw);
                        return None;
                    }
                };
                Some((NotifierName(name.value.clone()), kind))
            })
            .collect()
    }

    fn mail(&mut self, raw: &RawMail) -> Option<MailConfig> {
        let RawMail { smtp, username, password, from, .. } = raw;
        let smtp = smtp.as_ref().and_then(|smtp| self.mail_server(smtp));
        let from = from.as_ref().and_then(|from| self.sender(from));
        if username.is_some() != password.is_some() && !self.report.has_within(raw.span()) {
            let message = "`username` and `password` go together";
            let help = "say both, or neither; `password` names a secret";
            self.report.say(code::EXCLUDING_KEYS, raw.span(), message, "in this map", help);
        }
        let username = username.as_ref().and_then(|username| self.line(username));
        let password = password.as_ref().and_then(|password| self.look_up(Noun::Secret, password));
        Some(MailConfig { smtp: smtp?, username, password, from: from? })
    }

    /// Checks what is written in a notifier of no known kind, as far as it can be told what it means.
    fn check_unknown_notifier(&mut self, raw: &RawUnknownNotifier) {
        if let Some(smtp) = &raw.smtp {
            self.mail_server(smtp);
            raw.from.as_ref().map(|from| self.sender(from));
        }
        if let Some(server) = &raw.server {
            self.irc_server(server);
            raw.nick.as_ref().map(|nick| self.nick(nick));
            raw.channels.iter().flat_map(|channels| &channels.0).for_each(|channel| {
                self.channel(channel);
            });
        }
        let account = raw.sasl.as_ref();
        let users = [raw.username.as_ref(), account.and_then(|account| account.user.as_ref())];
        for user in users.into_iter().flatten() {
            self.line(user);
        }
        let passwords = [raw.password.as_ref(), account.and_then(|account| account.password.as_ref())];
        for password in passwords.into_iter().flatten() {
            self.look_up::<SecretName>(Noun::Secret, password);
        }
    }

    fn mail_server(&mut self, text: &Text) -> Option<String> {
        let address = self.line(text)?;
        let rest = address.strip_prefix("smtp://").or_else(|| address.strip_prefix("smtps://"));
        let server = rest.map(|rest| rest.trim_end_matches('/'));
        if server.is_some_and(|server| is_host_name(server) || is_host_and_port(server)) {
            return Some(address.trim_end_matches('/').to_owned());
        }
        let message = format!("`{}` is not the address of a mail server", short(text));
        let help = if address.contains('@') {
            "write `smtp://host:587`; the user name and password have keys of their own"
        } else {
            "write `smtp://host:587`, or `smtps://host:465`"
        };
        self.report.say(code::BAD_ADDRESS, text.span, message, "this address", help);
        None
    }

    /// Takes `Name <address>`, or an address alone.
    fn sender(&mut self, text: &Text) -> Option<String> {
        let sender = self.line(text)?;
        let address = match sender.split_once('<') {
            Some((name, rest)) if !name.contains('>') => rest.strip_suffix('>').unwrap_or(""),
            Some(_) => "",
            None => sender.as_str(),
        };
        if is_mail_address(address) {
            return Some(sender);
        }
        let message = format!("`{}` is not a sender", short(text));
        let help = "write `Name <address>`, such as `CI <ci@example.org>`";
        self.report.say(code::BAD_ADDRESS, text.span, message, "this text", help);
        None
    }

    fn irc(&mut self, raw: &RawIrc) -> Option<IrcConfig> {
        let RawIrc { server, tls, nick, channels, sasl, .. } = raw;
        let server = server.as_ref().and_then(|server| self.irc_server(server));
        let nick = nick.as_ref().map_or(Some(NICK_DEFAULT.to_owned()), |nick| self.nick(nick));
        let wanted = channels.as_ref().map(|channels| channels.0.as_slice()).unwrap_or_default();
        let joined: Vec<_> = wanted.iter().filter_map(|channel| self.channel(channel)).collect();
        if channels.is_some() && wanted.is_empty() {
            let help = "name at least one: `channels: [\"#name\"]`";
            self.report.say(code::EMPTY, raw.span(), "an IRC notifier without channels", "in this map", help);
        }
        let user = sasl.as_ref().and_then(|sasl| sasl.user.as_ref()).and_then(|user| self.line(user));
        let password = sasl.as_ref().and_then(|sasl| sasl.password.as_ref());
        let password = password.and_then(|password| self.look_up(Noun::Secret, password));
        Some(IrcConfig {
            server: server?,
            tls: tls.as_ref().is_none_or(|tls| tls.value),
            nick: nick?,
            channels: joined,
            sasl_user: user,
            sasl_password: password,
        })
    }

    fn irc_server(&mut self, text: &Text) -> Option<String> {
        let server = self.line(text)?;
        if is_host_and_port(&server) {
            return Some(server);
        }
        let message = format!("`{}` is not the address of an IRC server", short(text));
        let help = "write `host:port`, such as `irc.example.org:6697`";
        self.report.say(code::BAD_ADDRESS, text.span, message, "this address", help);
        None
    }

    fn nick(&mut self, text: &Text) -> Option<String> {
        let mut bytes = text.bytes();
        let is_special = |byte: u8| b"[]\\`_^{|}".contains(&byte);
        let is_good = text.len() <= NICK_LENGTH_MAX
            && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || is_special(byte))
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || is_special(byte));
        if is_good {
            return Some(text.value.clone());
        }
        let message = format!("`{}` cannot be a nick", short(text));
        let help = format!("use up to {NICK_LENGTH_MAX} letters, digits, `-` and `_`, and no digit first");
        self.report.say(code::BAD_NAME, text.span, message, "this name", help);
        None
    }

    fn channel(&mut self, text: &Text) -> Option<String> {
        if is_channel(text) {
            return Some(text.value.clone());
        }
        let message = format!("`{}` cannot be a channel", short(text));
        let help = "channels start with `#` and have no spaces; in YAML they need quotes: `\"#name\"`";
        self.report.say(code::BAD_NAME, text.span, message, "this name", help);
        None
    }
}

/// Says whether a text can be a channel's name.
pub(super) fn is_channel(text: &str) -> bool {
    text.starts_with(['#', '&'])
        && (2..=CHANNEL_LENGTH_MAX).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_control() || " ,:".contains(c))
}
