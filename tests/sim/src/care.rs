//! People who care for workers: they pause, drain, free and forget them, make tokens and take them back.

use std::time::Duration;

use gristmill_model::{Admits, Hold, HoldKind, Timestamp, Token, TokenId, WorkerName};
use gristmill_schedulers::{Input, Once};

use crate::world::{Due, Wish, World};

impl World {
    /// What somebody wants of a worker or a token just now.
    pub(crate) fn care(&mut self) -> Option<Input> {
        let by = "ada".to_owned();
        let rng = &mut self.chances.people;
        let workers: Vec<WorkerName> = self.workers.iter().map(|worker| worker.name.clone()).collect();
        let worker = rng.pick(&workers).clone();
        let held = self.store.rows.workers.values().filter(|worker| !worker.holds.is_empty());
        let held: Vec<WorkerName> = held.map(|worker| worker.name.clone()).collect();
        let tokens: Vec<TokenId> = self.store.rows.tokens.keys().cloned().collect();
        let hold = |until| Hold { by: by.clone(), reason: Some("because".to_owned()), at: Timestamp(0), until };
        Some(match rng.below(12) {
            0..=3 => {
                let until = self.now.after(rng.span(Duration::from_secs(20), Duration::from_secs(600)));
                Input::Hold { worker, kind: HoldKind::Pause, hold: hold(Some(until)) }
            }
            4 => Input::Hold { worker, kind: HoldKind::Pause, hold: hold(None) },
            5 => {
                let until = self.now.after(rng.span(Duration::from_secs(1), Duration::from_secs(20)));
                let until = rng.chance(0.7).then_some(until);
                Input::Hold { worker, kind: HoldKind::Drain, hold: hold(until) }
            }
            6..=8 if !held.is_empty() => {
                let kind = rng.chance(0.3).then_some(HoldKind::Pause);
                Input::Free { worker: rng.pick(&held).clone(), kind, by }
            }
            9 => Input::Forget { worker, by },
            10 if !tokens.is_empty() => Input::RevokeToken { token: rng.pick(&tokens).clone(), by },
            _ => {
                let id = format!("pool{:04}", tokens.len());
                let max = u32::try_from(rng.between(1, 6)).ok()?;
                Input::MakeToken { token: pool_token(&id, max) }
            }
        })
    }

    /// Makes a token, again and again until it is there.
    pub(crate) fn make_token(&mut self, id: &str) {
        let max = u32::try_from(self.chances.people.between(1, 6)).expect("a small number");
        let once = Once { key: format!("token {id}"), request_sha256: id.to_owned() };
        self.insist(Duration::from_secs(1), Input::MakeToken { token: pool_token(id, max) }, once);
    }

    /// Ends all that keeps work from a worker, once nothing is under way any more that could hold it again.
    pub(crate) fn free(&mut self, worker: usize) {
        let worker = self.workers[worker].name.clone();
        let once = Once { key: format!("free {worker}"), request_sha256: "free".to_owned() };
        self.insist(Duration::from_secs(120), Input::Free { worker, kind: None, by: "ada".to_owned() }, once);
    }

    /// Nobody wants to hold a worker any more.
    pub(crate) fn end_holding(&mut self) {
        for wish in self.wishes.iter_mut().filter(|wish| matches!(wish.input, Input::Hold { .. })) {
            wish.is_over = true;
        }
    }

    fn insist(&mut self, after: Duration, input: Input, once: Once) {
        self.wishes.push(Wish { input, once: Some(once), is_over: false });
        self.after(after, Due::Wish(self.wishes.len() - 1));
    }
}

fn pool_token(id: &str, max: u32) -> Token {
    Token {
        id: id.into(),
        admits: Admits::Pool { pool: "pool".into(), max },
        sha256: "0".repeat(64),
        owner: None,
        made_at: Timestamp(0),
        made_by: "ada".to_owned(),
        expires_at: None,
        revoked: None,
    }
}
