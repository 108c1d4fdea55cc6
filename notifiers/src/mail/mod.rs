//! Mail over SMTP.
//!
//! One message goes to one recipient in one conversation. What a stranger wrote stands only in the subject, which is
//! one encoded line by then, and in bodies; all other header fields are made here from checked parts. A message has
//! the same Message-ID and the same bytes on every attempt, so a repeat can be recognised as one.

pub(crate) mod letter;
mod server;
mod talk;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::{MailConfig, Message};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Certificate;

use self::server::Server;
use self::talk::Talk;
use crate::delivery::{DeliveryError, Guarantee, Notifier, Receipt};

/// The time that a connection, and each command after it, may take.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// The time after which a server that refuses all mail (its certificate, our login, our sender) is asked again.
pub const CLOSED_RETRY: Duration = Duration::from_secs(300);

/// Why mail cannot be sent with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server's address cannot be used.
    #[error("smtp `{smtp}`: {problem}")]
    Server {
        /// As configured.
        smtp: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The sender is no mail address.
    #[error("from `{from}`: {problem}; write it as `Name <address>`")]
    From {
        /// As configured.
        from: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Only one of user name and password is there.
    #[error("a username and a password are needed, and there is no {missing}")]
    HalfLogin {
        /// What is missing.
        missing: &'static str,
    },
    /// A certificate cannot be read.
    #[error("root certificate: {problem}")]
    Certificate {
        /// What is wrong with it.
        problem: String,
    },
}

/// What the configuration does not say.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// What stands behind the `@` of a Message-ID, so that two services never make the same one. The sender's domain
    /// unless given.
    pub instance: Option<String>,
    /// The time that a connection, and each command after it, may take.
    pub command_timeout: Duration,
    /// Certificates (PEM) that are trusted besides the usual ones.
    pub roots: Vec<Vec<u8>>,
    /// Whether STARTTLS is used on loopback too, where there is nothing to hide and the certificate is seldom valid.
    pub tls_on_loopback: bool,
}

impl Default for MailOptions {
    fn default() -> Self {
        Self { instance: None, command_timeout: COMMAND_TIMEOUT, roots: Vec::new(), tls_on_loopback: false }
    }
}

/// Sends mail through one server.
pub struct Mail {
    talk: Talk,
    from: Mailbox,
    instance: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("server", &self.talk.server).field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mail {
    /// Reads a configuration; nothing is sent yet.
    ///
    /// # Errors
    /// Names what cannot be used in it.
    pub fn new(config: &MailConfig, password: Option<String>, options: MailOptions) -> Result<Self, MailError> {
        let server =
            Server::parse(&config.smtp).map_err(|problem| MailError::Server { smtp: config.smtp.clone(), problem })?;
        let from: Mailbox = config.from.parse().map_err(|error: lettre::address::AddressError| MailError::From {
            from: config.from.clone(),
            problem: error.to_string().to_lowercase(),
        })?;
        let credentials = match (config.username.clone(), password) {
            (Some(username), Some(password)) => Some(Credentials::new(username, password)),
            (None, None) => None,
            (Some(_), None) => return Err(MailError::HalfLogin { missing: "password" }),
            (None, Some(_)) => return Err(MailError::HalfLogin { missing: "username" }),
        };
        let roots = options.roots.iter().map(|pem| Certificate::from_pem(pem)).collect::<Result<Vec<_>, _>>();
        let roots = roots.map_err(|error| MailError::Certificate { problem: error.to_string() })?;
        let instance = letter::instance(options.instance.as_deref().unwrap_or(from.email.domain()));
        let talk = Talk {
            server,
            credentials,
            roots,
            tls_on_loopback: options.tls_on_loopback,
            command_timeout: options.command_timeout,
        };
        Ok(Self { talk, from, instance })
    }
}

#[async_trait]
impl Notifier for Mail {
    async fn deliver(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        let letter = letter::compose(&self.from, &self.instance, message)?;
        self.talk.send(letter.envelope(), &letter.formatted()).await
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(smtp: &str, from: &str) -> MailConfig {
        MailConfig { smtp: smtp.to_owned(), username: None, password: None, from: from.to_owned() }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let said = |config: &MailConfig, password: Option<&str>| {
            Mail::new(config, password.map(str::to_owned), MailOptions::default()).expect_err("it is wrong").to_string()
        };
        assert_eq!(
            said(&config("mail.example.org", "ci@example.org"), None),
            "smtp `mail.example.org`: it must start with smtp:// or smtps://"
        );
        assert_eq!(
            said(&config("smtp://mail.example.org", "CI"), None),
            "from `CI`: invalid input; write it as `Name <address>`"
        );
        let mut half = config("smtp://mail.example.org", "ci@example.org");
        assert_eq!(said(&half, Some("x")), "a username and a password are needed, and there is no username");
        half.username = Some("ci".to_owned());
        assert_eq!(said(&half, None), "a username and a password are needed, and there is no password");
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut config = config("smtp://mail.example.org", "ci@example.org");
        config.username = Some("ci".to_owned());
        let mail = Mail::new(&config, Some("geheim".to_owned()), MailOptions::default()).expect("it is good");
        assert!(!format!("{mail:?}").contains("geheim"));
    }
}
