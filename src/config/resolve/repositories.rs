//! Repositories: where they are, what is looked at, how often, and with which right.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::matching::Field;
use gristmill_model::{Credentials, Repository, RepositoryName, Webhook};

use super::Resolver;
use super::names::{Noun, short};
use crate::config::code;
use crate::config::raw::{FirstSight, RawCredentials, RawRepository, RawWebhook};
use crate::config::scalar::{Text, Time};
use crate::config::shape::Placed;
use crate::config::span::Located;

/// The time between two looks, unless configured.
const POLL_DEFAULT: Duration = Duration::from_secs(60);
/// More often would be an attack.
const POLL_MIN: Duration = Duration::from_secs(1);
/// The branch that stands for a repository, unless configured.
const BRANCH_DEFAULT: &str = "main";

impl Resolver<'_> {
    pub(super) fn repositories(&mut self) -> BTreeMap<RepositoryName, Repository> {
        let raw = self.raw;
        let repositories = raw.repositories.iter().flat_map(|repositories| repositories.iter());
        repositories
            .filter_map(|(name, repository)| {
                Some((RepositoryName(name.value.clone()), self.repository(name, repository?)?))
            })
            .collect()
    }

    fn repository(&mut self, name: &Text, raw: &RawRepository) -> Option<Repository> {
        let RawRepository { git, branches, tags, default_branch, poll, webhook, credentials, first_sight, .. } = raw;
        let url = git.as_ref().and_then(|git| self.git_address(git));
        let branches = branches.as_ref().and_then(|branches| self.patterns(Field::Branch, &branches.0));
        let default_branch = match default_branch {
            Some(branch) => self.branch_name(branch),
            None => Some(BRANCH_DEFAULT.to_owned()),
        };
        let poll = poll.as_ref().map_or(Some(POLL_DEFAULT), |poll| self.at_least(poll, POLL_MIN, "1s"));
        let webhook = webhook.as_ref().and_then(|webhook| self.webhook(webhook));
        let credentials = credentials.as_ref().and_then(|credentials| self.credentials(credentials));
        Some(Repository {
            url: url?,
            branches,
            tags: tags.as_ref().is_some_and(|tags| tags.value),
            default_branch: default_branch?,
            poll: poll?,
            webhook,
            credentials,
            build_first_sight: first_sight.is_some_and(|word| word.0 == FirstSight::Build),
            place: self.place(name.span),
        })
    }

    /// Takes a duration that must not be shorter than `least`.
    pub(super) fn at_least(&mut self, time: &Located<Time>, least: Duration, said: &str) -> Option<Duration> {
        if time.value.0 >= least {
            return Some(time.value.0);
        }
        let help = format!("give at least `{said}`");
        self.report.say(code::BAD_DURATION, time.span, "the duration is too short", "this duration", help);
        None
    }

    fn webhook(&mut self, raw: &RawWebhook) -> Option<Webhook> {
        let secret = raw.secret.as_ref().and_then(|secret| self.look_up(Noun::Secret, secret));
        Some(Webhook { forge: raw.forge?.0, secret: secret? })
    }

    fn credentials(&mut self, raw: &RawCredentials) -> Option<Credentials> {
        let RawCredentials { username, password, ssh_key, .. } = raw;
        let user = username.as_ref().and_then(|username| self.line(username));
        let password_name = password.as_ref().and_then(|password| self.look_up(Noun::Secret, password));
        let key = ssh_key.as_ref().and_then(|key| self.look_up(Noun::Secret, key));
        match (username, password, ssh_key) {
            (Some(_), Some(_), None) => Some(Credentials::Password { username: user?, password: password_name? }),
            (None, None, Some(_)) => Some(Credentials::SshKey { key: key? }),
            _ if self.report.has_within(raw.span()) => None,
            _ => {
                let help =
                    "say `username` and `password` for https, or `ssh-key` for ssh; both of the latter name secrets";
                let message = "these credentials are neither a password nor a key";
                self.report.say(code::EXCLUDING_KEYS, raw.span(), message, "in this map", help);
                None
            }
        }
    }

    /// Takes the address of a repository; a relative path becomes absolute.
    fn git_address(&mut self, git: &Text) -> Option<String> {
        let address = self.line(git)?;
        match kind_of_address(&address) {
            Ok(Address::Path) => {
                // Going over the components drops `.`; `..` stays, because of links.
                let path: std::path::PathBuf = self.origin.folder.join(&address).components().collect();
                Some(path.to_string_lossy().into_owned())
            }
            Ok(Address::Remote) => {
                self.warn_of_password(git, &address);
                Some(address)
            }
            Err(help) => {
                let message = format!("`{}` is not the address of a repository", short(git));
                self.report.say(code::BAD_ADDRESS, git.span, message, "this address", help);
                None
            }
        }
    }

    fn warn_of_password(&mut self, git: &Text, address: &str) {
        let authority = address.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or("");
        let Some((user, _)) = authority.rsplit_once('@') else { return };
        if let Some((_, password)) = user.split_once(':')
            && !password.is_empty()
        {
            let span = self.piece(git, password);
            let help = "use `credentials: {username: …, password: SECRET}`, and say under `secrets` where it is kept";
            self.report.say(code::PASSWORD_IN_URL, span, "a password stands in the address", "readable by all", help);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    Remote,
    Path,
}

/// Says what kind of address it is, or what would be one.
fn kind_of_address(address: &str) -> Result<Address, &'static str> {
    if address.starts_with('-') {
        return Err("an address does not start with `-`; write `./…` in front of a path");
    }
    if address.starts_with('~') {
        return Err("`~` is not replaced; write the whole path");
    }
    if let Some((scheme, rest)) = address.split_once("://") {
        let host = rest.split('/').next().unwrap_or("");
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        return match scheme {
            "file" if rest.starts_with('/') => Ok(Address::Remote),
            "file" => Err("three slashes: `file:///srv/git/app.git`"),
            "https" | "http" | "ssh" | "git" if host.is_empty() || host.starts_with('-') => Err("the host is missing"),
            "https" | "http" | "ssh" | "git" if address.contains(char::is_whitespace) => {
                Err("an address has no spaces")
            }
            "https" | "http" | "ssh" | "git" => Ok(Address::Remote),
            _ => Err("use https, ssh, git or file, such as `https://git.example.org/app.git`"),
        };
    }
    let is_scp = address
        .split_once(':')
        .is_some_and(|(host, path)| host.contains('@') && !host.contains(['/', ' ']) && !path.is_empty());
    if is_scp && address.contains("@-") {
        return Err("the host is missing");
    }
    Ok(if is_scp { Address::Remote } else { Address::Path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for remote in ["https://a.b/c.git", "ssh://git@a.b:22/c", "git@a.b:c/d.git", "git://a/b", "file:///srv/x"] {
            assert_eq!(kind_of_address(remote), Ok(Address::Remote), "{remote}");
        }
        for path in ["/srv/git/app.git", "../app", ".", "a b/c"] {
            assert_eq!(kind_of_address(path), Ok(Address::Path), "{path}");
        }
        for bad in [
            "--upload-pack=x",
            "~/app",
            "ftp://a/b",
            "https://",
            "ssh://-oProxyCommand=x/y",
            "file://srv",
            "https://a b/",
            "git@-x:y",
        ] {
            assert!(kind_of_address(bad).is_err(), "{bad}");
        }
    }
}
