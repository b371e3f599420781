//! Postgres stays reachable, and the connections that a service already has are of no use: they are silent, or their
//! server has become read-only. New connections work.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use testbed::Proxy;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    process,
    slow_payments::{place_slowly, slow_down},
    stack::{Reply, Stack, address_of, eventually, order_body, start_inventory, through},
};

/// Far above what is promised, which is printed, and far below "never".
const PATIENCE: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Connections that are silent at the same time, at least; the first failure must condemn them all.
const SEVERAL: usize = 3;
const JSON_LOG: (&str, &str) = ("LOG_FORMAT", "json");

/// Sends requests at the same time over a slow line, so that the service makes as many connections as it may.
async fn fill(line: &Proxy, requests: impl Iterator<Item = reqwest::RequestBuilder>) -> Vec<Reply> {
    line.set_latency(Duration::from_millis(10));
    let replies = requests.map(Reply::of).collect::<JoinSet<_>>().join_all().await;
    line.set_latency(Duration::ZERO);
    replies
}

/// Silences the connections and sends request after request, until one is served: one may fail for each pool of the
/// service, since the first failure of a pool condemns all connections that were made before.
async fn silence_until_served(
    line: &Proxy,
    pools: usize,
    status: u16,
    request: impl Fn(usize) -> reqwest::RequestBuilder,
) {
    line.silence_established();
    let (mut attempt, mut noticed) = (0, None);
    let served = async {
        loop {
            let reply = Reply::of(request(attempt)).await;
            if reply.status == status {
                return;
            }
            assert!([503, 504].contains(&reply.status), "{} {}", reply.status, reply.body);
            noticed.get_or_insert_with(Instant::now);
            attempt += 1;
        }
    };
    timeout(PATIENCE, served).await.expect("served again");
    assert!(attempt <= pools, "{attempt} requests failed, one for each silent connection");
    println!("served again {:?} after the first failure", noticed.map_or(Duration::ZERO, |at| at.elapsed()));
}

#[tokio::test]
async fn inventory_replaces_silent_connections_and_stops_while_they_are_silent() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 9).await;
    for pool in ["4", "16"] {
        let line = Proxy::start(address_of(&stack.stock_url)).await.expect("a proxy");
        let url = through(&stack.stock_url, line.addr());
        let inventory = start_inventory(&url, &[("INVENTORY_POOL", pool)]).await;
        let show = || stack.http.get(format!("{}/v1/stock/chair", inventory.url)).bearer_auth(order::config::LAB_TOKEN);
        let shown = fill(&line, (0..32).map(|_| show())).await;
        assert!(shown.iter().all(|shown| shown.status == 200), "{shown:?}");
        assert!(line.connections() >= SEVERAL, "{}", line.connections());
        silence_until_served(&line, 1, 200, |_| show()).await;

        fill(&line, (0..32).map(|_| show())).await;
        line.silence_established();
        let in_flight = tokio::spawn(show().send());
        let ended = inventory.process.terminate(STOP_LIMIT).await;
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
        drop(in_flight.await);
    }
}

#[tokio::test]
async fn order_replaces_silent_connections_and_stops_while_they_are_silent() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    for pool in ["4", "16"] {
        let line = Proxy::start(address_of(&stack.orders_url)).await.expect("a proxy");
        let url = through(&stack.orders_url, line.addr());
        let name = format!("silent-{pool}");
        let order = process::replica(&stack, &name, &[("ORDER_DATABASE_URL", &url), ("ORDER_POOL", pool)]).await;
        let place = |key: usize| {
            let request = stack.http.post(format!("{}/v1/orders", order.url)).json(&order_body("chair", 1));
            request.header("idempotency-key", format!("{name}-{key}"))
        };
        // Orders share their statements and need few connections; a read of an order takes one to itself.
        let show = |_| stack.http.get(format!("{}/v1/orders/{}", order.url, uuid::Uuid::nil()));
        let shown = fill(&line, (0..32).map(show)).await;
        assert!(shown.iter().all(|shown| shown.status == 404), "{shown:?}");
        assert!(line.connections() >= SEVERAL, "{}", line.connections());
        silence_until_served(&line, 2, 201, place).await;

        fill(&line, (0..32).map(show)).await;
        line.silence_established();
        let in_flight = tokio::spawn(place(3000).send());
        let ended = order.process.terminate(STOP_LIMIT).await;
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
        drop(in_flight.await);
    }
}

#[tokio::test]
async fn the_sweeper_and_the_reconciler_work_again_within_seconds_of_silent_connections() {
    const AGAIN_WITHIN: Duration = Duration::from_secs(10);
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    let stock_url = through(&stack.stock_url, stack.stock_line.addr());
    // Their connections are used by their background tasks alone from here on.
    let inventory = start_inventory(&stock_url, &[("INVENTORY_SWEEP_MS", "100")]).await;
    let orders_url = through(&stack.orders_url, stack.database_line.addr());
    let envs = [("ORDER_DATABASE_URL", &*orders_url), ("ORDER_HOLD_SECONDS", "3"), ("ORDER_RECONCILE_MS", "100")];
    let order = process::replica(&stack, "background", &envs).await;
    let url = format!("{}/v1/orders", order.url);
    let place = async |key: &str| {
        let request = stack.http.post(&url).header("idempotency-key", key).json(&order_body("chair", 1));
        assert_eq!(Reply::of(request).await.status, 201);
    };
    let settled = async || stack.available("chair").await == 99 && stack.order_status("hold").await == "cancelled";

    place("hold").await;
    stack.stock_line.silence_established();
    stack.database_line.silence_established();
    let silent = Instant::now();
    let limit = Duration::from_secs(3) + AGAIN_WITHIN;
    timeout(limit, eventually("the hold expires, and its order with it", settled)).await.expect("within seconds");
    println!("expired and reconciled {:?} after the silence began, with a hold of 3 s", silent.elapsed());
    drop((inventory, order));
}

#[tokio::test]
async fn the_end_of_an_order_is_recorded_within_seconds_of_an_outage_that_came_between() {
    const AGAIN_WITHIN: Duration = Duration::from_secs(5);
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    slow_down(&stack, "chair", Duration::from_mins(1)).await;
    let first = place_slowly(&stack, "k", "chair").await;
    // The database is away when the answer to the write arrives.
    stack.inventory_line.drop_to_client(true);
    stack.app.api.placement.section().payments.slow.stop();
    eventually("the units are held", async || stack.reservations().await == 1).await;
    stack.database_line.cut();
    stack.inventory_line.drop_to_client(false);
    first.await.expect("no panic").is(503, "dependency_unavailable").asks_to_retry();
    assert_eq!((stack.reservations().await, stack.order_status("k").await), (1, "pending".to_owned()));

    stack.database_line.heal();

    let recorded = eventually("recorded", async || stack.order_status("k").await == "held");
    timeout(AGAIN_WITHIN, recorded).await.expect("long before the claim of the key falls due");
    let again = stack.place("k", "chair", 1).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"), "{}", again.body);
    assert_eq!((stack.reservations().await, stack.payments().await), (1, vec!["captured".to_owned()]));
}

/// Of the pools that a read-only server is tried with.
const CONNECTIONS: usize = 4;

async fn run_sql(database: &PgPool, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(database).await.expect("a statement");
}

/// Makes the server read-only for the sessions of `application`, which reconnect, and writable for sessions after them.
/// A read-only session that were used again would refuse every request from then on.
async fn make_sessions_read_only(database: &PgPool, application: &str, touch: impl AsyncFn() -> u16) {
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(database).await.expect("a name");
    run_sql(database, format!("alter database \"{name}\" set default_transaction_read_only = on")).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and application_name = $1";
    sqlx::query(end).bind(application).execute(database).await.expect("sessions ended");
    // Each connection whose session has ended refuses one request; those after that are refused by read-only sessions.
    for _ in 0..2 * CONNECTIONS {
        assert_eq!(touch().await, 503, "a read-only server is no defect, and accepts no write");
    }
    run_sql(database, format!("alter database \"{name}\" reset default_transaction_read_only")).await;
}

/// Request after request is served, and no connection of the pool is read-only any more: two may fail, one for each pool
/// of order, since the first refusal condemns the other connections.
async fn is_served_from_now_on(status: u16, touch: impl AsyncFn() -> u16) {
    let (mut served, mut failed) = (0, 0);
    while served < 2 * CONNECTIONS {
        match touch().await {
            answered if answered == status => served += 1,
            answered => {
                failed += 1;
                assert!(answered == 503 && failed <= 2, "{answered}, {failed} requests failed");
            }
        }
    }
}

#[tokio::test]
async fn a_read_only_postgres_is_503_logged_once_and_served_again_once_there_is_a_writer() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    let pool = CONNECTIONS.to_string();
    let inventory = start_inventory(&stack.stock_url, &[JSON_LOG, ("INVENTORY_POOL", &pool)]).await;
    let envs = [JSON_LOG, ("ORDER_INVENTORY_URLS", &inventory.url), ("ORDER_POOL", &pool)];
    let order = process::replica(&stack, "read-only", &envs).await;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let place = async || {
        let key = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let request = stack.http.post(format!("{}/v1/orders", order.url)).json(&order_body("chair", 1));
        Reply::of(request.header("idempotency-key", format!("key-{key}"))).await.status
    };
    let restock = async || {
        let request = stack.http.put(format!("{}/v1/stock/table", inventory.url)).bearer_auth(order::config::LAB_TOKEN);
        Reply::of(request.json(&serde_json::json!({ "on_hand": 5 }))).await.status
    };
    assert_eq!((place().await, restock().await), (201, 200));

    make_sessions_read_only(&stack.orders, "order", &place).await;
    timeout(PATIENCE, is_served_from_now_on(201, &place)).await.expect("order reaches the writer");
    make_sessions_read_only(&stack.stock, "inventory", &restock).await;
    timeout(PATIENCE, is_served_from_now_on(200, &restock)).await.expect("inventory reaches the writer");

    for log in [&order.log, &inventory.log] {
        let lines = std::fs::read_to_string(log).expect("a log");
        let warnings = lines.lines().filter(|line| line.contains("postgres unreachable")).count();
        assert!(warnings <= 2, "one for the sessions that ended, one for the read-only ones:\n{lines}");
        assert!(!lines.contains("\"ERROR\""), "{lines}");
    }
}
