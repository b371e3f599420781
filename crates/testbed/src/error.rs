//! Everything that can keep a server from running, told so that the reader knows what to do next.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server, a process or a command of the testbed failed.
///
/// `Display` never repeats the source: print the chain.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// No binary of this server on this machine.
    #[error("{program} was not found on PATH{other_folders}; install it: {hint}")]
    NotInstalled {
        /// The binary that was looked for.
        program: String,
        /// Where else it was looked for, as ` or in …`; may be empty.
        other_folders: String,
        /// The commands that install it.
        hint: &'static str,
    },
    /// The operating system refused to start a process.
    #[error("{name} could not be started")]
    Spawn {
        /// The process.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process ended although it was needed.
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
        /// How long it was waited for.
        deadline: Duration,
        /// What the last look at it found.
        last: String,
        /// The last lines of its log.
        log: String,
    },
    /// No port was left, or each one was taken before the server could bind it.
    #[error("{name} found no free port on 127.0.0.1 in {attempts} attempts")]
    NoPort {
        /// The server.
        name: String,
        /// How many ports were tried.
        attempts: usize,
    },
    /// Postgres refuses to run as root, and there is nobody else to run it as.
    #[error("postgres does not run as root, and there is no account `postgres` or `nobody` to run it as")]
    NoAccount,
    /// The container engine did not do what it was asked for.
    #[error("`{command}` failed: {answer}")]
    Engine {
        /// The command line.
        command: String,
        /// What it printed.
        answer: String,
    },
    /// A container could not be started.
    #[error("no container of {image} could be started")]
    Container {
        /// The image.
        image: String,
        /// What testcontainers said.
        #[source]
        source: Box<testcontainers::TestcontainersError>,
    },
    /// A variable of the environment has a value that means nothing.
    #[error("{variable}={value} is none of: {allowed}")]
    InvalidSetting {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The values that mean something.
        allowed: &'static str,
    },
    /// A folder or a file could not be made or read.
    #[error("{what} {path}")]
    File {
        /// What was attempted, as `cannot create`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A Redis node refused a command or did not answer it.
    #[error("redis node {node} failed {command}")]
    Redis {
        /// The node's address.
        node: String,
        /// The command's first word.
        command: String,
        /// What the client said.
        #[source]
        source: redis::RedisError,
    },
    /// A Redis node gave no answer within the time allowed.
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
    #[error("postgres failed {statement}")]
    Postgres {
        /// What was asked.
        statement: String,
        /// What the client said.
        #[source]
        source: sqlx::Error,
    },
}

impl TestbedError {
    /// The whole chain in one line, for the edge where it is shown to somebody.
    pub fn with_causes(&self) -> String {
        let causes = std::iter::successors(self.source(), |&error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// Whether another port may succeed: somebody took this one between our look at it and the server's bind.
    pub(crate) fn is_port_conflict(&self) -> bool {
        let said = match self {
            Self::Ended { log, .. } => log.to_lowercase(),
            Self::Container { source, .. } => format!("{source:?}").to_lowercase(),
            _ => return false,
        };
        said.contains("address already in use") || said.contains("port is already allocated")
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
