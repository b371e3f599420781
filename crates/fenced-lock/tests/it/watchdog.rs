//! The watchdog: extending a lock while work goes on.

use std::time::Duration;

use fenced_lock::ReleaseOutcome;
use tokio::sync::oneshot;

use crate::support::{assert_contended, eventually, granted, keys, lease, nodes, redlock, resource};

#[tokio::test]
async fn work_that_outlasts_its_lease_keeps_the_lock() {
    let nodes = nodes(3).await;
    let short = lease(2_000);
    let grant = granted(&redlock(&nodes), &resource("sku:1"), short).await;
    let others = redlock(&nodes);
    let work = async {
        let first_end = grant.valid_until();
        while tokio::time::Instant::now() < first_end + short.get() * 2 {
            assert_contended(&others, &resource("sku:1")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        "done"
    };
    assert_eq!(grant.keep_while(short, work).await, Some("done"));
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn work_whose_lock_is_lost_is_cancelled() {
    let nodes = nodes(3).await;
    let grant = granted(&redlock(&nodes), &resource("sku:1"), lease(10_000)).await;
    eventually("the lock is on all nodes", async || keys(&nodes, "sku:1").await.len() == 3).await;
    for node in &nodes[..2] {
        node.command(&["DEL", "lock:{sku:1}"]).await.expect("a deleted key");
    }
    let (alive, dropped) = oneshot::channel::<()>();
    let work = async move {
        let _alive = alive;
        std::future::pending::<()>().await;
    };
    assert_eq!(grant.keep_while(lease(10_000), work).await, None);
    assert!(dropped.await.is_err(), "the work is cancelled");
}

#[tokio::test]
async fn a_short_loss_of_the_quorum_is_survived() {
    let nodes = nodes(3).await;
    let long_enough = lease(5_000);
    let grant = granted(&redlock(&nodes), &resource("sku:1"), long_enough).await;
    nodes[0].pause();
    nodes[1].pause();
    let first_end = grant.valid_until();
    let work = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nodes[0].resume();
        nodes[1].resume();
        eventually("the lock is extended", async || grant.valid_until() > first_end).await;
    };
    assert_eq!(grant.keep_while(long_enough, work).await, Some(()));
}
