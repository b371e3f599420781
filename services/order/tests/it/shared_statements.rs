//! Orders that begin or end while a statement of order's database is under way share the next one, and each still
//! succeeds or fails by itself.

use std::time::Duration;

use futures_util::future::join_all;

use crate::stack::{Reply, Setup, Stack, order_body};

/// Every statement takes twice as long, so that callers gather.
const LATENCY: Duration = Duration::from_millis(20);
const ORDERS: usize = 24;

async fn slow_database() -> Stack {
    let stack = Stack::with(Setup { wait_ms: 30_000, ..Setup::default() }).await;
    for number in 0..ORDERS {
        stack.put_stock(&format!("sku-{number}"), 5).await;
    }
    stack.database_line.set_latency(LATENCY);
    stack
}

/// One order for each SKU, all at the same time; the customer of each is named by `customer`.
async fn place_all(stack: &Stack, customer: impl Fn(usize) -> &'static str) -> Vec<Reply> {
    let place = async |number: usize| {
        let mut body = order_body(&format!("sku-{number}"), 1);
        body["customer"] = customer(number).into();
        Reply::of(stack.post(&format!("k{number}")).json(&body)).await
    };
    join_all((0..ORDERS).map(place)).await
}

/// How many transactions wrote the rows that `xmin_of` selects.
async fn transactions(stack: &Stack, xmin_of: &'static str) -> i64 {
    sqlx::query_scalar(xmin_of).fetch_one(&stack.orders).await.expect("a count")
}

#[tokio::test]
async fn orders_of_different_skus_share_the_statements_that_begin_and_complete_them() {
    let stack = slow_database().await;

    let replies = place_all(&stack, |_| "ada").await;

    assert!(replies.iter().all(|reply| reply.status == 201), "{replies:?}");
    let begun = transactions(&stack, "select count(distinct xmin::text) from order_lines").await;
    let completed = transactions(&stack, "select count(distinct xmin::text) from idempotency_keys").await;
    // Payments end one after the other, so not all orders end at the same time.
    let most = i64::try_from(ORDERS * 3 / 4).expect("few");
    assert!(begun <= most && completed <= most, "{ORDERS} orders, {begun} and {completed} transactions");
    assert_eq!(stack.payments().await, ["captured"; ORDERS]);
}

#[tokio::test]
async fn an_order_whose_values_postgres_refuses_fails_alone() {
    let stack = slow_database().await;
    sqlx::query("alter table orders add constraint no_poison check (customer <> 'poison')")
        .execute(&stack.orders)
        .await
        .expect("a constraint");

    let replies = place_all(&stack, |number| if number == ORDERS / 2 { "poison" } else { "ada" }).await;

    for (number, reply) in replies.iter().enumerate() {
        if number == ORDERS / 2 {
            reply.is(500, "internal");
        } else {
            assert_eq!(reply.status, 201, "{number}: {}", reply.body);
        }
    }
    assert_eq!(stack.reservations().await, i64::try_from(ORDERS - 1).expect("few"));
}

#[tokio::test]
async fn a_key_that_is_sent_twice_at_the_same_time_is_one_order() {
    let stack = slow_database().await;

    let (first, second) = tokio::join!(place_all(&stack, |_| "ada"), place_all(&stack, |_| "ada"));

    for (first, second) in first.iter().zip(&second) {
        let sold = [first, second].iter().filter(|reply| reply.status == 201).count();
        let in_progress = [first, second].iter().filter(|reply| reply.code() == "idempotency_in_progress").count();
        assert!(sold >= 1 && sold + in_progress == 2, "{first:?} {second:?}");
    }
    assert_eq!(stack.reservations().await, i64::try_from(ORDERS).expect("few"));
}
