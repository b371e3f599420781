//! One row: fresh SKUs, the attack with the fault beside it, quiet, the audit, the numbers.
//!
//! Invariant: every process runs again before the books are read.
//! Absence: rows share nothing but the stack; no row sees another's SKUs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::sync::watch;

use crate::attack::Attack;
use crate::audit::{self, Auditor, Books, Evidence, Quiet, Scope, until_quiet};
use crate::control::Controls;
use crate::faults::{Field, Struck};
use crate::history::{History, Operation, Tally};
use crate::interrupt::Interrupt;
use crate::inventory::Inventory;
use crate::oversold;
use crate::plan::{Plan, RowPlan, answer_limit, strikes};
use crate::progress::Progress;
use crate::report::course::{Clocks, Course};
use crate::report::{AuditReport, Latency, LockWait, RunReport};
use crate::target::Target;

/// The highest latency that is told apart from others.
const LONGEST_US: u64 = 600_000_000;

/// What rows run on.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Addresses.
    pub target: &'a Target,
    /// Inventory's lab and stock.
    pub inventory: Inventory,
    /// Processes that can be stopped.
    pub controls: Controls,
    /// Lock nodes that are ours.
    pub redis: &'a [testbed::RedisNode],
    /// Reads the books.
    pub auditor: Auditor,
    /// Where histories go.
    pub folder: &'a Path,
    /// SKUs and keys of this run begin with it.
    pub prefix: &'a str,
}

/// Runs row `number` (from 1).
///
/// # Errors
/// It could not be run. What went wrong with orders is in the report.
///
/// # Cancel safety: paused processes are continued.
pub async fn run(
    ground: &Ground<'_>,
    plan: &Plan,
    number: usize,
    progress: Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<RunReport> {
    let row = plan.rows[number - 1];
    let prefix = format!("{}-{number}", ground.prefix);
    let skus: Vec<String> = (0..plan.load.skus).map(|sku| format!("{prefix}-{sku}")).collect();
    for (n, sku) in (0..).zip(&skus) {
        ground.inventory.put_stock(sku, plan.load.stock_of(n)).await?;
    }
    let file = format!("history-{number}-{}-{}.jsonl", row.strategy, row.fault);
    let history = History::begin(&ground.folder.join(&file)).with_context(|| format!("{file} cannot be written"))?;
    let history = Arc::new(history);

    let shown = progress.follow(number, row, plan.load.attempts(), history.tally());
    let struck = tokio::select! {
        struck = attack_and_strike(ground, plan, row, &prefix, &skus, &history, interrupt) => struck,
        () = shown => unreachable!("it is followed until the attack is over"),
    };
    // Whatever happened, nobody stays stopped.
    ground.controls.resume_all();
    let struck = struck?;

    let limit = settles_within(plan);
    let quiet = until_quiet(&ground.auditor, Some(&ground.inventory), limit).await?;
    let clocks = Clocks { row: history.now(), database: ground.auditor.clock().await? };
    let books = ground.auditor.read(&Scope::Skus(skus.clone())).await?;
    let operations = history.finish().with_context(|| format!("{file} cannot be written"))?;
    let tally = *history.tally().borrow();
    let found =
        Found { plan, row, skus: &skus, books: &books, operations: &operations, clocks, tally, struck, quiet, file };
    let report = found.report();
    progress.ended(number, row, &format!("{} accepted, {} oversold", report.accepted, report.units_oversold));
    Ok(report)
}

async fn attack_and_strike(
    ground: &Ground<'_>,
    plan: &Plan,
    row: RowPlan,
    prefix: &str,
    skus: &[String],
    history: &Arc<History>,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Struck>> {
    let at = |sku: u64| usize::try_from(sku).ok().and_then(|sku| skus.get(sku).cloned());
    let attack = Attack {
        orders: ground.target.orders.clone(),
        strategy: row.strategy,
        demand: plan.load.demand(plan.seed).into_iter().filter_map(at).collect(),
        prefix: prefix.to_owned(),
        answer_limit: answer_limit(&plan.shape),
        history: Arc::clone(history),
    };
    let (ended, over) = watch::channel(false);
    let field = Field {
        strategy: row.strategy,
        skus,
        lease: plan.shape.lease,
        inventory: &ground.inventory,
        controls: &ground.controls,
        redis: ground.redis,
        auditor: &ground.auditor,
        history,
        over,
        strikes: strikes(plan.seed, plan.strikes, plan.load.stock),
    };
    let attacking = async {
        let attacked = attack.run(&plan.load, interrupt).await;
        ended.send_replace(true);
        attacked
    };
    let ((), struck) = tokio::try_join!(attacking, row.fault.strike(&field))?;
    Ok(struck)
}

/// An order ends by wait and lease; a write nobody answered is looked up after three leases; reconcilers look every
/// second. The rest is for slow machines.
fn settles_within(plan: &Plan) -> Duration {
    plan.shape.wait + 4 * plan.shape.lease + Duration::from_secs(15)
}

/// Everything a row brought to light.
struct Found<'a> {
    plan: &'a Plan,
    row: RowPlan,
    skus: &'a [String],
    books: &'a Books,
    operations: &'a [Operation],
    clocks: Clocks,
    tally: Tally,
    struck: Vec<Struck>,
    quiet: Quiet,
    file: String,
}

impl Found<'_> {
    fn report(self) -> RunReport {
        let Self { plan, row, books, operations, tally, .. } = self;
        let evidence = Evidence { books, history: Some(operations) };
        let findings = audit::audit(&evidence);
        let (duration_seconds, latency_ms, lock_wait_ms) = times(operations);
        RunReport {
            strategy: row.strategy,
            fault: row.fault,
            initial_stock: plan.load.stock,
            attempts: operations.len() as u64,
            accepted: tally.accepted,
            units_sold: books.live_units().values().sum(),
            stock_left: books.stock.iter().map(|row| row.available).sum(),
            units_oversold: oversold::units(&books.ledger),
            lost_updates: books.lost_updates(),
            sold_out: tally.sold_out,
            lock_timeouts: tally.lock_timeouts,
            unavailable: tally.unavailable,
            stale_claims_refused: books.refused_at("claim").count(),
            stale_writes_refused: books.refused_at("write").count(),
            payments_voided: books.orders.iter().filter(|order| order.payment.as_deref() == Some("voided")).count(),
            unexplained_errors: tally.unexplained + tally.silence,
            faults_fired: self.struck.iter().filter(|struck| struck.fired).count(),
            duration_seconds,
            orders_per_second: per_second(tally.ended - tally.silence, duration_seconds),
            latency_ms,
            lock_wait_ms,
            audit: AuditReport::of(&findings),
            attempts_planned: plan.load.attempts(),
            skus: self.skus.len(),
            skus_sold_out: self.sold_out(),
            paused_writes_refused: self.paused_writes_refused(),
            unsettled: match self.quiet {
                Quiet::Yes => None,
                Quiet::No(what) => Some(what),
            },
            strikes: self.struck,
            course: Course::of(operations, books, self.clocks),
            history: self.file,
        }
    }

    /// SKUs of which at least as many units were sold as there were. `available` cannot tell: without a lock it may
    /// still show units when several times as many were sold.
    fn sold_out(&self) -> usize {
        let live = self.books.live_units();
        let sold = |sku: &str| live.get(sku).copied().unwrap_or_default();
        self.books.stock.iter().filter(|row| sold(&row.sku) >= row.on_hand).count()
    }

    /// Refused writes that belong to a pause: same order, same token. A fenced order writes only after its claim
    /// succeeded, and the refusal names a newer claim.
    fn paused_writes_refused(&self) -> usize {
        let refused = |struck: &&Struck| {
            let same = |refusal: &&audit::Refusal| {
                refusal.order_id == struck.order_id && Some(refusal.token) == struck.fencing_token
            };
            struck.fired
                && self.books.refused_at("write").any(|refusal| same(&refusal) && refusal.current > refusal.token)
        };
        self.struck.iter().filter(refused).count()
    }
}

fn times(operations: &[Operation]) -> (f64, Latency, LockWait) {
    let mut latency = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).expect("fixed bounds are valid");
    let mut lock_wait = latency.clone();
    for operation in operations {
        if let Some((at, answer)) = operation.answered.as_ref().filter(|(_, answer)| answer.status.is_some()) {
            latency.saturating_record(
                u64::try_from(at.saturating_sub(operation.invoked).as_micros()).unwrap_or(LONGEST_US),
            );
            if let Some(waited) = answer.lock_ms {
                lock_wait.saturating_record(micros(waited));
            }
        }
    }
    let first = operations.iter().map(|operation| operation.invoked).min().unwrap_or_default();
    let last =
        operations.iter().filter_map(|operation| operation.answered.as_ref().map(|(at, _)| *at)).max().unwrap_or(first);
    let at = |histogram: &Histogram<u64>, quantile| ms(histogram.value_at_quantile(quantile));
    let latency_ms =
        Latency { p50: at(&latency, 0.5), p95: at(&latency, 0.95), p99: at(&latency, 0.99), max: ms(latency.max()) };
    let lock_wait_ms = LockWait { p50: at(&lock_wait, 0.5), p99: at(&lock_wait, 0.99) };
    (last.saturating_sub(first).as_secs_f64(), latency_ms, lock_wait_ms)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what a header said, kept within bounds")]
fn micros(ms: f64) -> u64 {
    (ms * 1000.0).clamp(0.0, 6e8) as u64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 orders")]
fn per_second(orders: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { orders as f64 / seconds } else { 0.0 }
}
