//! The log of a start, a stop and an outage: one line each, however many
//! requests fail during it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use service_kit::outage::PROBE_INTERVAL;
use testbed::{Etcd, Proxy};

use crate::{
    process::{self, Running},
    stack::{Reply, Setup, Stack, eventually, order_body, start_inventory, through},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const JSON: [(&str, &str); 1] = [("LOG_FORMAT", "json")];

/// Every line of the log, as `LEVEL message dependency`.
fn logged(log: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(log).expect("a log");
    let text = |line: &Value, member: &str| line[member].as_str().unwrap_or_default().to_owned();
    let line = |line: Value| {
        let parts = ["level", "message", "dependency"].map(|member| text(&line, member));
        parts.join(" ").trim_end().to_owned()
    };
    // The address on standard output is in the same file.
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).map(line).collect()
}

/// How the dependencies failed that the log reports as unreachable.
pub(crate) fn kinds_of_outages(log: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(log).expect("a log");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == "WARN").filter_map(|line| Some(line["kind"].as_str()?.to_owned())).collect()
}

fn down_and_up(dependency: &str) -> [String; 2] {
    let effect = "unreachable: requests that need it are refused with 503 until it answers";
    [format!("WARN {dependency} {effect} {dependency}"), format!("INFO {dependency} reachable again {dependency}")]
}

fn from_start_to_end(outages: impl IntoIterator<Item = [String; 2]>) -> Vec<String> {
    let mut all = vec!["INFO serving".to_owned()];
    all.extend(outages.into_iter().flatten());
    all.extend(
        ["INFO SIGTERM received", "INFO shutting down: new connections are refused, requests in flight are finished"]
            .map(str::to_owned),
    );
    all
}

/// The addresses of the lock nodes, each behind its line.
fn lock_nodes(stack: &Stack) -> String {
    let nodes: Vec<_> = stack.lock_lines.iter().map(|line| format!("redis://{}", line.addr())).collect();
    nodes.join(",")
}

/// Places an order at a replica, under its default strategy.
pub(crate) async fn place(stack: &Stack, order: &Running, key: &str) -> Reply {
    let request = stack.http.post(format!("{}/v1/orders", order.url)).header("idempotency-key", key);
    Reply::of(request.json(&order_body("chair", 1))).await
}

/// Places orders while these lines are cut, and until the log reports that they are back.
async fn interrupted(stack: &Stack, order: &Running, lines: &[Proxy], code: &str, dependency: &str) {
    lines.iter().for_each(Proxy::cut);
    for _ in 0..4 {
        place(stack, order, dependency).await.is(503, code).asks_to_retry();
    }
    lines.iter().for_each(Proxy::heal);
    let [_down, up] = down_and_up(dependency);
    eventually(&up, async || logged(&order.log).contains(&up)).await;
    let placed = place(stack, order, dependency).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
}

#[tokio::test]
async fn order_logs_an_outage_once_and_its_end_once() {
    let stack = Stack::with(Setup { lock_lines: true, ..Setup::default() }).await;
    stack.put_stock("chair", 9).await;
    let (nodes, database) = (lock_nodes(&stack), through(&stack.orders_url, stack.database_line.addr()));
    let mut envs = JSON.to_vec();
    envs.extend([("ORDER_LOCK_NODES", nodes.as_str()), ("ORDER_DATABASE_URL", &database)]);
    let order = process::replica(&stack, "interrupted", &envs).await;
    let (database, inventory) =
        (std::slice::from_ref(&stack.database_line), std::slice::from_ref(&stack.inventory_line));

    interrupted(&stack, &order, database, "dependency_unavailable", "postgres").await;
    interrupted(&stack, &order, inventory, "dependency_unavailable", "inventory").await;
    interrupted(&stack, &order, &stack.lock_lines, "lock_quorum_unavailable", "lock quorum").await;

    let log = order.log.clone();
    assert!(order.process.terminate(TIMEOUT).await.is_some_and(|status| status.success()));
    assert_eq!(logged(&log), from_start_to_end(["postgres", "inventory", "lock quorum"].map(down_and_up)));
    let kinds = kinds_of_outages(&log);
    assert_eq!(kinds[1], "unreachable", "nothing listened at inventory's address");
    // Connections end, and then none can be made; or the deadline comes first.
    assert!(kinds.iter().all(|kind| ["gone", "unreachable", "silent"].contains(&kind.as_str())), "{kinds:?}");
    assert_eq!(stack.reservations().await, 3);
}

#[tokio::test]
async fn an_outage_of_one_lock_service_is_logged_once_while_another_grants_locks() {
    let mut etcd = Etcd::start().await.expect("etcd");
    let stack = Stack::start().await;
    stack.put_stock("chair", 1_000).await;
    stack.put_stock("table", 1_000).await;
    let mut envs = JSON.to_vec();
    let endpoints = etcd.url();
    envs.push(("ORDER_ETCD_ENDPOINTS", &endpoints));
    let order = process::replica(&stack, "one-lock-down", &envs).await;
    let place = async |key: &str, sku: &str, strategy: &str| {
        let request = stack.http.post(format!("{}/v1/orders", order.url)).header("idempotency-key", key);
        Reply::of(request.header("lock-strategy", strategy).json(&order_body(sku, 1))).await
    };
    assert_eq!(place("before", "table", "etcd-fenced").await.status, 201);

    etcd.kill().await;
    // Several probes: each would report the end of an outage that is not over.
    let (began, mut number) = (Instant::now(), 0);
    while began.elapsed() < 3 * PROBE_INTERVAL {
        number += 1;
        place(&format!("e{number}"), "table", "etcd-fenced").await.is(503, "lock_quorum_unavailable");
        assert_eq!(place(&format!("r{number}"), "chair", "redlock-fenced").await.status, 201);
    }
    etcd.restart().await.expect("etcd starts again");
    let [_down, up] = down_and_up("etcd");
    eventually(&up, async || logged(&order.log).contains(&up)).await;

    let log = order.log.clone();
    assert!(order.process.terminate(TIMEOUT).await.is_some_and(|status| status.success()));
    assert_eq!(logged(&log), from_start_to_end([down_and_up("etcd")]));
    assert_eq!(kinds_of_outages(&log), ["unreachable"]);
}

#[tokio::test]
async fn an_outage_of_the_lock_nodes_is_logged_once_however_many_probes_it_lasts() {
    let stack = Stack::with(Setup { lock_lines: true, ..Setup::default() }).await;
    stack.put_stock("chair", 9).await;
    let nodes = lock_nodes(&stack);
    let mut envs = JSON.to_vec();
    envs.push(("ORDER_LOCK_NODES", nodes.as_str()));
    let order = process::replica(&stack, "nodes-down", &envs).await;
    assert_eq!(place(&stack, &order, "before").await.status, 201);

    stack.lock_lines.iter().for_each(Proxy::cut);
    // Each probe would report the end of an outage that is not over.
    let began = Instant::now();
    while began.elapsed() < 3 * PROBE_INTERVAL {
        place(&stack, &order, "during").await.is(503, "lock_quorum_unavailable").asks_to_retry();
    }
    stack.lock_lines.iter().for_each(Proxy::heal);
    let [_down, up] = down_and_up("lock quorum");
    eventually(&up, async || logged(&order.log).contains(&up)).await;

    let log = order.log.clone();
    assert!(order.process.terminate(TIMEOUT).await.is_some_and(|status| status.success()));
    assert_eq!(logged(&log), from_start_to_end([down_and_up("lock quorum")]));
}

#[tokio::test]
async fn inventory_logs_an_outage_of_postgres_once_and_its_end_once() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 9).await;
    let inventory = start_inventory(&through(&stack.stock_url, stack.stock_line.addr()), &JSON).await;
    let show_stock = async || {
        let shown = stack.http.get(format!("{}/v1/stock/chair", inventory.url));
        Reply::of(shown.bearer_auth(order::config::LAB_TOKEN)).await
    };
    show_stock().await.is(200, "");
    stack.stock_line.cut();
    for _ in 0..4 {
        show_stock().await.is(503, "dependency_unavailable").asks_to_retry();
    }
    stack.stock_line.heal();
    let [_down, up] = down_and_up("postgres");
    eventually(&up, async || logged(&inventory.log).contains(&up)).await;
    eventually("stock is shown again", async || show_stock().await.status == 200).await;

    let log = inventory.log.clone();
    assert!(inventory.process.terminate(TIMEOUT).await.is_some_and(|status| status.success()));

    assert_eq!(logged(&log), from_start_to_end([down_and_up("postgres")]));
    let kinds = kinds_of_outages(&log);
    assert!(["gone", "unreachable", "silent"].contains(&kinds[0].as_str()), "{kinds:?}");
}
