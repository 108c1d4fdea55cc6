//! From a rendered message to the bytes of a mail.

use std::time::{Duration, UNIX_EPOCH};

use gristmill_model::{Digest, Message};
use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use crate::delivery::DeliveryError;
use crate::render::SUBJECT_BYTES_MAX;
use crate::text;

/// Characters of a message key's digest that stand in a Message-ID.
const ID_LENGTH: usize = 32;

/// The last second that a date in a mail can name, at the end of the year 9998; the library panics beyond.
const SECONDS_MAX: u64 = 253_370_764_799;

/// Cleans what stands behind the `@` of a Message-ID.
pub(crate) fn instance(text: &str) -> String {
    let clean: String =
        text.chars().filter(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-')).collect();
    let clean = clean.trim_matches(['.', '-']).to_ascii_lowercase();
    if clean.is_empty() { "gristmill.invalid".to_owned() } else { clean }
}

/// Writes the mail; the same message always gives the same bytes.
pub(crate) fn compose(from: &Mailbox, instance: &str, message: &Message) -> Result<lettre::Message, DeliveryError> {
    let to: Address = message
        .target
        .parse()
        .map_err(|error| DeliveryError::permanent(format!("`{}` is no mail address: {error}", message.target)))?;
    let id = Digest::of(message.key.as_bytes()).0;
    let id = id.get(..ID_LENGTH).unwrap_or(&id);
    let sent_at = UNIX_EPOCH + Duration::from_secs(u64::try_from(message.at.seconds()).unwrap_or(0).min(SECONDS_MAX));
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        // What a stranger wrote must not be read as an encoded word, which could stand for any text.
        .subject(text::one_line(&message.subject, SUBJECT_BYTES_MAX).replace("=?", "= ?"))
        .date(sent_at)
        .message_id(Some(format!("<{id}@{instance}>")))
        .header(AutoSubmitted);
    if let Some(incident) = message.incident {
        // The thread's root is never sent: that both name it is enough for readers to put them together.
        let thread = format!("<incident-{incident}@{instance}>");
        builder = builder.in_reply_to(thread.clone()).references(thread);
    }
    let text = part(ContentType::TEXT_PLAIN, &message.text);
    let composed = match &message.html {
        Some(html) => {
            let parts = MultiPart::alternative().boundary(format!("part-{id}")).singlepart(text);
            builder.multipart(parts.singlepart(part(ContentType::TEXT_HTML, html)))
        }
        None => builder.singlepart(text),
    };
    composed.map_err(|error| DeliveryError::permanent(format!("the mail cannot be written: {error}")))
}

/// Encodes a body so that no server has to change a byte of it.
fn part(kind: ContentType, body: &str) -> SinglePart {
    SinglePart::builder().header(kind).header(ContentTransferEncoding::QuotedPrintable).body(body.to_owned())
}

/// `Auto-Submitted: auto-generated`, so that no vacation notice answers (RFC 3834).
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use gristmill_model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    fn written(message: &Message) -> String {
        let from: Mailbox = "CI <ci@example.org>".parse().expect("it is an address");
        let letter = compose(&from, "ci.example.org", message).expect("it can be written");
        String::from_utf8(letter.formatted()).expect("mail is ASCII")
    }

    #[test]
    fn a_mail_is_the_same_on_every_attempt() {
        let message = sample::message("ada@example.org");
        assert_eq!(written(&message), written(&message));
        assert_eq!(written(&message).matches('\n').count(), written(&message).matches("\r\n").count());
        expect![[r#"
            From: CI <ci@example.org>
            To: ada@example.org
            Subject: broke: core/lib-test on main
            Date: Tue, 24 Nov 2026 11:02:11 +0000
            Message-ID: <12a0af4dc329c35ace4171e69faa48de@ci.example.org>
            Auto-Submitted: auto-generated
            In-Reply-To: <incident-3@ci.example.org>
            References: <incident-3@ci.example.org>
            MIME-Version: 1.0
            Content-Type: multipart/alternative;
             boundary="part-12a0af4dc329c35ace4171e69faa48de"

            --part-12a0af4dc329c35ace4171e69faa48de
            Content-Type: text/plain; charset=utf-8
            Content-Transfer-Encoding: quoted-printable

            It broke.

            --part-12a0af4dc329c35ace4171e69faa48de
            Content-Type: text/html; charset=utf-8
            Content-Transfer-Encoding: quoted-printable

            <p>It broke.</p>
            --part-12a0af4dc329c35ace4171e69faa48de--
        "#]]
        .assert_eq(&written(&message).replace("\r\n", "\n"));
    }

    #[test]
    fn text_beyond_ascii_and_lines_without_end_are_encoded() {
        let mut message = sample::message("ada@example.org");
        message.subject = "broke: täst on main (Ådå: \"✕\")".to_owned();
        message.text = format!("{}\n.\nFrom here ✕\n", "x".repeat(5_000));
        message.html = None;
        let mail = written(&message);
        assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 998));
        assert!(mail.contains("Subject: broke: =?utf-8?b?"), "{mail}");
    }

    #[test]
    fn a_time_that_no_mail_can_name_is_brought_to_one() {
        for (seconds, date) in
            [(i64::MAX / 1_000_000, "Thu, 31 Dec 9998 23:59:59 +0000"), (-1, "Thu, 01 Jan 1970 00:00:00 +0000")]
        {
            let message = Message { at: Timestamp::from_seconds(seconds), ..sample::message("ada@example.org") };
            assert!(written(&message).contains(&format!("Date: {date}\r\n")), "{}", written(&message));
        }
    }

    #[test]
    fn an_encoded_word_that_a_stranger_wrote_stays_as_it_is_written() {
        let mut message = sample::message("ada@example.org");
        message.subject = "broke: =?utf-8?q?fixed?= on main".to_owned();
        assert!(written(&message).contains("Subject: broke: = ?utf-8?q?fixed?= on main\r\n"));
    }

    #[test]
    fn what_is_no_address_is_refused_for_good() {
        let from: Mailbox = "CI <ci@example.org>".parse().expect("it is an address");
        for target in ["", "nobody", "a@b\r\nRCPT TO:<x@y.org>", "a@b.org, c@d.org", "<a@b.org>"] {
            let error = compose(&from, "x", &sample::message(target)).expect_err("it is no address");
            assert!(!error.is_transient(), "{target:?}");
        }
        assert_eq!(instance("ci.example.org>\r\nBcc: x"), "ci.example.orgbccx");
        assert_eq!(instance(">"), "gristmill.invalid");
    }

    proptest! {
        #[test]
        fn no_text_becomes_a_header(subject in any::<String>(), line in "[\\r\\nBcc: x@y.org\u{85}\u{2028}]{0,80}", key in any::<String>()) {
            for text in [subject, line] {
                let message = Message {
                    subject: text.clone(), text: text.clone(), html: Some(text), key: key.clone(), ..sample::message("ada@example.org")
                };
                let mail = written(&message);
                let head = mail.split("\r\n\r\n").next().unwrap_or("");
                let names: Vec<&str> = head
                    .split("\r\n")
                    .filter(|line| !line.starts_with([' ', '\t']))
                    .map(|line| line.split(':').next().unwrap_or(""))
                    .collect();
                prop_assert_eq!(names, [
                    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "In-Reply-To", "References",
                    "MIME-Version", "Content-Type",
                ]);
                prop_assert!(!head.replace("\r\n", "").contains(['\r', '\n']));
            }
        }
    }
}
