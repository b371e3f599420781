//! One row of the report: computed from the databases, the history and the fault events of one strategy.
//!
//! Absence: nothing is run here; `cell` does that, and reads the databases once nothing is in flight.

use std::time::Duration;

use super::latency::Latencies;
use crate::audit::{self, DbSnapshot, Evidence, PaymentState, Quiescence, Refusal, RefusalStep, oversold};
use crate::faults::FaultEvent;
use crate::report::close_up::CloseUp;
use crate::report::model::{Latency, LockWait, RunReport};
use crate::report::timeline::{Clocks, Timeline};
use crate::scenario::plan::{Plan, RowPlan};
use crate::workload::operation::Operation;
use crate::workload::tally::Tally;

/// The longest lock wait that is recorded, in milliseconds: ten minutes.
const LONGEST_WAIT_MS: f64 = 6e5;

/// Everything that was measured for a row.
#[derive(Debug)]
pub(super) struct RowMeasurements<'a> {
    /// The run.
    pub(super) plan: &'a Plan,
    /// The row.
    pub(super) row: RowPlan,
    /// How many times the row was run, including this time.
    pub(super) repetition: u32,
    /// The SKUs of the sale.
    pub(super) skus: &'a [String],
    /// Units in stock before the sale, over all SKUs.
    pub(super) stock: u64,
    /// The rows of these SKUs.
    pub(super) snapshot: &'a DbSnapshot,
    /// Requests and answers.
    pub(super) operations: &'a [Operation],
    /// The instant of the snapshot.
    pub(super) clocks: Clocks,
    /// The answers, counted.
    pub(super) tally: Tally,
    /// The fault events that concern this row.
    pub(super) events: Vec<FaultEvent>,
    /// Whether nothing was in flight at the snapshot.
    pub(super) quiescence: &'a Quiescence,
    /// File name of the history.
    pub(super) file: String,
}

impl RowMeasurements<'_> {
    /// The row.
    pub(super) fn report(self) -> RunReport {
        let Self { plan, row, snapshot, operations, tally, .. } = self;
        let findings = audit::audit(&Evidence { snapshot, history: Some(operations) });
        let (latency_ms, lock_wait_ms) = latencies(operations);
        let duration_seconds = duration(operations).as_secs_f64();
        let voided = snapshot.orders.iter().filter(|order| order.payment == Some(PaymentState::Voided));
        RunReport {
            strategy: row.strategy,
            fault: row.fault,
            initial_stock: self.stock,
            attempts: operations.len() as u64,
            accepted: tally.accepted,
            units_sold: snapshot.live_units().values().sum(),
            stock_left: snapshot.stock.iter().map(|row| row.available).sum(),
            units_oversold: oversold::units(&snapshot.ledger),
            lost_updates: snapshot.lost_updates().len(),
            sold_out: tally.sold_out,
            lock_timeouts: tally.lock_timeouts,
            unavailable: tally.unavailable,
            overloaded: tally.overloaded,
            stale_claims_refused: snapshot.refused_at(RefusalStep::Claim).count(),
            stale_writes_refused: snapshot.refused_at(RefusalStep::Write).count(),
            payments_voided: voided.count(),
            unexplained_errors: tally.unexplained + tally.silence,
            faults_fired: self.events.iter().filter(|event| event.fired).count(),
            duration_seconds,
            orders_per_second: per_second(tally.ended - tally.silence, duration_seconds),
            latency_ms,
            lock_wait_ms,
            audit: findings.into(),
            attempts_planned: plan.load.attempts(),
            skus: self.skus.len(),
            skus_sold_out: self.skus_sold_out(),
            paused_writes_refused: self.paused_writes_refused(),
            unsettled: match self.quiescence {
                Quiescence::Reached => None,
                Quiescence::NotReached(unsettled) => Some(*unsettled),
            },
            payment_ms: u64::try_from(plan.stack_config.payment.as_millis()).unwrap_or(u64::MAX),
            tried_again: tally.tried_again,
            tried_again_unavailable: tally.tried_again_unavailable,
            tried_again_overloaded: tally.tried_again_overloaded,
            repetition: self.repetition,
            close_up: CloseUp::of(&self.events, operations, snapshot, self.clocks),
            timeline: Timeline::of(operations, &self.events, snapshot, self.clocks),
            fault_events: self.events,
            history: self.file,
        }
    }

    /// SKUs of which at least the whole stock was sold. `available` does not show it: without a lock it may be above 0
    /// when several times the stock was sold.
    fn skus_sold_out(&self) -> usize {
        let live = self.snapshot.live_units();
        let sold = |sku: &str| live.get(sku).copied().unwrap_or_default();
        self.snapshot.stock.iter().filter(|row| sold(&row.sku) >= row.on_hand).count()
    }

    /// Refused writes that belong to a pause: same order, same token, and the refusal names a newer claim. A fenced order
    /// writes only after its own claim succeeded.
    fn paused_writes_refused(&self) -> usize {
        let refused = |event: &&FaultEvent| {
            let belongs = |refusal: &&Refusal| {
                refusal.order_id == event.order_id
                    && Some(refusal.token) == event.fencing_token
                    && refusal.current > refusal.token
            };
            event.fired && self.snapshot.refused_at(RefusalStep::Write).any(|refusal| belongs(&refusal))
        };
        self.events.iter().filter(refused).count()
    }
}

fn latencies(operations: &[Operation]) -> (Latency, LockWait) {
    let (mut latency, mut lock_wait) = (Latencies::new(), Latencies::new());
    for operation in operations {
        if let Some((at, answer)) = operation.answered.as_ref().filter(|(_, answer)| answer.status.is_some()) {
            latency.record(at.saturating_sub(operation.invoked));
            if let Some(waited_ms) = answer.lock_ms {
                lock_wait.record(Duration::from_secs_f64(waited_ms.clamp(0.0, LONGEST_WAIT_MS) / 1000.0));
            }
        }
    }
    let at = |quantile| latency.ms_at(quantile);
    (
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: latency.max_ms() },
        LockWait { p50: lock_wait.ms_at(0.5), p99: lock_wait.ms_at(0.99) },
    )
}

/// From the first request to the last answer.
fn duration(operations: &[Operation]) -> Duration {
    let first = operations.iter().map(|operation| operation.invoked).min().unwrap_or_default();
    let answers = operations.iter().filter_map(|operation| operation.answered.as_ref().map(|(at, _)| *at));
    answers.max().unwrap_or(first).saturating_sub(first)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 orders")]
fn per_second(orders: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { orders as f64 / seconds } else { 0.0 }
}
