//! `oversell run`: runs the experiment and prints the verdict.

use anyhow::Context as _;

use super::{binaries, exit_status, running_stack};
use crate::cli::{self, RunArgs};
use crate::interrupt::Interrupt;
use crate::report::baseline::Baseline;
use crate::runner::experiment::Experiment;

pub(super) async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let mut plan = args.plan().unwrap_or_else(|error| cli::exit(&error));
    let interrupt = Interrupt::listen().context("signal handlers cannot be installed")?;
    let target = running_stack::find(&args.running).await?;
    if let Some(target) = &target {
        (plan.stack_config.redis_nodes, plan.stack_config.replicas) = (target.redis.len(), target.orders.len());
    }
    // Read before the run, whose report may replace it.
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let experiment =
        Experiment { plan, target, binaries: binaries::folder()?, folder: args.report, baseline, wide: args.wide };
    let verdict = experiment.run(&interrupt).await?;
    let status = verdict.exit_status();
    if let ([reason, ..], exit_status::VOID) = (verdict.void_reasons.as_slice(), status) {
        eprintln!("oversell: void: {reason}");
    }
    Ok(status)
}
