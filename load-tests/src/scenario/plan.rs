//! What a run consists of: its cells, the load of each row, the stack, and the seed of everything random.
//!
//! Invariant: the same seed plans the same injections under every strategy.
//! Absence: no I/O.

use std::time::Duration;

use contract::{LockKind, Strategy};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::load::{Arrivals, CALM, Load};
use crate::cluster::config::StackConfig;
use crate::faults::{Fault, Injection};

/// Injections begin within this part of a sale: the first units are sold undisturbed, and enough demand is left to buy
/// what a lost update brings back.
const INJECTIONS_WITHIN: std::ops::Range<f64> = 0.05..0.75;
/// An open sale that is repeated for fewer strategies takes less time, but not less than this.
const SHORTEST_WINDOW: Duration = Duration::from_secs(24);

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlan {
    /// The strategy under attack.
    pub strategy: Strategy,
    /// The fault that is injected.
    pub fault: Fault,
}

/// Strategies that are attacked at the same time, each on SKUs of its own, under one fault: a disturbance of one is a
/// disturbance of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The fault that is injected.
    pub fault: Fault,
    /// The strategies under attack; one row of the table each.
    pub strategies: Vec<Strategy>,
    /// When orders arrive.
    pub arrivals: Arrivals,
    /// The number of planned injections.
    pub injections: usize,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order in which they run.
    pub cells: Vec<Cell>,
    /// The load of every row.
    pub load: Load,
    /// The stack it runs on.
    pub stack_config: StackConfig,
    /// Faults that were requested and cannot be injected here.
    pub left_out: Vec<Fault>,
    /// The seed of everything random.
    pub seed: u64,
}

/// The rows of the demo: without a lock, with one, and with one whose holder is paused, without and with the fence.
pub const STORY: [RowPlan; 4] = [
    RowPlan { strategy: Strategy::Off, fault: Fault::None },
    RowPlan { strategy: Strategy::Redlock, fault: Fault::None },
    RowPlan { strategy: Strategy::Redlock, fault: Fault::PauseInventory },
    RowPlan { strategy: Strategy::RedlockFenced, fault: Fault::PauseInventory },
];

/// The cells that were requested: the demo, one row after the other, or one cell a fault with all these strategies.
pub fn cells(strategies: &[Strategy], faults: &[Fault], arrivals: Arrivals, injections: usize) -> Vec<Cell> {
    if strategies.is_empty() && faults.is_empty() {
        let row =
            |&RowPlan { strategy, fault }: &RowPlan| Cell { fault, strategies: vec![strategy], arrivals, injections };
        return STORY.iter().map(row).collect();
    }
    let strategies =
        if strategies.is_empty() { &[Strategy::Off, Strategy::Redlock, Strategy::RedlockFenced] } else { strategies };
    let faults = if faults.is_empty() { &[Fault::None] } else { faults };
    faults.iter().map(|&fault| Cell { fault, strategies: strategies.to_vec(), arrivals, injections }).collect()
}

impl Cell {
    /// Its rows of the table.
    pub fn rows(&self) -> impl Iterator<Item = RowPlan> {
        self.strategies.iter().map(|&strategy| RowPlan { strategy, fault: self.fault })
    }

    /// The same cell for some of its strategies: with twice their share of the injections, and their share of the time.
    #[must_use]
    pub fn with_only(&self, strategies: Vec<Strategy>) -> Self {
        let (some, all) = (strategies.len(), self.strategies.len().max(1));
        let arrivals = match self.arrivals {
            Arrivals::Open { window } => {
                Arrivals::Open { window: (window * len(some) / len(all)).max(SHORTEST_WINDOW).min(window) }
            }
            Arrivals::Closed => Arrivals::Closed,
        };
        let injections = (2 * self.injections * some).div_ceil(all).min(self.injections);
        Self { fault: self.fault, strategies, arrivals, injections }
    }

    /// The planned injections, in the order in which they are due.
    pub fn schedule(&self, seed: u64) -> Vec<Injection> {
        let mut random = StdRng::seed_from_u64(seed ^ 0x0057_1213);
        let scale = match self.arrivals {
            Arrivals::Closed => 1.0,
            Arrivals::Open { .. } => CALM,
        };
        let due = |random: &mut StdRng| random.random_range(INJECTIONS_WITHIN) * scale;
        let mut after: Vec<f64> = (0..self.injections).map(|_| due(&mut random)).collect();
        after.sort_unstable_by(f64::total_cmp);
        let injection = |(number, after)| Injection {
            number,
            after,
            replica: random.random_range(0..1 << 16),
            sku: random.random_range(0..1 << 16),
        };
        after.into_iter().enumerate().map(injection).collect()
    }
}

fn len(strategies: usize) -> u32 {
    u32::try_from(strategies).unwrap_or(u32::MAX)
}

impl Plan {
    /// All rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = RowPlan> {
        self.cells.iter().flat_map(Cell::rows)
    }

    /// Every strategy of every cell, once.
    pub fn strategies(&self) -> Vec<Strategy> {
        let mut all: Vec<Strategy> = Vec::new();
        for row in self.rows() {
            if !all.contains(&row.strategy) {
                all.push(row.strategy);
            }
        }
        all
    }

    /// `closed`, `open`, or `open and closed`.
    pub fn arrivals(&self) -> &'static str {
        let open = |cell: &Cell| matches!(cell.arrivals, Arrivals::Open { .. });
        match (self.cells.iter().any(open), self.cells.iter().all(open)) {
            (true, true) => "open",
            (true, false) => "open and closed",
            (false, _) => "closed",
        }
    }

    /// The stack that these cells need.
    pub fn stack_config(&self, proxied: bool) -> StackConfig {
        stack_config_for(&self.stack_config, &self.strategies(), proxied)
    }

    /// The numbers of the cells, from 1, that need proxies, or of those that need none.
    pub fn numbers(&self, proxied: bool) -> Vec<usize> {
        let numbered = (1..).zip(&self.cells);
        numbered.filter(|(_, cell)| cell.fault.needs_proxies() == proxied).map(|(number, _)| number).collect()
    }

    /// Keeps the cells whose fault can be injected; the faults of the others are [`left_out`](Self::left_out).
    pub fn keep_cells(&mut self, can_be_injected: impl Fn(Fault) -> bool) {
        let (kept, out): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.cells).into_iter().partition(|cell| can_be_injected(cell.fault));
        self.cells = kept;
        self.left_out.extend(out.into_iter().map(|cell| cell.fault));
    }
}

/// The stack that these strategies need. Proxies delay every request, so they stand only where a connection is broken.
pub fn stack_config_for(config: &StackConfig, strategies: &[Strategy], proxied: bool) -> StackConfig {
    let locks_with = |lock| strategies.iter().any(|strategy| strategy.lock() == lock);
    StackConfig {
        proxied,
        etcd: locks_with(LockKind::Etcd),
        zookeeper: locks_with(LockKind::Zookeeper),
        ..config.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_are_in_order_and_end_while_units_are_left() {
        let open = Arrivals::Open { window: Duration::from_secs(10) };
        for (arrivals, last) in [(Arrivals::Closed, 0.75), (open, CALM)] {
            let cell = Cell { fault: Fault::PauseOrder, strategies: Vec::new(), arrivals, injections: 5 };
            let schedule = cell.schedule(3);
            assert_eq!(schedule.len(), 5);
            assert!(schedule.windows(2).all(|pair| pair[0].after <= pair[1].after));
            assert!(schedule.iter().all(|injection| injection.after < last));
        }
    }

    #[test]
    fn a_cell_repeated_for_one_strategy_takes_its_share_of_the_time_and_no_less_than_a_sale_needs() {
        let all = [Strategy::Off, Strategy::Redis, Strategy::Redlock, Strategy::Optimistic];
        let cell = |seconds| {
            let window = Duration::from_secs(seconds);
            cells(&all, &[Fault::PauseInventory], Arrivals::Open { window }, 8).remove(0)
        };
        let repeated = |seconds| cell(seconds).with_only(vec![Strategy::Redis]);
        assert_eq!(repeated(200).arrivals, Arrivals::Open { window: Duration::from_secs(50) });
        assert_eq!(repeated(60).arrivals, Arrivals::Open { window: SHORTEST_WINDOW });
        assert_eq!(repeated(10).arrivals, Arrivals::Open { window: Duration::from_secs(10) });
        assert_eq!((repeated(200).injections, repeated(200).strategies), (4, vec![Strategy::Redis]));
    }

    #[test]
    fn named_strategies_are_attacked_together_under_each_named_fault() {
        let crossed = cells(&[Strategy::Off, Strategy::Redis], &[Fault::None, Fault::PauseOrder], Arrivals::Closed, 4);
        assert_eq!(crossed.iter().map(|cell| cell.strategies.len()).collect::<Vec<_>>(), [2, 2]);
        let story: Vec<_> = cells(&[], &[], Arrivals::Closed, 4).iter().flat_map(Cell::rows).collect();
        assert_eq!(story, STORY);
        assert_eq!(cells(&[Strategy::Redis], &[], Arrivals::Closed, 4)[0].fault, Fault::None);
    }
}
