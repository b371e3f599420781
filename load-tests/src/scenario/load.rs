//! How a sale is loaded: how many orders, for which SKUs, and when.
//!
//! Invariant: the same seed requests the same SKUs at the same times under every strategy.
//! Absence: no I/O.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

use crate::fraction::{fraction_of, real};

/// Demand in multiples of the stock. Less could not show overselling.
pub const DEMAND: u64 = 4;
/// The first fraction of an open sale is calm; in the rest the remaining orders arrive at once, as in a flash sale.
pub const CALM: f64 = 0.7;
/// The fraction of the stock that is ordered in the calm part, so that a fault meets units that can be oversold.
const ORDERED_IN_CALM: f64 = 0.9;
/// How many orders for the same SKU arrive at the same moment in an open sale.
const BURST: u64 = 4;
/// The length of a burst, in milliseconds.
const BURST_MS: std::ops::Range<u64> = 0..5;

/// How one row is loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Customers at the same time, in the closed model.
    pub users: u64,
    /// Orders of each customer, one after the other.
    pub iterations: u64,
    /// The number of SKUs on sale.
    pub skus: u64,
    /// Units in stock, over all SKUs.
    pub stock: u64,
    /// Exponent of Zipf's law: 0 orders every SKU equally often, 1 the second half as often as the first.
    pub skew: f64,
}

/// When orders arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Each customer orders again when the last order was answered: goose's own model. A slow system receives fewer
    /// orders, so latencies under overload look better than they are.
    Closed,
    /// Orders arrive on schedule, whether or not earlier ones were answered: calm first, then a rush. Latency counts
    /// from the moment at which an order was due.
    Open {
        /// The length of the sale.
        window: Duration,
    },
}

impl Load {
    /// The given numbers; the others follow from `preset`, so that demand is at least [`DEMAND`] times the stock.
    pub fn tuned(
        preset: &Self,
        users: Option<u64>,
        iterations: Option<u64>,
        skus: Option<u64>,
        stock: Option<u64>,
    ) -> Self {
        let (users, skus) = (users.unwrap_or(preset.users), skus.unwrap_or(preset.skus));
        let demand = stock.unwrap_or(preset.stock) * DEMAND;
        // Fewer customers order more often, so that the sale lasts long enough to meet a fault.
        let iterations = iterations.unwrap_or_else(|| demand.div_ceil(users));
        let stock = stock.unwrap_or(users * iterations / DEMAND).max(1);
        Self { users, iterations, skus: skus.min(stock), stock, skew: preset.skew }
    }

    /// The number of orders in a row, exactly.
    pub fn attempts(&self) -> u64 {
        self.users * self.iterations
    }

    /// Units of each SKU: divided evenly, or in proportion to the demand, so that every SKU sells out.
    pub fn stocks(&self, seed: u64) -> Vec<u64> {
        let even = |sku: u64| self.stock / self.skus + u64::from(sku < self.stock % self.skus);
        if self.skew <= 0.0 {
            return (0..self.skus).map(even).collect();
        }
        let mut orders = vec![0; usize::try_from(self.skus).unwrap_or_default()];
        for sku in self.demand(seed) {
            if let Some(count) = usize::try_from(sku).ok().and_then(|sku| orders.get_mut(sku)) {
                *count += 1;
            }
        }
        // A SKU without orders has no stock.
        orders.into_iter().map(|count: u64| count / DEMAND).collect()
    }

    /// The SKU of each order, in an order that the seed decides.
    pub fn demand(&self, seed: u64) -> Vec<u64> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut demand: Vec<u64> = (0..self.attempts()).map(|attempt| attempt % self.skus).collect();
        if let Some(zipf) = Zipf::new(real(self.skus), self.skew).ok().filter(|_| self.skew > 0.0) {
            demand = (0..self.attempts()).map(|_| fraction_of(1, zipf.sample(&mut random)) - 1).collect();
        }
        demand.shuffle(&mut random);
        demand
    }

    /// When each order of an open sale is due, and its SKU: in bursts, calm first, then the rush.
    pub fn arrivals(&self, seed: u64, window: Duration) -> Vec<(Duration, u64)> {
        let mut random = StdRng::seed_from_u64(seed ^ 0x000a_4414);
        let in_calm = fraction_of(self.stock, ORDERED_IN_CALM).div_ceil(BURST);
        let mut skus = self.demand(seed);
        // Orders for the same SKU arrive in the same burst.
        skus.chunks_mut(usize::try_from(BURST * self.skus).unwrap_or(usize::MAX)).for_each(<[u64]>::sort_unstable);
        let mut arrivals = Vec::with_capacity(skus.len());
        for (burst, skus) in (0..).zip(skus.chunks(usize::try_from(BURST).unwrap_or(1))) {
            let within = if burst < in_calm { 0.0..CALM } else { CALM..1.0 };
            let at = window.mul_f64(random.random_range(within));
            let jitter = |random: &mut StdRng| Duration::from_millis(random.random_range(BURST_MS));
            arrivals.extend(skus.iter().map(|&sku| (at + jitter(&mut random), sku)));
        }
        arrivals.sort_unstable();
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESET: Load = Load { users: 16, iterations: 0, skus: 2, stock: 100, skew: 0.0 };

    #[test]
    fn demand_is_four_times_the_stock_whatever_is_given() {
        for (users, iterations, stock) in
            [(None, None, None), (Some(7), None, Some(100)), (Some(8), Some(10), None), (None, None, Some(3))]
        {
            let load = Load::tuned(&PRESET, users, iterations, None, stock);
            assert!(load.attempts() >= DEMAND * load.stock, "{load:?}");
        }
    }

    #[test]
    fn all_units_are_distributed_and_every_sku_has_one() {
        let load = Load { users: 1, iterations: 1, skus: 3, stock: 11, skew: 0.0 };
        assert_eq!(load.stocks(1), [4, 4, 3]);
        assert_eq!(Load::tuned(&PRESET, None, None, Some(9), Some(2)).skus, 2);
    }

    #[test]
    fn a_seed_decides_the_sequence_of_orders_and_nothing_else() {
        let load = Load { users: 10, iterations: 10, skus: 4, stock: 25, skew: 0.0 };
        assert_eq!(load.demand(7), load.demand(7));
        assert_ne!(load.demand(7), load.demand(8));
        let mut sorted = load.demand(8);
        sorted.sort_unstable();
        assert!(sorted.chunks(25).enumerate().all(|(sku, chunk)| chunk.iter().all(|&s| s == sku as u64)));
    }

    #[test]
    fn skewed_demand_orders_the_first_sku_most_and_can_sell_out_every_sku() {
        let load = Load { users: 10, iterations: 100, skus: 20, stock: 250, skew: 1.0 };
        let demand = load.demand(7);
        let orders = |sku: u64| demand.iter().filter(|&&ordered| ordered == sku).count() as u64;
        assert!(demand.iter().all(|&sku| sku < 20));
        assert!(orders(0) > orders(1) && orders(1) > orders(10));
        assert!((0..).zip(load.stocks(7)).all(|(sku, stock)| orders(sku) >= DEMAND * stock));
    }

    #[test]
    fn an_open_sale_is_calm_until_the_rush_and_sends_every_order() {
        let load = Load { users: 10, iterations: 20, skus: 2, stock: 50, skew: 0.0 };
        let window = Duration::from_secs(10);
        let arrivals = load.arrivals(7, window);
        assert_eq!(arrivals, load.arrivals(7, window));
        assert_eq!(arrivals.len(), 200);
        let calm = arrivals.iter().filter(|(at, _)| *at < window.mul_f64(CALM)).count();
        assert!((40..=50).contains(&calm), "{calm} orders for 50 units are due in the calm part");
        assert!(arrivals.iter().all(|(at, _)| *at <= window + Duration::from_millis(5)));
    }
}
