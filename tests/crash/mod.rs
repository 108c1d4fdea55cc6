//! What survives: `kill -9` of the real program, the loss of power, a disk that fails. `docs/proving.md` says what is
//! proved by this and how; `tests/crash/run` runs the long forms.

mod database;
mod dice;
mod facts;
mod faults;
mod images;
mod kill;
mod ledger;
mod ledger_itself;
mod load;
mod masters;
mod power;
mod served;
mod sink;
mod stored;
mod tape;
mod unread;
mod yard;

/// Gives what the environment asks of these tests: `GRISTMILL_TEST_CYCLES=1000`.
fn wish(name: &str, usual: u64) -> u64 {
    let name = format!("GRISTMILL_TEST_{name}");
    let Ok(text) = std::env::var(&name) else { return usual };
    text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}"))
}
