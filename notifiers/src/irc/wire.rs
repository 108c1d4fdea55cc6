//! Lines on the wire: what is read is bounded and may be anything, what is written is one line and nothing else.

use std::io;

use irc_proto::Message;
use tokio_util::bytes::{BufMut, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::render::IRC_LINE_BYTES_MAX;
use crate::text;

/// Bytes of a line that is read: IRCv3 tags and a message.
const READ_BYTES_MAX: usize = 8191 + 512;
/// Bytes of a line that is written, without its end.
const WRITE_BYTES_MAX: usize = 510;
/// Bytes that a server may put before a line that it passes on: `:nick!user@host `.
const PREFIX_BYTES: usize = 100;
/// Bytes of a channel's name.
const CHANNEL_BYTES_MAX: usize = 64;
/// Bytes of a nick that is asked for.
const NICK_BYTES_MAX: usize = 30;

/// A line to write: without control characters, and short enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line(String);

impl Line {
    /// Makes a command of words that cannot be mistaken for more words, and a last part that may have spaces.
    pub(super) fn command(words: &[&str], last: Option<&str>) -> Self {
        let mut line = words.iter().map(|word| one_word(word)).collect::<Vec<_>>().join(" ");
        if let Some(last) = last {
            line.push_str(" :");
            line.push_str(&text::one_line(last, WRITE_BYTES_MAX));
        }
        Self(text::cut(line, WRITE_BYTES_MAX))
    }

    /// Says something in a channel.
    pub(super) fn say(channel: &str, words: &str) -> Self {
        let room = WRITE_BYTES_MAX - PREFIX_BYTES - "PRIVMSG  :".len() - CHANNEL_BYTES_MAX.min(channel.len());
        let words = text::one_line(words, room.min(IRC_LINE_BYTES_MAX));
        Self::command(&["PRIVMSG", channel], Some(if words.is_empty() { text::ELLIPSIS } else { &words }))
    }

    /// Gives the line without its end.
    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes out of a word what would end it, and the colon that would make it the last one.
fn one_word(word: &str) -> String {
    word.trim_start_matches(':').chars().filter(|character| !character.is_control() && *character != ' ').collect()
}

/// Says whether a target is a channel that we may speak in.
pub(super) fn is_channel(target: &str) -> bool {
    target.starts_with(['#', '&', '+', '!'])
        && (2..=CHANNEL_BYTES_MAX).contains(&target.len())
        && !target.chars().any(|character| character.is_control() || matches!(character, ' ' | ',' | ':'))
}

/// Says whether a nick may be asked for.
pub(super) fn is_nick(nick: &str) -> bool {
    let is_special = |character: char| "[]\\`_^{|}".contains(character);
    let mut characters = nick.chars();
    nick.len() <= NICK_BYTES_MAX
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || is_special(first))
        && characters.all(|next| next.is_ascii_alphanumeric() || is_special(next) || next == '-')
}

/// Folds a nick or channel as IRC compares them (RFC 1459: `{}|^` are the small letters of `[]\~`).
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            '[' => '{',
            ']' => '}',
            '\\' => '|',
            '~' => '^',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Splits the stream into messages. What is too long or no message is skipped; bytes that are no text are replaced.
#[derive(Debug, Default)]
pub(super) struct Codec {
    is_skipping: bool,
}

impl Decoder for Codec {
    type Item = Message;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        loop {
            let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
                if buffer.len() > READ_BYTES_MAX {
                    buffer.clear();
                    self.is_skipping = true;
                }
                return Ok(None);
            };
            let line = buffer.split_to(end + 1);
            if std::mem::take(&mut self.is_skipping) || line.len() > READ_BYTES_MAX {
                continue;
            }
            let line = String::from_utf8_lossy(&line);
            match line.trim_end_matches(['\r', '\n']).parse::<Message>() {
                Ok(message) => return Ok(Some(message)),
                Err(_) => tracing::debug!(bytes = line.len(), "a line that is no IRC message is skipped"),
            }
        }
    }
}

impl Encoder<&Line> for Codec {
    type Error = io::Error;

    fn encode(&mut self, line: &Line, buffer: &mut BytesMut) -> io::Result<()> {
        buffer.put_slice(line.0.as_bytes());
        buffer.put_slice(b"\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(line: &Line) -> Vec<u8> {
        let mut buffer = BytesMut::new();
        Codec::default().encode(line, &mut buffer).expect("memory takes it");
        buffer.to_vec()
    }

    #[test]
    fn what_is_said_is_one_line() {
        let hostile = "x\r\nQUIT :bye\0\u{1}ACTION\u{1}\u{2}";
        assert_eq!(Line::say("#ci", hostile).as_str(), "PRIVMSG #ci :x QUIT :bye ACTION");
        assert_eq!(Line::say("#ci\r\nQUIT", "").as_str(), "PRIVMSG #ciQUIT :…");
        assert_eq!(Line::command(&["NICK", ":a b\r\n"], None).as_str(), "NICK ab");
    }

    #[test]
    fn names_are_checked() {
        for (channel, wanted) in
            [("#ci", true), ("&x", true), ("ada", false), ("#a,#b", false), ("#a b", false), ("#", false)]
        {
            assert_eq!(is_channel(channel), wanted, "{channel}");
        }
        for (nick, wanted) in
            [("gristmill", true), ("_x-1", true), ("1x", false), ("", false), ("a b", false), ("å", false)]
        {
            assert_eq!(is_nick(nick), wanted, "{nick}");
        }
        assert_eq!(fold("#CI[~]"), "#ci{^}");
    }

    #[test]
    fn lines_without_end_and_without_sense_are_skipped() {
        let mut codec = Codec::default();
        let mut buffer = BytesMut::from(&b"\r\n:\r\n@\r\n: :\r\n\xff\xfe\r\nPING :a\xffb\r\n"[..]);
        let mut seen = Vec::new();
        while let Some(message) = codec.decode(&mut buffer).expect("nothing is an error") {
            seen.push(message.to_string().trim_end().to_owned());
        }
        assert_eq!(seen.last().map(String::as_str), Some("PING a\u{fffd}b"), "{seen:?}");

        for _ in 0..1000 {
            buffer.extend_from_slice(&[b'x'; 1024]);
            assert!(codec.decode(&mut buffer).expect("nothing is an error").is_none());
            assert!(buffer.len() <= READ_BYTES_MAX + 1024);
        }
        buffer.extend_from_slice(b" the rest\r\nPING :b\r\n");
        let message = codec.decode(&mut buffer).expect("nothing is an error").expect("there is one");
        assert_eq!(message.to_string().trim_end(), "PING b");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
            let mut codec = Codec::default();
            let mut buffer = BytesMut::new();
            let cut = cut.min(bytes.len());
            for part in [&bytes[..cut], &bytes[cut..], b"\r\nPING :end\r\n"] {
                buffer.extend_from_slice(part);
                while codec.decode(&mut buffer).expect("nothing is an error").is_some() {}
            }
        }

        #[test]
        fn almost_irc_is_read_without_harm(line in "[@:]?[a-zA-Z0-9=;:# \\\\é]{0,40}") {
            let mut buffer = BytesMut::from(format!("{line}\r\n").as_bytes());
            let mut codec = Codec::default();
            while codec.decode(&mut buffer).expect("nothing is an error").is_some() {}
        }

        #[test]
        fn any_text_is_one_line_of_512_bytes(channel in "#\\PC{1,60}", words in any::<String>(), repeat in 1usize..50) {
            for line in [Line::say(&channel, &words.repeat(repeat)), Line::command(&["JOIN", &words], Some(&channel))] {
                let bytes = encoded(&line);
                prop_assert!(bytes.len() <= 512 && bytes.ends_with(b"\r\n"));
                prop_assert!(!bytes[..bytes.len() - 2].iter().any(|byte| *byte < 0x20 || *byte == 0x7f));
            }
        }
    }
}
