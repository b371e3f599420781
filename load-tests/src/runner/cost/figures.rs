//! Throughput, latency and cost of one measurement, and the medians of several.

use std::fmt;
use std::time::Duration;

use super::account::Usage;
use super::median::median;
use crate::runner::latency::Latencies;
use crate::workload::operation::Operation;
use crate::workload::outcome::Outcome;

/// Throughput, latency and cost of the orders that were answered as the measurement is about: accepted, or refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// 0 if no order was answered so; latencies are then 0 as well.
    pub(super) orders_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Orders with another answer, or none.
    pub(super) not_placed: usize,
    /// What each of them used.
    pub(super) usage: Usage,
}

impl Figures {
    /// Of the orders that were answered with `outcome` within `lasting` since `from`, and of what was used meanwhile.
    /// Latency includes retries and the pauses before them.
    pub(super) fn of(
        operations: &[Operation],
        outcome: Outcome,
        usage: Usage,
        from: Duration,
        lasting: Duration,
    ) -> Self {
        let (mut latencies, mut not_placed) = (Latencies::new(), 0);
        for operation in operations {
            let Some((at, answer)) = operation.answered.as_ref() else { continue };
            if !(from..from + lasting).contains(at) {
                continue;
            }
            if answer.outcome() == outcome {
                latencies.record(at.saturating_sub(operation.invoked));
            } else {
                not_placed += 1;
            }
        }
        let answered = f64::from(u32::try_from(latencies.count()).unwrap_or(u32::MAX));
        Self {
            orders_per_second: answered / lasting.as_secs_f64(),
            p50_ms: latencies.ms_at(0.5),
            p99_ms: latencies.ms_at(0.99),
            not_placed,
            usage: usage.per(answered),
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
            usage: Usage::median(&runs.iter().map(|run| run.usage).collect::<Vec<_>>()),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.orders_per_second <= 0.0 {
            return f.write_str("no order was answered in time");
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
        let figures = Figures::of(&all, Outcome::Accepted, Usage::default(), from, lasting);
        let rounded = Figures { p50_ms: figures.p50_ms.round(), p99_ms: figures.p99_ms.round(), ..figures };
        assert_eq!(
            rounded,
            Figures { orders_per_second: 1.5, p50_ms: 30.0, p99_ms: 99.0, not_placed: 1, usage: Usage::default() }
        );
        assert_eq!(figures.to_string(), "2/s, 30 / 99, 1 not placed");
        let none = Figures::of(&[], Outcome::Accepted, Usage::default(), from, lasting);
        assert_eq!(none.to_string(), "no order was answered in time");
    }

    #[test]
    fn the_median_is_taken_figure_by_figure_and_the_most_orders_not_placed_are_reported() {
        let run = |orders_per_second: f64, not_placed| Figures {
            orders_per_second,
            p50_ms: 2.0 * orders_per_second,
            p99_ms: 100.0 - orders_per_second,
            not_placed,
            usage: Usage::default(),
        };
        let median = Figures::median(&[run(10.0, 0), run(90.0, 3), run(30.0, 0)]);
        let expected =
            Figures { orders_per_second: 30.0, p50_ms: 60.0, p99_ms: 70.0, not_placed: 3, usage: Usage::default() };
        assert_eq!(median, Some(expected));
        assert_eq!(Figures::median(&[]), None);
    }
}
