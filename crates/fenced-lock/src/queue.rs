//! First come, first served inside one process: only the head of a resource's queue stands at
//! the nodes. A ticket is given up by dropping it, at any time; nothing here waits for a server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{LockError, Resource};

/// The queues of all resources that anybody in this process is waiting for.
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
    /// Tells the waiter that it is the head. That it *is* the head follows from its position
    /// alone, so a call that nobody hears loses nothing.
    turn_sender: Option<oneshot::Sender<()>>,
}

/// A ticket in the queue of one resource, left by dropping it.
#[derive(Debug)]
pub(crate) struct Ticket {
    queues: Queues,
    resource: Resource,
    number: u64,
    queued: bool,
    turn: Option<oneshot::Receiver<()>>,
}

impl Queues {
    /// Stands at the end of the queue of `resource`, unless `limit` others do already.
    pub(crate) fn join(&self, resource: &Resource, limit: usize) -> Result<Ticket, LockError> {
        let mut queues = self.queues();
        let number = queues.next_number;
        queues.next_number += 1;
        let queue = queues.by_resource.entry(resource.clone()).or_default();
        if queue.len() >= limit {
            return Err(LockError::TooManyWaiters { resource: resource.clone(), limit });
        }
        let (turn_sender, turn) = if queue.is_empty() {
            (None, None)
        } else {
            let (turn_sender, turn) = oneshot::channel();
            (Some(turn_sender), Some(turn))
        };
        queue.push_back(QueuedCaller { number, turn_sender });
        Ok(Ticket { queues: self.clone(), resource: resource.clone(), number, queued: turn.is_some(), turn })
    }

    fn queues(&self) -> MutexGuard<'_, QueueMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whether somebody was there before.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only Redis nodes keep lists of who waits"))]
    pub(crate) fn queued(&self) -> bool {
        self.queued
    }

    /// Resolves with `true` once this ticket is the head of the queue, with `false` when
    /// `deadline` comes first.
    pub(crate) async fn wait_for_turn(&mut self, deadline: Instant) -> bool {
        let Some(turn) = &mut self.turn else {
            return true;
        };
        if Instant::now() >= deadline {
            return turn.try_recv().is_ok();
        }
        match tokio::time::timeout_at(deadline, turn).await {
            // The sender only goes away by calling or by this ticket leaving the line.
            Ok(_) => {
                self.turn = None;
                true
            }
            Err(_) => false,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queues = self.queues.queues();
        let Some(queue) = queues.by_resource.get_mut(&self.resource) else {
            return;
        };
        let Some(position) = queue.iter().position(|waiter| waiter.number == self.number) else {
            return;
        };
        queue.remove(position);
        if position == 0 {
            match queue.front_mut() {
                Some(next) => {
                    if let Some(turn_sender) = next.turn_sender.take() {
                        let _ = turn_sender.send(());
                    }
                }
                None => {
                    queues.by_resource.remove(&self.resource);
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
        assert!(queues.queues().by_resource.is_empty());
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
