//! What the demo sees of the service's journal: whether a push was noticed, and the mails' text.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::{BuildsetId, Event, EventBody, Message, MessageId, RepositoryName, Revision, SchedulerName};
use tokio::sync::watch;

use crate::cli::tell::Aside;
use crate::cli::terminal::{Ink, Look, clip};

/// Lines of a mail that are shown.
const MAIL_LINES_MAX: usize = 20;

/// Characters of such a line.
const MAIL_WIDTH: usize = 110;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The newest revision that was accepted, per repository.
    pub(super) tips: BTreeMap<RepositoryName, Revision>,
    /// The schedulers of which a buildset has completed.
    pub(super) completed: BTreeSet<SchedulerName>,
}

/// Makes a witness: what it adds to the told lines, and what it has seen.
pub(super) fn witness(look: Look) -> (Aside, watch::Receiver<Seen>) {
    let (sender, receiver) = watch::channel(Seen::default());
    let mut mails: BTreeMap<MessageId, Message> = BTreeMap::new();
    let mut buildsets: BTreeMap<BuildsetId, SchedulerName> = BTreeMap::new();
    let aside = move |event: &Event| {
        match &event.body {
            EventBody::ChangeSeen { change } => {
                if let Some(revision) = &change.new {
                    let (repository, revision) = (change.repository.clone(), revision.clone());
                    sender.send_modify(|seen| seen.tips.extend([(repository, revision)]));
                }
            }
            EventBody::BuildsetCreated { buildset, .. } => {
                buildsets.insert(buildset.id, buildset.scheduler.clone());
            }
            EventBody::BuildsetCompleted { buildset, .. } => {
                if let Some(scheduler) = buildsets.remove(buildset) {
                    sender.send_modify(|seen| seen.completed.extend([scheduler]));
                }
            }
            EventBody::MessageQueued { message } if message.html.is_some() => {
                mails.insert(message.id, message.clone());
            }
            EventBody::MessageDelivered { message, .. } => {
                return mails.remove(message).map_or_else(Vec::new, |mail| shown(look, &mail));
            }
            _ => {}
        }
        Vec::new()
    };
    (Box::new(aside), receiver)
}

/// Puts a mail into lines as people see it.
fn shown(look: Look, mail: &Message) -> Vec<String> {
    let bar = look.paint(Ink::Dim, if look.unicode { "│" } else { "|" });
    let head = [format!("To: {}", mail.target), format!("Subject: {}", mail.subject), String::new()];
    // Blank lines are for mail programs, which have more room.
    let written = || mail.text.lines().filter(|line| !line.trim().is_empty());
    let total = written().count();
    let mut lines: Vec<String> = head
        .iter()
        .map(String::as_str)
        .chain(written().take(MAIL_LINES_MAX))
        .map(|line| format!("            {bar} {}", clip(line, MAIL_WIDTH)))
        .collect();
    if total > MAIL_LINES_MAX {
        lines.push(format!("            {bar} … {} lines more", total - MAIL_LINES_MAX));
    }
    lines
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use gristmill_model::{Seq, Timestamp};

    use super::*;

    #[test]
    fn a_mail_is_shown_when_it_was_delivered() {
        let (mut aside, _seen) = witness(Look::PLAIN);
        let message = Message {
            id: MessageId(1),
            event: Seq(1),
            notifier: "mail".into(),
            target: "ada@example.org".to_owned(),
            because: String::new(),
            key: "k".to_owned(),
            incident: None,
            subject: "main broke".to_owned(),
            text: "app-test failed\n\ntill.sh:8: error\n".to_owned(),
            html: Some(String::new()),
            at: Timestamp(0),
        };
        let mut hear = |body| aside(&Event { seq: Seq(1), at: Timestamp(0), body });
        assert!(hear(EventBody::MessageQueued { message }).is_empty());
        let lines = hear(EventBody::MessageDelivered { message: MessageId(1), receipt: String::new() });
        expect![[r"
            │ To: ada@example.org
            │ Subject: main broke
            │ 
            │ app-test failed
            │ till.sh:8: error"]]
        .assert_eq(&lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>().join("\n"));
    }
}
