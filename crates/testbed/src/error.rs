//! The errors of the testbed. Each message names the next step where there is one.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of a server, a process or a command of the testbed.
///
/// `Display` never repeats the source: print the chain.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// This machine has no binary of the server.
    #[error("{program} was not found on PATH{other_folders}; install it: {hint}")]
    NotInstalled {
        /// The names of the binary.
        program: String,
        /// The folders searched beside PATH, as ` or in …`; may be empty.
        other_folders: String,
        /// The commands that install it.
        hint: &'static str,
    },
    /// The operating system refused to start a process.
    #[error("{name} could not be started")]
    Spawn {
        /// The process.
        name: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The state of a process could not be waited for.
    #[error("waiting for {name} failed")]
    Wait {
        /// The process.
        name: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The process ended while it was needed.
    #[error("{name} ended unexpectedly; the end of its log:\n{log}")]
    Ended {
        /// The process.
        name: String,
        /// The last lines of its log.
        log: String,
    },
    /// The process runs but did not become ready in time.
    #[error("{name} was not ready after {deadline:?} ({last}); the end of its log:\n{log}")]
    NotReady {
        /// The process.
        name: String,
        /// The time allowed.
        deadline: Duration,
        /// The result of the last probe.
        last: String,
        /// The last lines of its log.
        log: String,
    },
    /// No port was free, or another process bound each one first.
    #[error("no free port on 127.0.0.1 for {name} after {attempts} attempts")]
    NoPort {
        /// The server.
        name: String,
        /// How many ports were tried.
        attempts: usize,
    },
    /// Postgres refuses to run as root, and there is no other account to run it under.
    #[error("postgres refuses to run as root; create an account `postgres`, or run this program as another user")]
    NoAccount,
    /// A command of the container engine failed.
    #[error("`{command}` failed: {answer}")]
    Engine {
        /// The command line.
        command: String,
        /// The output of the command, or the reason why it could not run.
        answer: String,
    },
    /// Containers were asked for, and this program was built without them.
    #[error(
        "this program was built without containers; build it with `--features containers`, or set HOLDFAST_TESTBED=native"
    )]
    NoContainers,
    /// A container could not be started.
    #[error("a container of {image} could not be started")]
    Container {
        /// The image.
        image: String,
        /// The error of testcontainers.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An environment variable or argument has an unknown value.
    #[error("{variable}={value} is invalid; use one of: {allowed}")]
    InvalidSetting {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// A folder or a file could not be created, changed or read.
    #[error("{what} {path}")]
    File {
        /// The attempt, as `cannot create`.
        what: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A Redis node refused a command, or the connection failed.
    #[error("{command} failed on redis node {node}")]
    Redis {
        /// The node's address.
        node: String,
        /// The command's first word.
        command: String,
        /// The client's error.
        #[source]
        source: redis::RedisError,
    },
    /// A Redis node did not answer in time.
    #[error("redis node {node} did not answer {command} within {limit:?}")]
    RedisTimeout {
        /// The node's address.
        node: String,
        /// The command's first word.
        command: String,
        /// The time allowed.
        limit: Duration,
    },
    /// Postgres refused a statement.
    #[error("postgres refused `{statement}`")]
    Postgres {
        /// The statement.
        statement: String,
        /// The client's error.
        #[source]
        source: sqlx::Error,
    },
}

impl TestbedError {
    /// The error and its causes in one line, for printing.
    pub fn with_causes(&self) -> String {
        let causes = std::iter::successors(self.source(), |&error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// Another process bound the port after it was found free and before the server bound it: another port may succeed.
    pub(crate) fn is_port_conflict(&self) -> bool {
        let message = match self {
            Self::Ended { log, .. } => log.to_lowercase(),
            Self::Container { source, .. } => format!("{source:?}").to_lowercase(),
            _ => return false,
        };
        message.contains("address already in use") || message.contains("port is already allocated")
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
