//! Where the mail server is: `smtp://host:port` or `smtps://host:port`.

use std::fmt;
use std::net::IpAddr;

/// Submission with STARTTLS.
const SMTP_PORT: u16 = 587;
/// Submission with TLS from the first byte.
const SMTPS_PORT: u16 = 465;

/// A mail server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// A name, or an IP address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether TLS is spoken from the first byte.
    pub(super) is_implicit_tls: bool,
}

impl Server {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (is_implicit_tls, rest) = match (text.strip_prefix("smtp://"), text.strip_prefix("smtps://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err("it must start with smtp:// or smtps://".to_owned()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("user name and password have keys of their own, `username` and `password`".to_owned());
        }
        let (host, port) = split_port(rest)?;
        let is_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_name) || (host.contains(':') && host.parse::<IpAddr>().is_err()) {
            return Err("there is no host name in it".to_owned());
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| format!("`{port}` is no port"))?,
            None if is_implicit_tls => SMTPS_PORT,
            None => SMTP_PORT,
        };
        Ok(Self { host: host.to_owned(), port, is_implicit_tls })
    }

    /// Says whether what is sent stays on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("there is something behind the bracket".to_owned()),
        };
    }
    Ok(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, wanted) in [
            ("smtp://mail.example.org", "mail.example.org:587"),
            ("smtps://mail.example.org/", "mail.example.org:465 tls"),
            ("smtp://localhost:25", "localhost:25 loopback"),
            ("smtp://[::1]:2525", "[::1]:2525 loopback"),
            ("smtp://127.0.0.1:8025", "127.0.0.1:8025 loopback"),
            ("smtp://", "there is no host name in it"),
            ("smtp://a b", "there is no host name in it"),
            ("smtp://host:99999", "`99999` is no port"),
            ("smtp://ci:pw@host", "user name and password have keys of their own, `username` and `password`"),
            ("http://host", "it must start with smtp:// or smtps://"),
            ("smtp://[::1", "the bracket is not closed"),
        ] {
            let said = Server::parse(text).map_or_else(
                |problem| problem,
                |server| {
                    let tls = if server.is_implicit_tls { " tls" } else { "" };
                    let loopback = if server.is_loopback() { " loopback" } else { "" };
                    format!("{server}{tls}{loopback}")
                },
            );
            assert_eq!(said, wanted, "{text}");
        }
    }
}
