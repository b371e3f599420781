//! The lab's slow payment provider: authorisations of named SKUs, or of all, take longer until the delay is
//! switched off or has ended by itself.
//!
//! Invariant: a delay is ordered over HTTP, where the lab is switched on; each ends.

use std::{sync::Arc, time::Duration};

use contract::Sku;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The delays of this replica's authorisations. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SlowPayments(Arc<watch::Sender<Vec<Delay>>>);

#[derive(Debug, Clone)]
struct Delay {
    /// `None`: every SKU.
    sku: Option<Sku>,
    by: Duration,
    until: Instant,
}

impl SlowPayments {
    /// From now on, authorisations of orders with this SKU, or of all orders, take longer `by` so much, for
    /// `at_most` so long. It replaces the earlier delay of the same SKU.
    pub fn slow_down(&self, sku: Option<Sku>, by: Duration, at_most: Duration) {
        let (now, until) = (Instant::now(), Instant::now() + at_most);
        self.0.send_modify(|delays| {
            delays.retain(|delay| delay.until > now && delay.sku != sku);
            delays.push(Delay { sku, by, until });
        });
    }

    /// No authorisation takes longer any more; those under way end.
    pub fn stop(&self) {
        self.0.send_modify(Vec::clear);
    }

    /// Resolves when an authorisation of these SKUs that began at `start` need not take longer.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn delay(&self, skus: &[Sku], start: Instant) {
        let mut changes = self.0.subscribe();
        loop {
            let ends = |delay: &Delay| (start + delay.by).min(delay.until);
            let concerns = |delay: &&Delay| delay.sku.as_ref().is_none_or(|sku| skus.contains(sku));
            let end = changes.borrow_and_update().iter().filter(concerns).map(ends).max();
            let Some(end) = end.filter(|end| *end > Instant::now()) else { return };
            if timeout_at(end, changes.changed()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sku(name: &str) -> Sku {
        name.parse().expect("a SKU")
    }

    #[tokio::test(start_paused = true)]
    async fn the_named_sku_is_slow_and_no_other() {
        let (slow, start) = (SlowPayments::default(), Instant::now());
        slow.slow_down(Some(sku("chair")), 6 * SECOND, 60 * SECOND);
        slow.delay(&[sku("table")], start).await;
        assert!(start.elapsed() < SECOND);
        slow.delay(&[sku("chair"), sku("table")], start).await;
        assert!(start.elapsed() >= 6 * SECOND && start.elapsed() < 7 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_ends_when_it_is_switched_off_and_at_its_limit() {
        let (slow, start) = (SlowPayments::default(), Instant::now());
        slow.slow_down(None, 600 * SECOND, 10 * SECOND);
        slow.delay(&[sku("chair")], start).await;
        assert!(start.elapsed() >= 10 * SECOND && start.elapsed() < 11 * SECOND, "at its limit");
        let start = Instant::now();
        slow.slow_down(None, 600 * SECOND, 600 * SECOND);
        let stop = async {
            tokio::time::sleep(2 * SECOND).await;
            slow.stop();
        };
        tokio::join!(slow.delay(&[], start), stop);
        assert!(start.elapsed() < 3 * SECOND, "switched off");
    }
}
