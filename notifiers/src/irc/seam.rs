//! A bot without a network, for `tests/fuzz`: bytes of a server in, bytes for it out.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::session::{Effect, Login, Session};
use super::wire::{Codec, Line};
use crate::backoff::Backoff;

/// What a conversation came to.
#[derive(Debug, Default)]
pub struct Heard {
    /// Every line that was written, with its end.
    pub written: Vec<Vec<u8>>,
    /// The words that are shown to people.
    pub shown: Vec<String>,
    /// The channels that the bot knows of.
    pub channels: Vec<String>,
    /// The nick that it has.
    pub nick: String,
    /// Bytes of the server's that wait for the rest of their line.
    pub waiting: usize,
    /// Whether the conversation was ended.
    pub is_over: bool,
}

/// Has a bot with these channels hear what a server says, in pieces.
pub fn hear<'a>(
    nick: &str,
    login: Option<(&str, &str)>,
    channels: &[String],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Heard {
    let login = login.map(|(user, password)| Login { user: user.to_owned(), password: password.to_owned() });
    let backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(600) };
    let mut session = Session::new(nick, login, channels, backoff);
    let (mut codec, mut buffer, mut now) = (Codec::default(), BytesMut::new(), Instant::now());
    let mut heard = Heard::default();
    heard.take(session.begin());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Ok(Some(message)) = codec.decode(&mut buffer) {
            heard.take(session.hear(&message, now));
            // Longer than any wait, so that the bot's dice do not matter.
            now += Duration::from_secs(3600);
            heard.take(session.due(now));
        }
    }
    heard.take(session.regain_nick().into_iter().collect());
    heard.shown.extend(session.channels().map(|(_, presence)| format!("{presence:?}")));
    heard.channels = session.channels().map(|(name, _)| name.to_owned()).collect();
    session.nick().clone_into(&mut heard.nick);
    heard.waiting = buffer.len();
    heard
}

/// Writes the line by which something is said in a channel.
pub fn say(channel: &str, words: &str) -> Vec<u8> {
    encoded(&Line::say(channel, words))
}

fn encoded(line: &Line) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Codec::default().encode(line, &mut bytes).expect("memory takes every line");
    bytes.to_vec()
}

impl Heard {
    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(line) => self.written.push(encoded(&line)),
                Effect::Unsaid { channel, why } => self.shown.extend([channel, why]),
                Effect::End(end) => {
                    self.is_over = true;
                    self.shown.push(end.why);
                }
                Effect::Online | Effect::ChannelsChanged | Effect::Pong(_) => {}
            }
        }
    }
}
