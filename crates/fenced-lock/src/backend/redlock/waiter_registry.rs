//! Being woken when a lock is released. A node that releases a lock publishes the name of the
//! resource on the channel of the client whose turn it is; the message arrives on the same
//! connection over which the waiter was registered, so there is no window between the two.
//!
//! A wake-up is a hint and never a grant: lost ones cost time (until the holder's lease ends),
//! superfluous ones a round trip.
//!
//! Who releases rings for the next one of the same process itself: no need to go to the nodes and back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::Resource;
use crate::backend::redlock::scripts::wait_key;

/// How long the rest of a quorum of nodes may take to tell of a release after the first did.
const GRACE: Duration = Duration::from_millis(1);

/// Everybody of this process who stands at the nodes: by wait key, at most one each.
#[derive(Debug, Default)]
pub(crate) struct WaiterRegistry(Mutex<HashMap<String, Arc<WakeSignal>>>);

/// Rung by the nodes, at most once each until it is reset.
#[derive(Debug, Default)]
struct WakeSignal {
    nodes: AtomicU32,
    notify: Notify,
    /// Whether it hangs there for one resource alone.
    single_resource: bool,
    /// How often in a row the lock has been handed on inside this process.
    consecutive_handoffs: AtomicU32,
}

/// A signal hung up in the registry, taken down when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<WaiterRegistry>,
    keys: Vec<String>,
    signal: Arc<WakeSignal>,
}

impl WaiterRegistry {
    pub(crate) fn register(self: &Arc<Self>, resources: &[Resource]) -> Registration {
        let signal = Arc::new(WakeSignal { single_resource: resources.len() == 1, ..WakeSignal::default() });
        let keys: Vec<_> = resources.iter().map(wait_key).collect();
        let mut signals = self.signals();
        for key in &keys {
            signals.insert(key.clone(), Arc::clone(&signal));
        }
        Registration { registry: Arc::clone(self), keys, signal }
    }

    /// Node `index` says that what belongs to `key` is free.
    pub(crate) fn notify(&self, index: usize, key: &str) {
        if let Some(signal) = self.signals().get(key) {
            signal.notify(1 << index);
        }
    }

    /// Whether somebody of this process waits for what belongs to `key`, and for nothing else.
    pub(crate) fn has_next_local_waiter(&self, key: &str) -> bool {
        self.signals().get(key).is_some_and(|signal| signal.single_resource)
    }

    /// Tells the heir that the release is on its way to the nodes, ahead of whatever it sends from
    /// now on. `false` when it has gone.
    pub(crate) fn hand_off(&self, key: &str, times: u32) -> bool {
        let signals = self.signals();
        let Some(signal) = signals.get(key).filter(|signal| signal.single_resource) else {
            return false;
        };
        signal.consecutive_handoffs.store(times, Ordering::Release);
        signal.notify(u32::MAX);
        true
    }

    /// A connection is gone, and with it the registrations of whoever waits: all ask again.
    pub(crate) fn notify_all(&self) {
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
    /// Forgets what was heard so far; done before asking, so that what is heard while asking
    /// still counts.
    pub(crate) fn reset(&self) {
        self.signal.nodes.store(0, Ordering::Release);
    }

    /// Resolves when a quorum of nodes has notified, or some have and the rest took too long.
    pub(crate) async fn notified(&self, quorum: usize) {
        while self.signal.count() == 0 {
            self.signal.notify.notified().await;
        }
        let rest = async {
            while self.signal.count() < quorum {
                self.signal.notify.notified().await;
            }
        };
        let _ = tokio::time::timeout(GRACE, rest).await;
    }
}

impl Registration {
    /// How often in a row the lock had been handed on when it came to this one.
    pub(crate) fn consecutive_handoffs(&self) -> u32 {
        self.signal.consecutive_handoffs.load(Ordering::Acquire)
    }

    /// Takes the signal down: from here on nobody counts on this one.
    pub(crate) fn stop(&self) {
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

    fn registration() -> (Arc<WaiterRegistry>, Registration) {
        let registry = Arc::new(WaiterRegistry::default());
        let registration = registry.register(&[Resource::new("sku:1").expect("a name")]);
        (registry, registration)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quorum_of_nodes_wakes_at_once() {
        let (registry, registration) = registration();
        let began = Instant::now();
        for node in [4, 0, 2] {
            registry.notify(node, "wait:sku:1");
        }
        registration.notified(3).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minority_wakes_after_the_grace_period() {
        let (registry, registration) = registration();
        let began = Instant::now();
        registry.notify(1, "wait:sku:1");
        registry.notify(1, "wait:sku:1");
        registration.notified(3).await;
        assert!(began.elapsed() >= GRACE, "one node that rings twice is no quorum");
    }

    #[tokio::test(start_paused = true)]
    async fn another_resource_or_a_signal_before_the_reset_does_not_wake() {
        let (registry, registration) = registration();
        registry.notify(1, "wait:sku:1");
        registration.reset();
        registry.notify(1, "wait:sku:2");
        let patience = Duration::from_mins(1);
        assert!(tokio::time::timeout(patience, registration.notified(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_wakes_every_waiter() {
        let (registry, registration) = registration();
        registry.notify_all();
        registration.notified(3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_local_waiter_is_woken_at_once_with_the_number_of_handoffs() {
        let (registry, registration) = registration();
        let began = Instant::now();
        assert!(registry.has_next_local_waiter("wait:sku:1") && registry.hand_off("wait:sku:1", 3));
        registration.notified(3).await;
        assert_eq!((began.elapsed(), registration.consecutive_handoffs()), (Duration::ZERO, 3));
    }

    #[test]
    fn a_waiter_for_several_resources_or_a_removed_one_is_no_next_local_waiter() {
        let registry = Arc::new(WaiterRegistry::default());
        let set = registry.register(&["sku:1", "sku:2"].map(|name| Resource::new(name).expect("a name")));
        assert!(!registry.has_next_local_waiter("wait:sku:1") && !registry.hand_off("wait:sku:1", 1));
        drop(set);
        let gone = registry.register(&[Resource::new("sku:1").expect("a name")]);
        gone.stop();
        assert!(!registry.has_next_local_waiter("wait:sku:1") && !registry.hand_off("wait:sku:1", 1));
    }

    #[test]
    fn a_dropped_registration_removes_only_its_own_signal() {
        let (registry, first) = registration();
        let second = registry.register(&[Resource::new("sku:1").expect("a name")]);
        drop(first);
        assert_eq!(registry.signals().len(), 1);
        drop(second);
        assert!(registry.signals().is_empty());
    }
}
