//! The goals and the measured values: ratios within one run, because absolute values depend on the load of the
//! machine.

use crate::row::Row;

/// A line for each goal whose rows were measured.
pub(crate) fn all(rows: &[Row]) -> Vec<String> {
    let row = |case: &str, subject: &str| {
        rows.iter().find(|row| row.case == case && row.subject == subject && row.nodes == 5)
    };
    let p50 = |case: &str, subject: &str| row(case, subject)?.p50_us;
    let rate = |case: &str, subject: &str| row(case, subject)?.cycles_per_second;
    let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let contended = row("one key", "ours");
    // Holds and handoffs of one key cannot overlap: no lock on these nodes can be faster.
    let upper_bound = || Some(1e6 / (contended?.hold_us? + p50("alone", "floor")?));
    let goals = [
        ("alone, p50 over the floor's", ratio(p50("alone", "ours"), p50("alone", "floor")), "≤ 1.25"),
        ("alone, p50 over rslock's", ratio(p50("alone", "ours"), p50("alone", "rslock")), "< 1"),
        (
            "one node stopped, p50 over its own with none stopped",
            ratio(p50("one node stopped", "ours"), p50("none stopped", "ours")),
            "≤ 1.25",
        ),
        ("one key, failed acquisitions", contended.map(|row| crate::figures::as_f64(row.failed)), "0"),
        ("one key, cycles/s over rslock's", ratio(rate("one key", "ours"), rate("one key", "rslock")), "≥ 1.5"),
        ("one key, cycles/s over the best possible", ratio(rate("one key", "ours"), upper_bound()), "≥ 0.8"),
        ("one key, fairness", contended.and_then(|row| row.fairness), "≥ 0.9"),
        ("one key, p99 wait over p50", contended.and_then(|row| ratio(row.p99_us, row.p50_us)), "≤ 5"),
    ];
    let line =
        |(what, reached, goal): (&str, Option<f64>, &str)| Some(format!("{what}: {:.2} (goal {goal})", reached?));
    goals.into_iter().filter_map(line).collect()
}
