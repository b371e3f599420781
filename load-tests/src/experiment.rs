//! A whole run: the stack, its cells one after the other, the verdict, the reports.
//!
//! Invariant: an interrupted run is void, reports the rows it has, and leaves nothing running.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use time::OffsetDateTime;

use crate::audit::Auditor;
use crate::cell::{self, Ground};
use crate::faults::{Fault, Needs};
use crate::interrupt::Interrupt;
use crate::inventory::Inventory;
use crate::matrix;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::baseline::Baseline;
use crate::report::{self, Report, RunReport};
use crate::stack::{Shape, Stack};
use crate::target::Target;
use crate::verdict::Verdict;

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
        let (runs, interrupted) = ran?;
        let verdict = Verdict::of(&runs, interrupted);
        let Self { plan, folder, baseline, .. } = experiment;
        let report = Report::new(&plan, started_at, runs, verdict).against(baseline.as_ref());
        let written = report.write(&folder).and_then(|()| matrix::write(&report, &folder));
        written.with_context(|| format!("the report cannot be written to {}", folder.display()))?;
        report::terminal::print(&report, &folder.display().to_string()).context("the verdict cannot be printed")?;
        Ok(report.verdict)
    }

    /// What cannot be had on this ground is left out, by name. On a stack of our own everything can be had.
    fn leave_out(&mut self) -> anyhow::Result<()> {
        let Some(target) = &self.target else { return Ok(()) };
        let controls = target.controls();
        let processes =
            controls.inventory.len() == target.inventory.len() && controls.orders.len() == target.orders.len();
        self.plan.without(|fault| match fault.needs() {
            Needs::Nothing => true,
            Needs::Processes => processes,
            Needs::OwnStack => false,
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

    async fn on_own_stack(
        &self,
        interrupt: &Interrupt,
        progress: Progress,
    ) -> anyhow::Result<(Vec<RunReport>, Option<&'static str>)> {
        let mut runs = Vec::new();
        for proxied in [false, true] {
            let numbers = self.plan.numbers(proxied);
            if !numbers.is_empty() && interrupt.by().is_none() {
                runs.extend(self.on_stack(&self.plan.shape(proxied), &numbers, interrupt, progress).await?);
            }
        }
        Ok((runs, interrupt.by()))
    }

    /// Brings a stack up for these cells.
    async fn on_stack(
        &self,
        shape: &Shape,
        numbers: &[usize],
        interrupt: &Interrupt,
        progress: Progress,
    ) -> anyhow::Result<Vec<RunReport>> {
        let (nodes, replicas) = (shape.redis_nodes, shape.replicas);
        let between = if shape.proxied { ", proxies between them" } else { "" };
        progress
            .say(&format!("Starting Postgres, {nodes} Redis nodes and {replicas} replicas of each service{between}"));
        let logs = self.folder.join("logs");
        let stack = tokio::select! {
            stack = Stack::start(shape, &self.binaries, Some(&logs)) => stack.context("the stack did not come up")?,
            _ = interrupt.asked() => return Ok(Vec::new()),
        };
        let auditor = Auditor::connect(&stack.audit).await?;
        let ran = {
            let controls = stack.controls();
            let prefix = prefix();
            let ground = Ground {
                inventory: Inventory::new(&stack.target.inventory, &stack.target.inventory_token)?,
                target: &stack.target,
                controls,
                yard: Some(&stack.yard),
                auditor,
                folder: &self.folder,
                prefix: &prefix,
            };
            self.cells(&ground, numbers, interrupt, progress).await
        };
        stack.shut_down().await;
        ran
    }

    async fn on_target(
        &self,
        target: &Target,
        interrupt: &Interrupt,
        progress: Progress,
    ) -> anyhow::Result<(Vec<RunReport>, Option<&'static str>)> {
        let controls = target.controls();
        let prefix = prefix();
        let ground = Ground {
            inventory: Inventory::new(&target.inventory, &target.inventory_token)?,
            target,
            controls,
            yard: None,
            auditor: Auditor::connect(&target.postgres).await?,
            folder: &self.folder,
            prefix: &prefix,
        };
        let all: Vec<_> = (1..=self.plan.cells.len()).collect();
        let runs = self.cells(&ground, &all, interrupt, progress).await?;
        Ok((runs, interrupt.by()))
    }

    async fn cells(
        &self,
        ground: &Ground<'_>,
        numbers: &[usize],
        interrupt: &Interrupt,
        progress: Progress,
    ) -> anyhow::Result<Vec<RunReport>> {
        let mut runs = Vec::new();
        for &number in numbers {
            if interrupt.by().is_some() {
                break;
            }
            let fault = self.plan.cells[number - 1].fault;
            let ran = cell::run(ground, &self.plan, number, progress, interrupt).await;
            runs.extend(ran.with_context(|| format!("cell {number}, under {fault}, could not be run"))?);
        }
        Ok(runs)
    }
}

/// SKUs and keys of this run begin with it: a database may have seen others.
fn prefix() -> String {
    format!("r{:x}", OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000)
}

/// Makes the folder, and takes away what an earlier run wrote: its history must not be taken for this one's.
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
