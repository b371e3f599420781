//! The addresses of the lock nodes. They are parsed here; nothing here connects.

use std::fmt;
use std::sync::Arc;

use url::Url;

/// The address of one lock node: `redis://[user[:password]@]host[:port]`, or `rediss://` for TLS.
///
/// Never shows its password.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeUrl(Url);

/// An odd number of independent nodes, each named once.
///
/// ```
/// use fenced_lock::{InvalidNodes, Nodes};
///
/// let nodes = Nodes::parse("redis://a, redis://b:6380, rediss://lock:secret@c")?;
/// assert_eq!(nodes.iter().count(), 3);
/// assert!(matches!(Nodes::parse("redis://a, redis://b"), Err(InvalidNodes::Even(2))));
/// # Ok::<_, InvalidNodes>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(Vec<NodeUrl>);

/// Addresses that cannot be a set of lock nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNodes {
    /// Not a URL.
    #[error("{given:?} is not the address of a lock node")]
    NotAUrl {
        /// The refused address, without credentials.
        given: String,
        /// Why it is not a URL.
        source: url::ParseError,
    },
    /// The URL of another kind of service.
    #[error("{given}: a lock node's address is redis://host:port or rediss://host:port")]
    NotANode {
        /// The refused address, without credentials.
        given: String,
    },
    /// The node is reached over TLS, and this program was built without the feature `tls`.
    #[error("{given}: this program was built without TLS; build it with the feature `tls`, or name the node redis://")]
    NoTls {
        /// The refused address, without credentials.
        given: String,
    },
    /// An even number of nodes tolerates no more failures than one node less. Also reported for more than
    /// [`Nodes::MAX`].
    #[error("{0} lock nodes: their number must be odd and at most {max}", max = Nodes::MAX)]
    Even(usize),
    /// A node that counts twice could make a majority of its own.
    #[error("lock node {0} is named twice")]
    Duplicate(String),
}

/// A server that answers at the address of a lock node and cannot vote as one. Its votes are not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsuitableNode {
    /// The server would vote twice, so that it could make a majority with fewer others.
    #[error("lock nodes {first} and {second} are one server: name every server once")]
    SameServer {
        /// Host and port.
        first: Arc<str>,
        /// Another name of the same server.
        second: Arc<str>,
    },
    /// A cluster with several shards, of which each has the locks of some resources only.
    #[error(
        "lock node {node} has only some of the hash slots of its cluster: \
         name independent servers, or clusters of a single shard"
    )]
    Shard {
        /// Host and port.
        node: Arc<str>,
    },
    /// A replica is no independent server, and cannot be written to.
    #[error("lock node {node} is a replica in a cluster: name the primary of a cluster of a single shard")]
    Replica {
        /// Host and port.
        node: Arc<str>,
    },
}

impl NodeUrl {
    /// Parses the address of one node.
    ///
    /// # Errors
    /// [`InvalidNodes::NotAUrl`], [`InvalidNodes::NotANode`] and [`InvalidNodes::NoTls`]; none shows credentials.
    pub fn parse(address: &str) -> Result<Self, InvalidNodes> {
        let address = address.trim();
        let url = Url::parse(address).map_err(|source| {
            let given = address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned();
            InvalidNodes::NotAUrl { given, source }
        })?;
        let node = Self(url);
        let scheme = ["redis", "rediss"].contains(&node.0.scheme());
        if node.is_tls() && !cfg!(feature = "tls") {
            return Err(InvalidNodes::NoTls { given: node.to_string() });
        }
        if scheme && node.0.host_str().is_some_and(|host| !host.is_empty()) {
            Ok(node)
        } else {
            Err(InvalidNodes::NotANode { given: node.to_string() })
        }
    }

    /// Host and port, the node's name in errors and metrics.
    pub fn name(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        format!("{host}:{}", self.0.port().unwrap_or(6379))
    }

    /// Whether the node is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "rediss"
    }
}

/// The whole URL, credentials included.
impl AsRef<Url> for NodeUrl {
    fn as_ref(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.name())
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeUrl({self})")
    }
}

impl Nodes {
    /// The most nodes: each of them is asked at every acquisition.
    pub const MAX: usize = 31;

    /// Checks that the number is odd and that no node is named twice.
    ///
    /// # Errors
    /// [`InvalidNodes::Even`], also for more than [`MAX`](Self::MAX); [`InvalidNodes::Duplicate`].
    pub fn new(nodes: Vec<NodeUrl>) -> Result<Self, InvalidNodes> {
        if nodes.len().is_multiple_of(2) || nodes.len() > Self::MAX {
            return Err(InvalidNodes::Even(nodes.len()));
        }
        for (i, node) in nodes.iter().enumerate() {
            if nodes[..i].iter().any(|earlier| earlier.name() == node.name()) {
                return Err(InvalidNodes::Duplicate(node.name()));
            }
        }
        Ok(Self(nodes))
    }

    /// Parses addresses separated by commas.
    ///
    /// # Errors
    /// As [`NodeUrl::parse`] and [`new`](Self::new).
    pub fn parse(list: &str) -> Result<Self, InvalidNodes> {
        let addresses = list.split(',').map(str::trim).filter(|address| !address.is_empty());
        Self::new(addresses.map(NodeUrl::parse).collect::<Result<_, _>>()?)
    }

    /// The addresses.
    pub fn iter(&self) -> impl Iterator<Item = &NodeUrl> {
        self.0.iter()
    }
}

impl IntoIterator for Nodes {
    type Item = NodeUrl;
    type IntoIter = std::vec::IntoIter<NodeUrl>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::str::FromStr for Nodes {
    type Err = InvalidNodes;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        Self::parse(list)
    }
}

impl std::str::FromStr for NodeUrl {
    type Err = InvalidNodes;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        Self::parse(address)
    }
}
