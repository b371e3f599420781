//! The decision that sits between read and write. Pure: what was read goes in,
//! yes or no comes out, for every order that shares the read. It may be wrong by the time it is written, and nothing
//! here tries to prevent that: the lock makes it rare, the fence makes it harmless.

use crate::domain::order::{OrderLine, Sku};

/// What a SKU looked like when it was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct StockSnapshot {
    /// Which.
    pub sku: Sku,
    /// Units that nobody holds.
    pub available: i64,
    /// The row's version, for those who compare versions.
    #[serde(default)]
    pub version: Option<i64>,
}

/// Not enough units of this SKU were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The first that is short, in SKU order.
    pub sku: Sku,
    /// How many there were.
    pub available: i64,
}

/// What was decided about one of several orders that were read for together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Everything it wants is there.
    Allocated,
    /// It would be, if those before it go without: wait and see what they get.
    Deferred,
    /// There is not enough, whatever becomes of the others.
    OutOfStock(Shortage),
}

/// What nobody has taken yet, of what was seen.
#[derive(Debug, Clone)]
pub struct Remaining(Vec<StockSnapshot>);

impl Remaining {
    /// Everything.
    pub fn of(observed: &[StockSnapshot]) -> Self {
        Self(observed.to_vec())
    }

    /// Takes what the order wants: all of it or nothing.
    ///
    /// # Errors
    /// The first SKU that is short. One that was not observed counts as 0 units.
    pub fn take(&mut self, lines: &[OrderLine]) -> Result<(), Shortage> {
        self.has(lines)?;
        for line in lines {
            for seen in self.0.iter_mut().filter(|seen| seen.sku == line.sku) {
                seen.available -= line.quantity;
            }
        }
        Ok(())
    }

    /// Would `take` do?
    ///
    /// # Errors
    /// As `take`.
    pub fn has(&self, lines: &[OrderLine]) -> Result<(), Shortage> {
        for line in lines {
            let available = self.0.iter().find(|seen| seen.sku == line.sku).map_or(0, |seen| seen.available);
            if available < line.quantity {
                return Err(Shortage { sku: line.sku.clone(), available });
            }
        }
        Ok(())
    }
}

/// Who gets units, first come, first served; each order all or nothing.
pub fn decide<'a>(orders: impl Iterator<Item = &'a [OrderLine]>, observed: &[StockSnapshot]) -> Vec<Decision> {
    let all = Remaining::of(observed);
    let mut left = all.clone();
    let verdict = |lines: &[OrderLine]| match (left.take(lines), all.has(lines)) {
        (Ok(()), _) => Decision::Allocated,
        (Err(_), Ok(())) => Decision::Deferred,
        (Err(_), Err(short)) => Decision::OutOfStock(short),
    };
    orders.map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, quantity: i64) -> OrderLine {
        OrderLine { sku: Sku::parse(sku).expect("valid"), quantity }
    }

    fn seen(sku: &str, available: i64) -> StockSnapshot {
        StockSnapshot { sku: Sku::parse(sku).expect("valid"), available, version: None }
    }

    fn decided(orders: &[&[OrderLine]], observed: &[StockSnapshot]) -> Vec<Decision> {
        decide(orders.iter().copied(), observed)
    }

    fn short(sku: &str, available: i64) -> Decision {
        Decision::OutOfStock(Shortage { sku: Sku::parse(sku).expect("valid"), available })
    }

    #[test]
    fn the_last_unit_can_be_had() {
        assert_eq!(decided(&[&[line("a", 3)]], &[seen("a", 3)]), [Decision::Allocated]);
    }

    #[test]
    fn one_short_line_refuses_the_whole_order() {
        let order = [line("a", 1), line("b", 2)];
        assert_eq!(decided(&[&order], &[seen("b", 1), seen("a", 9)]), [short("b", 1)]);
    }

    #[test]
    fn what_was_not_observed_is_not_there() {
        assert_eq!(decided(&[&[line("a", 1)]], &[]), [short("a", 0)]);
    }

    #[test]
    fn units_go_to_those_who_came_first_and_one_who_wants_too_many_keeps_nobody_waiting() {
        let orders: [&[OrderLine]; 4] = [&[line("a", 2)], &[line("a", 9)], &[line("a", 2)], &[line("a", 1)]];
        assert_eq!(
            decided(&orders, &[seen("a", 3)]),
            [Decision::Allocated, short("a", 3), Decision::Deferred, Decision::Allocated]
        );
    }

    #[test]
    fn an_order_that_is_refused_takes_nothing_of_its_other_lines() {
        let orders: [&[OrderLine]; 2] = [&[line("a", 1), line("b", 1)], &[line("a", 1)]];
        assert_eq!(decided(&orders, &[seen("a", 1)]), [short("b", 0), Decision::Allocated]);
    }
}
