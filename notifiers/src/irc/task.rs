//! The task behind the bot: it keeps a connection, and carries lines between it and the session.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use irc_proto::Command;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::flood::Bucket;
use super::session::{Effect, End, Presence, Session};
use super::wire::{Codec, Line, fold};
use super::{IrcOptions, RETRY, Status};
use crate::backoff::Dice;
use crate::delivery::{DeliveryError, Receipt};

/// Messages that were taken from the queue and wait for their turn to speak.
const WAITING_MAX: usize = 64;
/// The time that the last line of a connection may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// One line to say, and who wants to know how it went.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) channel: String,
    pub(super) words: String,
    pub(super) answer: oneshot::Sender<Result<Receipt, DeliveryError>>,
}

impl Job {
    /// Tells how it went; whoever has stopped waiting does not care.
    fn done(self, result: Result<Receipt, DeliveryError>) {
        drop(self.answer.send(result));
    }
}

/// Anything that a connection can be.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How to reach the server.
pub(super) struct Connector {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
            None => Ok(Box::new(stream)),
        }
    }
}

/// The bot's body.
pub(super) struct Task {
    connector: Connector,
    session: Session,
    options: IrcOptions,
    queue: mpsc::Receiver<Job>,
    status: watch::Sender<Status>,
    stop: CancellationToken,
    /// Connections lost or refused in a row.
    failures: u32,
    dice: Dice,
}

impl Task {
    pub(super) fn new(
        connector: Connector,
        session: Session,
        options: IrcOptions,
        queue: mpsc::Receiver<Job>,
        status: watch::Sender<Status>,
        stop: CancellationToken,
    ) -> Self {
        Self { connector, session, options, queue, status, stop, failures: 0, dice: Dice::new() }
    }

    /// Connects, again and again, until stopped.
    pub(super) async fn run(mut self) {
        loop {
            let end = match self.connect().await {
                Ok(stream) => self.talk(stream).await,
                Err(None) => break,
                Err(Some(end)) => end,
            };
            if self.stop.is_cancelled() {
                break;
            }
            self.failures = self.failures.saturating_add(1);
            let failures = if end.is_hopeless { u32::MAX } else { self.failures };
            let wait = self.options.reconnect.wait(failures, self.dice.next());
            tracing::warn!(server = %self.connector.host, why = %end.why, wait_ms = wait.as_millis(), "IRC is away");
            self.publish(Some(&end.why));
            let until = Instant::now() + wait;
            if self.while_away(sleep_until(until), &end.why, Some(until)).await.is_none() {
                break;
            }
        }
        self.queue.close();
        while let Some(job) = self.queue.recv().await {
            job.done(Err(DeliveryError::not_now("the bot stops", RETRY)));
        }
    }

    /// Connects; `Err(None)` if stopped meanwhile.
    async fn connect(&mut self) -> Result<Box<dyn Stream>, Option<End>> {
        let limit = self.options.connect_timeout;
        // The future must not borrow the task, which answers jobs meanwhile.
        let connector =
            Connector { host: self.connector.host.clone(), tls: self.connector.tls.clone(), ..self.connector };
        let connecting = async move { timeout(limit, connector.connect()).await };
        let connected = self.while_away(connecting, "the bot is connecting", None).await.ok_or(None)?;
        let to = format!("{}:{}", self.connector.host, self.connector.port);
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Some(End::soon(format!("cannot connect to {to}: {error}")))),
            Err(_) => Err(Some(End::soon(format!("cannot connect to {to}: no answer within {} s", limit.as_secs())))),
        }
    }

    /// Waits for a future and answers jobs meanwhile; `None` if stopped.
    async fn while_away<T>(&mut self, future: impl Future<Output = T>, why: &str, until: Option<Instant>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                done = &mut future => return Some(done),
                Some(job) = self.queue.recv() => {
                    let wait = until.map_or(RETRY, |until| until.saturating_duration_since(Instant::now()));
                    job.done(Err(DeliveryError::not_now(why, wait.max(RETRY))));
                }
            }
        }
    }

    /// Lives through one connection.
    async fn talk(&mut self, stream: Box<dyn Stream>) -> End {
        let now = Instant::now();
        let mut talk = Talk {
            framed: Framed::new(stream, Codec::default()),
            bucket: Bucket::new(self.options.flood, now),
            waiting: VecDeque::new(),
            written: Vec::new(),
            awaited: Vec::new(),
            ping: None,
            pings: 0,
            began: now,
            heard: now,
            write_timeout: self.options.liveness,
        };
        self.status.send_modify(|status| status.connections += 1);
        let Err(end) = self.converse(&mut talk).await;
        self.session.end();
        self.publish(Some(&end.why));
        talk.bury(&end);
        end
    }

    async fn converse(&mut self, talk: &mut Talk) -> Result<std::convert::Infallible, End> {
        let effects = self.session.begin();
        self.obey(talk, effects).await?;
        loop {
            let now = Instant::now();
            self.tick(talk, now).await?;
            let wake = self.next_wake(talk, now);
            tokio::select! {
                () = self.stop.cancelled() => {
                    drop(timeout(GOODBYE_TIMEOUT, talk.leave()).await);
                    return Err(End::soon("the bot stops"));
                }
                read = talk.framed.next() => {
                    let message = match read {
                        Some(Ok(message)) => message,
                        Some(Err(error)) => return Err(End::soon(format!("the connection broke: {error}"))),
                        None => return Err(End::soon("the server closed the connection")),
                    };
                    talk.heard = Instant::now();
                    let effects = self.session.hear(&message, talk.heard);
                    self.obey(talk, effects).await?;
                }
                Some(job) = self.queue.recv(), if talk.waiting.len() < WAITING_MAX => talk.waiting.push_back(job),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what the time asks for: rejoins, speech, pings, despair.
    async fn tick(&mut self, talk: &mut Talk, now: Instant) -> Result<(), End> {
        let effects = self.session.due(now);
        self.obey(talk, effects).await?;
        if !self.session.is_online() {
            while let Some(job) = talk.waiting.pop_front() {
                job.done(Err(DeliveryError::not_now("the bot is registering with the server", RETRY)));
            }
            return match now.duration_since(talk.began) > self.options.connect_timeout {
                true => Err(End::soon("the server did not let us in in time")),
                false => Ok(()),
            };
        }
        while let Some(job) = talk.waiting.pop_front() {
            if job.answer.is_closed() {
                continue;
            }
            if let Some(refusal) = refusal(&job.channel, &self.session.presence(&job.channel, now)) {
                job.done(Err(refusal));
                continue;
            }
            if !talk.bucket.take(now) {
                talk.waiting.push_front(job);
                break;
            }
            let line = Line::say(&job.channel, &job.words);
            // From here on nobody knows whether it was seen, until the server answers.
            talk.written.push(job);
            talk.write(&line).await?;
        }
        self.ping(talk, now).await
    }

    /// Pings when lines wait for confirmation or the server is silent; gives up when a ping stays unanswered.
    async fn ping(&mut self, talk: &mut Talk, now: Instant) -> Result<(), End> {
        let limit = self.options.liveness;
        match &talk.ping {
            Some((_, sent_at)) if now.duration_since(*sent_at) >= limit => {
                return Err(End::soon("the server does not answer any more"));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        let is_silent = now.duration_since(talk.heard) >= limit;
        if talk.written.is_empty() && !is_silent {
            return Ok(());
        }
        talk.pings += 1;
        let token = format!("gristmill-{}", talk.pings);
        let line = Line::command(&["PING"], Some(&token));
        talk.ping = Some((token, now));
        talk.awaited.append(&mut talk.written);
        talk.bucket.spend(now);
        talk.write(&line).await?;
        match self.session.regain_nick().filter(|_| is_silent) {
            Some(Effect::Send(line)) => talk.write(&line).await,
            _ => Ok(()),
        }
    }

    /// Gives the time at which [`Task::tick`] has something to do, unless something comes before.
    fn next_wake(&self, talk: &Talk, now: Instant) -> Instant {
        if !self.session.is_online() {
            return talk.began + self.options.connect_timeout + Duration::from_millis(1);
        }
        let silence = match &talk.ping {
            Some((_, sent_at)) => *sent_at + self.options.liveness,
            None => talk.heard + self.options.liveness,
        };
        let speech = (!talk.waiting.is_empty()).then(|| talk.bucket.ready_at());
        [self.session.next_due(), speech].into_iter().flatten().fold(silence, Instant::min).max(now)
    }

    async fn obey(&mut self, talk: &mut Talk, effects: Vec<Effect>) -> Result<(), End> {
        for effect in effects {
            match effect {
                Effect::Send(line) => {
                    // Joins and pongs count while there is room, but never silence what is to be said.
                    talk.bucket.take(Instant::now());
                    talk.write(&line).await?;
                }
                Effect::Online => {
                    tracing::info!(server = %self.connector.host, nick = self.session.nick(), "on IRC");
                    self.publish(None);
                }
                Effect::ChannelsChanged => self.publish(None),
                Effect::Unsaid { channel, why } => talk.unsaid(&channel, &why),
                Effect::Pong(token) => {
                    if talk.confirm(&token) {
                        self.failures = 0;
                        self.session.settle();
                    }
                }
                Effect::End(end) => return Err(end),
            }
        }
        Ok(())
    }

    /// Tells people how the bot is.
    fn publish(&self, problem: Option<&str>) {
        let is_online = self.session.is_online() && problem.is_none();
        self.status.send_if_modified(|status| {
            let new = Status {
                is_online,
                nick: self.session.nick().to_owned(),
                channels: self.session.channels().map(|(name, presence)| (name.to_owned(), presence.clone())).collect(),
                problem: problem.map(str::to_owned),
                connections: status.connections,
            };
            let is_new = *status != new;
            *status = new;
            is_new
        });
    }
}

/// Says why nothing can be said in a channel, if nothing can.
fn refusal(channel: &str, presence: &Presence) -> Option<DeliveryError> {
    match presence {
        Presence::Joined => None,
        Presence::Joining | Presence::Out => {
            Some(DeliveryError::not_now(format!("not in {channel} at the moment"), RETRY))
        }
        Presence::Refused(why) => Some(DeliveryError::permanent(format!("cannot be in {channel}: {why}"))),
    }
}

/// One connection with what hangs on it.
struct Talk {
    framed: Framed<Box<dyn Stream>, Codec>,
    bucket: Bucket,
    /// To be said.
    waiting: VecDeque<Job>,
    /// Said since the last ping.
    written: Vec<Job>,
    /// Said before the last ping, whose answer confirms them.
    awaited: Vec<Job>,
    /// The ping that is not answered yet, and when it was sent.
    ping: Option<(String, Instant)>,
    pings: u64,
    began: Instant,
    /// When the server was last heard of.
    heard: Instant,
    write_timeout: Duration,
}

impl Talk {
    async fn write(&mut self, line: &Line) -> Result<(), End> {
        match timeout(self.write_timeout, self.framed.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::soon(format!("the connection broke: {error}"))),
            Err(_) => Err(End::soon("the server does not read any more")),
        }
    }

    /// Says goodbye, and hears what is confirmed before the server closes.
    async fn leave(&mut self) {
        let goodbye = Line::command(&["QUIT"], Some("the service stops"));
        if self.framed.send(&goodbye).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = self.framed.next().await {
            if let Command::PONG(_, Some(token)) | Command::PONG(token, None) = &message.command {
                self.confirm(token);
            }
        }
    }

    /// Takes the answer to a ping; says whether it is the one that was awaited.
    fn confirm(&mut self, token: &str) -> bool {
        let is_awaited = self.ping.as_ref().is_some_and(|(awaited, _)| awaited == token);
        if is_awaited {
            self.ping = None;
            for job in self.awaited.drain(..) {
                let receipt = Receipt::new(&format!("said in {}", job.channel));
                job.done(Ok(receipt));
            }
        }
        is_awaited
    }

    /// Tells the jobs of a channel that the server did not pass them on.
    fn unsaid(&mut self, channel: &str, why: &str) {
        for jobs in [&mut self.awaited, &mut self.written] {
            for job in jobs.extract_if(.., |job| fold(&job.channel) == channel) {
                job.done(Err(DeliveryError::transient(format!("the server did not pass it on: {why}"))));
            }
        }
    }

    /// Tells all jobs that the connection is gone.
    fn bury(self, end: &End) {
        for job in self.waiting {
            job.done(Err(DeliveryError::not_now(&end.why, RETRY)));
        }
        for job in self.awaited.into_iter().chain(self.written) {
            let problem = format!("{}, before the line was confirmed; it is not repeated", end.why);
            job.done(Err(DeliveryError::permanent(problem).in_doubt()));
        }
    }
}
