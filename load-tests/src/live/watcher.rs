//! Polls both databases and every replica, and publishes a moment after each poll.
//!
//! Invariant: a database or a replica that does not answer is shown in the moment and does not end the watcher.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::feed::{EventFeed, Moment, Replica};
use crate::audit::{Auditor, LiveStats};
use crate::cluster::target::Target;

/// Between two polls.
const POLL: Duration = Duration::from_millis(500);
/// A replica that takes longer to answer `/livez` counts as not responding.
const RESPONDS_WITHIN: Duration = Duration::from_millis(400);

/// Watches one stack.
#[derive(Debug)]
pub struct Watcher {
    /// Reads both databases.
    pub auditor: Auditor,
    http: Client,
    /// Names and addresses.
    replicas: Vec<(String, String)>,
}

impl Watcher {
    /// A watcher of this stack; `auditor` reads its databases.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(target: &Target, auditor: Auditor) -> anyhow::Result<Self> {
        let named = |kind: &str, urls: &[String]| -> Vec<_> {
            (1..).zip(urls).map(|(n, url)| (format!("{kind}-{n}"), url.clone())).collect()
        };
        let replicas = [named("order", &target.orders), named("inventory", &target.inventory)].concat();
        Ok(Self { auditor, http: Client::builder().no_proxy().timeout(RESPONDS_WITHIN).build()?, replicas })
    }

    /// Publishes moments; never returns.
    ///
    /// # Cancel safety: it may be dropped at any time.
    pub async fn watch(&self, feed: &EventFeed) -> Infallible {
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let (mut last, mut last_read_at) = (None::<LiveStats>, began);
        loop {
            polls.tick().await;
            let (stats, replicas) = tokio::join!(self.auditor.live_stats(), self.replicas());
            let now = Instant::now();
            let databases_read = stats.is_ok();
            if let Err(error) = &stats {
                tracing::debug!("the databases could not be read; the page shows the last numbers: {error}");
            }
            let stats = stats.unwrap_or(last.unwrap_or_default());
            let orders = last.map_or(0, |last| stats.orders - last.orders);
            feed.publish(Moment {
                number: 0,
                at_ms: u64::try_from((now - began).as_millis()).unwrap_or(u64::MAX),
                stock: stats.stock,
                sold: stats.sold,
                oversold: stats.oversold,
                orders_per_second: per_second(orders, now - last_read_at),
                claims_refused: stats.claims_refused,
                writes_refused: stats.writes_refused,
                replicas,
                databases_read,
                verdict: verdict(&stats, databases_read),
            });
            if databases_read {
                (last, last_read_at) = (Some(stats), now);
            }
        }
    }

    async fn replicas(&self) -> Vec<Replica> {
        let polled = self.replicas.iter().map(|(name, url)| async move {
            let answer = self.http.get(format!("{url}/livez")).send().await;
            Replica { name: name.clone(), responding: answer.is_ok_and(|answer| answer.status().is_success()) }
        });
        join_all(polled).await
    }
}

fn verdict(stats: &LiveStats, databases_read: bool) -> String {
    match (databases_read, stats.oversold, stats.stock) {
        (false, ..) => "The databases cannot be read.".to_owned(),
        (true, 1.., _) => format!("OVERSOLD: {} units beyond stock were sold.", stats.oversold),
        (true, _, 0) => "There is no stock yet.".to_owned(),
        (true, _, stock) => format!("Nothing is oversold: {} of {stock} units are sold.", stats.sold),
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
    fn the_sentence_reads_oversold_if_and_only_if_a_unit_is() {
        let of = |sold, oversold| verdict(&LiveStats { stock: 10, sold, oversold, ..LiveStats::default() }, true);
        assert_eq!(of(10, 0), "Nothing is oversold: 10 of 10 units are sold.");
        assert_eq!(of(11, 1), "OVERSOLD: 1 units beyond stock were sold.");
        assert_eq!(verdict(&LiveStats::default(), true), "There is no stock yet.");
        assert_eq!(verdict(&LiveStats::default(), false), "The databases cannot be read.");
    }
}
