//! The bot against a server whose every word the test says.

#[path = "support/ircd.rs"]
mod ircd;
mod support;

use std::sync::Arc;
use std::time::Duration;

use gristmill_model::IrcConfig;
use gristmill_notifiers::backoff::Backoff;
use gristmill_notifiers::irc::Flood;
use gristmill_notifiers::{Guarantee, Irc, IrcOptions, Notifier};
use ircd::{Peer, config};
use support::{message, soon};
use tokio::net::TcpListener;

fn quick() -> IrcOptions {
    let backoff = Backoff { base: Duration::from_millis(5), cap: Duration::from_millis(20) };
    IrcOptions {
        flood: Flood { burst: 100, every: Duration::from_millis(1) },
        reconnect: backoff,
        rejoin: backoff,
        ..IrcOptions::default()
    }
}

struct Server {
    listener: TcpListener,
}

impl Server {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free") }
    }

    fn config(&self) -> IrcConfig {
        config(self.listener.local_addr().expect("it is bound").port(), &["#ci"])
    }

    async fn accept(&self) -> Peer {
        Peer::new(soon("a connection", self.listener.accept()).await.expect("it is accepted").0)
    }

    /// Accepts the bot and lets it into its channel.
    async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.until("USER ").await;
        peer.send(":irc.x 001 gristmill :Welcome").await;
        peer.until("JOIN #ci").await;
        peer.send(":gristmill!~g@host JOIN :#ci").await;
        peer
    }
}

/// Waits until the bot is in its channel.
async fn joined(irc: &Irc) {
    let mut status = irc.status();
    soon("the bot in its channel", status.wait_for(|status| status.is_in("#ci"))).await.expect("the bot lives");
}

/// Answers the bot's ping.
async fn pong(peer: &mut Peer) {
    let ping = peer.until("PING :").await;
    peer.send(&format!(":irc.x PONG irc.x {}", ping.trim_start_matches("PING "))).await;
}

#[tokio::test]
async fn a_message_counts_when_a_later_ping_is_answered() {
    let server = Server::start().await;
    let irc = Irc::start(&server.config(), None, quick()).expect("it is good");
    let mut peer = server.welcome().await;
    joined(&irc).await;
    let irc = Arc::new(irc);
    let delivering = tokio::spawn({
        let irc = Arc::clone(&irc);
        async move { irc.deliver(&message("#ci", "broke: \u{1}x\r\nQUIT :ha\0")).await }
    });
    assert_eq!(peer.line().await.as_deref(), Some("PRIVMSG #ci :broke: x QUIT :ha"));
    assert!(!delivering.is_finished(), "a written line is no delivered line");
    peer.send("PING :in between").await;
    pong(&mut peer).await;
    let receipt = soon("a receipt", delivering).await.expect("no panic").expect("it is delivered");
    assert_eq!(receipt.as_str(), "said in #ci");
    assert_eq!(irc.guarantee(), Guarantee::AtMostOnce);
}

#[tokio::test]
async fn a_line_that_was_lost_on_the_way_is_not_repeated() {
    let server = Server::start().await;
    let irc = Irc::start(&server.config(), None, quick()).expect("it is good");
    let mut peer = server.welcome().await;
    joined(&irc).await;
    let message = message("#ci", "broke: x");
    let (result, ()) = tokio::join!(irc.deliver(&message), async {
        peer.until("PRIVMSG").await;
        drop(peer);
    });
    let error = result.expect_err("nobody knows");
    assert!(error.is_doubtful() && !error.is_transient(), "{error}");

    let mut peer = server.welcome().await;
    joined(&irc).await;
    let (result, ()) = tokio::join!(irc.deliver(&message), async {
        peer.until("PRIVMSG #ci :broke: x").await;
        peer.send(":irc.x 404 gristmill #CI :Cannot send to channel (+m)").await;
        pong(&mut peer).await;
    });
    let error = result.expect_err("it was not shown");
    assert!(error.is_transient() && !error.is_doubtful(), "{error}");
    assert_eq!(error.to_string(), "the server did not pass it on: Cannot send to channel (+m) (404)");
}

#[tokio::test]
async fn nothing_is_said_before_the_channel_is_joined() {
    let server = Server::start().await;
    let irc = Irc::start(&server.config(), None, quick()).expect("it is good");
    let error = soon("an answer", irc.deliver(&message("#ci", "x"))).await.expect_err("it is not there yet");
    assert!(error.retry_after().is_some(), "{error}");
    let mut peer = server.accept().await;
    peer.until("USER ").await;
    peer.send(":irc.x 001 gristmill :Welcome").await;
    peer.until("JOIN #ci").await;
    let error = soon("an answer", irc.deliver(&message("#ci", "x"))).await.expect_err("it is not in the channel");
    assert_eq!(error.to_string(), "not in #ci at the moment");
    let error = soon("an answer", irc.deliver(&message("ada", "x"))).await.expect_err("ada is no channel");
    assert!(!error.is_transient(), "{error}");

    // A channel that no configuration names is joined when a message asks for it.
    let error = soon("an answer", irc.deliver(&message("#other", "x"))).await.expect_err("it must join first");
    assert!(error.is_transient(), "{error}");
    peer.until("JOIN #other").await;
    peer.send(":gristmill!~g@host JOIN #other").await;
    let mut status = irc.status();
    soon("the channel", status.wait_for(|status| status.is_in("#other"))).await.expect("the bot lives");
    let other = message("#other", "y");
    let (result, ()) = tokio::join!(irc.deliver(&other), async {
        peer.until("PRIVMSG #other :y").await;
        pong(&mut peer).await;
    });
    result.expect("it is said");
}

#[tokio::test]
async fn login_happens_before_anything_else() {
    let server = Server::start().await;
    let config = IrcConfig { sasl_user: Some("ci".to_owned()), ..server.config() };
    let irc = Irc::start(&config, Some("geheim".to_owned()), quick()).expect("it is good");
    let mut peer = server.accept().await;
    assert_eq!(peer.line().await.as_deref(), Some("CAP LS 302"));
    peer.until("USER ").await;
    peer.send(":irc.x CAP * LS :sasl=PLAIN").await;
    peer.until("CAP REQ :sasl").await;
    peer.send(":irc.x CAP * ACK :sasl").await;
    peer.until("AUTHENTICATE PLAIN").await;
    peer.send("AUTHENTICATE +").await;
    peer.until("AUTHENTICATE Y2kAY2kAZ2VoZWlt").await;
    peer.send(":irc.x 904 * :wrong").await;
    let mut status = irc.status();
    let refused = |status: &gristmill_notifiers::irc::Status| status.problem.is_some();
    let status = soon("the refusal", status.wait_for(refused)).await.expect("the bot lives").clone();
    assert_eq!(status.problem.as_deref(), Some("the login was refused: wrong (904)"));
}

#[tokio::test]
async fn hostile_lines_do_no_harm() {
    let server = Server::start().await;
    let irc = Irc::start(&server.config(), None, quick()).expect("it is good");
    let mut peer = server.welcome().await;
    joined(&irc).await;
    peer.send_bytes(
        b"\r\n\r\n:\r\n@a=b\r\n@ :\r\n\xff\xfe\xfd\r\n001\r\n: 001 :\r\nJOIN\r\nKICK #ci\r\nCAP\r\n433\r\n",
    )
    .await;
    peer.send_bytes(&[b'x'; 100_000]).await;
    peer.send_bytes(b" KICK #ci gristmill :no\r\n").await;
    peer.send(":x!y@z PRIVMSG gristmill :\u{1}VERSION\u{1}").await;
    peer.send(":x!y@z PRIVMSG #ci :!force build").await;
    peer.send("PING :a\0b \u{1}c").await;
    assert_eq!(peer.line().await.as_deref(), Some("PONG :a b c"));
    let message = message("#ci", &"✕ ".repeat(10_000));
    let (result, line) = tokio::join!(irc.deliver(&message), async {
        let line = peer.until("PRIVMSG").await;
        pong(&mut peer).await;
        line
    });
    result.expect("it is said");
    assert!(line.len() <= 512 - 100 && line.ends_with('…'), "{} bytes", line.len());
    assert!(irc.status().borrow().is_in("#ci"));
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_a_new_connection_made() {
    let server = Server::start().await;
    let options = IrcOptions { liveness: Duration::from_millis(100), ..quick() };
    let irc = Irc::start(&server.config(), None, options.clone()).expect("it is good");
    let mut peer = server.welcome().await;
    joined(&irc).await;
    peer.until("PING :").await;
    // The peer says nothing more and stays connected.
    let mut second = server.welcome().await;
    joined(&irc).await;
    second.until("PING :").await;
    drop(irc);

    // One that never lets us in is given up too.
    let options = IrcOptions { connect_timeout: Duration::from_millis(100), ..options };
    let irc = Irc::start(&server.config(), None, options).expect("it is good");
    let mut status = irc.status();
    let problem = |status: &gristmill_notifiers::irc::Status| status.problem.is_some();
    let status = soon("despair", status.wait_for(problem)).await.expect("the bot lives").clone();
    assert_eq!(status.problem.as_deref(), Some("the server did not let us in in time"));
}

#[tokio::test]
async fn many_messages_are_confirmed_by_few_pings_and_all_in_order() {
    let server = Server::start().await;
    let irc = Irc::start(&server.config(), None, quick()).expect("it is good");
    let mut peer = server.welcome().await;
    joined(&irc).await;
    let messages: Vec<_> = (0..40).map(|number| message("#ci", &format!("line {number}."))).collect();
    let all = futures_util::future::join_all(messages.iter().map(|message| irc.deliver(message)));
    let (results, pings) = tokio::join!(all, async {
        let (mut next, mut pings) = (0, 0);
        let mut is_confirmed = false;
        while next < 40 || !is_confirmed {
            let line = peer.line().await.expect("the bot speaks");
            if let Some(token) = line.strip_prefix("PING ") {
                pings += 1;
                is_confirmed = next == 40;
                peer.send(&format!(":irc.x PONG irc.x {token}")).await;
            } else {
                assert_eq!(line, format!("PRIVMSG #ci :line {next}."));
                next += 1;
            }
        }
        pings
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(pings <= 40, "{pings}");
}

#[tokio::test]
async fn stopping_says_goodbye_and_leaves_nobody_waiting() {
    let server = Server::start().await;
    let irc = Irc::start(&server.config(), None, quick()).expect("it is good");
    let mut peer = server.welcome().await;
    joined(&irc).await;
    let ((), line) = tokio::join!(irc.stop(), async {
        let line = peer.until("QUIT").await;
        drop(peer);
        line
    });
    assert_eq!(line, "QUIT :the service stops");
}
