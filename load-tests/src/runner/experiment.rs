//! A whole run: the stack, its cells one after the other, the verdict, the reports.
//!
//! Invariant: an interrupted run is void, reports the rows it has, and leaves nothing running.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use time::OffsetDateTime;

use crate::cluster::config::StackConfig;
use crate::cluster::stack::Stack;
use crate::cluster::target::Target;
use crate::faults::{Fault, Needs};
use crate::interrupt::Interrupt;
use crate::report::baseline::Baseline;
use crate::report::matrix_markdown;
use crate::report::verdict::{Verdict, shows_nothing};
use crate::report::{self, Report, RunReport};
use crate::runner::cell::{self, CellRun};
use crate::runner::environment::Environment;
use crate::runner::progress::Progress;
use crate::scenario::plan::Plan;

/// So many times a row is run until it shows anything, this way or that.
const MAX_REPETITIONS: u32 = 3;

/// What to run, where, and where to tell.
#[derive(Debug)]
pub struct Experiment {
    /// Rows and numbers.
    pub plan: Plan,
    /// A stack that is up already; one is brought up if absent.
    pub target: Option<Target>,
    /// Where the service binaries are.
    pub binaries: PathBuf,
    /// Where reports and histories go.
    pub folder: PathBuf,
    /// An earlier report, to be compared with.
    pub baseline: Option<Baseline>,
}

impl Experiment {
    /// Runs it, prints the verdict, writes the reports.
    ///
    /// # Errors
    /// It could not be run: nothing was shown, either way.
    pub async fn run(self, interrupt: &Interrupt) -> anyhow::Result<Verdict> {
        let started_at = OffsetDateTime::now_utc();
        clear(&self.folder).with_context(|| format!("{} cannot be written", self.folder.display()))?;
        let mut experiment = self;
        experiment.leave_out()?;
        let progress = Progress::of(&experiment.plan);
        progress.say(&format!("Seed {} (--seed repeats it)", experiment.plan.seed));
        let ran = match &experiment.target {
            Some(target) => experiment.on_target(target, interrupt, progress).await,
            None => experiment.on_own_stack(interrupt, progress).await,
        };
        let CellResults { runs, missing } = ran?;
        let verdict = Verdict::of(&runs, interrupt.by()).without(missing);
        let Self { plan, folder, baseline, .. } = experiment;
        let report = Report::new(&plan, started_at, runs, verdict).against(baseline.as_ref());
        let written = report.write(&folder).and_then(|()| matrix_markdown::write(&report, &folder));
        written.with_context(|| format!("the report cannot be written to {}", folder.display()))?;
        report::terminal::print(&report, &folder.display().to_string()).context("the verdict cannot be printed")?;
        Ok(report.verdict)
    }

    /// What cannot be had on this environment is left out, by name. On a stack of our own everything can be had.
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
            bail!(
                "of the target only the addresses are within reach, not what {} would break; run it with --faults none",
                names.join(", ")
            );
        }
        if !names.is_empty() {
            eprintln!("Left out, because the target's parts are out of reach: {}", names.join(", "));
        }
        Ok(())
    }

    async fn on_own_stack(&self, interrupt: &Interrupt, progress: Progress<'_>) -> anyhow::Result<CellResults> {
        let mut ran = CellResults::default();
        for proxied in [false, true] {
            let numbers = self.plan.numbers(proxied);
            if !numbers.is_empty() && interrupt.by().is_none() {
                let more = self.on_stack(&self.plan.stack_config(proxied), &numbers, interrupt, progress).await?;
                ran.runs.extend(more.runs);
                ran.missing.extend(more.missing);
            }
        }
        Ok(ran)
    }

    /// Brings a stack up for these cells.
    async fn on_stack(
        &self,
        stack_config: &StackConfig,
        numbers: &[usize],
        interrupt: &Interrupt,
        progress: Progress<'_>,
    ) -> anyhow::Result<CellResults> {
        let (nodes, replicas) = (stack_config.redis_nodes, stack_config.replicas);
        let between = if stack_config.proxied { ", proxies between them" } else { "" };
        progress
            .say(&format!("Starting Postgres, {nodes} Redis nodes and {replicas} replicas of each service{between}"));
        let logs = self.folder.join("logs");
        let stack = tokio::select! {
            stack = Stack::start(stack_config, &self.binaries, Some(&logs)) => stack.context("the stack did not come up")?,
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
        progress: Progress<'_>,
    ) -> anyhow::Result<CellResults> {
        let environment = Environment::external(target, &self.folder).await?;
        let all: Vec<_> = (1..=self.plan.cells.len()).collect();
        Ok(self.cells(&environment, &all, interrupt, progress).await)
    }

    /// A cell that cannot be run makes the run void; what was seen in the others is told all the same.
    async fn cells(
        &self,
        environment: &Environment<'_>,
        numbers: &[usize],
        interrupt: &Interrupt,
        progress: Progress<'_>,
    ) -> CellResults {
        let mut ran = CellResults::default();
        for &number in numbers {
            if interrupt.by().is_some() {
                break;
            }
            let mut rows = Vec::new();
            let fault = self.plan.cells[number - 1].fault;
            if let Err(error) = self.until_it_shows(environment, number, interrupt, progress, &mut rows).await {
                ran.missing.push(format!("under {fault} nothing could be run: {error:#}"));
            }
            ran.runs.extend(rows);
        }
        ran
    }

    /// Runs a cell, and again those of its rows that showed nothing, either way: a pause that met nobody is no result.
    async fn until_it_shows(
        &self,
        environment: &Environment<'_>,
        number: usize,
        interrupt: &Interrupt,
        progress: Progress<'_>,
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
            let void: Vec<_> = rows.iter().filter(|row| shows_nothing(row)).map(|row| row.strategy).collect();
            if void.is_empty() || repetition == MAX_REPETITIONS || interrupt.by().is_some() {
                return Ok(());
            }
            let names: Vec<_> = void.iter().map(ToString::to_string).collect();
            progress.say(&format!("Void, so once more under {}: {}", cell.fault, names.join(", ")));
            (cell, repetition) = (planned.with_only(void), repetition + 1);
        }
    }
}

/// What came of the cells.
#[derive(Debug, Default)]
struct CellResults {
    runs: Vec<RunReport>,
    /// Those that could not be run, and why.
    missing: Vec<String>,
}

/// Makes the folder, and repetitions away what an earlier run wrote: its history must not be taken for this one's.
fn clear(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with("report.")
            || name == "index.html"
            || name == "matrix.md"
            || (name.starts_with("history-") && name.ends_with(".jsonl"));
        if ours {
            std::fs::remove_file(entry.path())?;
        } else if name == "logs" {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
