//! What one order did, or two of which one was held before its write: shown by the messages that the services recorded, and
//! by the rows that the databases store.
//!
//! Invariant: nothing is shown that was not recorded. Absence: nothing is drawn or judged here.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use futures_util::future::try_join_all;
use reqwest::Client;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::lab_client::{LabClient, Message, PausedRequest};
use crate::runner::environment::Environment;

/// Units in stock.
const STOCK: u64 = 1;
/// An order that is not answered by then is shown without an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);
/// A write is held for no longer than this.
const HELD_AT_MOST: Duration = Duration::from_secs(50);
/// No write met the pause within this time.
const MET_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at what a replica has recorded.
const POLL: Duration = Duration::from_millis(50);
/// Nothing new was recorded for this long: the last release has arrived.
const QUIET: Duration = Duration::from_millis(300);
/// The trace is shown as far as it was recorded by then.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

/// Which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize, strum::EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum TraceKind {
    /// One order, from its request to the release of the lock.
    Order,
    /// The write of the first order is held until the second one is answered.
    Holder,
}

/// A trace.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// Counts the traces from 1.
    pub number: usize,
    /// Which.
    pub kind: TraceKind,
    /// How stock was guarded.
    pub strategy: Strategy,
    /// The SKU, which was on sale for this trace only.
    pub sku: String,
    /// How many lock nodes the stack has; 0 if that is not known.
    pub nodes: usize,
    /// Units in stock at the beginning.
    pub stock: u64,
    /// Units reserved or sold in the end.
    pub sold: i64,
    /// Units sold beyond stock.
    pub oversold: i64,
    /// The orders, as their customers saw them.
    pub orders: Vec<PlacedOrder>,
    /// Every recorded message, by the time at which it was sent.
    pub messages: Vec<SentMessage>,
    /// The write that was held.
    pub held: Option<Held>,
    /// The rows of the ledger, the refusals, and the row of stock in the end.
    pub rows: Value,
}

/// An order as its customer saw it. Times are Unix microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct PlacedOrder {
    /// `customer A`.
    pub customer: String,
    /// The replica that was asked.
    pub replica: String,
    /// The request.
    pub request: String,
    /// Status and body; absent without an answer.
    pub answer: Option<String>,
    /// When it was sent.
    pub sent_us: i128,
    /// When it was answered, or given up.
    pub answered_us: i128,
}

/// A message and who sent it.
#[derive(Debug, Clone, Serialize)]
pub struct SentMessage {
    /// Name of the sender.
    pub from: String,
    /// The message, its receiver by name.
    #[serde(flatten)]
    pub message: Message,
}

/// The write that was held.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// The replica that held it.
    pub replica: String,
    /// The token that it carried.
    pub token: Option<i64>,
    /// When it was held, in Unix microseconds.
    pub from_us: i128,
    /// When it went on.
    pub until_us: Option<i128>,
    /// `written`, or the code of the refusal.
    pub outcome: Option<String>,
}

/// Places the orders of a trace and collects what was recorded.
#[derive(Debug)]
pub(super) struct Tracer<'a> {
    pub(super) environment: &'a Environment<'a>,
    pub(super) number: usize,
    pub(super) kind: TraceKind,
    pub(super) strategy: Strategy,
}

impl Tracer<'_> {
    /// Has it happen.
    ///
    /// # Errors
    /// A replica or a database does not answer, or its lab is off.
    pub(super) async fn trace(&self) -> anyhow::Result<Trace> {
        let environment = self.environment;
        let sku = format!("{}-trace{}", environment.prefix, self.number);
        environment.inventory.put_stock(&sku, STOCK).await?;
        for lab in [&environment.orders, &environment.inventory] {
            try_join_all((0..lab.count()).map(|replica| lab.record(replica, &sku))).await?;
        }
        let (orders, held) = match self.kind {
            TraceKind::Order => (vec![self.place("A", 0, &sku).await?], None),
            TraceKind::Holder => self.around_a_held_write(&sku).await?,
        };
        let messages = self.messages(&sku).await?;
        for lab in [&environment.orders, &environment.inventory] {
            try_join_all((0..lab.count()).map(|replica| lab.end_recording(replica, &sku))).await?;
        }
        let stats = environment.auditor.sku_stats(std::slice::from_ref(&sku)).await?;
        let rows = environment.auditor.rows_of(&sku).await?;
        let (nodes, sold, oversold) = (environment.target.redis.len(), stats.sold, stats.oversold);
        let Self { number, kind, strategy, .. } = *self;
        Ok(Trace { number, kind, strategy, stock: STOCK, sold, oversold, orders, messages, held, rows, sku, nodes })
    }

    /// A's write is held; B orders, waits for the lock until A's lease has ended, and is answered; A's write goes on.
    async fn around_a_held_write(&self, sku: &str) -> anyhow::Result<(Vec<PlacedOrder>, Option<Held>)> {
        let inventory = &self.environment.inventory;
        let (replicas, skus) = (|| 0..inventory.count(), [sku.to_owned()]);
        try_join_all(replicas().map(|replica| inventory.arm_any(replica, &skus, Some(HELD_AT_MOST)))).await?;
        let held_until_answered = async {
            let met = timeout(MET_WITHIN, held_write(inventory, replicas(), &skus)).await;
            // Whichever replica did not meet it lets the next write pass.
            try_join_all(replicas().map(|replica| inventory.disarm(replica))).await?;
            let (replica, id) = met.context("no write met the pause")??;
            let second = self.place("B", 1, sku).await;
            inventory.resume_held(replica).await?;
            anyhow::Ok((second?, replica, id))
        };
        let (first, second) = tokio::join!(self.place("A", 0, sku), held_until_answered);
        let (second, replica, id) = second?;
        let ended = async {
            loop {
                let request = inventory.paused_requests(replica).await?.into_iter().find(|request| request.id == id);
                if let Some(request) = request.filter(|request| request.outcome.is_some()) {
                    return anyhow::Ok(request);
                }
                sleep(POLL).await;
            }
        };
        let request = timeout(ANSWERED_WITHIN, ended).await.context("the held write did not end")??;
        Ok((vec![first?, second], Some(held(replica, &request))))
    }

    async fn place(&self, customer: &str, turn: usize, sku: &str) -> anyhow::Result<PlacedOrder> {
        let orders = &self.environment.target.orders;
        let replica = turn % orders.len();
        let body = json!({ "customer": customer, "lines": [{ "sku": sku, "quantity": 1 }] });
        let key = format!("{sku}-{customer}");
        let request =
            format!("POST /v1/orders\nIdempotency-Key: {key}\nLock-Strategy: {}\n{body}", self.strategy.name());
        let http = Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build()?;
        let order = http.post(format!("{}/v1/orders", orders[replica])).json(&body);
        let sent_us = now_us();
        let answered = order.header("idempotency-key", key).header("lock-strategy", self.strategy.name()).send().await;
        let answer = match answered {
            Ok(answer) => {
                let status = answer.status();
                Some(format!("{status}\n{}", answer.text().await.unwrap_or_default()))
            }
            Err(_no_answer) => None,
        };
        let (customer, replica) = (format!("customer {customer}"), format!("order-{}", replica + 1));
        Ok(PlacedOrder { customer, replica, request, answer, sent_us, answered_us: now_us() })
    }

    /// Everything that was recorded, once nothing more is.
    async fn messages(&self, sku: &str) -> anyhow::Result<Vec<SentMessage>> {
        let ends = Instant::now() + QUIET_WITHIN;
        let (mut shown, mut changed) = (self.recorded(sku).await?, Instant::now());
        while changed.elapsed() < QUIET && Instant::now() < ends {
            sleep(POLL).await;
            let now = self.recorded(sku).await?;
            if now.len() != shown.len() {
                changed = Instant::now();
            }
            shown = now;
        }
        shown.sort_by_key(|shown| shown.message.sent_us);
        Ok(shown)
    }

    async fn recorded(&self, sku: &str) -> anyhow::Result<Vec<SentMessage>> {
        let (environment, names) = (self.environment, self.names());
        let of = async |kind: &str, lab: &LabClient| {
            let recorded = (0..lab.count()).map(async |replica| {
                let messages = lab.messages(replica, sku).await?.into_iter().map(|mut message| {
                    let known = names.iter().find(|(address, _)| *address == message.to);
                    message.to = known.map_or(message.to, |(_, name)| name.clone());
                    SentMessage { from: format!("{kind}-{}", replica + 1), message }
                });
                anyhow::Ok(messages.collect::<Vec<_>>())
            });
            try_join_all(recorded).await
        };
        let recorded = [of("order", &environment.orders).await?, of("inventory", &environment.inventory).await?];
        Ok(recorded.into_iter().flatten().flatten().collect())
    }

    /// What the services call each other, and what the page calls them.
    fn names(&self) -> Vec<(String, String)> {
        let target = self.environment.target;
        let proxies = self.environment.servers.and_then(|servers| servers.proxies.as_ref());
        let before_inventory = proxies.map(|proxies| {
            let url = |proxy: &testbed::Proxy| format!("http://{}", proxy.addr());
            proxies.inventory.iter().map(url).collect()
        });
        let inventory = before_inventory.unwrap_or_else(|| target.inventory.clone());
        let redis = target.redis.iter().map(|url| url.trim_start_matches("redis://").to_owned());
        let named = |kind: &str, addresses: Vec<String>| -> Vec<_> {
            (1..).zip(addresses).map(|(n, address)| (address, format!("{kind}-{n}"))).collect()
        };
        [named("inventory", inventory), named("redis", redis.collect())].concat()
    }
}

/// Waits until one of these replicas holds a write of one of these SKUs; returns the replica and the number of the write.
///
/// # Errors
/// The lab is off, or a replica did not answer.
pub(super) async fn held_write(
    inventory: &LabClient,
    replicas: Range<usize>,
    skus: &[String],
) -> anyhow::Result<(usize, usize)> {
    loop {
        for replica in replicas.clone() {
            let requests = inventory.paused_requests(replica).await?;
            let held = |request: &&PausedRequest| skus.contains(&request.sku) && request.resumed_at.is_none();
            if let Some(request) = requests.iter().find(held) {
                return Ok((replica, request.id));
            }
        }
        sleep(POLL).await;
    }
}

fn held(replica: usize, request: &PausedRequest) -> Held {
    Held {
        replica: format!("inventory-{}", replica + 1),
        token: request.fencing_token,
        from_us: micros(request.paused_at),
        until_us: request.resumed_at.map(micros),
        outcome: request.outcome.as_ref().map(ToString::to_string),
    }
}

fn now_us() -> i128 {
    micros(OffsetDateTime::now_utc())
}

fn micros(at: OffsetDateTime) -> i128 {
    at.unix_timestamp_nanos() / 1_000
}
