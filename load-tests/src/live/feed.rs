//! The recent moments of a stack, for every open page.
//!
//! Absence: nothing is measured here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::Strategy;
use serde::Serialize;
use tokio::sync::watch;

use crate::audit::SkuStats;

use super::lock_nodes::NodeFault;
use super::stage::StageState;

/// Moments that are kept: five minutes, at four per second.
const KEPT: usize = 1_200;

/// The state of a stack at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Counts from 1.
    pub number: u64,
    /// Milliseconds since the watcher started.
    pub at_ms: u64,
    /// Units in stock.
    pub stock: i64,
    /// Units reserved or sold.
    pub sold: i64,
    /// Units sold beyond stock.
    pub oversold: i64,
    /// Orders that left the pending state, per second.
    pub orders_per_second: f64,
    /// Stale tokens refused at the claim, so far.
    pub claims_refused: i64,
    /// Stale tokens refused at the write, so far.
    pub writes_refused: i64,
    /// Every replica.
    pub replicas: Vec<Replica>,
    /// The shelves of the last sale, as the page ordered it; empty before the first.
    pub shelves: Vec<ShelfMoment>,
    /// What the stage does.
    pub stage: StageState,
    /// The lock nodes, as far as this process can ask them.
    pub nodes: Vec<Node>,
    /// Both databases were read; otherwise the numbers are those of the last moment at which they were.
    pub databases_read: bool,
    /// What the numbers mean, in one sentence.
    pub verdict: String,
}

/// One strategy's shelf at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShelfMoment {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// What the database of inventory holds of it.
    #[serde(flatten)]
    pub stats: SkuStats,
    /// Orders that were answered, or given up.
    pub ended: u64,
    /// Orders that were answered "sold out".
    pub sold_out: u64,
    /// Answers after which the customer tried again.
    pub tried_again: u64,
}

/// A lock node at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `redis-1`.
    pub name: String,
    /// It answered in time.
    pub responding: bool,
    /// What was done to it here.
    pub fault: Option<NodeFault>,
    /// The locks of the last sale that it stores.
    pub locks: Vec<NodeLock>,
}

/// A lock as a node stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeLock {
    /// The shelf whose SKU is locked, from 0.
    pub shelf: usize,
    /// Its fencing token.
    pub token: String,
    /// The replica that holds it, if its process id is known here.
    pub holder: Option<String>,
    /// How long the node stores it yet, in milliseconds.
    pub left_ms: u64,
}

/// A replica of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// `order-1`, `inventory-1`.
    pub name: String,
    /// It answered `/livez` in time.
    pub responding: bool,
}

/// Cheap to clone; every clone is the same feed.
#[derive(Debug, Clone)]
pub struct EventFeed {
    moments: Arc<Mutex<VecDeque<Moment>>>,
    /// Number of the last moment; `None` once the feed is closed.
    last: watch::Sender<Option<u64>>,
}

impl Default for EventFeed {
    fn default() -> Self {
        Self { moments: Arc::default(), last: watch::channel(Some(0)).0 }
    }
}

impl EventFeed {
    /// Numbers a moment and publishes it.
    pub fn publish(&self, mut moment: Moment) {
        let mut moments = self.lock();
        moment.number = moments.back().map_or(1, |last| last.number + 1);
        let number = moment.number;
        moments.push_back(moment);
        if moments.len() > KEPT {
            moments.pop_front();
        }
        drop(moments);
        self.last.send_if_modified(|last| last.as_mut().map(|last| *last = number).is_some());
    }

    /// Ends every reader; later moments are not delivered.
    pub fn close(&self) {
        self.last.send_replace(None);
    }

    /// Waits until there are moments after this number and returns them; `None` once the feed is closed.
    ///
    /// # Cancel safety: nothing is consumed.
    pub async fn after(&self, number: u64) -> Option<Vec<Moment>> {
        let mut last = self.last.subscribe();
        let newer = last.wait_for(|last| last.is_none_or(|last| last > number)).await;
        if newer.map_or(true, |last| last.is_none()) {
            return None;
        }
        Some(self.lock().iter().filter(|moment| moment.number > number).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Moment>> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        Moment {
            number: 0,
            at_ms: 0,
            stock: 0,
            sold: 0,
            oversold: 0,
            orders_per_second: 0.0,
            claims_refused: 0,
            writes_refused: 0,
            replicas: Vec::new(),
            shelves: Vec::new(),
            stage: StageState::default(),
            nodes: Vec::new(),
            databases_read: true,
            verdict: String::new(),
        }
    }

    fn numbers(moments: Option<Vec<Moment>>) -> Option<Vec<u64>> {
        moments.map(|moments| moments.iter().map(|moment| moment.number).collect())
    }

    #[tokio::test]
    async fn a_late_reader_gets_the_earlier_moments_and_then_the_new_ones() {
        let feed = EventFeed::default();
        feed.publish(moment());
        feed.publish(moment());
        assert_eq!(numbers(feed.after(0).await), Some(vec![1, 2]));
        let (new, ()) = tokio::join!(feed.after(2), async { feed.publish(moment()) });
        assert_eq!(numbers(new), Some(vec![3]));
    }

    #[tokio::test]
    async fn closing_the_feed_ends_every_reader() {
        let feed = EventFeed::default();
        let (new, ()) = tokio::join!(feed.after(0), async { feed.close() });
        assert_eq!(new, None);
        feed.publish(moment());
        assert_eq!(feed.after(0).await, None);
    }

    #[tokio::test]
    async fn old_moments_are_dropped() {
        let feed = EventFeed::default();
        (0..KEPT + 5).for_each(|_| feed.publish(moment()));
        let kept = numbers(feed.after(0).await).expect("moments");
        assert_eq!((kept.len(), kept[0]), (KEPT, 6));
    }
}
