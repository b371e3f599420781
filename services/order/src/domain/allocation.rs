//! The decision between read and write: how the units that were read are
//! allocated to orders. Pure: stock goes in, a decision on each order comes out.
//!
//! The stock may have changed by the time of the write. Nothing here prevents
//! that: the lock makes it rare, the fencing token makes it harmless.

use contract::Sku;

use crate::domain::order::OrderLine;

/// The stock of one SKU when it was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct StockSnapshot {
    /// The SKU.
    pub sku: Sku,
    /// Units that no reservation holds.
    pub available: i64,
    /// The version of the row; absent in the response to a claim.
    #[serde(default)]
    pub version: Option<i64>,
}

/// Fewer units of a SKU than an order needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The first SKU of the order, in SKU order, that is short.
    pub sku: Sku,
    /// Units of it.
    pub available: i64,
}

/// The decision on one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All its units are there and are now set against it.
    Allocated,
    /// The units were there, and orders before it in the batch take them. Their
    /// write decides.
    Deferred,
    /// Too few units were read, whatever the orders before it take.
    OutOfStock(Shortage),
}

/// Units that are not allocated yet.
#[derive(Debug, Clone)]
pub struct Remaining(Vec<StockSnapshot>);

impl Remaining {
    /// Nothing is allocated yet.
    pub fn new(observed: &[StockSnapshot]) -> Self {
        Self(observed.to_vec())
    }

    /// Takes the units of all lines, or of none.
    ///
    /// # Errors
    /// A SKU is short. A SKU that was not read has 0 units.
    pub fn take(&mut self, lines: &[OrderLine]) -> Result<(), Shortage> {
        self.check(lines)?;
        for line in lines {
            for stock in self.0.iter_mut().filter(|stock| stock.sku == line.sku) {
                stock.available -= line.quantity;
            }
        }
        Ok(())
    }

    /// Whether [`take`](Self::take) would succeed.
    ///
    /// # Errors
    /// As `take`.
    pub fn check(&self, lines: &[OrderLine]) -> Result<(), Shortage> {
        for line in lines {
            let available = self.0.iter().find(|stock| stock.sku == line.sku).map_or(0, |stock| stock.available);
            if available < line.quantity {
                return Err(Shortage { sku: line.sku.clone(), available });
            }
        }
        Ok(())
    }
}

/// Allocates stock, first come, first served; each order all or nothing.
#[derive(Debug)]
pub struct Allocator {
    observed: Remaining,
    remaining: Remaining,
}

impl Allocator {
    /// Nothing is allocated yet.
    pub fn new(observed: &[StockSnapshot]) -> Self {
        let observed = Remaining::new(observed);
        Self { remaining: observed.clone(), observed }
    }

    /// Decides on the next order, in order of arrival.
    pub fn decide(&mut self, lines: &[OrderLine]) -> Decision {
        match (self.remaining.take(lines), self.observed.check(lines)) {
            (Ok(()), _) => Decision::Allocated,
            (Err(_), Ok(())) => Decision::Deferred,
            (Err(_), Err(shortage)) => Decision::OutOfStock(shortage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(name: &str) -> Sku {
        name.parse().expect("valid")
    }

    fn line(name: &str, quantity: i64) -> OrderLine {
        OrderLine { sku: sku(name), quantity }
    }

    fn stock(name: &str, available: i64) -> StockSnapshot {
        StockSnapshot { sku: sku(name), available, version: None }
    }

    fn decide(orders: &[&[OrderLine]], observed: &[StockSnapshot]) -> Vec<Decision> {
        let mut allocator = Allocator::new(observed);
        orders.iter().map(|lines| allocator.decide(lines)).collect()
    }

    fn out_of_stock(name: &str, available: i64) -> Decision {
        Decision::OutOfStock(Shortage { sku: sku(name), available })
    }

    #[test]
    fn the_last_unit_can_be_allocated() {
        assert_eq!(decide(&[&[line("a", 3)]], &[stock("a", 3)]), [Decision::Allocated]);
    }

    #[test]
    fn one_short_line_refuses_the_whole_order() {
        let order = [line("a", 1), line("b", 2)];
        assert_eq!(decide(&[&order], &[stock("b", 1), stock("a", 9)]), [out_of_stock("b", 1)]);
    }

    #[test]
    fn a_sku_that_was_not_read_has_no_units() {
        assert_eq!(decide(&[&[line("a", 1)]], &[]), [out_of_stock("a", 0)]);
    }

    #[test]
    fn units_go_to_the_first_orders_and_an_order_of_too_many_delays_no_other() {
        let orders: [&[OrderLine]; 4] = [&[line("a", 2)], &[line("a", 9)], &[line("a", 2)], &[line("a", 1)]];
        assert_eq!(
            decide(&orders, &[stock("a", 3)]),
            [Decision::Allocated, out_of_stock("a", 3), Decision::Deferred, Decision::Allocated]
        );
    }

    #[test]
    fn an_order_that_is_refused_takes_no_units_of_its_other_lines() {
        let orders: [&[OrderLine]; 2] = [&[line("a", 1), line("b", 1)], &[line("a", 1)]];
        assert_eq!(decide(&orders, &[stock("a", 1)]), [out_of_stock("b", 0), Decision::Allocated]);
    }
}
