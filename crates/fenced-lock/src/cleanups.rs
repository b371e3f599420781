//! The clean-up that goes on after its callers, counted so that [`Locks::close`](crate::Locks::close) can see it
//! through. Nothing is cleaned up here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The clean-up of one client. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cleanups(Arc<watch::Sender<Counts>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    running: usize,
    /// How many ended without having reached every server that they were for.
    incomplete: usize,
}

/// One piece of clean-up. Dropped without [`Self::complete`], as with its runtime, it is incomplete.
#[derive(Debug)]
pub(crate) struct Cleanup {
    cleanups: Cleanups,
    complete: bool,
}

/// Some clean-up had not ended, or had not reached every server, when the time of [`Locks::close`](crate::Locks::close)
/// was over. What it was for remains there until its lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} clean-ups of locks did not finish; what they would have removed remains until its lease ends")]
pub struct CleanupIncomplete {
    /// How many: releases, dropped grants and acquisitions that failed or were dropped.
    pub left: usize,
}

impl Cleanups {
    /// Clean-up starts now.
    pub(crate) fn start(&self) -> Cleanup {
        self.count(false)
    }

    /// A call of a caller starts now that may need clean-up when it ends, which is counted by itself.
    pub(crate) fn start_call(&self) -> Cleanup {
        self.count(true)
    }

    fn count(&self, complete: bool) -> Cleanup {
        self.0.send_if_modified(|counts| {
            counts.running += 1;
            false
        });
        Cleanup { cleanups: self.clone(), complete }
    }

    /// Waits until nothing is running, for at most `within`.
    pub(crate) async fn ended(&self, within: Duration) -> Result<(), CleanupIncomplete> {
        let mut counts = self.0.subscribe();
        let incomplete_before = counts.borrow().incomplete;
        let _ = tokio::time::timeout(within, counts.wait_for(|counts| counts.running == 0)).await;
        let now = *self.0.borrow();
        match now.running + (now.incomplete - incomplete_before) {
            0 => Ok(()),
            left => Err(CleanupIncomplete { left }),
        }
    }
}

impl Cleanup {
    /// It has reached every server that it was for.
    pub(crate) fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let incomplete = usize::from(!self.complete);
        self.cleanups.0.send_if_modified(|counts| {
            counts.running -= 1;
            counts.incomplete += incomplete;
            counts.running == 0
        });
    }
}
