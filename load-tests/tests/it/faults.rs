//! Every fault, each on a small stack of its own, has its effect and ends: the fenced strategy sells out under it, does
//! not oversell, and passes the audit. How the other strategies fare under each fault is shown by the matrix.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::Strategy;
use load_tests::faults::{EventOutcome, Fault, PausePoint};
use load_tests::report::model::RunReport;
use load_tests::report::verdict::judge;
use load_tests::scenario::load::{Arrivals, Load};
use load_tests::scenario::plan::Plan;

use crate::small_stack::{run, sale};

/// Runs one cell of the fenced strategy: the fault fired, every order was answered, nothing was oversold.
async fn survives(fault: Fault, injections: usize) -> Vec<RunReport> {
    survives_in(&sale(fault, &[Strategy::RedlockFenced], injections)).await
}

async fn survives_in(sale: &Plan) -> Vec<RunReport> {
    let (rows, fault) = (run(sale).await, sale.cells[0].fault);
    let row = &rows[0];
    assert!(row.faults_fired > 0, "{fault} never fired: {:?}", row.fault_events);
    assert_eq!(row.units_oversold, 0, "{row:?}");
    assert!(row.audit.passed, "{:?}", row.audit.violations);
    assert_eq!(row.unsettled, None);
    assert_eq!((row.attempts, row.skus_sold_out), (row.attempts_planned, row.skus), "{row:?}");
    rows
}

/// Units sold so many milliseconds after the row began.
fn sold_by(row: &RunReport, ms: u128) -> i64 {
    row.timeline.moments.iter().rfind(|moment| u128::from(moment.at_ms) <= ms).map_or(0, |moment| moment.sold)
}

#[tokio::test]
async fn the_stale_write_of_a_paused_inventory_replica_is_refused() {
    let rows = survives(Fault::PauseInventory, 2).await;
    assert!(rows[0].paused_writes_refused > 0, "{:?}", rows[0].fault_events);
}

#[tokio::test]
async fn the_stale_write_of_a_paused_order_replica_is_refused() {
    let rows = survives(Fault::PauseOrder, 2).await;
    let sent = rows[0].fault_events.iter().any(|event| {
        event.fired && matches!(event.outcome, EventOutcome::PausedOrder { at: PausePoint::BeforeWrite, .. })
    });
    assert!(
        sent && rows[0].stale_writes_refused > 0,
        "the check of the lease is not the fence: {:?}",
        rows[0].fault_events
    );
}

#[tokio::test]
async fn the_orders_of_a_killed_order_replica_are_completed() {
    survives(Fault::KillOrder, 1).await;
}

#[tokio::test]
async fn a_killed_inventory_replica_leaves_no_write_half_done() {
    survives(Fault::KillInventory, 2).await;
}

#[tokio::test]
async fn an_outage_of_a_minority_of_lock_nodes_is_survived() {
    survives(Fault::RedisMinorityDown, 1).await;
}

#[tokio::test]
async fn without_a_majority_of_lock_nodes_orders_fail_closed_until_it_is_back() {
    let rows = survives(Fault::RedisMajorityDown, 1).await;
    assert!(rows[0].tried_again_unavailable > 0, "orders fail closed, and are retried: {:?}", rows[0]);
}

#[tokio::test]
async fn lock_nodes_that_restart_empty_cause_no_overselling() {
    survives(Fault::RedisAmnesia, 3).await;
}

#[tokio::test]
async fn a_lock_node_whose_clock_runs_fast_causes_no_overselling() {
    survives(Fault::RedisEarlyExpiry, 3).await;
}

#[tokio::test]
async fn slow_lock_nodes_cause_no_overselling() {
    survives(Fault::RedisSlow, 2).await;
}

#[tokio::test]
async fn lock_nodes_that_are_out_of_memory_cause_no_overselling() {
    survives(Fault::NodeFull, 2).await;
}

#[tokio::test]
async fn unreachable_lock_nodes_cause_no_overselling() {
    survives(Fault::PartitionRedis, 3).await;
}

#[tokio::test]
async fn a_replica_cut_off_from_its_database_writes_nothing_stale() {
    survives(Fault::PartitionPostgres, 3).await;
}

#[tokio::test]
async fn connections_that_fall_silent_are_replaced_and_cause_no_overselling() {
    let mut sale = sale(Fault::NetworkSilence, &[Strategy::RedlockFenced], 4);
    // Long enough for four silences, and sold out only at the end: each meets orders in flight.
    sale.cells[0].arrivals = Arrivals::Open { window: Duration::from_secs(36) };
    sale.load = Load { iterations: 24, stock: 180, ..sale.load };
    let rows = survives_in(&sale).await;
    let fired: BTreeSet<_> =
        rows[0].fault_events.iter().filter(|event| event.fired).map(|event| &event.replica).collect();
    assert_eq!(fired.len(), 4, "lock nodes, both databases and inventory: {:?}", rows[0].fault_events);
}

#[tokio::test]
async fn a_read_only_postgres_refuses_orders_and_they_are_sold_once_it_accepts_writes_again() {
    let rows = survives(Fault::PostgresReadonly, 1).await;
    let row = &rows[0];
    assert!(row.tried_again_unavailable > 0, "orders are refused, and retried: {row:?}");
    let ended_ms = row.fault_events[0].to_ms;
    // The service sells again within two seconds; a customer pauses for up to three before an order is sent again.
    assert!(sold_by(row, ended_ms + 5_000) > sold_by(row, ended_ms), "{:?}", row.timeline.moments);
}

#[tokio::test]
async fn a_crash_of_postgres_loses_no_accepted_order() {
    survives(Fault::PostgresRestart, 1).await;
}

#[tokio::test]
async fn a_payment_longer_than_the_lease_causes_no_overselling() {
    survives(Fault::SlowPayment, 2).await;
}

#[tokio::test]
async fn while_the_payments_of_one_sku_outlast_every_wait_another_sku_is_sold() {
    let mut sale = sale(Fault::SlowPayment, &[Strategy::RedlockFenced], 1);
    sale.load.skus = 2;
    let rows = survives_in(&sale).await;
    let event = &rows[0].fault_events[0];
    // Payments that had begun when the provider became slow take the lease at most.
    let slow_ms = event.from_ms + sale.stack_config.lease.as_millis();
    assert!(sold_by(&rows[0], event.to_ms) > sold_by(&rows[0], slow_ms), "{event:?}, {:?}", rows[0].timeline.moments);
    let refused = rows[0].tried_again_unavailable + rows[0].tried_again_overloaded;
    assert!(refused > 0, "orders of the slow SKU are refused meanwhile: {:?}", rows[0]);
}

#[tokio::test]
async fn an_order_that_is_sent_twice_is_sold_once() {
    survives(Fault::DuplicateRequests, 1).await;
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_answered_again_and_sold_once() {
    let rows = survives(Fault::LostReplies, 2).await;
    assert!(rows[0].tried_again > 0, "{:?}", rows[0]);
}

#[tokio::test]
async fn strategies_in_one_cell_receive_the_same_load_and_are_judged_separately() {
    let mut sale = sale(Fault::None, &[Strategy::Off, Strategy::RedlockFenced], 0);
    sale.cells[0].arrivals = Arrivals::Closed;
    let rows = run(&sale).await;
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [sale.load.attempts(); 2]);
    assert!(rows[0].units_oversold >= rows[0].initial_stock, "{:?}", rows[0]);
    assert_eq!(rows[1].units_oversold, 0, "{:?}", rows[1]);
    assert_eq!(judge(&rows, None).exit_status(), 0, "{:?}", judge(&rows, None));
}
