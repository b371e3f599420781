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
pub(crate) struct Hub(Mutex<HashMap<String, Arc<Bell>>>);

/// Rung by the nodes, at most once each until it is reset.
#[derive(Debug, Default)]
struct Bell {
    nodes: AtomicU32,
    rung: Notify,
    /// Whether it hangs there for one resource alone.
    alone: bool,
    /// How often in a row the lock has been handed on inside this process.
    handed_on: AtomicU32,
}

/// A bell hung up in the hub, taken down when dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    hub: Arc<Hub>,
    keys: Vec<String>,
    bell: Arc<Bell>,
}

impl Hub {
    pub(crate) fn listen(self: &Arc<Self>, resources: &[Resource]) -> Listening {
        let bell = Arc::new(Bell { alone: resources.len() == 1, ..Bell::default() });
        let keys: Vec<_> = resources.iter().map(wait_key).collect();
        let mut bells = self.bells();
        for key in &keys {
            bells.insert(key.clone(), Arc::clone(&bell));
        }
        Listening { hub: Arc::clone(self), keys, bell }
    }

    /// Node `index` says that what belongs to `key` is free.
    pub(crate) fn ring(&self, index: usize, key: &str) {
        if let Some(bell) = self.bells().get(key) {
            bell.ring(1 << index);
        }
    }

    /// Whether somebody of this process waits for what belongs to `key`, and for nothing else.
    pub(crate) fn has_heir(&self, key: &str) -> bool {
        self.bells().get(key).is_some_and(|bell| bell.alone)
    }

    /// Tells the heir that the release is on its way to the nodes, ahead of whatever it sends from
    /// now on. `false` when it has gone.
    pub(crate) fn hand_on(&self, key: &str, times: u32) -> bool {
        let bells = self.bells();
        let Some(bell) = bells.get(key).filter(|bell| bell.alone) else {
            return false;
        };
        bell.handed_on.store(times, Ordering::Release);
        bell.ring(u32::MAX);
        true
    }

    /// A connection is gone, and with it the registrations of whoever waits: all ask again.
    pub(crate) fn ring_all(&self) {
        for bell in self.bells().values() {
            bell.ring(u32::MAX);
        }
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<String, Arc<Bell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn ring(&self, nodes: u32) {
        self.nodes.fetch_or(nodes, Ordering::AcqRel);
        self.rung.notify_one();
    }

    fn count(&self) -> usize {
        self.nodes.load(Ordering::Acquire).count_ones() as usize
    }
}

impl Listening {
    /// Forgets what was heard so far; done before asking, so that what is heard while asking
    /// still counts.
    pub(crate) fn reset(&self) {
        self.bell.nodes.store(0, Ordering::Release);
    }

    /// Resolves when a quorum of nodes has rung, or some have and the rest took too long.
    pub(crate) async fn rung(&self, quorum: usize) {
        while self.bell.count() == 0 {
            self.bell.rung.notified().await;
        }
        let rest = async {
            while self.bell.count() < quorum {
                self.bell.rung.notified().await;
            }
        };
        let _ = tokio::time::timeout(GRACE, rest).await;
    }
}

impl Listening {
    /// How often in a row the lock had been handed on when it came to this one.
    pub(crate) fn handed_on(&self) -> u32 {
        self.bell.handed_on.load(Ordering::Acquire)
    }

    /// Takes the bell down: from here on nobody counts on this one.
    pub(crate) fn stop(&self) {
        let mut bells = self.hub.bells();
        for key in &self.keys {
            if bells.get(key).is_some_and(|bell| Arc::ptr_eq(bell, &self.bell)) {
                bells.remove(key);
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn listening() -> (Arc<Hub>, Listening) {
        let hub = Arc::new(Hub::default());
        let listening = hub.listen(&[Resource::new("sku:1").expect("a name")]);
        (hub, listening)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quorum_of_nodes_wakes_at_once() {
        let (hub, listening) = listening();
        let began = Instant::now();
        for node in [4, 0, 2] {
            hub.ring(node, "wait:sku:1");
        }
        listening.rung(3).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minority_wakes_after_a_moment_of_grace() {
        let (hub, listening) = listening();
        let began = Instant::now();
        hub.ring(1, "wait:sku:1");
        hub.ring(1, "wait:sku:1");
        listening.rung(3).await;
        assert!(began.elapsed() >= GRACE, "one node that rings twice is no quorum");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_woken_for_another_resource_or_by_what_was_before_the_reset() {
        let (hub, listening) = listening();
        hub.ring(1, "wait:sku:1");
        listening.reset();
        hub.ring(1, "wait:sku:2");
        let patience = Duration::from_mins(1);
        assert!(tokio::time::timeout(patience, listening.rung(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_wakes_everybody() {
        let (hub, listening) = listening();
        hub.ring_all();
        listening.rung(3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_heir_is_woken_at_once_and_knows_how_often_the_lock_was_handed_on() {
        let (hub, listening) = listening();
        let began = Instant::now();
        assert!(hub.has_heir("wait:sku:1") && hub.hand_on("wait:sku:1", 3));
        listening.rung(3).await;
        assert_eq!((began.elapsed(), listening.handed_on()), (Duration::ZERO, 3));
    }

    #[test]
    fn who_waits_for_more_than_what_is_released_or_has_gone_is_no_heir() {
        let hub = Arc::new(Hub::default());
        let set = hub.listen(&["sku:1", "sku:2"].map(|name| Resource::new(name).expect("a name")));
        assert!(!hub.has_heir("wait:sku:1") && !hub.hand_on("wait:sku:1", 1));
        drop(set);
        let gone = hub.listen(&[Resource::new("sku:1").expect("a name")]);
        gone.stop();
        assert!(!hub.has_heir("wait:sku:1") && !hub.hand_on("wait:sku:1", 1));
    }

    #[test]
    fn who_stops_listening_takes_down_only_the_own_bell() {
        let (hub, first) = listening();
        let second = hub.listen(&[Resource::new("sku:1").expect("a name")]);
        drop(first);
        assert_eq!(hub.bells().len(), 1);
        drop(second);
        assert!(hub.bells().is_empty());
    }
}
