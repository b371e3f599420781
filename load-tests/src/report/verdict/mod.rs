//! Judges the rows of a run. Pure: rows go in, a verdict comes out.
//!
//! Invariant: a row that could not have shown overselling makes the run void, and void is not a pass.
//! Absence: no threshold of speed; a slow machine gets the same verdict, and a warning.

use std::time::Duration;

use contract::Strategy;

use super::model::{BrokenPromise, RowVoid, RunReport, Verdict, VoidReason, Warning};
use crate::faults::Fault;
use crate::scenario::load::DEMAND;
use crate::scenario::theory::{Theory, promises_no_oversell};

/// A median order that takes longer than this many payments has waited for most of its time.
const QUEUED_PAYMENTS: u64 = 10;

/// Judges the rows; `interrupted` names the signal that ended the run early.
pub fn judge(runs: &[RunReport], interrupted: Option<&'static str>) -> Verdict {
    // The reason why rows are missing comes first: the other reasons follow from it.
    let stopped = interrupted.map(VoidReason::Interrupted);
    let nothing = (runs.is_empty() && interrupted.is_none()).then_some(VoidReason::NoRow);
    let void_reasons: Vec<_> = stopped.into_iter().chain(nothing).chain(runs.iter().flat_map(row_reasons)).collect();
    Verdict {
        valid: void_reasons.is_empty(),
        void_reasons,
        error_reduction_percent: error_reduction(runs),
        broken_promises: runs.iter().flat_map(broken_promises).collect(),
        promises_tested: runs.iter().filter(|run| promises_no_oversell(run.strategy, run.fault)).count(),
        warnings: runs.iter().flat_map(warnings).collect(),
    }
}

/// The row is void and broke no promise, but another repetition may show something.
pub fn is_worth_repeating(run: &RunReport) -> bool {
    let enough_demand = run.attempts_planned >= DEMAND * run.initial_stock;
    enough_demand && !void_reasons(run).is_empty() && broken_promises(run).is_empty()
}

fn row_reasons(run: &RunReport) -> impl Iterator<Item = VoidReason> {
    let row = run.name();
    void_reasons(run).into_iter().map(move |reason| VoidReason::Row { row, reason })
}

/// Why a row could not have shown overselling, or did not show what it is there to show.
fn void_reasons(run: &RunReport) -> Vec<RowVoid> {
    let mut reasons = Vec::new();
    let mut unless = |fine: bool, reason: RowVoid| {
        if !fine {
            reasons.push(reason);
        }
    };
    let (attempts, planned, stock) = (run.attempts, run.attempts_planned, run.initial_stock);
    let (oversold, needed) = (run.units_oversold, DEMAND * stock);
    unless(attempts == planned, RowVoid::OrdersMissing { attempts, planned });
    unless(attempts >= needed, RowVoid::TooFewOrders { attempts, stock, needed });
    let (sold_out, skus) = (run.skus_sold_out, run.skus);
    unless(sold_out == skus, RowVoid::NotSoldOut { sold_out, skus });
    let unguarded = (run.strategy, run.fault) == (Strategy::Off, Fault::None);
    unless(!unguarded || oversold >= stock, RowVoid::LoadTooLight { oversold, stock });
    unless(run.fault == Fault::None || run.faults_fired > 0, RowVoid::FaultNeverFired);
    if run.fault.spec().makes_writes_stale && run.faults_fired > 0 {
        unless(!run.strategy.claims() || run.paused_writes_refused > 0, RowVoid::FenceNotTested);
    }
    if Theory::of(run.strategy, run.fault, Duration::from_millis(run.payment_ms)) == Theory::Certain {
        unless(oversold > 0, RowVoid::FaultTooMild);
    }
    if let Some(undecided) = run.audit.undecided.first() {
        reasons.push(RowVoid::Undecided { item: undecided.item(), undecided: undecided.clone() });
    }
    reasons.extend(run.unsettled.map(RowVoid::Unsettled));
    reasons
}

fn broken_promises(run: &RunReport) -> Vec<BrokenPromise> {
    let (row, promised) = (run.name(), promises_no_oversell(run.strategy, run.fault));
    let mut broken = Vec::new();
    if promised && run.units_oversold > 0 {
        broken.push(BrokenPromise::Oversold { row, units: run.units_oversold });
    }
    // Databases that could still change prove nothing about the other rules; the row is void.
    if run.unsettled.is_some() {
        return broken;
    }
    let unexpected = run.audit.violations.iter().find(|violation| promised || !violation.item().about_stock());
    broken.extend(unexpected.map(|violation| BrokenPromise::AuditFailed {
        row,
        item: violation.item(),
        violation: violation.clone(),
    }));
    broken
}

fn warnings(run: &RunReport) -> Vec<Warning> {
    let row = run.name();
    let mut warnings = Vec::new();
    let (payment_ms, accepted) = (run.payment_ms, run.accepted);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a latency in milliseconds")]
    let p50_ms = run.latency_ms.p50 as u64;
    if payment_ms > 0 && p50_ms > QUEUED_PAYMENTS * payment_ms {
        warnings.push(Warning::Queued { row, p50_ms, payment_ms });
    }
    let undecided = run.attempts.saturating_sub(accepted + run.sold_out);
    if undecided > accepted {
        warnings.push(Warning::MostlyUndecided { row, undecided, accepted });
    }
    warnings
}

fn error_reduction(runs: &[RunReport]) -> Option<f64> {
    let off = runs.iter().find(|run| run.strategy == Strategy::Off && run.fault == Fault::None)?;
    let safe = runs.iter().filter(|run| run.strategy.is_safe());
    let worst = safe.map(|run| run.units_oversold).max()?;
    if off.units_oversold == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "units of one experiment")]
    let share = worst as f64 / off.units_oversold as f64;
    // Truncated, not rounded: 99.99… is not 100.
    Some(((1.0 - share) * 10_000.0).floor() / 100.0)
}

#[cfg(test)]
mod tests;
