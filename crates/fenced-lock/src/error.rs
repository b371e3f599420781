//! What can go wrong. Contention is not an error.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use failure_kind::FailureKind;

use crate::{Resource, Token};

/// Why a lock could not be acquired, extended or released.
///
/// Contention is not an error: [`Locks::try_lock`](crate::Locks::try_lock) returns `None`.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # use std::time::Duration;
/// use fenced_lock::{Lease, LockError, Locks, Nodes, Options, Resource, Wait};
///
/// // Nothing listens on these ports.
/// let nodes = Nodes::parse("redis://127.0.0.1:1, redis://127.0.0.1:2, redis://127.0.0.1:3")?;
/// let locks = Locks::redlock(nodes, Options::default());
/// let lease = Lease::new(Duration::from_secs(10))?;
/// match locks.try_lock(&Resource::new("sku:42")?, Wait::none(), lease).await {
///     Err(error @ LockError::QuorumUnavailable { answered: 0, .. }) => {
///         assert!(error.retryable());
///         println!("{error}"); // names every node and its failure
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub enum LockError {
    /// Too few nodes answered to decide: no lock was granted.
    #[error("no quorum: {answered} of {of} lock nodes answered, {needed} are needed ({})", List(nodes))]
    QuorumUnavailable {
        /// The quorum of the configured nodes.
        needed: usize,
        /// How many nodes gave a usable answer.
        answered: usize,
        /// How many nodes are configured.
        of: usize,
        /// The failure of each of the others.
        nodes: Vec<NodeError>,
    },
    /// The backend could not be used, where it is one service rather than a quorum of nodes.
    #[error("lock backend {backend} is unavailable")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// The failure of the service.
        source: NodeError,
    },
    /// A quorum granted the lock so late that no usable part of the lease was left.
    #[error("acquiring the lock took {elapsed:?}, too long for its lease of {lease:?}; the lock is released")]
    Lapsed {
        /// The requested lease.
        lease: Duration,
        /// How long the acquisition took.
        elapsed: Duration,
    },
    /// The lock is no longer held. It cannot be extended, only acquired again.
    #[error("the lock on {resource} is no longer held")]
    Lost {
        /// The first resource of the grant.
        resource: Resource,
    },
    /// As many callers of this process wait for the resource as are allowed.
    #[error("{limit} callers of this process already wait for {resource}")]
    TooManyWaiters {
        /// The resource that they wait for.
        resource: Resource,
        /// The configured limit.
        limit: usize,
    },
    /// [`Locks::close`](crate::Locks::close) was called: no lock is acquired any more.
    #[error("these locks are closed: no lock is acquired any more")]
    Closed,
    /// The request names no resource, or more than one grant can cover.
    #[error("a grant covers 1 to {limit} resources, {requested} were requested")]
    ResourceCount {
        /// How many were requested, duplicates not counted.
        requested: usize,
        /// The most that one grant can cover.
        limit: usize,
    },
    /// The backend issues no fencing tokens, so there is no floor to raise.
    #[error("lock backend {backend} issues no fencing tokens")]
    NoTokens {
        /// The backend's name.
        backend: &'static str,
    },
    /// The backend counts by itself and is below the token that the storage has registered: its data was lost, or that
    /// token came from another source. Storage would refuse every later token.
    #[error("the fencing tokens of {backend} for {resource} have not reached {at_least} and cannot be raised")]
    FloorOutOfReach {
        /// The backend's name.
        backend: &'static str,
        /// The resource whose tokens are too low.
        resource: Resource,
        /// The token that the storage has registered.
        at_least: Token,
    },
    /// The counter of a resource has passed 2⁵³ − 1.
    #[error("the fencing tokens of {resource} are exhausted: the counter has passed 2^53 - 1")]
    TokensExhausted {
        /// The resource whose counter is exhausted.
        resource: Resource,
    },
}

impl LockError {
    /// How the servers of the lock failed, where they did; of several nodes, the first.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Self::QuorumUnavailable { nodes, .. } => nodes.first().map(NodeError::kind),
            Self::Unavailable { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::QuorumUnavailable { .. }
            | Self::Unavailable { .. }
            | Self::Lapsed { .. }
            | Self::TooManyWaiters { .. } => true,
            Self::Lost { .. }
            | Self::Closed
            | Self::ResourceCount { .. }
            | Self::NoTokens { .. }
            | Self::FloorOutOfReach { .. }
            | Self::TokensExhausted { .. } => false,
        }
    }
}

/// The failure of one lock node. Always reported with the node's name, never turned into `false`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("lock node {node} {}", predicate(*kind))]
pub struct NodeError {
    node: Arc<str>,
    kind: FailureKind,
    source: Cause,
}

impl NodeError {
    pub(crate) fn new(node: &Arc<str>, kind: FailureKind, error: impl Error + Send + Sync + 'static) -> Self {
        Self { node: Arc::clone(node), kind, source: Cause::new(error) }
    }

    /// Host and port of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// How it failed. No kind excludes that the command was executed.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

fn predicate(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unreachable => "could not be reached",
        FailureKind::Gone => "closed the connection before it answered",
        FailureKind::Silent => "did not answer in time",
        FailureKind::Refused => "refused the command",
        FailureKind::ReadOnly => "accepts no writes",
        FailureKind::WrongAnswer => "sent an unexpected answer",
    }
}

/// The error underneath, shared so that a [`NodeError`] can be cloned.
#[derive(Clone)]
struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}
impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// A list has no single source, so the cause of each member is printed with it.
struct List<'a>(&'a [NodeError]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{error}")?;
            if let Some(source) = error.source() {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}
