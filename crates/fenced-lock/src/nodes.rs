//! Where the lock nodes are. Addresses are parsed here; nothing here connects.

use std::fmt;

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
    #[error("{given:?} is no address of a lock node")]
    NotAUrl {
        /// What was given, up to its credentials.
        given: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// A URL of something else.
    #[error("{given}: a lock node's address is redis://host:port or rediss://host:port")]
    NotANode {
        /// The address without credentials.
        given: String,
    },
    /// An even number is no safer than one less, and dies sooner.
    #[error("{0} lock nodes: their number must be odd and at most {max}", max = Nodes::MAX)]
    Even(usize),
    /// One node counted twice is a majority that is none.
    #[error("lock node {0} is named twice")]
    Duplicate(String),
}

impl NodeUrl {
    /// Parses the address of one node.
    ///
    /// # Errors
    /// [`InvalidNodes::NotAUrl`] and [`InvalidNodes::NotANode`]; neither shows credentials.
    pub fn parse(address: &str) -> Result<Self, InvalidNodes> {
        let address = address.trim();
        let url = Url::parse(address).map_err(|source| {
            let given = address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned();
            InvalidNodes::NotAUrl { given, source }
        })?;
        let node = Self(url);
        let scheme = ["redis", "rediss"].contains(&node.0.scheme());
        if scheme && node.0.host_str().is_some_and(|host| !host.is_empty()) {
            Ok(node)
        } else {
            Err(InvalidNodes::NotANode { given: node.to_string() })
        }
    }

    /// Host and port, which is what the node is called in errors and metrics.
    pub fn name(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        format!("{host}:{}", self.0.port().unwrap_or(6379))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn as_url(&self) -> &Url {
        &self.0
    }

    #[cfg(feature = "redis")]
    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == "rediss"
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
    /// The most nodes that make sense: every one is asked at every acquisition.
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

    #[cfg(feature = "redis")]
    pub(crate) fn into_inner(self) -> Vec<NodeUrl> {
        self.0
    }

    /// The addresses.
    pub fn iter(&self) -> impl Iterator<Item = &NodeUrl> {
        self.0.iter()
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
