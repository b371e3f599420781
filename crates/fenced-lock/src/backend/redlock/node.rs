//! One lock node: a connection that is made when it is needed and made again when it broke.
//!
//! No caller waits for a node beyond its own time limit: every call is a future that may be dropped, connecting
//! happens in a task of its own, and a silent connection is closed and made again (see `silence`). A node
//! executes the commands of one connection in the order in which their calls were polled first; a release that
//! follows its acquire relies on that.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, PushInfo, PushKind, RedisError, Value};
use tokio::time::Instant;

use super::independence::Independence;
use super::scripts;
use super::silence::Traffic;
use super::waiter_registry::WaiterRegistry;
use crate::backend::node_errors::NoAnswerWithin;
use crate::{FailureKind, NodeError, NodeUrl, Options};

/// How long connecting may take, TLS and scripts included. It bounds the task; callers wait for less.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between the starts of two attempts to connect, and up to twice as long, so that clients do not come all at once. A
/// node at `maxclients` accepts connections and closes them. After a connection that lasted longer there is no pause.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// As [`RECONNECT_PAUSE`], where nothing listens: that costs the node nothing, and it is used again soon after it starts.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);

/// How many commands may be on their way to the socket.
const PIPELINE: usize = 1024;

pub(super) type Answer = Result<Reply, NodeError>;

/// A node's answer, and whether the command may have been executed once before.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) value: Value,
    pub(super) resent: bool,
}

pub(super) struct Node {
    index: usize,
    name: Arc<str>,
    /// The error where the address or the certificate cannot be used; each call then reports it.
    client: Result<Client, RedisError>,
    client_id: Arc<str>,
    registry: Arc<WaiterRegistry>,
    independence: Arc<Independence>,
    timeout: Duration,
    connection: Mutex<ConnectionState>,
    /// Numbers the connections, so that the end of an old one does not take down a newer one.
    generation: AtomicU64,
    /// When the next attempt to connect may start.
    next_attempt: Mutex<Instant>,
    /// Why the last attempt to connect failed; `None` after one that succeeded.
    unreachable: Mutex<Option<NodeError>>,
}

/// `None` where the runtime of the task has ended.
type ConnectTask = Shared<BoxFuture<'static, Option<Result<LiveConnection, NodeError>>>>;

enum ConnectionState {
    Down,
    Connecting(ConnectTask),
    Up(LiveConnection),
}

#[derive(Clone)]
pub(super) struct LiveConnection {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
    traffic: Arc<Traffic>,
}

impl Node {
    pub(super) fn new(
        index: usize,
        url: &NodeUrl,
        options: &Options,
        client_id: &Arc<str>,
        registry: &Arc<WaiterRegistry>,
        independence: &Arc<Independence>,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            name: url.name().into(),
            client: client(url, options),
            client_id: Arc::clone(client_id),
            registry: Arc::clone(registry),
            independence: Arc::clone(independence),
            timeout: options.node_timeout(),
            connection: Mutex::new(ConnectionState::Down),
            generation: AtomicU64::new(0),
            next_attempt: Mutex::new(Instant::now()),
            unreachable: Mutex::default(),
        })
    }

    /// Sends `cmd` and waits for the answer; the caller limits the time.
    ///
    /// On an existing connection the command is on its way after the first poll. A connection that proves to
    /// be broken is replaced once.
    pub(super) async fn call(self: Arc<Self>, cmd: Arc<Cmd>) -> Answer {
        let mut resent = false;
        loop {
            let mut live = match self.connect().await {
                // The broken connection may have delivered the command.
                Err(error) if resent => return Err(self.failed(FailureKind::Gone, error)),
                connected => connected?,
            };
            let number = self.count_and_watch(&live);
            let traffic = Arc::clone(&live.traffic);
            let sent = Instant::now();
            let answer = traffic.until_closed(send(&mut live.connection, &cmd)).await;
            match answer {
                Ok(value) => {
                    traffic.answered(number);
                    self.trace_reply(&cmd, &scripts::shown_reply(&value), sent);
                    // The command is executed, so that a release reaches the node, but it is no vote.
                    return self.vote().map(|()| Reply { value, resent });
                }
                Err(error) if error.is_io_error() || error.is_connection_dropped() => {
                    self.trace_reply(&cmd, &error, sent);
                    self.mark_down(live.generation);
                    if resent {
                        return Err(self.failed(kind_of(&error), error));
                    }
                    resent = true;
                }
                Err(error) => {
                    traffic.answered(number);
                    self.trace_reply(&cmd, &error, sent);
                    // The reason why the node cannot vote says more than the MOVED of a shard.
                    return self.vote().and(Err(self.failed(kind_of(&error), error)));
                }
            }
        }
    }

    /// What was sent and what came back, for whoever subscribes to this target. Nothing is formatted otherwise.
    fn trace_reply(&self, cmd: &Cmd, reply: &dyn fmt::Display, sent: Instant) {
        tracing::trace!(
            target: "fenced_lock::wire",
            node = %self.name,
            command = %scripts::shown(cmd),
            %reply,
            took_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX),
            "a lock node answered"
        );
    }

    /// An error unless the answers of the node count.
    fn vote(&self) -> Result<(), NodeError> {
        self.independence.check_vote(self.index).map_err(|flaw| self.failed(FailureKind::WrongAnswer, flaw))
    }

    /// Whether there is a connection, so that a call is sent when it is polled first.
    pub(super) fn is_connected(&self) -> bool {
        matches!(*self.connection(), ConnectionState::Up(_))
    }

    pub(super) fn failed(&self, kind: FailureKind, error: impl Error + Send + Sync + 'static) -> NodeError {
        NodeError::new(&self.name, kind, error)
    }

    /// A call got no answer within `waited`. While there is no connection, the reason is why the last attempt to make
    /// one failed.
    pub(super) fn overdue(&self, waited: Duration) -> NodeError {
        let unreachable = self.unreachable().clone().filter(|_| !self.is_connected());
        unreachable.unwrap_or_else(|| self.failed(FailureKind::Silent, NoAnswerWithin(waited)))
    }

    fn unreachable(&self) -> MutexGuard<'_, Option<NodeError>> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection. Callers that need it at the same time share one attempt to make it.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<LiveConnection, NodeError> {
        // The second turn is for a task that ended with its runtime. There is no third one, because this
        // runtime may be ending too.
        for _ in 0..2 {
            let task = {
                let mut state = self.connection();
                match &*state {
                    ConnectionState::Up(live) => return Ok(live.clone()),
                    ConnectionState::Connecting(task) => task.clone(),
                    ConnectionState::Down => {
                        let task = self.start_connecting();
                        *state = ConnectionState::Connecting(task.clone());
                        task
                    }
                }
            };
            if let Some(outcome) = task.await {
                return outcome;
            }
            let mut state = self.connection();
            if matches!(&*state, ConnectionState::Connecting(_)) {
                *state = ConnectionState::Down;
            }
        }
        Err(self.failed(FailureKind::Gone, RuntimeEnded))
    }

    /// Connects in a task: a caller that has its quorum drops the call, and the next caller still needs the
    /// connection. The task also waits for its turn, and callers wait with it within their own limits.
    fn start_connecting(self: &Arc<Self>) -> ConnectTask {
        let node = Arc::clone(self);
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let start = self.reserve_attempt();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(start).await;
            let outcome = node.open(generation).await;
            let mut state = node.connection();
            // The new connection may have broken already; the next call finds out.
            *state = outcome.as_ref().map_or(ConnectionState::Down, |live| ConnectionState::Up(live.clone()));
            drop(state);
            outcome
        });
        task.map(Result::ok).boxed().shared()
    }

    /// When this attempt to connect may start. The next one is later by the pause and a random part of it.
    fn reserve_attempt(&self) -> Instant {
        let mut next = self.next_attempt();
        let start = Instant::now().max(*next);
        *next = start + with_jitter(RECONNECT_PAUSE);
        start
    }

    fn next_attempt(&self) -> MutexGuard<'_, Instant> {
        self.next_attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(self: &Arc<Self>, generation: u64) -> Result<LiveConnection, NodeError> {
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
        self.independence.forget(index);
        let channels = [scripts::channel(&self.client_id), scripts::node_channel(&self.client_id, index)];
        let connect = async {
            let mut connection = self.client.clone()?.get_multiplexed_async_connection_with_config(&config).await?;
            scripts::load_all().exec_async(&mut connection).await?;
            connection.subscribe(&channels).await?;
            self.independence.examine(index, &self.client_id, &mut connection).await?;
            Ok::<_, RedisError>(LiveConnection { connection, generation, traffic: Traffic::new() })
        };
        // Whatever the reason, no command was sent.
        let error = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(live)) => {
                tracing::debug!(node = %self.name, "connected to lock node");
                *self.unreachable() = None;
                return Ok(live);
            }
            Ok(Err(error)) => {
                if error.is_connection_refusal() {
                    *self.next_attempt() = Instant::now() + with_jitter(REFUSED_PAUSE);
                }
                self.failed(FailureKind::Unreachable, error)
            }
            Err(_) => self.failed(FailureKind::Unreachable, NoAnswerWithin(CONNECT_TIMEOUT)),
        };
        tracing::debug!(node = %self.name, error = &error as &dyn Error, "lock node not connected; the next call tries again");
        *self.unreachable() = Some(error.clone());
        Err(error)
    }

    fn mark_down(&self, generation: u64) {
        let mut state = self.connection();
        if matches!(&*state, ConnectionState::Up(live) if live.generation == generation) {
            *state = ConnectionState::Down;
        }
    }

    /// Counts a command. Where nothing watches the connection for silence yet, a task does from now on, until
    /// everything has been answered.
    fn count_and_watch(self: &Arc<Self>, live: &LiveConnection) -> u64 {
        let (number, watch) = live.traffic.sent();
        if let Some(watch) = watch {
            let (node, generation, connection) = (Arc::clone(self), live.generation, live.connection.clone());
            tokio::spawn(async move {
                if watch.run(connection, node.timeout).await {
                    tracing::debug!(node = %node.name, "connection to lock node was silent and has been closed");
                    node.mark_down(generation);
                    // Messages to waiters may have been lost with it.
                    node.registry.notify_all();
                    // A failure is the next call's to report.
                    let _ = node.connect().await;
                }
            });
        }
        number
    }

    fn connection(&self) -> MutexGuard<'_, ConnectionState> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.name)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the runtime that was connecting to the node has ended")]
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

/// Once to twice as long.
fn with_jitter(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + rand::random::<f64>())
}

async fn send(connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<Value, RedisError> {
    let answer = connection.send_packed_command(cmd).await.and_then(Value::extract_error);
    if !answer.as_ref().is_err_and(is_noscript) {
        return answer;
    }
    // After SCRIPT FLUSH or a failover. The command was not executed.
    scripts::load_all().exec_async(connection).await?;
    connection.send_packed_command(cmd).await.and_then(Value::extract_error)
}

/// A script that was refused halfway may have written: only a connection that was never made excludes a grant.
fn kind_of(error: &RedisError) -> FailureKind {
    if error.is_timeout() {
        return FailureKind::Silent;
    }
    if error.is_io_error() || error.is_connection_dropped() {
        return FailureKind::Gone;
    }
    match error.code() {
        Some("READONLY") => FailureKind::ReadOnly,
        // Out of memory, cannot write to disk, too few replicas, loading, a script or a transaction is under way.
        Some("OOM" | "MISCONF" | "NOREPLICAS" | "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN") => {
            FailureKind::Refused
        }
        _ => FailureKind::WrongAnswer,
    }
}

fn is_noscript(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

fn client(url: &NodeUrl, options: &Options) -> Result<Client, RedisError> {
    use redis::IntoConnectionInfo;

    let info = url.as_ref().clone().into_connection_info()?;
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(redis::ProtocolVersion::RESP3)
        // CLIENT SETINFO would be one more command for the least-privileged user.
        .set_skip_set_lib_name();
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    if url.is_tls() { tls_client(info, options) } else { Client::open(info) }
}

/// Not reached: [`NodeUrl::parse`] refuses such a URL in this build.
#[cfg(not(feature = "tls"))]
fn tls_client(info: redis::ConnectionInfo, _: &Options) -> Result<Client, RedisError> {
    Client::open(info)
}

#[cfg(feature = "tls")]
fn tls_client(info: redis::ConnectionInfo, options: &Options) -> Result<Client, RedisError> {
    // Fails, without harm, where the program has installed a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match options.root_certificate() {
        None => Client::open(info),
        Some(pem) => {
            let tls = redis::TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Client::build_with_tls(info, tls)
        }
    }
}
