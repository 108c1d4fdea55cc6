//! What the tests of real servers share.
#![expect(unreachable_pub, reason = "a test has no outside")]

use std::future::Future;
use std::time::Duration;

use gristmill_model::{IncidentId, Message, MessageId, Seq, Timestamp};

/// How long a test waits for something that must come.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something that must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// A message to deliver.
pub fn message(target: &str, subject: &str) -> Message {
    Message {
        id: MessageId(1),
        event: Seq(41),
        notifier: "n".into(),
        target: target.to_owned(),
        because: "author of a1b2c3d4, gristmill.yaml:52".to_owned(),
        key: format!("incident-3:broke:n:{target}:{subject}"),
        incident: Some(IncidentId(3)),
        subject: subject.to_owned(),
        text: "It broke.\n.\nFrom the log ✕\n".to_owned(),
        html: Some("<p>It broke ✕</p>".to_owned()),
        at: Timestamp::from_seconds(1_795_518_131),
    }
}
