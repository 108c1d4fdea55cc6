//! Where a repository is: the address from the configuration, taken apart and judged once.
//!
//! Everything that later becomes an argument of `ssh`, a line of the git protocol or a URL comes from here, so this is
//! where a host that is really an option, a control byte or a password in the address is refused.

use std::path::PathBuf;

/// A repository's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On this machine: read in place, never mirrored.
    Local(PathBuf),
    /// Smart HTTP, `http` or `https`.
    Http {
        /// The address without a trailing slash.
        base: String,
    },
    /// Over a child `ssh`.
    Ssh {
        /// The user to log in as, if one is named.
        user: Option<String>,
        /// The host.
        host: String,
        /// The port, if one is named.
        port: Option<u16>,
        /// The path on that host.
        path: String,
    },
    /// The git daemon's protocol.
    Daemon {
        /// The host.
        host: String,
        /// The port; 9418 unless named.
        port: u16,
        /// The path on that host.
        path: String,
    },
}

/// Whom we speak with, for messages.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Http { base } => f.write_str(base),
            Self::Ssh { host, .. } => f.write_str(host),
            Self::Daemon { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It is empty, or has control bytes in it.
    #[error("the address is empty or contains control characters; write it as it would be given to `git clone`")]
    Unprintable,
    /// Its scheme is not spoken.
    #[error("`{scheme}` is not spoken; use https://, ssh://, git@host:path, git://, file:// or a path")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// A part of it is missing or has characters that it must not have.
    #[error("the {part} `{value}` is not usable; {mend}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it says.
        value: String,
        /// What would be right.
        mend: &'static str,
    },
    /// It carries a password.
    #[error("the address carries a password; put it under `credentials` and name a secret")]
    Password,
}

/// The git daemon's port.
const DAEMON_PORT: u16 = 9418;

impl Location {
    /// Takes an address apart.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(url: &str) -> Result<Self, LocationError> {
        if url.is_empty() || url.chars().any(char::is_control) {
            return Err(LocationError::Unprintable);
        }
        match url.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "file" => local_of_file_url(rest),
                "http" | "https" => http(url),
                "ssh" | "git+ssh" | "ssh+git" => {
                    let (user, host, port, path) = authority(rest)?;
                    ssh(user, host, port, path)
                }
                "git" => {
                    let (user, host, port, path) = authority(rest)?;
                    if user.is_some() {
                        return Err(part("user", rest, "the git daemon knows no users"));
                    }
                    Ok(Self::Daemon { host, port: port.unwrap_or(DAEMON_PORT), path })
                }
                other => Err(LocationError::Scheme { scheme: printable(other) }),
            },
            None => short_form(url),
        }
    }

    /// Says whether the repository is read in place.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Says whether what is sent there can be read on the way.
    pub fn is_clear_text(&self) -> bool {
        matches!(self, Self::Http { base } if base.starts_with("http://") && !is_loopback_http(base))
    }
}

fn is_loopback_http(base: &str) -> bool {
    let host = base.trim_start_matches("http://").split(['/', ':']).next().unwrap_or("");
    matches!(host, "localhost" | "127.0.0.1") || base.starts_with("http://[::1]")
}

fn part(part: &'static str, value: &str, mend: &'static str) -> LocationError {
    LocationError::Part { part, value: printable(value), mend }
}

/// Cuts a piece of an address for a message.
fn printable(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A path, or `[user@]host:path` if a colon comes before the first slash: git's own rule.
fn short_form(url: &str) -> Result<Location, LocationError> {
    let colon = url.find(':');
    let is_remote = colon.is_some_and(|colon| !url[..colon].contains('/'));
    let Some(colon) = colon.filter(|_| is_remote) else {
        return Ok(Location::Local(PathBuf::from(url)));
    };
    let (head, path) = (&url[..colon], &url[colon + 1..]);
    if path.starts_with(':') {
        // `ext::` and its like would make git run a program that the address names.
        return Err(LocationError::Scheme { scheme: format!("{}::", printable(head)) });
    }
    let (user, host) = match head.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host.to_owned()),
        None => (None, head.to_owned()),
    };
    ssh(user, host, None, path.to_owned())
}

fn local_of_file_url(rest: &str) -> Result<Location, LocationError> {
    let path = match rest.find('/') {
        Some(0) => rest,
        Some(slash) if &rest[..slash] == "localhost" => &rest[slash..],
        _ => return Err(part("path", rest, "a file address has three slashes, as in file:///srv/git/app.git")),
    };
    Ok(Location::Local(PathBuf::from(unescape(path)?)))
}

fn http(url: &str) -> Result<Location, LocationError> {
    let parsed = reqwest::Url::parse(url).map_err(|_| part("address", url, "write it as https://host/path"))?;
    if parsed.password().is_some() {
        return Err(LocationError::Password);
    }
    if !parsed.username().is_empty() {
        return Err(part("user", parsed.username(), "put it under `credentials`"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(part("address", url, "leave `?` and `#` away"));
    }
    Ok(Location::Http { base: parsed.as_str().trim_end_matches('/').to_owned() })
}

type Authority = (Option<String>, String, Option<u16>, String);

/// Takes `[user@]host[:port]/path` apart.
fn authority(rest: &str) -> Result<Authority, LocationError> {
    let slash = rest.find('/').ok_or_else(|| part("path", rest, "a path must follow the host"))?;
    let (head, path) = (&rest[..slash], unescape(&rest[slash..])?);
    let (user, host_port) = match head.rsplit_once('@') {
        Some((user, host)) => (Some(unescape(user)?), host),
        None => (None, head),
    };
    let (host, port) = match host_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    let port = match port {
        Some(text) => Some(text.parse().map_err(|_| part("port", text, "it is a number up to 65535"))?),
        None => None,
    };
    // `/~user/x` means the user's home, as git has it.
    let path = path.strip_prefix('/').filter(|rest| rest.starts_with('~')).map_or(path.clone(), str::to_owned);
    check_host(host)?;
    check_path(&path)?;
    Ok((user, host.to_owned(), port, path))
}

fn ssh(user: Option<String>, host: String, port: Option<u16>, path: String) -> Result<Location, LocationError> {
    if let Some(user) = &user {
        if user.contains(':') {
            return Err(LocationError::Password);
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        if user.is_empty() || user.starts_with('-') || !user.chars().all(is_plain) {
            return Err(part("user", user, "it has letters, digits, `.`, `_`, `-`, and does not start with `-`"));
        }
    }
    check_host(&host)?;
    check_path(&path)?;
    Ok(Location::Ssh { user, host, port, path })
}

fn check_host(host: &str) -> Result<(), LocationError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(is_plain) {
        return Err(part("host", host, "it has letters, digits, `.`, `-`, and does not start with `-`"));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), LocationError> {
    if path.is_empty() || path.starts_with('-') || path.chars().any(char::is_control) {
        return Err(part("path", path, "it is not empty and does not start with `-`"));
    }
    Ok(())
}

/// Undoes `%20` and its like.
fn unescape(text: &str) -> Result<String, LocationError> {
    let bad = || part("address", text, "a `%` is followed by two hexadecimal digits and names no control character");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).and_then(|pair| std::str::from_utf8(pair).ok()).ok_or_else(bad)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ssh_of(user: Option<&str>, host: &str, port: Option<u16>, path: &str) -> Location {
        Location::Ssh { user: user.map(str::to_owned), host: host.to_owned(), port, path: path.to_owned() }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let local = |path: &str| Location::Local(PathBuf::from(path));
        let daemon =
            |port, path: &str| Location::Daemon { host: "git.example.org".to_owned(), port, path: path.to_owned() };
        for (url, wanted) in [
            ("/srv/git/app.git", local("/srv/git/app.git")),
            ("./with:colon", local("./with:colon")),
            ("file:///srv/a%20b.git", local("/srv/a b.git")),
            ("file://localhost/srv/a", local("/srv/a")),
            ("https://git.example.org/lib.git/", Location::Http { base: "https://git.example.org/lib.git".into() }),
            ("git@git.example.org:team/app.git", ssh_of(Some("git"), "git.example.org", None, "team/app.git")),
            ("ssh://git@git.example.org:2222/app", ssh_of(Some("git"), "git.example.org", Some(2222), "/app")),
            ("ssh://git.example.org/~ann/app", ssh_of(None, "git.example.org", None, "~ann/app")),
            ("ssh://[::1]:22/app", ssh_of(None, "::1", Some(22), "/app")),
            ("git://git.example.org/app", daemon(9418, "/app")),
            ("git://git.example.org:1234/app", daemon(1234, "/app")),
        ] {
            assert_eq!(Location::parse(url).as_ref(), Ok(&wanted), "{url}");
        }
    }

    #[test]
    fn hostile_addresses_are_refused_with_a_mend() {
        for (url, says) in [
            ("", "control characters"),
            ("https://host/a\nb", "control characters"),
            ("ssh://-oProxyCommand=touch%20x/a", "does not start with `-`"),
            ("-oProxyCommand=x:a", "does not start with `-`"),
            ("-u@host:a", "does not start with `-`"),
            ("ssh://-u@host/a", "does not start with `-`"),
            ("host:-a", "does not start with `-`"),
            ("host:", "not empty"),
            ("ssh://ho$(id)st/a", "letters, digits"),
            ("git@ho st:a", "letters, digits"),
            ("ext::sh -c touch% x", "`ext::` is not spoken"),
            ("rsync://host/a", "`rsync` is not spoken"),
            ("https://ann:hunter2@host/a", "put it under `credentials`"),
            ("https://ann@host/a", "put it under `credentials`"),
            ("ssh://ann:hunter2@host/a", "put it under `credentials`"),
            ("https://host/a?b", "leave `?` and `#` away"),
            ("git://host:99999/a", "up to 65535"),
            ("git://host/%00", "no control character"),
            ("git://host/%0ahost=evil", "no control character"),
            ("git://host", "a path must follow"),
            ("file://srv/git", "three slashes"),
        ] {
            let said = Location::parse(url).map_or_else(|no| no.to_string(), |yes| format!("taken as {yes:?}"));
            assert!(said.contains(says), "{url:?}: {said}");
            assert!(!said.contains("hunter2"), "a password is not repeated: {said}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_smuggles_no_option(url in "(ssh://|git://|https://|file://|)[-a-z@:/%0-9\\[\\]$ ]{0,40}") {
            match Location::parse(&url) {
                Ok(Location::Ssh { user, host, path, .. }) => {
                    prop_assert!(!host.starts_with('-') && !path.starts_with('-') && !path.is_empty());
                    prop_assert!(user.is_none_or(|user| !user.starts_with('-') && !user.is_empty()));
                }
                Ok(Location::Daemon { host, path, .. }) => {
                    prop_assert!(!host.starts_with('-') && !path.chars().any(char::is_control));
                }
                Ok(Location::Http { base }) => prop_assert!(base.starts_with("http")),
                Ok(Location::Local(_)) | Err(_) => {}
            }
        }
    }
}
