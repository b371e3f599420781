//! A TCP proxy on the loopback interface that injects network faults between clients and one server.
//!
//! Invariant: bytes pass unchanged and in order. A direction that is dropped is *held*: TCP retransmits what a partition
//! dropped, so the bytes arrive late after the partition is healed, and a command is executed long after its caller gave
//! up.
//! Absence: no protocol above TCP is parsed, and no byte is lost on a connection that stays open.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::TestbedError;
use crate::ports;

/// Chunks buffered in one direction of one connection; beyond that the sender is slowed down, as by a full window.
const IN_FLIGHT: usize = 64;
const CHUNK: usize = 16 * 1024;
/// The pause after a failed attempt to accept: while no file handle is left, every attempt fails at once.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How many ports are tried.
const PORT_ATTEMPTS: usize = 10;

/// The current faults.
#[derive(Debug, Clone, Default)]
struct Faults {
    latency: Duration,
    hold_to_upstream: bool,
    hold_to_client: bool,
    /// Connections of an earlier generation are closed.
    generation: u64,
    /// Grows with each silence of the established connections.
    silences: u64,
    /// Connections that were made before this silence are held in both directions.
    hold_before: u64,
    /// Connections that were made before this silence are closed.
    close_before: u64,
}

/// The faults that apply to one connection follow from when it was made.
#[derive(Debug, Clone, Copy)]
struct Made {
    generation: u64,
    silences: u64,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    ToUpstream,
    ToClient,
}

impl Faults {
    fn made_now(&self) -> Made {
        Made { generation: self.generation, silences: self.silences }
    }

    fn closes(&self, made: Made) -> bool {
        self.generation != made.generation || made.silences < self.close_before
    }

    fn holds(&self, made: Made, direction: Direction) -> bool {
        if made.silences < self.hold_before {
            return true;
        }
        match direction {
            Direction::ToUpstream => self.hold_to_upstream,
            Direction::ToClient => self.hold_to_client,
        }
    }
}

/// A proxy between clients and one upstream server. Dropping it closes its listener and all connections.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    runtime: Handle,
    faults: watch::Sender<Faults>,
    slot: Arc<ListenerSlot>,
    /// Each open connection has a clone.
    open: Arc<()>,
    acceptor: AbortHandle,
}

impl Proxy {
    /// Starts a proxy without faults.
    #[expect(clippy::unused_async, reason = "it needs a runtime, which an async fn makes plain")]
    pub async fn start(upstream: SocketAddr) -> Result<Self, TestbedError> {
        let no_port = || TestbedError::NoPort { name: "the proxy".to_owned(), attempts: PORT_ATTEMPTS };
        let (addr, listener) = (0..PORT_ATTEMPTS).find_map(|_| bind_free_port().ok()).ok_or_else(no_port)?;
        let (faults, current) = watch::channel(Faults::default());
        let slot = Arc::new(ListenerSlot::default());
        slot.open(listener);
        let open = Arc::new(());
        let acceptor = tokio::spawn(accept(Arc::clone(&slot), upstream, current, Arc::clone(&open))).abort_handle();
        Ok(Self { addr, runtime: Handle::current(), faults, slot, open, acceptor })
    }

    /// Connections that are open, silent ones included.
    pub fn connections(&self) -> usize {
        // Without the clones of this proxy and of the task that accepts connections.
        Arc::strong_count(&self.open).saturating_sub(2)
    }

    /// The address for clients; it never changes.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Delays every chunk in each direction by `latency`: a round trip takes twice as long.
    pub fn set_latency(&self, latency: Duration) {
        self.faults.send_modify(|faults| faults.latency = latency);
    }

    /// Holds back the bytes from clients, or releases them. Connections stay open.
    pub fn drop_to_upstream(&self, on: bool) {
        self.faults.send_modify(|faults| faults.hold_to_upstream = on);
    }

    /// Holds back the bytes from the server, or releases them: it executes commands, but no client receives a reply.
    pub fn drop_to_client(&self, on: bool) {
        self.faults.send_modify(|faults| faults.hold_to_client = on);
    }

    /// Holds back all bytes of the connections that exist now, until the proxy is healed; new connections work. So
    /// connections die when a NAT table, a load balancer or a cable loses them: neither end is told.
    pub fn silence_established(&self) {
        self.faults.send_modify(|faults| {
            faults.silences += 1;
            faults.hold_before = faults.silences;
        });
    }

    /// Closes the connections that [`Self::silence_established`] silenced, and no other. What was held back on them is
    /// lost, as where a NAT table forgot them.
    pub fn close_silenced(&self) {
        self.faults.send_modify(|faults| faults.close_before = faults.hold_before);
    }

    /// Closes every connection and refuses new ones. Both are in effect when this returns.
    pub fn cut(&self) {
        self.slot.close();
        self.faults.send_modify(|faults| faults.generation += 1);
    }

    /// Ends every fault: no latency, no held bytes. New connections are accepted when this returns.
    ///
    /// # Panics
    /// If a process that does not draw its ports here bound the port while the proxy was cut.
    pub fn heal(&self) {
        let _context = self.runtime.enter();
        if !self.slot.is_open() {
            self.slot.open(bind(self.addr).expect("no other process bound the proxy's port during the cut"));
        }
        self.faults.send_modify(|faults| {
            let Faults { generation, silences, close_before, .. } = *faults;
            *faults = Faults { generation, silences, close_before, ..Faults::default() };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.slot.close();
        self.acceptor.abort();
    }
}

fn bind_free_port() -> io::Result<(SocketAddr, TcpListener)> {
    let addr = ports::free().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((addr, bind(addr)?))
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// The listener, which can be closed from outside the accepting task: connections must be refused as soon as a cut returns.
#[derive(Debug, Default)]
struct ListenerSlot {
    state: Mutex<ListenerState>,
}

#[derive(Debug, Default)]
struct ListenerState {
    listener: Option<TcpListener>,
    waiting: Option<Waker>,
}

impl ListenerSlot {
    fn open(&self, listener: TcpListener) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.listener = Some(listener);
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }

    /// Connections are refused when this returns. To drop the listener is not enough: a child process that was forked
    /// and has not executed its program yet has a copy of the handle, and the system would go on accepting.
    fn close(&self) {
        let listener = self.state.lock().unwrap_or_else(PoisonError::into_inner).listener.take();
        if let Some(listener) = listener {
            // It fails only where the system does not listen any more.
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        }
    }

    fn is_open(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).listener.is_some()
    }

    /// Accepts the next connection; waits while the slot has no listener.
    async fn next(&self) -> io::Result<TcpStream> {
        std::future::poll_fn(|context| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting = Some(context.waker().clone());
            match &state.listener {
                Some(listener) => listener.poll_accept(context).map_ok(|(client, _)| client),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// Accepts connections until the proxy is dropped; all connections end with it.
async fn accept(slot: Arc<ListenerSlot>, upstream: SocketAddr, faults: watch::Receiver<Faults>, open: Arc<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = slot.next() => match client {
                Ok(client) => {
                    let (forwarded, counted) = (forward(client, upstream, faults.clone()), Arc::clone(&open));
                    connections.spawn(async move {
                        let ended = forwarded.await;
                        drop(counted);
                        ended
                    });
                }
                // The client closed the connection, or no file handle is left: the next connection may succeed.
                Err(error) => {
                    tracing::debug!(%error, "proxy could not accept a connection; it accepts the next");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Forwards one connection until either side or a fault closes it.
async fn forward(client: TcpStream, upstream: SocketAddr, mut faults: watch::Receiver<Faults>) -> io::Result<()> {
    let made = faults.borrow().made_now();
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_upstream = pump(from_client, to_server, faults.clone(), made, Direction::ToUpstream);
    let to_downstream = pump(from_server, to_client, faults.clone(), made, Direction::ToClient);
    tokio::select! {
        both = async { tokio::try_join!(to_upstream, to_downstream) } => both.map(drop),
        _ = faults.wait_for(|now| now.closes(made)) => Ok(()),
    }
}

/// Copies one direction: reads at once, writes after the latency and while the direction is not held. The end of the
/// stream is delayed and held like any chunk.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
    made: Made,
    direction: Direction,
) -> io::Result<()> {
    let (sender, mut arrivals) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let read = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let count = from.read_buf(&mut chunk).await?;
            if sender.send((Instant::now(), chunk)).await.is_err() || count == 0 {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((arrived, chunk)) = arrivals.recv().await {
            let due = arrived + faults.borrow().latency;
            sleep_until(due).await;
            let released = |now: &Faults| now.closes(made) || !now.holds(made, direction);
            let gone = match faults.wait_for(released).await {
                Ok(now) => now.closes(made),
                Err(_) => true,
            };
            if gone {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(drop)
}
