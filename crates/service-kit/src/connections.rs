//! The open connections of a server: how long each may wait, and how many there may be.
//!
//! Invariant: a connection without a request in progress has a deadline, and the newest
//! connection has a place as long as any other one has no request in progress.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// For the head of a request, from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection between two requests or before the first one, and for a client that
/// reads no more of its response. Longer than the 90 s for which our client
/// (reqwest) keeps one: the side that sends has to be the one that closes, or a request
/// meets a closed connection and its outcome is unknown.
const IDLE_TIMEOUT: Duration = Duration::from_secs(100);
/// Of the file handles of the process, one in two is for a connection: a request may
/// need another one for its call to a database or to the next service.
const HANDLES_PER_CONNECTION: u64 = 2;
/// However many handles there are.
const MOST_CONNECTIONS: u64 = 16_384;

/// What a connection is doing.
#[derive(Debug)]
struct Activity {
    requests: usize,
    /// At least one response was made: the client has sent a whole request before.
    answered: bool,
    /// A part of a head was received.
    in_head: bool,
    since: Instant,
}

/// One connection; its reader, its service and its task share it.
#[derive(Debug)]
pub(crate) struct Connection {
    activity: Mutex<Activity>,
    evicted: Notify,
    /// See [`Connections::freed`].
    freed: Arc<Notify>,
}

impl Connection {
    fn new(freed: Arc<Notify>) -> Self {
        let activity = Activity { requests: 0, answered: false, in_head: false, since: Instant::now() };
        Self { activity: Mutex::new(activity), evicted: Notify::new(), freed }
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes were received.
    pub(crate) fn received(&self) {
        let mut activity = self.activity();
        if activity.requests == 0 && !activity.in_head {
            (activity.in_head, activity.since) = (true, Instant::now());
        }
    }

    /// Bytes were sent: a client that reads a long response slowly is not idle.
    pub(crate) fn sent(&self) {
        let mut activity = self.activity();
        if !activity.in_head {
            activity.since = Instant::now();
        }
    }

    /// A head was received whole; the request is in progress until the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Request {
        self.activity().requests += 1;
        Request(Arc::clone(self))
    }

    fn deadline(&self) -> Option<Instant> {
        let activity = self.activity();
        let allowed = if activity.in_head { HEAD_TIMEOUT } else { IDLE_TIMEOUT };
        (activity.requests == 0).then_some(activity.since + allowed)
    }

    /// Polls `served` until it ends, the deadline has passed or the place is needed.
    /// The activity changes only while `served` is polled, so the deadline is read after it.
    pub(crate) async fn within_deadlines(&self, served: impl Future<Output = ()>) {
        let (mut served, mut evicted) = (pin!(served), pin!(self.evicted.notified()));
        let mut deadline = pin!(sleep_until(Instant::now()));
        poll_fn(|context| {
            if served.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            // A request in progress is neither late nor evicted.
            let Some(until) = self.deadline() else {
                return Poll::Pending;
            };
            if evicted.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if deadline.deadline() != until {
                deadline.as_mut().reset(until);
            }
            deadline.as_mut().poll(context)
        })
        .await;
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Request(Arc<Connection>);

impl Drop for Request {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.requests -= 1;
        (activity.answered, activity.in_head, activity.since) = (true, false, Instant::now());
        drop(activity);
        self.0.freed.notify_one();
    }
}

/// All open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    most: usize,
    open: Arc<Mutex<BTreeMap<u64, Arc<Connection>>>>,
    /// A connection was closed or has no request in progress any more.
    freed: Arc<Notify>,
}

impl Connections {
    /// As many as the file handles of this process allow, once it has raised its soft limit to the hard one.
    pub(crate) fn new() -> Self {
        let mut limits = getrlimit(Resource::Nofile);
        limits.current = limits.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limits) {
            tracing::debug!(%error, "the soft limit of file handles stays as it is");
        }
        let handles = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = (handles / HANDLES_PER_CONNECTION).clamp(1, MOST_CONNECTIONS);
        tracing::debug!(most, "connections are limited by the file handles of this process");
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, open: Arc::default(), freed: Arc::default() }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection that was accepted. At the limit it takes the place of one
    /// without a request in progress, or waits until a request has ended.
    pub(crate) async fn place(&self) -> Place {
        loop {
            if let Some(place) = self.free_place() {
                return place;
            }
            self.freed.notified().await;
        }
    }

    /// Without a free place, asks a connection to close.
    fn free_place(&self) -> Option<Place> {
        let mut open = self.open();
        if open.len() < self.most {
            let id = open.last_key_value().map_or(0, |(last, _)| last + 1);
            let connection = Arc::new(Connection::new(Arc::clone(&self.freed)));
            open.insert(id, Arc::clone(&connection));
            return Some(Place { id, connection, all: self.clone() });
        }
        let waiting = open.values().filter_map(|connection| {
            let activity = connection.activity();
            // First those that have never sent a whole request, then the longest idle.
            (activity.requests == 0).then(|| ((activity.answered, activity.since), connection))
        });
        if let Some((_, longest)) = waiting.min_by_key(|(rank, _)| *rank) {
            tracing::debug!("at the limit of connections: one without a request in progress is closed");
            longest.evicted.notify_one();
        }
        None
    }
}

/// Counts as one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    pub(crate) connection: Arc<Connection>,
    all: Connections,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().remove(&self.id);
        self.all.freed.notify_one();
    }
}
