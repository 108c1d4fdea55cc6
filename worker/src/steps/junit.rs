//! JUnit reports, in all the dialects in which tools write them. Pure.

use gristmill_model::step::limit;
use gristmill_model::{TestCase, TestOutcome};

use super::xml::{Piece, Pieces, Problem};

/// Bytes of one report.
pub(crate) const REPORT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of all messages of a step together: after them, tests are kept without theirs.
const MESSAGES_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of messages in one report to the service.
const BATCH_MESSAGES_BYTES_MAX: usize = 128 * 1024;

/// Reads one report.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<TestCase>, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut reading = Reading::default();
    let mut pieces = Pieces::new(text.trim_start_matches('\u{feff}'));
    let problem = loop {
        match pieces.next() {
            Ok(Some(piece)) => reading.take(piece),
            Ok(None) => break None,
            Err(problem) => break Some(problem),
        }
    };
    match problem {
        None if reading.is_report => Ok(reading.tests),
        None => Err("it is no JUnit report: it has no `testsuite`".to_owned()),
        // A tool that was killed leaves half a report, and what it had tested counts.
        Some(Problem::Malformed(_)) if !reading.tests.is_empty() => Ok(reading.tests),
        Some(problem) => Err(problem.to_string()),
    }
}

/// Where the reader is.
#[derive(Default)]
struct Reading {
    tests: Vec<TestCase>,
    is_report: bool,
    suites: Vec<String>,
    test: Option<TestCase>,
    /// Whether text belongs to the test's message.
    in_message: bool,
}

impl Reading {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Begin { name, attributes } => {
                let attribute =
                    |wanted: &str| attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_ref());
                self.begin(name, &attribute);
            }
            Piece::End { name } => self.end(name),
            Piece::Text(text) => {
                if let Some(test) = self.test.as_mut().filter(|_| self.in_message) {
                    append(&mut test.message, &text);
                }
            }
        }
    }

    fn begin<'a>(&mut self, name: &str, attribute: &dyn Fn(&str) -> Option<&'a str>) {
        match name {
            "testsuites" => self.is_report = true,
            "testsuite" => {
                self.is_report = true;
                self.suites.push(line(attribute("name").unwrap_or("")));
            }
            "testcase" => {
                let suite = attribute("classname").filter(|suite| !suite.is_empty()).map(line);
                self.test = Some(TestCase {
                    suite: suite.or_else(|| self.suites.last().cloned()).unwrap_or_default(),
                    name: line(attribute("name").unwrap_or("")),
                    outcome: TestOutcome::Passed,
                    micros: attribute("time").map_or(0, micros),
                    message: String::new(),
                });
            }
            "failure" => self.note(TestOutcome::Failed, attribute("message")),
            "error" => self.note(TestOutcome::Error, attribute("message")),
            "skipped" => self.note(TestOutcome::Skipped, attribute("message")),
            _ => {}
        }
    }

    fn note(&mut self, outcome: TestOutcome, message: Option<&str>) {
        let Some(test) = &mut self.test else { return };
        test.outcome = test.outcome.min(outcome);
        self.in_message = true;
        if let Some(message) = message.filter(|message| !message.is_empty()) {
            append(&mut test.message, message);
            append(&mut test.message, "\n");
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "testsuite" => drop(self.suites.pop()),
            "failure" | "error" | "skipped" => self.in_message = false,
            "testcase" if self.tests.len() < 10 * limit::TESTS_MAX => {
                self.in_message = false;
                self.tests
                    .extend(self.test.take().map(|test| TestCase { message: test.message.trim().to_owned(), ..test }));
            }
            _ => {}
        }
    }
}

fn append(message: &mut String, text: &str) {
    let room = limit::TEST_MESSAGE_BYTES_MAX.saturating_sub(message.len());
    message.push_str(&text[..text.floor_char_boundary(room)]);
}

fn line(text: &str) -> String {
    crate::conclude::one_line(&text[..text.floor_char_boundary(limit::TEST_NAME_BYTES_MAX)])
}

/// Reads seconds, with or without thousands' commas.
fn micros(seconds: &str) -> u64 {
    let seconds: f64 = seconds.replace(',', "").trim().parse().unwrap_or(0.0);
    // A cast of a float stays within its target's range, and makes nothing of what is no number.
    (seconds * 1e6) as u64
}

/// Brings the tests of a step into the order in which they are kept: what failed first. What is too many goes, and what is
/// too much is kept without its message. Gives how many went.
pub(crate) fn choose(tests: &mut Vec<TestCase>) -> usize {
    tests.sort_by_key(|test| test.outcome);
    let gone = tests.len().saturating_sub(limit::TESTS_MAX);
    tests.truncate(limit::TESTS_MAX);
    let mut bytes = 0;
    for test in tests {
        bytes += test.message.len();
        if bytes > MESSAGES_BYTES_MAX {
            test.message.clear();
        }
    }
    gone
}

/// Cuts tests into what goes into one report each.
pub(crate) fn batches(tests: Vec<TestCase>) -> Vec<(u32, Vec<TestCase>)> {
    let mut batches: Vec<(u32, Vec<TestCase>)> = Vec::new();
    let mut bytes = 0;
    for (test, number) in tests.into_iter().zip(0..) {
        bytes += test.message.len();
        match batches.last_mut() {
            Some((_, batch)) if batch.len() < limit::TESTS_AT_ONCE && bytes <= BATCH_MESSAGES_BYTES_MAX => {
                batch.push(test);
            }
            _ => {
                bytes = test.message.len();
                batches.push((number, vec![test]));
            }
        }
    }
    batches
}

/// Says in few words what tests came to; nothing if there are none.
pub(crate) fn say(tests: &[TestCase]) -> Option<String> {
    let bad = tests.iter().filter(|test| matches!(test.outcome, TestOutcome::Failed | TestOutcome::Error)).count();
    match (tests.len(), bad) {
        (0, _) => None,
        (1, 0) => Some("1 test".to_owned()),
        (count, 0) => Some(format!("{count} tests")),
        (count, bad) => Some(format!("{bad} of {count} tests failed")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(tests) => tests
                .iter()
                .map(|test| {
                    let TestCase { suite, name, outcome, micros, message } = test;
                    format!("{suite}/{name} {outcome} {micros} {message:?}\n")
                })
                .collect(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn tests_are_read_from_all_dialects() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <!-- written by a tool -->
            <testsuites><testsuite name="core" tests="4">
              <properties><property name="x" value="y"/></properties>
              <testcase classname="core.A" name="adds" time="0.25"/>
              <testcase name="a &lt;b&gt; &#x41;" time="1,000.5"><failure message="1 != 2" type="T"><![CDATA[at a.rs:3 <here>]]></failure>
                <system-out>noise</system-out></testcase>
              <testsuite name="inner"><testcase name="waits"><skipped/></testcase></testsuite>
              <testcase name="dies"><error>no &unknown; thread</error></testcase>
            </testsuite></testsuites>"#;
        expect_test::expect![[r#"
            core.A/adds passed 250000 ""
            core/a <b> A failed 1000500000 "1 != 2\nat a.rs:3 <here>"
            inner/waits skipped 0 ""
            core/dies error 0 "no &unknown; thread"
        "#]]
        .assert_eq(&shown(text));
    }

    #[test]
    fn hostile_reports_are_refused_or_bounded() {
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]><testsuite name="&b;"/>"#;
        assert_eq!(shown(bomb), "it has a document type, which may hide anything; write the report without one");
        assert_eq!(shown(&"<testsuite>".repeat(100)), "its elements are more than 64 deep");
        assert_eq!(shown("<html></html>"), "it is no JUnit report: it has no `testsuite`");
        assert_eq!(shown("<testsuite><testcase name='a'/>"), "/a passed 0 \"\"\n", "half a report counts");
        assert_eq!(shown("<testsuite></wrong>"), "it is not well-formed near byte 19");
        let long =
            format!("<testsuite><testcase name='{0}'><failure>{0}</failure></testcase></testsuite>", "ä".repeat(9999));
        let tests = read(long.as_bytes()).unwrap();
        assert_eq!(
            (tests[0].name.len(), tests[0].message.len()),
            (limit::TEST_NAME_BYTES_MAX, limit::TEST_MESSAGE_BYTES_MAX)
        );
    }

    #[test]
    fn what_failed_comes_first_and_batches_are_small() {
        let test = |name: &str, outcome, message: usize| TestCase {
            suite: String::new(),
            name: name.to_owned(),
            outcome,
            micros: 0,
            message: "x".repeat(message),
        };
        let mut tests: Vec<TestCase> =
            (0..limit::TESTS_MAX).map(|number| test(&number.to_string(), TestOutcome::Passed, 0)).collect();
        tests.extend((0..300).map(|_| test("bad", TestOutcome::Failed, limit::TEST_MESSAGE_BYTES_MAX)));
        assert_eq!(choose(&mut tests), 300);
        assert_eq!(say(&tests).as_deref(), Some("300 of 10000 tests failed"));
        let kept: usize = tests.iter().map(|test| test.message.len()).sum();
        assert!(kept <= MESSAGES_BYTES_MAX && kept > MESSAGES_BYTES_MAX / 2, "{kept}");
        let batches = batches(tests.clone());
        let mut numbers = batches.iter().map(|(first, batch)| (usize::try_from(*first).unwrap(), batch.len()));
        let end = numbers.try_fold(0, |next, (first, count)| (first == next).then_some(first + count));
        assert_eq!(end, Some(tests.len()));
        assert!(batches.iter().all(|(_, batch)| batch.len() <= limit::TESTS_AT_ONCE));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(<[/!?a-z]{0,3}[ a-z='\"&;#>\\[\\]-]{0,12}|testcase|<testsuite>|[ -~]|é){0,30}") {
            let read = read(text.as_bytes());
            if let Ok(tests) = read {
                prop_assert!(tests.iter().all(|test| test.message.len() <= limit::TEST_MESSAGE_BYTES_MAX));
            }
        }
    }
}
