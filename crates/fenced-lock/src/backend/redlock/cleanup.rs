//! Finishing calls whose callers have gone on: releases that a quorum has confirmed already, and the release of
//! a failed attempt. One task does so for all of them, and none runs while there is nothing to do: a task for
//! each call would cost the caller more than the call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::round::Round;
use crate::cleanups::{Cleanup, Cleanups};

/// The pause before calls are checked; nearly all of them have been answered by then.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(super) struct CleanupQueue {
    pending: Arc<Mutex<Pending>>,
    cleanups: Cleanups,
}

#[derive(Debug, Default)]
struct Pending {
    rounds: Vec<Unfinished>,
    worker_running: bool,
}

/// A round and its count.
#[derive(Debug)]
struct Unfinished {
    round: Round,
    cleanup: Cleanup,
}

impl Unfinished {
    /// Polls every call once. The round, unless every call has been answered.
    fn poll_once(mut self) -> Option<Self> {
        if !self.round.poll_once() {
            return Some(self);
        }
        self.end();
        None
    }

    async fn finish(mut self) {
        self.round.finish(LIMIT).await;
        self.end();
    }

    fn end(self) {
        if self.round.is_complete() {
            self.cleanup.complete();
        }
    }
}

impl CleanupQueue {
    pub(super) fn cleanups(&self) -> Cleanups {
        self.cleanups.clone()
    }

    /// Sends the calls of `round` and waits for their answers, for a while, in the background.
    pub(super) fn finish_detached(&self, round: Round, runtime: &Handle) {
        // Polled once more, so that no late answer wakes a caller that has gone on.
        let unfinished = Unfinished { round, cleanup: self.cleanups.start() };
        let Some(unfinished) = unfinished.poll_once() else {
            return;
        };
        let mut pending = self.pending();
        pending.rounds.push(unfinished);
        let worker_running = std::mem::replace(&mut pending.worker_running, true);
        // A runtime that is shutting down drops the worker at once, and its destructor takes this lock.
        drop(pending);
        if !worker_running {
            runtime.spawn(CleanupWorker(self.clone()).run());
        }
    }

    /// The rounds to check; with none left, the worker ends.
    fn take_rounds(&self) -> Vec<Unfinished> {
        let mut pending = self.pending();
        pending.worker_running = !pending.rounds.is_empty();
        std::mem::take(&mut pending.rounds)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task. It may end with its runtime at any await; the next call then starts another.
struct CleanupWorker(CleanupQueue);

impl CleanupWorker {
    async fn run(self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let rounds = self.0.take_rounds();
            if rounds.is_empty() {
                return;
            }
            // An unresponsive node delays only the round that waits for it.
            for round in rounds.into_iter().filter_map(Unfinished::poll_once) {
                tokio::spawn(round.finish());
            }
        }
    }
}

impl Drop for CleanupWorker {
    fn drop(&mut self) {
        self.0.pending().worker_running = false;
    }
}
