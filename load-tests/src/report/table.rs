//! The table of rows: all columns, the same in `report.md`, `index.html` and a wide terminal, and the few that decide,
//! for a terminal of 80 characters.

use super::model::{Change, RunReport, Verdict};
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

/// The columns that decide; the first has the strategy and the fault.
pub(super) const DECISIVE_COLUMNS: [&str; 6] = ["strategy · fault", "stock", "sold", "oversold", "refused", "p99"];

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

/// The cells of a row that decide. A row that is void or broke a promise says so beside its name.
pub(super) fn decisive_cells(run: &RunReport, verdict: &Verdict) -> [String; DECISIVE_COLUMNS.len()] {
    let name = run.name();
    let mark = match (verdict.is_broken(name), verdict.is_void(name)) {
        (true, _) => " (BROKEN)",
        (false, true) => " (void)",
        (false, false) => "",
    };
    [
        format!("{} · {}{mark}", run.strategy, run.fault),
        run.initial_stock.to_string(),
        run.units_sold.to_string(),
        run.units_oversold.to_string(),
        run.stale_writes_refused.to_string(),
        format!("{:.0} ms", run.latency_ms.p99),
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
