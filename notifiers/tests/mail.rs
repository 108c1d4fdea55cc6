//! Mail against a server that plays every part it can play.

#[path = "support/smtp.rs"]
mod smtp;
mod support;

use std::time::Duration;

use gristmill_model::MailConfig;
use gristmill_notifiers::{DeliveryError, Guarantee, Mail, MailOptions, Notifier, Receipt};
use smtp::{Act, Script, Sink};
use support::{message, soon};

fn mail(url: &str, login: Option<(&str, &str)>, options: MailOptions) -> Mail {
    let config = MailConfig {
        smtp: url.to_owned(),
        username: login.map(|(user, _)| user.to_owned()),
        password: None,
        from: "CI <ci@example.org>".to_owned(),
    };
    Mail::new(&config, login.map(|(_, password)| password.to_owned()), options).expect("the configuration is good")
}

async fn deliver(script: Script, timeout: Duration) -> (Result<Receipt, DeliveryError>, Vec<String>) {
    let sink = Sink::start(script).await;
    let mail = mail(&sink.url(), None, MailOptions { command_timeout: timeout, ..MailOptions::default() });
    let result = soon("an end", mail.deliver(&message("ada@example.org", "broke: x"))).await;
    (result, sink.lines())
}

/// Says what became of a message, as one line.
async fn outcome(script: Script) -> String {
    // Only a server that hangs makes this time pass.
    match deliver(script, Duration::from_millis(150)).await.0 {
        Ok(receipt) => format!("delivered: {receipt}"),
        Err(error) => {
            let kind = match (error.is_transient(), error.retry_after()) {
                (true, Some(wait)) => format!("not now, {} s", wait.as_secs()),
                (true, None) => "transient".to_owned(),
                (false, _) => "permanent".to_owned(),
            };
            let doubt = if error.is_doubtful() { ", in doubt" } else { "" };
            let text = error.to_string();
            format!("{kind}{doubt}: {}", text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest))
        }
    }
}

#[tokio::test]
async fn a_mail_is_accepted() {
    let (result, lines) = deliver(Script::default(), support::DEADLINE).await;
    assert_eq!(result.expect("it is accepted").as_str(), "250 kept as 7");
    assert_eq!(lines[1..4], ["MAIL FROM:<ci@example.org>", "RCPT TO:<ada@example.org>", "DATA"]);
    assert!(lines.contains(&"Subject: broke: x".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"Auto-Submitted: auto-generated".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"..".to_owned()), "a dot alone is stuffed: {lines:#?}");
}

#[tokio::test]
async fn refusals_for_good_and_for_now_are_told_apart() {
    let script = Script::default();
    for (script, wanted) in [
        (script, "delivered: 250 kept as 7"),
        (
            Script { rcpt: Act::Say("550 5.1.1 no such user"), ..script },
            "permanent: the recipient was not accepted: permanent error (550): 5.1.1 no such user",
        ),
        (
            Script { rcpt: Act::Say("450 greylisted"), ..script },
            "transient: the recipient was not accepted: transient error (450): greylisted",
        ),
        (
            Script { data: Act::Say("554 no valid recipients"), ..script },
            "permanent: the message was not accepted: permanent error (554): no valid recipients",
        ),
        (
            Script { content: Act::Say("552 too big"), ..script },
            "permanent: the message was sent, and not confirmed: permanent error (552): too big",
        ),
        (
            Script { content: Act::Say("451 try later"), ..script },
            "transient: the message was sent, and not confirmed: transient error (451): try later",
        ),
        (
            Script { mail: Act::Say("553 sender not allowed"), ..script },
            "not now, 300 s: the sender was not accepted: permanent error (553): sender not allowed",
        ),
        (
            Script { greeting: Act::Say("554 go away"), ..script },
            "not now, 300 s: no usable greeting: permanent error (554): go away",
        ),
        (
            Script { greeting: Act::Say("421 too busy"), ..script },
            "transient: no usable greeting: transient error (421): too busy",
        ),
        (
            Script { content: Act::Drop, ..script },
            "transient, in doubt: the message was sent, and not confirmed: response error: incomplete response",
        ),
        (
            Script { rcpt: Act::Drop, ..script },
            "transient: the recipient was not accepted: response error: incomplete response",
        ),
        (
            Script { greeting: Act::Say("SSH-2.0-OpenSSH_9.2"), ..script },
            "transient: no usable greeting: response error: error Tag at: SSH-2.0-OpenSSH_9.2 ",
        ),
        (
            Script { content: Act::Hang, ..script },
            "transient, in doubt: the message was sent, and not confirmed: no answer within 150 ms",
        ),
        (Script { greeting: Act::Hang, ..script }, "transient: no usable greeting: no answer within 150 ms"),
        (Script { mail: Act::Hang, ..script }, "transient: the sender was not accepted: no answer within 150 ms"),
        (Script { quit: Act::Drop, ..script }, "delivered: 250 kept as 7"),
    ] {
        assert_eq!(outcome(script).await.trim_end(), wanted.trim_end(), "{script:?}");
    }
}

#[tokio::test]
async fn nobody_listening_is_transient() {
    let sink = Sink::start(Script::default()).await;
    let url = sink.url();
    drop(sink);
    // The port is free again once the listener's task is gone.
    let mail = mail(&url, None, MailOptions::default());
    let error = soon("a refusal", async {
        loop {
            match mail.deliver(&message("ada@example.org", "x")).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(error.is_transient() && !error.is_doubtful(), "{error}");
}

#[tokio::test]
async fn a_password_goes_plain_to_loopback_only() {
    let script = Script { features: &["AUTH PLAIN LOGIN"], ..Script::default() };
    let sink = Sink::start(script).await;
    let here = mail(&sink.url(), Some(("ci", "geheim")), MailOptions::default());
    soon("delivery", here.deliver(&message("ada@example.org", "x"))).await.expect("loopback is safe");
    assert!(sink.lines().iter().any(|line| line.starts_with("AUTH PLAIN ")), "{:?}", sink.lines());

    // Linux takes 0.0.0.0 for this machine too, and it is no loopback address: the same server, seen from outside.
    let sink = Sink::start(script).await;
    let there = mail(&format!("smtp://0.0.0.0:{}", sink.port), Some(("ci", "geheim")), MailOptions::default());
    let error = soon("refusal", there.deliver(&message("ada@example.org", "x"))).await.expect_err("it is not safe");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(300)), "{error}");
    assert!(
        error.to_string().ends_with("it does not offer STARTTLS, and the password is not sent without it"),
        "{error}"
    );
    assert!(!sink.lines().iter().any(|line| line.starts_with("AUTH")), "{:?}", sink.lines());

    let script = Script { auth: Act::Say("535 wrong"), ..script };
    let sink = Sink::start(script).await;
    let wrong = mail(&sink.url(), Some(("ci", "falsch")), MailOptions::default());
    let error = soon("refusal", wrong.deliver(&message("ada@example.org", "x"))).await.expect_err("it is wrong");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(300)), "{error}");
    assert!(!error.to_string().contains("falsch"), "{error}");
}

#[tokio::test]
async fn hostile_subjects_and_targets_change_no_conversation() {
    let sink = Sink::start(Script::default()).await;
    let mail = mail(&sink.url(), None, MailOptions::default());
    let subject = "x\r\nBcc: everybody@example.org\r\n\r\n.\r\nMAIL FROM:<mallory@example.org>\u{1b}[31m";
    soon("delivery", mail.deliver(&message("ada@example.org", subject))).await.expect("it is accepted");
    let lines = sink.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("MAIL FROM")).count(), 1, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("Bcc")), "{lines:#?}");

    let error = soon("refusal", mail.deliver(&message("ada@example.org>\r\nRCPT TO:<x@y.org", "x"))).await;
    assert!(!error.expect_err("it is no address").is_transient());
    assert_eq!(sink.lines().len(), lines.len(), "nothing was sent");
    assert_eq!(mail.guarantee(), Guarantee::AtLeastOnce);
}
