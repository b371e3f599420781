//! Inventory stays reachable, and the connections that order already has to it are silent. New connections work.

use std::time::Duration;

use testbed::Proxy;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    process,
    stack::{Reply, Setup, Stack, order_body},
};

/// Far above what is promised, which is asserted, and far below "never".
const PATIENCE: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long after the silence began orders are sold again.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
/// Orders of as many SKUs at the same time, so that order has many connections to each replica.
const SKUS: usize = 24;

#[tokio::test]
async fn order_replaces_silent_connections_to_inventory_and_stops_while_they_are_silent() {
    let stack = Stack::with(Setup { inventories: 2, ..Setup::default() }).await;
    for sku in 0..SKUS {
        stack.put_stock(&format!("chair-{sku}"), 99).await;
    }
    let mut lines = Vec::new();
    for inventory in &stack.inventories {
        let address = inventory.url.trim_start_matches("http://").parse().expect("an address");
        lines.push(Proxy::start(address).await.expect("a proxy"));
    }
    let silence = || lines.iter().for_each(Proxy::silence_established);
    let urls: Vec<_> = lines.iter().map(|line| format!("http://{}", line.addr())).collect();
    let envs = [("ORDER_INVENTORY_URLS", urls.join(",")), ("LOG_FORMAT", "json".to_owned())];
    let envs: Vec<_> = envs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let order = process::replica(&stack, "silent-inventory", &envs).await;
    let place = |key: usize| {
        let request =
            stack.http.post(format!("{}/v1/orders", order.url)).header("idempotency-key", format!("key-{key}"));
        request.json(&order_body(&format!("chair-{}", key % SKUS), 1))
    };
    let many = async |first: usize| {
        let replies =
            (first..first + 2 * SKUS).map(|key| Reply::of(place(key))).collect::<JoinSet<_>>().join_all().await;
        for reply in &replies {
            assert_eq!(reply.status, 201, "{}", reply.body);
        }
    };
    many(1000).await;
    let before = stack.reservations().await;

    silence();
    let silent = Instant::now();
    let (mut sold, mut failed) = (Vec::new(), Vec::new());
    let served = async {
        // One order served may be luck; each replica in turn must serve.
        for key in 2000.. {
            let reply = Reply::of(place(key)).await;
            if reply.status == 201 {
                sold.push(key);
                if sold.len() == 6 {
                    return;
                }
            } else {
                assert_eq!(reply.status, 503, "{}", reply.body);
                assert!(
                    sold.is_empty() || failed.len() < lines.len(),
                    "one failure for each replica: {failed:?}, {sold:?}"
                );
                failed.push(key);
            }
        }
    };
    timeout(PATIENCE, served).await.expect("sold again");
    let took = silent.elapsed();
    println!("six orders sold within {took:?}; {} answered 503", failed.len());
    assert!(took < SERVED_WITHIN, "{took:?}");
    let log = std::fs::read_to_string(&order.log).expect("a log");
    let warnings = log.lines().filter(|line| line.contains("inventory unreachable")).count();
    assert!(warnings <= 1, "logged once:\n{log}");
    // Their customers try again; whatever had become of the first attempt, each is sold once.
    for &key in &failed {
        let retry = async { while Reply::of(place(key)).await.status != 201 {} };
        timeout(PATIENCE, retry).await.expect("sold at last");
    }
    let sold = i64::try_from(sold.len() + failed.len()).expect("a count");
    assert_eq!(stack.reservations().await, before + sold, "nothing is sold twice");

    many(3000).await;
    silence();
    let in_flight: Vec<_> = (4000..4008).map(|key| tokio::spawn(place(key).send())).collect();
    let started = Instant::now();
    let ended = order.process.terminate(STOP_LIMIT).await;
    println!("stopped after {:?}", started.elapsed());
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    for request in in_flight {
        drop(request.await);
    }
}
