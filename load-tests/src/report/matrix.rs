//! Every strategy against every fault: what a run of several has in common.
//!
//! Absence: no judgement; the promise comes from the strategy.

use std::fmt;

use contract::Strategy;

use super::RunReport;
use crate::faults::Fault;

/// The rows of a run as a table of two dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// From top to bottom.
    pub(super) strategies: Vec<Strategy>,
    /// From left to right.
    pub(super) faults: Vec<Fault>,
    /// One list a strategy, in the order of the faults.
    pub(super) cells: Vec<Vec<Cell>>,
}

/// One strategy under one fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// It was not run.
    NotRun,
    /// So many units were oversold.
    Oversold {
        /// Units.
        units: u64,
        /// Of so many.
        stock: u64,
    },
}

impl Matrix {
    /// `None` where there is no second strategy or no second fault: the table says it all.
    pub(super) fn of(runs: &[RunReport]) -> Option<Self> {
        let (strategies, faults) = crate::report::matrix_markdown::axes(runs);
        if strategies.len() < 2 || faults.len() < 2 {
            return None;
        }
        let cell = |strategy, fault| {
            let of_it = runs.iter().filter(|run| run.strategy == strategy && run.fault == fault);
            // The worst of several: a table must not make it look better than it was.
            let worst = of_it.max_by_key(|run| run.units_oversold);
            worst.map_or(Cell::NotRun, |run| Cell::Oversold { units: run.units_oversold, stock: run.initial_stock })
        };
        let cells = strategies.iter().map(|&strategy| faults.iter().map(|&fault| cell(strategy, fault)).collect());
        Some(Self { cells: cells.collect(), strategies, faults })
    }
}

impl Cell {
    /// 0 for none, growing with the share of the stock, and one unit is far from none: that is the point.
    pub(super) fn heat(self) -> f64 {
        match self {
            Self::NotRun => f64::NAN,
            Self::Oversold { units: 0, .. } => 0.0,
            #[expect(clippy::cast_precision_loss, reason = "units of one experiment, for a colour")]
            Self::Oversold { units, stock } => 0.4 + 0.6 * (units as f64 / stock.max(1) as f64).min(1.0).sqrt(),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun => f.write_str("–"),
            Self::Oversold { units, .. } => write!(f, "{units}"),
        }
    }
}
