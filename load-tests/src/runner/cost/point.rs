//! The points at which cost is measured.

use std::fmt;
use std::time::Duration;

use crate::scenario::load::Load;
use crate::workload::outcome::Outcome;

/// More customers, the same SKUs.
pub(super) const CLIENT_COUNTS: [Point; 4] = [
    Point { users: 1, ..COMMON },
    Point { users: 8, ..COMMON },
    Point { users: 64, ..COMMON },
    Point { users: 256, ..COMMON },
];
/// More SKUs, the same customers.
pub(super) const SKU_COUNTS: [Point; 3] =
    [Point { skus: 1, ..COMMON }, Point { skus: 10, ..COMMON }, Point { skus: 1_000, ..COMMON }];
/// More lines in each order, the same customers and SKUs.
pub(super) const LINE_COUNTS: [Point; 3] = [
    Point { skus: 1_000, lines: 1, ..COMMON },
    Point { skus: 1_000, lines: 3, ..COMMON },
    Point { skus: 1_000, lines: 10, ..COMMON },
];
/// Nothing is left: every order is refused.
pub(super) const SOLD_OUT: [Point; 1] = [Point { skus: 1, sold_out: true, ..COMMON }];
const COMMON: Point = Point { users: 64, skus: 10, lines: 1, sold_out: false };
/// Connections are established and caches filled before the measurement.
pub(super) const WARM_UP: Duration = Duration::from_secs(1);
/// More orders per second than any machine answers; the demand of a measurement is computed from it.
const MOST_ORDERS_PER_SECOND: u64 = 5_000;
/// The same, where every order is refused.
const MOST_REFUSALS_PER_SECOND: u64 = 50_000;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) users: u64,
    pub(super) skus: u64,
    /// Lines of each order, each for a unit of another SKU.
    pub(super) lines: u64,
    /// One unit of each SKU is in stock, and is gone before the measurement begins.
    pub(super) sold_out: bool,
}

impl Point {
    /// Every point, each once.
    pub(super) fn all() -> Vec<Self> {
        let mut points = Vec::new();
        for point in CLIENT_COUNTS.into_iter().chain(SKU_COUNTS).chain(LINE_COUNTS).chain(SOLD_OUT) {
            if !points.contains(&point) {
                points.push(point);
            }
        }
        points
    }

    /// The answer that the measurement is about.
    pub(super) fn outcome(self) -> Outcome {
        if self.sold_out { Outcome::SoldOut } else { Outcome::Accepted }
    }

    /// More orders than can be answered in the warm-up and `lasting`, every SKU equally often, and a unit in stock for
    /// each, unless it is sold out.
    pub(super) fn load(self, lasting: Duration) -> Load {
        let Self { users, skus, lines, sold_out } = self;
        let per_second = if sold_out { MOST_REFUSALS_PER_SECOND } else { MOST_ORDERS_PER_SECOND };
        let iterations = (per_second * (WARM_UP + lasting).as_secs()).div_ceil(users);
        let stock = if sold_out { skus } else { (users * iterations).div_ceil(skus) * skus * lines };
        Load { users, iterations, skus, stock, skew: 0.0 }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.users, "customer"), counted(self.skus, "SKU"))?;
        if self.lines > 1 {
            write!(f, ", {} in each order", counted(self.lines, "line"))?;
        }
        if self.sold_out { f.write_str(", sold out") } else { Ok(()) }
    }
}

/// The number and its noun, in the plural where needed.
pub(super) fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_for_a_unit_in_stock_unless_it_is_sold_out() {
        for point in Point::all().into_iter().filter(|point| !point.sold_out) {
            let load = point.load(Duration::from_secs(4));
            let mut requested = vec![0; usize::try_from(point.skus).expect("few")];
            load.demand(1).iter().for_each(|&sku| requested[usize::try_from(sku).expect("few")] += point.lines);
            assert!(requested.iter().zip(load.stocks(1)).all(|(&requested, stock)| requested <= stock), "{point}");
        }
    }
}
