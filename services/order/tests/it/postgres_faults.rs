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
    stack::{Reply, Stack, eventually, order_body, start_inventory, through},
};

/// Far above what is promised, which is printed, and far below "never".
const PATIENCE: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const JSON_LOG: (&str, &str) = ("LOG_FORMAT", "json");

/// Sends requests at the same time, so that the pool has several connections.
async fn at_once(requests: impl Iterator<Item = reqwest::RequestBuilder>) -> Vec<Reply> {
    requests.map(Reply::of).collect::<JoinSet<_>>().join_all().await
}

/// Silences the connections and sends request after request, until one is served.
async fn silence_until_served(line: &Proxy, status: u16, request: impl Fn(usize) -> reqwest::RequestBuilder) {
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
    // One for the service's pool, one for that of order's payments: the first failure condemns the connections made before.
    assert!(attempt <= 2, "{attempt} requests failed, one for each silent connection");
    println!("served again {:?} after the first failure", noticed.map_or(Duration::ZERO, |at| at.elapsed()));
}

#[tokio::test]
async fn inventory_replaces_silent_connections_and_stops_while_they_are_silent() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 9).await;
    for pool in ["4", "16"] {
        let url = through(&stack.stock_url, stack.stock_line.addr());
        let inventory = start_inventory(&url, &[("INVENTORY_POOL", pool)]).await;
        let show = || stack.http.get(format!("{}/v1/stock/chair", inventory.url)).bearer_auth(order::config::LAB_TOKEN);
        at_once((0..32).map(|_| show())).await.iter().for_each(|shown| assert_eq!(shown.status, 200));
        silence_until_served(&stack.stock_line, 200, |_| show()).await;

        at_once((0..32).map(|_| show())).await;
        stack.stock_line.silence_established();
        let in_flight = tokio::spawn(show().send());
        let ended = inventory.process.terminate(STOP_LIMIT).await;
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
        drop(in_flight.await);
        stack.stock_line.heal();
    }
}

#[tokio::test]
async fn order_replaces_silent_connections_and_stops_while_they_are_silent() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    for pool in ["4", "16"] {
        let url = through(&stack.orders_url, stack.database_line.addr());
        let name = format!("silent-{pool}");
        let order = process::replica(&stack, &name, &[("ORDER_DATABASE_URL", &url), ("ORDER_POOL", pool)]).await;
        let place = |key: usize| {
            let request = stack.http.post(format!("{}/v1/orders", order.url)).json(&order_body("chair", 1));
            request.header("idempotency-key", format!("{name}-{key}"))
        };
        at_once((1000..1016).map(place)).await;
        silence_until_served(&stack.database_line, 201, place).await;

        at_once((2000..2016).map(place)).await;
        stack.database_line.silence_established();
        let in_flight = tokio::spawn(place(3000).send());
        let ended = order.process.terminate(STOP_LIMIT).await;
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
        drop(in_flight.await);
        stack.database_line.heal();
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

async fn run_sql(database: &PgPool, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(database).await.expect("a statement");
}

/// Makes the server read-only for the sessions of `application`, which reconnect, and writable for sessions after them.
/// The sessions that exist then are those of an old primary.
async fn make_sessions_read_only(database: &PgPool, application: &str, touch: impl AsyncFn() -> u16) {
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(database).await.expect("a name");
    run_sql(database, format!("alter database \"{name}\" set default_transaction_read_only = on")).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and application_name = $1";
    sqlx::query(end).bind(application).execute(database).await.expect("sessions ended");
    eventually("a read-only session is refused", async || {
        let status = touch().await;
        assert_ne!(status, 500, "a read-only server is no defect");
        let read_only =
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1";
        let sessions: i64 = sqlx::query_scalar(read_only).bind(application).fetch_one(database).await.expect("a count");
        status == 503 && sessions > 0
    })
    .await;
    run_sql(database, format!("alter database \"{name}\" reset default_transaction_read_only")).await;
}

#[tokio::test]
async fn a_read_only_postgres_is_503_logged_once_and_served_again_once_there_is_a_writer() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 99).await;
    let inventory = start_inventory(&stack.stock_url, &[JSON_LOG]).await;
    let order = process::replica(&stack, "read-only", &[JSON_LOG, ("ORDER_INVENTORY_URLS", &inventory.url)]).await;
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
    let served = async { while place().await != 201 {} };
    timeout(PATIENCE, served).await.expect("order reaches the writer");
    make_sessions_read_only(&stack.stock, "inventory", &restock).await;
    let served = async { while restock().await != 200 {} };
    timeout(PATIENCE, served).await.expect("inventory reaches the writer");

    for log in [&order.log, &inventory.log] {
        let lines = std::fs::read_to_string(log).expect("a log");
        let warnings = lines.lines().filter(|line| line.contains("postgres unreachable")).count();
        assert!(warnings <= 2, "one for the sessions that ended, one for the read-only ones:\n{lines}");
        assert!(!lines.contains("\"ERROR\""), "{lines}");
    }
}
