//! The table of rows: the same columns in the terminal, `report.md` and `index.html`.

use super::model::{Change, RunReport};
use crate::audit::{Item, Undecided, Violation};

/// The columns of the table.
pub(super) const COLUMNS: [&str; 14] = [
    "strategy",
    "fault",
    "stock",
    "attempts",
    "accepted",
    "oversold",
    "lost updates",
    "stale writes refused",
    "payments voided",
    "429s / 503s",
    "orders/s",
    "p50",
    "p99",
    "audit",
];

/// The columns of a comparison, after the name of the row.
pub(super) const COMPARISON_COLUMNS: [&str; 4] = ["oversold", "orders/s", "p50 ms", "p99 ms"];

/// The cells of a row.
pub(super) fn cells(run: &RunReport) -> [String; COLUMNS.len()] {
    [
        run.strategy.to_string(),
        run.fault.to_string(),
        run.initial_stock.to_string(),
        run.attempts.to_string(),
        run.accepted.to_string(),
        run.units_oversold.to_string(),
        run.lost_updates.to_string(),
        run.stale_writes_refused.to_string(),
        run.payments_voided.to_string(),
        format!(
            "{} / {}",
            run.overloaded + run.tried_again_overloaded,
            run.lock_timeouts + run.unavailable + run.tried_again_unavailable
        ),
        format!("{:.0}", run.orders_per_second),
        format!("{:.0} ms", run.latency_ms.p50),
        format!("{:.0} ms", run.latency_ms.p99),
        audit_cell(run),
    ]
}

/// The cells of a compared row.
pub(super) fn comparison_cells(change: &Change) -> [String; COMPARISON_COLUMNS.len()] {
    [&change.oversold, &change.orders_per_second, &change.p50_ms, &change.p99_ms].map(ToString::to_string)
}

/// `passed`, or the numbers of the items that are broken or undecided.
fn audit_cell(run: &RunReport) -> String {
    match (run.audit.violations.as_slice(), run.audit.undecided.as_slice()) {
        ([], []) => "passed".to_owned(),
        ([], undecided) => format!("undecided: {}", numbers(undecided.iter().map(Undecided::item))),
        (broken, _) => format!("broken: {}", numbers(broken.iter().map(Violation::item))),
    }
}

fn numbers(items: impl Iterator<Item = Item>) -> String {
    let mut items: Vec<_> = items.collect();
    items.dedup();
    items.iter().map(Item::to_string).collect::<Vec<_>>().join(" ")
}
