//! Looks at the snapshot and at every replica, again and again, and puts up what it sees.
//!
//! Invariant: a database or a replica that does not answer is something it shows, not something that ends it.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::feed::{EventFeed, Moment, Replica};
use crate::audit::{Auditor, LiveStats};
use crate::cluster::target::Target;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A replica that takes longer to say that it is alive is silent.
const ALIVE_WITHIN: Duration = Duration::from_millis(400);

/// Watches one stack.
#[derive(Debug)]
pub struct Watcher {
    /// Reads the snapshot.
    pub auditor: Auditor,
    http: Client,
    /// Names and addresses.
    replicas: Vec<(String, String)>,
}

impl Watcher {
    /// Of this stack; `auditor` reads its snapshot.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(target: &Target, auditor: Auditor) -> anyhow::Result<Self> {
        let named = |kind: &str, urls: &[String]| -> Vec<_> {
            (1..).zip(urls).map(|(n, url)| (format!("{kind}-{n}"), url.clone())).collect()
        };
        let replicas = [named("order", &target.orders), named("inventory", &target.inventory)].concat();
        Ok(Self { auditor, http: Client::builder().no_proxy().timeout(ALIVE_WITHIN).build()?, replicas })
    }

    /// Never ends by itself.
    ///
    /// # Cancel safety: it may be dropped at any time.
    pub async fn watch(&self, feed: &EventFeed) -> Infallible {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let (mut known, mut looked_at) = (None::<LiveStats>, began);
        loop {
            looks.tick().await;
            let (seen, replicas) = tokio::join!(self.auditor.live_stats(), self.replicas());
            let now = Instant::now();
            let snapshot = seen.is_ok();
            if let Err(error) = &seen {
                tracing::debug!("the snapshot could not be read: {error}");
            }
            let before = known.unwrap_or_default();
            let seen = seen.unwrap_or(before);
            let orders = known.map_or(0, |known| seen.orders - known.orders);
            feed.put(Moment {
                number: 0,
                at_ms: u64::try_from((now - began).as_millis()).unwrap_or(u64::MAX),
                stock: seen.stock,
                sold: seen.sold,
                oversold: seen.oversold,
                orders_per_second: per_second(orders, now - looked_at),
                claims_refused: seen.claims_refused,
                writes_refused: seen.writes_refused,
                replicas,
                snapshot,
                verdict: verdict(&seen, snapshot),
            });
            if snapshot {
                (known, looked_at) = (Some(seen), now);
            }
        }
    }

    async fn replicas(&self) -> Vec<Replica> {
        let asked = self.replicas.iter().map(|(name, url)| async move {
            let answer = self.http.get(format!("{url}/livez")).send().await;
            Replica { name: name.clone(), answers: answer.is_ok_and(|answer| answer.status().is_success()) }
        });
        join_all(asked).await
    }
}

fn verdict(seen: &LiveStats, snapshot: bool) -> String {
    match (snapshot, seen.oversold, seen.stock) {
        (false, ..) => "The snapshot cannot be read.".to_owned(),
        (true, 1.., _) => format!("OVERSOLD: {} units were sold that are not there.", seen.oversold),
        (true, _, 0) => "There is no stock yet.".to_owned(),
        (true, _, stock) => format!("Nothing is oversold: {} of {stock} units are sold.", seen.sold),
    }
}

#[expect(clippy::cast_precision_loss, reason = "orders of half a second")]
fn per_second(orders: i64, within: Duration) -> f64 {
    let seconds = within.as_secs_f64();
    if seconds > 0.0 { orders as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_oversold_if_and_only_if_a_unit_is() {
        let seen = |sold, oversold| verdict(&LiveStats { stock: 10, sold, oversold, ..LiveStats::default() }, true);
        assert_eq!(seen(10, 0), "Nothing is oversold: 10 of 10 units are sold.");
        assert_eq!(seen(11, 1), "OVERSOLD: 1 units were sold that are not there.");
        assert_eq!(verdict(&LiveStats::default(), true), "There is no stock yet.");
        assert_eq!(verdict(&LiveStats::default(), false), "The snapshot cannot be read.");
    }
}
