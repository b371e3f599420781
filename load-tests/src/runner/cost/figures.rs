//! Throughput and latency of one measurement, and the medians of several.

use std::fmt;
use std::time::Duration;

use crate::runner::latency::Latencies;
use crate::workload::operation::Operation;
use crate::workload::outcome::Outcome;

/// Throughput and latency of accepted orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// 0 if no order was accepted; latencies are then 0 as well.
    pub(super) orders_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Orders with another answer, or none.
    pub(super) not_placed: usize,
}

impl Figures {
    /// Of the orders that were answered within `lasting` since `from`. Latency includes retries and the pauses before
    /// them.
    pub(super) fn of(operations: &[Operation], from: Duration, lasting: Duration) -> Self {
        let (mut latencies, mut not_placed) = (Latencies::new(), 0);
        for operation in operations {
            let Some((at, answer)) = operation.answered.as_ref() else { continue };
            if !(from..from + lasting).contains(at) {
                continue;
            }
            if answer.outcome() == Outcome::Accepted {
                latencies.record(at.saturating_sub(operation.invoked));
            } else {
                not_placed += 1;
            }
        }
        let accepted = f64::from(u32::try_from(latencies.count()).unwrap_or(u32::MAX));
        Self {
            orders_per_second: accepted / lasting.as_secs_f64(),
            p50_ms: latencies.ms_at(0.5),
            p99_ms: latencies.ms_at(0.99),
            not_placed,
        }
    }

    /// The median of each figure over several runs, and the highest count of orders not placed; `None` without a run.
    pub(super) fn median(runs: &[Self]) -> Option<Self> {
        let not_placed = runs.iter().map(|run| run.not_placed).max()?;
        let answered: Vec<_> = runs.iter().filter(|run| run.orders_per_second > 0.0).collect();
        Some(Self {
            orders_per_second: median(runs.iter().map(|run| run.orders_per_second)),
            p50_ms: median(answered.iter().map(|run| run.p50_ms)),
            p99_ms: median(answered.iter().map(|run| run.p99_ms)),
            not_placed,
        })
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.orders_per_second <= 0.0 {
            return f.write_str("no order was accepted in time");
        }
        write!(f, "{:.0}/s, {:.0} / {:.0}", self.orders_per_second, self.p50_ms, self.p99_ms)?;
        if self.not_placed == 0 { Ok(()) } else { write!(f, ", {} not placed", self.not_placed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::operation::{Answer, Invocation};

    fn order(invoked_ms: u64, answered_ms: u64, status: u16) -> Operation {
        let invocation = Invocation { key: "k".into(), sku: "a".into(), quantity: 1, to: "http://order".into() };
        let answer = Answer { status: Some(status), code: None, order_id: None, lock_ms: None };
        Operation {
            invocation,
            invoked: Duration::from_millis(invoked_ms),
            answered: Some((Duration::from_millis(answered_ms), answer)),
        }
    }

    #[test]
    fn only_orders_answered_after_the_warm_up_and_before_the_end_are_counted() {
        let (from, lasting) = (Duration::from_secs(1), Duration::from_secs(2));
        let early = order(500, 999, 201);
        let late = order(2_900, 3_000, 201);
        let counted =
            [order(990, 1_000, 201), order(1_000, 1_030, 201), order(2_900, 2_999, 201), order(1_500, 1_600, 409)];
        let all: Vec<_> = counted.into_iter().chain([early, late]).collect();
        let figures = Figures::of(&all, from, lasting);
        let rounded = Figures { p50_ms: figures.p50_ms.round(), p99_ms: figures.p99_ms.round(), ..figures };
        assert_eq!(rounded, Figures { orders_per_second: 1.5, p50_ms: 30.0, p99_ms: 99.0, not_placed: 1 });
        assert_eq!(figures.to_string(), "2/s, 30 / 99, 1 not placed");
        assert_eq!(Figures::of(&[], from, lasting).to_string(), "no order was accepted in time");
    }

    #[test]
    fn the_median_is_taken_figure_by_figure_and_the_most_orders_not_placed_are_reported() {
        let run = |orders_per_second: f64, not_placed| Figures {
            orders_per_second,
            p50_ms: 2.0 * orders_per_second,
            p99_ms: 100.0 - orders_per_second,
            not_placed,
        };
        let median = Figures::median(&[run(10.0, 0), run(90.0, 3), run(30.0, 0)]);
        assert_eq!(median, Some(Figures { orders_per_second: 30.0, p50_ms: 60.0, p99_ms: 70.0, not_placed: 3 }));
        assert_eq!(Figures::median(&[]), None);
    }
}
