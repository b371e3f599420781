//! Holds expire once, whichever replica sweeps; the write of a sweeper that was paused is refused.

use std::{path::PathBuf, time::Duration};

use fenced_lock::{Lease, Locks, Nodes, Options, Resource, Wait};
use serde_json::{Value, json};
use testbed::{Postgres, Process, ProcessSpec, RedisNode};
use uuid::Uuid;

use crate::service::{Answer, Inventory, answer, id_of};

const TIMEOUT: Duration = Duration::from_mins(1);
const EXPIRED: &str = "select count(*) from reservations where status = 'expired'";
const REFUSED_WRITES: &str = "select count(*) from fence_refusals where step = 'write'";

#[tokio::test]
async fn holds_expire_and_their_units_return_with_one_write_for_each_sku() {
    let inventory = Inventory::with(&["--lab", "--sweep-ms=3600000"]).await;
    for sku in ["a", "b"] {
        inventory.put(sku, 9).await.ok();
    }
    let (both, one) = (inventory.hold(&["a", "b"]).await, inventory.hold(&["a"]).await);
    let running = inventory.hold(&["a"]).await;
    let before = inventory.get("/v1/stock/a").await.ok();
    inventory.end_hold(&both).await;
    inventory.end_hold(&one).await;

    let sweeping = Inventory::on(inventory.database.clone(), &["--lab", "--sweep-ms=20"]).await;
    sweeping.until(EXPIRED, 2).await;

    let after = inventory.get("/v1/stock/a").await.ok();
    let by = |field: &str| after[field].as_i64().zip(before[field].as_i64()).map(|(after, before)| after - before);
    assert_eq!((by("available"), by("version"), by("fence")), (Some(2), Some(1), Some(1)), "summed: {after}");
    assert_eq!((inventory.available("b").await, inventory.sold("a").await), (9, 1));
    assert_eq!(inventory.get(&format!("/v1/reservations/{running}")).await.ok()["status"], "held");
    let ledger = inventory.ledger("a").await;
    assert_eq!(ledger[4..], [("expire".to_owned(), 1), ("expire".to_owned(), 1)], "one row for each reservation");
}

#[tokio::test]
async fn a_hold_that_was_confirmed_in_time_never_expires() {
    let inventory = Inventory::with(&["--lab", "--sweep-ms=20"]).await;
    inventory.put("a", 3).await.ok();
    let (confirmed, ended) = (inventory.hold(&["a"]).await, inventory.hold(&["a"]).await);
    inventory.transition(&confirmed, "confirm").await.ok();
    inventory.end_hold(&confirmed).await;
    inventory.end_hold(&ended).await;
    inventory.until(EXPIRED, 1).await;
    assert_eq!(inventory.get(&format!("/v1/reservations/{confirmed}")).await.ok()["status"], "confirmed");
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (2, 1));
}

#[tokio::test]
async fn more_holds_than_one_batch_all_expire() {
    let inventory = Inventory::with(&["--lab", "--sweep-ms=3600000"]).await;
    inventory.put("a", 9).await.ok();
    for _ in 0..7 {
        let held = inventory.hold(&["a"]).await;
        inventory.end_hold(&held).await;
    }
    let flags = ["--lab", "--sweep-ms=20", "--sweep-batch=2"];
    let sweeping = Inventory::on(inventory.database.clone(), &flags).await;
    sweeping.until(EXPIRED, 7).await;
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (9, 0));
    inventory.ledger("a").await;
}

/// A replica in a process of its own, so that it can be paused.
struct Replica {
    process: Process,
    url: String,
    http: reqwest::Client,
}

impl Replica {
    async fn start(name: &str, database: &str, nodes: &str, lease_ms: &str) -> Self {
        let envs = [
            ("INVENTORY_LISTEN", "127.0.0.1:0"),
            ("INVENTORY_DATABASE_URL", database),
            ("INVENTORY_LOCK_NODES", nodes),
            ("INVENTORY_LOCK_LEASE_MS", lease_ms),
            ("INVENTORY_SWEEP_MS", "20"),
            ("INVENTORY_LAB", "true"),
        ];
        let log = format!("{}/{name}-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let mut process = Process::spawn(ProcessSpec {
            name: name.to_owned(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_inventory")),
            args: Vec::new(),
            envs: envs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            log: PathBuf::from(log),
        })
        .expect("inventory starts");
        let url = process.first_line(TIMEOUT).await;
        let url = url.unwrap_or_else(|error| panic!("{error}\n{}", process.log_tail(20)));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { process, url, http }
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Answer {
        let call = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(inventory::config::LAB_TOKEN);
        answer(call.json(body)).await
    }

    /// Whether the replica leads, from its metrics.
    async fn leads(&self) -> bool {
        let metrics = self.http.get(format!("{}/metrics", self.url)).send().await.expect("metrics");
        metrics.text().await.expect("text").contains("inventory_sweeper_leads 1")
    }
}

/// Two replicas, one of which leads; and a hold of one unit of a SKU that takes its tokens from Redlock.
struct Pair {
    _redis: Vec<RedisNode>,
    leader: Replica,
    other: Replica,
    observer: Inventory,
    held: String,
}

impl Pair {
    async fn start() -> Self {
        let redis = testbed::redis_nodes(3).await.expect("redis nodes");
        let nodes = redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
        let database = Postgres::shared().await.fresh_database("inventory").await.expect("a database");
        let leader = Replica::start("first", &database, &nodes, "1000").await;
        while !leader.leads().await {
            tokio::task::yield_now().await;
        }
        let other = Replica::start("second", &database, &nodes, "1000").await;
        let observer = Inventory::on(database, &["--lab", "--sweep-ms=3600000"]).await;
        observer.put("a", 3).await.ok();
        let locks = Locks::redlock(Nodes::parse(&nodes).expect("nodes"), Options::default());
        let lease = Lease::new(Duration::from_mins(1)).expect("a lease");
        let grant = locks.try_lock(&Resource::new("sku:a").expect("a resource"), Wait::none(), lease).await;
        let grant = grant.expect("a quorum").expect("a free lock");
        let token = i64::try_from(grant.token().expect("a token").get()).expect("in range");
        observer.claim(&[("a", token)]).await.ok();
        let held = observer.reserve("redlock-fenced", Uuid::now_v7(), &[("a", Some(token), 3)]).await.ok();
        grant.release().await.expect("released");
        Self { _redis: redis, leader, other, observer, held: id_of(&held) }
    }
}

#[tokio::test]
async fn the_write_of_a_leader_that_was_paused_is_refused_after_it_resumes() {
    let pair = Pair::start().await;
    let arm = json!({ "sku": "a", "write": "release" });
    let armed = pair.leader.call(reqwest::Method::POST, "/v1/lab/pauses", &arm).await;
    assert_eq!(armed.status, 204, "{}", armed.body);

    // The leader acquires the lock, gets a token, and stops itself right before it writes.
    pair.observer.end_hold(&pair.held).await;
    pair.leader.process.stopped().await.expect("it stops itself");
    assert_eq!(pair.observer.count(EXPIRED).await, 0);

    // Its leases lapse; the other replica is elected and expires the hold, with a newer token.
    pair.observer.until(EXPIRED, 1).await;
    assert!(pair.other.leads().await);
    assert_eq!(pair.observer.count(REFUSED_WRITES).await, 0);

    // The first leader resumes and sends its write, which carries the older token.
    pair.leader.process.resume();
    pair.observer.until(REFUSED_WRITES, 1).await;
    assert_eq!((pair.observer.available("a").await, pair.observer.sold("a").await), (3, 0));
    let ledger = pair.observer.ledger("a").await;
    assert_eq!(ledger, [("put".into(), 3), ("reserve".into(), -1), ("expire".into(), 1)], "once");
    while pair.leader.leads().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn another_replica_takes_over_when_the_leader_stops() {
    let Pair { _redis, leader, other, observer, held } = Pair::start().await;
    assert!(!other.leads().await, "only one replica leads");
    let ended = leader.process.terminate(TIMEOUT).await.expect("it stops on SIGTERM");
    assert!(ended.success(), "{ended}");
    observer.end_hold(&held).await;
    observer.until(EXPIRED, 1).await;
    assert!(other.leads().await);
    assert_eq!(observer.available("a").await, 3);
}
