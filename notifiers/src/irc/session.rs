//! What the bot says and believes, without a connection: registration, login, nick, channels.
//!
//! Lines come in, effects go out, the time is an argument. It lives over many connections, so that a channel's bad
//! history is not forgotten by reconnecting.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use irc_proto::{CapSubCommand, Command, Message};
use tokio::time::Instant;

use super::wire::{Line, fold};
use crate::backoff::{Backoff, Dice};
use crate::text;

/// Nicks that are tried, each one `_` longer, before the server is left alone for a while.
const NICK_TRIES_MAX: usize = 9;
/// Channels that are joined, also those that messages ask for.
const CHANNELS_MAX: usize = 100;
/// Failures to stay in a channel after which its messages are given up, until it can be joined again.
const JOIN_TRIES_MAX: u32 = 5;
/// The time that a server may leave a wish to join unanswered, before it is asked again.
const JOIN_ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes of one piece of a SASL answer.
const SASL_PIECE_BYTES: usize = 400;

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Write this line.
    Send(Line),
    /// We are registered.
    Online,
    /// Something about the channels changed.
    ChannelsChanged,
    /// The server did not pass on what was said in this channel.
    Unsaid { channel: String, why: String },
    /// A ping of ours came back.
    Pong(String),
    /// The connection is of no use any more.
    End(End),
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// What happened.
    pub(super) why: String,
    /// Whether a person has to mend it, so that trying again soon only annoys.
    pub(super) is_hopeless: bool,
}

impl End {
    pub(super) fn soon(why: impl AsRef<str>) -> Self {
        Self { why: text::one_line(why.as_ref(), 300), is_hopeless: false }
    }

    pub(super) fn hopeless(why: impl AsRef<str>) -> Self {
        Self { is_hopeless: true, ..Self::soon(why) }
    }
}

/// Where the bot stands with a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is in it.
    Joined,
    /// It has asked to join.
    Joining,
    /// It is not in it, and asks again after a while.
    Out,
    /// It has been refused or thrown out so often, at last for this reason, that the channel's messages are given up
    /// until it can be joined again.
    Refused(String),
}

#[derive(Debug, Clone)]
struct Channel {
    name: String,
    presence: Presence,
    failures: u32,
    /// When to ask (again).
    retry_at: Option<Instant>,
    /// Whether the server owes us an answer.
    is_asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for the server's list of capabilities.
    Capabilities,
    /// Waiting for the login to be accepted.
    Login,
    /// Waiting for the welcome.
    Welcome,
    Online,
}

/// Name and password of the account.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// The bot's mind.
pub(super) struct Session {
    wanted_nick: String,
    nick: String,
    nick_tries: usize,
    /// Whether the server takes no longer nicks than the wanted one.
    is_nick_full: bool,
    login: Option<Login>,
    stage: Stage,
    offers_sasl: bool,
    channels: BTreeMap<String, Channel>,
    rejoin: Backoff,
    dice: Dice,
}

impl Session {
    pub(super) fn new(nick: &str, login: Option<Login>, channels: &[String], rejoin: Backoff) -> Self {
        let mut session = Self {
            wanted_nick: nick.to_owned(),
            nick: nick.to_owned(),
            nick_tries: 0,
            is_nick_full: false,
            login,
            stage: Stage::Welcome,
            offers_sasl: false,
            channels: BTreeMap::new(),
            rejoin,
            dice: Dice::new(),
        };
        for channel in channels {
            session.add(channel);
        }
        session
    }

    /// Begins a connection.
    pub(super) fn begin(&mut self) -> Vec<Effect> {
        self.nick = self.wanted_nick.clone();
        self.nick_tries = 0;
        self.offers_sasl = false;
        for channel in self.channels.values_mut() {
            channel.leave();
        }
        self.stage = if self.login.is_some() { Stage::Capabilities } else { Stage::Welcome };
        let mut effects = Vec::new();
        if self.login.is_some() {
            effects.push(send(&["CAP", "LS", "302"], None));
        }
        effects.push(send(&["NICK", &self.nick], None));
        effects
            .push(send(&["USER", &self.wanted_nick, "0", "*"], Some("Gristmill, a continuous-integration scheduler")));
        effects
    }

    /// Ends a connection: we are nowhere.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Welcome;
        for channel in self.channels.values_mut() {
            channel.leave();
        }
    }

    pub(super) fn is_online(&self) -> bool {
        self.stage == Stage::Online
    }

    pub(super) fn nick(&self) -> &str {
        &self.nick
    }

    /// Gives all channels with their presence.
    pub(super) fn channels(&self) -> impl Iterator<Item = (&str, &Presence)> {
        self.channels.values().map(|channel| (channel.name.as_str(), &channel.presence))
    }

    /// Says where we stand with a channel; one that we have not heard of is joined from now on.
    pub(super) fn presence(&mut self, channel: &str, now: Instant) -> Presence {
        if !self.channels.contains_key(&fold(channel)) {
            if self.channels.len() >= CHANNELS_MAX {
                return Presence::Refused(format!("more than {CHANNELS_MAX} channels"));
            }
            self.add(channel).retry_at = Some(now);
        }
        self.channels.get(&fold(channel)).map_or(Presence::Out, |channel| channel.presence.clone())
    }

    /// Gives the time at which [`Session::due`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let is_online = self.is_online();
        self.channels.values().filter_map(|channel| channel.retry_at).filter(|_| is_online).min()
    }

    /// Asks to join the channels whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Effect> {
        if !self.is_online() {
            return Vec::new();
        }
        let due = self.channels.values_mut().filter(|channel| channel.retry_at.is_some_and(|at| at <= now));
        let mut effects = Vec::new();
        for channel in due {
            effects.push(channel.ask(now));
        }
        effects
    }

    /// Asks for the nick that was wanted, if another one had to be taken.
    pub(super) fn regain_nick(&self) -> Option<Effect> {
        let has_other = self.is_online() && fold(&self.nick) != fold(&self.wanted_nick);
        has_other.then(|| send(&["NICK", &self.wanted_nick], None))
    }

    /// Forgets the failures of channels that we are in: they kept us long enough.
    pub(super) fn settle(&mut self) {
        for channel in self.channels.values_mut().filter(|channel| channel.presence == Presence::Joined) {
            channel.failures = 0;
        }
    }

    /// Takes a line of the server's in.
    pub(super) fn hear(&mut self, message: &Message, now: Instant) -> Vec<Effect> {
        let is_mine = message.source_nickname().is_some_and(|nick| self.is_me(nick));
        match &message.command {
            Command::PING(token, _) => vec![send(&["PONG"], Some(token))],
            Command::PONG(_, Some(token)) | Command::PONG(token, None) => vec![Effect::Pong(token.clone())],
            Command::ERROR(why) => vec![Effect::End(End::soon(format!("the server said: {why}")))],
            Command::CAP(_, verb, more, list) => self.hear_capabilities(*verb, more.as_deref(), list.as_deref()),
            Command::AUTHENTICATE(challenge) => self.hear_challenge(challenge),
            Command::NICK(nick) if is_mine => {
                self.nick.clone_from(nick);
                vec![Effect::ChannelsChanged]
            }
            Command::JOIN(channels, _, _) if is_mine => self.joined(channels),
            Command::PART(channels, _) if is_mine => self.left(channels, "we were made to leave", now),
            Command::KICK(channel, nick, why) if self.is_me(nick) => {
                let why = why.as_deref().unwrap_or("no reason given");
                self.left(channel, &format!("we were kicked: {}", text::one_line(why, 100)), now)
            }
            Command::INVITE(nick, channel) if self.is_me(nick) => {
                let channel = self.channels.get_mut(&fold(channel));
                // Only while we wait to ask: nobody makes us ask twice at a time.
                if let Some(channel) = channel.filter(|channel| channel.retry_at.is_some() && !channel.is_asked) {
                    channel.retry_at = Some(now);
                }
                Vec::new()
            }
            Command::Response(response, words) => self.hear_number(*response as u16, words, now),
            Command::Raw(number, words) => match number.parse() {
                Ok(number) => self.hear_number(number, words, now),
                Err(_) => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn hear_capabilities(&mut self, verb: CapSubCommand, more: Option<&str>, list: Option<&str>) -> Vec<Effect> {
        if self.stage != Stage::Capabilities {
            return Vec::new();
        }
        // `CAP * LS * :…` announces more lines; the codec's reader puts the star where the list is otherwise.
        let (is_last, list) = match (more, list) {
            (Some("*"), Some(list)) => (false, list),
            (Some(list), None) | (_, Some(list)) => (true, list),
            (None, None) => (true, ""),
        };
        match verb {
            CapSubCommand::LS => {
                self.offers_sasl |= list.split(' ').any(offers_plain);
                match (is_last, self.offers_sasl) {
                    (false, _) => Vec::new(),
                    (true, true) => vec![send(&["CAP", "REQ"], Some("sasl"))],
                    (true, false) => vec![Effect::End(no_sasl())],
                }
            }
            CapSubCommand::ACK => {
                self.stage = Stage::Login;
                vec![send(&["AUTHENTICATE", "PLAIN"], None)]
            }
            CapSubCommand::NAK => vec![Effect::End(no_sasl())],
            _ => Vec::new(),
        }
    }

    fn hear_challenge(&mut self, challenge: &str) -> Vec<Effect> {
        let Some(login) = self.login.as_ref().filter(|_| self.stage == Stage::Login && challenge == "+") else {
            return Vec::new();
        };
        let plain = format!("{0}\0{0}\0{1}", login.user, login.password);
        let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
        let mut pieces: Vec<&str> = (0..encoded.len())
            .step_by(SASL_PIECE_BYTES)
            .map(|at| &encoded[at..encoded.len().min(at + SASL_PIECE_BYTES)])
            .collect();
        // A full last piece would promise another one.
        if encoded.len().is_multiple_of(SASL_PIECE_BYTES) {
            pieces.push("+");
        }
        pieces.iter().map(|piece| send(&["AUTHENTICATE", piece], None)).collect()
    }

    fn hear_number(&mut self, number: u16, words: &[String], now: Instant) -> Vec<Effect> {
        let said = words.last().map_or("", String::as_str);
        match (number, self.stage) {
            (1, Stage::Capabilities | Stage::Login) => vec![Effect::End(no_sasl())],
            (1, Stage::Welcome) => self.welcomed(words.first(), now),
            (903, Stage::Login) => {
                self.stage = Stage::Welcome;
                vec![send(&["CAP", "END"], None)]
            }
            (902 | 904..=908, Stage::Login) => {
                vec![Effect::End(End::hopeless(format!("the login was refused: {said} ({number})")))]
            }
            (_, Stage::Online) => self.hear_online_number(number, words, now),
            (433 | 436 | 437, _) => self.try_next_nick(),
            // The underscore made it too long: let it take a letter's place.
            (432, _) if self.nick_tries > 0 && !self.is_nick_full => {
                self.is_nick_full = true;
                self.nick_tries -= 1;
                self.try_next_nick()
            }
            (431 | 432 | 463..=465 | 484, _) => {
                vec![Effect::End(End::hopeless(format!("the server does not let us in: {said} ({number})")))]
            }
            _ => Vec::new(),
        }
    }

    fn hear_online_number(&mut self, number: u16, words: &[String], now: Instant) -> Vec<Effect> {
        let [_, name, .., said] = words else { return Vec::new() };
        let is_error = (400..600).contains(&number);
        let Some(channel) = self.channels.get(&fold(name)).filter(|_| is_error) else { return Vec::new() };
        let why = format!("{} ({number})", text::one_line(said, 100));
        match (&channel.presence, number) {
            (Presence::Joining | Presence::Refused(_), _) => self.left(name, &why, now),
            // 442: we are not in it, whatever we believe.
            (Presence::Joined, 442) => {
                let mut effects = vec![Effect::Unsaid { channel: fold(name), why: why.clone() }];
                effects.extend(self.left(name, &why, now));
                effects
            }
            (_, 401 | 403 | 404 | 408) => vec![Effect::Unsaid { channel: fold(name), why }],
            _ => Vec::new(),
        }
    }

    fn welcomed(&mut self, nick: Option<&String>, now: Instant) -> Vec<Effect> {
        self.stage = Stage::Online;
        if let Some(nick) = nick {
            self.nick.clone_from(nick);
        }
        let mut effects = vec![Effect::Online];
        effects.extend(self.channels.values_mut().map(|channel| channel.ask(now)));
        effects
    }

    fn try_next_nick(&mut self) -> Vec<Effect> {
        self.nick_tries += 1;
        if self.nick_tries > NICK_TRIES_MAX {
            return vec![Effect::End(End::hopeless(format!(
                "the nick {} and its like are all in use",
                self.wanted_nick
            )))];
        }
        // Nicks are ASCII, so letters are bytes.
        let kept = if self.is_nick_full { self.wanted_nick.len().saturating_sub(self.nick_tries) } else { usize::MAX };
        let kept = self.wanted_nick.get(..kept).unwrap_or(&self.wanted_nick);
        self.nick = format!("{kept}{}", "_".repeat(self.nick_tries));
        vec![send(&["NICK", &self.nick], None)]
    }

    fn joined(&mut self, channels: &str) -> Vec<Effect> {
        for name in channels.split(',') {
            if let Some(channel) = self.channels.get_mut(&fold(name)) {
                channel.presence = Presence::Joined;
                channel.retry_at = None;
                channel.is_asked = false;
            }
        }
        vec![Effect::ChannelsChanged]
    }

    fn left(&mut self, channels: &str, why: &str, now: Instant) -> Vec<Effect> {
        for name in channels.split(',') {
            if let Some(channel) = self.channels.get_mut(&fold(name)) {
                channel.failures = channel.failures.saturating_add(1);
                let wait = self.rejoin.wait(channel.failures, self.dice.next());
                channel.presence = match channel.failures {
                    0..JOIN_TRIES_MAX => Presence::Out,
                    _ => Presence::Refused(why.to_owned()),
                };
                channel.retry_at = Some(now + wait);
                channel.is_asked = false;
                tracing::info!(channel = %channel.name, why, failures = channel.failures, "not in a channel");
            }
        }
        vec![Effect::ChannelsChanged]
    }

    fn add(&mut self, name: &str) -> &mut Channel {
        self.channels.entry(fold(name)).or_insert_with(|| Channel {
            name: name.to_owned(),
            presence: Presence::Out,
            failures: 0,
            retry_at: None,
            is_asked: false,
        })
    }

    fn is_me(&self, nick: &str) -> bool {
        fold(nick) == fold(&self.nick)
    }
}

impl Channel {
    /// Asks the server to let us in.
    fn ask(&mut self, now: Instant) -> Effect {
        self.retry_at = Some(now + JOIN_ANSWER_MAX);
        self.is_asked = true;
        if !matches!(self.presence, Presence::Refused(_)) {
            self.presence = Presence::Joining;
        }
        send(&["JOIN", &self.name], None)
    }

    /// Forgets that we were there, or wanted to be: the connection is new or gone.
    fn leave(&mut self) {
        self.retry_at = None;
        self.is_asked = false;
        if !matches!(self.presence, Presence::Refused(_)) {
            self.presence = Presence::Out;
        }
    }
}

fn send(words: &[&str], last: Option<&str>) -> Effect {
    Effect::Send(Line::command(words, last))
}

/// Says whether a capability is SASL with the PLAIN mechanism (or with mechanisms that are not named).
fn offers_plain(capability: &str) -> bool {
    match capability.split_once('=') {
        Some(("sasl", mechanisms)) => mechanisms.split(',').any(|mechanism| mechanism.eq_ignore_ascii_case("PLAIN")),
        _ => capability == "sasl",
    }
}

fn no_sasl() -> End {
    End::hopeless("the server does not offer SASL PLAIN, and a login is configured")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;

    const REJOIN: Backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(600) };

    fn login(password: &str) -> Option<Login> {
        Some(Login { user: "ci".to_owned(), password: password.to_owned() })
    }

    fn shown(effects: Vec<Effect>) -> String {
        let shown = effects.into_iter().map(|effect| match effect {
            Effect::Send(line) => format!("    > {}\n", line.as_str()),
            other => format!("    {other:?}\n"),
        });
        shown.collect()
    }

    /// Tells the session lines, and shows what it makes of each.
    fn check(session: &mut Session, lines: &str, wanted: Expect) {
        let mut said = format!("begin\n{}", shown(session.begin()));
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let message: Message = line.parse().expect("it is IRC");
            said += &format!("{line}\n{}", shown(session.hear(&message, Instant::now())));
        }
        wanted.assert_eq(&said);
    }

    fn session(login: Option<Login>) -> Session {
        Session::new("gristmill", login, &["#ci".to_owned(), "#Shop".to_owned()], REJOIN)
    }

    #[test]
    fn registration_without_login() {
        check(
            &mut session(None),
            ":irc.x 433 * gristmill :Nickname is already in use
             :irc.x 432 * gristmill_ :Nickname too long, max. 9 characters
             :irc.x 433 * gristmil_ :Nickname is already in use
             PING :are you there
             :irc.x 001 gristmi__ :Welcome
             :gristmi__!~g@host JOIN :#shop
             :somebody!x@y JOIN :#ci",
            expect![[r#"
                begin
                    > NICK gristmill
                    > USER gristmill 0 * :Gristmill, a continuous-integration scheduler
                :irc.x 433 * gristmill :Nickname is already in use
                    > NICK gristmill_
                :irc.x 432 * gristmill_ :Nickname too long, max. 9 characters
                    > NICK gristmil_
                :irc.x 433 * gristmil_ :Nickname is already in use
                    > NICK gristmi__
                PING :are you there
                    > PONG :are you there
                :irc.x 001 gristmi__ :Welcome
                    Online
                    > JOIN #ci
                    > JOIN #Shop
                :gristmi__!~g@host JOIN :#shop
                    ChannelsChanged
                :somebody!x@y JOIN :#ci
            "#]],
        );
    }

    #[test]
    fn login_by_sasl_plain() {
        let lines = ":irc.x CAP * LS * :multi-prefix away-notify
             :irc.x CAP * LS :sasl=EXTERNAL,PLAIN server-time
             :irc.x CAP * ACK :sasl
             AUTHENTICATE +
             :irc.x 900 * * ci :You are now logged in
             :irc.x 903 * :SASL authentication successful
             :irc.x 001 gristmill :Welcome";
        check(
            &mut session(login("geheim")),
            lines,
            expect![[r#"
            begin
                > CAP LS 302
                > NICK gristmill
                > USER gristmill 0 * :Gristmill, a continuous-integration scheduler
            :irc.x CAP * LS * :multi-prefix away-notify
            :irc.x CAP * LS :sasl=EXTERNAL,PLAIN server-time
                > CAP REQ :sasl
            :irc.x CAP * ACK :sasl
                > AUTHENTICATE PLAIN
            AUTHENTICATE +
                > AUTHENTICATE Y2kAY2kAZ2VoZWlt
            :irc.x 900 * * ci :You are now logged in
            :irc.x 903 * :SASL authentication successful
                > CAP END
            :irc.x 001 gristmill :Welcome
                Online
                > JOIN #ci
                > JOIN #Shop
        "#]],
        );
        let long = session(login(&"x".repeat(294))).hear_after_ack();
        assert_eq!(long, ["AUTHENTICATE 400 bytes", "AUTHENTICATE +"]);
    }

    impl Session {
        fn hear_after_ack(mut self) -> Vec<String> {
            self.stage = Stage::Login;
            let said = self.hear_challenge("+").into_iter().map(|effect| match effect {
                Effect::Send(line) => match line.as_str().strip_prefix("AUTHENTICATE ") {
                    Some(piece) if piece.len() > 1 => format!("AUTHENTICATE {} bytes", piece.len()),
                    _ => line.as_str().to_owned(),
                },
                other => format!("{other:?}"),
            });
            said.collect()
        }
    }

    #[test]
    fn a_password_is_not_given_to_a_server_that_does_not_ask_for_it() {
        check(
            &mut session(login("geheim")),
            ":irc.x CAP * LS :multi-prefix",
            expect![[r#"
            begin
                > CAP LS 302
                > NICK gristmill
                > USER gristmill 0 * :Gristmill, a continuous-integration scheduler
            :irc.x CAP * LS :multi-prefix
                End(End { why: "the server does not offer SASL PLAIN, and a login is configured", is_hopeless: true })
        "#]],
        );
        check(
            &mut session(login("geheim")),
            ":irc.x CAP * LS :sasl=EXTERNAL",
            expect![[r#"
            begin
                > CAP LS 302
                > NICK gristmill
                > USER gristmill 0 * :Gristmill, a continuous-integration scheduler
            :irc.x CAP * LS :sasl=EXTERNAL
                End(End { why: "the server does not offer SASL PLAIN, and a login is configured", is_hopeless: true })
        "#]],
        );
        check(
            &mut session(login("geheim")),
            "AUTHENTICATE +\n:irc.x 001 gristmill :Welcome",
            expect![[r#"
            begin
                > CAP LS 302
                > NICK gristmill
                > USER gristmill 0 * :Gristmill, a continuous-integration scheduler
            AUTHENTICATE +
            :irc.x 001 gristmill :Welcome
                End(End { why: "the server does not offer SASL PLAIN, and a login is configured", is_hopeless: true })
        "#]],
        );
        check(
            &mut session(login("geheim")),
            ":irc.x CAP * LS :sasl\n:irc.x CAP * ACK :sasl\n:irc.x 904 * :SASL authentication failed",
            expect![[r#"
                begin
                    > CAP LS 302
                    > NICK gristmill
                    > USER gristmill 0 * :Gristmill, a continuous-integration scheduler
                :irc.x CAP * LS :sasl
                    > CAP REQ :sasl
                :irc.x CAP * ACK :sasl
                    > AUTHENTICATE PLAIN
                :irc.x 904 * :SASL authentication failed
                    End(End { why: "the login was refused: SASL authentication failed (904)", is_hopeless: true })
            "#]],
        );
    }

    #[test]
    fn kicks_and_bans_are_answered_with_patience() {
        let mut session = session(None);
        session.begin();
        let start = Instant::now();
        let hear = |session: &mut Session, line: &str, now| {
            session.hear(&line.parse().expect("it is IRC"), now);
        };
        hear(&mut session, ":irc.x 001 gristmill :Welcome", start);
        assert_eq!(session.next_due(), Some(start + JOIN_ANSWER_MAX), "an answer that never comes is asked for again");
        hear(&mut session, ":gristmill!~g@host JOIN :#ci,#shop", start);
        assert_eq!(session.presence("#CI", start), Presence::Joined);
        assert_eq!(session.next_due(), None);
        hear(&mut session, ":op!x@y KICK #ci gristmill :out", start);
        let mut now = start;
        for failures in 1..=6 {
            let due = session.next_due().expect("it tries again");
            let wait = due - now;
            let whole = REJOIN.wait(failures, 500);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            now = due;
            assert_eq!(shown(session.due(now)), "    > JOIN #ci\n");
            hear(&mut session, ":irc.x 474 gristmill #ci :Cannot join channel (+b)", now);
        }
        assert_eq!(
            session.presence("#ci", now),
            Presence::Refused("Cannot join channel (+b) (474)".to_owned()),
            "its messages are given up"
        );
        assert_eq!(session.presence("#shop", now), Presence::Joined, "others go on");
        let due = session.next_due().expect("it still tries");
        hear(&mut session, ":op!x@y INVITE gristmill #ci", now);
        assert_eq!(session.next_due(), Some(now), "an invitation is taken at once");
        assert_eq!(shown(session.due(now)), "    > JOIN #ci\n");
        hear(&mut session, ":op!x@y INVITE gristmill #ci", now);
        assert_eq!(session.next_due(), Some(now + JOIN_ANSWER_MAX), "but not twice at a time");
        hear(&mut session, ":gristmill!~g@host JOIN :#ci", due);
        assert_eq!(session.presence("#ci", due), Presence::Joined);
    }

    #[test]
    fn channels_on_demand_are_bounded() {
        let mut session = session(None);
        session.begin();
        let now = Instant::now();
        for number in 0..200 {
            session.presence(&format!("#c{number}"), now);
        }
        assert_eq!(session.channels().count(), CHANNELS_MAX);
        assert!(matches!(session.presence("#other", now), Presence::Refused(_)));
    }
}
