//! PgBouncer in front of a Postgres server, as operators configure it for programs that send start-up parameters.
//!
//! Always a child process, also where Postgres runs in a container: its port is published on 127.0.0.1.
//! Absence: no passwords; whoever connects becomes the role that it asks for.

use std::net::SocketAddr;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use crate::error::TestbedError;
use crate::folder::Folder;
use crate::processes::account::Account;
use crate::processes::binary::BinarySpec;
use crate::processes::stop_policy::StopPolicy;
use crate::servers::instance::LaunchSpec;
use crate::servers::postgres::Postgres;
use crate::servers::server::{Server, with_free_port};

const NAME: &str = "pgbouncer";

static PGBOUNCER: BinarySpec = BinarySpec {
    names: &["pgbouncer"],
    folders: &["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin"],
    hint: "apt-get install pgbouncer | brew install pgbouncer",
};

/// For how long a client of PgBouncer has a connection of Postgres to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// `pool_mode = session`: until it disconnects.
    Session,
    /// `pool_mode = transaction`: until its transaction ends.
    Transaction,
}

/// A PgBouncer. Dropping it ends it.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
}

impl PgBouncer {
    /// Starts a pooler in front of `postgres` with at most `connections` to each database for each role, and waits until
    /// it answers.
    pub async fn start(postgres: &Postgres, pooling: Pooling, connections: u32) -> Result<Self, TestbedError> {
        with_free_port(NAME, |addr| Self::start_at(addr, postgres.addr(), pooling, connections)).await
    }

    async fn start_at(
        addr: SocketAddr,
        postgres: SocketAddr,
        pooling: Pooling,
        connections: u32,
    ) -> Result<Self, TestbedError> {
        let launch = launch_spec(addr, postgres, pooling, connections)?;
        let mut server = Server::native(NAME, addr, StopPolicy::term(Duration::from_secs(1)), launch);
        server.start(|_| probe(addr)).await?;
        Ok(Self { server })
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.server.log_tail(lines)
    }
}

fn launch_spec(
    addr: SocketAddr,
    postgres: SocketAddr,
    pooling: Pooling,
    connections: u32,
) -> Result<LaunchSpec, TestbedError> {
    let program = PGBOUNCER.find()?;
    let folder = Folder::new(NAME)?;
    // It refuses to run as root.
    let account = Account::unprivileged()?;
    if let Some(account) = &account {
        folder.chown(account)?;
    }
    let mode = match pooling {
        Pooling::Session => "session",
        Pooling::Transaction => "transaction",
    };
    let settings = format!(
        "[databases]\n* = host={} port={}\n\
         [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\n\
         auth_type = trust\nauth_file = {users}\n\
         pool_mode = {mode}\ndefault_pool_size = {connections}\nmax_client_conn = 500\n\
         ignore_startup_parameters = extra_float_digits,options\n",
        postgres.ip(),
        postgres.port(),
        addr.ip(),
        addr.port(),
        users = folder.path().join("users").display(),
    );
    for (name, text) in [("users", "\"postgres\" \"\"\n\"inventory_service\" \"\"\n"), ("settings", settings.as_str())]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map_err(TestbedError::file("cannot write", &path))?;
    }
    let args = vec![folder.path().join("settings").into()];
    Ok(LaunchSpec { program, args, account, folder })
}

/// Succeeds if a connection reaches Postgres.
async fn probe(addr: SocketAddr) -> Result<(), String> {
    let url = format!("postgres://postgres@{addr}/postgres");
    let connection = PgConnection::connect(&url).await.map_err(|error| error.to_string())?;
    connection.close().await.map_err(|error| error.to_string())
}
