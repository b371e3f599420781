//! The rows of a run as a table of two dimensions: strategies against faults.
//!
//! Absence: nothing is judged here.

use std::fmt;

use contract::Strategy;

use super::model::RunReport;
use crate::faults::Fault;
use crate::scenario::theory::promises_no_oversell;

/// Strategies against faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// In the order in which they were run.
    pub(super) strategies: Vec<Strategy>,
    /// In the order in which they were run.
    pub(super) faults: Vec<Fault>,
    /// One list per strategy, in the order of the faults.
    pub(super) cells: Vec<Vec<Cell>>,
}

/// One strategy under one fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// It was not run.
    NotRun,
    /// It was run.
    Oversold {
        /// Units oversold.
        units: u64,
        /// Units in stock.
        stock: u64,
        /// Injections of the fault that took effect.
        events: usize,
        /// Theory demands that nothing is oversold.
        promised: bool,
    },
}

impl Matrix {
    /// `None` for fewer than two strategies or two faults: the table of rows shows as much.
    pub(super) fn of(runs: &[RunReport]) -> Option<Self> {
        let (mut strategies, mut faults) = (Vec::new(), Vec::new());
        for run in runs {
            if !strategies.contains(&run.strategy) {
                strategies.push(run.strategy);
            }
            if !faults.contains(&run.fault) {
                faults.push(run.fault);
            }
        }
        if strategies.len() < 2 || faults.len() < 2 {
            return None;
        }
        let cell = |strategy, fault| {
            let rows = runs.iter().filter(|run| run.strategy == strategy && run.fault == fault);
            // The worst of several rows: the matrix must not look better than the run.
            let worst = rows.max_by_key(|run| run.units_oversold);
            worst.map_or(Cell::NotRun, |run| Cell::Oversold {
                units: run.units_oversold,
                stock: run.initial_stock,
                events: run.faults_fired,
                promised: promises_no_oversell(strategy, fault),
            })
        };
        let cells = strategies.iter().map(|&strategy| faults.iter().map(|&fault| cell(strategy, fault)).collect());
        Some(Self { cells: cells.collect(), strategies, faults })
    }

    /// What the cells show together.
    pub(super) fn finding(&self) -> String {
        let cells = || self.cells.iter().flatten();
        let of = |promise: bool| {
            cells().filter(move |cell| matches!(cell, Cell::Oversold { promised, .. } if *promised == promise))
        };
        let oversold = |cell: &&Cell| matches!(cell, Cell::Oversold { units, .. } if *units > 0);
        format!(
            "{} of the {} cells that may oversell did; {} of the {} that must not",
            of(false).filter(oversold).count(),
            of(false).count(),
            of(true).filter(oversold).count(),
            of(true).count()
        )
    }
}

impl Cell {
    /// What theory demands, and how often the fault took effect; empty if it was not run.
    pub(super) fn demand(self) -> String {
        match self {
            Self::NotRun => String::new(),
            Self::Oversold { promised, events, .. } => {
                let demanded = if promised { "must be 0" } else { "may oversell" };
                if events == 0 { demanded.to_owned() } else { format!("{demanded}, {events}×") }
            }
        }
    }

    /// 0 for none, 0.4 to 1 with the share of the stock, NaN if it was not run. A single unit is far from none on purpose.
    pub(super) fn heat(self) -> f64 {
        match self {
            Self::NotRun => f64::NAN,
            Self::Oversold { units: 0, .. } => 0.0,
            #[expect(clippy::cast_precision_loss, reason = "units of one experiment, for a colour")]
            Self::Oversold { units, stock, .. } => 0.4 + 0.6 * (units as f64 / stock.max(1) as f64).min(1.0).sqrt(),
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
