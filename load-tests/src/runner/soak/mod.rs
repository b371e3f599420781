//! The soak: one strategy sells for minutes or hours under random faults. Every minute is a sale on fresh SKUs with an
//! audit at its end; the first violation ends the soak, with the seed and the history that reproduce it.
//!
//! Invariant: a minute that was not audited at quiescence does not count as clean.
//! Absence: no threshold of speed.

mod plan;
mod protocol_mutation;
mod report;
mod round;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

pub use self::plan::{SoakPlan, stack_config};
pub use self::protocol_mutation::ProtocolMutation;
pub use self::report::SoakReport;
use self::round::Round;
use crate::cluster::stack::Stack;
use crate::interrupt::Interrupt;
use crate::report::files;
use crate::runner::environment::Environment;
use crate::scenario::plan::stack_config_for;

/// One sale and its audit.
const MINUTE: Duration = Duration::from_mins(1);

/// A soak.
#[derive(Debug)]
pub struct Soak {
    /// What to run.
    pub plan: SoakPlan,
    /// Folder of the service binaries.
    pub binaries: PathBuf,
    /// Folder for the report and the histories.
    pub folder: PathBuf,
}

impl Soak {
    /// Runs it, prints one line per minute, and writes the report.
    ///
    /// # Errors
    /// The stack does not start, a minute could not be run, or a file cannot be written.
    pub async fn run(self, interrupt: &Interrupt) -> anyhow::Result<SoakReport> {
        let Self { plan, binaries, folder } = self;
        files::clear_where(&folder, |name| name.starts_with("soak."))
            .with_context(|| format!("{} cannot be written", folder.display()))?;
        let stack_config = stack_config_for(&plan.stack_config, &[plan.strategy], plan.stack_config.proxied);
        let mut report = SoakReport::new(&plan);
        let logs = folder.join("logs");
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &binaries, Some(&logs)) => stack.context("the stack did not start")?,
            _ = interrupt.asked() => return Ok(report),
        };
        if let Some(mutation) = plan.mutation {
            mutation.apply(&stack.target.postgres.inventory).await?;
        }
        let environment = Environment::own_stack(&stack, &folder).await?;
        println!("{}", report.headline());
        let ran = run_minutes(&environment, &plan, interrupt, &mut report).await;
        stack.shut_down().await;
        ran?;
        report.write(&folder).with_context(|| format!("the report cannot be written to {}", folder.display()))?;
        println!("{}", report.verdict());
        Ok(report)
    }
}

async fn run_minutes(
    environment: &Environment<'_>,
    plan: &SoakPlan,
    interrupt: &Interrupt,
    report: &mut SoakReport,
) -> anyhow::Result<()> {
    let end = Instant::now() + MINUTE * u32::try_from(plan.minutes).unwrap_or(u32::MAX);
    let mut number = 0;
    while Instant::now() < end && interrupt.by().is_none() && report.is_clean() {
        number += 1;
        let round = Round { environment, plan, number, interrupt };
        let minute = round.run().await.with_context(|| format!("minute {number} could not be run"))?;
        println!("{}", minute.line());
        report.add(minute);
        // After every minute, so that the results so far survive a crash of the machine.
        report.write(environment.folder)?;
    }
    Ok(())
}
