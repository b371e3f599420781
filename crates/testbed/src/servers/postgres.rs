//! A Postgres server with an empty cluster of its own.
//!
//! Invariant: a commit is as durable as the options say; nothing else is weakened. `synchronous_commit` stays on, so
//! that an experiment measures what a production server would do.
//! Absence: no schema. Databases are created empty; the owner of the schema migrates them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use crate::containers::container::ContainerSpec;
use crate::containers::image::Image;
use crate::error::TestbedError;
use crate::folder::Folder;
use crate::mode::Mode;
use crate::processes::account::Account;
use crate::processes::binary::{BinarySpec, is_executable};
use crate::processes::child::Child;
use crate::processes::log::{open_log, tail};
use crate::processes::stop_policy::StopPolicy;
use crate::servers::instance::LaunchSpec;
use crate::servers::server::{Server, with_free_port};

const NAME: &str = "postgres";
const IMAGE: Image = Image { variable: "POSTGRES_IMAGE", default: "postgres:17", port: 5432 };

/// The locale of every database. Needs Postgres 15 or later; only the first template may get another locale than its own.
const LOCALE: &str = "template template0 locale_provider icu icu_locale 'en-US'";

static POSTGRES: BinarySpec = BinarySpec {
    names: &["postgres"],
    folders: &[
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/opt/homebrew/opt/postgresql/bin",
        "/usr/local/opt/postgresql/bin",
        "/Applications/Postgres.app/Contents/Versions/latest/bin",
    ],
    hint: "apt-get install postgresql | brew install postgresql@17",
};

/// How long a changed setting may take to reach new sessions.
const RELOAD_DEADLINE: Duration = Duration::from_secs(5);
const RELOAD_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Durability that may be given up for speed.
#[derive(Debug, Clone, Copy)]
pub struct PostgresOptions {
    /// Whether commits reach the disk before they are acknowledged. Off is faster and loses data only if the *machine*
    /// goes down: right for tests, wrong for measurements.
    pub fsync: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { fsync: true }
    }
}

/// A Postgres server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    /// The file in which a child process reports that it is ready. Empty for a container.
    pid_file: PathBuf,
}

impl Postgres {
    /// Starts a server with the default options: durable, as experiments need it.
    pub async fn start() -> Result<Self, TestbedError> {
        Self::start_with(PostgresOptions::default()).await
    }

    /// Starts a server on a free port, in the mode of `HOLDFAST_TESTBED`, and waits until it accepts connections.
    pub async fn start_with(options: PostgresOptions) -> Result<Self, TestbedError> {
        Self::start_in(Self::mode().await?, options).await
    }

    /// Starts a server as a child process or in a container.
    pub async fn start_in(mode: Mode, options: PostgresOptions) -> Result<Self, TestbedError> {
        with_free_port(NAME, |addr| Self::start_at(addr, mode, options)).await
    }

    /// The shared server of this test process, without fsync. The first call starts it; it ends with the process.
    ///
    /// # Panics
    /// If it cannot be started; the message has the reason.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        let start = async || match Self::start_with(PostgresOptions { fsync: false }).await {
            Ok(postgres) => postgres,
            Err(error) => panic!("the shared Postgres could not be started: {}", error.with_causes()),
        };
        SHARED.get_or_init(start).await
    }

    /// The mode in which [`start`](Self::start) starts the server.
    pub async fn mode() -> Result<Mode, TestbedError> {
        Mode::choose(IMAGE).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, mode: Mode, options: PostgresOptions) -> Result<Self, TestbedError> {
        let (server, pid_file) = match mode {
            Mode::Native => {
                let launch = launch_spec(addr, options).await?;
                let pid_file = launch.folder.path().join("data/postmaster.pid");
                (Server::native(NAME, addr, StopPolicy::QUIT, launch), pid_file)
            }
            Mode::Containers => {
                (Server::container(NAME, addr, StopPolicy::QUIT, container_spec(options))?, PathBuf::new())
            }
        };
        let mut postgres = Self { server, pid_file };
        postgres.restart_immediate().await?;
        Ok(postgres)
    }

    /// The address, the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The URL of database `db` for the superuser, who has no password.
    pub fn url(&self, db: &str) -> String {
        url(self.addr(), db)
    }

    /// The process id, while the server runs as a child process.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Creates an empty database and returns its URL for the superuser. It sorts text as English does and not by bytes,
    /// as the databases of many installations do: an order that the code relies on must not come from the database.
    ///
    /// # Errors
    /// [`TestbedError::Postgres`], also if a database of this name exists.
    pub async fn create_database(&self, name: &str) -> Result<String, TestbedError> {
        let statement = format!("create database \"{}\" {LOCALE}", name.replace('"', "\"\""));
        let run = async {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            connection.execute(AssertSqlSafe(statement.clone())).await?;
            connection.close().await
        };
        run.await.map_err(|source| TestbedError::Postgres { statement: statement.clone(), source })?;
        Ok(self.url(name))
    }

    /// Creates an empty database with a unique name that begins with `prefix`, and returns its URL.
    pub async fn fresh_database(&self, prefix: &str) -> Result<String, TestbedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.create_database(&format!("{prefix}_{number}_{:08x}", rand::random::<u32>())).await
    }

    /// Ends the server without a checkpoint, as a crash would, and starts it again on the same port: connections
    /// break, transactions in flight are lost, committed ones are recovered from the log.
    pub async fn restart_immediate(&mut self) -> Result<(), TestbedError> {
        let (addr, pid_file) = (self.addr(), self.pid_file.clone());
        self.server.start(|pid| probe(addr, pid, pid_file.clone())).await
    }

    /// Ends the server without a checkpoint and starts it again on the same port as a standby without a primary: it
    /// answers reads until `pg_promote()` makes it a primary.
    ///
    /// # Panics
    /// In a container.
    pub async fn restart_as_standby(&mut self) -> Result<(), TestbedError> {
        assert!(self.pid_file.is_absolute(), "the data of a container cannot be reached");
        let signal = self.pid_file.with_file_name("standby.signal");
        std::fs::write(&signal, "").map_err(TestbedError::file("cannot write", &signal))?;
        self.restart_immediate().await
    }

    /// Makes the server refuse writes with SQLSTATE 25006, or accept them again, as behind an address that points to
    /// another server after a fail-over. Sessions stay open; transactions that have begun are not affected. Returns
    /// when it applies to new sessions.
    pub async fn set_read_only(&self, read_only: bool) -> Result<(), TestbedError> {
        let statement = if read_only {
            "alter system set default_transaction_read_only = on"
        } else {
            "alter system reset default_transaction_read_only"
        };
        let refused = |source| TestbedError::Postgres { statement: statement.to_owned(), source };
        let change = async {
            let options: PgConnectOptions = self.url("postgres").parse()?;
            let mut writer = options.options([("default_transaction_read_only", "off")]).connect().await?;
            writer.execute(statement).await?;
            writer.execute("select pg_reload_conf()").await?;
            writer.close().await
        };
        let applied = async {
            change.await.map_err(refused)?;
            while self.is_read_only().await? != read_only {
                sleep(RELOAD_POLL_INTERVAL).await;
            }
            Ok(())
        };
        let overdue = |_| Err(refused(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        timeout(RELOAD_DEADLINE, applied).await.unwrap_or_else(overdue)
    }

    /// Whether a write of a new session is refused with SQLSTATE 25006.
    pub async fn is_read_only(&self) -> Result<bool, TestbedError> {
        // Changes no row. Refused before it looks for one.
        let statement = "delete from pg_description where false";
        let write = async {
            let mut session = PgConnection::connect(&self.url("postgres")).await?;
            let written = session.execute(statement).await.map(drop);
            session.close().await?;
            written
        };
        match write.await {
            Ok(()) => Ok(false),
            Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("25006") => Ok(true),
            Err(source) => Err(TestbedError::Postgres { statement: statement.to_owned(), source }),
        }
    }

    /// The last `lines` lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.server.log_tail(lines)
    }
}

fn url(addr: SocketAddr, db: &str) -> String {
    format!("postgres://postgres@{addr}/{db}")
}

fn settings(options: PostgresOptions) -> [&'static str; 4] {
    let fsync = if options.fsync { "fsync=on" } else { "fsync=off" };
    [fsync, "synchronous_commit=on", "max_connections=200", "log_line_prefix=%m [%p] %q%a "]
}

async fn launch_spec(addr: SocketAddr, options: PostgresOptions) -> Result<LaunchSpec, TestbedError> {
    let program = POSTGRES.find()?;
    let folder = Folder::new("postgres")?;
    let account = Account::unprivileged()?;
    if let Some(account) = &account {
        folder.chown(account)?;
    }
    let data = folder.path().join("data");
    let mut args: Vec<OsString> = vec!["-D".into(), data.clone().into(), "-k".into(), "".into()];
    args.extend(["-h".into(), "127.0.0.1".into(), "-p".into(), addr.port().to_string().into()]);
    args.extend(settings(options).into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    let launch = LaunchSpec { program, args, account, folder };
    initdb(&launch, &data).await?;
    Ok(launch)
}

fn container_spec(options: PostgresOptions) -> ContainerSpec {
    let mut args = vec!["postgres".to_owned()];
    args.extend(settings(options).into_iter().flat_map(|setting| ["-c".to_owned(), setting.to_owned()]));
    let envs = vec![
        ("POSTGRES_HOST_AUTH_METHOD", "trust".to_owned()),
        ("POSTGRES_INITDB_ARGS", "--locale=C --encoding=UTF8 --no-sync".to_owned()),
    ];
    ContainerSpec { image: IMAGE, args, envs }
}

async fn initdb(launch: &LaunchSpec, data: &Path) -> Result<(), TestbedError> {
    let program = program("initdb")?;
    let log = launch.folder.path().join("log");
    let (output, errors) = open_log(&log)?;
    let child = Child::spawn("initdb", &program, StopPolicy::KILL, |command| {
        command.args(["--locale=C", "--encoding=UTF8", "-U", "postgres", "--no-sync", "-A", "trust", "-D"]);
        command.arg(data).current_dir(launch.folder.path()).stdout(output).stderr(errors);
        if let Some(account) = &launch.account {
            command.uid(account.uid).gid(account.gid);
        }
    })?;
    let spawn_error = |source| TestbedError::Spawn { name: "initdb".to_owned(), source };
    child.until_ended().await.map_err(spawn_error)?;
    match child.stop(StopPolicy::KILL).await {
        Some(status) if status.success() => Ok(()),
        _ => Err(TestbedError::Ended { name: "initdb".to_owned(), log: tail(&log, 20) }),
    }
}

/// A program of the installation that the server comes from; distributions link only some of them into PATH.
pub(super) fn program(name: &str) -> Result<PathBuf, TestbedError> {
    let server = POSTGRES.find()?;
    let real = server.canonicalize().map_err(TestbedError::file("cannot find", &server))?;
    Some(real.with_file_name(name)).filter(|program| is_executable(program)).ok_or_else(|| TestbedError::NotInstalled {
        program: name.to_owned(),
        other_folders: format!(" or beside {}", real.display()),
        hint: POSTGRES.hint,
    })
}

/// Succeeds if a connection is served, and only by the process `pid` if that is known.
async fn probe(addr: SocketAddr, pid: Option<u32>, pid_file: PathBuf) -> Result<(), String> {
    if let Some(pid) = pid {
        // pg_ctl waits for the last line of this file, too. Source: Postgres, "postmaster.pid".
        let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        if lines.next() != Some(pid.to_string().as_str()) || !lines.any(|line| line == "ready") {
            return Err("not ready yet".to_owned());
        }
    }
    let connection = PgConnection::connect(&url(addr, "postgres")).await.map_err(|error| error.to_string())?;
    connection.close().await.map_err(|error| error.to_string())
}
