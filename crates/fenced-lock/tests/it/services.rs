//! The behaviour of etcd, ZooKeeper and Postgres alone, and their restarts.

use std::num::NonZeroUsize;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client, GetOptions};
use fenced_lock::{
    AdvisoryDatabase, EtcdEndpoints, LockError, Locks, Options, ReleaseOutcome, Wait, ZookeeperEnsemble,
};
use sqlx::{Connection as _, PgConnection};
use testbed::{Etcd, Mode, Postgres, PostgresOptions, Proxy, TestbedError, Zookeeper};
use tokio::time::Instant;

use crate::fixtures::{Fixture, OneEtcd, OnePostgres, OneZookeeper};
use crate::support::{
    assert_contended, eventually, granted, granted_in_time, lease, long_lease, long_wait, node_timeout, resource, token,
};

fn long_timeout() -> Options {
    Options::default().with_node_timeout(node_timeout(5_000))
}

#[test]
fn addresses_of_something_else_are_refused_and_passwords_never_shown() {
    for address in ["", "https://a:2379", "etcd://a:2379", "a", "http://lock:hunter2@"] {
        let refused = EtcdEndpoints::parse(address).expect_err(address);
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
    for address in ["", "a", "a:b", "zk://a:2181", "lock:hunter2@a:2181"] {
        let refused = ZookeeperEnsemble::parse(address).expect_err(address);
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
    for address in ["", "mysql://a/b", "host=a password=hunter2"] {
        AdvisoryDatabase::parse(address).expect_err(address);
    }
    let etcd = EtcdEndpoints::parse("http://lock:hunter2@a, http://b:1").expect("addresses");
    assert_eq!(etcd.to_string(), "http://a:2379,http://b:1");
    let database = AdvisoryDatabase::parse("postgres://lock:hunter2@a:1/locks").expect("an address");
    assert_eq!(database.to_string(), "postgres://a:1/locks");
    assert!(!format!("{etcd:?} {database:?}").contains("hunter2"));
    assert!(ZookeeperEnsemble::parse("a:2181,b:2181/locks").is_ok());
}

/// For backends whose queue entries the fixture can count.
async fn clients_are_served_in_arrival_order<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let holder = granted(&backend.client(), &sku, long_lease()).await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..4 {
        let (client, served, sku) = (backend.client(), served.clone(), sku.clone());
        tokio::spawn(async move {
            let grant = granted_in_time(&client, &sku, long_lease()).await;
            served.send(number).expect("the test receives");
            grant.release().await.expect("an answer");
        });
        let (sku, backend) = (backend.resource("sku:1"), &backend);
        eventually("the waiter is queued", async || backend.remaining_entries(&sku).await.len() == number + 2).await;
    }
    drop(served);
    holder.release().await.expect("an answer");
    let mut numbers = Vec::new();
    while let Some(number) = order.recv().await {
        numbers.push(number);
    }
    assert_eq!(numbers, [0, 1, 2, 3]);
}

/// The waiter has neither tasks nor connections any more, only its queue entry at the server.
async fn a_waiter_that_died_does_not_hold_up_the_queue<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let holder = granted(&backend.client(), &sku, long_lease()).await;
    let (dying, wanted) = (backend.client(), sku.clone());
    let (kill, killed) = std::sync::mpsc::channel::<()>();
    let died = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        std::mem::forget(runtime.spawn(async move { dying.try_lock(&wanted, long_wait(), long_lease()).await }));
        killed.recv().expect("the test sends");
        runtime.shutdown_background();
    });
    eventually("the waiter is queued", async || backend.remaining_entries(&sku).await.len() == 2).await;
    kill.send(()).expect("the waiting thread");
    tokio::task::spawn_blocking(|| died.join()).await.expect("no panic").expect("no panic");
    holder.release().await.expect("an answer");
    granted_in_time(&backend.client(), &sku, long_lease()).await.release().await.expect("an answer");
}

macro_rules! with_queues {
    ($($backend:ident: $fixture:ty,)*) => {
        $(
            mod $backend {
                #[tokio::test]
                async fn clients_are_served_in_arrival_order() {
                    super::clients_are_served_in_arrival_order::<$fixture>().await;
                }

                #[tokio::test]
                async fn a_waiter_that_died_does_not_hold_up_the_queue() {
                    super::a_waiter_that_died_does_not_hold_up_the_queue::<$fixture>().await;
                }
            }
        )*
    };
}

with_queues! {
    etcd_queue: crate::fixtures::OneEtcd,
    zookeeper_queue: crate::fixtures::OneZookeeper,
    postgres_queue: crate::fixtures::OnePostgres,
}

#[tokio::test]
async fn etcd_rounds_a_lease_up_and_the_grant_reports_it() {
    let backend = OneEtcd::start().await;
    let grant = granted(&backend.client(), &backend.resource("sku:1"), lease(1_500)).await;
    assert_eq!(grant.kept_for(), Duration::from_secs(2));
    assert!(
        grant.valid_until() < Instant::now() + Duration::from_millis(1_500),
        "only the requested lease can be relied upon"
    );
    grant.extend(lease(2_500)).await.expect("still held");
    assert_eq!(grant.kept_for(), Duration::from_secs(3));
}

#[tokio::test]
async fn a_waiter_that_lost_its_queue_entry_in_etcd_is_not_granted() {
    // A waiter that switches to a longer lease when it is granted the lock, and one that waits under its own lease.
    for wanted in [long_lease(), lease(9_000)] {
        let backend = OneEtcd::start().await;
        let sku = backend.resource("sku:1");
        let holder = granted(&backend.client(), &sku, long_lease()).await;
        let (client, name) = (backend.client(), sku.clone());
        let waiting = tokio::spawn(async move { client.try_lock(&name, long_wait(), wanted).await });
        eventually("the waiter is queued", async || backend.remaining_entries(&sku).await.len() == 2).await;
        let url = format!("http://{}", backend.addrs()[0]);
        let mut etcd = etcd_client::Client::connect([url], None).await.expect("a connection");
        let folder = format!("fenced-lock/{sku}/");
        let entries = etcd.get(folder, Some(GetOptions::new().with_prefix())).await.expect("an answer");
        let last = entries.kvs().iter().max_by_key(|entry| entry.create_revision()).expect("a waiter");
        etcd.lease_revoke(last.lease()).await.expect("the lease exists");
        holder.release().await.expect("an answer");
        let error = waiting.await.expect("no panic").expect_err("its queue entry is gone");
        assert!(matches!(error, LockError::Unavailable { .. }) && error.retryable(), "{error}");
    }
}

#[tokio::test]
async fn tokens_of_etcd_grow_across_a_crash_and_locks_survive_it() {
    let mut server = Etcd::start().await.expect("a server");
    let locks = Locks::etcd(EtcdEndpoints::parse(&server.url()).expect("an address"), long_timeout());
    tokens_grow_across(&locks, Box::pin(server.restart())).await;
}

#[tokio::test]
async fn tokens_of_zookeeper_grow_across_a_crash_and_locks_survive_it() {
    let mut server = Zookeeper::start().await.expect("a server");
    let ensemble = ZookeeperEnsemble::parse(&server.url()).expect("an address").with_session(lease(30_000));
    let locks = Locks::zookeeper(ensemble, long_timeout());
    tokens_grow_across(&locks, Box::pin(server.restart())).await;
}

async fn tokens_grow_across(locks: &Locks, crash: impl Future<Output = Result<(), TestbedError>>) {
    let (kept, freed) = (resource("sku:1"), resource("sku:2"));
    let holder = granted(locks, &kept, long_lease()).await;
    let before = granted(locks, &freed, long_lease()).await;
    let last = token(&before);
    before.release().await.expect("an answer");
    crash.await.expect("the server restarts");
    eventually("the server is used again", async || locks.ready().await.is_ok()).await;
    assert!(token(&granted_in_time(locks, &freed, long_lease()).await) > last);
    assert_contended(locks, &kept).await;
    assert_eq!(holder.release().await.expect("an answer"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn etcd_out_of_space_grants_nothing_and_is_not_ready_until_it_has_space_again() {
    let server = Etcd::start().await.expect("a server");
    let locks = Locks::etcd(EtcdEndpoints::parse(&server.url()).expect("an address"), long_timeout());
    let sku = resource("sku:1");
    locks.ready().await.expect("ready");
    let mut admin = Client::connect([server.url()], None).await.expect("a connection");
    // What etcd does by itself when its database reaches --quota-backend-bytes.
    admin.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.expect("an alarm");
    eventually("it is not ready", async || locks.ready().await.is_err()).await;
    let error = locks.try_lock(&sku, Wait::none(), long_lease()).await.expect_err("nothing is granted");
    assert!(error.retryable(), "{error}");
    admin.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await.expect("no alarm");
    eventually("it is ready again", async || locks.ready().await.is_ok()).await;
    granted(&locks, &sku, long_lease()).await.release().await.expect("an answer");
}

#[tokio::test]
async fn a_standby_of_postgres_grants_nothing_and_is_not_ready_until_it_is_promoted() {
    let mut server = Postgres::start_in(Mode::Native, PostgresOptions { fsync: false }).await.expect("a server");
    server.restart_as_standby().await.expect("a standby");
    let database = AdvisoryDatabase::parse(&server.url("postgres")).expect("an address");
    let locks = Locks::postgres_advisory(database, long_timeout());
    let sku = resource("sku:1");
    locks.ready().await.expect_err("a standby");
    let error = locks.try_lock(&sku, Wait::none(), long_lease()).await.expect_err("nothing is granted");
    assert!(error.retryable() && format!("{error:?}").contains("connect to the primary"), "{error:?}");
    let mut admin = PgConnection::connect(&server.url("postgres")).await.expect("a connection");
    let promoted: bool = sqlx::query_scalar("select pg_promote()").fetch_one(&mut admin).await.expect("an answer");
    assert!(promoted);
    locks.ready().await.expect("a primary");
    granted(&locks, &sku, long_lease()).await.release().await.expect("an answer");
}

#[tokio::test]
async fn zookeeper_keeps_a_lock_for_the_session_and_the_grant_reports_it() {
    let backend = OneZookeeper::start().await;
    let (short, held) = (backend.resource("sku:1"), backend.resource("sku:2"));
    let client = backend.client();
    assert_eq!(granted(&client, &short, lease(200)).await.kept_for(), Duration::from_secs(4));
    let grant = granted(&client, &held, long_lease()).await;
    assert_eq!(grant.kept_for(), long_lease().get());
    let first_end = grant.valid_until();
    assert!(first_end < Instant::now() + Duration::from_secs(4), "a paused client must not rely on a longer time");
    eventually("the session is kept", async || grant.valid_until() > first_end + Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_lost_session_of_zookeeper_loses_the_lock_and_the_client_gets_another() {
    let backend = OneZookeeper::start().await;
    let sku = backend.resource("sku:1");
    let proxy = Proxy::start(backend.addrs()[0]).await.expect("a proxy");
    let cut_off = backend.client_at(&[proxy.addr()], long_timeout());
    let grant = granted_in_time(&cut_off, &sku, long_lease()).await;
    proxy.cut();
    grant.lost().await;
    let next = granted_in_time(&backend.client(), &sku, long_lease()).await;
    assert!(token(&next) > token(&grant));
    proxy.heal();
    eventually("the holder finds the lock lost", async || {
        matches!(grant.extend(long_lease()).await, Err(LockError::Lost { .. }))
    })
    .await;
    assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::NotHeld);
    assert_contended(&cut_off, &sku).await;
    assert_eq!(next.release().await.expect("an answer"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn a_session_that_postgres_ended_is_lost_at_the_next_extend() {
    let backend = OnePostgres::start().await;
    let sku = backend.resource("sku:1");
    let [extends, releases] = ["sku:1", "sku:2"].map(|name| backend.resource(name));
    let client = backend.client();
    let (one, other) =
        (granted(&client, &extends, long_lease()).await, granted(&client, &releases, long_lease()).await);
    let mut admin = PgConnection::connect(&format!("postgres://postgres@{}/postgres", backend.addrs()[0])).await;
    let admin = admin.as_mut().expect("a connection");
    for owner in [one.owner(), other.owner()] {
        let end = "select pg_terminate_backend(pid, 30000) from pg_stat_activity where application_name = $1";
        let ended: bool = sqlx::query_scalar(end).bind(owner).fetch_one(&mut *admin).await.expect("one session");
        assert!(ended);
    }
    assert!(matches!(one.extend(long_lease()).await, Err(LockError::Lost { .. })));
    one.lost().await;
    assert_eq!(one.release().await.expect("an answer"), ReleaseOutcome::NotHeld);
    assert_eq!(other.release().await.expect("an answer"), ReleaseOutcome::NotHeld);
    granted(&client, &sku, long_lease()).await.release().await.expect("an answer");
}

#[tokio::test]
async fn sessions_with_postgres_have_a_limit() {
    let backend = OnePostgres::start().await;
    let address = format!("postgres://postgres@{}/postgres", backend.addrs()[0]);
    let database = AdvisoryDatabase::parse(&address).expect("an address").with_max_sessions(NonZeroUsize::MIN);
    let locks = Locks::postgres_advisory(database, Options::default().with_node_timeout(node_timeout(500)));
    eventually("the backend answers in time", async || locks.ready().await.is_ok()).await;
    let holder = granted_in_time(&locks, &backend.resource("sku:1"), long_lease()).await;
    let error =
        locks.try_lock(&backend.resource("sku:2"), Wait::none(), long_lease()).await.expect_err("no session left");
    assert!(matches!(error, LockError::Unavailable { .. }) && error.retryable(), "{error}");
    holder.release().await.expect("an answer");
    granted_in_time(&locks, &backend.resource("sku:2"), long_lease()).await.release().await.expect("an answer");
}
