//! A run of `pgbench`, which comes with Postgres: the load that its users measure a server with.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::TestbedError;
use crate::folder::Folder;
use crate::processes::child::Child;
use crate::processes::log::{open_log, tail};
use crate::processes::stop_policy::StopPolicy;
use crate::servers::postgres::program;

const NAME: &str = "pgbench";
/// Beyond the duration of the run: for connecting, and for the last transactions.
const GRACE: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, Clone)]
pub struct PgBench<'a> {
    /// The URL of the database.
    pub database: &'a str,
    /// The file of a transaction, in the language of pgbench.
    pub script: PathBuf,
    /// Variables of the script.
    pub variables: &'a [(&'a str, String)],
    /// Connections, each of which executes transactions one after the other.
    pub clients: usize,
    /// For how long, in whole seconds.
    pub lasting: Duration,
}

/// What pgbench reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PgBenchResult {
    /// Transactions per second, without the time to connect.
    pub per_second: f64,
    /// Average latency of a transaction in milliseconds.
    pub latency_ms: f64,
}

impl PgBench<'_> {
    /// Runs it, with prepared statements.
    ///
    /// # Errors
    /// It is not installed, a transaction failed, or it did not end in time.
    ///
    /// # Cancel safety: the process is ended.
    pub async fn run(&self) -> Result<PgBenchResult, TestbedError> {
        let program = program(NAME)?;
        let folder = Folder::new(NAME)?;
        let log = folder.path().join("log");
        let (output, errors) = open_log(&log)?;
        let (clients, seconds) = (self.clients.to_string(), self.lasting.as_secs().to_string());
        let child = Child::spawn(NAME, &program, StopPolicy::KILL, |command| {
            command.args(["--no-vacuum", "--protocol=prepared", "--jobs=1", "--client", &clients, "--time", &seconds]);
            for (name, value) in self.variables {
                command.args(["--define", &format!("{name}={value}")]);
            }
            command.arg("--file").arg(&self.script).arg(self.database).stdout(output).stderr(errors);
        })?;
        let ended = timeout(self.lasting + GRACE, child.until_ended()).await;
        let failed = || TestbedError::Ended { name: NAME.to_owned(), log: tail(&log, 20) };
        ended.map_err(|_overdue| failed())?.map_err(|source| TestbedError::Wait { name: NAME.to_owned(), source })?;
        let status = child.stop(StopPolicy::KILL).await;
        let text = std::fs::read_to_string(&log).map_err(TestbedError::file("cannot read", &log))?;
        status.filter(std::process::ExitStatus::success).and_then(|_| result(&text)).ok_or_else(failed)
    }
}

/// `None` if a figure is missing, or a client gave up.
fn result(text: &str) -> Option<PgBenchResult> {
    let figure =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    let aborted = text.contains("aborted");
    let (per_second, latency_ms) = (figure("tps = ")?, figure("latency average = ")?);
    (!aborted).then_some(PgBenchResult { per_second, latency_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "transaction type: order.sql\nnumber of transactions actually processed: 11\n\
                        latency average = 12.402 ms\ninitial connection time = 9.1 ms\n\
                        tps = 2580.117000 (without initial connection time)\n";

    #[test]
    fn both_figures_are_read_and_a_client_that_gave_up_spoils_them() {
        assert_eq!(result(TEXT), Some(PgBenchResult { per_second: 2580.117, latency_ms: 12.402 }));
        assert_eq!(result("latency average = 12.402 ms\n"), None);
        assert_eq!(result(&format!("client 3 aborted in command 4\n{TEXT}")), None);
    }
}
