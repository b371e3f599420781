//! Waking waiters when a lock is released. A node that releases a lock publishes the wait key on the channel of
//! the client that has waited longest; the message arrives on the same connection over which the waiter was
//! registered, so no release is missed between the two.
//!
//! A wake-up is a hint and never a grant: a lost one costs time (until the holder's lease ends), a superfluous
//! one a round trip.
//!
//! A release wakes the next waiter of the same process directly, without a message from the nodes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::scripts::wait_key;
use crate::Resource;

/// How long the rest of a quorum of nodes may take to report a release after the first node did.
const GRACE_PERIOD: Duration = Duration::from_millis(1);

/// The waiters of this process that are registered at the nodes: by wait key, at most one each.
#[derive(Debug, Default)]
pub(super) struct WaiterRegistry(Mutex<HashMap<String, Arc<WakeSignal>>>);

/// Wakes one waiter. Counts each node once until it is reset.
#[derive(Debug, Default)]
struct WakeSignal {
    /// A bit for each node that reported a release.
    nodes: AtomicU32,
    notify: Notify,
    /// Whether its waiter waits for one resource only.
    single_resource: bool,
    /// How many times in a row the lock has been handed off inside this process.
    consecutive_handoffs: AtomicU32,
}

/// A signal in the registry, removed when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<WaiterRegistry>,
    keys: Vec<String>,
    signal: Arc<WakeSignal>,
}

impl WaiterRegistry {
    pub(super) fn register(self: &Arc<Self>, resources: &[Resource]) -> Registration {
        let signal = Arc::new(WakeSignal { single_resource: resources.len() == 1, ..WakeSignal::default() });
        let keys: Vec<_> = resources.iter().map(wait_key).collect();
        let mut signals = self.signals();
        for key in &keys {
            signals.insert(key.clone(), Arc::clone(&signal));
        }
        Registration { registry: Arc::clone(self), keys, signal }
    }

    /// Node `index` reported that the lock of wait key `key` is free.
    pub(super) fn notify(&self, index: usize, key: &str) {
        if let Some(signal) = self.signals().get(key) {
            signal.notify(1 << index);
        }
    }

    /// Whether a waiter of this process waits for wait key `key`, and for nothing else.
    pub(super) fn has_next_local_waiter(&self, key: &str) -> bool {
        self.signals().get(key).is_some_and(|signal| signal.single_resource)
    }

    /// Wakes the next local waiter: the release is on its way to the nodes, ahead of every command that the
    /// waiter sends from now on. `false` when the waiter is no longer registered.
    pub(super) fn hand_off(&self, key: &str, times: u32) -> bool {
        let signals = self.signals();
        let Some(signal) = signals.get(key).filter(|signal| signal.single_resource) else {
            return false;
        };
        signal.consecutive_handoffs.store(times, Ordering::Release);
        signal.notify(u32::MAX);
        true
    }

    /// A connection is lost, and its registrations with it: every waiter tries again.
    pub(super) fn notify_all(&self) {
        for signal in self.signals().values() {
            signal.notify(u32::MAX);
        }
    }

    fn signals(&self) -> MutexGuard<'_, HashMap<String, Arc<WakeSignal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WakeSignal {
    fn notify(&self, nodes: u32) {
        self.nodes.fetch_or(nodes, Ordering::AcqRel);
        self.notify.notify_one();
    }

    fn count(&self) -> usize {
        self.nodes.load(Ordering::Acquire).count_ones() as usize
    }
}

impl Registration {
    /// Forgets earlier signals. Called before an attempt, so that signals during the attempt count.
    pub(super) fn reset(&self) {
        self.signal.nodes.store(0, Ordering::Release);
    }

    /// Resolves when a quorum of nodes has reported a release, or some have and the rest took too long.
    pub(super) async fn notified(&self, quorum: usize) {
        while self.signal.count() == 0 {
            self.signal.notify.notified().await;
        }
        let rest = async {
            while self.signal.count() < quorum {
                self.signal.notify.notified().await;
            }
        };
        let _ = tokio::time::timeout(GRACE_PERIOD, rest).await;
    }

    /// How many times in a row the lock had been handed off when it reached this waiter.
    pub(super) fn consecutive_handoffs(&self) -> u32 {
        self.signal.consecutive_handoffs.load(Ordering::Acquire)
    }

    /// Removes the signal: from here on no release selects this waiter.
    pub(super) fn stop(&self) {
        let mut signals = self.registry.signals();
        for key in &self.keys {
            if signals.get(key).is_some_and(|signal| Arc::ptr_eq(signal, &self.signal)) {
                signals.remove(key);
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn registered() -> (Arc<WaiterRegistry>, Registration) {
        let registry = Arc::new(WaiterRegistry::default());
        let registration = registry.register(&[Resource::new("sku:1").expect("a name")]);
        (registry, registration)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quorum_of_nodes_wakes_at_once() {
        let (registry, registration) = registered();
        let started = Instant::now();
        for node in [4, 0, 2] {
            registry.notify(node, "wait:{sku:1}");
        }
        registration.notified(3).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minority_wakes_after_the_grace_period() {
        let (registry, registration) = registered();
        let started = Instant::now();
        registry.notify(1, "wait:{sku:1}");
        registry.notify(1, "wait:{sku:1}");
        registration.notified(3).await;
        assert!(started.elapsed() >= GRACE_PERIOD, "two signals of one node are not a quorum");
    }

    #[tokio::test(start_paused = true)]
    async fn another_resource_or_a_signal_before_the_reset_does_not_wake() {
        let (registry, registration) = registered();
        registry.notify(1, "wait:{sku:1}");
        registration.reset();
        registry.notify(1, "wait:{sku:2}");
        let test_timeout = Duration::from_mins(1);
        assert!(tokio::time::timeout(test_timeout, registration.notified(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_wakes_every_waiter() {
        let (registry, registration) = registered();
        registry.notify_all();
        registration.notified(3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_local_waiter_is_woken_at_once_with_the_number_of_handoffs() {
        let (registry, registration) = registered();
        let started = Instant::now();
        assert!(registry.has_next_local_waiter("wait:{sku:1}") && registry.hand_off("wait:{sku:1}", 3));
        registration.notified(3).await;
        assert_eq!((started.elapsed(), registration.consecutive_handoffs()), (Duration::ZERO, 3));
    }

    #[test]
    fn a_waiter_for_several_resources_or_a_removed_one_is_no_next_local_waiter() {
        let registry = Arc::new(WaiterRegistry::default());
        let set = registry.register(&["sku:1", "sku:2"].map(|name| Resource::new(name).expect("a name")));
        assert!(!registry.has_next_local_waiter("wait:{sku:1}") && !registry.hand_off("wait:{sku:1}", 1));
        drop(set);
        let removed = registry.register(&[Resource::new("sku:1").expect("a name")]);
        removed.stop();
        assert!(!registry.has_next_local_waiter("wait:{sku:1}") && !registry.hand_off("wait:{sku:1}", 1));
    }

    #[test]
    fn a_dropped_registration_removes_only_its_own_signal() {
        let (registry, first) = registered();
        let second = registry.register(&[Resource::new("sku:1").expect("a name")]);
        drop(first);
        assert_eq!(registry.signals().len(), 1);
        drop(second);
        assert!(registry.signals().is_empty());
    }
}
