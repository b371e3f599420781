//! `oversell audit`: audits the databases of a running stack and prints every item.

use std::time::Duration;

use anyhow::Context as _;

use super::exit_status;
use crate::audit::{Auditor, Quiescence, Statement, wait_until_quiescent};
use crate::bad_usage::BadUsage;
use crate::cli::AuditArgs;
use crate::cluster::target::Databases;

/// How long the databases may take to become quiescent.
const QUIESCENT_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn run(args: AuditArgs) -> anyhow::Result<u8> {
    for file in &args.history {
        let readable = std::fs::File::open(file);
        readable.with_context(|| BadUsage(format!("--history: {} cannot be read", file.display())))?;
    }
    let auditor = Auditor::connect(&Databases::among(&args.postgres).await?).await?;
    if let Quiescence::NotReached(unsettled) = wait_until_quiescent(&auditor, None, QUIESCENT_WITHIN).await? {
        anyhow::bail!("an audit proves nothing while work is in flight: {unsettled}");
    }
    let statement = Statement::take(&auditor, &args.history).await?;
    print!("{statement}");
    Ok(match (statement.passed, statement.is_broken()) {
        (true, _) => exit_status::PASSED,
        (false, true) => exit_status::BROKEN,
        (false, false) => exit_status::VOID,
    })
}
