//! Mail against a real server, aiosmtpd, read back by a real reader, Python's `email`.
//!
//! `GRISTMILL_TEST_AIOSMTPD` names a Python that has aiosmtpd: `python3 -m venv DIR && DIR/bin/pip install aiosmtpd`,
//! then `DIR/bin/python`.

#[path = "support/certificate.rs"]
mod certificate;
mod support;

use std::process::Stdio;

use certificate::Certificate;
use gristmill_model::MailConfig;
use gristmill_notifiers::{Mail, MailOptions, Notifier};
use serde_json::{Value, json};
use support::{message, soon};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

struct Server {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Server {
    async fn start(arguments: &[&str]) -> Self {
        let python = std::env::var("GRISTMILL_TEST_AIOSMTPD").expect(
            "this test needs a real mail server: run `python3 -m venv DIR && DIR/bin/pip install aiosmtpd`, and set \
             GRISTMILL_TEST_AIOSMTPD=DIR/bin/python",
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mail_server.py");
        let mut process = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("GRISTMILL_TEST_AIOSMTPD names a Python that can be started");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let port = soon("the server's port", lines.next_line()).await.expect("it can be read");
        let port = port.and_then(|line| line.parse().ok()).expect("aiosmtpd is installed in that Python");
        Self { port, lines, _process: process }
    }

    async fn next_mail(&mut self) -> Value {
        let line = soon("a mail", self.lines.next_line()).await.expect("it can be read").expect("the server lives");
        serde_json::from_str(&line).expect("it is JSON")
    }
}

fn config(port: u16, username: Option<&str>) -> MailConfig {
    MailConfig {
        smtp: format!("smtp://127.0.0.1:{port}"),
        username: username.map(str::to_owned),
        password: None,
        from: "CI of Gristmill <ci@example.org>".to_owned(),
    }
}

fn header<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = mail["headers"].as_array().expect("there are headers");
    headers.iter().filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect()
}

#[tokio::test]
async fn a_real_server_and_reader_see_what_was_meant() {
    let mut server = Server::start(&["plain"]).await;
    let mail = Mail::new(&config(server.port, None), None, MailOptions::default()).expect("it is good");
    let mut hostile = message("ada@example.org", "broke: täst (Åda: \"✕\")\r\nBcc: everybody@example.org");
    hostile.text = "Zeile ✕\n.\n.. two dots\nFrom somebody\n\ttab   \n".to_owned() + &"x".repeat(3_000) + "\n";
    hostile.html = Some("<p>Grüße &lt;b&gt;</p>".to_owned());
    for _ in 0..2 {
        let receipt = soon("delivery", mail.deliver(&hostile)).await.expect("it is accepted");
        assert_eq!(receipt.as_str(), "250 kept");
    }
    let (first, second) = (server.next_mail().await, server.next_mail().await);
    assert_eq!(first, second, "a repeat can be recognised");
    assert_eq!(first["from"], "ci@example.org");
    assert_eq!(first["to"], json!(["ada@example.org"]));
    assert_eq!(header(&first, "Subject"), ["broke: täst (Åda: \"✕\") Bcc: everybody@example.org"]);
    assert_eq!(header(&first, "Bcc"), Vec::<&str>::new());
    assert_eq!(header(&first, "From"), ["CI of Gristmill <ci@example.org>"]);
    assert_eq!(header(&first, "References"), ["<incident-3@example.org>"]);
    assert_eq!(header(&first, "Auto-Submitted"), ["auto-generated"]);
    assert_eq!(header(&first, "Message-ID").len(), 1);
    let text = first["text"].as_str().expect("there is a text").replace("\r\n", "\n");
    assert!(text == hostile.text, "the text is not the same: {}", &text[..60]);
    assert_eq!(first["html"].as_str().map(str::trim_end), hostile.html.as_deref());
}

#[tokio::test]
async fn starttls_and_login_work_against_a_server_that_requires_both() {
    let folder = tempfile::tempdir().expect("there is room");
    let certificate = Certificate::make(folder.path());
    let paths = [&certificate.certificate, &certificate.key].map(|path| path.to_str().expect("it is text"));
    let mut server = Server::start(&["starttls", paths[0], paths[1]]).await;
    let options = MailOptions { tls_on_loopback: true, roots: vec![certificate.pem()], ..MailOptions::default() };
    let make = |password: &str, options: &MailOptions| {
        Mail::new(&config(server.port, Some("ci")), Some(password.to_owned()), options.clone()).expect("it is good")
    };
    let (good, wrong) = (make("geheim", &options), make("falsch", &options));
    let distrustful = make("geheim", &MailOptions { roots: Vec::new(), ..options });

    let message = message("ada@example.org", "broke: x");
    soon("delivery", good.deliver(&message)).await.expect("it is accepted");
    let kept = server.next_mail().await;
    assert_eq!((&kept["tls"], &kept["user"]), (&json!(true), &json!("ci")));

    let refused = soon("refusal", wrong.deliver(&message)).await.expect_err("the password is wrong");
    assert!(refused.retry_after().is_some(), "a person must mend it, the message waits: {refused}");
    let refused = soon("refusal", distrustful.deliver(&message)).await.expect_err("the certificate is unknown");
    assert!(refused.retry_after().is_some(), "{refused}");
    assert!(refused.to_string().contains("no usable encryption"), "{refused}");
}

#[tokio::test]
async fn smtps_speaks_tls_from_the_first_byte() {
    let folder = tempfile::tempdir().expect("there is room");
    let certificate = Certificate::make(folder.path());
    let paths = [&certificate.certificate, &certificate.key].map(|path| path.to_str().expect("it is text"));
    let mut server = Server::start(&["tls", paths[0], paths[1]]).await;
    let config = MailConfig { smtp: format!("smtps://127.0.0.1:{}", server.port), ..config(0, Some("ci")) };
    let make = |roots| {
        let options = MailOptions { roots, ..MailOptions::default() };
        Mail::new(&config, Some("geheim".to_owned()), options).expect("it is good")
    };
    let message = message("ada@example.org", "broke: x");
    soon("delivery", make(vec![certificate.pem()]).deliver(&message)).await.expect("it is accepted");
    assert_eq!(server.next_mail().await["user"], "ci");
    let refused = soon("refusal", make(Vec::new()).deliver(&message)).await.expect_err("the certificate is unknown");
    assert!(refused.retry_after().is_some(), "{refused}");
    assert!(refused.to_string().contains("no usable encryption"), "{refused}");
}
