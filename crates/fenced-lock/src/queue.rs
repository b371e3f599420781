//! First come, first served inside one process: only the head of a resource's queue reaches the backend.
//! Dropping a ticket leaves the queue, at any time; nothing here waits for a server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{LockError, Resource};

/// The queues of all resources that callers of this process hold or wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues(Arc<Mutex<QueueMap>>);

#[derive(Debug, Default)]
struct QueueMap {
    by_resource: HashMap<Resource, VecDeque<QueuedCaller>>,
    next_number: u64,
}

#[derive(Debug)]
struct QueuedCaller {
    number: u64,
    /// Wakes the caller when it becomes the head. Its position alone makes it the head, so a wake-up that
    /// is never received loses nothing.
    wake: Option<oneshot::Sender<()>>,
}

/// A place in the queue of one resource, left by dropping it.
#[derive(Debug)]
pub(crate) struct Ticket {
    queues: Queues,
    resource: Resource,
    number: u64,
    was_queued: bool,
    woken: Option<oneshot::Receiver<()>>,
}

impl Queues {
    /// Joins the end of the queue of `resource`, unless it has `limit` callers already.
    pub(crate) fn join(&self, resource: &Resource, limit: usize) -> Result<Ticket, LockError> {
        let mut map = self.map();
        let number = map.next_number;
        map.next_number += 1;
        let queue = map.by_resource.entry(resource.clone()).or_default();
        if queue.len() >= limit {
            return Err(LockError::TooManyWaiters { resource: resource.clone(), limit });
        }
        let (wake, woken) = if queue.is_empty() {
            (None, None)
        } else {
            let (wake, woken) = oneshot::channel();
            (Some(wake), Some(woken))
        };
        queue.push_back(QueuedCaller { number, wake });
        let was_queued = woken.is_some();
        Ok(Ticket { queues: self.clone(), resource: resource.clone(), number, was_queued, woken })
    }

    fn map(&self) -> MutexGuard<'_, QueueMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whether other callers were ahead when this one joined.
    pub(crate) fn was_queued(&self) -> bool {
        self.was_queued
    }

    /// Resolves with `true` once this ticket is the head of the queue, with `false` when
    /// `deadline` comes first.
    pub(crate) async fn wait_for_turn(&mut self, deadline: Instant) -> bool {
        let Some(woken) = &mut self.woken else {
            return true;
        };
        if Instant::now() >= deadline {
            return woken.try_recv().is_ok();
        }
        match tokio::time::timeout_at(deadline, woken).await {
            // The sender is only dropped after it woke this ticket, or after this ticket left the queue.
            Ok(_) => {
                self.woken = None;
                true
            }
            Err(_) => false,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut map = self.queues.map();
        let Some(queue) = map.by_resource.get_mut(&self.resource) else {
            return;
        };
        let Some(position) = queue.iter().position(|caller| caller.number == self.number) else {
            return;
        };
        queue.remove(position);
        if position == 0 {
            match queue.front_mut() {
                Some(next) => {
                    if let Some(wake) = next.wake.take() {
                        let _ = wake.send(());
                    }
                }
                None => {
                    map.by_resource.remove(&self.resource);
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
    async fn waiters_become_the_head_in_arrival_order() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.join(&sku, 9).expect("room");
        let mut second = queues.join(&sku, 9).expect("room");
        let mut third = queues.join(&sku, 9).expect("room");
        assert!(!third.wait_for_turn(Instant::now()).await);
        drop(first);
        assert!(second.wait_for_turn(far()).await);
        assert!(!third.wait_for_turn(Instant::now()).await);
        drop(second);
        assert!(third.wait_for_turn(far()).await);
    }

    #[tokio::test]
    async fn a_cancelled_waiter_does_not_change_the_order() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.join(&sku, 9).expect("room");
        let second = queues.join(&sku, 9).expect("room");
        let mut third = queues.join(&sku, 9).expect("room");
        drop(second);
        assert!(!third.wait_for_turn(Instant::now()).await);
        drop(first);
        assert!(third.wait_for_turn(far()).await);
    }

    #[tokio::test]
    async fn a_dropped_head_that_was_never_polled_still_wakes_the_next() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.join(&sku, 9).expect("room");
        let second = queues.join(&sku, 9).expect("room");
        let mut third = queues.join(&sku, 9).expect("room");
        drop(first);
        drop(second);
        assert!(third.wait_for_turn(far()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gives_up_at_its_deadline_and_does_not_block_the_queue() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let first = queues.join(&sku, 9).expect("room");
        let mut second = queues.join(&sku, 9).expect("room");
        let mut third = queues.join(&sku, 9).expect("room");
        let deadline = Instant::now() + Duration::from_secs(3);
        assert!(!second.wait_for_turn(deadline).await);
        assert!(Instant::now() >= deadline);
        drop(second);
        drop(first);
        assert!(third.wait_for_turn(far()).await);
    }

    #[tokio::test]
    async fn an_empty_queue_leaves_nothing_behind() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        drop(queues.join(&sku, 9).expect("room"));
        assert!(queues.map().by_resource.is_empty());
    }

    #[tokio::test]
    async fn a_queue_has_a_limit() {
        let queues = Queues::default();
        let sku = Resource::new("sku:1").expect("a name");
        let _first = queues.join(&sku, 1).expect("room");
        let refused = queues.join(&sku, 1).expect_err("no room");
        assert!(matches!(refused, LockError::TooManyWaiters { limit: 1, .. }));
    }
}
