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
pub(crate) struct CleanupQueue(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    rounds: Vec<Round>,
    worker_running: bool,
}

impl CleanupQueue {
    /// Takes care that the calls are sent, and for a while that they are answered.
    pub(crate) fn finish_detached(&self, round: Round, runtime: &Handle) {
        // Looked at once more, so that no late answer wakes a caller who has gone on.
        let Some(round) = round.peek() else {
            return;
        };
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.rounds.push(round);
        let worker_running = std::mem::replace(&mut pending.worker_running, true);
        // A runtime that is shutting down drops the shift at once, and that needs the pending.
        drop(pending);
        if !worker_running {
            runtime.spawn(CleanupWorker(self.clone()).work());
        }
    }

    /// The rounds to look at; with none left, the shift is over.
    fn take_rounds(&self) -> Vec<Round> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.worker_running = !pending.rounds.is_empty();
        std::mem::take(&mut pending.rounds)
    }
}

/// The task. Ends with its runtime at any await; the next call starts another.
struct CleanupWorker(CleanupQueue);

impl CleanupWorker {
    async fn work(self) {
        loop {
            tokio::time::sleep(REST).await;
            let rounds = self.0.take_rounds();
            if rounds.is_empty() {
                return;
            }
            // Silent nodes take their time; the others' calls do not wait for that.
            for round in rounds.into_iter().filter_map(Round::peek) {
                tokio::spawn(round.finish(LIMIT));
            }
        }
    }
}

impl Drop for CleanupWorker {
    fn drop(&mut self) {
        let mut pending = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.worker_running = false;
    }
}
