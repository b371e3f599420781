//! Any other program as a child process, watched like the servers: the services of an experiment.
//!
//! Invariant: its standard output is always read, so it never blocks on a full pipe.
//! Absence: no restart; spawn the same [`ProcessSpec`] again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::TestbedError;
use crate::processes::binary::{is_executable, on_path};
use crate::processes::child::Child;
use crate::processes::log::open_log;
use crate::processes::log::tail;
use crate::processes::stop_policy::StopPolicy;

const LOG_LINES: usize = 20;

/// A program and how to run it.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// The name of the process in errors.
    pub name: String,
    /// A path, or a name to be found on PATH.
    pub program: PathBuf,
    /// The arguments after the program's name.
    pub args: Vec<OsString>,
    /// Added to the environment of this process.
    pub envs: Vec<(String, String)>,
    /// Standard error and standard output are appended here.
    pub log: PathBuf,
}

/// A child process in a process group of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: u32,
    child: Option<Child>,
    first_line: watch::Receiver<Option<String>>,
}

impl Process {
    /// Starts the program, with an empty standard input.
    pub fn spawn(spec: ProcessSpec) -> Result<Self, TestbedError> {
        let ProcessSpec { name, program, args, envs, log } = spec;
        let spawn_error = |source| TestbedError::Spawn { name: name.clone(), source };
        let program = executable(&program).map_err(spawn_error)?;
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(TestbedError::file("cannot create", folder))?;
        }
        let (file, copy) = open_log(&log)?;
        let mut child = Child::spawn(&name, &program, StopPolicy::KILL, |command| {
            command.args(args).envs(envs).stdout(Stdio::piped()).stderr(file);
        })?;
        let (sender, first_line) = watch::channel(None);
        if let Some(stdout) = child.stdout() {
            thread::Builder::new()
                .name(format!("stdout of {name}"))
                .spawn(move || read_output(stdout, copy, &sender))
                .map_err(spawn_error)?;
        }
        Ok(Self { name, log, pid: child.id(), child: Some(child), first_line })
    }

    /// The first line of its standard output, without the line end; the same at every call.
    ///
    /// # Errors
    /// [`TestbedError::NotReady`] after `deadline`, [`TestbedError::Ended`] if it ended without one.
    pub async fn first_line(&mut self, deadline: Duration) -> Result<String, TestbedError> {
        let outcome = match timeout(deadline, self.first_line.wait_for(Option::is_some)).await {
            Ok(Ok(line)) => Ok(line.clone().unwrap_or_default()),
            Ok(Err(_)) => Err(false),
            Err(_) => Err(true),
        };
        outcome.map_err(|late| {
            let (name, log) = (self.name.clone(), self.log_tail(LOG_LINES));
            if late {
                let last = "nothing on its standard output".to_owned();
                return TestbedError::NotReady { name, deadline, last, log };
            }
            TestbedError::Ended { name, log }
        })
    }

    /// The process id, also after the process has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process has ended, for any reason.
    pub fn ended(&self) -> bool {
        self.child.as_ref().is_none_or(Child::ended)
    }

    /// Sends SIGSTOP. [`stopped`](Self::stopped) resolves when it has taken effect.
    pub fn pause(&self) {
        if let Some(child) = &self.child {
            child.pause();
        }
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        if let Some(child) = &self.child {
            child.resume();
        }
    }

    /// Resolves when the process is stopped, by any process including itself; at once if it already is. The
    /// kernel's SIGCHLD wakes this call, without polling.
    ///
    /// # Errors
    /// [`TestbedError::Ended`] if it ended instead.
    ///
    /// # Cancel safety: nothing is consumed; a later call resolves again.
    pub async fn stopped(&self) -> Result<(), TestbedError> {
        let stopped = match &self.child {
            Some(child) => child.stopped().await.map_err(|source| self.wait_error(source))?,
            None => false,
        };
        if stopped {
            Ok(())
        } else {
            Err(TestbedError::Ended { name: self.name.clone(), log: self.log_tail(LOG_LINES) })
        }
    }

    /// Resolves when the process has ended, for any reason.
    ///
    /// # Cancel safety: nothing is consumed; a later call resolves again.
    pub async fn until_ended(&self) -> Result<(), TestbedError> {
        match &self.child {
            Some(child) => child.until_ended().await.map_err(|source| self.wait_error(source)),
            None => Ok(()),
        }
    }

    /// Sends SIGKILL and returns when the process has ended.
    pub async fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            child.stop(StopPolicy::KILL).await;
        }
    }

    /// Sends SIGTERM, continues it if it was paused, and sends SIGKILL when `grace` is over. `None` if it was killed before.
    pub async fn terminate(mut self, grace: Duration) -> Option<ExitStatus> {
        match self.child.take() {
            Some(child) => child.stop(StopPolicy::term(grace)).await,
            None => None,
        }
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    fn wait_error(&self, source: std::io::Error) -> TestbedError {
        TestbedError::Wait { name: self.name.clone(), source }
    }
}

fn executable(program: &Path) -> std::io::Result<PathBuf> {
    let found = if program.components().count() > 1 {
        is_executable(program).then(|| std::path::absolute(program)).transpose()?
    } else {
        on_path(program)
    };
    found.ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::NotFound, format!("{} is not an executable file", program.display()))
    })
}

/// Ends when the process, and every descendant that inherited its output, has closed it.
fn read_output(stdout: ChildStdout, mut log: File, first: &watch::Sender<Option<String>>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let _ = writeln!(log, "{line}");
        first.send_if_modified(|slot| {
            let empty = slot.is_none();
            slot.get_or_insert(line);
            empty
        });
    }
}
