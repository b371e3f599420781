//! The points at which cost is measured.

use std::fmt;
use std::time::Duration;

use crate::scenario::load::Load;
use crate::workload::outcome::Outcome;

/// More customers, the same SKUs.
pub(super) const CLIENT_COUNTS: [Point; 4] = [
    Point { users: 1, skus: 10, sold_out: false },
    Point { users: 8, skus: 10, sold_out: false },
    Point { users: 64, skus: 10, sold_out: false },
    Point { users: 256, skus: 10, sold_out: false },
];
/// More SKUs, the same customers.
pub(super) const SKU_COUNTS: [Point; 3] = [
    Point { users: 64, skus: 1, sold_out: false },
    Point { users: 64, skus: 10, sold_out: false },
    Point { users: 64, skus: 1_000, sold_out: false },
];
/// Nothing is left: every order is refused.
pub(super) const SOLD_OUT: [Point; 1] = [Point { users: 64, skus: 1, sold_out: true }];
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
    /// One unit of each SKU is in stock, and is gone before the measurement begins.
    pub(super) sold_out: bool,
}

impl Point {
    /// Every point, each once.
    pub(super) fn all() -> Vec<Self> {
        let others = SKU_COUNTS.into_iter().filter(|point| !CLIENT_COUNTS.contains(point));
        CLIENT_COUNTS.into_iter().chain(others).chain(SOLD_OUT).collect()
    }

    /// The answer that the measurement is about.
    pub(super) fn outcome(self) -> Outcome {
        if self.sold_out { Outcome::SoldOut } else { Outcome::Accepted }
    }

    /// More orders than can be answered in the warm-up and `lasting`, every SKU equally often, and a unit in stock for
    /// each, unless it is sold out.
    pub(super) fn load(self, lasting: Duration) -> Load {
        let Self { users, skus, sold_out } = self;
        let per_second = if sold_out { MOST_REFUSALS_PER_SECOND } else { MOST_ORDERS_PER_SECOND };
        let iterations = (per_second * (WARM_UP + lasting).as_secs()).div_ceil(users);
        let stock = if sold_out { skus } else { (users * iterations).div_ceil(skus) * skus };
        Load { users, iterations, skus, stock, skew: 0.0 }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.users, "customer"), counted(self.skus, "SKU"))?;
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
            load.demand(1).iter().for_each(|&sku| requested[usize::try_from(sku).expect("few")] += 1);
            assert!(requested.iter().zip(load.stocks(1)).all(|(&requested, stock)| requested <= stock), "{point}");
        }
    }
}
