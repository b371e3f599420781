//! Seeing calls through that nobody waits for: releases that a quorum has confirmed already,
//! and what takes back a failed attempt. One task for all of them, and none when there is
//! nothing to do: a task for each would cost the caller more than the call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::round::Round;

/// Calls rest for so long before they are looked at; nearly all have been answered by then.
const REST: Duration = Duration::from_millis(20);

/// How long a call is seen through.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(crate) struct Janitor(Arc<Mutex<Desk>>);

#[derive(Debug, Default)]
struct Desk {
    rounds: Vec<Round>,
    at_work: bool,
}

impl Janitor {
    /// Takes care that the calls are sent, and for a while that they are answered.
    pub(crate) fn see_through(&self, round: Round, runtime: &Handle) {
        // Looked at once more, so that no late answer wakes a caller who has gone on.
        let Some(round) = round.glance() else {
            return;
        };
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        desk.rounds.push(round);
        let at_work = std::mem::replace(&mut desk.at_work, true);
        // A runtime that is shutting down drops the shift at once, and that needs the desk.
        drop(desk);
        if !at_work {
            runtime.spawn(Shift(self.clone()).work());
        }
    }

    /// The rounds to look at; with none left, the shift is over.
    fn next_rounds(&self) -> Vec<Round> {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        desk.at_work = !desk.rounds.is_empty();
        std::mem::take(&mut desk.rounds)
    }
}

/// The task. Ends with its runtime at any await; the next call starts another.
struct Shift(Janitor);

impl Shift {
    async fn work(self) {
        loop {
            tokio::time::sleep(REST).await;
            let rounds = self.0.next_rounds();
            if rounds.is_empty() {
                return;
            }
            // Silent nodes take their time; the others' calls do not wait for that.
            for round in rounds.into_iter().filter_map(Round::glance) {
                tokio::spawn(round.finish(LIMIT));
            }
        }
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        let mut desk = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        desk.at_work = false;
    }
}
