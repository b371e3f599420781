//! Polls both databases, every replica and every lock node, and publishes a moment after each poll.
//!
//! Invariant: a database, a replica or a node that does not answer is shown in the moment and does not end the watcher.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use reqwest::Client;
use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::feed::{EventFeed, Moment, Node, NodeLock, Replica, ShelfMoment};
use super::lock_nodes::node_name;
use super::stage::{StageHandle, StageState};
use crate::audit::LiveStats;
use crate::faults::locks_of;
use crate::runner::environment::Environment;

/// Between two polls.
const POLL: Duration = Duration::from_millis(250);
/// A replica that takes longer to answer `/livez`, or a node to answer at all, counts as not responding.
const RESPONDS_WITHIN: Duration = Duration::from_millis(400);

/// Watches one stack.
#[derive(Debug)]
pub struct Watcher<'a> {
    environment: &'a Environment<'a>,
    stage: StageHandle,
    http: Client,
    /// Names and addresses.
    replicas: Vec<(String, String)>,
}

impl<'a> Watcher<'a> {
    /// A watcher of this stack and of what the stage does to it.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(environment: &'a Environment<'a>, stage: StageHandle) -> anyhow::Result<Self> {
        let named = |kind: &str, urls: &[String]| -> Vec<_> {
            (1..).zip(urls).map(|(n, url)| (format!("{kind}-{n}"), url.clone())).collect()
        };
        let target = environment.target;
        let replicas = [named("order", &target.orders), named("inventory", &target.inventory)].concat();
        Ok(Self { environment, stage, http: Client::builder().no_proxy().timeout(RESPONDS_WITHIN).build()?, replicas })
    }

    /// Publishes moments; never returns.
    ///
    /// # Cancel safety: it may be dropped at any time.
    pub async fn watch(&self, feed: &EventFeed) -> Infallible {
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        let (mut last, mut last_read_at) = (None::<LiveStats>, began);
        let mut last_shelves = Vec::new();
        loop {
            polls.tick().await;
            let stage = self.stage.state();
            let auditor = &self.environment.auditor;
            let (stats, shelves, replicas, nodes) =
                tokio::join!(auditor.live_stats(), self.shelves(&stage), self.replicas(), self.nodes(&stage));
            let now = Instant::now();
            let databases_read = stats.is_ok() && shelves.is_ok();
            if let Some(error) = stats.as_ref().err().or(shelves.as_ref().err()) {
                tracing::debug!("the databases could not be read; the page shows the last numbers: {error}");
            }
            let stats = stats.unwrap_or(last.unwrap_or_default());
            last_shelves = shelves.unwrap_or(last_shelves);
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
                verdict: verdict(&last_shelves, &stage, &stats, databases_read),
                shelves: last_shelves.clone(),
                stage,
                nodes,
                databases_read,
            });
            if databases_read {
                (last, last_read_at) = (Some(stats), now);
            }
        }
    }

    async fn shelves(&self, stage: &StageState) -> Result<Vec<ShelfMoment>, sqlx::Error> {
        try_join_all(stage.shelves.iter().map(async |shelf| {
            let stats = self.environment.auditor.sku_stats(&shelf.skus).await?;
            let tally = *shelf.history.tally().borrow();
            Ok(ShelfMoment {
                strategy: shelf.strategy,
                stats,
                ended: tally.ended,
                sold_out: tally.sold_out,
                tried_again: tally.tried_again,
            })
        }))
        .await
    }

    /// The lock nodes whose addresses are known.
    async fn nodes(&self, stage: &StageState) -> Vec<Node> {
        let skus: Vec<_> = stage.shelves.iter().flat_map(|shelf| shelf.skus.iter().map(String::as_str)).collect();
        join_all(self.environment.lock_nodes.iter().enumerate().map(async |(number, url)| {
            let locks = timeout(RESPONDS_WITHIN, locks_of(&skus, url)).await.ok().and_then(Result::ok);
            let (name, responding) = (node_name(number), locks.is_some());
            let locks = locks.into_iter().flatten().filter_map(|lock| {
                let of_lock = stage.shelves.iter().position(|one| one.skus.contains(&lock.sku))?;
                self.node_lock(of_lock, &lock.value)
            });
            let fault = stage.node_faults.get(&name).copied();
            Node { name, responding, fault, locks: locks.collect() }
        }))
        .await
    }

    /// From `owner:NAME.ID.N:token:T:expiry:UNIX_MS`, where the name ends with the process id of the replica.
    fn node_lock(&self, number: usize, value: &str) -> Option<NodeLock> {
        let (owner, rest) = value.strip_prefix("owner:")?.split_once(":token:")?;
        let (token, expiry) = rest.split_once(":expiry:")?;
        let pid = owner.split('.').next()?.rsplit('-').next()?.parse::<u32>().ok();
        let pids = &self.environment.target.pids;
        let holder = pids.iter().find(|(_, known)| Some(**known) == pid).map(|(name, _)| name.clone());
        let now_ms = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        let left_ms = expiry.parse::<i128>().ok().map(|expiry| u64::try_from(expiry - now_ms).unwrap_or(0))?;
        Some(NodeLock { shelf: number, token: token.to_owned(), holder, left_ms })
    }

    async fn replicas(&self) -> Vec<Replica> {
        let polled = self.replicas.iter().map(|(name, url)| async move {
            let answer = self.http.get(format!("{url}/livez")).send().await;
            Replica { name: name.clone(), responding: answer.is_ok_and(|answer| answer.status().is_success()) }
        });
        join_all(polled).await
    }
}

/// What the two shelves show, in one sentence.
/// Before the first sale, what the databases hold: the attack may come from another terminal.
fn verdict(shelves: &[ShelfMoment], stage: &StageState, all: &LiveStats, databases_read: bool) -> String {
    let sold = |shelf: &ShelfMoment| match shelf.stats.oversold {
        0 => format!("{} sold {} of {}", shelf.strategy, shelf.stats.sold, shelf.stats.stock),
        over => format!("{} oversold {over} of {}", shelf.strategy, shelf.stats.stock),
    };
    match (databases_read, shelves, &stage.paused) {
        (false, ..) => "The databases cannot be read.".to_owned(),
        (true, [], _) if all.stock == 0 => "Nothing has been sold yet.".to_owned(),
        (true, [], _) if all.oversold > 0 => format!("{} units beyond stock were sold.", all.oversold),
        (true, [], _) => format!("Nothing is oversold: {} of {} units are sold.", all.sold, all.stock),
        (true, shelves, paused) => {
            let shelves: Vec<_> = shelves.iter().map(sold).collect();
            let paused = paused.as_ref().map(|name| format!(" {name} is stopped in the middle of a write."));
            format!("{}.{}", shelves.join("; "), paused.unwrap_or_default())
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "orders of half a second")]
fn per_second(orders: i64, within: Duration) -> f64 {
    let seconds = within.as_secs_f64();
    if seconds > 0.0 { orders as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use contract::Strategy;

    use super::*;
    use crate::audit::SkuStats;

    fn shelf(strategy: Strategy, sold: i64) -> ShelfMoment {
        let (ended, sold_out, tried_again) = (0, 0, 0);
        ShelfMoment {
            strategy,
            stats: SkuStats { stock: 100, sold, oversold: (sold - 100).max(0), ..SkuStats::default() },
            ended,
            sold_out,
            tried_again,
        }
    }

    #[test]
    fn the_sentence_reads_oversold_if_and_only_if_a_unit_is() {
        let shelves = [shelf(Strategy::Off, 187), shelf(Strategy::RedlockFenced, 100)];
        let of = |shelves: &[ShelfMoment], paused: Option<&str>, read| {
            let stage = StageState { paused: paused.map(str::to_owned), ..StageState::default() };
            verdict(shelves, &stage, &LiveStats::default(), read)
        };
        assert_eq!(of(&shelves, None, true), "off oversold 87 of 100; redlock-fenced sold 100 of 100.");
        let paused = of(&shelves[1..], Some("inventory-1"), true);
        assert_eq!(paused, "redlock-fenced sold 100 of 100. inventory-1 is stopped in the middle of a write.");
        assert_eq!(of(&[], None, true), "Nothing has been sold yet.");
        let elsewhere = |sold, oversold| {
            let all = LiveStats { stock: 10, sold, oversold, ..LiveStats::default() };
            verdict(&[], &StageState::default(), &all, true)
        };
        assert_eq!(elsewhere(10, 0), "Nothing is oversold: 10 of 10 units are sold.");
        assert_eq!(elsewhere(11, 1), "1 units beyond stock were sold.");
        assert_eq!(of(&shelves, None, false), "The databases cannot be read.");
    }
}
