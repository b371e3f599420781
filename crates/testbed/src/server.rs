//! One server with its port and its throw-away data, wherever it runs: started, killed, started again, paused.
//!
//! Absence: what a server is called, which arguments it takes and when it is ready is known only to its own module
//! (`redis_node`, `postgres`).

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::Account;
use crate::child::{Child, Farewell};
use crate::error::TestbedError;
use crate::folder::{Folder, tail};
use crate::ports;
use crate::ready::{self, NotReady};

/// How long a server may take to start; generous, for machines that are busy with builds.
pub(crate) const START_DEADLINE: Duration = Duration::from_mins(1);
/// How many ports are tried before giving up.
const PORTS: usize = 10;
const LOG_LINES: usize = 20;

/// How to run a server as a child process.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) account: Option<Account>,
    pub(crate) farewell: Farewell,
}

/// A server as a child process.
#[derive(Debug)]
pub(crate) struct Server {
    recipe: Recipe,
    addr: SocketAddr,
    // Dropped in this order: the process, then its folder.
    child: Option<Child>,
    folder: Folder,
}

impl Server {
    /// A server that is not running yet.
    pub(crate) fn new(recipe: Recipe, addr: SocketAddr, folder: Folder) -> Self {
        Self {
            recipe,
            addr,
            child: None,
            folder,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn pause(&self) {
        if let Some(child) = &self.child {
            child.pause();
        }
    }

    pub(crate) fn resume(&self) {
        if let Some(child) = &self.child {
            child.resume();
        }
    }

    /// Starts it (again), on its port, and looks until it is ready.
    pub(crate) async fn start<L, F>(&mut self, look: L) -> Result<(), TestbedError>
    where
        L: FnMut(Option<u32>) -> F,
        F: Future<Output = Result<(), String>>,
    {
        self.stop(self.recipe.farewell).await;
        let child = self.spawn()?;
        let pid = Some(child.id());
        let mut look = look;
        let outcome = ready::until(START_DEADLINE, || child.ended(), || look(pid)).await;
        self.child = Some(child);
        outcome.map_err(|reason| self.not_ready(reason))
    }

    /// Ends it and waits until it has ended.
    pub(crate) async fn stop(&mut self, farewell: Farewell) {
        if let Some(child) = self.child.take() {
            child.finish(farewell).await;
        }
    }

    fn spawn(&self) -> Result<Child, TestbedError> {
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(TestbedError::file("cannot write", &path))?;
        let errors = log
            .try_clone()
            .map_err(TestbedError::file("cannot write", &path))?;
        let Recipe {
            name,
            program,
            args,
            account,
            farewell,
        } = &self.recipe;
        Child::spawn(name, program, *farewell, |command| {
            command
                .args(args)
                .current_dir(self.folder.path())
                .stdout(log)
                .stderr(errors);
            if let Some(account) = account {
                command.uid(account.uid).gid(account.gid);
            }
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    fn not_ready(&self, reason: NotReady) -> TestbedError {
        let (name, log) = (self.recipe.name.to_owned(), self.log_tail(LOG_LINES));
        match reason {
            NotReady::Ended => TestbedError::Ended { name, log },
            NotReady::Late(last) => TestbedError::NotReady {
                name,
                deadline: START_DEADLINE,
                last,
                log,
            },
        }
    }
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
            Err(TestbedError::Ended { log, .. })
                if log.to_lowercase().contains("address already in use") => {}
            other => return other,
        }
    }
    Err(TestbedError::NoPort {
        name: name.to_owned(),
        attempts: PORTS,
    })
}
