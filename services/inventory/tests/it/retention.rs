//! Retention: what is over and old is deleted, what it adds up to stays, and nothing else is touched.

use std::borrow::Cow;

use reqwest::Method;
use uuid::Uuid;

use crate::service::{Inventory, answer, id_of};

const OLDER: &str = include_str!("../../../../migrations/inventory/older.sql");
/// Holds that are made old here are not to expire meanwhile.
const WITHOUT_SWEEPS: &[&str] = &["--lab", "--sweep-ms=3600000"];
/// As the service calls it, for rows that are older than a day.
const DELETE: &str = "select delete_old_rows(now() - interval '1 day', 500)";
const RESERVATIONS: &str = "select count(*) from reservations";
const LINES: &str = "select count(*) from reservation_lines";
const LEDGER: &str = "select count(*) from stock_ledger";
/// Without the row of the hold, which replicas expire when they start.
const OLD_LEDGER: &str = "select count(*) from stock_ledger where at < now() - interval '30 days'";
const REFUSALS: &str = "select count(*) from fence_refusals";
const CARRIED: &str = "select count(*) from stock_carried_forward";

/// Five units: one confirmed, one cancelled, one held, and a stale claim that was refused. Returns the order of the first.
async fn history(inventory: &Inventory) -> Uuid {
    inventory.put("a", 5).await.ok();
    let order = Uuid::now_v7();
    let confirmed = id_of(&inventory.reserve("atomic", order, &[("a", None, 0)]).await.ok());
    inventory.transition(&confirmed, "confirm").await.ok();
    let cancelled = inventory.hold(&["a"]).await;
    inventory.transition(&cancelled, "cancel").await.ok();
    inventory.hold(&["a"]).await;
    inventory.claim(&[("a", 1)]).await.is(409, "stale_fencing_token");
    order
}

async fn counts(inventory: &Inventory) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, query) in counts.iter_mut().zip([RESERVATIONS, LINES, LEDGER, REFUSALS]) {
        *count = inventory.count(query).await;
    }
    counts
}

#[tokio::test]
async fn what_is_over_and_old_is_deleted_and_what_it_adds_up_to_stays() {
    let inventory = Inventory::with(WITHOUT_SWEEPS).await;
    history(&inventory).await;
    inventory.run_sql(OLDER).await;
    inventory.hold(&["a"]).await;
    assert_eq!(counts(&inventory).await, [4, 4, 6, 1]);

    assert_eq!(inventory.count(DELETE).await, 5, "the ledger has the most old rows");

    // The hold that has not been expired is alive however old it is, and so is the young one.
    assert_eq!(counts(&inventory).await, [2, 2, 1, 0]);
    let held = "select count(*) from reservations where status = 'held'";
    assert_eq!((inventory.count(held).await, inventory.available("a").await), (2, 2));
    let sums = "select count(*) from stock_carried_forward where sku = 'a' and available = 3 and put_units = 5
                   and taken_units = 2 and oversold <= 0 and sold_units = 1";
    assert_eq!(inventory.count(sums).await, 1);
    let chains = "select count(*) from stock_ledger l join stock_carried_forward c using (sku)
                   where l.before = c.available and l.seq > c.last_seq and l.fence > c.fence";
    assert_eq!(inventory.count(chains).await, 1);
    assert_eq!(inventory.count(DELETE).await, 0);
}

#[tokio::test]
async fn batches_add_up_to_the_same_as_one() {
    let inventory = Inventory::with(WITHOUT_SWEEPS).await;
    history(&inventory).await;
    inventory.run_sql(OLDER).await;
    let mut batches = 0;
    while inventory.count("select delete_old_rows(now() - interval '1 day', 1)").await > 0 {
        batches += 1;
    }
    assert_eq!((batches, counts(&inventory).await), (5, [1, 1, 0, 0]));
    let sums = "select count(*) from stock_carried_forward where sku = 'a' and available = 3 and put_units = 5
                   and taken_units = 2 and sold_units = 1";
    assert_eq!(inventory.count(sums).await, 1);
}

#[tokio::test]
async fn nothing_younger_than_a_day_is_deleted_whoever_asks() {
    let inventory = Inventory::with(WITHOUT_SWEEPS).await;
    history(&inventory).await;
    let before = counts(&inventory).await;
    assert_eq!(inventory.count("select delete_old_rows(now() + interval '1 year', 500)").await, 0);
    for table in ["reservation_lines", "reservations", "stock_ledger", "fence_refusals"] {
        let mut owner = inventory.sql().await;
        sqlx::raw_sql("set role inventory_owner").execute(&mut owner).await.expect("a superuser may take any role");
        let delete = sqlx::AssertSqlSafe(format!("delete from {table}"));
        let error = sqlx::raw_sql(delete).execute(&mut owner).await.expect_err("refused by a trigger");
        let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{table}: {error}");
    }
    assert_eq!((counts(&inventory).await, inventory.count(CARRIED).await), (before, 0));
}

#[tokio::test]
async fn an_order_whose_reservation_may_have_been_deleted_is_410_and_one_that_never_had_one_404() {
    let inventory = Inventory::with(WITHOUT_SWEEPS).await;
    let order = history(&inventory).await;
    inventory.run_sql(OLDER).await;
    let old = "select count(*) from reservations where order_id < first_id_at(now() - interval '39 days')";
    assert_eq!(inventory.count(old).await, 3);
    let aged: Uuid = sqlx::query_scalar("select order_id from reservations where status = 'confirmed'")
        .fetch_one(&mut inventory.sql().await)
        .await
        .expect("an order");
    let find =
        async |order: Uuid| answer(inventory.call(Method::GET, &format!("/v1/reservations?order_id={order}"))).await;
    find(aged).await.ok();
    find(order).await.is(404, "not_found");

    inventory.count(DELETE).await;

    find(aged).await.is(410, "past_retention");
    find(order).await.is(404, "not_found");
}

#[tokio::test]
async fn a_service_that_is_configured_to_deletes_by_itself_and_any_other_does_not() {
    let inventory = Inventory::with(WITHOUT_SWEEPS).await;
    history(&inventory).await;
    inventory.run_sql(OLDER).await;
    let kept = Inventory::on(inventory.database.clone(), &[WITHOUT_SWEEPS, &["--retain-days=41"]].concat()).await;
    let looks = "select count(*) from pg_stat_activity where query like '%delete_old_rows%' and pid <> pg_backend_pid()
                    and datname = current_database()";
    inventory.until(looks, 1).await;
    assert_eq!((kept.count(OLD_LEDGER).await, kept.count(REFUSALS).await), (5, 1));
    let _deletes = Inventory::on(inventory.database.clone(), &[WITHOUT_SWEEPS, &["--retain-days=39"]].concat()).await;
    inventory.until(OLD_LEDGER, 0).await;
    assert_eq!((inventory.count(REFUSALS).await, inventory.count(CARRIED).await), (0, 1));
}

const MANY_YOUNG_ROWS: &str = "
    set session_replication_role = replica;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    select overlay(gen_random_uuid()::text placing left(first_id_at(now())::text, 13) from 1 for 13)::uuid,
           gen_random_uuid(), 'confirmed', 'atomic', '', now()
      from generate_series(1, 20000) as n;
    insert into reservation_lines (reservation_id, sku, quantity) select id, 'a', 1 from reservations;
    insert into stock_ledger (sku, delta, before, after, kind) select 'a', 0, 0, 0, 'put' from generate_series(1, 20000);
    insert into fence_refusals (sku, token, current, step) select 'a', 1, 2, 'claim' from generate_series(1, 20000);
    analyze";

#[tokio::test]
async fn a_look_reads_no_more_than_a_batch_while_nothing_is_old() {
    let inventory = Inventory::with(WITHOUT_SWEEPS).await;
    inventory.run_sql(MANY_YOUNG_ROWS).await;
    let mut sql = inventory.sql().await;
    let plans = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off";
    sqlx::raw_sql(plans).execute(&mut sql).await.expect("settings");
    let read = "select (pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid))::bigint
                  from pg_class c where c.relname = $1";
    let mut look = sqlx::Connection::begin(&mut sql).await.expect("a transaction");
    for _ in 0..100 {
        let deleted: i64 =
            sqlx::query_scalar("select delete_old_rows(now(), 10)").fetch_one(&mut *look).await.expect("a look");
        assert_eq!(deleted, 0);
    }
    for table in ["reservations", "reservation_lines", "stock_ledger", "fence_refusals"] {
        let rows: i64 = sqlx::query_scalar(read).bind(table).fetch_one(&mut *look).await.expect("a count");
        assert!(rows <= 100 * 10, "{rows} rows of {table} were read in 100 looks of 10 rows");
    }
}
