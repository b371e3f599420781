//! The database enforces the protocol: the service's role, the owner and superusers cannot change stock around it.

use std::borrow::Cow;

use sqlx::{Connection as _, PgConnection, error::DatabaseError};

use crate::service::Inventory;

/// Runs a statement that must be refused, and returns the SQLSTATE of the refusal.
async fn refused(connection: &mut PgConnection, statement: &'static str) -> String {
    let result = sqlx::raw_sql(statement).execute(connection).await;
    let error = result.err().unwrap_or_else(|| panic!("{statement} was not refused"));
    error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned).unwrap_or_default()
}

async fn with_stock() -> Inventory {
    let inventory = Inventory::with(&[]).await;
    inventory.put("a", 3).await.ok();
    inventory.hold(&["a"]).await;
    inventory.claim(&[("a", 1)]).await.is(409, "stale_fencing_token"); // now every table has a row
    inventory
}

async fn is_unharmed(inventory: &Inventory) {
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (2, 1));
    assert_eq!(inventory.ledger("a").await, [("put".to_owned(), 3), ("reserve".to_owned(), -1)]);
}

const TAMPERING: [&str; 11] = [
    "update stock set available = 3",
    "insert into stock (sku, on_hand, available) values ('b', 1, 1)",
    "delete from stock",
    "truncate stock cascade",
    "update reservations set status = 'cancelled'",
    "insert into reservations select gen_random_uuid(), gen_random_uuid(), 'held', 'off', '', now(), now()",
    "delete from reservation_lines",
    "update stock_ledger set delta = 0",
    "delete from stock_ledger",
    "insert into stock_ledger (sku, delta, before, after, kind) values ('a', 1, 2, 3, 'put')",
    "delete from fence_refusals",
];

#[tokio::test]
async fn the_services_role_changes_stock_only_through_the_functions() {
    let inventory = with_stock().await;
    let mut service = inventory.sql_as("inventory_service").await;
    for statement in TAMPERING {
        assert_eq!(refused(&mut service, statement).await, "42501", "{statement}");
    }
    is_unharmed(&inventory).await;
}

#[tokio::test]
async fn the_services_role_cannot_give_itself_more_rights() {
    let inventory = with_stock().await;
    let mut service = inventory.sql_as("inventory_service").await;
    for statement in [
        "set role inventory_owner",
        "set session authorization postgres",
        "set session_replication_role = replica",
        "alter table stock disable trigger all",
        "drop trigger stock_only_by_functions on stock",
        "alter table stock owner to inventory_service",
        "create or replace function stock_refuse_change() returns trigger language plpgsql as 'begin return new; end'",
        "create function public.now() returns timestamptz language sql as 'select null::timestamptz'",
        "select stock_write_fenced('a', 9, 9, 'redlock')",
        "select stock_claim_or_lock('a', 9, 'redlock')",
        "select stock_take('a', 1, false)",
    ] {
        assert_eq!(refused(&mut service, statement).await, "42501", "{statement}");
    }
    is_unharmed(&inventory).await;
}

#[tokio::test]
async fn a_temporary_table_named_stock_does_not_redirect_the_functions() {
    let inventory = with_stock().await;
    let mut service = inventory.sql_as("inventory_service").await;
    let with_temporary_table = r#"create temporary table stock (like public.stock); set search_path = pg_temp, public;
                  select reserve('atomic', 'guard', null, 60, jsonb_build_object(
                      'id', gen_random_uuid(), 'order_id', gen_random_uuid(), 'fingerprint', 'a×1',
                      'lines', '[{"sku": "a", "quantity": 1}]'::jsonb))"#;
    sqlx::raw_sql(with_temporary_table).execute(&mut service).await.expect("a reservation of the real stock");
    assert_eq!(inventory.available("a").await, 1);
}

#[tokio::test]
async fn a_superusers_update_is_refused_by_the_trigger() {
    let inventory = with_stock().await;
    let mut superuser = inventory.sql().await;
    for statement in TAMPERING {
        assert_eq!(refused(&mut superuser, statement).await, "42501", "{statement}");
    }
    is_unharmed(&inventory).await;
}

#[tokio::test]
async fn not_even_the_owner_changes_units_without_the_fence_or_lowers_it() {
    let inventory = with_stock().await;
    inventory.claim(&[("a", 50)]).await.ok();
    let mut owner = inventory.sql().await;
    sqlx::raw_sql("set role inventory_owner").execute(&mut owner).await.expect("a superuser may take any role");
    for statement in [
        "update stock set available = 3",
        "update stock set available = 3, version = version + 1",
        "update stock set on_hand = 9",
        "update stock set fence = 1, applied_fence = 1",
        "update stock set version = 0",
        "update stock set token_source = 'etcd'",
    ] {
        assert_eq!(refused(&mut owner, statement).await, "42501", "{statement}");
    }
    is_unharmed(&inventory).await;
}

#[tokio::test]
async fn the_auditor_reads_everything_and_changes_nothing() {
    let inventory = with_stock().await;
    let mut auditor = inventory.sql_as("inventory_auditor").await;
    for table in ["stock", "reservations", "reservation_lines", "stock_ledger", "fence_refusals"] {
        let read = format!("select count(*) from {table}");
        let rows: Result<i64, _> = sqlx::query_scalar(sqlx::AssertSqlSafe(read)).fetch_one(&mut auditor).await;
        assert!(rows.is_ok(), "{table}: {rows:?}");
    }
    sqlx::raw_sql("set default_transaction_read_only = off").execute(&mut auditor).await.expect("a setting");
    for statement in TAMPERING.into_iter().chain(["select * from stock_put('a', 9, null, 'redlock')"]) {
        assert_eq!(refused(&mut auditor, statement).await, "42501", "{statement}");
    }
}

#[tokio::test]
async fn the_services_sessions_get_their_timeouts_from_the_role() {
    let inventory = with_stock().await;
    let mut service = inventory.sql_as("inventory_service").await;
    for (setting, expected) in
        [("statement_timeout", "5s"), ("lock_timeout", "3s"), ("idle_in_transaction_session_timeout", "5s")]
    {
        let show = sqlx::AssertSqlSafe(format!("show {setting}"));
        let shown: String = sqlx::query_scalar(show).fetch_one(&mut service).await.expect("a setting");
        assert_eq!(shown, expected, "{setting}");
    }
}

#[tokio::test]
async fn the_service_works_as_its_role_even_when_it_logs_in_as_a_superuser() {
    let inventory = with_stock().await;
    let role = "select count(*) from pg_stat_activity where datname = current_database()
                   and application_name = 'inventory' and usename <> 'inventory_service'";
    assert_eq!(inventory.count(role).await, 0, "connections with another role than the service's");

    let database = testbed::Postgres::shared().await.fresh_database("inventory").await.expect("a database");
    let url = format!("--database-url={database}");
    let config = ["inventory", "--listen=127.0.0.1:0", &url, "--token=secret"];
    let config = <inventory::config::Config as clap::Parser>::try_parse_from(config).expect("flags");
    let app = inventory::app::App::build(&config).await.expect("the service builds");
    let sku = "a".parse().expect("a SKU");
    app.state.changes.set_stock(&sku, 3).await.expect("stock");
    let mut superuser = PgConnection::connect(&database).await.expect("the database");
    let is_owned = "select tableowner::text from pg_tables where tablename = 'stock'";
    let owner: String = sqlx::query_scalar(is_owned).fetch_one(&mut superuser).await.expect("an owner");
    assert_eq!(owner, "inventory_owner");
}

#[tokio::test]
async fn the_unsafe_write_exists_only_in_a_database_of_the_lab() {
    let unsafe_writes = "select count(*) from pg_proc where proname = 'stock_write_unsafe'";
    let inventory = with_stock().await;
    assert_eq!(inventory.count(unsafe_writes).await, 0);
    let lab = Inventory::start().await;
    assert_eq!(lab.count(unsafe_writes).await, 1);

    let url = format!("--database-url={}", lab.database);
    let config = ["inventory", "--listen=127.0.0.1:0", &url, "--token=secret"];
    let config = <inventory::config::Config as clap::Parser>::try_parse_from(config).expect("flags");
    let refused = inventory::app::App::build(&config).await.expect_err("a database of the lab");
    let why = refused.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(why.contains("set up for the lab"), "{why}");
}
