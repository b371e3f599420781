//! The lifecycle of any server, as a child process or in a container: start, stop, restart on the same port, pause.
//!
//! Absence: a server's binary, arguments and readiness are known only to its own module (`redis`, `postgres`, `etcd`,
//! `zookeeper`).

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::containers::container::{Container, ContainerSpec};
use crate::error::TestbedError;
use crate::ports;
use crate::processes::child::Child;
use crate::processes::log::{open_log, tail};
use crate::processes::stop_policy::StopPolicy;
use crate::servers::instance::{Instance, LaunchSpec};
use crate::servers::readiness::{self, NotReady};

/// How long a server may take to start; generous, for machines that are busy with builds.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How many ports are tried.
const PORT_ATTEMPTS: usize = 10;
const LOG_LINES: usize = 20;

/// A server, running or not, with a port that stays the same across restarts.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    addr: SocketAddr,
    policy: StopPolicy,
    instance: Instance,
}

impl Server {
    /// A server that will run as a child process.
    pub(crate) fn native(name: &'static str, addr: SocketAddr, policy: StopPolicy, launch: LaunchSpec) -> Self {
        Self { name, addr, policy, instance: Instance::Native { child: None, launch } }
    }

    /// A server that will run in a container.
    pub(crate) fn container(
        name: &'static str,
        addr: SocketAddr,
        policy: StopPolicy,
        spec: ContainerSpec,
    ) -> Result<Self, TestbedError> {
        let instance = Instance::Container(Container::new(name, addr, spec)?);
        Ok(Self { name, addr, policy, instance })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process id. `None` while the server is down, and for a container, which cannot be signalled from here.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.instance {
            Instance::Native { child, .. } => child.as_ref().map(Child::id),
            Instance::Container(_) => None,
        }
    }

    pub(crate) fn pause(&self) {
        match &self.instance {
            Instance::Native { child, .. } => child.iter().for_each(Child::pause),
            Instance::Container(container) => container.pause(),
        }
    }

    pub(crate) fn resume(&self) {
        match &self.instance {
            Instance::Native { child, .. } => child.iter().for_each(Child::resume),
            Instance::Container(container) => container.resume(),
        }
    }

    /// The last `lines` lines of the server's log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        match &self.instance {
            Instance::Native { launch, .. } => tail(&log_path(launch), lines),
            Instance::Container(container) => container.log_tail(lines),
        }
    }

    /// Stops the server if it runs, starts it, and probes it until it is ready. `probe` receives its process id, if it
    /// has one, so that it can recognise another server on the same port.
    pub(crate) async fn start<P, F>(&mut self, mut probe: P) -> Result<(), TestbedError>
    where
        P: FnMut(Option<u32>) -> F,
        F: Future<Output = Result<(), String>>,
    {
        self.stop(self.policy).await;
        let pid = match &mut self.instance {
            Instance::Native { child, launch } => Some(child.insert(spawn(self.name, self.policy, launch)?).id()),
            Instance::Container(container) => {
                container.start().await?;
                None
            }
        };
        let outcome = readiness::until(START_DEADLINE, &self.instance, || probe(pid)).await;
        outcome.map_err(|reason| self.not_ready(reason))
    }

    /// Ends the server by `policy` and waits until it has ended.
    pub(crate) async fn stop(&mut self, policy: StopPolicy) {
        match &mut self.instance {
            Instance::Native { child, .. } => {
                if let Some(child) = child.take() {
                    child.stop(policy).await;
                }
            }
            Instance::Container(container) => container.stop(policy).await,
        }
    }

    fn not_ready(&self, reason: NotReady) -> TestbedError {
        let (name, log) = (self.name.to_owned(), self.log_tail(LOG_LINES));
        match reason {
            NotReady::Ended => TestbedError::Ended { name, log },
            NotReady::TimedOut(last) => TestbedError::NotReady { name, deadline: START_DEADLINE, last, log },
        }
    }
}

fn log_path(launch: &LaunchSpec) -> PathBuf {
    launch.folder.path().join("log")
}

fn spawn(name: &str, policy: StopPolicy, launch: &LaunchSpec) -> Result<Child, TestbedError> {
    let (output, errors) = open_log(&log_path(launch))?;
    Child::spawn(name, &launch.program, policy, |command| {
        command.args(&launch.args).current_dir(launch.folder.path()).stdout(output).stderr(errors);
        if let Some(account) = &launch.account {
            command.uid(account.uid).gid(account.gid);
        }
    })
}

/// Calls `attempt` with a free port, and with another one if a different process bound the port in the meantime.
pub(crate) async fn with_free_port<T, A, F>(name: &str, mut attempt: A) -> Result<T, TestbedError>
where
    A: FnMut(SocketAddr) -> F,
    F: Future<Output = Result<T, TestbedError>>,
{
    for _ in 0..PORT_ATTEMPTS {
        let Some(addr) = ports::free() else { break };
        match attempt(addr).await {
            Err(error) if error.is_port_conflict() => {}
            other => return other,
        }
    }
    Err(TestbedError::NoPort { name: name.to_owned(), attempts: PORT_ATTEMPTS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode::Native;
    use crate::{Etcd, Postgres, PostgresOptions, RedisNode, Zookeeper};

    /// Another Redis would answer `PING`: it must not be mistaken for the node that could not bind.
    #[tokio::test]
    async fn a_port_that_another_process_bound_is_replaced_by_a_free_one() {
        if crate::Mode::forced().expect("a setting that means something") == Some(crate::Mode::Containers) {
            return;
        }
        let other = RedisNode::start_in(Native).await.expect("a node");
        let taken = other.addr();
        let redis = RedisNode::start_at(taken, Native).await.expect_err("the port is taken");
        let postgres = Postgres::start_at(taken, Native, PostgresOptions::default()).await;
        let postgres = postgres.expect_err("the port is taken");
        let etcd = Etcd::start_at(taken, Native).await.expect_err("the port is taken");
        let zookeeper = Zookeeper::start_at(taken, Native).await.expect_err("the port is taken");
        for error in [redis, postgres, etcd, zookeeper] {
            assert!(error.is_port_conflict(), "{error}");
        }
        let mut offers = vec![taken];
        let node = with_free_port("redis", |addr| RedisNode::start_at(offers.pop().unwrap_or(addr), Native));
        assert_ne!(node.await.expect("another port").addr(), taken);
    }
}
