//! A whole run: the stack, its cells one after the other, the verdict, the report.
//!
//! Invariant: an interrupted run is void, reports its complete rows, and leaves no process running.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use time::OffsetDateTime;

use crate::bad_usage::BadUsage;
use crate::cluster::config::StackConfig;
use crate::cluster::stack::Stack;
use crate::cluster::target::Target;
use crate::faults::{Fault, Needs};
use crate::interrupt::Interrupt;
use crate::report::baseline::Baseline;
use crate::report::model::{Origin, Report, RunReport, Verdict, VoidReason};
use crate::report::verdict::{is_worth_repeating, judge};
use crate::report::{files, terminal};
use crate::runner::cell::{self, CellRun};
use crate::runner::environment::Environment;
use crate::runner::progress::Progress;
use crate::scenario::plan::Plan;

/// How many times a void row is run at most.
const MAX_REPETITIONS: u32 = 3;

/// What to run, on which stack, and where to report.
#[derive(Debug)]
pub struct Experiment {
    /// The cells and their load.
    pub plan: Plan,
    /// A running stack; absent, one is started.
    pub target: Option<Target>,
    /// Folder of the service binaries.
    pub binaries: PathBuf,
    /// Folder for the report and the histories.
    pub folder: PathBuf,
    /// An earlier report to compare with.
    pub baseline: Option<Baseline>,
    /// Print every column of the table.
    pub wide: bool,
}

impl Experiment {
    /// Runs it, prints the verdict, writes the report.
    ///
    /// # Errors
    /// The run could not be made, or its report not written.
    pub async fn run(self, interrupt: &Interrupt) -> anyhow::Result<Verdict> {
        let (started_at, origin) = (OffsetDateTime::now_utc(), Origin::begin());
        files::clear(&self.folder).with_context(|| format!("{} cannot be written", self.folder.display()))?;
        let mut experiment = self;
        experiment.leave_out()?;
        let progress = Progress::of(&experiment.plan);
        progress.announce(&format!("Seed {} (--seed repeats it)", experiment.plan.seed));
        let ran = match &experiment.target {
            Some(target) => experiment.on_target(target, interrupt, &progress).await,
            None => experiment.on_own_stack(interrupt, &progress).await,
        };
        let CellResults { runs, failed } = ran?;
        let verdict = judge(&runs, interrupt.by()).also_void(failed);
        let Self { plan, folder, baseline, wide, .. } = experiment;
        let comparison = baseline.map(|baseline| baseline.compare(&runs));
        let report = Report { comparison, origin: origin.end(), ..Report::new(&plan, started_at, runs, verdict) };
        files::write(&report, &folder)
            .with_context(|| format!("the report cannot be written to {}", folder.display()))?;
        terminal::print(&report, &folder, wide).context("the verdict cannot be printed")?;
        Ok(report.verdict)
    }

    /// Leaves out the faults that cannot be injected into the target. A stack of our own allows every fault.
    fn leave_out(&mut self) -> anyhow::Result<()> {
        let Some(target) = &self.target else { return Ok(()) };
        let processes = target.replica_processes();
        let processes =
            processes.inventory.len() == target.inventory.len() && processes.orders.len() == target.orders.len();
        self.plan.keep_cells(|fault| match fault.spec().needs {
            Needs::Nothing => true,
            Needs::Processes => processes,
            Needs::OwnStack | Needs::Proxies => false,
        });
        let names: Vec<_> = self.plan.left_out.iter().map(Fault::to_string).collect();
        if self.plan.cells.is_empty() {
            bail!(BadUsage(format!(
                "{} cannot be injected into --target: its processes are not known here; run it with --faults none",
                names.join(", ")
            )));
        }
        if !names.is_empty() {
            eprintln!("Left out, because --target does not allow their injection: {}", names.join(", "));
        }
        Ok(())
    }

    async fn on_own_stack(&self, interrupt: &Interrupt, progress: &Progress<'_>) -> anyhow::Result<CellResults> {
        let mut ran = CellResults::default();
        for proxied in [false, true] {
            let numbers = self.plan.numbers(proxied);
            if !numbers.is_empty() && interrupt.by().is_none() {
                let more = self.on_stack(&self.plan.stack_config(proxied), &numbers, interrupt, progress).await?;
                ran.runs.extend(more.runs);
                ran.failed.extend(more.failed);
            }
        }
        Ok(ran)
    }

    /// Starts a stack for these cells.
    async fn on_stack(
        &self,
        stack_config: &StackConfig,
        numbers: &[usize],
        interrupt: &Interrupt,
        progress: &Progress<'_>,
    ) -> anyhow::Result<CellResults> {
        let (nodes, replicas) = (stack_config.redis_nodes, stack_config.replicas);
        let proxies = if stack_config.proxied { ", with proxies between them" } else { "" };
        progress.announce(&format!(
            "Starting Postgres, {nodes} Redis nodes and {replicas} replicas of each service{proxies}"
        ));
        let logs = self.folder.join("logs");
        let stack = tokio::select! {
            stack = Stack::start(stack_config, &self.binaries, Some(&logs)) => stack.context("the stack did not start")?,
            _ = interrupt.asked() => return Ok(CellResults::default()),
        };
        let ran = match Environment::own_stack(&stack, &self.folder).await {
            Ok(environment) => Ok(self.cells(&environment, numbers, interrupt, progress).await),
            Err(error) => Err(error),
        };
        stack.shut_down().await;
        ran
    }

    async fn on_target(
        &self,
        target: &Target,
        interrupt: &Interrupt,
        progress: &Progress<'_>,
    ) -> anyhow::Result<CellResults> {
        let environment = Environment::external(target, &self.folder).await?;
        let all: Vec<_> = (1..=self.plan.cells.len()).collect();
        Ok(self.cells(&environment, &all, interrupt, progress).await)
    }

    /// A cell that cannot be run makes the run void; the rows of the other cells are reported.
    async fn cells(
        &self,
        environment: &Environment<'_>,
        numbers: &[usize],
        interrupt: &Interrupt,
        progress: &Progress<'_>,
    ) -> CellResults {
        let mut ran = CellResults::default();
        for &number in numbers {
            if interrupt.by().is_some() {
                break;
            }
            let mut rows = Vec::new();
            let fault = self.plan.cells[number - 1].fault;
            if let Err(error) = self.repeat_while_void(environment, number, interrupt, progress, &mut rows).await {
                ran.failed.push(VoidReason::CellFailed { fault, error: format!("{error:#}") });
            }
            ran.runs.extend(rows);
        }
        ran
    }

    /// Runs a cell, and then again those of its rows that are void: a pause that no write met is no result.
    async fn repeat_while_void(
        &self,
        environment: &Environment<'_>,
        number: usize,
        interrupt: &Interrupt,
        progress: &Progress<'_>,
        rows: &mut Vec<RunReport>,
    ) -> anyhow::Result<()> {
        let planned = &self.plan.cells[number - 1];
        let (mut cell, mut repetition) = (planned.clone(), 1);
        loop {
            let found =
                cell::run(environment, &self.plan, CellRun { number, repetition, cell: &cell }, progress, interrupt)
                    .await?;
            for row in found {
                match rows.iter_mut().find(|earlier| earlier.strategy == row.strategy) {
                    Some(earlier) => *earlier = row,
                    None => rows.push(row),
                }
            }
            let void: Vec<_> = rows.iter().filter(|row| is_worth_repeating(row)).map(|row| row.strategy).collect();
            if void.is_empty() || repetition == MAX_REPETITIONS || interrupt.by().is_some() {
                return Ok(());
            }
            let names: Vec<_> = void.iter().map(ToString::to_string).collect();
            progress.announce(&format!("Void, running again under {}: {}", cell.fault, names.join(", ")));
            (cell, repetition) = (planned.with_only(void), repetition + 1);
        }
    }
}

/// The results of the cells.
#[derive(Debug, Default)]
struct CellResults {
    runs: Vec<RunReport>,
    /// The cells that could not be run, and why.
    failed: Vec<VoidReason>,
}
