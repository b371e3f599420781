//! What remains on the servers when a program closes its locks and ends.

use std::time::Duration;

use fenced_lock::{CleanupIncomplete, LockError, Locks, Wait};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::fixtures::Fixture;
use crate::support::{
    TEST_TIMEOUT, connected, eventually, granted, keys, long_lease, long_wait, nodes, redlock, resource,
};

/// How often the program of the test runs. One run without `close` leaves keys on every node.
const RUNS: usize = 20;

pub(crate) async fn closed_locks_grant_nothing_and_leave_nothing_behind<F: Fixture>() {
    let backend = F::start().await;
    let (sku, taken) = (backend.resource("sku:1"), backend.resource("sku:2"));
    let client = backend.client();
    let held = granted(&client, &taken, long_lease()).await;
    let waiting = tokio::spawn({
        let (client, taken) = (client.clone(), taken.clone());
        async move { client.try_lock(&taken, long_wait(), long_lease()).await }
    });
    drop(granted(&client, &sku, long_lease()).await);
    client.close(TEST_TIMEOUT).await.expect("all clean-up ends");
    if !F::ENDS_WITH_SOCKET {
        assert_eq!(backend.remaining_entries(&sku).await, [""; 0]);
    }
    eventually("the server has noticed", async || backend.remaining_entries(&sku).await.is_empty()).await;
    let refused = client.try_lock(&sku, Wait::none(), long_lease()).await;
    assert!(matches!(refused, Err(LockError::Closed)), "{refused:?}");
    let ended = waiting.await.expect("no panic");
    assert!(matches!(ended, Err(LockError::Closed)), "a call that still waited: {ended:?}");
    held.extend(long_lease()).await.expect("what is held stays held");
    drop(held);
    client.close(TEST_TIMEOUT).await.expect("all clean-up ends");
    eventually("nothing is left behind", async || backend.remaining_entries(&taken).await.is_empty()).await;
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_program_that_drops_a_grant_closes_and_ends_at_once_leaves_no_key_on_any_node() {
    let servers = runtime();
    let nodes = servers.block_on(nodes(5));
    for run in 0..RUNS {
        let program = runtime();
        program.block_on(async {
            let locks = redlock(&nodes);
            drop(granted(&locks, &resource("sku:1"), long_lease()).await);
            locks.close(TEST_TIMEOUT).await.expect("all clean-up ends");
        });
        program.shutdown_background();
        assert_eq!(servers.block_on(keys(&nodes, "sku:1")), [""; 0], "run {run}");
    }
    let _inside = servers.enter();
    drop(nodes);
}

#[tokio::test]
async fn close_says_how_much_clean_up_did_not_finish_in_time() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    connected(&locks, &nodes).await;
    let sku = resource("sku:1");
    let grant = granted(&locks, &sku, long_lease()).await;
    nodes[0].pause();
    drop(grant);
    let (started, within) = (Instant::now(), Duration::from_millis(300));
    assert!(matches!(locks.close(within).await, Err(CleanupIncomplete { left: 1.. })));
    assert!(started.elapsed() >= within && started.elapsed() < TEST_TIMEOUT);
    assert_eq!(keys(&nodes[1..], "sku:1").await, [""; 0], "the other nodes are not delayed");
    nodes[0].resume();
    locks.close(TEST_TIMEOUT).await.expect("the rest of it ends once the node answers");
    assert_eq!(keys(&nodes, "sku:1").await, [""; 0]);
}

#[tokio::test]
async fn locks_that_lock_nothing_close_at_once() {
    let locks = Locks::off();
    locks.close(Duration::ZERO).await.expect("nothing to clean up");
    let refused = locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await;
    assert!(matches!(refused, Err(LockError::Closed)), "{refused:?}");
}
