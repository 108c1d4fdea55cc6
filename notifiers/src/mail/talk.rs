//! The conversation with a mail server, and what its failures mean.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::CLOSED_RETRY;
use super::server::Server;
use crate::delivery::{DeliveryError, Receipt};

/// The time that saying goodbye may take, after the message was accepted.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How to talk to one server.
pub(super) struct Talk {
    pub(super) server: Server,
    pub(super) credentials: Option<Credentials>,
    pub(super) roots: Vec<Certificate>,
    pub(super) tls_on_loopback: bool,
    pub(super) command_timeout: Duration,
}

/// How far the conversation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connection,
    Greeting,
    Encryption,
    Login,
    Sender,
    Recipient,
    Data,
    Content,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "cannot connect",
            Self::Greeting => "no usable greeting",
            Self::Encryption => "no usable encryption",
            Self::Login => "the login was not accepted",
            Self::Sender => "the sender was not accepted",
            Self::Recipient => "the recipient was not accepted",
            Self::Data => "the message was not accepted",
            Self::Content => "the message was sent, and not confirmed",
        })
    }
}

/// Why a stage did not succeed.
enum Failure {
    TimedOut,
    Io(std::io::Error),
    Smtp(lettre::transport::smtp::Error),
}

impl Talk {
    /// Sends one mail.
    pub(super) async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<Receipt, DeliveryError> {
        let mut connection = self.connect().await?;
        if let Some(credentials) = &self.credentials {
            self.stage(Stage::Login, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        self.stage(Stage::Sender, connection.command(Mail::new(envelope.from().cloned(), Vec::new()))).await?;
        for recipient in envelope.to() {
            self.stage(Stage::Recipient, connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await?;
        }
        self.stage(Stage::Data, connection.command(Data)).await?;
        let response = self.stage(Stage::Content, connection.message(mail)).await?;
        // The message is accepted; how the goodbye goes changes nothing.
        drop(timeout(QUIT_TIMEOUT, connection.quit()).await);
        Ok(Receipt::new(&said(&response)))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let server = &self.server;
        let address = (server.host.as_str(), server.port);
        let hello = ClientId::default();
        if server.is_implicit_tls {
            let connected =
                AsyncSmtpConnection::connect_tokio1(address, None, &hello, Some(self.tls_parameters()?), None);
            return match timeout(self.command_timeout, connected).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(error)) if is_about_tls(&error) => Err(self.judge(Stage::Encryption, &Failure::Smtp(error))),
                Ok(Err(error)) => Err(self.judge(Stage::Connection, &Failure::Smtp(error))),
                Err(_) => Err(self.judge(Stage::Connection, &Failure::TimedOut)),
            };
        }
        let stream = match timeout(self.command_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.judge(Stage::Connection, &Failure::Io(error))),
            Err(_) => return Err(self.judge(Stage::Connection, &Failure::TimedOut)),
        };
        // Commands are small writes that wait for an answer each; without this every one may cost a delayed ACK.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, server = %self.server, "cannot set TCP_NODELAY");
        }
        let talking = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        let mut connection = self.stage(Stage::Greeting, talking).await?;
        let may_stay_plain = server.is_loopback() && !self.tls_on_loopback;
        if connection.can_starttls() && !may_stay_plain {
            self.stage(Stage::Encryption, connection.starttls(self.tls_parameters()?, &hello)).await?;
        } else if self.credentials.is_some() && !server.is_loopback() {
            let problem = format!("{server}: it does not offer STARTTLS, and the password is not sent without it");
            return Err(DeliveryError::not_now(problem, CLOSED_RETRY));
        }
        Ok(connection)
    }

    fn tls_parameters(&self) -> Result<TlsParameters, DeliveryError> {
        let builder = TlsParameters::builder(self.server.host.clone());
        let builder = self.roots.iter().fold(builder, |builder, root| builder.add_root_certificate(root.clone()));
        builder.build().map_err(|error| self.judge(Stage::Encryption, &Failure::Smtp(error)))
    }

    /// Runs one stage within the command's time, and judges its failure.
    async fn stage<T>(
        &self,
        stage: Stage,
        step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, DeliveryError> {
        match timeout(self.command_timeout, step).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.judge(stage, &Failure::Smtp(error))),
            Err(_) => Err(self.judge(stage, &Failure::TimedOut)),
        }
    }

    /// Says what a failure means for the message.
    fn judge(&self, stage: Stage, failure: &Failure) -> DeliveryError {
        let problem = match failure {
            Failure::TimedOut => format!("no answer within {}", gristmill_model::time::say_span(self.command_timeout)),
            Failure::Io(error) => error.to_string(),
            Failure::Smtp(error) => error.to_string(),
        };
        let problem = format!("{}: {stage}: {problem}", self.server);
        let is_refused = matches!(failure, Failure::Smtp(error) if error.is_permanent());
        let is_answered = matches!(failure, Failure::Smtp(error) if error.status().is_some());
        match stage {
            // What is refused here is not this message but all of them, and a person has to mend it.
            Stage::Greeting | Stage::Encryption | Stage::Login | Stage::Sender if is_refused => {
                DeliveryError::not_now(problem, CLOSED_RETRY)
            }
            Stage::Encryption => DeliveryError::not_now(problem, CLOSED_RETRY),
            Stage::Recipient | Stage::Data | Stage::Content if is_refused => DeliveryError::permanent(problem),
            Stage::Content if !is_answered => DeliveryError::transient(problem).in_doubt(),
            _ => DeliveryError::transient(problem),
        }
    }
}

/// Says whether a connection failed because of TLS: rustls reports it as invalid data.
fn is_about_tls(error: &lettre::transport::smtp::Error) -> bool {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let mut causes = sources.filter_map(|source| source.downcast_ref::<std::io::Error>());
    error.is_tls() || causes.any(|cause| cause.kind() == std::io::ErrorKind::InvalidData)
}

fn said(response: &Response) -> String {
    format!("{} {}", response.code(), response.message().collect::<Vec<_>>().join(" "))
}
