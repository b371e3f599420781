//! Calls to nodes that still wait for a connection while their caller has gone on. They are still sent, so that
//! the lock reaches all nodes and survives the loss of any minority, and a waiter is registered at every node. They
//! are never sent after the command that undoes or replaces them, a release or another lease: that command's
//! sender stops them first.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::task::AbortHandle;

use super::round::Round;

#[derive(Debug)]
pub(super) struct StragglerCalls {
    round: Arc<Mutex<Option<Round>>>,
    /// Absent where no call waits for a connection.
    task: Option<AbortHandle>,
}

impl StragglerCalls {
    pub(super) fn new(round: Option<Round>) -> Self {
        // Calls that have been sent are dropped: their answers must not wake a caller that has gone on.
        let unsent = round.filter(|round| round.has_unsent() && round.has_unanswered());
        let round = Arc::new(Mutex::new(unsent));
        let task = lock(&round).is_some().then(|| {
            let round = Arc::clone(&round);
            let sending = poll_fn(move |cx| match &mut *lock(&round) {
                Some(round) => round.poll_all(cx),
                None => Poll::Ready(()),
            });
            tokio::spawn(sending).abort_handle()
        });
        Self { round, task }
    }

    /// Calls that have been sent by now are executed before every later command; the others are never sent.
    pub(super) fn stop(&self) {
        drop(lock(&self.round).take());
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for StragglerCalls {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(round: &Mutex<Option<Round>>) -> MutexGuard<'_, Option<Round>> {
    round.lock().unwrap_or_else(PoisonError::into_inner)
}
