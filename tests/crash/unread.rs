//! A service whose standard output nobody reads: a stopped terminal, a pipe to a program that hangs.

use std::time::Duration;

use super::dice::Dice;
use super::load::Users;
use super::served::{Served, free_port};
use super::sink::Sink;
use super::yard::Yard;
use crate::support::{set_up_process, soon};

/// Builds that are told in more words than fit into the pipe and what reads it.
const BUILDS: usize = 80;
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_words_nobody_reads_works_and_stops() {
    set_up_process();
    let sink = Sink::start(None).await;
    let yard = Yard::make(sink.port, 1);
    let mut served = Served::start(&yard, &yard.data(), free_port(u64::from(std::process::id()) * 13), &[]);
    served.narrow();
    served.has_looked(&yard).await;
    let mut users = Users::new(Dice::new(1));
    for _ in 0..BUILDS {
        users.force_anew(&served.url).await;
    }
    let work = async {
        while !users.complaints(&yard, &sink).await.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    soon("the end of all builds", work).await;
    assert_eq!(users.facts.forces.len(), BUILDS);
    assert!(served.terminate().await.success());
    let said = std::fs::read_to_string(yard.path().join("said")).unwrap();
    assert!(said.contains("nobody takes what is told on standard output"), "the pipe was not full: {said}");
}
