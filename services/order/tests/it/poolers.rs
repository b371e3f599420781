//! PgBouncer between the services and Postgres: session pooling works, transaction pooling is refused.

use std::time::Duration;

use fenced_lock::{AdvisoryDatabase, Lease, Locks, NodeTimeout, Options, Resource, Wait};
use postgres_pool::PoolSettings;
use sqlx::{AssertSqlSafe, PgPool};
use testbed::{ConfiguredProgram, PgBouncer, Pooling, Postgres};
use tokio::time::timeout;

use crate::{
    process,
    stack::{Reply, Stack, beside_this_test, eventually, order_body, start_inventory, through},
};

/// Far above the time that an order has here, and far below "never".
const PATIENCE: Duration = Duration::from_secs(15);

async fn pooler(pooling: Pooling) -> PgBouncer {
    PgBouncer::start(Postgres::shared().await, pooling, 4).await.expect("pgbouncer")
}

#[tokio::test]
async fn a_transaction_pooler_is_refused_at_start_with_the_setting_to_change() {
    let bouncer = pooler(Pooling::Transaction).await;
    let postgres = Postgres::shared().await;
    let (direct, other) = (postgres.fresh_database("inventory").await, postgres.fresh_database("orders").await);
    let (direct, other) = (direct.expect("a database"), other.expect("a database"));
    let pooled = through(&other, bouncer.addr());
    let needed = [
        ("ORDER_LISTEN", "127.0.0.1:0"),
        ("ORDER_INVENTORY_URLS", "http://127.0.0.1:1"),
        ("ORDER_LOCK_NODES", "redis://127.0.0.1:1"),
        ("ORDER_LAB", "true"),
        ("INVENTORY_LISTEN", "127.0.0.1:0"),
        ("INVENTORY_LAB", "true"),
    ];
    let same_database = through(&direct, bouncer.addr());
    for (service, envs) in [
        ("order", vec![("ORDER_DATABASE_URL", pooled.as_str())]),
        ("inventory", vec![("INVENTORY_DATABASE_URL", pooled.as_str())]),
        ("inventory", vec![("INVENTORY_DATABASE_URL", same_database.as_str()), ("INVENTORY_MIGRATE_URL", &direct)]),
    ] {
        let program = ConfiguredProgram { program: beside_this_test(service), required: needed.to_vec() };
        program.assert_refuses(&envs, &[service, "_DATABASE_URL", "pool_mode = session"]).await;
    }
}

#[tokio::test]
async fn behind_a_session_pooler_with_four_connections_every_order_is_answered_in_time() {
    let bouncer = pooler(Pooling::Session).await;
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    let stock_url = through(&stack.stock_url, bouncer.addr());
    let inventory = start_inventory(&stock_url, &[]).await;
    let envs = [
        ("ORDER_DATABASE_URL", through(&stack.orders_url, bouncer.addr())),
        ("ORDER_INVENTORY_URLS", inventory.url.clone()),
    ];
    let envs = envs.each_ref().map(|(name, value)| (*name, value.as_str()));
    let fitting = [("ORDER_POOL", "2")];
    for (name, more, served) in [("pooled", &fitting[..], true), ("too-few", &[], false)] {
        let envs: Vec<_> = envs.into_iter().chain(more.iter().copied()).collect();
        let mut order = process::replica(&stack, name, &envs).await;
        let place = |key: usize| {
            let request = stack.http.post(format!("{}/v1/orders", order.url)).json(&order_body("chair", 1));
            Reply::of(request.header("idempotency-key", format!("{name}-{key}")))
        };
        let replies = timeout(PATIENCE, futures_util::future::join_all((0..24).map(place))).await;
        let replies = replies.expect("every order is answered in time");
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        println!("{name}: {statuses:?}");
        assert!(statuses.iter().all(|status| [201, 503].contains(status)), "{replies:?}");
        let refused = replies.iter().find(|reply| reply.code() == "dependency_unavailable");
        assert!(if served { statuses.contains(&201) } else { refused.is_some() }, "{replies:?}");
        if let Some(refused) = refused {
            refused.asks_to_retry();
            let log = std::fs::read_to_string(&order.log).expect("a log");
            assert!(log.contains("postgres unreachable: "), "{log}");
        }
        order.process.kill().await;
    }
    let sessions = "select count(*) from pg_stat_activity
                     where datname = current_database() and application_name = 'inventory'";
    let sessions: i64 = sqlx::query_scalar(sessions).fetch_one(&stack.stock).await.expect("a count");
    assert!(sessions > 0);
}

/// Runs while another session keeps a table: the server ends the service's wait for it.
async fn is_refused_by_the_server(database: &PgPool, table: &str, request: reqwest::RequestBuilder) {
    let mut other = database.begin().await.expect("a transaction");
    let lock = AssertSqlSafe(format!("lock table {table}"));
    sqlx::raw_sql(lock).execute(&mut *other).await.expect("the table");
    let reply = timeout(PATIENCE, Reply::of(request)).await.expect("an answer in time");
    reply.is(503, "dependency_unavailable").asks_to_retry();
    // A session without a timeout would wait for as long as the table is kept, whatever its client does. Periodic work of
    // the replicas waits for the table too, again and again, so only a wait that began before the answer counts.
    let answered: String =
        sqlx::query_scalar("select clock_timestamp()::text").fetch_one(database).await.expect("the time");
    eventually("the waits for the table that began before the answer have ended", async || {
        let waiting = "select count(*) from pg_locks
                        where not granted and relation = $1::regclass and waitstart < $2::timestamptz";
        let waiting = sqlx::query_scalar::<_, i64>(waiting).bind(table).bind(&answered).fetch_one(database).await;
        waiting.expect("a count") == 0
    })
    .await;
    other.rollback().await.expect("the table is free");
}

#[tokio::test]
async fn behind_a_session_pooler_that_drops_startup_options_the_server_ends_statements_that_take_too_long() {
    let bouncer = pooler(Pooling::Session).await;
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    let settings = PoolSettings {
        application: "timeouts",
        connections: 1,
        statement_timeout: Duration::from_secs(1),
        options: &[("lock_timeout", "900ms"), ("idle_in_transaction_session_timeout", "5s")],
    };
    let pool = settings.pool(&through(&stack.orders_url, bouncer.addr())).expect("a pool");
    let shown = "select array[current_setting('statement_timeout'), current_setting('lock_timeout'),
                              current_setting('idle_in_transaction_session_timeout'), pg_backend_pid()::text]";
    let before: Vec<String> = sqlx::query_scalar(shown).fetch_one(&pool).await.expect("settings");
    assert_eq!(before[..3], ["1s", "900ms", "5s"]);
    let ended = sqlx::query("select pg_sleep(60)").execute(&pool).await.expect_err("a limit");
    assert!(ended.to_string().contains("statement timeout"), "{ended}");
    let after: Vec<String> = sqlx::query_scalar(shown).fetch_one(&pool).await.expect("settings");
    assert_eq!(before, after, "the server ended the statement, not the client its session");
    pool.close().await;

    let inventory = start_inventory(&through(&stack.stock_url, bouncer.addr()), &[]).await;
    let show = stack.http.get(format!("{}/v1/stock/chair", inventory.url)).bearer_auth(order::config::LAB_TOKEN);
    is_refused_by_the_server(&stack.stock, "stock", show).await;

    let url = through(&stack.orders_url, bouncer.addr());
    let envs = [("ORDER_DATABASE_URL", &*url), ("ORDER_POOL", "2")];
    let order = process::replica(&stack, "timeouts", &envs).await;
    let place = stack.http.post(format!("{}/v1/orders", order.url)).json(&order_body("chair", 1));
    is_refused_by_the_server(&stack.orders, "idempotency_keys", place.header("idempotency-key", "key")).await;
}

#[tokio::test]
async fn postgres_advisory_behind_a_transaction_pooler_grants_no_lock_and_says_why() {
    let bouncer = pooler(Pooling::Transaction).await;
    let resource = Resource::new("sku:chair").expect("a resource");
    let lease = Lease::new(Duration::from_secs(5)).expect("a lease");
    let options = || Options::default().with_node_timeout(NodeTimeout::new(Duration::from_secs(1)).expect("a timeout"));
    let locks = |address: std::net::SocketAddr| {
        let database = AdvisoryDatabase::parse(&format!("postgres://postgres@{address}/postgres")).expect("a URL");
        Locks::postgres_advisory(database, options())
    };
    let pooled = locks(bouncer.addr());
    for _ in 0..3 {
        let refused = pooled.try_lock(&resource, Wait::none(), lease).await.expect_err("no lock");
        let said = format!("{refused:?}");
        assert!(said.contains("pool_mode = session"), "{said}");
    }
    let stack = Stack::start().await;
    let url = format!("postgres://postgres@{}/postgres", bouncer.addr());
    let order = process::replica(&stack, "advisory", &[("ORDER_ADVISORY_URL", &url)]).await;
    let place = stack.http.post(format!("{}/v1/orders", order.url)).header("idempotency-key", "key");
    let place = Reply::of(place.header("lock-strategy", "postgres-advisory").json(&order_body("chair", 1))).await;
    place.is(503, "lock_quorum_unavailable").asks_to_retry();
    let log = std::fs::read_to_string(&order.log).expect("a log");
    assert!(log.contains("advisory database unreachable: "), "{log}");
    let direct = locks(Postgres::shared().await.addr());
    assert!(direct.try_lock(&resource, Wait::none(), lease).await.expect("an answer").is_some());
}
