//! One cell: fresh SKUs for every strategy, the attack and the fault at the same time, quiescence, the audit, and a row
//! for each strategy.
//!
//! Invariant: every process is resumed and every proxy healed before the databases are read.
//! Absence: strategies share nothing but the stack; none uses the SKUs of another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::audit::{Quiescence, Scope, wait_until_quiescent};
use crate::faults::{FaultContext, FaultEvent, Pace};
use crate::interrupt::Interrupt;
use crate::report::model::RunReport;
use crate::report::timeline::Clocks;
use crate::runner::environment::Environment;
use crate::runner::progress::Progress;
use crate::runner::row::RowMeasurements;
use crate::runner::sale::Sale;
use crate::scenario::load::Arrivals;
use crate::scenario::plan::{Cell, Plan, RowPlan};
use crate::workload::{Attack, DuplicateMode};

/// One repetition of a cell.
#[derive(Debug, Clone, Copy)]
pub struct CellRun<'a> {
    /// Number of the cell in the plan, from 1.
    pub number: usize,
    /// Number of the repetition, from 1.
    pub repetition: u32,
    /// The cell, reduced to the strategies that are repeated.
    pub cell: &'a Cell,
}

impl<'a> CellRun<'a> {
    /// The first repetition of the cell.
    pub fn first(plan: &'a Plan, number: usize) -> Self {
        Self { number, repetition: 1, cell: &plan.cells[number - 1] }
    }

    /// Prefix of a row's SKUs and keys. It differs in every repetition: under the keys of an earlier one, customers would
    /// receive its answers.
    fn name(&self, row: usize) -> String {
        match self.repetition {
            1 => format!("{}-{row}", self.number),
            repetition => format!("{}-{row}-repetition{repetition}", self.number),
        }
    }
}

/// Runs a cell once.
///
/// # Errors
/// The cell could not be run. Failed orders are no error: they are in the reports.
///
/// # Cancel safety: paused processes are resumed.
pub async fn run(
    environment: &Environment<'_>,
    plan: &Plan,
    cell_run: CellRun<'_>,
    progress: &Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<RunReport>> {
    let CellRun { number, cell, .. } = cell_run;
    let (stocks, mut sales) = (plan.load.stocks(plan.seed), Vec::new());
    for (row, planned) in cell.rows().enumerate() {
        let name = cell_run.name(row);
        let file = format!("history-{name}-{}-{}.jsonl", planned.strategy, planned.fault);
        sales.push(Sale::open(environment, planned.strategy, &name, &stocks, file).await?);
    }
    let tallies = sales.iter().map(|sale| sale.history.tally()).collect();
    let shown = progress.follow(number, cell, plan.load.attempts(), tallies);
    let events = tokio::select! {
        events = attack_and_inject(environment, plan, cell, &sales, interrupt) => events,
        never = shown => match never {},
    };
    // Also after an error.
    environment.restore();
    let events = events?;
    let quiescence =
        wait_until_quiescent(&environment.auditor, Some(&environment.inventory), settles_within(plan)).await?;
    let mut reports = Vec::new();
    for sale in sales {
        let report = measure(environment, plan, cell_run, sale, &events, &quiescence).await?;
        progress.ended(number, &report);
        reports.push(report);
    }
    Ok(reports)
}

/// Reads the rows of a sale, audits them, and computes its report.
async fn measure(
    environment: &Environment<'_>,
    plan: &Plan,
    CellRun { repetition, cell, .. }: CellRun<'_>,
    sale: Sale,
    events: &[FaultEvent],
    quiescence: &Quiescence,
) -> anyhow::Result<RunReport> {
    let clocks = Clocks { row: sale.history.now(), database: environment.auditor.clock().await? };
    let snapshot = environment.auditor.read(&Scope::Skus(sale.skus.clone())).await?;
    let operations = sale.history.finish().with_context(|| format!("{} cannot be written", sale.file))?;
    let measurements = RowMeasurements {
        plan,
        row: RowPlan { strategy: sale.strategy, fault: cell.fault },
        repetition,
        skus: &sale.skus,
        stock: sale.stock,
        snapshot: &snapshot,
        operations: &operations,
        clocks,
        tally: *sale.history.tally().borrow(),
        events: events.iter().filter(|event| event.concerns(sale.strategy)).cloned().collect(),
        quiescence,
        file: sale.file,
    };
    Ok(measurements.report())
}

async fn attack_and_inject(
    environment: &Environment<'_>,
    plan: &Plan,
    cell: &Cell,
    sales: &[Sale],
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<FaultEvent>> {
    let (due, demand) = match cell.arrivals {
        Arrivals::Closed => (Vec::new(), plan.load.demand(plan.seed)),
        Arrivals::Open { window } => plan.load.arrivals(plan.seed, window).into_iter().unzip(),
    };
    let duplicates = Arc::new(DuplicateMode::default());
    let workloads = sales.iter().map(|sale| sale.workload(&demand)).collect();
    let limit = plan.stack_config.answer_limit();
    let attack = Attack::new(&environment.target.orders, workloads, limit, Arc::clone(&duplicates), interrupt)?;
    let began = Instant::now();
    let (ended, over) = watch::channel(false);
    let targets: Vec<_> = sales.iter().map(Sale::fault_target).collect();
    let context = FaultContext {
        targets: &targets,
        lease: plan.stack_config.lease,
        wait: plan.stack_config.wait,
        inventory: &environment.inventory,
        orders: &environment.orders,
        processes: &environment.processes,
        servers: environment.servers,
        postgres: &environment.target.postgres.order,
        auditor: &environment.auditor,
        duplicates: &duplicates,
        over,
        pace: match cell.arrivals {
            Arrivals::Closed => Pace::Stock(plan.load.stock),
            Arrivals::Open { window } => Pace::Clock(began, window),
        },
        injections: cell.schedule(plan.seed),
    };
    let attacking = async {
        let attacked = match cell.arrivals {
            Arrivals::Closed => attack.closed(plan.load.users, plan.load.iterations).await,
            Arrivals::Open { .. } => {
                attack.open(began, &due).await;
                Ok(())
            }
        };
        ended.send_replace(true);
        attacked
    };
    // Not `try_join`: an injection is never abandoned, because it ends with what it broke working again.
    let (attacked, events) = tokio::join!(attacking, cell.fault.inject(&context));
    attacked?;
    events
}

/// How long orders may take to settle. An order ends within wait and lease; a key whose owner was killed expires a little
/// later; a write without an answer is queried after three leases; reconcilers run every second. The rest is margin for
/// slow machines.
fn settles_within(plan: &Plan) -> Duration {
    2 * plan.stack_config.wait + 6 * plan.stack_config.lease + Duration::from_secs(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;
    use contract::Strategy;

    #[test]
    fn no_two_repetitions_and_no_two_rows_share_a_name() {
        let cell =
            Cell { fault: Fault::None, strategies: vec![Strategy::Off; 2], arrivals: Arrivals::Closed, injections: 0 };
        let plan = Plan { cells: vec![cell.clone(), cell], ..crate::report::sample::plan() };
        let repetitions = (1..=2).flat_map(|number| (1..=3).map(move |repetition| (number, repetition)));
        let mut names: Vec<_> = repetitions
            .flat_map(|(number, repetition)| (0..2).map(move |row| (number, repetition, row)))
            .map(|(number, repetition, row)| CellRun { repetition, ..CellRun::first(&plan, number) }.name(row))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}
