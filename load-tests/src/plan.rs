//! What a run consists of: rows, numbers, and the seed that decides everything random.
//!
//! Invariant: the same seed asks for the same SKUs in the same order in every row.
//! Absence: no I/O.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::faults::Fault;
use crate::stack::Shape;
use crate::strategy::Strategy;

/// So many times as many units are asked for as there are: less could not show overselling.
pub const DEMAND: u64 = 4;
/// The pauses of a row begin within this part of its sale: the first units are sold in peace, and
/// enough demand is left to sell what a lost update brings back.
const PAUSES_WITHIN: std::ops::Range<f64> = 0.05..0.75;

/// How one row is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Customers at the same time.
    pub users: u64,
    /// Orders of each, one after the other.
    pub iterations: u64,
    /// Among how many SKUs they choose.
    pub skus: u64,
    /// Units there are, over all SKUs.
    pub stock: u64,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlan {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// What goes wrong meanwhile.
    pub fault: Fault,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order in which they run.
    pub rows: Vec<RowPlan>,
    /// The same for every row.
    pub load: Load,
    /// What it runs on.
    pub shape: Shape,
    /// How often a fault is meant to strike in one row.
    pub strikes: usize,
    /// Decides everything random.
    pub seed: u64,
}

/// The story of the demo: without a lock, with one, and with one whose holder is paused, without and with the fence.
pub const STORY: [RowPlan; 4] = [
    RowPlan { strategy: Strategy::Off, fault: Fault::None },
    RowPlan { strategy: Strategy::Redlock, fault: Fault::None },
    RowPlan { strategy: Strategy::Redlock, fault: Fault::PauseInventory },
    RowPlan { strategy: Strategy::RedlockFenced, fault: Fault::PauseInventory },
];

/// The rows that were asked for: the story, or every strategy named under every fault named.
pub fn rows(strategies: &[Strategy], faults: &[Fault]) -> Vec<RowPlan> {
    if strategies.is_empty() && faults.is_empty() {
        return STORY.to_vec();
    }
    let strategies =
        if strategies.is_empty() { &[Strategy::Off, Strategy::Redlock, Strategy::RedlockFenced] } else { strategies };
    let faults = if faults.is_empty() { &[Fault::None] } else { faults };
    let of = |&fault: &Fault| strategies.iter().map(move |&strategy| RowPlan { strategy, fault });
    faults.iter().flat_map(of).collect()
}

impl Load {
    /// What was left open follows from what was given, so that demand is [`DEMAND`] times the stock.
    pub fn tuned(
        preset: &Self,
        users: Option<u64>,
        iterations: Option<u64>,
        skus: Option<u64>,
        stock: Option<u64>,
    ) -> Self {
        let (users, skus) = (users.unwrap_or(preset.users), skus.unwrap_or(preset.skus));
        let wanted = stock.unwrap_or(preset.stock) * DEMAND;
        let iterations = iterations.unwrap_or_else(|| wanted.div_ceil(users));
        // Customers stay for long enough to meet a fault: a smaller crowd comes more often.
        let stock = stock.unwrap_or(users * iterations / DEMAND).max(1);
        Self { users, iterations, skus: skus.min(stock), stock }
    }

    /// Orders in a row, exactly.
    pub fn attempts(&self) -> u64 {
        self.users * self.iterations
    }

    /// Units of each SKU, as even as can be.
    pub fn stock_of(&self, sku: u64) -> u64 {
        self.stock / self.skus + u64::from(sku < self.stock % self.skus)
    }

    /// Which SKU each attempt asks for: every SKU equally often, in an order that the seed decides.
    pub fn demand(&self, seed: u64) -> Vec<u64> {
        let mut demand: Vec<u64> = (0..self.attempts()).map(|attempt| attempt % self.skus).collect();
        demand.shuffle(&mut StdRng::seed_from_u64(seed));
        demand
    }
}

/// When a fault strikes and whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// Once so many orders were accepted.
    pub after_accepted: u64,
    /// Among the replicas of a service, to be taken modulo their number.
    pub replica: usize,
    /// Among the SKUs, likewise.
    pub sku: usize,
}

/// The schedule of a row's fault, in order.
pub fn strikes(seed: u64, count: usize, stock: u64) -> Vec<Strike> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0057_1213);
    let mut after: Vec<u64> = (0..count).map(|_| part(stock, random.random_range(PAUSES_WITHIN))).collect();
    after.sort_unstable();
    let strike = |after_accepted| Strike {
        after_accepted,
        replica: random.random_range(0..1 << 16),
        sku: random.random_range(0..1 << 16),
    };
    after.into_iter().map(strike).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a small number"
)]
fn part(of: u64, fraction: f64) -> u64 {
    (of as f64 * fraction) as u64
}

/// Longer than any order may take, and then some: an attempt without an answer by then is silence.
pub fn answer_limit(shape: &Shape) -> Duration {
    2 * (shape.wait + shape.lease) + Duration::from_secs(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESET: Load = Load { users: 16, iterations: 0, skus: 2, stock: 100 };

    #[test]
    fn demand_is_four_times_the_stock_whatever_is_left_open() {
        for (users, iterations, stock) in
            [(None, None, None), (Some(7), None, Some(100)), (Some(8), Some(10), None), (None, None, Some(3))]
        {
            let load = Load::tuned(&PRESET, users, iterations, None, stock);
            assert!(load.attempts() >= DEMAND * load.stock, "{load:?}");
        }
    }

    #[test]
    fn all_units_are_somewhere_and_every_sku_has_one() {
        let load = Load { users: 1, iterations: 1, skus: 3, stock: 11 };
        let stock: Vec<_> = (0..3).map(|sku| load.stock_of(sku)).collect();
        assert_eq!(stock, [4, 4, 3]);
        assert_eq!(Load::tuned(&PRESET, None, None, Some(9), Some(2)).skus, 2);
    }

    #[test]
    fn a_seed_decides_the_order_and_nothing_else() {
        let load = Load { users: 10, iterations: 10, skus: 4, stock: 25 };
        assert_eq!(load.demand(7), load.demand(7));
        assert_ne!(load.demand(7), load.demand(8));
        let mut sorted = load.demand(8);
        sorted.sort_unstable();
        assert!(sorted.chunks(25).enumerate().all(|(sku, chunk)| chunk.iter().all(|&s| s == sku as u64)));
    }

    #[test]
    fn strikes_come_in_order_while_units_are_left() {
        let strikes = strikes(3, 5, 200);
        assert_eq!(strikes.len(), 5);
        assert!(strikes.windows(2).all(|pair| pair[0].after_accepted <= pair[1].after_accepted));
        assert!(strikes.iter().all(|strike| (10..150).contains(&strike.after_accepted)));
    }

    #[test]
    fn named_strategies_and_faults_are_crossed() {
        let crossed = rows(&[Strategy::Off, Strategy::Redis], &[Fault::None, Fault::PauseOrder]);
        assert_eq!(crossed.len(), 4);
        assert_eq!(rows(&[], &[]), STORY);
        assert_eq!(rows(&[Strategy::Redis], &[]), [RowPlan { strategy: Strategy::Redis, fault: Fault::None }]);
    }
}
