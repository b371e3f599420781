//! What can go wrong. That somebody else has the lock is not among it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Resource, Token};

/// Why a lock could not be asked for, kept or given back.
///
/// Contention is not an error: [`Locks::try_lock`](crate::Locks::try_lock) answers `None`.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # use std::time::Duration;
/// use fenced_lock::{Lease, LockError, Locks, Nodes, Options, Resource, Wait};
///
/// // Nobody listens there.
/// let nodes = Nodes::parse("redis://127.0.0.1:1, redis://127.0.0.1:2, redis://127.0.0.1:3")?;
/// let locks = Locks::redlock(nodes, Options::default());
/// let lease = Lease::new(Duration::from_secs(10))?;
/// match locks.try_lock(&Resource::new("sku:42")?, Wait::none(), lease).await {
///     Err(error @ LockError::QuorumUnavailable { answered: 0, .. }) => {
///         assert!(error.retryable());
///         println!("{error}"); // names every node, and what it did instead of answering
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub enum LockError {
    /// Too few nodes answered to decide. Fail closed: nobody was given anything.
    #[error("no quorum: {answered} of {of} lock nodes answered, {needed} are needed ({})", List(nodes))]
    QuorumUnavailable {
        /// The quorum of the configured nodes.
        needed: usize,
        /// How many gave a usable answer.
        answered: usize,
        /// How many nodes are configured.
        of: usize,
        /// What each of the others did.
        nodes: Vec<NodeError>,
    },
    /// The backend, where it is one server rather than a quorum, could not be used.
    #[error("the lock backend {backend} could not be used")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// What it did instead of answering.
        source: NodeError,
    },
    /// A quorum had said yes, but so late that nothing of the lease was left.
    #[error("the grant took {elapsed:?}, nothing usable is left of its lease of {lease:?}")]
    Lapsed {
        /// The lease that was asked for.
        lease: Duration,
        /// How long the nodes took.
        elapsed: Duration,
    },
    /// The lock is not ours any more; it must not be extended, only acquired again.
    #[error("the lock on {resource} is not ours any more")]
    Lost {
        /// The first of the resources of the grant.
        resource: Resource,
    },
    /// More callers wait for this resource in this process than is allowed.
    #[error("{limit} callers are waiting for {resource} already")]
    TooManyWaiters {
        /// The resource they wait for.
        resource: Resource,
        /// The limit that was configured.
        limit: usize,
    },
    /// No resource at all was named, or more than one grant can cover.
    #[error("a grant covers 1 to {limit} resources, not {asked}")]
    ResourceCount {
        /// How many were named, duplicates not counted.
        asked: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The backend issues no fencing tokens, so there is no floor to raise.
    #[error("the lock backend {backend} issues no fencing tokens")]
    NoTokens {
        /// The backend's name.
        backend: &'static str,
    },
    /// The backend counts by itself, and has not come as far as storage has seen: its data was lost,
    /// or the tokens came from somewhere else. No later token would be accepted.
    #[error("the fencing tokens of {backend} for {resource} are not past {at_least}, and cannot be raised")]
    FloorOutOfReach {
        /// The backend's name.
        backend: &'static str,
        /// The resource whose tokens are too low.
        resource: Resource,
        /// What storage has seen.
        at_least: Token,
    },
    /// The counter of a resource has passed 2⁵³ − 1.
    #[error("the fencing tokens of {resource} are used up")]
    TokensExhausted {
        /// The resource whose counter is at its end.
        resource: Resource,
    },
}

impl LockError {
    /// Whether the same call may succeed a little later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::QuorumUnavailable { .. }
            | Self::Unavailable { .. }
            | Self::Lapsed { .. }
            | Self::TooManyWaiters { .. } => true,
            Self::Lost { .. }
            | Self::ResourceCount { .. }
            | Self::NoTokens { .. }
            | Self::FloorOutOfReach { .. }
            | Self::TokensExhausted { .. } => false,
        }
    }
}

/// What one lock node did instead of answering. Told with its name, never turned into `false`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeError {
    /// No connection could be made: nobody listens, or the credentials were refused.
    #[error("lock node {node} refused the connection")]
    Refused {
        /// Host and port.
        node: Arc<str>,
        /// What happened.
        source: Cause,
    },
    /// Silence, or a connection that broke: the command may or may not have been executed.
    #[error("lock node {node} did not answer")]
    NoAnswer {
        /// Host and port.
        node: Arc<str>,
        /// What happened.
        source: Cause,
    },
    /// An answer, but an error or not what the protocol says.
    #[error("lock node {node} answered wrongly")]
    WrongAnswer {
        /// Host and port.
        node: Arc<str>,
        /// What happened.
        source: Cause,
    },
}

impl NodeError {
    /// Host and port of the node.
    pub fn node(&self) -> &str {
        match self {
            Self::Refused { node, .. } | Self::NoAnswer { node, .. } | Self::WrongAnswer { node, .. } => node,
        }
    }
}

/// The error underneath, shared so that errors can be cloned and told more than once.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    #[cfg_attr(
        not(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres")),
        expect(dead_code, reason = "only backends fail")
    )]
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
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

/// A list has no single source, so its members' causes are shown where they are listed.
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
