//! Periodic work reads what is due, and nothing else, however much there is.

use crate::stack::{Setup, Stack, eventually};

/// Half of them held for another hour, the others failed; the keys and the payments of all are over.
const MANY_ORDERS: &str = "
    insert into orders (id, customer, status, strategy, idempotency_key, reservation, review_at)
    select overlay(gen_random_uuid()::text placing left(first_id_at(now())::text, 13) from 1 for 13)::uuid, 'ada', case n % 2 when 0 then 'held' else 'failed' end, 'atomic', n::text,
           jsonb_build_object('expires_at', now() + interval '1 hour'), now() + interval '1 hour'
      from generate_series(1, 20000) as n;
    insert into order_lines (order_id, sku, quantity) select id, 'chair', 1 from orders;
    insert into idempotency_keys (scope, key, fingerprint, order_id, state, deadline, status_code, content_type, body)
    select 'orders', idempotency_key, '', id, 'done', now(), 201, 'application/json', '' from orders;
    insert into payments (order_id, state, settled_at) select id, 'captured', now() from orders;
    analyze";

/// The looks at the tables that periodic work begins with.
const SCANS: &str = "select least(max(idx_scan + seq_scan) filter (where relname = 'idempotency_keys'),
                                  max(idx_scan + seq_scan) filter (where relname = 'orders'),
                                  max(idx_scan + seq_scan) filter (where relname = 'payments'))::bigint
                       from pg_stat_user_tables";
const ROWS_READ: &str = "
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables
     where relname in ('orders', 'order_lines', 'idempotency_keys', 'payments')";

#[tokio::test]
async fn the_reconciler_and_housekeeping_read_nothing_that_is_not_due() {
    let stack = Stack::with(Setup { flags: &["--reconcile-ms=10", "--retain-days=2"], ..Setup::default() }).await;
    sqlx::raw_sql(MANY_ORDERS).execute(&stack.orders).await.expect("orders");
    let count = async |query: &'static str| -> i64 {
        sqlx::query_scalar(query).fetch_one(&stack.orders).await.expect("a count")
    };
    // Postgres counts with a delay: what was read while the rows were inserted is counted with the first scans after.
    let after = async |scans: i64| {
        let first = count(SCANS).await;
        eventually("the next looks", async || count(SCANS).await >= first + scans).await;
    };
    after(100).await;

    let before = count(ROWS_READ).await;
    after(100).await;

    let read = count(ROWS_READ).await - before;
    assert!(read < 100, "{read} rows were read in 100 looks, and nothing was due");
}
