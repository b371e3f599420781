//! Cancel and restock take the lock that orders take, and bring its token. These tests hold that lock as an order
//! would: with the library, on the same nodes.

use std::time::Duration;

use fenced_lock::{Lease, Locks, Nodes, Options, Resource, Wait};
use testbed::RedisNode;
use uuid::Uuid;

use crate::service::Inventory;

/// Three nodes, an inventory that knows them, and an order's view of them.
struct Shop {
    redis: Vec<RedisNode>,
    locks: Locks,
    inventory: Inventory,
}

impl Shop {
    async fn open(flags: &[&str]) -> Self {
        let redis = testbed::redis_nodes(3).await.expect("redis nodes");
        let nodes = redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
        let lock_nodes = format!("--lock-nodes={nodes}");
        let flags: Vec<_> = ["--lab", &lock_nodes].into_iter().chain(flags.iter().copied()).collect();
        let inventory = Inventory::with(&flags).await;
        let locks = Locks::redlock(Nodes::parse(&nodes).expect("nodes"), Options::default());
        Self { redis, locks, inventory }
    }

    async fn lock(&self, sku: &str) -> fenced_lock::Grant {
        let resource = Resource::new(format!("sku:{sku}")).expect("a resource");
        let lease = Lease::new(Duration::from_mins(1)).expect("a lease");
        let granted = self.locks.try_lock(&resource, Wait::up_to(Duration::from_secs(20)), lease).await;
        granted.expect("a quorum").expect("the lock is free")
    }

    /// One unit held by an order that locked, claimed, reserved and released, as they all do.
    async fn ordered(&self, sku: &str) -> String {
        let grant = self.lock(sku).await;
        let token = i64::try_from(grant.token().expect("a token").get()).expect("in range");
        let claimed = self.inventory.claim(&[(sku, token)]).await.ok();
        let seen = claimed["snapshots"][0]["available"].as_i64().expect("units");
        let held = self.inventory.reserve("redlock-fenced", Uuid::now_v7(), &[(sku, Some(token), seen)]).await.ok();
        grant.release().await.expect("released");
        crate::service::id_of(&held)
    }

    async fn fence(&self, sku: &str) -> i64 {
        self.inventory.get(&format!("/v1/stock/{sku}")).await.ok()["fence"].as_i64().expect("a fence")
    }
}

#[tokio::test]
async fn a_cancellation_brings_the_next_token_of_the_lock() {
    let shop = Shop::open(&[]).await;
    shop.inventory.put("a", 3).await.ok();
    let held = shop.ordered("a").await;
    let before = shop.fence("a").await;
    shop.inventory.transition(&held, "cancel").await.ok();
    assert_eq!(shop.fence("a").await, before + 1, "the counter's next one");
    let next = shop.lock("a").await.token().expect("a token").get();
    assert!(next > u64::try_from(before + 1).expect("positive"), "orders go on with newer ones");
    assert_eq!(shop.inventory.available("a").await, 3);
    shop.inventory.ledger("a").await;
}

#[tokio::test]
async fn lock_timeout_is_503_while_an_order_holds_the_lock_and_nothing_moves() {
    let shop = Shop::open(&["--lock-wait-ms=50"]).await;
    shop.inventory.put("a", 3).await.ok();
    let held = shop.ordered("a").await;
    let grant = shop.lock("a").await;
    for refused in [shop.inventory.transition(&held, "cancel").await, shop.inventory.put("a", 9).await] {
        refused.is(503, "lock_timeout");
        assert_eq!((refused.body["retryable"].as_bool(), refused.retry_after.as_str()), (Some(true), "1"));
    }
    assert_eq!(shop.inventory.available("a").await, 2);
    grant.release().await.expect("released");
    shop.inventory.transition(&held, "cancel").await.ok();
    assert_eq!(shop.inventory.available("a").await, 3);
}

#[tokio::test]
async fn a_cancellation_waits_for_the_order_and_goes_on_when_it_has_released() {
    let shop = Shop::open(&["--lock-wait-ms=60000"]).await;
    shop.inventory.put("a", 3).await.ok();
    let held = shop.ordered("a").await;
    let grant = shop.lock("a").await;
    let cancel = shop.inventory.transition(&held, "cancel");
    let order = async {
        let token = i64::try_from(grant.token().expect("a token").get()).expect("in range");
        shop.inventory.claim(&[("a", token)]).await.ok();
        shop.inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("a", Some(token), 2)]).await.ok();
        grant.release().await.expect("released");
    };
    let (cancelled, ()) = tokio::join!(cancel, order);
    assert_eq!(cancelled.ok()["status"], "cancelled");
    assert_eq!((shop.inventory.available("a").await, shop.inventory.sold("a").await), (2, 1));
    shop.inventory.ledger("a").await;
}

#[tokio::test]
async fn lock_quorum_unavailable_is_503_and_nothing_moves() {
    let mut shop = Shop::open(&[]).await;
    shop.inventory.put("a", 3).await.ok();
    let held = shop.ordered("a").await;
    for node in &mut shop.redis[..2] {
        node.kill().await;
    }
    for refused in [shop.inventory.transition(&held, "cancel").await, shop.inventory.put("a", 9).await] {
        refused.is(503, "lock_quorum_unavailable");
        assert_eq!((refused.body["retryable"].as_bool(), refused.retry_after.as_str()), (Some(true), "1"));
    }
    assert_eq!((shop.inventory.available("a").await, shop.inventory.sold("a").await), (2, 1));
    shop.redis[0].restart().await.expect("the node is back");
    loop {
        let again = shop.inventory.transition(&held, "cancel").await;
        if again.status == 200 {
            break;
        }
        again.is(503, "lock_quorum_unavailable"); // the connection heals in its own time
    }
    assert_eq!(shop.inventory.available("a").await, 3);
}

#[tokio::test]
async fn counters_that_fell_behind_are_raised_and_the_change_is_made() {
    let shop = Shop::open(&[]).await;
    shop.inventory.put("a", 3).await.ok();
    let held = shop.ordered("a").await;
    // As if all nodes had lost their memory since: the storage has seen far higher tokens.
    shop.inventory.claim(&[("a", 5_000)]).await.ok();
    shop.inventory.transition(&held, "cancel").await.ok();
    assert_eq!((shop.inventory.available("a").await, shop.fence("a").await), (3, 5_001));
    shop.inventory.claim(&[("a", 9_000)]).await.ok();
    shop.inventory.put("a", 7).await.ok();
    assert_eq!((shop.inventory.available("a").await, shop.fence("a").await), (7, 9_001));
}

#[tokio::test]
async fn a_sku_whose_tokens_are_used_up_is_left_to_the_fence() {
    let shop = Shop::open(&[]).await;
    shop.inventory.put("a", 3).await.ok();
    shop.inventory.claim(&[("a", inventory::domain::stock::MAX_TOKEN)]).await.ok();
    shop.inventory.put("a", 5).await.ok();
    assert_eq!(
        (shop.inventory.available("a").await, shop.fence("a").await),
        (5, inventory::domain::stock::MAX_TOKEN + 1)
    );
}

#[tokio::test]
async fn skus_of_another_source_are_left_to_the_fence() {
    let shop = Shop::open(&[]).await;
    shop.inventory.put("a", 3).await.ok();
    let held = shop.inventory.hold(&["a"]).await;
    shop.inventory.run_sql("select stock_claim('a', 70, 'etcd')").await;
    shop.inventory.transition(&held, "cancel").await.ok();
    assert_eq!((shop.inventory.available("a").await, shop.fence("a").await), (3, 71));
    let source = "select count(*) from stock where token_source = 'etcd'";
    assert_eq!(shop.inventory.count(source).await, 1, "and bound to it still");
}

#[tokio::test]
async fn reservations_that_share_skus_the_other_way_round_are_cancelled_without_deadlock() {
    let shop = Shop::open(&["--lock-wait-ms=60000"]).await;
    for sku in ["a", "b"] {
        shop.inventory.put(sku, 50).await.ok();
        shop.ordered(sku).await;
    }
    let mut held = Vec::new();
    for pair in [["a", "b"], ["b", "a"]].repeat(8) {
        held.push(shop.inventory.hold(&pair).await);
    }
    let cancels = held.iter().map(|held| shop.inventory.transition(held, "cancel"));
    for cancelled in futures_util::future::join_all(cancels).await {
        assert_eq!(cancelled.ok()["status"], "cancelled");
    }
    for sku in ["a", "b"] {
        assert_eq!((shop.inventory.available(sku).await, shop.inventory.sold(sku).await), (49, 1));
        shop.inventory.ledger(sku).await;
    }
}
