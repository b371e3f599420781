//! `cost.md`: tables over customers, over SKUs and of refusals, and the account of each strategy.

use std::fmt::Write as _;
use std::time::Duration;

use contract::Strategy;

use super::account::KINDS;
use super::figures::Figures;
use super::floor::FloorFigures;
use crate::report::document::Chart;

use super::point::{CLIENT_COUNTS, LINE_COUNTS, Point, SKU_COUNTS, SOLD_OUT, WARM_UP, counted};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measurement {
    pub(super) point: Point,
    pub(super) strategy: Strategy,
    pub(super) figures: Figures,
}

/// What the measurements have in common.
pub(super) struct Conditions<'a> {
    pub(super) strategies: &'a [Strategy],
    pub(super) lasting: Duration,
    pub(super) runs: usize,
    pub(super) payment: Duration,
    pub(super) existing_orders: u64,
}

/// The whole document.
pub(super) fn text(conditions: &Conditions<'_>, measurements: &[Measurement], floor: &[FloorFigures]) -> String {
    let mut text = String::from("# What each strategy costs\n\n");
    let _ = writeln!(
        text,
        "Orders per second, p50 / p99 in ms. Each customer orders again as soon as the previous order was answered, for {} \
         s after a warm-up of {} s; medians of {} runs, payment {} ms, every order is for a unit in stock unless said \
         otherwise. Processor time is that of the processes, in milliseconds per order. Each table held {} orders of the past.\n",
        conditions.lasting.as_secs(),
        WARM_UP.as_secs(),
        conditions.runs,
        conditions.payment.as_millis(),
        conditions.existing_orders
    );
    let _ = writeln!(text, "## More customers, {} SKUs\n", CLIENT_COUNTS[0].skus);
    text += &table(conditions, measurements, &CLIENT_COUNTS, |point| counted(point.users, "customer"));
    let _ = writeln!(text, "\n## More SKUs, {} customers\n", SKU_COUNTS[0].users);
    text += &table(conditions, measurements, &SKU_COUNTS, |point| counted(point.skus, "SKU"));
    text += &floor_row(floor);
    text += "\nThe floor is `pgbench` with 32 connections: the rows of an order in one transaction of one database, without \
             services, locks or HTTP. Orders per second, of the floor:\n\n";
    text += &ratios(conditions, measurements, floor);
    let _ = writeln!(
        text,
        "\n## More lines in each order, {} customers, {} SKUs\n",
        LINE_COUNTS[0].users, LINE_COUNTS[0].skus
    );
    text += &table(conditions, measurements, &LINE_COUNTS, |point| counted(point.lines, "line"));
    let _ = writeln!(text, "\n## Refusals: everything is sold out, {} customers\n", SOLD_OUT[0].users);
    text += &table(conditions, measurements, &SOLD_OUT, |point| counted(point.skus, "SKU"));
    let several_lines = LINE_COUNTS.into_iter().filter(|point| point.lines > 1);
    for point in SKU_COUNTS.into_iter().chain(several_lines).chain(SOLD_OUT) {
        let _ = writeln!(text, "\n## What each order uses: {point}\n");
        text += &account(conditions, measurements, point);
        if let Some(figures) = FloorFigures::median(floor, point.skus).filter(|_| SKU_COUNTS.contains(&point)) {
            let _ = writeln!(text, "| floor | {} |", figures.usage);
        }
    }
    text
}

/// Orders per second of each strategy, for one SKU and for many.
pub(super) fn charts(conditions: &Conditions<'_>, measurements: &[Measurement]) -> Vec<Chart> {
    let of_point = |point: Point| {
        let number = |strategy: &Strategy| {
            let figures = Figures::median(&runs(measurements, point, *strategy))?;
            Some((*strategy, figures.orders_per_second))
        };
        let numbers: Vec<_> = conditions.strategies.iter().filter_map(number).collect();
        Chart::of_strategies(&point.to_string(), "orders per second", &numbers)
    };
    [SKU_COUNTS[0], SKU_COUNTS[SKU_COUNTS.len() - 1]].into_iter().filter_map(of_point).collect()
}

/// The last row of the table over SKUs.
fn floor_row(floor: &[FloorFigures]) -> String {
    let cells = SKU_COUNTS.map(|point| FloorFigures::median(floor, point.skus).map(|figures| figures.to_string()));
    format!("| floor | {} |\n", cells.map(Option::unwrap_or_default).join(" | "))
}

/// How many orders per second each strategy accepts for one of the floor.
fn ratios(conditions: &Conditions<'_>, measurements: &[Measurement], floor: &[FloorFigures]) -> String {
    let heads = SKU_COUNTS.map(|point| counted(point.skus, "SKU"));
    let mut text = format!("| strategy | {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(heads.len()));
    for &strategy in conditions.strategies {
        let cells = SKU_COUNTS.map(|point| {
            let figures = Figures::median(&runs(measurements, point, strategy));
            let ratio = figures.zip(FloorFigures::median(floor, point.skus));
            ratio
                .map(|(figures, floor)| format!("{:.2}", figures.orders_per_second / floor.per_second))
                .unwrap_or_default()
        });
        let _ = writeln!(text, "| {strategy} | {} |", cells.join(" | "));
    }
    text
}

/// What one order uses under each strategy, at one point.
fn account(conditions: &Conditions<'_>, measurements: &[Measurement], point: Point) -> String {
    let mut text = format!(
        "| strategy | {} ms | all ms | commits | WAL kB | lock-node commands |\n|---|{}\n",
        KINDS.join(" ms | "),
        "---:|".repeat(KINDS.len() + 4)
    );
    for &strategy in conditions.strategies {
        if let Some(figures) = Figures::median(&runs(measurements, point, strategy)) {
            let _ = writeln!(text, "| {strategy} | {} |", figures.usage);
        }
    }
    text
}

/// The figures of each run.
fn runs(measurements: &[Measurement], point: Point, strategy: Strategy) -> Vec<Figures> {
    let same = |one: &&Measurement| (one.point, one.strategy) == (point, strategy);
    measurements.iter().filter(same).map(|one| one.figures).collect()
}

fn table(
    conditions: &Conditions<'_>,
    measurements: &[Measurement],
    points: &[Point],
    name: impl Fn(&Point) -> String,
) -> String {
    let heads: Vec<_> = points.iter().map(name).collect();
    let mut text = format!("| strategy | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(points.len()));
    for &strategy in conditions.strategies {
        let cells = points.iter().map(|&point| {
            Figures::median(&runs(measurements, point, strategy)).map(|figures| figures.to_string()).unwrap_or_default()
        });
        let _ = writeln!(text, "| {strategy} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::account::Usage;
    use super::*;

    #[test]
    fn the_document_of_one_strategy() {
        let figures =
            Figures { orders_per_second: 120.4, p50_ms: 8.3, p99_ms: 40.0, not_placed: 0, usage: Usage::default() };
        let measured = |point, not_placed| Measurement {
            point,
            strategy: Strategy::RedlockFenced,
            figures: Figures { not_placed, ..figures },
        };
        let conditions = Conditions {
            strategies: &[Strategy::RedlockFenced],
            lasting: Duration::from_secs(4),
            runs: 3,
            payment: Duration::from_millis(2),
            existing_orders: 0,
        };
        let floor = FloorFigures { skus: 1, per_second: 240.8, latency_ms: 4.15, usage: Usage::default() };
        let measurements = [measured(CLIENT_COUNTS[0], 0), measured(SKU_COUNTS[0], 2)];
        insta::assert_snapshot!(text(&conditions, &measurements, &[floor]));
    }
}
