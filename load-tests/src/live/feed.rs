//! What the live page shows: the last minutes, one moment after the other, and whoever looks at them.
//!
//! Absence: nothing is measured here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// Ten minutes, at two moments a second.
const KEPT: usize = 1_200;

/// How things stood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Counts from 1.
    pub number: u64,
    /// Milliseconds since the watch began.
    pub at_ms: u64,
    /// Units there are.
    pub stock: i64,
    /// Units somebody holds or has bought.
    pub sold: i64,
    /// Of which there are not so many.
    pub oversold: i64,
    /// Orders that came to an end, per second.
    pub orders_per_second: f64,
    /// Stale tokens refused before reading, so far.
    pub claims_refused: i64,
    /// Stale tokens refused at the write, so far.
    pub writes_refused: i64,
    /// Every replica.
    pub replicas: Vec<Replica>,
    /// The snapshot could be read; where not, the numbers are the last ones.
    pub snapshot: bool,
    /// What it means, in one sentence.
    pub verdict: String,
}

/// A replica of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// `order-1`, `inventory-1`.
    pub name: String,
    /// It said that it is alive when it was asked.
    pub answers: bool,
}

/// Cheap to clone; every clone is the same feed.
#[derive(Debug, Clone)]
pub struct EventFeed {
    moments: Arc<Mutex<VecDeque<Moment>>>,
    /// The number of the last moment; `None` once no more will come.
    last: watch::Sender<Option<u64>>,
}

impl Default for EventFeed {
    fn default() -> Self {
        Self { moments: Arc::default(), last: watch::channel(Some(0)).0 }
    }
}

impl EventFeed {
    /// Puts up what comes next; it is numbered here.
    pub fn put(&self, mut moment: Moment) {
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

    /// No more will come.
    pub fn close(&self) {
        self.last.send_replace(None);
    }

    /// What came after this number, once there is something; `None` when no more will come.
    ///
    /// # Cancel safety: nothing is consumed.
    pub async fn after(&self, number: u64) -> Option<Vec<Moment>> {
        let mut last = self.last.subscribe();
        let there_is = last.wait_for(|last| last.is_none_or(|last| last > number)).await;
        if there_is.map_or(true, |last| last.is_none()) {
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
            snapshot: true,
            verdict: String::new(),
        }
    }

    fn numbers(moments: Option<Vec<Moment>>) -> Option<Vec<u64>> {
        moments.map(|moments| moments.iter().map(|moment| moment.number).collect())
    }

    #[tokio::test]
    async fn whoever_comes_late_is_told_what_was_and_then_what_comes() {
        let feed = EventFeed::default();
        feed.put(moment());
        feed.put(moment());
        assert_eq!(numbers(feed.after(0).await), Some(vec![1, 2]));
        let (waits, ()) = tokio::join!(feed.after(2), async { feed.put(moment()) });
        assert_eq!(numbers(waits), Some(vec![3]));
    }

    #[tokio::test]
    async fn a_closed_board_lets_everybody_go() {
        let feed = EventFeed::default();
        let (waits, ()) = tokio::join!(feed.after(0), async { feed.close() });
        assert_eq!(waits, None);
        feed.put(moment());
        assert_eq!(feed.after(0).await, None);
    }

    #[tokio::test]
    async fn what_is_too_old_is_forgotten() {
        let feed = EventFeed::default();
        (0..KEPT + 5).for_each(|_| feed.put(moment()));
        let kept = numbers(feed.after(0).await).expect("moments");
        assert_eq!((kept.len(), kept[0]), (KEPT, 6));
    }
}
