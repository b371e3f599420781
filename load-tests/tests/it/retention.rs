//! The auditor judges what is left once old rows are deleted, and what the deleted rows add up to.

use std::time::Duration;

use load_tests::audit::{Auditor, Statement, wait_until_quiescent};
use load_tests::cluster::config::LAB_TOKEN;
use load_tests::cluster::stack::Stack;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::small_stack::{binaries, stack_config};

const OLDER_ORDERS: &str = include_str!("../../../migrations/order/older.sql");
const OLDER_STOCK: &str = include_str!("../../../migrations/inventory/older.sql");

struct Shop {
    stack: Stack,
    http: reqwest::Client,
}

impl Shop {
    async fn open() -> Self {
        let stack = Stack::start(&stack_config(), &binaries(), None).await.expect("a stack");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let units = http.put(format!("{}/v1/stock/chair", stack.target.inventory[0])).bearer_auth(LAB_TOKEN);
        let put = units.json(&json!({ "on_hand": 9 })).send().await.expect("inventory");
        assert!(put.status().is_success(), "{}", put.status());
        Self { stack, http }
    }

    async fn order(&self, key: &str) -> String {
        let body = json!({ "customer": "ada", "lines": [{ "sku": "chair", "quantity": 1 }] });
        let order = self.http.post(format!("{}/v1/orders", self.stack.target.orders[0])).header("idempotency-key", key);
        let placed: Value = order.json(&body).send().await.expect("order").json().await.expect("JSON");
        placed["id"].as_str().unwrap_or_else(|| panic!("{placed}")).to_owned()
    }

    async fn order_and(&self, key: &str, transition: &str) {
        let id = self.order(key).await;
        let url = format!("{}/v1/orders/{id}/{transition}", self.stack.target.orders[0]);
        assert!(self.http.post(url).send().await.expect("order").status().is_success(), "{transition}");
    }

    async fn sql(&self, stock: &'static str, orders: &'static str) {
        for (url, statements) in
            [(&self.stack.target.postgres.inventory, stock), (&self.stack.target.postgres.order, orders)]
        {
            let mut database = PgConnection::connect(url).await.expect("a database");
            sqlx::raw_sql(statements).execute(&mut database).await.expect("statements that run");
        }
    }

    async fn audit(&self) -> Statement {
        let auditor = Auditor::connect(&self.stack.audit).await.expect("an auditor");
        wait_until_quiescent(&auditor, None, Duration::from_secs(20)).await.expect("databases");
        Statement::take(&auditor, &[]).await.expect("an audit")
    }
}

#[tokio::test]
async fn an_audit_passes_before_and_after_old_rows_are_deleted_and_sees_what_they_added_up_to() {
    let shop = Shop::open().await;
    shop.order_and("confirmed", "confirm").await;
    shop.order_and("cancelled", "cancel").await;
    shop.order("held").await;
    let before = shop.audit().await;
    assert!(before.passed, "{before:?}");
    assert_eq!((before.read.ledger_rows, before.read.reservations, before.read.orders), (5, 3, 3));

    let delete_stock = "select delete_old_rows(now(), 500)";
    // Keys expire by themselves; one is as good as expired.
    let delete_keys = "delete from idempotency_keys";
    shop.sql(OLDER_STOCK, OLDER_ORDERS).await;
    shop.sql(delete_stock, delete_keys).await;
    shop.order("young").await;

    let after = shop.audit().await;
    assert!(after.passed, "{after:?}");
    assert_eq!(after.read.orders, 4, "the orders are kept here: their retention is off");
    assert!(after.read.ledger_rows < 4, "{after:?}");

    shop.sql(
        "set session_replication_role = replica; update stock_carried_forward set sold_units = sold_units + 1",
        "",
    )
    .await;
    let forged = shop.audit().await;
    assert!(forged.is_broken(), "{forged:?}");
}
