//! Claims and writes that gather while a statement is under way share the next one, and each still succeeds or fails by
//! itself.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::service::{Answer, Inventory};

const REQUESTS: usize = 64;
/// The request with which something is wrong.
const ODD: usize = REQUESTS / 2;

fn sku(number: usize) -> String {
    format!("sku-{number}")
}

fn ids() -> Vec<Uuid> {
    (0..REQUESTS).map(|_| Uuid::now_v7()).collect()
}

/// Two units of each SKU.
async fn stocked() -> Inventory {
    let inventory = Inventory::start().await;
    join_all((0..REQUESTS).map(async |number| inventory.put(&sku(number), 2).await.ok())).await;
    inventory
}

/// Makes all requests while nobody can read or write stock, so that they gather, and returns their answers.
async fn gathered<F: Future<Output = Answer>>(inventory: &Inventory, requests: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut lock: PgConnection = inventory.sql().await;
    sqlx::raw_sql("begin; lock table stock").execute(&mut lock).await.expect("the table");
    let release = async {
        let blocked = "select least(count(*), 1) from pg_stat_activity where wait_event_type = 'Lock'
                          and datname = current_database() and usename = 'inventory_service'";
        inventory.until(blocked, 1).await;
        sqlx::raw_sql("commit").execute(&mut lock).await.expect("the table is free");
    };
    let (answers, ()) = tokio::join!(join_all(requests), release);
    answers
}

async fn claim_all(inventory: &Inventory, token: impl Fn(usize) -> i64) -> Vec<Answer> {
    let claims = (0..REQUESTS).map(|number| {
        let (name, token) = (sku(number), token(number));
        async move { inventory.claim(&[(&name, token)]).await }
    });
    gathered(inventory, claims).await
}

/// A write of one unit of each SKU; `line` changes the one of each request.
async fn write_all(inventory: &Inventory, orders: &[Uuid], line: impl Fn(usize, &mut Value)) -> Vec<Answer> {
    let bodies = orders.iter().enumerate().map(|(number, order)| {
        let mut written = json!({ "sku": sku(number), "quantity": 1, "fencing_token": 7, "observed_available": 2 });
        line(number, &mut written);
        json!({ "order_id": order, "lines": [written], "hold_seconds": 900 })
    });
    gathered(inventory, bodies.map(async |body| inventory.reserve_as("redlock-fenced", &body).await)).await
}

fn all_but_the_odd_one(answers: &[Answer], status: u16) -> &Answer {
    for (number, answer) in answers.iter().enumerate().filter(|(number, _)| *number != ODD) {
        assert_eq!(answer.status.as_u16(), status, "{number}: {}", answer.body);
    }
    &answers[ODD]
}

#[tokio::test]
async fn claims_of_different_skus_share_a_transaction_and_a_stale_one_is_refused_alone() {
    let inventory = stocked().await;
    let claimed = claim_all(&inventory, |_| 7).await;
    for (number, claimed) in claimed.into_iter().enumerate() {
        let snapshots = &claimed.ok()["snapshots"];
        assert_eq!(snapshots[0]["sku"], sku(number), "each gets its own SKU");
        assert_eq!((&snapshots[0]["available"], &snapshots[0]["fence"]), (&json!(2), &json!(7)));
    }
    let transactions = inventory.count("select count(distinct xmin::text) from stock").await;
    assert!(transactions <= 8, "{transactions} transactions for {REQUESTS} claims");

    let claimed = claim_all(&inventory, |number| if number == ODD { 6 } else { 8 }).await;
    all_but_the_odd_one(&claimed, 200).is(409, "stale_fencing_token");
    let fences = "select count(*) from stock where fence = 8";
    assert_eq!(inventory.count(fences).await, i64::try_from(REQUESTS - 1).expect("few"));
    let recorded = "select count(*) from fence_refusals where step = 'claim' and token = 6 and current = 7";
    assert_eq!(inventory.count(recorded).await, 1);
}

#[tokio::test]
async fn writes_of_different_skus_share_a_transaction_and_a_stale_one_is_refused_alone() {
    let inventory = stocked().await;
    claim_all(&inventory, |_| 7).await;
    inventory.claim(&[(&sku(ODD), 8)]).await.ok();
    let written = write_all(&inventory, &ids(), |_, _| {}).await;
    all_but_the_odd_one(&written, 201).is(409, "stale_fencing_token");
    for number in 0..REQUESTS {
        let units = if number == ODD { 2 } else { 1 };
        assert_eq!(inventory.available(&sku(number)).await, units);
        let ledger = inventory.ledger(&sku(number)).await;
        assert_eq!(ledger.len(), usize::try_from(3 - units).expect("few"), "{ledger:?}");
    }

    let written = write_all(&inventory, &ids(), |_, line| line["observed_available"] = json!(1)).await;
    assert!(written.iter().all(|written| written.status == 409), "each token writes once");
    assert_eq!(inventory.count("select count(*) from reservations").await, i64::try_from(REQUESTS - 1).expect("few"));
}

#[tokio::test]
async fn a_write_with_an_observation_that_postgres_refuses_fails_alone() {
    let inventory = stocked().await;
    claim_all(&inventory, |_| 7).await;
    let written = write_all(&inventory, &ids(), |number, line| {
        if number == ODD {
            line["observed_available"] = json!(1_000);
        }
    })
    .await;
    all_but_the_odd_one(&written, 201).is(422, "validation_failed");
    let transactions = inventory.count("select count(distinct xmin::text) from reservations").await;
    assert!(transactions > 1, "after the refusal each write is made alone");
    assert_eq!(inventory.available(&sku(ODD)).await, 2);
}

#[tokio::test]
async fn writes_without_a_refusal_share_a_transaction_and_one_that_arrives_twice_is_written_once() {
    let inventory = stocked().await;
    claim_all(&inventory, |_| 7).await;
    let orders = ids();
    let written = write_all(&inventory, &orders, |_, _| {}).await;
    let transactions = inventory.count("select count(distinct xmin::text) from reservations").await;
    assert!(transactions <= 8, "{transactions} transactions for {REQUESTS} writes");

    let again = write_all(&inventory, &orders, |_, _| {}).await;
    for (first, second) in written.into_iter().zip(again) {
        let (first, second) = (first.ok(), second.ok());
        assert_eq!(first, second, "the answer is that of the first write");
    }
    assert_eq!(inventory.count("select count(*) from reservation_lines").await, i64::try_from(REQUESTS).expect("few"));
}

#[tokio::test]
async fn a_row_that_somebody_keeps_locked_delays_no_other_claim_or_write() {
    let inventory = stocked().await;
    claim_all(&inventory, |_| 7).await;
    let mut row = inventory.sql().await;
    sqlx::raw_sql("begin; select from stock where sku = 'sku-32' for update").execute(&mut row).await.expect("the row");
    let stuck = sku(ODD);
    let claims = async { inventory.claim(&[(&stuck, 8)]).await };
    let meanwhile = async {
        let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                          and datname = current_database() and usename = 'inventory_service'";
        inventory.until(blocked, 1).await;
        let shared = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                         and datname = current_database() and query like '%stock_claim_shared(%'";
        assert_eq!(inventory.count(shared).await, 0, "a statement that claims share waits for no row");
        let orders = ids();
        let others = (0..REQUESTS).filter(|number| *number != ODD).map(async |number| {
            let (name, order) = (sku(number), orders[number]);
            inventory.reserve("redlock-fenced", order, &[(&name, Some(7), 2)]).await.ok();
            inventory.claim(&[(&name, 9)]).await.ok();
        });
        join_all(others).await;
        assert_eq!(inventory.count(blocked).await, 1, "the claim of the locked row still waits");
        sqlx::raw_sql("commit").execute(&mut row).await.expect("the row is free");
    };
    let (claimed, ()) = tokio::join!(claims, meanwhile);
    claimed.ok();
}
