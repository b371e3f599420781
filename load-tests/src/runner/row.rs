//! One row of the table: what the snapshot, the history and the strikes of one strategy come to.
//!
//! Absence: nothing is run here; `cell` does that, and reads the snapshot once nothing is in flight.

use hdrhistogram::Histogram;

use crate::audit::oversold;
use crate::audit::{self, DbSnapshot, Evidence, Quiescence};
use crate::faults::FaultEvent;
use crate::report::timeline::{Clocks, Timeline};
use crate::report::{AuditReport, Latency, LockWait, RunReport};
use crate::scenario::plan::{Plan, RowPlan};
use crate::workload::operation::Operation;
use crate::workload::tally::Tally;

/// The highest latency that is told apart from others.
const LONGEST_US: u64 = 600_000_000;

/// Everything a row brought to light.
#[derive(Debug)]
pub struct RowMeasurements<'a> {
    /// The run.
    pub plan: &'a Plan,
    /// Which row.
    pub row: RowPlan,
    /// How many times it was run, this one counted.
    pub repetition: u32,
    /// What was sold, and how many units there were of all of them.
    pub skus: &'a [String],
    /// How many units there were.
    pub stock: u64,
    /// The snapshot of these SKUs.
    pub snapshot: &'a DbSnapshot,
    /// What was asked and answered.
    pub operations: &'a [Operation],
    /// What time it was when they were read.
    pub clocks: Clocks,
    /// How the answers were counted.
    pub tally: Tally,
    /// The strikes that concern this row.
    pub events: Vec<FaultEvent>,
    /// Whether nothing was in flight when the snapshot were read.
    pub quiescence: &'a Quiescence,
    /// Where the history lies.
    pub file: String,
}

impl RowMeasurements<'_> {
    /// The row.
    pub fn report(self) -> RunReport {
        let Self { plan, row, snapshot, operations, tally, .. } = self;
        let evidence = Evidence { snapshot, history: Some(operations) };
        let findings = audit::audit(&evidence);
        let (duration_seconds, latency_ms, lock_wait_ms) = times(operations);
        RunReport {
            strategy: row.strategy,
            fault: row.fault,
            initial_stock: self.stock,
            attempts: operations.len() as u64,
            accepted: tally.accepted,
            units_sold: snapshot.live_units().values().sum(),
            stock_left: snapshot.stock.iter().map(|row| row.available).sum(),
            units_oversold: oversold::units(&snapshot.ledger),
            lost_updates: snapshot.lost_updates(),
            sold_out: tally.sold_out,
            lock_timeouts: tally.lock_timeouts,
            unavailable: tally.unavailable,
            stale_claims_refused: snapshot.refused_at("claim").count(),
            stale_writes_refused: snapshot.refused_at("write").count(),
            payments_voided: snapshot.orders.iter().filter(|order| order.payment.as_deref() == Some("voided")).count(),
            unexplained_errors: tally.unexplained + tally.silence,
            faults_fired: self.events.iter().filter(|events| events.fired).count(),
            duration_seconds,
            orders_per_second: per_second(tally.ended - tally.silence, duration_seconds),
            latency_ms,
            lock_wait_ms,
            audit: AuditReport::of(&findings),
            attempts_planned: plan.load.attempts(),
            skus: self.skus.len(),
            skus_sold_out: self.sold_out(),
            paused_writes_refused: self.paused_writes_refused(),
            unsettled: match self.quiescence {
                Quiescence::Reached => None,
                Quiescence::NotReached(what) => Some(what.clone()),
            },
            payment_ms: u64::try_from(plan.stack_config.payment.as_millis()).unwrap_or(u64::MAX),
            tried_again: tally.tried_again,
            tried_again_unavailable: tally.tried_again_unavailable,
            repetition: self.repetition,
            fault_events: self.events,
            timeline: Timeline::of(operations, snapshot, self.clocks),
            history: self.file,
        }
    }

    /// SKUs of which at least as many units were sold as there were. `available` cannot tell: without a lock it may
    /// still show units when several times as many were sold.
    fn sold_out(&self) -> usize {
        let live = self.snapshot.live_units();
        let sold = |sku: &str| live.get(sku).copied().unwrap_or_default();
        self.snapshot.stock.iter().filter(|row| sold(&row.sku) >= row.on_hand).count()
    }

    /// Refused writes that belong to a pause: same order, same token. A fenced order writes only after its claim
    /// succeeded, and the refusal names a newer claim.
    fn paused_writes_refused(&self) -> usize {
        let refused = |events: &&FaultEvent| {
            let same = |refusal: &&audit::Refusal| {
                refusal.order_id == events.order_id && Some(refusal.token) == events.fencing_token
            };
            events.fired
                && self.snapshot.refused_at("write").any(|refusal| same(&refusal) && refusal.current > refusal.token)
        };
        self.events.iter().filter(refused).count()
    }
}

fn times(operations: &[Operation]) -> (f64, Latency, LockWait) {
    let mut latency = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).expect("fixed bounds are valid");
    let mut lock_wait = latency.clone();
    for operation in operations {
        if let Some((at, answer)) = operation.answered.as_ref().filter(|(_, answer)| answer.status.is_some()) {
            latency.saturating_record(
                u64::try_from(at.saturating_sub(operation.invoked).as_micros()).unwrap_or(LONGEST_US),
            );
            if let Some(waited) = answer.lock_ms {
                lock_wait.saturating_record(micros(waited));
            }
        }
    }
    let first = operations.iter().map(|operation| operation.invoked).min().unwrap_or_default();
    let last =
        operations.iter().filter_map(|operation| operation.answered.as_ref().map(|(at, _)| *at)).max().unwrap_or(first);
    let at = |histogram: &Histogram<u64>, quantile| ms(histogram.value_at_quantile(quantile));
    let latency_ms =
        Latency { p50: at(&latency, 0.5), p95: at(&latency, 0.95), p99: at(&latency, 0.99), max: ms(latency.max()) };
    let lock_wait_ms = LockWait { p50: at(&lock_wait, 0.5), p99: at(&lock_wait, 0.99) };
    (last.saturating_sub(first).as_secs_f64(), latency_ms, lock_wait_ms)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what a header said, kept within bounds")]
fn micros(ms: f64) -> u64 {
    (ms * 1000.0).clamp(0.0, 6e8) as u64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 orders")]
fn per_second(orders: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { orders as f64 / seconds } else { 0.0 }
}
