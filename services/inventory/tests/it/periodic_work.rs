//! Periodic work reads what is due, and nothing else, however much there is.

use crate::service::Inventory;

/// Half of them held for another hour, the others over.
const MANY_RESERVATIONS: &str = "
    set session_replication_role = replica;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    select gen_random_uuid(), gen_random_uuid(), case n % 2 when 0 then 'held' else 'expired' end, 'atomic', '',
           now() + case n % 2 when 0 then interval '1 hour' else interval '-1 hour' end
      from generate_series(1, 20000) as n;
    insert into reservation_lines (reservation_id, sku, quantity) select id, 'a', 1 from reservations;
    analyze";

const SCANS: &str = "select (idx_scan + seq_scan)::bigint from pg_stat_user_tables where relname = 'reservations'";
const ROWS_READ: &str = "
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables
     where relname in ('reservations', 'reservation_lines', 'stock', 'stock_ledger')";

#[tokio::test]
async fn the_sweeper_reads_no_hold_that_has_not_ended() {
    let inventory = Inventory::with(&["--lab", "--sweep-ms=10"]).await;
    inventory.put("a", 5).await.ok();
    inventory.run_sql(MANY_RESERVATIONS).await;
    // Postgres counts with a delay: what was read while the rows were inserted is counted with the first scans after.
    let after = async |scans: i64| {
        let first = inventory.count(SCANS).await;
        while inventory.count(SCANS).await < first + scans {
            tokio::task::yield_now().await;
        }
    };
    after(100).await;

    let before = inventory.count(ROWS_READ).await;
    after(100).await;

    let read = inventory.count(ROWS_READ).await - before;
    assert!(read < 100, "{read} rows were read in 100 looks, and no hold had ended");
}
