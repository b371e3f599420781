//! A TCP proxy on the loopback interface that makes the network between a client and one server bad on demand.
//!
//! Invariant: what passes is what was sent, in order. A direction that is dropped is *held*: TCP repeats what a partition
//! swallowed, so after the healing the bytes arrive late, and a command whose caller gave up long ago is executed then.
//! Absence: nothing here understands a protocol, and no byte is changed or lost on a connection that lives on.

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
use tokio::time::{Instant, sleep_until};

use crate::error::TestbedError;
use crate::ports;

/// Chunks on their way in one direction of one connection; beyond that the sender is slowed down, as by a full window.
const IN_FLIGHT: usize = 64;
const CHUNK: usize = 16 * 1024;
/// How often another port is tried.
const PORT_ATTEMPTS: usize = 10;

/// What is wrong with the network at present.
#[derive(Debug, Clone, Default)]
struct Faults {
    latency: Duration,
    hold_to_upstream: bool,
    hold_to_client: bool,
    /// Connections of an earlier generation are closed.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    ToUpstream,
    ToClient,
}

impl Faults {
    fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToUpstream => self.hold_to_upstream,
            Direction::ToClient => self.hold_to_client,
        }
    }
}

/// Stands between clients and one upstream server. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    runtime: Handle,
    faults: watch::Sender<Faults>,
    slot: Arc<ListenerSlot>,
    acceptor: AbortHandle,
}

impl Proxy {
    /// Starts a proxy that lets everything through.
    #[expect(clippy::unused_async, reason = "it needs an async runtime around it, and async says so")]
    pub async fn start(upstream: SocketAddr) -> Result<Self, TestbedError> {
        let no_port = || TestbedError::NoPort { name: "the proxy".to_owned(), attempts: PORT_ATTEMPTS };
        let (addr, listener) = (0..PORT_ATTEMPTS).find_map(|_| bind_free_port().ok()).ok_or_else(no_port)?;
        let (faults, current) = watch::channel(Faults::default());
        let slot = Arc::new(ListenerSlot::default());
        slot.open(listener);
        let acceptor = tokio::spawn(accept(Arc::clone(&slot), upstream, current)).abort_handle();
        Ok(Self { addr, runtime: Handle::current(), faults, slot, acceptor })
    }

    /// Where clients connect; the same for life.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Every chunk arrives this much later, each way: a round trip takes twice as long.
    pub fn set_latency(&self, latency: Duration) {
        self.faults.send_modify(|faults| faults.latency = latency);
    }

    /// Whether what clients send is held back. Connections stay open.
    pub fn drop_to_upstream(&self, on: bool) {
        self.faults.send_modify(|faults| faults.hold_to_upstream = on);
    }

    /// Whether what the server answers is held back: it does the work, and nobody hears of it.
    pub fn drop_to_client(&self, on: bool) {
        self.faults.send_modify(|faults| faults.hold_to_client = on);
    }

    /// Closes every connection and refuses new ones, from the moment this returns.
    pub fn cut(&self) {
        self.slot.close();
        self.faults.send_modify(|faults| faults.generation += 1);
    }

    /// Ends every fault: no latency, nothing held, connections are taken again from the moment this returns.
    ///
    /// # Panics
    /// If somebody took the port while it was cut.
    pub fn heal(&self) {
        let _context = self.runtime.enter();
        if !self.slot.is_open() {
            self.slot.open(bind(self.addr).expect("the proxy's port is still its own"));
        }
        self.faults.send_modify(|faults| *faults = Faults { generation: faults.generation, ..Faults::default() });
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

/// The listener, where it can be closed at once from outside the task that accepts: a cut that has returned must refuse.
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

    fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).listener = None;
    }

    fn is_open(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).listener.is_some()
    }

    /// The next connection, whenever the slot is open for it.
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

/// Ends with the proxy, and all connections with it.
async fn accept(slot: Arc<ListenerSlot>, upstream: SocketAddr, faults: watch::Receiver<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = slot.next() => match client {
                Ok(client) => { connections.spawn(forward(client, upstream, faults.clone())); }
                // One connection gone before it was taken, or no handle for it: the next may do better.
                Err(error) => tracing::debug!(%error, "the proxy could not take a connection"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until either side ends it or the generation does.
async fn forward(client: TcpStream, upstream: SocketAddr, mut faults: watch::Receiver<Faults>) -> io::Result<()> {
    let generation = faults.borrow().generation;
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_upstream = pump(from_client, to_server, faults.clone(), Direction::ToUpstream);
    let to_downstream = pump(from_server, to_client, faults.clone(), Direction::ToClient);
    tokio::select! {
        both = async { tokio::try_join!(to_upstream, to_downstream) } => both.map(drop),
        _ = faults.wait_for(|now| now.generation != generation) => Ok(()),
    }
}

/// One direction: read at once, written after the latency and while nothing is held. The end of the stream waits its turn too.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
    direction: Direction,
) -> io::Result<()> {
    let (sender, mut arrivals) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let generation = faults.borrow().generation;
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
            let gone = match faults.wait_for(|now| now.generation != generation || !now.holds(direction)).await {
                Ok(now) => now.generation != generation,
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
