//! One server with its port and its throw-away data, wherever it runs: started, killed, started again, paused.
//!
//! Absence: what a server is called, which arguments it takes and when it is ready is known only to its own module
//! (`redis_node`, `postgres`, `etcd`, `zookeeper`).

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::containers::container::{Container, Contents};
use crate::error::TestbedError;
use crate::folder::{Folder, tail};
use crate::ports;
use crate::processes::account::Account;
use crate::processes::child::{Child, Farewell};
use crate::servers::readiness::{self, NotReady};

/// How long a server may take to start; generous, for machines that are busy with builds.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How many ports are tried before giving up.
const PORTS: usize = 10;
const LOG_LINES: usize = 20;

/// How to run a server as a child process.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) account: Option<Account>,
    pub(crate) folder: Folder,
}

/// A server that is running or down, and comes back on the same port.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    addr: SocketAddr,
    farewell: Farewell,
    home: Home,
}

#[derive(Debug)]
pub(crate) enum Home {
    /// Dropped in this order: the process, then its folder.
    Native {
        child: Option<Child>,
        recipe: Recipe,
    },
    Container(Container),
}

impl Home {
    /// Whether it is certain that it does not run.
    pub(crate) async fn ended(&self) -> bool {
        match self {
            Self::Native { child, .. } => child.as_ref().is_none_or(Child::ended),
            Self::Container(container) => container.ended().await,
        }
    }
}

impl Server {
    /// A server that will run as a child process.
    pub(crate) fn native(name: &'static str, addr: SocketAddr, farewell: Farewell, recipe: Recipe) -> Self {
        Self { name, addr, farewell, home: Home::Native { child: None, recipe } }
    }

    /// A server that will run in a container.
    pub(crate) fn container(
        name: &'static str,
        addr: SocketAddr,
        farewell: Farewell,
        contents: Contents,
    ) -> Result<Self, TestbedError> {
        let home = Home::Container(Container::new(name, addr, contents)?);
        Ok(Self { name, addr, farewell, home })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `None` while it is down, and in a container, whose processes are not ours to signal.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.home {
            Home::Native { child, .. } => child.as_ref().map(Child::id),
            Home::Container(_) => None,
        }
    }

    pub(crate) fn pause(&self) {
        match &self.home {
            Home::Native { child, .. } => child.iter().for_each(Child::pause),
            Home::Container(container) => container.pause(),
        }
    }

    pub(crate) fn resume(&self) {
        match &self.home {
            Home::Native { child, .. } => child.iter().for_each(Child::resume),
            Home::Container(container) => container.resume(),
        }
    }

    /// The last `lines` lines of its log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        match &self.home {
            Home::Native { recipe, .. } => tail(&log_of(recipe), lines),
            Home::Container(container) => container.log_tail(lines),
        }
    }

    /// Starts it (again), ending it first if it still runs, and looks until it is ready. `look` is told its process id, if
    /// it has one, so that it can tell it from a stranger on the same port.
    pub(crate) async fn start<L, F>(&mut self, mut look: L) -> Result<(), TestbedError>
    where
        L: FnMut(Option<u32>) -> F,
        F: Future<Output = Result<(), String>>,
    {
        self.stop(self.farewell).await;
        let pid = match &mut self.home {
            Home::Native { child, recipe } => Some(child.insert(spawn(self.name, self.farewell, recipe)?).id()),
            Home::Container(container) => {
                container.start().await?;
                None
            }
        };
        let outcome = readiness::until(START_DEADLINE, &self.home, || look(pid)).await;
        outcome.map_err(|reason| self.not_ready(reason))
    }

    /// Ends it and waits until it has ended.
    pub(crate) async fn stop(&mut self, farewell: Farewell) {
        match &mut self.home {
            Home::Native { child, .. } => {
                if let Some(child) = child.take() {
                    child.finish(farewell).await;
                }
            }
            Home::Container(container) => container.stop(farewell).await,
        }
    }

    fn not_ready(&self, reason: NotReady) -> TestbedError {
        let (name, log) = (self.name.to_owned(), self.log_tail(LOG_LINES));
        match reason {
            NotReady::Ended => TestbedError::Ended { name, log },
            NotReady::Late(last) => TestbedError::NotReady { name, deadline: START_DEADLINE, last, log },
        }
    }
}

fn log_of(recipe: &Recipe) -> PathBuf {
    recipe.folder.path().join("log")
}

/// Opens a log for both outputs of a child.
pub(crate) fn open_log(path: &Path) -> Result<(File, File), TestbedError> {
    let open = || File::options().create(true).append(true).open(path);
    let both = open().and_then(|first| Ok((first, open()?)));
    both.map_err(TestbedError::file("cannot write", path))
}

fn spawn(name: &str, farewell: Farewell, recipe: &Recipe) -> Result<Child, TestbedError> {
    let (output, errors) = open_log(&log_of(recipe))?;
    Child::spawn(name, &recipe.program, farewell, |command| {
        command.args(&recipe.args).current_dir(recipe.folder.path()).stdout(output).stderr(errors);
        if let Some(account) = &recipe.account {
            command.uid(account.uid).gid(account.gid);
        }
    })
}

/// Calls `attempt` with free ports until one is not taken by somebody else meanwhile.
pub(crate) async fn on_a_free_port<T, A, F>(name: &str, mut attempt: A) -> Result<T, TestbedError>
where
    A: FnMut(SocketAddr) -> F,
    F: Future<Output = Result<T, TestbedError>>,
{
    for _ in 0..PORTS {
        let Some(addr) = ports::free() else { break };
        match attempt(addr).await {
            Err(error) if error.port_was_taken() => {}
            other => return other,
        }
    }
    Err(TestbedError::NoPort { name: name.to_owned(), attempts: PORTS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode::Native;
    use crate::{Etcd, Postgres, PostgresOptions, RedisNode, Zookeeper};

    /// A stranger's Redis would answer `PING`: it must not be taken for the node that could not bind.
    #[tokio::test]
    async fn a_port_that_somebody_took_is_given_up_for_another_one() {
        if crate::Mode::forced().expect("a setting that means something") == Some(crate::Mode::Containers) {
            return;
        }
        let stranger = RedisNode::start_in(Native).await.expect("a node");
        let taken = stranger.addr();
        let redis = RedisNode::start_at(taken, Native).await.expect_err("the port is taken");
        let postgres = Postgres::start_at(taken, Native, PostgresOptions::default()).await;
        let postgres = postgres.expect_err("the port is taken");
        let etcd = Etcd::start_at(taken, Native).await.expect_err("the port is taken");
        let zookeeper = Zookeeper::start_at(taken, Native).await.expect_err("the port is taken");
        for error in [redis, postgres, etcd, zookeeper] {
            assert!(error.port_was_taken(), "{error}");
        }
        let mut offers = vec![taken];
        let node = on_a_free_port("redis", |addr| RedisNode::start_at(offers.pop().unwrap_or(addr), Native));
        assert_ne!(node.await.expect("another port").addr(), taken);
    }
}
