//! Cancellations and restocks acquire the lock that orders acquire, and write with its token. These tests hold that lock
//! as an order would: with the library, on the same nodes.

use std::time::Duration;

use fenced_lock::{Lease, Locks, Nodes, Options, Resource, Wait};
use testbed::RedisNode;
use uuid::Uuid;

use crate::service::Inventory;

/// Three lock nodes, an inventory service that uses them, and the locks as an order uses them.
struct Fixture {
    redis: Vec<RedisNode>,
    locks: Locks,
    inventory: Inventory,
}

impl Fixture {
    async fn start(flags: &[&str]) -> Self {
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

    /// Locks, claims, reserves one unit and unlocks, as an order does; returns the reservation's id.
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
async fn a_cancellation_carries_the_next_token_of_the_lock() {
    let fixture = Fixture::start(&[]).await;
    fixture.inventory.put("a", 3).await.ok();
    let held = fixture.ordered("a").await;
    let before = fixture.fence("a").await;
    fixture.inventory.transition(&held, "cancel").await.ok();
    assert_eq!(fixture.fence("a").await, before + 1, "the next value of the counter");
    let next = fixture.lock("a").await.token().expect("a token").get();
    assert!(next > u64::try_from(before + 1).expect("positive"), "orders get newer tokens");
    assert_eq!(fixture.inventory.available("a").await, 3);
    fixture.inventory.ledger("a").await;
}

#[tokio::test]
async fn lock_timeout_is_503_while_an_order_holds_the_lock_and_stock_does_not_change() {
    let fixture = Fixture::start(&["--lock-wait-ms=50"]).await;
    fixture.inventory.put("a", 3).await.ok();
    let held = fixture.ordered("a").await;
    let grant = fixture.lock("a").await;
    for refused in [fixture.inventory.transition(&held, "cancel").await, fixture.inventory.put("a", 9).await] {
        refused.is(503, "lock_timeout");
        assert_eq!((refused.body["retryable"].as_bool(), refused.retry_after.as_str()), (Some(true), "1"));
    }
    assert_eq!(fixture.inventory.available("a").await, 2);
    grant.release().await.expect("released");
    fixture.inventory.transition(&held, "cancel").await.ok();
    assert_eq!(fixture.inventory.available("a").await, 3);
}

#[tokio::test]
async fn a_cancellation_waits_until_the_order_releases_the_lock() {
    let fixture = Fixture::start(&["--lock-wait-ms=60000"]).await;
    fixture.inventory.put("a", 3).await.ok();
    let held = fixture.ordered("a").await;
    let grant = fixture.lock("a").await;
    let cancel = fixture.inventory.transition(&held, "cancel");
    let order = async {
        let token = i64::try_from(grant.token().expect("a token").get()).expect("in range");
        fixture.inventory.claim(&[("a", token)]).await.ok();
        fixture.inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("a", Some(token), 2)]).await.ok();
        grant.release().await.expect("released");
    };
    let (cancelled, ()) = tokio::join!(cancel, order);
    assert_eq!(cancelled.ok()["status"], "cancelled");
    assert_eq!((fixture.inventory.available("a").await, fixture.inventory.sold("a").await), (2, 1));
    fixture.inventory.ledger("a").await;
}

#[tokio::test]
async fn lock_quorum_unavailable_is_503_and_stock_does_not_change() {
    let mut fixture = Fixture::start(&[]).await;
    fixture.inventory.put("a", 3).await.ok();
    let held = fixture.ordered("a").await;
    for node in &mut fixture.redis[..2] {
        node.kill().await;
    }
    for refused in [fixture.inventory.transition(&held, "cancel").await, fixture.inventory.put("a", 9).await] {
        refused.is(503, "lock_quorum_unavailable");
        assert_eq!((refused.body["retryable"].as_bool(), refused.retry_after.as_str()), (Some(true), "1"));
    }
    assert_eq!((fixture.inventory.available("a").await, fixture.inventory.sold("a").await), (2, 1));
    fixture.redis[0].restart().await.expect("the node is back");
    loop {
        let again = fixture.inventory.transition(&held, "cancel").await;
        if again.status == 200 {
            break;
        }
        again.is(503, "lock_quorum_unavailable"); // until the client has reconnected
    }
    assert_eq!(fixture.inventory.available("a").await, 3);
}

#[tokio::test]
async fn counters_that_fell_behind_are_raised_and_the_change_succeeds() {
    let fixture = Fixture::start(&[]).await;
    fixture.inventory.put("a", 3).await.ok();
    let held = fixture.ordered("a").await;
    // As after all nodes lost their memory: the storage has registered a far higher token.
    fixture.inventory.claim(&[("a", 5_000)]).await.ok();
    fixture.inventory.transition(&held, "cancel").await.ok();
    assert_eq!((fixture.inventory.available("a").await, fixture.fence("a").await), (3, 5_001));
    fixture.inventory.claim(&[("a", 9_000)]).await.ok();
    fixture.inventory.put("a", 7).await.ok();
    assert_eq!((fixture.inventory.available("a").await, fixture.fence("a").await), (7, 9_001));
}

#[tokio::test]
async fn a_sku_whose_tokens_are_exhausted_is_guarded_by_the_fence_alone() {
    let fixture = Fixture::start(&[]).await;
    fixture.inventory.put("a", 3).await.ok();
    fixture.inventory.claim(&[("a", inventory::domain::stock::MAX_TOKEN)]).await.ok();
    fixture.inventory.put("a", 5).await.ok();
    assert_eq!(
        (fixture.inventory.available("a").await, fixture.fence("a").await),
        (5, inventory::domain::stock::MAX_TOKEN + 1)
    );
}

#[tokio::test]
async fn skus_of_another_source_are_guarded_by_the_fence_alone() {
    let fixture = Fixture::start(&[]).await;
    fixture.inventory.put("a", 3).await.ok();
    let held = fixture.inventory.hold(&["a"]).await;
    fixture.inventory.run_sql("select stock_claim('a', 70, 'etcd')").await;
    fixture.inventory.transition(&held, "cancel").await.ok();
    assert_eq!((fixture.inventory.available("a").await, fixture.fence("a").await), (3, 71));
    let source = "select count(*) from stock where token_source = 'etcd'";
    assert_eq!(fixture.inventory.count(source).await, 1, "the SKU is still bound to its source");
}

#[tokio::test]
async fn reservations_with_the_same_skus_in_opposite_order_are_cancelled_without_deadlock() {
    let fixture = Fixture::start(&["--lock-wait-ms=60000"]).await;
    for sku in ["a", "b"] {
        fixture.inventory.put(sku, 50).await.ok();
        fixture.ordered(sku).await;
    }
    let mut held = Vec::new();
    for pair in [["a", "b"], ["b", "a"]].repeat(8) {
        held.push(fixture.inventory.hold(&pair).await);
    }
    let cancels = held.iter().map(|held| fixture.inventory.transition(held, "cancel"));
    for cancelled in futures_util::future::join_all(cancels).await {
        assert_eq!(cancelled.ok()["status"], "cancelled");
    }
    for sku in ["a", "b"] {
        assert_eq!((fixture.inventory.available(sku).await, fixture.inventory.sold(sku).await), (49, 1));
        fixture.inventory.ledger(sku).await;
    }
}

#[tokio::test]
async fn a_sku_whose_lock_somebody_keeps_does_not_delay_the_expiry_of_other_skus() {
    let fixture = Fixture::start(&["--sweep-ms=100", "--pool=16"]).await;
    let inventory = &fixture.inventory;
    for sku in ["stuck", "other"] {
        inventory.put(sku, 200).await.ok();
        fixture.ordered(sku).await;
    }
    let kept = fixture.lock("stuck").await;
    for _ in 0..150 {
        inventory.hold(&["stuck"]).await;
    }
    let end_all = "set session_replication_role = replica;
                   update reservations set expires_at = now() - interval '1 hour'
                    where id in (select reservation_id from reservation_lines where sku = 'stuck')";
    inventory.run_sql(end_all).await;
    let others = "select count(*) from reservations r join reservation_lines l on l.reservation_id = r.id
                   where r.status = 'expired' and l.sku = 'other'";
    // The second one ends while the stuck SKU is known: nothing waits for its lock again.
    for (expired, limit) in [(1, 8), (2, 2)] {
        let other = inventory.hold(&["other"]).await;
        inventory.end_hold(&other).await;
        let in_time = tokio::time::timeout(Duration::from_secs(limit), inventory.until(others, expired)).await;
        in_time.unwrap_or_else(|_| panic!("hold {expired} of the other SKU was not expired within {limit} s"));
    }
    assert_eq!(inventory.available("stuck").await, 49, "its lock is held: no unit returns");
    kept.release().await.expect("released");
    let all = "select count(*) from reservations where status = 'expired'";
    let in_time = tokio::time::timeout(Duration::from_secs(15), inventory.until(all, 153)).await;
    in_time.expect("once the lock is free, the holds expire");
    assert_eq!(inventory.available("stuck").await, 200);
    inventory.ledger("stuck").await;
}

#[tokio::test]
async fn a_row_that_another_transaction_has_locked_does_not_keep_holds_of_other_skus_from_expiring() {
    let inventory = Inventory::with(&["--lab", "--sweep-ms=3600000"]).await;
    for sku in ["stock-row", "hold-row", "other"] {
        inventory.put(sku, 200).await.ok();
    }
    let (by_stock, by_hold) = (inventory.hold(&["stock-row"]).await, inventory.hold(&["hold-row"]).await);
    inventory.end_hold(&by_stock).await;
    inventory.end_hold(&by_hold).await;
    let mut locking = inventory.sql().await;
    let lock = "begin; select from stock where sku = 'stock-row' for update;
                select from reservations r join reservation_lines l on l.reservation_id = r.id
                 where l.sku = 'hold-row' for update of r";
    sqlx::raw_sql(lock).execute(&mut locking).await.expect("locks");
    let _sweeping = Inventory::on(inventory.database.clone(), &["--lab", "--sweep-ms=100"]).await;
    let expired = "select count(*) from reservations r join reservation_lines l on l.reservation_id = r.id
                    where r.status = 'expired' and l.sku = 'other'";
    for number in 1..=2 {
        let other = inventory.hold(&["other"]).await;
        inventory.end_hold(&other).await;
        let in_time = tokio::time::timeout(Duration::from_secs(9), inventory.until(expired, number)).await;
        in_time.unwrap_or_else(|_| panic!("hold {number} of the other SKU was not expired"));
    }
    sqlx::raw_sql("commit").execute(&mut locking).await.expect("unlocked");
    let all = "select count(*) from reservations where status = 'expired'";
    let in_time = tokio::time::timeout(Duration::from_secs(20), inventory.until(all, 4)).await;
    in_time.expect("once the rows are free, their holds expire");
    for sku in ["stock-row", "hold-row", "other"] {
        assert_eq!(inventory.available(sku).await, 200);
        inventory.ledger(sku).await;
    }
}
