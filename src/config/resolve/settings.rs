//! Settings of the service, secrets and projects; and what all texts have in common.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use gristmill_model::{Project, ProjectName, Retention, SecretName, SecretScope, SecretSource, Settings};

use super::Resolver;
use super::names::{Noun, short};
use crate::config::code;
use crate::config::raw::{RawProject, RawRetention, RawSecret, RawSettings};
use crate::config::scalar::{Text, Time};
use crate::config::shape::{OneOrMany, Placed as _};
use crate::config::span::Located;

/// Builds at once on the built-in worker.
const SLOTS: RangeInclusive<i64> = 1..=1024;
/// The shortest time between two looks of the service at its own data: one may take half a minute.
const DOCTOR_MIN: Duration = Duration::from_secs(60);
/// The last builds of a builder on a branch that may be kept.
const LAST: RangeInclusive<i64> = 0..=1_000;
/// Characters of a text that stands on one line.
const LINE_LENGTH_MAX: usize = 1_000;

impl Resolver<'_> {
    pub(super) fn settings(&mut self) -> Settings {
        let Some(raw) = &self.raw.settings else { return Settings::default() };
        let RawSettings { url, listen, slots, labels, token, doctor, .. } = raw;
        Settings {
            url: url.as_ref().and_then(|url| self.web_address(url)),
            listen: listen.as_ref().and_then(|listen| self.socket_address(listen)),
            local_slots: slots.as_ref().and_then(|slots| self.whole(slots, &SLOTS)),
            local_labels: labels
                .iter()
                .flat_map(|labels| labels.iter())
                .filter_map(|(name, value)| value.map(|value| (name.value.clone(), value.0.clone())))
                .collect(),
            token: token.as_ref().and_then(|token| self.look_up(Noun::Secret, token)),
            doctor: doctor.as_ref().and_then(|doctor| self.at_least(doctor, DOCTOR_MIN, "1m")),
            // Its rules name builders and schedulers, which are not known yet.
            retention: Retention::default(),
        }
    }

    /// Takes what is kept for how long, once builders and schedulers are known.
    pub(super) fn retention(&mut self) -> Retention {
        let usual = Retention::default();
        let raw: Option<&RawRetention> = self.raw.settings.as_ref().and_then(|settings| settings.retention.as_ref());
        let Some(raw) = raw else { return usual };
        let age = |time: &Option<Located<Time>>, usual| time.as_ref().map_or(usual, |time| time.value.0);
        Retention {
            builds: age(&raw.builds, usual.builds),
            logs: age(&raw.logs, usual.logs),
            changes: age(&raw.changes, usual.changes),
            deliveries: age(&raw.deliveries, usual.deliveries),
            messages: age(&raw.messages, usual.messages),
            events: age(&raw.events, usual.events),
            leftovers: age(&raw.leftovers, usual.leftovers),
            last: raw.last.as_ref().and_then(|last| self.whole(last, &LAST)).unwrap_or(usual.last),
            keep: raw.keep.iter().flatten().map(|keep| self.build_match(keep)).collect(),
        }
    }

    fn web_address(&mut self, url: &Text) -> Option<String> {
        let url_text = self.line(url)?;
        let host = url_text.strip_prefix("https://").or_else(|| url_text.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace)) {
            let message = format!("`{}` is not the address of a page", short(url));
            let help = "write it as people would type it, such as `https://ci.example.org`";
            self.report.say(code::BAD_ADDRESS, url.span, message, "this address", help);
            return None;
        }
        Some(url_text.trim_end_matches('/').to_owned())
    }

    fn socket_address(&mut self, listen: &Text) -> Option<String> {
        let address = self.line(listen)?;
        if is_host_and_port(&address) {
            return Some(address);
        }
        let message = format!("`{}` cannot be listened on", short(listen));
        let help = "write `host:port`, such as `127.0.0.1:8020`, or `0.0.0.0:8020` for everybody";
        self.report.say(code::BAD_ADDRESS, listen.span, message, "this address", help);
        None
    }

    pub(super) fn secrets(&mut self) -> BTreeMap<SecretName, SecretSource> {
        let raw = self.raw;
        let secrets = raw.secrets.iter().flat_map(|secrets| secrets.iter());
        secrets
            .filter_map(|(name, secret)| Some((SecretName(name.value.clone()), self.secret(name, secret?)?)))
            .collect()
    }

    /// Reads which builds may have which secret.
    pub(super) fn secret_scopes(&mut self) -> BTreeMap<SecretName, SecretScope> {
        let raw = self.raw;
        let mut scopes = BTreeMap::new();
        for (name, secret) in raw.secrets.iter().flat_map(|secrets| secrets.iter()) {
            let Some(RawSecret { projects, branches, .. }) = secret else { continue };
            if projects.is_none() && branches.is_none() {
                continue;
            }
            let projects = projects.as_ref().map(|OneOrMany(names)| {
                names.iter().filter_map(|name| self.look_up(Noun::Project, name)).collect::<Vec<ProjectName>>()
            });
            let branches = branches
                .as_ref()
                .and_then(|OneOrMany(texts)| self.patterns(gristmill_model::matching::Field::Branch, texts));
            scopes.insert(SecretName(name.value.clone()), SecretScope { projects, branches });
        }
        scopes
    }

    fn secret(&mut self, name: &Text, raw: &RawSecret) -> Option<SecretSource> {
        match (&raw.env, &raw.file) {
            (Some(variable), None) => {
                self.variable_name(variable, "").then(|| SecretSource::Env(variable.value.clone()))
            }
            (None, Some(file)) => {
                let path = self.line(file)?;
                Some(SecretSource::File(self.origin.folder.join(path).to_string_lossy().into_owned()))
            }
            _ if self.report.has_within(raw.span()) => None,
            (both, _) => {
                let said = if both.is_some() { "has both `env` and `file`" } else { "has neither `env` nor `file`" };
                let help = "say one: `env: VARIABLE` for an environment variable, or `file: path`";
                let message = format!("secret `{}` {said}", name.value);
                self.report.say(code::EXCLUDING_KEYS, raw.span(), message, "in this map", help);
                None
            }
        }
    }

    /// Reports a text that cannot be the name of an environment variable.
    pub(super) fn variable_name(&mut self, name: &Text, reserved: &str) -> bool {
        let mut bytes = name.bytes();
        let is_well_formed = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_reserved = !reserved.is_empty() && name.starts_with(reserved);
        if is_well_formed && !is_reserved {
            return true;
        }
        let message = format!("`{}` cannot be a variable here", short(name));
        let help = if is_reserved {
            format!("names that start with `{reserved}` are set by the service; choose another one")
        } else {
            "use letters, digits and `_`, and no digit first".to_owned()
        };
        self.report.say(code::BAD_VARIABLE, name.span, message, "this name", help);
        false
    }

    pub(super) fn projects(&mut self) -> BTreeMap<ProjectName, Project> {
        let raw = self.raw;
        let projects = raw.projects.iter().flat_map(|projects| projects.iter());
        projects.filter_map(|(name, project)| Some((ProjectName(name.value.clone()), self.project(project?)))).collect()
    }

    fn project(&mut self, raw: &RawProject) -> Project {
        let RawProject { repositories, title, owners, .. } = raw;
        let repositories = repositories.iter().flat_map(|names| &names.0);
        let owners = owners.iter().flat_map(|owners| &owners.0);
        Project {
            repositories: repositories.filter_map(|name| self.look_up(Noun::Repository, name)).collect(),
            title: title.as_ref().and_then(|title| self.line(title)),
            owners: owners.filter_map(|owner| self.mail_address(owner)).collect(),
        }
    }

    /// Takes a text that stands on one line and is not empty: addresses, titles, names of accounts.
    pub(super) fn line(&mut self, text: &Text) -> Option<String> {
        let value = text.value.trim();
        let problem = if value.is_empty() {
            Some((code::EMPTY, "an empty text where something is needed", "write something, or remove the key"))
        } else if value.chars().any(char::is_control) {
            let help = "write it on one line, without escapes";
            Some((code::CONTROL_CHARACTER, "a line break or control character where none may be", help))
        } else if value.chars().count() > LINE_LENGTH_MAX {
            Some((code::TOO_BIG, "a text of more than 1,000 characters", "shorten it"))
        } else {
            None
        };
        if let Some((code, message, help)) = problem {
            self.report.say(code, text.span, message, "this text", help);
            return None;
        }
        Some(value.to_owned())
    }

    /// Takes a mail address: `ada@example.org`, without a name.
    pub(super) fn mail_address(&mut self, text: &Text) -> Option<String> {
        let address = self.line(text)?;
        if is_mail_address(&address) {
            return Some(address);
        }
        let message = format!("`{}` is not a mail address", short(text));
        let help = "write the address alone, such as `ada@example.org`";
        self.report.say(code::BAD_RECIPIENT, text.span, message, "this address", help);
        None
    }

    /// Takes a whole number within limits.
    pub(super) fn whole<N: TryFrom<i64>>(&mut self, number: &Located<i64>, range: &RangeInclusive<i64>) -> Option<N> {
        let value = range.contains(&number.value).then(|| N::try_from(number.value).ok()).flatten();
        if value.is_none() {
            let message = format!("{} is out of range", number.value);
            let help = format!("give a number from {} to {}", range.start(), range.end());
            self.report.say(code::BAD_NUMBER, number.span, message, "this number", help);
        }
        value
    }
}

/// Says whether a text is `host:port` (`[::1]:port` for addresses with colons).
pub(super) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(host),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// Says whether a text can be the name or IPv4 address of a machine.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= 253 && !text.starts_with(['-', '.']) && text.bytes().all(is_allowed)
}

/// Says whether a text can be a mail address. The server has the last word; this keeps out what is certainly none.
pub(super) fn is_mail_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[]\\,;:\"@".contains(c);
    !local.is_empty() && !local.starts_with('-') && local.chars().all(is_local) && is_host_name(domain)
}
