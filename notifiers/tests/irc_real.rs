//! The bot on a real server: ngircd (`apt install ngircd`), started on a free loopback port in a folder of its own.

#[path = "support/certificate.rs"]
mod certificate;
#[path = "support/ircd.rs"]
mod ircd;
mod support;

use std::process::Stdio;
use std::time::Duration;

use certificate::Certificate;
use gristmill_model::IrcConfig;
use gristmill_notifiers::backoff::Backoff;
use gristmill_notifiers::irc::{Flood, Status};
use gristmill_notifiers::{DeliveryError, Irc, IrcOptions, Notifier};
use ircd::{Peer, config};
use support::{message, soon};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

struct Ircd {
    port: u16,
    tls_port: u16,
    folder: TempDir,
    certificate: Option<Certificate>,
    process: Child,
}

impl Ircd {
    async fn start() -> Self {
        Self::start_with(false).await
    }

    async fn start_with(has_tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let certificate = has_tls.then(|| Certificate::make(folder.path()));
        // A port that is free now may be taken before ngircd binds it; then others are tried.
        for _ in 0..20 {
            let (port, tls_port) = (free_port(), free_port());
            if let Some(process) = run(&folder, port, certificate.as_ref().zip(Some(tls_port))).await {
                return Self { port, tls_port, folder, certificate, process };
            }
        }
        panic!("ngircd does not start");
    }

    async fn kill(&mut self) {
        self.process.kill().await.expect("it was running");
    }

    async fn start_again(&mut self) {
        let tls = self.certificate.as_ref().zip(Some(self.tls_port));
        self.process = run(&self.folder, self.port, tls).await.expect("the port is still free");
    }

    /// Connects a second client.
    async fn client(&self, nick: &str) -> Peer {
        let mut peer = Peer::new(TcpStream::connect(("127.0.0.1", self.port)).await.expect("ngircd listens"));
        peer.send(&format!("NICK {nick}")).await;
        peer.send("USER x 0 * :x").await;
        peer.until(" 001 ").await;
        peer
    }

    /// Connects a client that is the channel's operator, because it is the first in it.
    async fn operator(&self) -> Peer {
        let mut peer = self.client("op").await;
        peer.send("JOIN #ci").await;
        peer.until(" 366 ").await;
        peer
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("it is bound").port()
}

async fn run(folder: &TempDir, port: u16, tls: Option<(&Certificate, u16)>) -> Option<Child> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut configuration = format!(
        "[Global]\nName = irc.example.org\nInfo = test\nListen = 127.0.0.1\nPorts = {port}\nMotdPhrase = hello\n\
         [Limits]\nMaxConnectionsIP = 0\nMaxJoins = 20\nMaxNickLength = 20\nMaxPenaltyTime = 0\n\
         [Options]\nDNS = no\nIdent = no\nPAM = no\n"
    );
    if let Some((certificate, tls_port)) = tls {
        let (certificate, key) = (certificate.certificate.display(), certificate.key.display());
        configuration += &format!("[SSL]\nCertFile = {certificate}\nKeyFile = {key}\nPorts = {tls_port}\n");
    }
    std::fs::write(path("ngircd.conf"), configuration).expect("there is room");
    let mut process = Command::new("/usr/sbin/ngircd")
        .args(["--nodaemon", "--config", &path("ngircd.conf")])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("this test needs a real IRC server: apt install ngircd");
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    while let Some(line) = soon("a word of ngircd's", lines.next_line()).await.expect("it can be read") {
        // The last thing it says before it serves; an end before that means that a port was taken.
        if line.ends_with(" ready.") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(process);
        }
        println!("{line}");
    }
    None
}

fn quick() -> IrcOptions {
    let backoff = Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(100) };
    let flood = Flood { burst: 20, every: Duration::from_millis(5) };
    IrcOptions { flood, reconnect: backoff, rejoin: backoff, ..IrcOptions::default() }
}

async fn bot(ircd: &Ircd, options: IrcOptions) -> Irc {
    let irc = Irc::start(&config(ircd.port, &["#ci"]), None, options).expect("it is good");
    when(&irc, |status| status.is_in("#ci")).await;
    irc
}

async fn when(irc: &Irc, wanted: impl FnMut(&Status) -> bool) {
    let mut status = irc.status();
    let waiting = soon("the bot", status.wait_for(wanted)).await;
    drop(waiting.expect("the bot lives"));
}

/// Delivers as the outbox does: again while it is told "not now", but as soon as the bot is any better.
async fn deliver(irc: &Irc, channel: &str, words: &str) -> Result<(), DeliveryError> {
    let mut status = irc.status();
    soon("delivery", async {
        loop {
            status.mark_unchanged();
            match irc.deliver(&message(channel, words)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.retry_after().is_some() => status.changed().await.expect("the bot lives"),
                Err(error) => return Err(error),
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_second_client_sees_the_line() {
    let ircd = Ircd::start().await;
    let mut reader = ircd.operator().await;
    let irc = bot(&ircd, IrcOptions::default()).await;
    reader.until("JOIN :#ci").await;
    deliver(&irc, "#ci", "broke: täst ✕\r\nQUIT :ha \u{1}ACTION\u{1}").await.expect("it is said");
    let line = reader.until("PRIVMSG").await;
    assert!(line.starts_with(":gristmill!~gristmill@"), "{line}");
    assert!(line.ends_with("PRIVMSG #ci :broke: täst ✕ QUIT :ha ACTION"), "{line}");
    irc.stop().await;
    reader.until("QUIT :").await;
}

#[tokio::test]
async fn a_nick_in_use_is_made_longer_and_regained_later() {
    let ircd = Ircd::start().await;
    let mut holder = ircd.client("gristmill").await;
    let irc = bot(&ircd, IrcOptions { liveness: Duration::from_secs(1), ..quick() }).await;
    when(&irc, |status| status.nick == "gristmill_").await;
    deliver(&irc, "#ci", "x").await.expect("it is said under another name");
    holder.send("QUIT").await;
    when(&irc, |status| status.nick == "gristmill").await;
}

#[tokio::test]
async fn after_a_kick_it_comes_back() {
    let ircd = Ircd::start().await;
    let mut operator = ircd.operator().await;
    let irc = bot(&ircd, quick()).await;
    operator.until("JOIN :#ci").await;
    operator.send("KICK #ci gristmill :out\u{2}").await;
    operator.until("JOIN :#ci").await;
    when(&irc, |status| status.is_in("#ci")).await;
    deliver(&irc, "#ci", "back again").await.expect("it is said");
    operator.until("PRIVMSG #ci :back again").await;
    assert_eq!(irc.status().borrow().connections, 1);
}

#[tokio::test]
async fn a_ban_costs_one_channel_only_and_is_noticed_when_lifted() {
    let ircd = Ircd::start().await;
    let mut operator = ircd.operator().await;
    let irc = bot(&ircd, quick()).await;
    operator.until("JOIN :#ci").await;
    operator.send("MODE #ci +b gristmill!*@*").await;
    operator.send("KICK #ci gristmill :out").await;
    operator.until("KICK").await;
    when(&irc, |status| !status.is_in("#ci")).await;
    let error = deliver(&irc, "#ci", "x").await.expect_err("it is banned");
    assert!(!error.is_transient() && !error.is_doubtful(), "{error}");
    assert!(error.to_string().starts_with("cannot be in #ci: "), "{error}");
    deliver(&irc, "#other", "others go on").await.expect("it is said");

    operator.send("MODE #ci -b gristmill!*@*").await;
    when(&irc, |status| status.is_in("#ci")).await;
    deliver(&irc, "#ci", "forgiven").await.expect("it is said");
    operator.until("PRIVMSG #ci :forgiven").await;
}

#[tokio::test]
async fn in_a_moderated_channel_nothing_is_claimed_as_said() {
    let ircd = Ircd::start().await;
    let mut operator = ircd.operator().await;
    let irc = bot(&ircd, quick()).await;
    operator.until("JOIN :#ci").await;
    operator.send("MODE #ci +m").await;
    operator.until("MODE #ci +m").await;
    let error = deliver(&irc, "#ci", "x").await.expect_err("nobody saw it");
    assert!(error.is_transient() && !error.is_doubtful(), "{error}");
}

#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    let mut ircd = Ircd::start().await;
    let irc = bot(&ircd, quick()).await;
    ircd.kill().await;
    when(&irc, |status| !status.is_online && status.problem.is_some()).await;
    let error = irc.deliver(&message("#ci", "x")).await.expect_err("the server is away");
    assert!(error.retry_after().is_some(), "{error}");
    ircd.start_again().await;
    when(&irc, |status| status.is_in("#ci")).await;
    let mut reader = ircd.client("reader").await;
    reader.send("JOIN #ci").await;
    reader.until(" 366 ").await;
    deliver(&irc, "#ci", "still here").await.expect("it is said");
    reader.until("PRIVMSG #ci :still here").await;
}

#[tokio::test]
async fn tls_is_spoken_and_certificates_are_checked() {
    let ircd = Ircd::start_with(true).await;
    let tls = IrcConfig { tls: true, ..config(ircd.tls_port, &["#ci"]) };
    let pem = ircd.certificate.as_ref().expect("it was made").pem();
    let irc = Irc::start(&tls, None, IrcOptions { roots: vec![pem], ..quick() }).expect("it is good");
    when(&irc, |status| status.is_in("#ci")).await;
    deliver(&irc, "#ci", "hidden").await.expect("it is said");

    let distrustful = Irc::start(&tls, None, quick()).expect("it is good");
    when(&distrustful, |status| status.problem.as_ref().is_some_and(|why| why.contains("certificate"))).await;
}
