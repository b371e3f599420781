//! SKUs are ordered by their bytes, although the databases of these tests sort text as English does: in them, `ak1` is
//! before `Bk1`. An order locks its SKUs in the order of the service, a cancellation in the order of the database.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::{Inventory, id_of};

const CUSTOMERS: usize = 12;
const ROUNDS: usize = 15;
/// Restocks say how many units there are; this many are never sold out.
const UNITS: i64 = 1000;

/// Orders both SKUs and cancels, again and again. No request may fail: all of them only wait for each other.
async fn order_and_cancel(inventory: &Inventory, strategy: &str) {
    for _ in 0..ROUNDS {
        let lines = ["ak1", "Bk1"].map(|sku| json!({ "sku": sku, "quantity": 1 }));
        let body = json!({ "order_id": Uuid::now_v7(), "lines": lines, "hold_seconds": 60 });
        let reserved = inventory.reserve_as(strategy, &body).await.ok();
        inventory.transition(&id_of(&reserved), "cancel").await.ok();
    }
}

async fn restock(inventory: &Inventory) {
    for round in 0..ROUNDS {
        inventory.put(["ak1", "Bk1"][round % 2], UNITS).await.ok();
    }
}

#[tokio::test]
async fn orders_and_cancellations_of_the_same_skus_never_deadlock_whatever_the_locale() {
    for strategies in [["atomic", "atomic"], ["row-lock", "row-lock"], ["atomic", "row-lock"]] {
        let inventory = Inventory::with(&["--pool=16"]).await;
        for sku in ["ak1", "Bk1"] {
            inventory.put(sku, UNITS).await.ok();
        }
        assert_eq!(inventory.count("select count(*) where 'ak1' < 'Bk1'").await, 1, "the locale is no hostile one");
        let began = Instant::now();
        let customers = join_all((0..CUSTOMERS).map(|at| order_and_cancel(&inventory, strategies[at % 2])));
        tokio::join!(customers, restock(&inventory));
        assert!(began.elapsed() < Duration::from_mins(1), "{strategies:?} took {:?}", began.elapsed());
        let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
        assert_eq!(inventory.count(deadlocks).await, 0, "{strategies:?}");
        for sku in ["ak1", "Bk1"] {
            assert_eq!((inventory.available(sku).await, inventory.sold(sku).await), (UNITS, 0), "{strategies:?}");
        }
    }
}

#[tokio::test]
async fn pages_of_stock_follow_the_bytes_of_skus_and_neither_skip_nor_repeat() {
    let inventory = Inventory::start().await;
    let mut skus = ["a", "A", "b", "B", "ak1", "Bk1", "a-1", "a_1", "a1", "A1", "-a", "_a", "10", "9", "ab", "aB"];
    for sku in skus {
        inventory.put(sku, 1).await.ok();
    }
    skus.sort_unstable();
    for limit in 1..=5 {
        let (mut listed, mut next) = (Vec::new(), String::new());
        while listed.len() <= skus.len() {
            let after = if next.is_empty() { String::new() } else { format!("&after={next}") };
            let page = inventory.get(&format!("/v1/stock?limit={limit}{after}")).await.ok();
            let stock = page["stock"].as_array().expect("a list").iter();
            listed.extend(stock.map(|stock| stock["sku"].as_str().expect("a name").to_owned()));
            match &page["next_after"] {
                Value::String(last) => next.clone_from(last),
                _ => break,
            }
        }
        assert_eq!(listed, skus, "pages of {limit}");
    }
}
