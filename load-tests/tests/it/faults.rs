//! Every fault, on a small stack of its own, really strikes, and is over when it says so: the fenced strategy sells out
//! under it, oversells nothing, and its snapshot pass. What each strategy comes to under each fault is the matrix's affair.

pub(crate) mod environment;

use load_tests::faults::Fault;
use load_tests::report::model::RunReport;
use load_tests::report::verdict::judge;
use load_tests::scenario::plan::Arrivals;

use self::environment::{run, sale};
use contract::Strategy;

/// Runs one cell under the fault; it fired, and nobody who promised not to oversell did.
async fn survives(fault: Fault, injections: usize) -> Vec<RunReport> {
    let rows = run(&sale(fault, &[Strategy::RedlockFenced], injections)).await;
    let row = &rows[0];
    assert!(row.faults_fired > 0, "{fault} never fired: {:?}", row.fault_events);
    assert_eq!(row.units_oversold, 0, "{row:?}");
    assert!(row.audit.passed, "{:?}", row.audit.violations);
    assert_eq!(row.unsettled, None);
    assert_eq!((row.attempts, row.skus_sold_out), (row.attempts_planned, row.skus), "{row:?}");
    rows
}

#[tokio::test]
async fn a_paused_inventory_replica_has_its_stale_write_refused() {
    let rows = survives(Fault::PauseInventory, 2).await;
    assert!(rows[0].paused_writes_refused > 0, "{:?}", rows[0].fault_events);
}

#[tokio::test]
async fn a_paused_order_replica_sells_nothing_twice() {
    let rows = survives(Fault::PauseOrder, 2).await;
    let sent =
        rows[0].fault_events.iter().any(|events| events.fired && events.outcome.contains("before it sent its write"));
    assert!(
        sent && rows[0].stale_writes_refused > 0,
        "the look at the lease is not the fence: {:?}",
        rows[0].fault_events
    );
}

#[tokio::test]
async fn a_killed_order_replica_comes_back_and_its_orders_are_finished() {
    survives(Fault::KillOrder, 1).await;
}

#[tokio::test]
async fn a_killed_inventory_replica_comes_back_and_no_write_is_half_done() {
    survives(Fault::KillInventory, 2).await;
}

#[tokio::test]
async fn a_minority_of_lock_nodes_is_not_missed() {
    survives(Fault::RedisMinorityDown, 1).await;
}

#[tokio::test]
async fn without_a_majority_of_lock_nodes_nothing_is_sold_until_it_is_back() {
    let rows = survives(Fault::RedisMajorityDown, 1).await;
    assert!(rows[0].tried_again_unavailable > 0, "orders fail closed, and are tried again: {:?}", rows[0]);
}

#[tokio::test]
async fn lock_nodes_that_forget_everything_cost_no_unit() {
    survives(Fault::RedisAmnesia, 3).await;
}

#[tokio::test]
async fn a_lock_node_whose_clock_runs_ahead_costs_no_unit() {
    survives(Fault::RedisEarlyExpiry, 3).await;
}

#[tokio::test]
async fn slow_lock_nodes_cost_no_unit() {
    survives(Fault::RedisSlow, 2).await;
}

#[tokio::test]
async fn lock_nodes_that_cannot_be_reached_cost_no_unit() {
    survives(Fault::PartitionRedis, 3).await;
}

#[tokio::test]
async fn a_replica_that_cannot_reach_its_database_writes_nothing_that_is_stale() {
    survives(Fault::PartitionPostgres, 3).await;
}

#[tokio::test]
async fn a_crash_of_postgres_loses_nothing_that_was_promised() {
    survives(Fault::PostgresRestart, 1).await;
}

#[tokio::test]
async fn an_order_that_is_sent_twice_is_sold_once() {
    survives(Fault::DuplicateRequests, 1).await;
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_told_again_and_sold_once() {
    let rows = survives(Fault::LostReplies, 2).await;
    assert!(rows[0].tried_again > 0, "{:?}", rows[0]);
}

#[tokio::test]
async fn strategies_side_by_side_are_loaded_alike_and_judged_apart() {
    let mut sale = sale(Fault::None, &[Strategy::Off, Strategy::RedlockFenced], 0);
    sale.cells[0].arrivals = Arrivals::Closed;
    let rows = run(&sale).await;
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [sale.load.attempts(); 2]);
    assert!(rows[0].units_oversold >= rows[0].initial_stock, "{:?}", rows[0]);
    assert_eq!(rows[1].units_oversold, 0, "{:?}", rows[1]);
    assert_eq!(judge(&rows, None).exit_status(), 0, "{:?}", judge(&rows, None));
}
