//! One Redis (or Valkey) node without persistence and without eviction.
//!
//! Invariant: the server that answers on the port is the process that was started here, not another Redis.
//! Absence: no replication. The lock nodes of Redlock are independent of each other; `redis_cluster` starts other ones,
//! for tests of what is refused.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::containers::container::ContainerSpec;
use crate::containers::image::Image;
use crate::error::TestbedError;
use crate::folder::Folder;
use crate::mode::Mode;
use crate::processes::binary::BinarySpec;
use crate::processes::stop_policy::StopPolicy;
use crate::servers::instance::LaunchSpec;
use crate::servers::server::{Server, with_free_port};

const NAME: &str = "redis";
const IMAGE: Image = Image { variable: "REDIS_IMAGE", default: "redis:8.0", port: 6379 };
/// For [`RedisNode::command`], connection included.
const COMMAND_LIMIT: Duration = Duration::from_secs(2);

static REDIS_SERVER: BinarySpec = BinarySpec {
    names: &["redis-server", "valkey-server"],
    folders: &["/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/opt/redis/bin", "/usr/local/opt/redis/bin"],
    hint: "apt-get install redis-server | brew install redis",
};

/// A Redis node. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct RedisNode {
    server: Server,
}

/// Starts `n` independent nodes in parallel.
pub async fn redis_nodes(n: usize) -> Result<Vec<RedisNode>, TestbedError> {
    try_join_all((0..n).map(|_| RedisNode::start())).await
}

/// Starts `n` independent nodes with cluster mode enabled in parallel: each is the only shard of its cluster and has all
/// hash slots.
pub async fn single_shard_nodes(n: usize) -> Result<Vec<RedisNode>, TestbedError> {
    try_join_all((0..n).map(|_| async {
        let node = RedisNode::start_with(CLUSTER_MODE).await?;
        node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", LAST_SLOT]).await?;
        node.until_cluster_has(1).await?;
        Ok(node)
    }))
    .await
}

/// Starts one cluster of three shards, as child processes, and returns its three nodes.
pub async fn redis_cluster() -> Result<Vec<RedisNode>, TestbedError> {
    let nodes = try_join_all(
        (0..3).map(|_| with_free_port(NAME, |addr| RedisNode::start_at_with(addr, Mode::Native, CLUSTER_MODE))),
    )
    .await?;
    for (node, [first, last]) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", LAST_SLOT]]) {
        node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await?;
        let addr = nodes[0].addr();
        node.command(&["CLUSTER", "MEET", &addr.ip().to_string(), &addr.port().to_string()]).await?;
    }
    try_join_all(nodes.iter().map(|node| node.until_cluster_has(nodes.len()))).await?;
    Ok(nodes)
}

impl RedisNode {
    /// Starts a node on a free port, in the mode of `HOLDFAST_TESTBED`, and waits until it answers `PING`.
    pub async fn start() -> Result<Self, TestbedError> {
        Self::start_in(Self::mode().await?).await
    }

    /// Starts a node as a child process or in a container.
    pub async fn start_in(mode: Mode) -> Result<Self, TestbedError> {
        with_free_port(NAME, |addr| Self::start_at(addr, mode)).await
    }

    /// The mode in which [`start`](Self::start) starts the node.
    pub async fn mode() -> Result<Mode, TestbedError> {
        Mode::choose(IMAGE).await
    }

    async fn start_with(settings: &[&str]) -> Result<Self, TestbedError> {
        let mode = Self::mode().await?;
        with_free_port(NAME, |addr| Self::start_at_with(addr, mode, settings)).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, mode: Mode) -> Result<Self, TestbedError> {
        Self::start_at_with(addr, mode, &[]).await
    }

    async fn start_at_with(addr: SocketAddr, mode: Mode, settings: &[&str]) -> Result<Self, TestbedError> {
        let server = match mode {
            Mode::Native => Server::native(NAME, addr, StopPolicy::KILL, launch_spec(addr, settings)?),
            Mode::Containers => Server::container(NAME, addr, StopPolicy::KILL, container_spec(settings))?,
        };
        let mut node = Self { server };
        node.restart().await?;
        Ok(node)
    }

    /// Waits until the cluster serves all hash slots from `shards` shards.
    async fn until_cluster_has(&self, shards: usize) -> Result<(), TestbedError> {
        let size = format!("cluster_size:{shards}");
        let deadline = Instant::now() + CLUSTER_DEADLINE;
        loop {
            let info = self.command(&["CLUSTER", "INFO"]).await?;
            let has = |line: &str| info.lines().any(|found| found.trim_end() == line);
            if has("cluster_state:ok") && has(&size) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let (name, log) = (NAME.to_owned(), self.server.log_tail(20));
                return Err(TestbedError::NotReady { name, deadline: CLUSTER_DEADLINE, last: info, log });
            }
            sleep(CLUSTER_INTERVAL).await;
        }
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        url(self.addr())
    }

    /// The address, the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The process id, while the node runs as a child process.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Sends SIGKILL and returns when the node has ended. Does nothing to a node that is down.
    pub async fn kill(&mut self) {
        self.server.stop(StopPolicy::KILL).await;
    }

    /// Starts the node again on the same port without its data, killing it first if it runs, and waits for
    /// its answer to `PING`.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        let addr = self.addr();
        self.server.start(|pid| probe(addr, pid)).await
    }

    /// SIGSTOP, or the engine's pause: connections stay open, commands are received and answered only after
    /// [`resume`](Self::resume).
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Ends the pause. Commands sent during the pause are executed now.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Ends the node by SIGTERM, within 5 s. Dropping the node ends it by SIGKILL.
    pub async fn shutdown(mut self) {
        self.server.stop(StopPolicy::term(Duration::from_secs(5))).await;
    }

    /// Sends one command, such as `["GET", "lock:x"]`, over a connection of its own and returns the reply as text: `""`
    /// for nil, array items one per line.
    ///
    /// # Errors
    /// [`TestbedError::Redis`] for an error reply or a refused connection, [`TestbedError::RedisTimeout`] after 2 s.
    pub async fn command(&self, args: &[&str]) -> Result<String, TestbedError> {
        redis_command(&self.url(), args).await
    }
}

/// As [`RedisNode::command`], to any node, at `redis://HOST:PORT`.
///
/// # Errors
/// As there; also for what is no such URL.
pub async fn redis_command(url: &str, args: &[&str]) -> Result<String, TestbedError> {
    let command = args.first().copied().unwrap_or_default().to_owned();
    // Host and port alone: the URL may have a password.
    let addr = redis::Client::open(url).map(|client| client.get_connection_info().addr().to_string());
    let node = addr.unwrap_or_else(|_| "the lock node".to_owned());
    match timeout(COMMAND_LIMIT, ask(url, args)).await {
        Ok(Ok(reply)) => Ok(render(&reply)),
        Ok(Err(source)) => Err(TestbedError::Redis { node, command, source }),
        Err(_) => Err(TestbedError::RedisTimeout { node, command, limit: COMMAND_LIMIT }),
    }
}

fn url(addr: SocketAddr) -> String {
    format!("redis://{addr}")
}

const CLUSTER_MODE: &[&str] = &["--cluster-enabled", "yes"];
const LAST_SLOT: &str = "16383";
/// A node waits for two seconds before it serves its slots.
const CLUSTER_DEADLINE: Duration = Duration::from_mins(1);
/// Between two questions whether it does.
const CLUSTER_INTERVAL: Duration = Duration::from_millis(20);

/// A lock node keeps nothing on disk and never evicts a live key.
const SETTINGS: [&str; 10] = [
    "--save",
    "",
    "--appendonly",
    "no",
    "--maxmemory-policy",
    "noeviction",
    "--protected-mode",
    "no",
    "--daemonize",
    "no",
];

fn launch_spec(addr: SocketAddr, settings: &[&str]) -> Result<LaunchSpec, TestbedError> {
    let folder = Folder::new("redis")?;
    let mut args: Vec<OsString> = SETTINGS.map(OsString::from).into();
    args.extend(["--bind".into(), "127.0.0.1".into(), "--port".into(), addr.port().to_string().into()]);
    args.extend(["--dir".into(), folder.path().into()]);
    args.extend(settings.iter().map(OsString::from));
    Ok(LaunchSpec { program: REDIS_SERVER.find()?, args, account: None, folder })
}

fn container_spec(settings: &[&str]) -> ContainerSpec {
    let mut args = vec!["redis-server".to_owned()];
    args.extend(SETTINGS.iter().chain(settings).map(|&arg| arg.to_owned()));
    ContainerSpec { image: IMAGE, args, envs: Vec::new() }
}

async fn ask(url: &str, args: &[&str]) -> Result<Value, redis::RedisError> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut command = redis::Cmd::new();
    command.arg(args);
    command.query_async(&mut connection).await
}

/// Succeeds on `PONG`, and only from the process `pid` if that is known.
async fn probe(addr: SocketAddr, pid: Option<u32>) -> Result<(), String> {
    let pong = ask(&url(addr), &["PING"]).await.map_err(|error| error.to_string())?;
    let Some(pid) = pid else {
        return (render(&pong) == "PONG").then_some(()).ok_or_else(|| "no PONG".to_owned());
    };
    let info = ask(&url(addr), &["INFO", "server"]).await.map_err(|error| error.to_string())?;
    let is_ours = render(&info).lines().any(|line| line.trim() == format!("process_id:{pid}"));
    is_ours.then_some(()).ok_or_else(|| format!("another Redis answers on {addr}"))
}

fn render(reply: &Value) -> String {
    match reply {
        Value::Nil => String::new(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Double(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Array(items) | Value::Set(items) => items.iter().map(render).collect::<Vec<_>>().join("\n"),
        Value::Map(pairs) => {
            let lines = pairs.iter().map(|(key, value)| format!("{} {}", render(key), render(value)));
            lines.collect::<Vec<_>>().join("\n")
        }
        other => format!("{other:?}"),
    }
}
