//! Reading server-sent events from pieces that are cut anywhere.

use serde_json::Value;

/// Bytes of one event that are held at the most.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One event as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// Its kind; empty for what is usual.
    pub(crate) event: String,
    /// What it carries.
    pub(crate) data: String,
}

impl Record {
    /// Gives what it carries, if that is JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.data).ok()
    }
}

/// Puts pieces together.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    rest: Vec<u8>,
    event: String,
    data: Vec<String>,
    size: usize,
}

/// The service sent more in one event than is held.
#[derive(Debug, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
pub(crate) struct TooLong;

impl Reader {
    /// Takes a piece and gives the events that it completes.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<Record>, TooLong> {
        self.rest.extend_from_slice(piece);
        let mut records = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[begin..begin + length]).into_owned();
            begin += length + 1;
            records.extend(self.line(line.trim_end_matches('\r')));
        }
        self.rest.drain(..begin);
        if self.rest.len() + self.size > EVENT_BYTES_MAX {
            return Err(TooLong);
        }
        Ok(records)
    }

    /// Takes a line; an empty one completes an event. Comments (heartbeats) and other fields carry nothing for us: the
    /// number stands in the data, too.
    fn line(&mut self, line: &str) -> Option<Record> {
        if line.is_empty() {
            self.size = 0;
            let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            return (!data.is_empty()).then(|| Record { event, data: data.join("\n") });
        }
        if let Some(event) = line.strip_prefix("event:") {
            event.trim_start().clone_into(&mut self.event);
        } else if let Some(data) = line.strip_prefix("data:") {
            // Lines without anything in them cost memory, too.
            self.size += data.len() + size_of::<String>();
            self.data.push(data.strip_prefix(' ').unwrap_or(data).to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        ": heartbeat\r\n\r\nid: 7\nevent: journal\ndata: {\"a\":\ndata: 1}\n\ndata:x\n\nid: 9\n\ndata: cut";

    #[test]
    fn events_are_put_together_and_heartbeats_are_silent() {
        let records = Reader::default().push(STREAM.as_bytes()).unwrap();
        assert_eq!(records.iter().map(|record| record.data.as_str()).collect::<Vec<_>>(), ["{\"a\":\n1}", "x"]);
        assert_eq!(records.iter().map(|record| record.event.as_str()).collect::<Vec<_>>(), ["journal", ""]);
        assert_eq!(records[0].json().unwrap()["a"], 1);
        assert_eq!(records[1].json(), None);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; 1024 * 1024];
        let refused = (0..32).any(|_| reader.push(&piece).is_err());
        assert!(refused);

        let mut reader = Reader::default();
        let piece = b"data:\n".repeat(1024);
        let taken = (0..16 * 1024).take_while(|_| reader.push(&piece).is_ok()).count();
        assert!(taken * 1024 * size_of::<String>() <= EVENT_BYTES_MAX, "{taken} pieces were taken");
    }

    proptest! {
        #[test]
        fn pieces_may_be_cut_anywhere(cuts in prop::collection::vec(0..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut reader = Reader::default();
            let mut records = Vec::new();
            for pair in cuts.windows(2) {
                records.extend(reader.push(&STREAM.as_bytes()[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(records, Reader::default().push(STREAM.as_bytes()).unwrap());
        }
    }
}
