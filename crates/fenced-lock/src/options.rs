//! The settings of a lock client, as types that cannot hold an invalid value.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::Lease;

/// The settings of a lock client. The defaults are meant for nodes in one region.
///
/// ```
/// use std::time::Duration;
/// use fenced_lock::{ClientName, NodeTimeout, Options};
///
/// let options = Options::default()
///     .with_node_timeout(NodeTimeout::new(Duration::from_millis(50))?)
///     .with_client_name(ClientName::new("order-1")?);
/// # let _ = options;
/// # Ok::<_, fenced_lock::InvalidOption>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    node_timeout: NodeTimeout,
    counter_ttl: CounterTtl,
    max_waiters: NonZeroUsize,
    client_name: ClientName,
    root_certificate: Option<Arc<[u8]>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_timeout: NodeTimeout(Duration::from_millis(200)),
            counter_ttl: CounterTtl(Duration::from_hours(720)),
            max_waiters: NonZeroUsize::MIN.saturating_add(9_999),
            client_name: ClientName("client".into()),
            root_certificate: None,
        }
    }
}

impl Options {
    /// How long a node may take to answer before it counts as unresponsive. 200 ms by default; keep it
    /// far below the lease. It bounds the duration of an acquisition when a majority does not answer;
    /// an unresponsive minority does not delay it.
    #[must_use]
    pub fn with_node_timeout(self, node_timeout: NodeTimeout) -> Self {
        Self { node_timeout, ..self }
    }

    /// How long Redis nodes keep the counter of an unused resource. 30 days by default.
    #[must_use]
    pub fn with_counter_ttl(self, counter_ttl: CounterTtl) -> Self {
        Self { counter_ttl, ..self }
    }

    /// How many callers of this process may be in the queue of one resource. 10 000 by default.
    #[must_use]
    pub fn with_max_waiters(self, max_waiters: NonZeroUsize) -> Self {
        Self { max_waiters, ..self }
    }

    /// The first part of every owner's name on the nodes, before the part that makes it unique. `client` by
    /// default.
    #[must_use]
    pub fn with_client_name(self, client_name: ClientName) -> Self {
        Self { client_name, ..self }
    }

    /// The certificate authority (PEM) that signed the nodes' certificates, for `rediss://` nodes;
    /// the system's own by default.
    #[must_use]
    pub fn with_root_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { root_certificate: Some(pem.into().into()), ..self }
    }

    /// See [`with_node_timeout`](Self::with_node_timeout).
    pub fn node_timeout(&self) -> Duration {
        self.node_timeout.0
    }

    /// See [`with_counter_ttl`](Self::with_counter_ttl).
    pub fn counter_ttl(&self) -> Duration {
        self.counter_ttl.0
    }

    /// See [`with_max_waiters`](Self::with_max_waiters).
    pub fn max_waiters(&self) -> NonZeroUsize {
        self.max_waiters
    }

    /// See [`with_client_name`](Self::with_client_name).
    pub fn client_name(&self) -> &str {
        &self.client_name.0
    }

    /// See [`with_root_certificate`](Self::with_root_certificate). Absent where the system's own is used.
    pub fn root_certificate(&self) -> Option<&[u8]> {
        self.root_certificate.as_deref()
    }
}

/// A value outside of its setting's range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} must be {rule}, not {given}")]
pub struct InvalidOption {
    option: &'static str,
    rule: &'static str,
    given: String,
}

/// How long a node may take to answer: 1 ms to 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeTimeout(Duration);

impl NodeTimeout {
    /// Checks the range.
    ///
    /// # Errors
    /// [`InvalidOption`] outside of it.
    pub fn new(timeout: Duration) -> Result<Self, InvalidOption> {
        if (Duration::from_millis(1)..=Duration::from_secs(10)).contains(&timeout) {
            Ok(Self(timeout))
        } else {
            Err(InvalidOption { option: "the node timeout", rule: "1 ms to 10 s", given: format!("{timeout:?}") })
        }
    }
}

/// How long an unused counter is kept: from the longest lease, 24 h, to 10 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterTtl(Duration);

impl CounterTtl {
    /// Checks the range.
    ///
    /// # Errors
    /// [`InvalidOption`] outside of it.
    pub fn new(ttl: Duration) -> Result<Self, InvalidOption> {
        if (Lease::MAX..=Lease::MAX * 3650).contains(&ttl) {
            Ok(Self(ttl))
        } else {
            Err(InvalidOption { option: "the counter TTL", rule: "24 h to 10 years", given: format!("{ttl:?}") })
        }
    }
}

/// The first part of owners' names: 1 to 64 letters, digits, `.`, `_` or `-`. No colon, because it separates
/// the parts of a lock's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(String);

impl ClientName {
    /// Checks length and characters.
    ///
    /// # Errors
    /// [`InvalidOption`] for other names.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidOption> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name))
        } else {
            let rule = "1 to 64 letters, digits, '.', '_' or '-'";
            Err(InvalidOption { option: "the client name", rule, given: format!("{name:?}") })
        }
    }
}
