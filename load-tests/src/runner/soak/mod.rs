//! The soak: one strategy, sold for minutes or hours under random faults. Every minute is a sale of its own, on fresh SKUs,
//! audited when it is over; the first violation ends the soak, and tells the seed and keeps the history that show it.
//!
//! Invariant: a minute that was not audited at rest does not count as clean.
//! Absence: no speed is judged.

mod protocol_mutation;
mod report;
mod round;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use contract::{LockKind, Strategy};
use tokio::time::Instant;

pub use self::protocol_mutation::ProtocolMutation;
use self::report::SoakReport;
use self::round::Round;
use crate::cluster::config::StackConfig;
use crate::cluster::stack::Stack;
use crate::interrupt::Interrupt;
use crate::runner::environment::Environment;

/// One sale and its audit.
const MINUTE: Duration = Duration::from_mins(1);

/// What to soak.
#[derive(Debug, Clone)]
pub struct SoakPlan {
    /// How long.
    pub minutes: u64,
    /// How stock is guarded.
    pub strategy: Strategy,
    /// Customers at the same time.
    pub users: u64,
    /// What is taken out of the database beforehand, to see that the soak would notice.
    pub without: Option<ProtocolMutation>,
    /// Decides which faults strike, when and whom.
    pub seed: u64,
    /// What it runs on.
    pub stack_config: StackConfig,
}

/// A soak, and where to tell of it.
#[derive(Debug)]
pub struct Soak {
    /// What to soak.
    pub plan: SoakPlan,
    /// Where the service binaries are.
    pub binaries: PathBuf,
    /// Where the report and the histories go.
    pub folder: PathBuf,
}

/// What a soak runs on where nothing else is said: a payment that leaves room between read and write, a lock that is not
/// waited for too long, proxies on every line.
pub fn stack_config(preset: &StackConfig) -> StackConfig {
    let ms = Duration::from_millis;
    StackConfig { payment: ms(10), wait: ms(3_000), proxied: true, ..preset.clone() }
}

impl Soak {
    /// Runs it, a line a sale (a minute of selling and auditing), and writes the report.
    ///
    /// # Errors
    /// It could not be run: nothing was shown, either way.
    pub async fn run(self, interrupt: &Interrupt) -> anyhow::Result<SoakReport> {
        let Self { plan, binaries, folder } = self;
        report::clear(&folder).with_context(|| format!("{} cannot be written", folder.display()))?;
        let backend = plan.strategy.lock();
        let stack_config = StackConfig {
            etcd: backend == LockKind::Etcd,
            zookeeper: backend == LockKind::Zookeeper,
            ..plan.stack_config.clone()
        };
        let mut report = SoakReport::new(&plan);
        let logs = folder.join("logs");
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &binaries, Some(&logs)) => stack.context("the stack did not come up")?,
            _ = interrupt.asked() => return Ok(report),
        };
        if let Some(without) = plan.without {
            without.take_out(&stack.target.postgres.inventory).await?;
        }
        let environment = Environment::own_stack(&stack, &folder).await?;
        println!("{}", report.headline());
        let ran = minutes(&environment, &plan, interrupt, &mut report).await;
        stack.shut_down().await;
        ran?;
        report.write(&folder).with_context(|| format!("the report cannot be written to {}", folder.display()))?;
        println!("{}", report.verdict());
        Ok(report)
    }
}

async fn minutes(
    environment: &Environment<'_>,
    plan: &SoakPlan,
    interrupt: &Interrupt,
    report: &mut SoakReport,
) -> anyhow::Result<()> {
    let over = Instant::now() + MINUTE * u32::try_from(plan.minutes).unwrap_or(u32::MAX);
    let mut number = 0;
    while Instant::now() < over && interrupt.by().is_none() && report.is_clean() {
        number += 1;
        let round = Round { environment, plan, number, interrupt };
        let minute = round.run().await.with_context(|| format!("minute {number} could not be run"))?;
        println!("{}", minute.line());
        report.add(minute);
        // After every minute, so that a machine that goes down leaves what was seen.
        report.write(environment.folder)?;
    }
    Ok(())
}
