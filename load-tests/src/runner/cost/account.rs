//! What orders cost besides time: processor time by kind of process, commits, write-ahead log, commands of the lock nodes.
//! Processor time does not depend on what else the machine does, so it can be compared between runs.
//!
//! Invariant: everything that serves orders is counted, and nothing else. Customers and auditor are counted apart.

use std::fmt;
use std::ops::Sub;

use anyhow::Context as _;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::time::{Instant, sleep_until};

use super::median::median;
use crate::cluster::stack::Stack;
use crate::runner::environment::Environment;

/// The kinds of processes, as they are named in a table.
pub(super) const KINDS: [&str; 4] = ["order", "inventory", "lock servers", "Postgres"];

/// Reads what a stack has used so far.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    stack: &'a Stack,
    environment: &'a Environment<'a>,
    system: System,
}

/// What was used: from the start of the stack, or between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    processor_ms: [f64; KINDS.len()],
    /// Of those who place orders, and of the audit.
    pub(super) customers_ms: f64,
    commits: f64,
    wal_bytes: f64,
    lock_commands: f64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(stack: &'a Stack, environment: &'a Environment<'a>) -> anyhow::Result<Self> {
        let system = System::new().context("the process table cannot be read")?;
        Ok(Self { stack, environment, system })
    }

    /// What is used between two times.
    ///
    /// # Errors
    /// A server does not answer.
    pub(super) async fn between(&mut self, begin: Instant, end: Instant) -> anyhow::Result<Usage> {
        sleep_until(begin).await;
        let before = self.read().await?;
        sleep_until(end).await;
        Ok(self.read().await? - before)
    }

    /// # Errors
    /// A server does not answer.
    pub(super) async fn read(&mut self) -> anyhow::Result<Usage> {
        let refresh = ProcessRefreshKind::nothing().with_cpu().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, refresh);
        let mut processor_ms = [0.0; KINDS.len()];
        for (name, &pid) in &self.stack.target.pids {
            processor_ms[kind_of(name)] += self.processor_ms(Pid::from_u32(pid));
        }
        let work = self.environment.auditor.database_work().await?;
        let mut lock_commands = 0.0;
        for node in &self.stack.servers.redis {
            let stats = node.lock().await.command(&["INFO", "stats"]).await?;
            let commands = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            lock_commands += commands.and_then(|commands| commands.trim().parse().ok()).unwrap_or(0.0);
        }
        let own = self.system.process(Pid::from_u32(std::process::id()));
        let customers_ms = own.map_or(0.0, |process| float(process.accumulated_cpu_time()));
        let (commits, wal_bytes) = (float(work.commits), float(work.wal_bytes));
        Ok(Usage { processor_ms, customers_ms, commits, wal_bytes, lock_commands })
    }

    /// Of the process and its children, also of those that have ended: Postgres has one for each connection.
    fn processor_ms(&self, pid: Pid) -> f64 {
        let belongs = |process: &&Process| process.pid() == pid || process.parent() == Some(pid);
        let processes = self.system.processes().values().filter(belongs);
        ended_children_ms(pid.as_u32()) + processes.map(|process| float(process.accumulated_cpu_time())).sum::<f64>()
    }
}

/// The processor time of the children of a process that have ended, as `/proc` has it; zero where there is no `/proc`.
fn ended_children_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the command's name, which may have blanks: proc(5) counts `cutime` as the 16th field, `cstime` as the 17th.
    let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = after_name.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    float(ticks.sum::<u64>() * 1_000 / rustix::param::clock_ticks_per_second())
}

fn kind_of(name: &str) -> usize {
    match name.split('-').next() {
        Some("order") => 0,
        Some("inventory") => 1,
        Some("postgres") => 3,
        _redis_etcd_zookeeper => 2,
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        let mut processor_ms = self.processor_ms;
        processor_ms.iter_mut().zip(earlier.processor_ms).for_each(|(now, then)| *now -= then);
        Self {
            processor_ms,
            customers_ms: self.customers_ms - earlier.customers_ms,
            commits: self.commits - earlier.commits,
            wal_bytes: self.wal_bytes - earlier.wal_bytes,
            lock_commands: self.lock_commands - earlier.lock_commands,
        }
    }
}

impl Usage {
    /// Divided among so many orders; zero without one.
    pub(super) fn per(self, orders: f64) -> Self {
        let share = |used: f64| if orders > 0.0 { used / orders } else { 0.0 };
        Self {
            processor_ms: self.processor_ms.map(share),
            customers_ms: share(self.customers_ms),
            commits: share(self.commits),
            wal_bytes: share(self.wal_bytes),
            lock_commands: share(self.lock_commands),
        }
    }

    /// The median of each figure.
    pub(super) fn median(runs: &[Self]) -> Self {
        let of = |figure: &dyn Fn(&Self) -> f64| median(runs.iter().map(figure));
        Self {
            processor_ms: std::array::from_fn(|kind| of(&|run| run.processor_ms[kind])),
            customers_ms: of(&|run| run.customers_ms),
            commits: of(&|run| run.commits),
            wal_bytes: of(&|run| run.wal_bytes),
            lock_commands: of(&|run| run.lock_commands),
        }
    }

    /// Processor time of everything that serves orders.
    pub(super) fn processor_ms(&self) -> f64 {
        self.processor_ms.iter().sum()
    }
}

/// The columns of a table: processor milliseconds by kind and in all, commits, kilobytes of log, commands.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for spent in self.processor_ms {
            write!(f, "{spent:.2} | ")?;
        }
        let (all, kilobytes) = (self.processor_ms(), self.wal_bytes / 1024.0);
        write!(f, "**{all:.2}** | {:.2} | {kilobytes:.1} | {:.1}", self.commits, self.lock_commands)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters are far below 2⁵³")]
fn float<T: TryInto<i64>>(number: T) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_between_two_readings_is_divided_among_the_orders() {
        let usage = |processor_ms, [customers_ms, commits, wal_bytes, lock_commands]: [f64; 4]| Usage {
            processor_ms,
            customers_ms,
            commits,
            wal_bytes,
            lock_commands,
        };
        let then = usage([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 2048.0, 7.0]);
        let now = usage([3.0, 4.0, 5.0, 10.0], [9.0, 30.0, 6144.0, 17.0]);
        assert_eq!((now - then).per(2.0).to_string(), "1.00 | 1.00 | 1.00 | 3.00 | **6.00** | 10.00 | 2.0 | 5.0");
        assert_eq!((now - then).per(2.0).customers_ms.to_string(), "4");
        assert_eq!((now - then).per(0.0), Usage::default());
    }

    #[test]
    fn every_process_has_a_kind() {
        let kinds = ["order-1", "inventory-2", "redis-5", "etcd", "zookeeper", "postgres"].map(kind_of);
        assert_eq!(
            kinds.map(|kind| KINDS[kind]),
            ["order", "inventory", "lock servers", "lock servers", "lock servers", "Postgres"]
        );
    }

    #[test]
    fn the_processor_time_of_a_child_is_counted_once_it_has_ended() {
        let own = std::process::id();
        let before = ended_children_ms(own);
        // Two ticks of a clock of 100 Hz at least.
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
        let ended = std::process::Command::new("sh").args(["-c", busy]).status().expect("a shell");
        assert!(ended.success());
        assert!(ended_children_ms(own) > before);
    }

    #[test]
    fn the_processor_time_of_this_process_grows() {
        let mut system = System::new().expect("the process table");
        let own = Pid::from_u32(std::process::id());
        let mut spent = || {
            let refresh = ProcessRefreshKind::nothing().with_cpu().without_tasks();
            system.refresh_processes_specifics(ProcessesToUpdate::All, true, refresh);
            system.process(own).expect("this process").accumulated_cpu_time()
        };
        let before = spent();
        // Until it has grown by two ticks of a clock of 100 Hz.
        while spent() < before + 20 {}
    }
}
