//! One cell: fresh SKUs for every strategy, the attack with the fault beside it, quiet, the audit, a row for each.
//!
//! Invariant: every process runs again, and every line is healed, before the books are read.
//! Absence: strategies share nothing but the stack; none sees another's SKUs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::audit::{Quiet, Scope, until_quiet};
use crate::faults::{Field, Pace, Struck};
use crate::interrupt::Interrupt;
use crate::report::RunReport;
use crate::report::timeline::Clocks;
use crate::runner::environment::Ground;
use crate::runner::progress::Progress;
use crate::runner::row::Found;
use crate::runner::sale::Sale;
use crate::scenario::plan::{Arrivals, Cell, Plan, RowPlan, answer_limit, strikes};
use crate::workload::{Attack, Mischief};

/// Which cell, and how many times it was run before.
#[derive(Debug, Clone, Copy)]
pub struct Take<'a> {
    /// Of the plan, from 1.
    pub number: usize,
    /// From 1.
    pub take: u32,
    /// The cell, or what of it is repeated.
    pub cell: &'a Cell,
}

impl<'a> Take<'a> {
    /// The first of this cell.
    pub fn first(plan: &'a Plan, number: usize) -> Self {
        Self { number, take: 1, cell: &plan.cells[number - 1] }
    }

    /// Of a row's SKUs and keys: under the keys of an earlier take, customers would be told its answers.
    fn name(&self, row: usize) -> String {
        match self.take {
            1 => format!("{}-{row}", self.number),
            again => format!("{}-{row}-take{again}", self.number),
        }
    }
}

/// Runs a cell.
///
/// # Errors
/// It could not be run. What went wrong with orders is in the reports.
///
/// # Cancel safety: paused processes are continued.
pub async fn run(
    ground: &Ground<'_>,
    plan: &Plan,
    take: Take<'_>,
    progress: Progress<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<RunReport>> {
    let Take { number, cell, .. } = take;
    let (stocks, mut sales) = (plan.load.stocks(plan.seed), Vec::new());
    for (row, planned) in cell.rows().enumerate() {
        let name = take.name(row);
        let file = format!("history-{name}-{}-{}.jsonl", planned.strategy, planned.fault);
        sales.push(Sale::open(ground, planned.strategy, &name, &stocks, file).await?);
    }
    let tallies = sales.iter().map(|sale| sale.history.tally()).collect();
    let shown = progress.follow(number, cell, plan.load.attempts(), tallies);
    let struck = tokio::select! {
        struck = attack_and_strike(ground, plan, cell, &sales, interrupt) => struck,
        () = shown => unreachable!("it is followed until the attack is over"),
    };
    // Whatever happened.
    ground.mend();
    let struck = struck?;
    let quiet = until_quiet(&ground.auditor, Some(&ground.inventory), settles_within(plan)).await?;
    let mut reports = Vec::new();
    for sale in sales {
        let report = close(ground, plan, take, sale, &struck, &quiet).await?;
        progress.ended(number, &report);
        reports.push(report);
    }
    Ok(reports)
}

/// Reads the books of a sale and counts.
async fn close(
    ground: &Ground<'_>,
    plan: &Plan,
    Take { take, cell, .. }: Take<'_>,
    sale: Sale,
    struck: &[Struck],
    quiet: &Quiet,
) -> anyhow::Result<RunReport> {
    let clocks = Clocks { row: sale.history.now(), database: ground.auditor.clock().await? };
    let books = ground.auditor.read(&Scope::Skus(sale.skus.clone())).await?;
    let operations = sale.history.finish().with_context(|| format!("{} cannot be written", sale.file))?;
    let found = Found {
        plan,
        row: RowPlan { strategy: sale.strategy, fault: cell.fault },
        take,
        skus: &sale.skus,
        stock: sale.stock,
        books: &books,
        operations: &operations,
        clocks,
        tally: *sale.history.tally().borrow(),
        struck: struck.iter().filter(|struck| struck.concerns(sale.strategy)).cloned().collect(),
        quiet,
        file: sale.file,
    };
    Ok(found.report())
}

async fn attack_and_strike(
    ground: &Ground<'_>,
    plan: &Plan,
    cell: &Cell,
    sales: &[Sale],
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Struck>> {
    let (due, demand) = match cell.arrivals {
        Arrivals::Closed => (Vec::new(), plan.load.demand(plan.seed)),
        Arrivals::Open { window } => plan.load.arrivals(plan.seed, window).into_iter().unzip(),
    };
    let mischief = Arc::new(Mischief::default());
    let lanes = sales.iter().map(|sale| sale.lane(&demand)).collect();
    let limit = answer_limit(&plan.shape);
    let attack = Attack::new(&ground.target.orders, lanes, limit, Arc::clone(&mischief), interrupt)?;
    let began = Instant::now();
    let (ended, over) = watch::channel(false);
    let lanes: Vec<_> = sales.iter().map(Sale::field).collect();
    let field = Field {
        lanes: &lanes,
        lease: plan.shape.lease,
        inventory: &ground.inventory,
        orders: &ground.orders,
        controls: &ground.controls,
        yard: ground.yard,
        postgres: &ground.target.postgres.order,
        auditor: &ground.auditor,
        mischief: &mischief,
        over,
        pace: match cell.arrivals {
            Arrivals::Closed => Pace::Stock(plan.load.stock),
            Arrivals::Open { window } => Pace::Clock(began, window),
        },
        strikes: strikes(plan.seed, cell.strikes, cell.arrivals),
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
    let ((), struck) = tokio::try_join!(attacking, cell.fault.strike(&field))?;
    Ok(struck)
}

/// An order ends by wait and lease; a key whose owner was killed falls due a little later; a write nobody answered is
/// looked up after three leases; reconcilers look every second. The rest is for slow machines.
fn settles_within(plan: &Plan) -> Duration {
    2 * plan.shape.wait + 6 * plan.shape.lease + Duration::from_secs(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Fault;
    use crate::scenario::strategy::Strategy;

    #[test]
    fn no_two_takes_and_no_two_rows_share_a_name() {
        let cell =
            Cell { fault: Fault::None, strategies: vec![Strategy::Off; 2], arrivals: Arrivals::Closed, strikes: 0 };
        let plan = Plan { cells: vec![cell.clone(), cell], ..crate::report::sample::plan() };
        let takes = (1..=2).flat_map(|number| (1..=3).map(move |take| (number, take)));
        let mut names: Vec<_> = takes
            .flat_map(|(number, take)| (0..2).map(move |row| (number, take, row)))
            .map(|(number, take, row)| Take { take, ..Take::first(&plan, number) }.name(row))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}
