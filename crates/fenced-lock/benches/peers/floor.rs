//! The least that any Redlock has to do: a bare `SET NX PX` to all nodes, wait for a quorum, then delete by script
//! where the value is the owner's. No deadline, no validity, no token, no cleanup: it is not a lock, only its
//! minimum cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Script, Value};

use crate::settings::LEASE;

const DELETE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

#[derive(Clone, Debug)]
pub(crate) struct Floor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: Vec<MultiplexedConnection>,
    delete: String,
    next_owner: AtomicU64,
}

pub(crate) struct FloorGuard {
    floor: Floor,
    key: String,
    owner: u64,
}

impl Floor {
    pub(crate) async fn connect(urls: &[String]) -> Result<Self> {
        let mut connections = Vec::new();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        for url in urls {
            let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
            let info = redis::IntoConnectionInfo::into_connection_info(url.as_str())?.set_tcp_settings(tcp);
            let mut connection = Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
            Script::new(DELETE).load_async(&mut connection).await?;
            connections.push(connection);
        }
        let delete = Script::new(DELETE).get_hash().to_owned();
        // Owners of different processes must differ.
        let next_owner = AtomicU64::new(u64::from(std::process::id()) << 32);
        Ok(Self(Arc::new(Inner { connections, delete, next_owner })))
    }

    pub(crate) async fn acquire(&self, key: &str) -> Result<FloorGuard> {
        let owner = self.0.next_owner.fetch_add(1, Ordering::Relaxed);
        let mut set = redis::cmd("SET");
        set.arg(key).arg(owner).arg("NX").arg("PX").arg(LEASE.as_secs() * 1000);
        self.quorum(set, &Value::Okay).await?;
        Ok(FloorGuard { floor: self.clone(), key: key.to_owned(), owner })
    }

    /// Sends to all nodes; the first quorum that answers as `expected` is enough.
    async fn quorum(&self, cmd: Cmd, expected: &Value) -> Result<()> {
        let cmd = Arc::new(cmd);
        let sent = self.0.connections.iter().map(|connection| {
            let (mut connection, cmd) = (connection.clone(), Arc::clone(&cmd));
            async move { connection.send_packed_command(&cmd).await }
        });
        let mut answers: FuturesUnordered<_> = sent.collect();
        let mut missing = self.0.connections.len() / 2 + 1;
        while let Some(answer) = answers.next().await {
            missing -= usize::from(answer? == *expected);
            if missing == 0 {
                return Ok(());
            }
        }
        bail!("no quorum voted yes")
    }
}

impl FloorGuard {
    pub(crate) async fn release(self) -> Result<()> {
        let mut delete = redis::cmd("EVALSHA");
        delete.arg(&self.floor.0.delete).arg(1).arg(&self.key).arg(self.owner);
        self.floor.quorum(delete, &Value::Int(1)).await
    }
}
