//! The overload curve: more and more customers for one SKU, far beyond what the services can serve, and then as few as
//! before. Whoever is refused waits as long as the answer asks for.
//!
//! Invariant: an order is sent once, so every answer is in the curve.

use std::fmt::Write as _;
use std::time::Duration;

use contract::Strategy;
use kuva::plot::bar::BarPlot;
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;

use super::account::Usage;
use crate::runner::latency::Latencies;
use crate::scenario::load::Load;
use crate::workload::operation::Operation;
use crate::workload::outcome::Outcome;

/// The numbers of customers, each with a connection of its own; the last load shows what the rush left behind.
const LOADS: [u64; 10] = [1, 16, 64, 256, 512, 800, 1_600, 3_200, 5_000, 64];
/// Thousands of connections are established, and their first orders answered, before the measurement.
pub(super) const WARM_UP: Duration = Duration::from_secs(3);
const ACCEPTED: &str = "#2f6f4f";

/// More orders per second than a machine answers, refusals included.
const MOST_ORDERS_PER_SECOND: u64 = 20_000;

/// The loads up to the largest one, and the last.
pub(super) fn loads(largest: u64) -> impl Iterator<Item = u64> {
    LOADS.into_iter().filter(move |load| *load <= largest)
}

/// More orders than can be answered, all for one SKU, and a unit in stock for each.
pub(super) fn load(connections: u64, lasting: Duration) -> Load {
    let iterations = (MOST_ORDERS_PER_SECOND * (WARM_UP + lasting).as_secs()).div_ceil(connections);
    Load { users: connections, iterations, skus: 1, stock: connections * iterations, skew: 0.0 }
}

/// The answers to one load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answers {
    pub(super) connections: u64,
    accepted: Kind,
    refused: Kind,
    /// Neither accepted nor 429: customers do not know whether they bought something, or heard of a failure.
    failed_per_second: f64,
    /// Processor milliseconds of all services and servers in each second.
    busy_ms: f64,
    /// The same, of the customers.
    customers_ms: f64,
}

/// Answers of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Kind {
    fn of(latencies: &Latencies, lasting: Duration) -> Self {
        let answers = f64::from(u32::try_from(latencies.count()).unwrap_or(u32::MAX));
        Self {
            per_second: answers / lasting.as_secs_f64(),
            p50_ms: latencies.ms_at(0.5),
            p99_ms: latencies.ms_at(0.99),
        }
    }
}

impl Answers {
    /// Of the orders that were answered within `lasting` since `from`, and of what was used meanwhile.
    pub(super) fn of(
        connections: u64,
        operations: &[Operation],
        usage: Usage,
        from: Duration,
        lasting: Duration,
    ) -> Self {
        let (mut accepted, mut refused, mut failed) = (Latencies::new(), Latencies::new(), Latencies::new());
        for operation in operations {
            let Some((at, answer)) = operation.answered.as_ref() else { continue };
            if !(from..from + lasting).contains(at) {
                continue;
            }
            let kind = match (answer.outcome(), answer.status) {
                (Outcome::Accepted, _) => &mut accepted,
                (_, Some(429)) => &mut refused,
                _ => &mut failed,
            };
            kind.record(at.saturating_sub(operation.invoked));
        }
        let each_second = usage.per(lasting.as_secs_f64());
        Self {
            connections,
            accepted: Kind::of(&accepted, lasting),
            refused: Kind::of(&refused, lasting),
            failed_per_second: Kind::of(&failed, lasting).per_second,
            busy_ms: each_second.processor_ms(),
            customers_ms: each_second.customers_ms,
        }
    }
}

/// The document `overload.md`.
pub(super) fn text(strategy: Strategy, lasting: Duration, payment: Duration, curve: &[Answers]) -> String {
    let best = best(curve);
    let mut text = format!(
        "# Overload: `{strategy}`, one SKU\n\n\
         Each customer has a connection and orders again as soon as the previous order was answered; after a 429, once \
         to twice as long after it as `Retry-After` asks for. The last columns are the processor milliseconds that services \
         and servers used in each second, and that the customers used on the same machine. Each load lasts {} s after a warm-up of {} s; payment {} ms. The last load comes \
         directly after the largest.\n\n![accepted orders per second](overload.svg)\n\n\
         | connections | accepted/s | of the best | p50 ms | p99 ms | 429/s | p99 ms | other answers/s | services ms/s | customers ms/s |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        lasting.as_secs(),
        WARM_UP.as_secs(),
        payment.as_millis()
    );
    for answers in curve {
        let Answers { connections, accepted, refused, failed_per_second, busy_ms, customers_ms } = answers;
        let _ = writeln!(
            text,
            "| {connections} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {failed_per_second:.1} | {busy_ms:.0} | {customers_ms:.0} |",
            accepted.per_second,
            accepted.per_second / best,
            accepted.p50_ms,
            accepted.p99_ms,
            refused.per_second,
            refused.p99_ms
        );
    }
    text
}

/// The chart: accepted orders per second at each load.
pub(super) fn chart(curve: &[Answers]) -> String {
    let mut bars = BarPlot::new().with_width(0.7);
    for (at, answers) in curve.iter().enumerate() {
        let again = curve[..at].iter().any(|earlier| earlier.connections == answers.connections);
        let label = format!("{}{}", answers.connections, if again { " again" } else { "" });
        bars = bars.with_colored_bar(label, answers.accepted.per_second, ACCEPTED);
    }
    let plots = vec![Plot::from(bars)];
    let layout = Layout::auto_from_plots(&plots)
        .with_width(640.0)
        .with_height(320.0)
        .with_x_label("connections")
        .with_y_label("accepted orders/s")
        .with_y_tick_format(TickFormat::Integer);
    kuva::render_to_svg(plots, layout)
}

fn best(curve: &[Answers]) -> f64 {
    curve.iter().map(|answers| answers.accepted.per_second).fold(f64::MIN_POSITIVE, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::operation::{Answer, Invocation};

    fn order(answered_ms: u64, status: Option<u16>, code: &str) -> Operation {
        let invocation = Invocation { key: "k".into(), sku: "a".into(), quantity: 1, to: "http://order".into() };
        let answer = Answer { status, code: Some(code.to_owned()), ..Answer::silence() };
        Operation { invocation, invoked: Duration::ZERO, answered: Some((Duration::from_millis(answered_ms), answer)) }
    }

    #[test]
    fn every_answer_of_the_measurement_is_accepted_refused_or_failed() {
        let (from, lasting) = (Duration::from_secs(1), Duration::from_secs(2));
        let orders = [
            order(999, Some(201), ""),
            order(1_000, Some(201), ""),
            order(2_000, Some(201), ""),
            order(1_500, Some(429), "overloaded"),
            order(1_500, Some(503), "dependency_unavailable"),
            order(1_500, None, ""),
        ];
        let answers = Answers::of(16, &orders, Usage::default(), from, lasting);
        let text = text(Strategy::RedlockFenced, lasting, Duration::from_millis(2), &[answers]);
        assert!(text.ends_with("| 16 | 1 | 1.00 | 1000 | 2001 | 0 | 1500 | 1.0 | 0 | 0 |\n"), "{text}");
        assert!(chart(&[answers, answers]).contains("16 again"));
    }
}
