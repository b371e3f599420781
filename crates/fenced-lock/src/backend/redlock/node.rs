//! One lock node: a connection that is made when it is needed and made again when it broke.
//!
//! Nobody waits for a node longer than they want to: every call is a future that may be dropped,
//! connecting happens in a task of its own, and a node that has gone silent is not sent more
//! until it answers again. Commands over one connection are executed in the order in which they
//! were polled first; release after acquire rests on that.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, PushInfo, PushKind, RedisError, Value};

use crate::backend::redlock::scripts;
use crate::backend::redlock::waiter_registry::WaiterRegistry;
use crate::{Cause, NodeError, NodeUrl, Options};

/// How long connecting may take, TLS and scripts included. Nobody waits that long; it bounds the
/// task.
const CONNECT: Duration = Duration::from_secs(2);

/// After so many commands without hearing anything, ask whether anybody is there.
const UNANSWERED: u32 = 64;

/// Room for commands on their way to the socket.
const PIPELINE: usize = 1024;

pub(crate) type Answer = Result<Reply, NodeError>;

/// A node's answer, and whether the command may have been executed once before.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) value: Value,
    pub(crate) resent: bool,
}

pub(crate) struct Node {
    index: usize,
    name: Arc<str>,
    /// An address or certificate that cannot be used is told whenever the node is.
    client: Result<Client, RedisError>,
    client_id: Arc<str>,
    registry: Arc<WaiterRegistry>,
    timeout: Duration,
    connection_state: Mutex<Connection>,
    /// Tells one connection from the next, so that an old one's end does not end the new one.
    generation: AtomicU64,
    unanswered: AtomicU32,
}

/// `None` where the runtime ended in which somebody dialed.
type ConnectTask = Shared<BoxFuture<'static, Option<Result<LiveConnection, NodeError>>>>;

enum Connection {
    Down,
    ConnectTask(ConnectTask),
    Up(LiveConnection),
}

#[derive(Clone)]
struct LiveConnection {
    connection: MultiplexedConnection,
    generation: u64,
}

impl Node {
    pub(crate) fn new(
        index: usize,
        url: &NodeUrl,
        options: &Options,
        client_id: &Arc<str>,
        registry: &Arc<WaiterRegistry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            name: url.name().into(),
            client: client(url, options),
            client_id: Arc::clone(client_id),
            registry: Arc::clone(registry),
            timeout: options.node_timeout(),
            connection_state: Mutex::new(Connection::Down),
            generation: AtomicU64::new(0),
            unanswered: AtomicU32::new(0),
        })
    }

    /// Sends `cmd` and waits for the answer, for as long as the caller likes.
    ///
    /// With a connection at hand the command is on its way after the first poll. A connection
    /// that proves to be broken is replaced once.
    pub(crate) async fn call(self: Arc<Self>, cmd: Arc<Cmd>) -> Answer {
        let mut resent = false;
        loop {
            let mut up = self.up().await?;
            self.count_unanswered(&up);
            let mut answer = up.connection.send_packed_command(&cmd).await.and_then(Value::extract_error);
            if answer.as_ref().is_err_and(is_noscript) {
                // SCRIPT FLUSH, or a failover. Nothing was executed.
                answer = match scripts::load_all().exec_async(&mut up.connection).await {
                    Ok(()) => up.connection.send_packed_command(&cmd).await.and_then(Value::extract_error),
                    Err(error) => Err(error),
                };
            }
            match answer {
                Ok(value) => {
                    self.unanswered.store(0, Ordering::Relaxed);
                    return Ok(Reply { value, resent });
                }
                Err(error) if error.is_io_error() || error.is_connection_dropped() => {
                    self.mark_down(up.generation);
                    if resent {
                        return Err(self.silent(error));
                    }
                    resent = true;
                }
                Err(error) => return Err(self.wrong(error)),
            }
        }
    }

    /// Whether there is a connection, so that a call is sent when it is polled first.
    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.connection_state(), Connection::Up(_))
    }

    pub(crate) fn silent(&self, error: impl Error + Send + Sync + 'static) -> NodeError {
        NodeError::NoAnswer { node: Arc::clone(&self.name), source: Cause::new(error) }
    }

    pub(crate) fn wrong(&self, error: impl Error + Send + Sync + 'static) -> NodeError {
        NodeError::WrongAnswer { node: Arc::clone(&self.name), source: Cause::new(error) }
    }

    /// The connection, made now if need be; made once for all who want it.
    async fn up(self: &Arc<Self>) -> Result<LiveConnection, NodeError> {
        // A second time for those who find what a runtime left behind that has ended; no more
        // often, for ours may be ending too.
        for _ in 0..2 {
            let task = {
                let mut connection_state = self.connection_state();
                match &*connection_state {
                    Connection::Up(up) => return Ok(up.clone()),
                    Connection::ConnectTask(task) => task.clone(),
                    Connection::Down => {
                        let task = self.start_connecting();
                        *connection_state = Connection::ConnectTask(task.clone());
                        task
                    }
                }
            };
            if let Some(outcome) = task.await {
                return outcome;
            }
            let mut connection_state = self.connection_state();
            if matches!(&*connection_state, Connection::ConnectTask(_)) {
                *connection_state = Connection::Down;
            }
        }
        Err(self.silent(RuntimeEnded))
    }

    /// In a task: a caller who has its quorum already goes away, and the next one should find a
    /// connection all the same.
    fn start_connecting(self: &Arc<Self>) -> ConnectTask {
        let node = Arc::clone(self);
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let task = tokio::spawn(async move {
            let outcome = node.connect(generation).await;
            let mut connection_state = node.connection_state();
            // The new connection may have broken before it was put here; the next call sees that.
            *connection_state = outcome.as_ref().map_or(Connection::Down, |up| Connection::Up(up.clone()));
            drop(connection_state);
            outcome
        });
        task.map(Result::ok).boxed().shared()
    }

    async fn connect(self: &Arc<Self>, generation: u64) -> Result<LiveConnection, NodeError> {
        let node = Arc::downgrade(self);
        let registry = Arc::clone(&self.registry);
        let index = self.index;
        let push = move |info: PushInfo| {
            handle_push(&registry, index, generation, &node, &info);
            Ok::<_, std::convert::Infallible>(())
        };
        // No timeouts in the client: one for a whole round is cheaper than one for each command.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE)
            .set_push_sender(push);
        let connect = async {
            let mut connection = self.client.clone()?.get_multiplexed_async_connection_with_config(&config).await?;
            scripts::load_all().exec_async(&mut connection).await?;
            connection.subscribe(scripts::channel(&self.client_id)).await?;
            Ok::<_, RedisError>(LiveConnection { connection, generation })
        };
        let source = match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(up)) => {
                tracing::debug!(node = %self.name, "connected to lock node");
                self.unanswered.store(0, Ordering::Relaxed);
                return Ok(up);
            }
            Ok(Err(error)) => Cause::new(error),
            Err(_) => Cause::new(NoAnswerWithin(CONNECT)),
        };
        tracing::debug!(node = %self.name, error = %source, "could not connect to lock node");
        Err(NodeError::Refused { node: Arc::clone(&self.name), source })
    }

    fn mark_down(&self, generation: u64) {
        let mut connection_state = self.connection_state();
        if matches!(&*connection_state, Connection::Up(up) if up.generation == generation) {
            *connection_state = Connection::Down;
        }
    }

    /// Callers drop their futures when they have heard enough, so nobody may ever notice that a
    /// node is silent. Now and then somebody has to wait for it: a task, not a caller.
    fn count_unanswered(self: &Arc<Self>, up: &LiveConnection) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 == UNANSWERED {
            let (node, mut up) = (Arc::clone(self), up.clone());
            tokio::spawn(async move {
                let ping = redis::cmd("PING");
                match tokio::time::timeout(node.timeout, up.connection.send_packed_command(&ping)).await {
                    Ok(Ok(_)) => node.unanswered.store(0, Ordering::Relaxed),
                    _ => node.mark_down(up.generation),
                }
            });
        }
    }

    fn connection_state(&self) -> MutexGuard<'_, Connection> {
        self.connection_state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.name)
    }
}

/// No answer within this time.
#[derive(Debug, thiserror::Error)]
#[error("silent for {0:?}")]
pub(crate) struct NoAnswerWithin(pub(crate) Duration);

/// Nobody is left who could wait for the node.
#[derive(Debug, thiserror::Error)]
#[error("the runtime has ended")]
struct RuntimeEnded;

fn handle_push(registry: &WaiterRegistry, index: usize, generation: u64, node: &Weak<Node>, info: &PushInfo) {
    match (&info.kind, info.data.as_slice()) {
        (PushKind::Message, [_channel, Value::BulkString(key)]) => {
            if let Ok(key) = std::str::from_utf8(key) {
                registry.notify(index, key);
            }
        }
        (PushKind::Disconnection, _) => {
            if let Some(node) = node.upgrade() {
                node.mark_down(generation);
            }
            registry.notify_all();
        }
        _ => {}
    }
}

fn is_noscript(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

fn client(url: &NodeUrl, options: &Options) -> Result<Client, RedisError> {
    use redis::IntoConnectionInfo;

    let info = url.as_url().clone().into_connection_info()?;
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(redis::ProtocolVersion::RESP3)
        // CLIENT SETINFO would be one more command for the least-privileged user.
        .set_skip_set_lib_name();
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    if !url.is_tls() {
        return Client::open(info);
    }
    // Whoever installed a provider before us keeps it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match options.root_certificate() {
        None => Client::open(info),
        Some(pem) => {
            let tls = redis::TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Client::build_with_tls(info, tls)
        }
    }
}
