//! First come, first served inside one process: only the head of a resource's queue stands at
//! the nodes. A place is given up by dropping it, at any time; nothing here waits for a server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{LockError, Resource};

/// The queues of all resources that anybody in this process is waiting for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    by_resource: HashMap<Resource, VecDeque<Waiter>>,
    next_number: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    /// Tells the waiter that it is the head. That it *is* the head follows from its position
    /// alone, so a call that nobody hears loses nothing.
    call: Option<oneshot::Sender<()>>,
}

/// A place in the queue of one resource, left by dropping it.
#[derive(Debug)]
pub(crate) struct Place {
    queues: Queues,
    resource: Resource,
    number: u64,
    queued: bool,
    called: Option<oneshot::Receiver<()>>,
}

impl Queues {
    /// Stands at the end of the queue of `resource`, unless `limit` others do already.
    pub(crate) fn enter(&self, resource: &Resource, limit: usize) -> Result<Place, LockError> {
        let mut lines = self.lines();
        let number = lines.next_number;
        lines.next_number += 1;
        let line = lines.by_resource.entry(resource.clone()).or_default();
        if line.len() >= limit {
            return Err(LockError::TooManyWaiters { resource: resource.clone(), limit });
        }
        let (call, called) = if line.is_empty() {
            (None, None)
        } else {
            let (call, called) = oneshot::channel();
            (Some(call), Some(called))
        };
        line.push_back(Waiter { number, call });
        Ok(Place { queues: self.clone(), resource: resource.clone(), number, queued: called.is_some(), called })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether somebody was there before.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only Redis nodes keep lists of who waits"))]
    pub(crate) fn queued(&self) -> bool {
        self.queued
    }

    /// Resolves with `true` once this place is the head of the queue, with `false` when
    /// `deadline` comes first.
    pub(crate) async fn head(&mut self, deadline: Instant) -> bool {
        let Some(called) = &mut self.called else {
            return true;
        };
        if Instant::now() >= deadline {
            return called.try_recv().is_ok();
        }
        match tokio::time::timeout_at(deadline, called).await {
            // The sender only goes away by calling or by this place leaving the line.
            Ok(_) => {
                self.called = None;
                true
            }
            Err(_) => false,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.queues.lines();
        let Some(line) = lines.by_resource.get_mut(&self.resource) else {
            return;
        };
        let Some(position) = line.iter().position(|waiter| waiter.number == self.number) else {
            return;
        };
        line.remove(position);
        if position == 0 {
            match line.front_mut() {
                Some(next) => {
                    if let Some(call) = next.call.take() {
                        let _ = call.send(());
                    }
                }
                None => {
                    lines.by_resource.remove(&self.resource);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[tokio::test]
    async fn waiters_are_called_in_the_order_they_came() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.enter(&sku, 9).expect("room");
        let mut second = queues.enter(&sku, 9).expect("room");
        let mut third = queues.enter(&sku, 9).expect("room");
        assert!(!third.head(Instant::now()).await);
        drop(first);
        assert!(second.head(far()).await);
        assert!(!third.head(Instant::now()).await);
        drop(second);
        assert!(third.head(far()).await);
    }

    #[tokio::test]
    async fn the_middle_waiter_dies_and_order_is_kept() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.enter(&sku, 9).expect("room");
        let second = queues.enter(&sku, 9).expect("room");
        let mut third = queues.enter(&sku, 9).expect("room");
        drop(second);
        assert!(!third.head(Instant::now()).await);
        drop(first);
        assert!(third.head(far()).await);
    }

    #[tokio::test]
    async fn a_head_that_never_heard_its_call_still_hands_on() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.enter(&sku, 9).expect("room");
        let second = queues.enter(&sku, 9).expect("room");
        let mut third = queues.enter(&sku, 9).expect("room");
        drop(first);
        drop(second);
        assert!(third.head(far()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_not_called_gives_up_at_the_deadline_and_holds_up_nobody() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.enter(&sku, 9).expect("room");
        let mut second = queues.enter(&sku, 9).expect("room");
        let mut third = queues.enter(&sku, 9).expect("room");
        let deadline = Instant::now() + Duration::from_secs(3);
        assert!(!second.head(deadline).await);
        assert!(Instant::now() >= deadline);
        drop(second);
        drop(first);
        assert!(third.head(far()).await);
    }

    #[tokio::test]
    async fn an_empty_queue_leaves_nothing_behind() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        drop(queues.enter(&sku, 9).expect("room"));
        assert!(queues.lines().by_resource.is_empty());
    }

    #[tokio::test]
    async fn a_queue_has_a_limit() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let _first = queues.enter(&sku, 1).expect("room");
        let refused = queues.enter(&sku, 1).expect_err("no room");
        assert!(matches!(refused, LockError::TooManyWaiters { limit: 1, .. }));
    }
}
