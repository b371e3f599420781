//! One cell: fresh SKUs for every strategy, the attack with the fault beside it, quiet, the audit, a row for each.
//!
//! Invariant: every process runs again, and every line is healed, before the books are read.
//! Absence: strategies share nothing but the stack; none sees another's SKUs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::attack::{Attack, Lane, Mischief};
use crate::audit::{Auditor, Quiet, Scope, until_quiet};
use crate::control::Controls;
use crate::faults::{Field, LaneField, Pace, Struck};
use crate::history::History;
use crate::interrupt::Interrupt;
use crate::inventory::Inventory;
use crate::plan::{Arrivals, Cell, Plan, RowPlan, answer_limit, strikes};
use crate::progress::Progress;
use crate::report::RunReport;
use crate::report::course::Clocks;
use crate::row::Found;
use crate::stack::Yard;
use crate::strategy::Strategy;
use crate::target::Target;

/// What cells run on.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Addresses.
    pub target: &'a Target,
    /// Inventory's lab and stock.
    pub inventory: Inventory,
    /// Processes that can be stopped.
    pub controls: Controls,
    /// Servers that are ours.
    pub yard: Option<&'a Yard>,
    /// Reads the books.
    pub auditor: Auditor,
    /// Where histories go.
    pub folder: &'a Path,
    /// SKUs and keys of this run begin with it.
    pub prefix: &'a str,
}

/// One strategy's part of a cell.
struct Sale {
    strategy: Strategy,
    prefix: String,
    skus: Vec<String>,
    stock: u64,
    file: String,
    history: Arc<History>,
}

/// Runs cell `number` (from 1).
///
/// # Errors
/// It could not be run. What went wrong with orders is in the reports.
///
/// # Cancel safety: paused processes are continued.
pub async fn run(
    ground: &Ground<'_>,
    plan: &Plan,
    number: usize,
    progress: Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<RunReport>> {
    let cell = &plan.cells[number - 1];
    let mut sales = Vec::new();
    for (row, &strategy) in cell.strategies.iter().enumerate() {
        sales
            .push(Sale::open(ground, plan, &format!("{number}-{row}"), RowPlan { strategy, fault: cell.fault }).await?);
    }
    let tallies = sales.iter().map(|sale| sale.history.tally()).collect();
    let shown = progress.follow(number, cell, plan.load.attempts(), tallies);
    let struck = tokio::select! {
        struck = attack_and_strike(ground, plan, cell, &sales, interrupt) => struck,
        () = shown => unreachable!("it is followed until the attack is over"),
    };
    // Whatever happened, nobody stays stopped and nothing broken.
    ground.controls.resume_all();
    if let Some(routes) = ground.yard.and_then(|yard| yard.routes.as_ref()) {
        routes.heal();
    }
    let struck = struck?;
    let quiet = until_quiet(&ground.auditor, Some(&ground.inventory), settles_within(plan)).await?;
    let mut reports = Vec::new();
    for sale in sales {
        let report = sale.close(ground, plan, cell, &struck, &quiet).await?;
        progress.ended(number, &report);
        reports.push(report);
    }
    Ok(reports)
}

impl Sale {
    /// Puts stock on the shelves.
    async fn open(ground: &Ground<'_>, plan: &Plan, name: &str, row: RowPlan) -> anyhow::Result<Self> {
        let prefix = format!("{}-{name}", ground.prefix);
        let stocks = plan.load.stocks(plan.seed);
        let skus: Vec<String> = (0..stocks.len()).map(|sku| format!("{prefix}-{sku}")).collect();
        for (sku, stock) in skus.iter().zip(&stocks) {
            ground.inventory.put_stock(sku, *stock).await?;
        }
        let file = format!("history-{name}-{}-{}.jsonl", row.strategy, row.fault);
        let history =
            History::begin(&ground.folder.join(&file)).with_context(|| format!("{file} cannot be written"))?;
        let (stock, history) = (stocks.iter().sum(), Arc::new(history));
        Ok(Self { strategy: row.strategy, prefix, skus, stock, file, history })
    }

    fn lane(&self, demand: &[u64]) -> Lane {
        let sku = |sku: &u64| usize::try_from(*sku).ok().and_then(|sku| self.skus.get(sku).cloned());
        Lane {
            strategy: self.strategy,
            prefix: self.prefix.clone(),
            demand: demand.iter().filter_map(sku).collect(),
            history: Arc::clone(&self.history),
            next: AtomicUsize::new(0),
        }
    }

    /// Reads its books and counts.
    async fn close(
        self,
        ground: &Ground<'_>,
        plan: &Plan,
        cell: &Cell,
        struck: &[Struck],
        quiet: &Quiet,
    ) -> anyhow::Result<RunReport> {
        let clocks = Clocks { row: self.history.now(), database: ground.auditor.clock().await? };
        let books = ground.auditor.read(&Scope::Skus(self.skus.clone())).await?;
        let operations = self.history.finish().with_context(|| format!("{} cannot be written", self.file))?;
        let tally = *self.history.tally().borrow();
        let struck = struck.iter().filter(|struck| struck.concerns(self.strategy)).cloned().collect();
        let row = RowPlan { strategy: self.strategy, fault: cell.fault };
        let found = Found {
            plan,
            row,
            skus: &self.skus,
            stock: self.stock,
            books: &books,
            operations: &operations,
            clocks,
            tally,
            struck,
            quiet,
            file: self.file,
        };
        Ok(found.report())
    }
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

impl Sale {
    fn field(&self) -> LaneField {
        LaneField { strategy: self.strategy, skus: self.skus.clone(), history: Arc::clone(&self.history) }
    }
}

/// An order ends by wait and lease; a key whose owner was killed falls due a little later; a write nobody answered is
/// looked up after three leases; reconcilers look every second. The rest is for slow machines.
fn settles_within(plan: &Plan) -> Duration {
    2 * plan.shape.wait + 6 * plan.shape.lease + Duration::from_secs(20)
}
