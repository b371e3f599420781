//! etcd, ZooKeeper and Postgres over connections that fall silent: neither end is told, and new connections work.
//! For the Redis nodes, see `nodes`.

use std::time::Duration;

use fenced_lock::{LockError, Locks, Options, Resource, Wait, ZookeeperEnsemble};
use testbed::Proxy;
use tokio::time::{Instant, timeout};

use crate::fixtures::{Fixture, OneEtcd, OnePostgres, OneZookeeper};
use crate::support::{TEST_TIMEOUT, eventually, granted_in_time, lease, long_lease, node_timeout};

/// How long after the first failure a lock is acquired again.
const ACQUIRED_WITHIN: Duration = Duration::from_secs(5);
/// Connections, where each lock has one of its own.
const LOCKS: usize = 6;

fn options() -> Options {
    Options::default().with_node_timeout(node_timeout(1_000))
}

/// Holds several locks at the same time and releases them, so that the client has used connections.
async fn warm_up<F: Fixture>(backend: &F, locks: &Locks) {
    let mut grants = Vec::new();
    for number in 0..LOCKS {
        grants.push(granted_in_time(locks, &backend.resource(&format!("warm-up:{number}")), long_lease()).await);
    }
    for grant in grants {
        grant.release().await.expect("an answer");
    }
}

/// Tries until the lock is granted, and releases it. Returns how often that failed, and how long after the first
/// failure the lock was granted.
async fn acquire_after_failures(locks: &Locks, resource: &Resource) -> (usize, Duration) {
    let (mut failures, mut noticed) = (0, None);
    let acquired = async {
        loop {
            match locks.try_lock(resource, Wait::none(), long_lease()).await {
                Ok(Some(grant)) => return grant.release().await.expect("an answer"),
                Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => {
                    assert!(matches!(error, LockError::Unavailable { .. }) && error.retryable(), "{error}");
                    failures += 1;
                    noticed.get_or_insert_with(Instant::now);
                }
            }
        }
    };
    timeout(TEST_TIMEOUT, acquired).await.expect("acquired again");
    (failures, noticed.map_or(Duration::ZERO, |at| at.elapsed()))
}

async fn silent_connections_are_replaced<F: Fixture>(backend: &F, proxy: &Proxy, locks: &Locks) {
    let sku = backend.resource("sku:1");
    warm_up(backend, locks).await;
    proxy.silence_established();
    let (failures, took) = acquire_after_failures(locks, &sku).await;
    println!("acquired {took:?} after the first of {failures} failure(s)");
    assert!(took < ACQUIRED_WITHIN, "{took:?}");

    // A grant that is dropped while its connections are silent is released all the same, and nothing hangs.
    let held = granted_in_time(locks, &sku, long_lease()).await;
    proxy.silence_established();
    drop(held);
    if F::NO_TOKENS.is_none() {
        eventually("the dropped grant is released", async || backend.remaining_entries(&sku).await.is_empty()).await;
    }
}

fn direct<F: Fixture>(backend: &F, proxy: &Proxy) -> Locks {
    backend.client_at(&[proxy.addr()], options())
}

/// A session that is much longer than the time after which silence is noticed.
fn long_session<F: Fixture>(_backend: &F, proxy: &Proxy) -> Locks {
    let ensemble = ZookeeperEnsemble::parse(&proxy.addr().to_string()).expect("an address");
    Locks::zookeeper(ensemble.with_session(lease(30_000)), options())
}

macro_rules! silence {
    ($($backend:ident: $fixture:ty, $client:ident,)*) => {
        $(
            mod $backend {
                use super::*;

                #[tokio::test]
                async fn silent_connections_are_replaced_within_five_seconds_of_the_first_failure() {
                    let backend = <$fixture>::start().await;
                    let proxy = Proxy::start(backend.addrs()[0]).await.expect("a proxy");
                    let locks = $client(&backend, &proxy);
                    silent_connections_are_replaced(&backend, &proxy, &locks).await;
                }
            }
        )*
    };
}

silence! {
    etcd_silence: OneEtcd, direct,
    zookeeper_silence: OneZookeeper, long_session,
    postgres_silence: OnePostgres, direct,
}

#[tokio::test]
async fn an_advisory_lock_whose_grant_never_reached_a_silent_client_ends_with_its_lease() {
    let backend = OnePostgres::start().await;
    let sku = backend.resource("sku:1");
    let proxy = Proxy::start(backend.addrs()[0]).await.expect("a proxy");
    let locks = direct(&backend, &proxy);
    warm_up(&backend, &locks).await;
    proxy.drop_to_client(true);
    let (client, wanted) = (locks.clone(), sku.clone());
    let trying = tokio::spawn(async move { client.try_lock(&wanted, Wait::none(), lease(3_000)).await });
    eventually("the server has granted it", async || backend.remaining_entries(&sku).await.len() == 1).await;
    // From here on the server is not even told that the client has closed the connection.
    proxy.silence_established();
    trying.await.expect("no panic").expect_err("no answer");
    granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
}
