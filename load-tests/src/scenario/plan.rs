//! What a run consists of: cells, numbers, and the seed that decides everything random.
//!
//! Invariant: the same seed asks for the same SKUs in the same order under every strategy, and strikes at the same times.
//! Absence: no I/O.

use std::time::Duration;

use contract::{LockKind, Strategy};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

use crate::cluster::stack::StackConfig;
use crate::faults::Fault;

/// So many times as many units are asked for as there are: less could not show overselling.
pub const DEMAND: u64 = 4;
/// The strikes of a fault begin within this part of a sale: the first units are sold in peace, and enough demand is
/// left to sell what a lost update brings back.
const STRIKES_WITHIN: std::ops::Range<f64> = 0.05..0.75;
/// This part of an open sale is calm; in the rest everybody else comes at once, as in a flash sale.
pub const CALM: f64 = 0.7;
/// This part of the stock is asked for while it is calm, so that a fault meets units that can be oversold.
const ASKED_FOR_IN_CALM: f64 = 0.9;
/// In an open sale so many customers want the same SKU at the same moment.
const BURST: u64 = 4;
/// Within which a burst arrives.
const BURST_MS: std::ops::Range<u64> = 0..5;
/// An open sale that is repeated for fewer strategies takes less time, but no less than this.
const SHORTEST_WINDOW: Duration = Duration::from_secs(24);

/// How one row is loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Customers at the same time, where customers wait for their answer before they order again.
    pub users: u64,
    /// Orders of each, one after the other.
    pub iterations: u64,
    /// Among how many SKUs they choose.
    pub skus: u64,
    /// Units there are, over all SKUs.
    pub stock: u64,
    /// Exponent of Zipf's law: 0 asks for every SKU equally often, 1 for the second half as often as for the first.
    pub skew: f64,
}

/// When orders come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// So many customers, each of whom orders again when the last order was answered: goose's own model. A system that is
    /// slow is asked less often, so latencies under overload look better than they are.
    Closed,
    /// Orders come when they come, whether or not earlier ones were answered: calm first, a rush in the end. Latency
    /// counts from the moment at which an order was meant to be sent.
    Open {
        /// How long the sale lasts.
        window: Duration,
    },
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlan {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// What goes wrong meanwhile.
    pub fault: Fault,
}

/// Strategies that are attacked side by side, each on SKUs of its own, while one thing goes wrong: what disturbs one
/// disturbs all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What goes wrong.
    pub fault: Fault,
    /// How stock is guarded; a row of the table each.
    pub strategies: Vec<Strategy>,
    /// When orders come.
    pub arrivals: Arrivals,
    /// How often the fault is meant to strike.
    pub injections: usize,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order in which they run.
    pub cells: Vec<Cell>,
    /// The same for every row.
    pub load: Load,
    /// What it runs on.
    pub stack_config: StackConfig,
    /// Faults that were asked for and cannot be had.
    pub left_out: Vec<Fault>,
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

/// The cells that were asked for: the story, one row after the other, or under every fault named all strategies named.
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
    /// The rows it makes.
    pub fn rows(&self) -> impl Iterator<Item = RowPlan> {
        self.strategies.iter().map(|&strategy| RowPlan { strategy, fault: self.fault })
    }

    /// The same for some of its strategies only: their part of the strikes, twice over, and of the time.
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

    /// `closed`, `open`, or both.
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

    /// The numbers of the cells, from 1, that need proxies, or that need none.
    pub fn numbers(&self, proxied: bool) -> Vec<usize> {
        let numbered = (1..).zip(&self.cells);
        numbered.filter(|(_, cell)| cell.fault.needs_proxies() == proxied).map(|(number, _)| number).collect()
    }

    /// Keeps the cells whose fault can be had, and the names of the others.
    pub fn without(&mut self, can_be_had: impl Fn(Fault) -> bool) {
        let (kept, out): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.cells).into_iter().partition(|cell| can_be_had(cell.fault));
        self.cells = kept;
        self.left_out.extend(out.into_iter().map(|cell| cell.fault));
    }
}

/// The stack that these strategies need; proxies cost everybody time, so they stand only where something is broken.
pub fn stack_config_for(stack_config: &StackConfig, strategies: &[Strategy], proxied: bool) -> StackConfig {
    let locks_with = |backend| strategies.iter().any(|strategy| strategy.lock() == backend);
    StackConfig {
        proxied,
        etcd: locks_with(LockKind::Etcd),
        zookeeper: locks_with(LockKind::Zookeeper),
        ..stack_config.clone()
    }
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
        Self { users, iterations, skus: skus.min(stock), stock, skew: preset.skew }
    }

    /// Orders in a row, exactly.
    pub fn attempts(&self) -> u64 {
        self.users * self.iterations
    }

    /// Units of each SKU: as even as can be, or in proportion to what is asked for, so that every SKU sells out.
    pub fn stocks(&self, seed: u64) -> Vec<u64> {
        let even = |sku: u64| self.stock / self.skus + u64::from(sku < self.stock % self.skus);
        if self.skew <= 0.0 {
            return (0..self.skus).map(even).collect();
        }
        let mut asked = vec![0; usize::try_from(self.skus).unwrap_or_default()];
        for sku in self.demand(seed) {
            if let Some(count) = usize::try_from(sku).ok().and_then(|sku| asked.get_mut(sku)) {
                *count += 1;
            }
        }
        // Of what nobody asks for there is nothing.
        asked.into_iter().map(|count: u64| count / DEMAND).collect()
    }

    /// Which SKU each attempt asks for, in an order that the seed decides.
    pub fn demand(&self, seed: u64) -> Vec<u64> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut demand: Vec<u64> = (0..self.attempts()).map(|attempt| attempt % self.skus).collect();
        if let Some(zipf) = Zipf::new(real(self.skus), self.skew).ok().filter(|_| self.skew > 0.0) {
            demand = (0..self.attempts()).map(|_| part(1, zipf.sample(&mut random)) - 1).collect();
        }
        demand.shuffle(&mut random);
        demand
    }

    /// When each order of an open sale is meant to be sent, and for which SKU: in bursts, calm first, then the rush.
    pub fn arrivals(&self, seed: u64, window: Duration) -> Vec<(Duration, u64)> {
        let mut random = StdRng::seed_from_u64(seed ^ 0x000a_4414);
        let in_calm = part(self.stock, ASKED_FOR_IN_CALM).div_ceil(BURST);
        let mut skus = self.demand(seed);
        // Whoever wants the same comes together.
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

/// When a fault strikes and whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// Counts from 0.
    pub number: usize,
    /// After this part of the sale.
    pub after: f64,
    /// Among the replicas of a service or the lock nodes, to be taken modulo their number.
    pub replica: usize,
    /// Among the SKUs, likewise.
    pub sku: usize,
}

/// The schedule of a cell's fault, in order.
pub fn injections(seed: u64, count: usize, arrivals: Arrivals) -> Vec<Injection> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0057_1213);
    let scale = match arrivals {
        Arrivals::Closed => 1.0,
        Arrivals::Open { .. } => CALM,
    };
    let mut after: Vec<f64> = (0..count).map(|_| random.random_range(STRIKES_WITHIN) * scale).collect();
    after.sort_unstable_by(f64::total_cmp);
    let injection = |(number, after)| Injection {
        number,
        after,
        replica: random.random_range(0..1 << 16),
        sku: random.random_range(0..1 << 16),
    };
    after.into_iter().enumerate().map(injection).collect()
}

/// A part of a number, cut.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small number")]
pub fn part(of: u64, fraction: f64) -> u64 {
    (real(of) * fraction) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn real(number: u64) -> f64 {
    number as f64
}

/// Longer than any order may take, and then some: an attempt without an answer by then is silence.
pub fn answer_limit(stack_config: &StackConfig) -> Duration {
    2 * (stack_config.wait + stack_config.lease) + Duration::from_secs(5)
}

#[cfg(test)]
mod tests;
